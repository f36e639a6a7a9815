"""What the paper claims about gradients, long runs and float32: our layers beside plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch

from neuroode.neuron import Neuron, load
from neuroode.papers.prf import theirs, theirs_torch
from neuroode.papers.prf.neurons import Array, drive, soft_lif, trained_lif

Tensor = torch.Tensor
Gradients = dict[str, Tensor]
STEPS, LANES, BETA = 256, 8, 0.8
LONG = 32_768


def _inputs() -> tuple[Tensor, Tensor]:
    """Input (T, 1, lanes) and cotangent of the spikes."""
    g = np.random.default_rng(8).normal(size=(STEPS, 1, LANES))
    return torch.tensor(drive((STEPS, 1, LANES), seed=7)), torch.tensor(g)


@cache
def _theirs(form: str) -> Gradients:
    """d loss/d (c, beta, V) by autograd; form is detached, through (sequential) or decoupled, whose V gets none."""
    c, g = _inputs()
    c = c.requires_grad_()
    beta, v_th = (torch.full((LANES,), x, dtype=torch.float64, requires_grad=True) for x in (BETA, 1.0))
    if form == "decoupled":
        spikes = theirs_torch.decoupled(c, beta, v_th)
    else:
        spikes = theirs_torch.sequential(theirs_torch.unbound(c), beta, v_th, detached=form == "detached")
    found = torch.autograd.grad(spikes, (c, beta, v_th), g, allow_unused=True)
    return dict(zip(("c", "beta", "V"), found, strict=True))


@cache
def _ours(reset_gradient: str, schedule: str) -> Gradients:
    """The same by our sequential neuron."""
    return _of_layer(soft_lif(reset_gradient), "v_th", schedule)


def _of_layer(neuron: Neuron, threshold: str, schedule: str = "auto") -> Gradients:
    """By a layer of ours; the stored number of beta is brought back to beta, V is missing where it is not trained."""
    c, g = _inputs()
    layer = neuron.torch(LANES, dt=1.0, dtype=torch.float64, schedule=schedule)
    layer.set(beta=torch.tensor(BETA, dtype=torch.float64))
    trained = {n.rpartition("raw_")[2]: p for n, p in layer.named_parameters()}
    leaves = {"c": c.requires_grad_(), "beta": trained["beta"]}
    leaves |= {"V": trained[threshold]} if threshold in trained else {}
    found = dict(zip(leaves, torch.autograd.grad(layer(c)[0], list(leaves.values()), g), strict=True))
    return found | {"beta": found["beta"] / (BETA * (1 - BETA))}  # beta = sigmoid(stored)


def _off(found: Tensor, wanted: Tensor) -> float:
    """Distance relative to the wanted vector."""
    return float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))


def input_gradient() -> Mapping[str, float]:
    """The decoupled form for the input, beside BPTT with detached reset and through it."""
    decoupled = _theirs("decoupled")["c"]
    full = _theirs("through")["c"]
    return {
        "off BPTT, reset detached": _off(decoupled, _theirs("detached")["c"]),
        "off BPTT through the reset": _off(decoupled, full),
        "cosine with it": float(torch.nn.functional.cosine_similarity(decoupled.flatten(), full.flatten(), dim=0)),
    }


def beta_gradient() -> Mapping[str, float]:
    """The published graph differentiated for beta; and ours, for all three."""
    wanted, published, ours = _theirs("detached"), _theirs("decoupled"), _ours("detached", "sequential")
    code = _of_layer(trained_lif("code_gradient"), "V")
    return {
        "d loss/d beta of BPTT": float(wanted["beta"][0]),
        "of the published graph": float(published["beta"][0]),
        "of neuroode": float(ours["beta"][0]),
        "published off BPTT": _off(published["beta"], wanted["beta"]),
        "neuroode off BPTT": _furthest("detached"),
        "our compat code_gradient off the published": _off(code["beta"], published["beta"]),
    }


def full_reset() -> Mapping[str, float]:
    """Through the reset: our layer, a linear reverse recursion given the trajectory, and autograd."""
    wanted = _theirs("through")
    c, g = (x[:, 0].numpy() for x in _inputs())
    found = torch.tensor(_adjoint(c, g))[:, None]
    return {
        "recursion off autograd": _off(found, wanted["c"]),
        "neuroode off autograd": _furthest("through"),
    }


def _furthest(reset_gradient: str) -> float:
    """Of our gradients for c, beta and V from autograd's: by the compiled loop and scans, decoupled or not."""
    wanted = _theirs(reset_gradient)
    found = [_ours(reset_gradient, schedule) for schedule in ("sequential", "scan")]
    found.append(_of_layer(trained_lif("detached" if reset_gradient == "detached" else None), "V", "scan"))
    return max(_off(ours[n], wanted[n]) for ours in found for n in ours)


