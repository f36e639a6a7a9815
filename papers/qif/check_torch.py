"""Gradients of the exact step, and QIF neurons in a small convolutional network on digits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from neuroode.neuron import Neuron, load
from neuroode.papers.qif import theirs
from neuroode.papers.training_torch import Run, scores, settings, train

SEEDS = 3
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0)  # half widths of the window in standard deviations of the potential
SURROGATE = {"kind": "rectangle", "width": 0.5}


def gradient_at_zero() -> Mapping[str, float]:
    """dv/dt = v^2 - v/2 + 1/16 + I at I = 0, where the discriminant is 0: slopes by autograd and by differences."""
    still = Neuron("still", equations="dv/dt = v^2 - 0.5*v + 0.0625 + I", states={"v": 0.1}, outputs="v", dt=1)
    found = {}
    for schedule in ("eager", "sequential"):
        layer = still.torch(1, dtype=torch.float64, schedule=schedule)
        x = torch.zeros(3, 1, 1, dtype=torch.float64, requires_grad=True)
        layer(x)[0].sum().backward()
        assert x.grad is not None
        found[f"off differences, {schedule}"] = float((x.grad - _differences(layer, x.detach())).abs().max())
    return found


@torch.no_grad()
def located() -> Mapping[str, float]:
    """Spike times of the zoo's neuron with `within_step: locate`, steps of 0.5 from 64 currents, against the formula:
    the first, and those after it, each a constant interval from the reset at 0 to the threshold at 1."""
    current = np.linspace(0.1, 3, 64)
    layer: Any = load("qif").add(within_step="locate").torch(64, dt=0.5, dtype=torch.float64)
    x = torch.tensor(current).expand(60, 1, 64).contiguous()
    times = layer.spike_times(x)[0][:, 0].numpy()
    wanted = np.array([theirs.time_to(1.0, 0.25, -0.125, i, 0.0) for i in current])
    first = np.array([t[np.isfinite(t)][0] for t in times.T])
    slow = wanted > 0.5  # at most one spike a step, so that every one is told
    gaps = [np.abs(np.diff(t[np.isfinite(t)]) - w).max() for t, w in zip(times.T[slow], wanted[slow], strict=True)]
    return {
        "first spike off": float(np.abs(first - wanted).max()),
        "intervals off": float(np.max(gaps)),
        "spikes": int(np.isfinite(times[:, slow]).sum()),
    }


@torch.no_grad()
def _differences(layer: torch.nn.Module, x: torch.Tensor, h: float = 1e-5) -> torch.Tensor:
    rows = torch.zeros_like(x)
    for at in range(len(x)):
        moved = [x.clone(), x.clone()]
        moved[0][at] += h
        moved[1][at] -= h
        rows[at] = (layer(moved[0])[0].sum() - layer(moved[1])[0].sum()) / (2 * h)
    return rows


def _arms() -> dict[str, Neuron]:
    """Parameters as in the paper's figure, not trained; the LIF has a decay of 1/2."""
    fixed = {"a": {"value": 0.25, "domain": "positive", "trainable": False}}
    halving = {"theta": {"init": "0.5*max(0, 1 - abs(power - 1))", "per": ["power"], "trainable": False}}
    return {
        "QIF, exact": load("qif").replace(parameters=fixed, surrogate=SURROGATE),
        "QIF, Euler": load("qif", compat="euler_map").replace(parameters=fixed, surrogate=SURROGATE),
        "LIF": load("lnm").with_axes({"power": 2}).replace(parameters=halving),
    }


@cache
def _runs() -> dict[str, list[Run]]:
    shared = settings()
    return {arm: [train("qif", arm, neuron, seed, shared) for seed in range(SEEDS)] for arm, neuron in _arms().items()}


def small_net() -> Mapping[str, float]:
    """Test accuracies in per cent, means of three seeds; the network of `neuroode train digits --net conv`."""
    means = {arm: float(scores(runs).mean()) for arm, runs in _runs().items()}
    lost = sum(r.score is None for runs in _runs().values() for r in runs)
    apart = max(means.values()) - min(means.values())
    return means | {"furthest apart": apart, "losses that are not finite": lost}


def windows() -> Mapping[str, float]:
    """The Euler arm with rectangular windows of other half widths g, as shares of the deviation from moments, which is
    that of the normalised input at the first step; height 1/(2g); means of three seeds."""
    width, neuron, shared = theirs.window(1.0), _arms()["QIF, Euler"], settings()
    means = {}
    for share in SHARES:
        g = share * width
        arm = neuron.replace(surrogate={"kind": "rectangle", "width": g, "height": 1 / (2 * g)})
        runs = [train("qif", f"window {share:g}", arm, seed, shared) for seed in range(SEEDS)]
        means[f"g = {share:g} std"] = float(np.mean(scores(runs)))
    return means | {"best over g = 1 std": max(means.values()) - means["g = 1 std"]}
