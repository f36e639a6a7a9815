"""A fractional LIF as one writes it by hand in torch: sums over the whole past in every step, and autograd.

D^a v = (-v + x)/tau by rectangles, explicit; v >= 1 is a spike that lowers v by 1 for good. x is (T, lanes).
"""

from __future__ import annotations

from math import gamma
from typing import Any

import torch
from torch import Tensor


class Spike(torch.autograd.Function):
    """The step function with the fast sigmoid's slope."""

    @staticmethod
    def forward(ctx: Any, margin: Tensor) -> Tensor:
        ctx.save_for_backward(margin)
        return (margin >= 0).to(margin.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (margin,) = ctx.saved_tensors
        return g / (1 + margin.abs() / 0.5) ** 2


def rectangle_weights(alpha: float, dt: float, steps: int) -> Tensor:
    k = torch.arange(steps + 1, dtype=torch.float64) ** alpha
    return dt**alpha / gamma(alpha + 1) * (k[1:] - k[:-1])


def pushed_ahead(x: Tensor, alpha: float, tau: float, dt: float) -> Tensor:
    """Spikes (T, lanes). Each step is added to the sums of all later ones, one operation over the rest of time.

    The quickest form that autograd can go back through: it keeps (T, lanes) numbers.
    """
    steps = len(x)
    weights = rectangle_weights(alpha, dt, steps).to(x.dtype)[:, None]
    sums, v, jumps, spikes = x.new_zeros(steps + 1, x.shape[1]), torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for k, now in enumerate(x.unbind(0)):
        sums = sums[1:] + weights[: steps - k] * ((now - v) / tau)
        v = sums[0] + jumps
        s = Spike.apply(v - 1)
        jumps, v = jumps - s, v - s
        spikes.append(s)
    return torch.stack(spikes)


def stacked(x: Tensor, alpha: float, tau: float, dt: float) -> Tensor:
    """The same; each step stacks its past and multiplies it by the weights. The graph holds T^2/2 numbers a lane."""
    steps = len(x)
    weights = rectangle_weights(alpha, dt, steps).to(x.dtype).flip(0)
    v, jumps, past, spikes = torch.zeros_like(x[0]), torch.zeros_like(x[0]), [], []
    for k, now in enumerate(x.unbind(0)):
        past.append((now - v) / tau)
        v = weights[steps - k - 1 :] @ torch.stack(past) + jumps
        s = Spike.apply(v - 1)
        jumps, v = jumps - s, v - s
        spikes.append(s)
    return torch.stack(spikes)


@torch.no_grad()
def buffered(x: Tensor, alpha: float, tau: float, dt: float) -> Tensor:
    """The same without a gradient: the past in one array, one product a step."""
    steps = len(x)
    weights = rectangle_weights(alpha, dt, steps).to(x.dtype).flip(0)
    v, jumps, past, spikes = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.empty_like(x), torch.empty_like(x)
    for k, now in enumerate(x.unbind(0)):
        torch.sub(now, v, out=past[k]).div_(tau)
        v = weights[steps - k - 1 :] @ past[: k + 1] + jumps
        spikes[k] = v >= 1
        jumps, v = jumps - spikes[k], v - spikes[k]
    return spikes
