"""How far the path of one affine Gaussian layer is from that of another, in closed form or at a sample.

With steps x' = A x + B u + b + L xi, xi ~ N(0, 1), S = L L', and own matrices (A', B', b', L') and inputs w, the law of
the next state given x diverges from that of the layer without input by (both normal)

    1/2 (tr(S^-1 S') - n + ln|S| - ln|S'| + r' S^-1 r),   r = (A' - A) x + B' w + b' - b,

and the divergence of two Markov paths is the sum of the expectations of these over x under the first (chain rule).
Where x ~ N(m, P), E[r' S^-1 r] is the same at m plus tr(S^-1 (A' - A) P (A' - A)'): no sample is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.nn.gaussian_torch import Transition, gaussian


def full_transition(layer: Any) -> Transition | None:
    """The transition of a layer whose step is affine and whose noise reaches every direction of the states, so that S
    is invertible; None of others."""
    try:
        with torch.no_grad():
            step = gaussian(layer)
    except Unsupported:
        return None
    n, m = step.L.shape[-2:]
    return step if n == m and bool((torch.linalg.matrix_rank(step.L) == n).all()) else None


def path_divergence(prior: Transition, own: Transition, x: Tensor, w: Tensor, P: Tensor | None = None) -> Tensor:
    """KL of the steps of one path law from those of another, summed over time, lanes and states: (B,).

    Args:
        prior: without input.
        own: with the inputs w (T, B, N, r).
        x: (T, B, N, n), the states before each step: a sample of the path, or its means.
        P: (T, N, n, n), covariances around these means; None where x is a sample.

    Returns:
        The divergence where P is given, or its value at the sample, whose mean it is.
    """
    dA, white = own.A - prior.A, torch.linalg.inv(prior.L)
    r = _apply(dA, x) + _apply(own.B, w) + own.b - prior.b
    ratio = white @ own.L
    n = ratio.shape[-1]
    fixed = ratio.square().sum((-2, -1)) - n - 2 * torch.linalg.slogdet(ratio).logabsdet
    total = _apply(white, r).square().sum((0, 2, 3)) + len(x) * fixed.sum()
    if P is not None:
        M = white @ dA
        total = total + (M @ P @ M.mT).diagonal(dim1=-2, dim2=-1).sum()
    return 0.5 * total


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("...nij,...nj->...ni", matrix, x)
