"""The neuron step by step and by FFT as published, in plain torch, for timing; complex states and a real readout.

Every form is given the same parameters: delta (N,), tau, omega (N, n), C (N, n) complex, alpha (m,). Inputs (T, B, N).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

Tensor = torch.Tensor
Parameters = Mapping[str, Tensor]


class Spike(torch.autograd.Function):
    """Heaviside, H(0) = 0, with the triangular surrogate of the released code: max(0, 1 - |x|)."""

    @staticmethod
    def forward(ctx: Any, margin: Tensor) -> Tensor:
        ctx.save_for_backward(margin)
        return (margin > 0).to(margin.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (margin,) = ctx.saved_tensors
        return g * (1 - margin.abs()).clamp(min=0)


def transition(p: Parameters) -> tuple[Tensor, Tensor]:
    """exp(delta lambda) and the gain of a held input, (N, n)."""
    pole = torch.complex(-1 / p["tau"], p["omega"])
    A = torch.exp(p["delta"][:, None] * pole)
    return A, (A - 1) / pole


def sequential(steps: Iterable[Tensor], p: Parameters) -> Tensor:
    """Branches, readout and threshold (eq. 7, 8, 11, 12) through autograd, one step after the other."""
    A, gain = transition(p)
    z: Tensor | float = 0.0
    rows: list[Tensor] = []
    past: list[Tensor] = []
    for now in steps:
        z = A * z + gain * now[..., None]
        h = (p["C"] * z).real.sum(-1)
        v_th = 1 + sum(a * b for a, b in zip(p["alpha"], reversed(past), strict=False))
        past = [*past, Spike.apply(h - 1)][-len(p["alpha"]) :]
        rows.append(Spike.apply(h - v_th))
    return torch.stack(rows)


def parallel(x: Tensor, p: Parameters) -> Tensor:
    """Eq. 13 with the branches collapsed into one real kernel, and a causal filter of the pre-spikes."""
    h = convolved(x, kernel(len(x), p))
    before = Spike.apply(h - 1)
    v_th = 1 + sum(a * shifted(before, k) for k, a in enumerate(p["alpha"], start=1))
    return Spike.apply(h - v_th)


def kernel(steps: int, p: Parameters) -> Tensor:
    """Re sum_i C_i gain_i exp(k delta lambda_i), (T, N)."""
    _, gain = transition(p)
    pole = torch.complex(-1 / p["tau"], p["omega"]) * p["delta"][:, None]
    powers = torch.exp(torch.arange(steps, dtype=p["delta"].dtype, device=p["delta"].device)[:, None, None] * pole)
    return (p["C"] * gain * powers).real.sum(-1)


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    steps = len(x)
    product = torch.fft.rfft(x, 2 * steps, dim=0) * torch.fft.rfft(kernel, 2 * steps, dim=0)[:, None]
    return torch.fft.irfft(product, 2 * steps, dim=0)[:steps]


def shifted(p: Tensor, k: int) -> Tensor:
    """p[t - k], zeros before the start."""
    return torch.cat([torch.zeros_like(p[:k]), p[:-k]])
