"""Fractional initial value problems D^alpha y = f(t, y), y(0) = y0, Caputo, 0 < alpha <= 1, step by step in float64.

These are definitions, O(n^2), to compare fast versions with. Elements of y are independent of one another: f acts on
each by itself, `f(t, y)` with a number t and an array y of the form of `y0`. All return y at t = 0, h, ..., n h: (n +
1, ...). Sources: Diethelm, Ford, Freed, Nonlinear Dynamics 29 (2002) (abm); Lubich, SIAM J. Math. Anal. 17 (1986)
(gl, flmm2); Lin and Xu, J. Comput. Phys. 225 (2007), Stynes et al., SIAM J. Numer. Anal. 55 (2017) (l1, graded).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gamma

from .fractional_weights import (
    SERIES,
    binomial_series,
    rectangle_weights,
    starting_weights,
    trapezoid_weights,
)
from .mittag_leffler import mittag_leffler

Array = np.ndarray
Field = Callable[[float, Array], Array]


def rectangle(f: Field, y0: Array | float, alpha: float, h: float, n: int) -> Array:
    """Product rectangle rule, explicit; order 1."""
    y, slopes, weights = _start(y0, n), _start(0 * np.asarray(y0), n), rectangle_weights(alpha, n) * h**alpha
    for k in range(n):
        slopes[k] = f(k * h, y[k])
        y[k + 1] = y[0] + _dot(weights[k::-1], slopes[: k + 1])
    return y


def gl(f: Field, y0: Array | float, alpha: float, h: float, n: int, *, implicit: bool = False) -> Array:
    """Grünwald-Letnikov of y - y0; order 1. Explicit: f at the start of the step."""
    y, c = _start(y0, n), binomial_series(alpha, n + 1)
    w = y - y[0]
    for k in range(n):
        past = y[0] - _dot(c[k + 1 : 0 : -1], w[: k + 1])
        y[k + 1] = solved(f, (k + 1) * h, past, h**alpha, y[k]) if implicit else past + h**alpha * f(k * h, y[k])
        w[k + 1] = y[k + 1] - y[0]
    return y


def l1(f: Field, y0: Array | float, alpha: float, h: float, n: int, *, implicit: bool = True) -> Array:
    """L1 on a uniform grid; order 1 at fixed time where y starts like t^alpha, 2 - alpha where y is smooth."""
    return l1_on(f, y0, alpha, h * np.arange(n + 1), implicit=implicit)


def graded(end: float, n: int, alpha: float) -> Array:
    """(n + 1,): the mesh end*(j/n)^((2 - alpha)/alpha) on which L1 has order 2 - alpha although y starts like
    t^alpha."""
    return end * (np.arange(n + 1) / n) ** ((2 - alpha) / alpha)


def l1_on(f: Field, y0: Array | float, alpha: float, times: Array, *, implicit: bool = True) -> Array:
    """L1 on any mesh `times` (n + 1,) that starts at 0: D^alpha of the straight lines between its points."""
    y = _start(y0, len(times) - 1)
    for k in range(len(times) - 1):
        lengths = np.diff(times[: k + 2])
        slopes = _growth(times[k + 1] - times[1 : k + 2], lengths, 1 - alpha) / lengths / gamma(2 - alpha)
        past = y[k] - _dot(slopes[:k], np.diff(y[: k + 1], axis=0)) / slopes[k]
        at = k + 1 if implicit else k
        y[k + 1] = (
            solved(f, times[at], past, 1 / slopes[k], y[k]) if implicit else past + f(times[at], y[k]) / slopes[k]
        )
    return y


def abm(f: Field, y0: Array | float, alpha: float, h: float, n: int) -> Array:
    """Adams-Bashforth-Moulton, predict, evaluate, correct, evaluate; order 1 + alpha, 2 at alpha = 1."""
    y, slopes = _start(y0, n), _start(0 * np.asarray(y0), n)
    ahead = rectangle_weights(alpha, n) * h**alpha
    far, near = (w * h**alpha for w in trapezoid_weights(alpha, n))
    slopes[0] = f(0.0, y[0])
    for k in range(n):
        guess = y[0] + _dot(ahead[k::-1], slopes[: k + 1])
        known = _dot(far[k::-1], slopes[: k + 1]) + _dot(near[k:0:-1], slopes[1 : k + 1])
        y[k + 1] = y[0] + known + near[0] * f((k + 1) * h, guess)
        slopes[k + 1] = f((k + 1) * h, y[k + 1])
    return y


def flmm2(
    f: Field, y0: Array | float, alpha: float, h: float, n: int, rule: str = "bdf2", *, causal: bool = False
) -> Array:
    """Lubich's fractional multistep method of order 2 with starting weights; rule: bdf2 | trapezoidal. Implicit.

    `causal`: the first steps use what is known by then (`starting_weights`), else they are solved together.
    """
    y, slopes = _start(y0, n), _start(0 * np.asarray(y0), n)
    omega, starts = SERIES[rule](alpha, n + 1) * h**alpha, starting_weights(alpha, n, rule, causal=causal) * h**alpha
    slopes[0], s = f(0.0, y[0]), starts.shape[1]
    if not causal:
        _start_together(f, y, slopes, omega, starts, h)
    for k in range(1 if causal else min(s, n + 1), n + 1):
        past = y[0] + _dot(omega[k:0:-1], slopes[:k]) + _dot(starts[k, : min(k, s)], slopes[: min(k, s)])
        y[k] = solved(f, k * h, past, omega[0] + (starts[k, k] if k < s else 0.0), y[k - 1])
        slopes[k] = f(k * h, y[k])
    return y


def _start_together(f: Field, y: Array, slopes: Array, omega: Array, starts: Array, h: float) -> None:
    """Fill in the first s - 1 values, which read one another, by Newton's method."""
    last = min(starts.shape[1], len(y))
    weights = starts[1:last, :last].copy()
    for k in range(1, last):
        weights[k - 1, : k + 1] += omega[k::-1]
    y[1:last] = y[0]
    for _ in range(50):
        slopes[1:last] = [f(k * h, y[k]) for k in range(1, last)]
        rows = [(f(k * h, y[k] + 1e-6) - f(k * h, y[k] - 1e-6)) / 2e-6 for k in range(1, last)]
        matrix = np.eye(last - 1) - weights[:, 1:] * np.moveaxis(np.stack(rows), 0, -1)[..., None, :]
        rest = np.moveaxis(y[1:last] - y[0] - _dot(weights, slopes[:last]), 0, -1)[..., None]
        change = np.moveaxis(np.linalg.solve(matrix, rest)[..., 0], -1, 0)
        y[1:last] -= change
        if np.all(np.abs(change) <= 1e-14 * np.maximum(1.0, np.abs(y[1:last]))):
            break


