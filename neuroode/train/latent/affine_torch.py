"""Layers whose step is affine with Gaussian noise: their transition, moments of their paths, and divergences of two.

A step is x' = A x + G I + b + L xi with xi ~ N(0, 1). With own matrices (A', G', b', L') and inputs w, the law of the next
state given x diverges from that of the layer without input by (both normal, S = L L')

    1/2 (tr(S^-1 S') - n + ln|S| - ln|S'| + r' S^-1 r),   r = (A' - A) x + G' w + b' - b,

and the divergence of two Markov paths is the sum of the expectations of these over x under the first (chain rule). Where
x ~ N(m, P), E[r' S^-1 r] is the same at m plus tr(S^-1 (A' - A) P (A' - A)'): no sample is needed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.nn.carry import Carry

CLOSE = 1e-4  # of an affine step in float32, relative to its size
PROBES = 4


class Affine(NamedTuple):
    """Of each lane: A (N, n, n), G (N, n), b (N, n), L (N, n, m)."""

    A: Tensor
    G: Tensor
    b: Tensor
    L: Tensor


def states_of(layer: Any) -> tuple[str, ...]:
    """The states of a layer in the order of its carry."""
    return tuple(name for name in layer.init_carry(1) if name in {s.name for s in layer.neuron.spec.states})


def streams_of(layer: Any) -> tuple[str, ...]:
    return tuple(n.name for n in layer.program.noise)


def starting(layer: Any, values: Tensor) -> Carry:
    """A carry with the states `values` (B, N, n)."""
    fresh = layer.init_carry(len(values))
    states = {name: values[..., i] for i, name in enumerate(states_of(layer))}
    return Carry({**fresh, **states}, fresh.digest)


def run(layer: Any, x: Tensor, start: Tensor, noise: Tensor) -> Tensor:
    """States (T, B, N, n) after each step; x (T, B, N), start (B, N, n), noise (T, B, N, m)."""
    given = {name: noise[..., i] for i, name in enumerate(streams_of(layer))}
    out, _ = layer(x if layer.program.given and layer.neuron.spec.inputs else None,
                   starting(layer, start), noise=given, **_sizes(layer, x))  # fmt: skip
    names = states_of(layer)
    return out[..., None] if isinstance(out, Tensor) else torch.stack([out[name] for name in names], -1)


def _sizes(layer: Any, x: Tensor) -> dict[str, int]:
    return {} if layer.neuron.spec.inputs else {"steps": x.shape[0], "batch": x.shape[1]}


def transition(layer: Any) -> Affine:
    """The matrices of one step, from steps of the layer itself from unit states, inputs and noise; differentiable."""
    n, m, N = len(states_of(layer)), len(streams_of(layer)), layer.size[0]
    eye = torch.eye(n + m + 2, dtype=layer._like.dtype, device=layer._like.device)
    eye[-1, -1] = 0  # the last row is the step from nothing
    wide = eye[:, None].expand(-1, N, -1)
    x, noise = wide[None, ..., n], wide[None, ..., n + 1 : n + 1 + m]
    found = run(layer, x, wide[..., :n], noise)[0]
    b = found[-1]
    columns = (found[:-1] - b).movedim(0, -1)  # (N, n, n + 1 + m)
    return Affine(columns[..., :n], columns[..., n], b, columns[..., n + 1 :])


def is_affine(layer: Any) -> bool:
    """Whether steps from random states, inputs and noise are those of `transition`, lane by lane, and every state has
    noise of its own: S is then invertible."""
    with torch.no_grad():
        A, G, b, L = transition(layer)
        n, m = L.shape[1:]
        if n != m or not bool((torch.linalg.det(L).abs() > 0).all()):
            return False
        random = torch.Generator().manual_seed(0)
        at = [torch.randn(PROBES, len(A), k, generator=random).to(A) for k in (n, m, 1)]
        found = run(layer, at[2][None, ..., 0], at[0], at[1][None])[0]
        wanted = _apply(A, at[0]) + G * at[2] + b + _apply(L, at[1])
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
        own: with the inputs w (T, B, N).
        x: (T, B, N, n), the states before each step: a sample of the path, or its means.
        P: (T, N, n, n), covariances around these means; None where x is a sample.

    Returns:
        The divergence where P is given, or its value at the sample, whose mean it is.
    """
    dA = own.A - prior.A
    white = torch.linalg.inv(prior.L)
    r = _apply(dA, x) + own.G * w[..., None] + own.b - prior.b
    off = _apply(white, r).square().sum((0, 2, 3))
    ratio = white @ own.L
    n = ratio.shape[-1]
    fixed = ratio.square().sum((-2, -1)) - n - 2 * torch.linalg.slogdet(ratio).logabsdet
    total = off + len(x) * fixed.sum()
    if P is not None:
        M = white @ dA
        total = total + (M @ P @ M.mT).diagonal(dim1=-2, dim2=-1).sum()
    return 0.5 * total


def require_one_axis(layer: Any) -> None:
    if len(layer.size) != 1:
        raise Unsupported("a latent has one axis of neurons")
