"""Our layers where the published code goes wrong: gradients, resets at every step, sums of exponentials, learning."""

from __future__ import annotations

from collections.abc import Mapping
from math import gamma

import numpy as np
import torch
from scipy.special import erfcx

from neuroode.neuron import Neuron
from neuroode.papers.fspikede import arms_torch
from neuroode.solvers.on_numpy import fractional
from neuroode.spec.dsl import Event, Parameter

F64 = torch.float64
METHODS = ("soe", "mittag_leffler", "gl", "abm", "flmm2")


def gradients() -> Mapping[str, float]:
    """dv(10)/db of D^(1/2) v = b in 200 steps; gl beside autograd of its sums; inputs at 9.5 and 0.5."""
    right = 10**0.5 / gamma(1.5)
    pulses = {m: _pulses(m) for m in METHODS}
    found = {f"dL/db by {m}, relative error": abs(g.sum() / right - 1) for m, g in pulses.items()}
    found["gl off autograd of its sums"] = float(np.abs(pulses["gl"] - _autograd_of_gl()).max())
    return found | {"recency of soe over 19^(1 - a)": pulses["soe"][189] / pulses["soe"][9] / (9.525 / 0.525) ** 0.5}


def _pulses(method: str) -> np.ndarray:
    """dv(10)/d(input of each step)."""
    neuron = Neuron("f", dt=0.05, method=method, outputs={"v": "v"}, equations="D^0.5 v = I")
    x = torch.zeros(200, 1, 1, dtype=F64, requires_grad=True)
    out, _ = neuron.torch(1, dtype=F64, schedule="auto")(x)
    found: np.ndarray = torch.autograd.grad(out[-1].sum(), x)[0].ravel().numpy()
    return found


def _autograd_of_gl() -> np.ndarray:
    """Of v_n = h^a f_(n-1) - sum_j c_j v_(n-j), term by term."""
    h, c = 0.05**0.5, np.cumprod([1.0, *(1 - 1.5 / np.arange(1, 201))])
    x, v = torch.zeros(200, dtype=F64, requires_grad=True), [torch.zeros((), dtype=F64)]
    for n in range(1, 201):
        past = torch.stack(v[:0:-1]) if n > 1 else torch.zeros(0, dtype=F64)
        v.append(h * x[n - 1] - torch.tensor(c[1:n]) @ past)
    return torch.autograd.grad(v[-1], x)[0].numpy()


def resets() -> Mapping[str, float]:
    """What an event at t = 1 that lowers v by 1 changes at t = 2, D^(1/2) v = I/2: steps of 0.1 and 0.01."""
    limits = {"jump": -1.0, "impulse": -1 / gamma(0.5), "current(0.5)": -(1 - 0.5**0.5) / gamma(1.5)}
    found: dict[str, float] = {}
    for memory, limit in limits.items():
        effects = [_effect(memory, dt) for dt in (0.1, 0.01)]
        found |= {memory: effects[1], f"{memory} off its limit": max(abs(e - limit) for e in effects)}
    return found


def _effect(memory: str, dt: float) -> float:
    event = Event(when="x > 0.5", reset={"do": "v -= 1", "memory": memory})
    neuron = Neuron("f_if", dt=dt, inputs={"I": "current", "x": "current"}, outputs={"v": "v"},
                    equations="D^0.5 v = I/2", events={"s": event}, method="soe(steps=200)")  # fmt: skip
    steps, at = round(2 / dt), round(1 / dt)
    x = {"I": np.ones((steps, 2, 1)), "x": np.zeros((steps, 2, 1))}
    x["x"][at - 1, 1] = 1
    still, struck = neuron.simulate(x)["v"][-1].ravel()
    return float(struck - still)


def sums() -> Mapping[str, float]:
    """A leak from 1 for 10,000 steps of 1e-4 (a = 1/2: erfcx), and random inputs beside the exact step."""
    parameters = {"alpha": Parameter(0.5, domain="interval(0.05, 1)")}
    neuron = Neuron("leak", dt=1e-4, states={"v": 1}, outputs={"v": "v"}, parameters=parameters,
                    equations="D^alpha v = -v + I", method="soe(steps=10000)")  # fmt: skip
    t = 1e-4 * np.arange(1, 10_001)
    x = np.zeros((len(t), 2, 1))
    x[:, 1, 0] = np.random.default_rng(0).normal(size=len(t))
    v = neuron.simulate(x)["v"][..., 0]
    exact = fractional.leak(x[:, 1, 0], 1.0, 0.5, 1.0, 1e-4)[1:]
    return {
        "modes": len(neuron.discretize().updates[0].states),
        "off erfcx on [1e-4, 1]": np.abs(v[:, 0] - erfcx(np.sqrt(t))).max(),
        "trajectory off the exact step": np.abs(v[:, 1] - exact).max(),
    }


def comparison() -> Mapping[str, float]:
    """Mean test accuracies of the arms in per cent, five seeds; 0.3 less 1 on the same graphs and its error."""
    runs = arms_torch.results()
    found = {arm: float(np.mean([r.test for r in trained])) for arm, (_, trained) in runs.items()}
    off, error = arms_torch.gap(runs, "alpha = 0.3")
    return found | {"points between 0.3 and 1": abs(off), "standard error of that": error}
