"""Layers whose step is affine with Gaussian noise: their transition, moments of their paths, and divergences of two.

A step is x' = A x + G I + b + L xi with xi ~ N(0, 1). With own matrices (A', G', b', L') and inputs w, the law of the next
state given x diverges from that of the layer without input by (both normal, S = L L')

    1/2 (tr(S^-1 S') - n + ln|S| - ln|S'| + r' S^-1 r),   r = (A' - A) x + G' w + b' - b,

and the divergence of two Markov paths is the sum of the expectations of these over x under the first (chain rule). Where
x ~ N(m, P), E[r' S^-1 r] is the same at m plus tr(S^-1 (A' - A) P (A' - A)'): no sample is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuroode.train.latent.lanes_torch import Lanes

CLOSE = 1e-4  # of an affine step in float32, relative to its size
PROBES = 4


class Affine(NamedTuple):
    """Of each lane: A (N, n, n), G (N, n, r), b (N, n), L (N, n, m)."""

    A: Tensor
    G: Tensor
    b: Tensor
    L: Tensor


def transition(lanes: Lanes) -> Affine:
    """The matrices of one step, from steps of the layer itself from unit states, inputs and noise; differentiable."""
    n, r, m = sizes = (lanes.n, lanes.r, lanes.m)
    like = lanes.layer._like
    eye = torch.eye(n + r + m + 1, dtype=like.dtype, device=like.device)
    eye[-1, -1] = 0  # the last row is the step from nothing
    x, u, noise, _ = eye[:, None].expand(-1, lanes.layer.size[0], -1).split([*sizes, 1], -1)
    found = lanes.run(u[None], x, noise[None])[0]
    b = found[-1]
    A, G, L = (found[:-1] - b).movedim(0, -1).split(sizes, -1)
    return Affine(A, G, b, L)


def is_affine(lanes: Lanes) -> bool:
    """Whether steps from random states, inputs and noise are those of `transition`, lane by lane, and noise reaches
    every direction of the states: S is then invertible."""
    with torch.no_grad():
        step = transition(lanes)
        if lanes.n != lanes.m or not bool(torch.linalg.matrix_rank(step.L).eq(lanes.n).all()):
            return False
        random = torch.Generator().manual_seed(0)
        shape = (PROBES, lanes.layer.size[0])
        x, u, noise = (torch.randn(*shape, k, generator=random).to(step.b) for k in (lanes.n, lanes.r, lanes.m))
        found = lanes.run(u[None], x, noise[None])[0]
        wanted = _apply(step.A, x) + _apply(step.G, u) + step.b + _apply(step.L, noise)
        return bool((found - wanted).abs().max() <= CLOSE * wanted.abs().max())


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("...nij,...nj->...ni", matrix, x)


def covariances(step: Affine, start: Tensor, steps: int) -> Tensor:
    """P (steps + 1, N, n, n) of the states before the first step and after each; start (N, n, n)."""
    S = step.L @ step.L.mT
    rows = [start]
    for _ in range(steps):
        rows.append(step.A @ rows[-1] @ step.A.mT + S)
    return torch.stack(rows)


def path_divergence(prior: Affine, own: Affine, x: Tensor, w: Tensor, P: Tensor | None = None) -> Tensor:
    """KL of the steps of one path law from those of another, summed over time, lanes and states: (B,).

    Args:
        prior: without input.
        own: with the inputs w (T, B, N, r).
        x: (T, B, N, n), the states before each step: a sample of the path, or its means.
        P: (T, N, n, n), covariances around these means; None where x is a sample.

    Returns:
        The divergence where P is given, or its value at the sample, whose mean it is.
    """
    dA = own.A - prior.A
    white = torch.linalg.inv(prior.L)
    r = _apply(dA, x) + _apply(own.G, w) + own.b - prior.b
    off = _apply(white, r).square().sum((0, 2, 3))
    ratio = white @ own.L
    n = ratio.shape[-1]
    fixed = ratio.square().sum((-2, -1)) - n - 2 * torch.linalg.slogdet(ratio).logabsdet
    total = off + len(x) * fixed.sum()
    if P is not None:
        M = white @ dA
        total = total + (M @ P @ M.mT).diagonal(dim1=-2, dim2=-1).sum()
    return 0.5 * total
