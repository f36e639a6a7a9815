"""The Mittag-Leffler function on the negative real axis, where fractional leaks live.

For 0 < alpha <= 1 and z >= 0, E_{alpha, beta}(-z) = 1/(2 pi i) times the integral of e^s F(s), F(s) = s^(alpha -
beta) / (s^alpha + z), along a path around the negative real axis: the Laplace transform of t^(beta-1) E(-z t^alpha)
at t = 1. F is smooth off that axis for every z (the zeros of s^alpha + z lie on other sheets), so one parabola serves
all z. Source: Weideman and Trefethen, Math. Comp. 76 (2007), section 3; Garrappa, SIAM J. Numer. Anal. 53 (2015).
"""

from __future__ import annotations

import numpy as np
from scipy.special import rgamma

Array = np.ndarray
HALF = 17  # nodes in the upper half plane; the error falls like e^(-2 pi HALF/3), 4e-16; rounding is e^(pi HALF/12) eps


def nodes() -> tuple[Array, Array]:
    """Nodes s and weights such that the integral of e^s F(s) is the real part of sum(weights*F(s))."""
    spacing, size = 3 / HALF, np.pi * HALF / 12
    u = (np.arange(HALF) + 0.5) * spacing
    s = size * (1 + 1j * u) ** 2
    return s, np.exp(s) * 2 * size * (1 + 1j * u) * spacing / np.pi  # ds = 2 i size (1 + i u) du, over 2 pi i, twice


def mittag_leffler(z: Array | float, alpha: Array | float, beta: Array | float = 1.0) -> Array:
    """E_{alpha, beta}(-z), absolute error below 1e-13 (relative to 1/Gamma(beta)), and relative where z is large.

    Args:
        z: >= 0, any shape; alpha: in (0, 1]; beta: in [0, 2]. They broadcast.
    """
    z, alpha, beta = np.asarray(z, float), np.asarray(alpha, float), np.asarray(beta, float)
    if np.any(z < 0) or np.any(alpha <= 0) or np.any(alpha > 1):
        raise ValueError("mittag_leffler needs z >= 0 and 0 < alpha <= 1")
    if not np.any(z > 1):
        return _contour(z, alpha, beta)
    far = np.maximum(
        z, 1.0
    )  # the first term of the asymptotic series by itself: the rest keeps its digits if that is 0
    tail = (rgamma(beta - alpha) - _contour(far, alpha, beta - alpha)) / far
    return np.where(z > 1, tail, _contour(np.minimum(z, 1.0), alpha, beta))


def _contour(z: Array, alpha: Array, beta: Array) -> Array:
    total = np.zeros(np.broadcast_shapes(z.shape, alpha.shape, beta.shape))
    for s, weight in zip(*nodes(), strict=True):
        power = s**alpha
        top, below = weight * power * s**-beta, power.real + z
        total += (top.real * below + top.imag * power.imag) / (
            below * below + power.imag**2
        )  # real part of top/(p + z)
    return total