def leak(b: Array, y0: Array | float, alpha: float, lam: float, h: float, *, direct: bool = False) -> Array:
    """D^alpha y = -lam*y + b, exactly, b (n, ...) held over each step, lam >= 0; by FFT, or by the sums themselves."""
    b = np.asarray(b, float)
    n, ones = len(b), [1 for _ in b.shape[1:]]
    response = unit_response(alpha, lam, h, n)
    decay, weights = (1 - lam * response).reshape(-1, *ones), np.diff(response)
    if direct:
        forced = np.stack([0 * b[0], *(_dot(weights[k::-1], b[: k + 1]) for k in range(n))])
    else:
        spectrum = np.fft.rfft(weights, 2 * n).reshape(-1, *ones) * np.fft.rfft(b, 2 * n, axis=0)
        forced = np.concatenate([0 * b[:1], np.fft.irfft(spectrum, 2 * n, axis=0)[:n]])
    return decay * np.asarray(y0, float) + forced


def unit_response(alpha: float, lam: float, h: float, n: int) -> Array:
    """(n + 1,): y(k h) of D^alpha y = -lam*y + 1, y(0) = 0: t^alpha E_{alpha, 1 + alpha}(-lam t^alpha)."""
    t = (h * np.arange(n + 1)) ** alpha
    return t * mittag_leffler(lam * t, alpha, 1 + alpha)


def solved(f: Field, t: float, past: Array, weight: float | Array, guess: Array) -> Array:
    """y = past + weight*f(t, y), element by element, by Newton's method with a slope from differences."""
    y = np.array(guess, float)
    for _ in range(50):
        small = 1e-6 * np.maximum(1.0, np.abs(y))
        slope = (f(t, y + small) - f(t, y - small)) / (2 * small)
        change = (y - past - weight * f(t, y)) / (1 - weight * slope)
        y = y - change
        if np.all(np.abs(change) <= 1e-14 * np.maximum(1.0, np.abs(y))):
            break
    return y


def _start(y0: Array | float, n: int) -> Array:
    first = np.asarray(y0, float)
    y = np.zeros((n + 1, *first.shape))
    y[0] = first
    return y


def _dot(weights: Array, rows: Array) -> Array:
    """sum_j weights[j]*rows[j]"""
    return np.tensordot(weights, rows, axes=1)


def _growth(x: Array, d: Array, p: float) -> Array:
    """(x + d)^p - x^p for x >= 0, d > 0 without cancellation; 0^0 is 0, the limit from larger p: L1 at alpha = 1."""
    inner = np.where(x > 0, x, 1.0)
    return np.where(x > 0, inner**p * np.expm1(p * np.log1p(d / inner)), d**p)