def _adjoint(c: Array, g: Array) -> Array:
    """lambda_t = g_t sigma'_t + beta (1 - V sigma'_t) lambda_{t+1}: linear, so a scan could do it."""
    _, u = theirs.sequential(c, np.full(c.shape[1], BETA))
    slope = 1 / (1 + (np.pi * (u - 1)) ** 2)
    found, after = np.empty_like(c), np.zeros_like(c[0])
    for t in reversed(range(len(c))):
        after = g[t] * slope[t] + BETA * (1 - slope[t]) * after
        found[t] = after
    return found


def single_precision() -> Mapping[str, float]:
    """Algorithm 2 by FFT in float32 over 32,768 steps, beside our layer, three lanes a decay."""
    differ, near = spikes_in_single_precision((0.5, 0.9, 0.99), LONG)
    return {
        "lanes that part at no near tie": int(parted(differ, near).sum()),
        "lanes": differ.shape[1],
        "share of near ties": near.mean(),
    }


def spikes_in_single_precision(decays: tuple[float, ...], steps: int, lanes: int = 3) -> tuple[Array, Array]:
    """Where the FFT path and our layer differ, and where |u - V| is below rounding: (T, lanes of each decay).

    Both take the same float32 decay. u' is subtracted from u, so that its size sets the rounding.
    """
    beta = torch.tensor(np.repeat(decays, lanes)).float()
    c = torch.tensor(drive((steps, 1, len(beta)), seed=9)).float()
    layer = soft_lif().torch(len(beta), dtype=torch.float32).set(beta=beta)
    taken = layer.values["beta"].detach()
    with torch.no_grad():
        ours, published = layer(c)[0], theirs_torch.decoupled(c, taken, torch.ones_like(taken))
    x, decay = c[:, 0].double().numpy(), taken.double().numpy()
    _, u = theirs.sequential(x, decay)
    near = np.abs(u - 1) < 1e-5 * np.abs(theirs.leaky_sum(x, decay)).max(axis=0)
    return (ours != published)[:, 0].numpy(), near


def parted(differ: Array, near: Array) -> Array:
    """Lanes whose first difference is no near tie. What follows a tie that was decided otherwise may differ as well."""
    first = differ.argmax(axis=0)
    at = np.arange(differ.shape[1])
    return differ[first, at] & ~near[first, at]


def paths() -> Mapping[str, float]:
    """Re u~ of PRF over 32,768 steps: the schedules of our layer beside the FFT."""
    random = np.random.default_rng(10)
    delta, theta = np.exp(random.uniform(np.log(1e-3), np.log(0.1), 4)), random.uniform(0, 2 * np.pi, 4)
    c = drive((LONG, 1, 4), seed=11)
    wanted = theirs.prf(c[:, 0], delta, theta, 2.0).real
    neuron = load("prf", compat="paper").add(outputs={"s": "s", "real": "real(u)"})
    rows = {}
    for name, dtype in {"float64": torch.float64, "float32": torch.float32}.items():
        for schedule in ("sequential", "scan", "fft"):
            layer = neuron.torch(4, dtype=dtype, schedule=schedule)
            layer.set(delta=torch.tensor(delta), theta=torch.tensor(theta))
            with torch.no_grad():
                found = layer(torch.tensor(c, dtype=dtype))[0]["real"][:, 0].double().numpy()
            rows[f"{schedule}, {name}"] = np.abs(found - wanted).max() / np.abs(wanted).max()
    return rows
