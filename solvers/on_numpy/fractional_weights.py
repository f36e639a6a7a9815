"""Weights of fractional integrals and derivatives on a uniform grid of spacing 1, float64.

Every method of w = v - v(0), D^alpha w = f is a convolution: w_n = h^alpha sum_j k_(n-j) f_j. `series` names of
functions here are coefficients of powers of z in the generating function. Sources: Diethelm, The Analysis of
Fractional Differential Equations (2010), appendix C; Lubich, SIAM J. Math. Anal. 17 (1986).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gamma

Array = np.ndarray
NEAR = 0.02  # exponents this close below 1 are left to that of 1: their Vandermonde matrix would lose its digits
MOST = 8  # exponents of starting weights


def power_difference(m: Array, p: float) -> Array:
    """m^p - (m - 1)^p for m >= 1 without cancellation."""
    m = np.asarray(m, float)
    inner = np.where(m > 1, m, 2.0)
    return np.where(m > 1, -(inner**p) * np.expm1(p * np.log1p(-1 / inner)), 1.0)


def rectangle_weights(alpha: float, n: int) -> Array:
    """(n,): integral of the kernel t^(alpha-1)/Gamma(alpha) over [m-1, m], m = 1 ... n."""
    return power_difference(np.arange(1, n + 1), alpha) / gamma(alpha + 1)


def trapezoid_weights(alpha: float, n: int) -> tuple[Array, Array]:
    """(n,) each: what the two ends of the interval that lies m - 1 to m steps back weigh, m = 1 ... n; the far end
    first."""
    m = np.arange(1, n + 1)
    whole, first = power_difference(m, alpha) / alpha, power_difference(m, alpha + 1) / (alpha + 1)
    return (first - (m - 1) * whole) / gamma(alpha), (m * whole - first) / gamma(alpha)


def binomial_series(p: float, n: int) -> Array:
    """(n,): coefficients of (1 - z)^p, by c_m = (1 - (1 + p)/m) c_(m-1)."""
    m = np.arange(1, n)
    return np.cumprod(np.concatenate([[1.0], 1 - (1 + p) / m]))


def bdf2_series(alpha: float, n: int) -> Array:
    """(n,): coefficients of (3/2 - 2 z + z^2/2)^(-alpha), by the recurrence of a power of a polynomial (Miller)."""
    w = np.zeros(max(n, 2))
    w[0], w[1] = 1.5**-alpha, 1.5**-alpha * 4 * alpha / 3
    for m in range(2, n):
        w[m] = (4 * (m - 1 + alpha) * w[m - 1] - (m - 2 + 2 * alpha) * w[m - 2]) / (3 * m)
    return w[:n]


def trapezoidal_series(alpha: float, n: int) -> Array:
    """(n,): coefficients of ((1 + z)/(2 (1 - z)))^alpha, from (1 - z^2) w' = 2 alpha w."""
    w = np.zeros(max(n, 2))
    w[0], w[1] = 2.0**-alpha, 2.0**-alpha * 2 * alpha
    for m in range(2, n):
        w[m] = (2 * alpha * w[m - 1] + (m - 2) * w[m - 2]) / m
    return w[:n]


SERIES = {"bdf2": bdf2_series, "trapezoidal": trapezoidal_series}


def exponents(alpha: float) -> list[float]:
    """Powers of t of which D^alpha y consists near 0: k + l alpha <= 1, at most `MOST`, 1 among them."""
    found = [k * alpha for k in range(int(np.ceil(1 / alpha)) + 1) if k * alpha < 1 - NEAR]
    return [*found[: MOST - 1], 1.0]


def starting_weights(alpha: float, n: int, rule: str = "bdf2", *, causal: bool = False) -> Array:
    """(n + 1, s): W[m, j] that makes the convolution quadrature exact for t^g, g in `exponents(alpha)`, at m = 0 ... n.

    The first s - 1 steps read one another's values. `causal`: row m < s - 1 reads no later value than its own and is
    exact for the first m + 1 exponents, so that a step needs only what is known; that leaves O(h^(1 + 3 alpha)) at a
    fixed time.
    """
    powers = exponents(alpha)
    s, m = len(powers), np.arange(n + 1, dtype=float)
    omega = SERIES[rule](alpha, n + 1)
    right = np.stack([_defect(omega, m, alpha, g) for g in powers])  # (s, n + 1)
    table = np.array([[float(j) ** g if g else 1.0 for j in range(s)] for g in powers])
    found = np.linalg.solve(table, right).T
    found[0] = 0.0
    for row in range(1, min(s - 1, n + 1) if causal else 1):
        found[row] = 0.0
        found[row, : row + 1] = np.linalg.solve(table[: row + 1, : row + 1], right[: row + 1, row])
    return found


def _defect(omega: Array, m: Array, alpha: float, g: float) -> Array:
    """The integral of t^g minus its convolution quadrature, at the grid's points."""
    size = 2 * len(m)
    powers = m**g if g else np.ones_like(m)
    rough = np.fft.irfft(np.fft.rfft(omega, size) * np.fft.rfft(powers, size), size)[: len(m)]
    return gamma(g + 1) / gamma(g + alpha + 1) * m ** (g + alpha) - rough
