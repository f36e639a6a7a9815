"""The sequential neuron and the decoupled form as published, in plain torch, for gradients and for timing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

Tensor = torch.Tensor


class Spike(torch.autograd.Function):
    """Heaviside, H(0) = 1, with the ATan surrogate of alpha = 2: 1/(1 + (pi x)^2)."""

    @staticmethod
    def forward(ctx: Any, margin: Tensor) -> Tensor:
        ctx.save_for_backward(margin)
        return (margin >= 0).to(margin.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (margin,) = ctx.saved_tensors
        return g / (1 + (math.pi * margin) ** 2)


def indexed(c: Tensor) -> Iterable[Tensor]:
    """c[t] for each t: its backward fills a whole array of zeros a step, which makes training O(T^2)."""
    return (c[t] for t in range(len(c)))


def unbound(c: Tensor) -> Iterable[Tensor]:
    """The same steps from one `unbind`, whose backward is one `stack`."""
    return c.unbind(0)


def sequential(steps: Iterable[Tensor], beta: Tensor, v_th: Tensor, detached: bool = True) -> Tensor:
    """Eq. 2-3 through autograd. The reset reads the spike with or without its gradient."""
    u: Tensor | float = 0.0
    s: Tensor | float = 0.0
    rows = []
    for now in steps:
        u = beta * (u - v_th * s) + now
        fired = Spike.apply(u - v_th)
        s = fired.detach() if detached else fired
        rows.append(fired)
    return torch.stack(rows)


def decoupled(c: Tensor, beta: Tensor, v_th: Tensor) -> Tensor:
    """Eq. 12 with Algorithm 2: FFT for u', thresholds by a loop outside of autograd, one Heaviside."""
    steps = len(c)
    kernel = beta ** torch.arange(steps, dtype=c.dtype, device=c.device)[:, None]
    product = torch.fft.rfft(c, 2 * steps, dim=0) * torch.fft.rfft(kernel, 2 * steps, dim=0)[:, None]
    u = torch.fft.irfft(product, 2 * steps, dim=0)[:steps]
    return Spike.apply(u - thresholds(u.detach(), beta.detach(), v_th.detach()))


@torch.no_grad()
def thresholds(u: Tensor, beta: Tensor, v_th: Tensor) -> Tensor:
    """The scan over t of Algorithm 2."""
    bias, rows = torch.zeros_like(u[0]), []
    for now in u.unbind(0):
        d = v_th * bias + v_th
        bias = (bias + (now >= d)) * beta
        rows.append(d)
    return torch.stack(rows)
