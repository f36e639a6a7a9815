"""Schemes as published, with their errors, to show what they give. Never used by a layer.

Source: the released torchfde and spikeDE solvers of arXiv:2507.16937. Both solve the Riemann-Liouville problem, whose
solution with y(0) = 1 is that of Caputo's with y(0) = 0: they do not converge to the problem they are given.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gamma

from .fractional import Array, Field
from .fractional_weights import binomial_series


def gl_unshifted(f: Field, y0: Array | float, alpha: float, h: float, n: int) -> Array:
    """Grünwald-Letnikov of y itself instead of y - y0."""
    y, c = np.zeros((n + 1, *np.shape(y0))), binomial_series(alpha, n + 1)
    y[0] = y0
    for k in range(n):
        y[k + 1] = h**alpha * f(k * h, y[k]) - np.tensordot(c[k + 1 : 0 : -1], y[: k + 1], axes=1)
    return y


def trapezoidal_published(f: Field, y0: Array | float, alpha: float, h: float, n: int) -> Array:
    """L1's weights with k^(1-a) - (k + a)(k + 1)^(-a) for the first value."""
    y = np.zeros((n + 1, *np.shape(y0)))
    y[0] = y0
    for k in range(n):
        m = k + 1 - np.arange(1, k + 1, dtype=float)  # steps back of values 1 ... k
        later = (m + 1) ** (1 - alpha) - 2 * m ** (1 - alpha) + (m - 1) ** (1 - alpha)
        weights = np.concatenate([[k ** (1 - alpha) - (k + alpha) * (k + 1.0) ** -alpha], later])
        y[k + 1] = h**alpha * gamma(2 - alpha) * f(k * h, y[k]) - np.tensordot(weights, y[: k + 1], axes=1)
    return y
