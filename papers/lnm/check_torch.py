"""Gradients, float32, Newton's iteration, and what the arms of `arms_torch` learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neuroode.neuron import Neuron, load
from neuroode.papers.lnm import arms_torch, theirs
from neuroode.papers.lnm.check import THETA
from neuroode.papers.training_torch import scores
from neuroode.spec.dsl import Parameter

F64 = torch.float64
HOT = {"lr": 0.05, "neuron_lr": 10.0}  # ten times the recipe's rate for weights, 500 times for polynomials
HOT_SEEDS = 3


def _of_degree(degree: int) -> Neuron:
    return load("lnm").with_axes({"power": degree + 1})


def _layer(neuron: Neuron, size: int, **options: Any) -> Any:
    return neuron.torch(size, **options)


def _inputs(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.8 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64) + 0.3


def _leaky() -> Neuron:
    """v[t] = exp(-1/tau) v[t-1] + I, hard reset; the zoo's LIF with the input, guard and surrogate of LNM."""
    tau = {"value": 20, "domain": "positive", "transform": "none"}
    flow = {"inputs": {"I": {"kind": "impulse", "at": "end"}}, "equations": "dv/dt = -v/tau + I"}
    lif = load("lif").replace(**flow, spike="v >= v_th", reset="v = 0", dt=1, parameters={"tau": tau, "v_th": 1})
    return lif.add(surrogate={"kind": "rectangle", "width": 0.5})


def degree_one() -> Mapping[str, float]:
    """LNM of degree 1 and a LIF, 256 steps of 4 x 16 lanes, in float32 and float64; gradients in float64."""
    found: dict[str, float] = {}
    for dtype in (torch.float32, F64):
        tau = torch.tensor(1.7, dtype=dtype)
        ours, lif = (_layer(n, 16, dtype=dtype, schedule="sequential") for n in (_of_degree(1), _leaky()))
        beta = torch.exp(-1 / lif.set(tau=tau).values["tau"].detach())
        ours.set(theta=torch.stack([torch.zeros_like(beta), beta]))
        x = [_inputs(256, 4, 16).to(dtype).requires_grad_() for _ in range(2)]
        rows = [layer.trace(each) for layer, each in zip((ours, lif), x, strict=True)]
        name = str(dtype).removeprefix("torch.")
        found[f"differing spikes, {name}"] = int((rows[0]["s"] != rows[1]["s"]).sum())
        found[f"largest difference of potentials, {name}"] = float((rows[0]["u"] - rows[1]["v"]).detach().abs().max())
    weights = _inputs(256, 4, 16, seed=1)
    for layer, each in zip((ours, lif), x, strict=True):
        (layer(each)[0] * weights).sum().backward()
    slope = ours.parameters_of_neuron.raw_theta.grad[1] * beta / tau**2
    found["input gradient off"] = _off(x[0].grad, x[1].grad)
    found["gradient of beta off"] = _off(slope, lif.parameters_of_neuron.raw_tau.grad)
    return found


def _off(a: Any, b: Any) -> float:
    return float((a - b).abs().max() / b.abs().max())


def horner() -> Mapping[str, float]:
    """Our Horner form in float32 and the sum of powers in float64, |u| <= 2, degree 1 to 5, coefficients N(0, 1);
    relative to the sum of the terms' sizes."""
    u, worst = np.linspace(-2, 2, 1001).astype(np.float32), 0.0
    for degree in range(1, 6):
        theta = np.random.default_rng(degree).normal(size=degree + 1).astype(np.float32)
        layer = _power(degree).torch(len(u), schedule="eager")
        h = layer.set(theta=torch.tensor(theta))(torch.tensor(u)[None, None])[0][0, 0].detach().double().numpy()
        terms = theta[:, None].astype(float) * u.astype(float) ** np.arange(degree + 1)[:, None]
        worst = max(worst, float(np.max(np.abs(h - terms.sum(0)) / np.abs(terms).sum(0))))
    return {"largest relative difference": worst}


def _power(degree: int) -> Neuron:
    array = {"theta": Parameter(init="0", per="power")}
    return Neuron(
        "power", dt=1, axes={"power": degree + 1}, outputs="h", equations="h = poly(theta, I)", parameters=array
    )


def reverse_scan() -> Mapping[str, float]:
    """dL/dtheta of our kernel and by the formula, 30 steps of 50 lanes, with and without the reset; relative."""
    found = {}
    for name, reset, size in (("with the reset", True, 0.6), ("without", False, 0.15)):
        rows = [_gradients(degree, theta, size, reset) for degree, theta in THETA.items()]
        found[f"off the formula, {name}"] = float(np.max([np.abs(a - b).max() / np.abs(b).max() for a, b in rows]))
    return found


def _gradients(degree: int, theta: np.ndarray, size: float, reset: bool) -> tuple[np.ndarray, np.ndarray]:
    x, g = size * _inputs(30, 1, 50, seed=degree) - 0.05, _inputs(30, 1, 50, seed=9)
    u, s = theirs.run(theta, x.numpy(), reset)
    neuron = _of_degree(degree) if reset else _of_degree(degree).remove("reset")
    layer = _layer(neuron, 50, dtype=F64, schedule="sequential").set(theta=torch.tensor(theta))
    (layer(x)[0] * g).sum().backward()
    return layer.parameters_of_neuron.raw_theta.grad.numpy(), theirs.reverse_scan(theta, u, s, g.numpy(), reset)


def newton() -> Mapping[str, float]:
    """2,000 steps without reset of contractive maps, our schedule newton beside the loop, and Newton in numpy."""
    free = load("lnm").remove("spike", "reset", "surrogate", "v_th").add(outputs="u")
    found: dict[str, float] = {}
    for name, theta, size in (("quadratic", [0, 0.8, 0.1, 0], 0.05), ("cubic", [0, 0.8, 0.1, -0.2], 0.2)):
        x = size * _inputs(2000, 1, 4, seed=3) - 0.3 * size
        layers = [
            free.torch(4, dtype=F64, schedule=s).set(theta=torch.tensor(theta, dtype=F64))
            for s in ("newton", "sequential")
        ]
        fast, slow = (layer(x)[0].detach() for layer in layers)
        u, number = theirs.newton(np.array(theta), x.numpy())
        low, high = float(slow.min()), float(slow.max())
        slope = np.abs(np.polyval(np.polyder(theta[::-1]), np.linspace(low, high, 1001))).max()
        found[f"off the loop, {name}"] = float((fast - slow).abs().max())
        found[f"our iterations, {name}"] = max(layers[0].iterations.values())
        found[f"numpy off the loop, {name}"] = float(np.abs(u - slow.numpy()).max())
        found[f"its iterations, {name}"] = number
        found[f"largest slope on the way, {name}"] = float(slope)
    return found


def training() -> Mapping[str, float]:
    """Mean test accuracies of the arms, five seeds, in per cent."""
    means = {arm: float(scores(runs).mean()) for arm, runs in arms_torch.results().items()}
    lost = sum(r.score is None for runs in arms_torch.results().values() for r in runs)
    behind = means["PLIF"] - means["LNM, degree 3"]
    return means | {"PLIF over LNM of degree 3": behind, "losses that are not finite": lost}


def layers() -> Mapping[str, float]:
    """Coefficients learned at degree 3: variance of the layers' means over seeds, and over the seeds of a layer."""
    runs = [arms_torch.learned(r) for r in arms_torch.results()["LNM, degree 3"] if r.score is not None]
    values = np.array([[np.pad(f.coef, (0, 4 - len(f.coef))) for f in fs] for fs in runs])  # seed, layer, power
    between, within = values.mean(0).var(0, ddof=1), values.var(0, ddof=1).mean(0)
    found: dict[str, float] = {}
    for power in (1, 2, 3):
        found[f"theta_{power} between layers"] = float(between[power])
        found[f"theta_{power} between seeds"] = float(within[power])
    return found | {"theta_2, layers over seeds": float(between[2] / within[2])}


def hot() -> Mapping[str, float]:
    """Rates far too high, three seeds: test accuracies in per cent, losses and updates that are not finite, slopes."""
    runs = arms_torch.results(HOT_SEEDS, ("LNM, degree 3", "contractive, degree 3"), **HOT)
    found: dict[str, float] = {}
    for arm, rows in runs.items():
        name, done = arm.partition(",")[0], [r for r in rows if r.score is not None]
        found[f"{name}: losses that are not finite"] = len(rows) - len(done)
        found[f"{name}: updates left out"] = sum(r.left_out for r in rows)
        found[f"{name}: lowest accuracy"] = min((r.score or 0.0 for r in rows), default=0.0)
        found[f"{name}: largest slope"] = max(
            (arms_torch.steepest(f) for r in done for f in arms_torch.learned(r)), default=0.0
        )
    return found
