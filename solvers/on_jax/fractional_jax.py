"""Weights of fractional methods in jax, as functions of the order; see `on_torch/fractional_torch.py`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from ..on_numpy.fractional_weights import MOST, NEAR
from ..on_numpy.mittag_leffler import nodes

Array = jax.Array


def mittag_leffler(z: Array, alpha: Array, beta: Array) -> Array:
    """E_{alpha, beta}(-z), z >= 0, 0 < alpha <= 1, 0 <= beta <= 2."""
    far, left = jnp.maximum(z, 1.0), beta - alpha
    first = jnp.exp(-gammaln(left + 2)) * left * (left + 1)  # 1/Gamma(beta - alpha)
    return jnp.where(z > 1, (first - _contour(far, alpha, left)) / far, _contour(jnp.minimum(z, 1.0), alpha, beta))


def _contour(z: Array, alpha: Array, beta: Array) -> Array:
    total = jnp.zeros_like(z)
    for s, weight in zip(*nodes(), strict=True):
        size, angle = float(np.abs(s)), float(np.angle(s))

        def power(p: Array, size: float = size, angle: float = angle) -> tuple[Array, Array]:
            return size**p * jnp.cos(p * angle), size**p * jnp.sin(p * angle)

        re, im = power(alpha)
        other_re, other_im = power(alpha - beta)
        top_re = weight.real * other_re - weight.imag * other_im
        top_im = weight.real * other_im + weight.imag * other_re
        below = re + z
        total = total + (top_re * below + top_im * im) / (below * below + im * im)
    return total


def unit_response(alpha: Array, lam: Array, h: float, n: int) -> Array:
    """(n + 1, *lanes*): y(k h) of D^alpha y = -lam*y + 1, y(0) = 0."""
    t = _steps(0, n + 1, alpha) * h
    grown = jnp.where(t > 0, jnp.where(t > 0, t, 1.0) ** alpha, 0.0)
    return grown * mittag_leffler(lam * grown, alpha, 1 + alpha)


def power_difference(m: Array, p: Array) -> Array:
    """m^p - (m - 1)^p for m >= 1 without cancellation."""
    inner = jnp.maximum(m, 2.0)
    return jnp.where(m > 1, -(inner**p) * jnp.expm1(p * jnp.log1p(-1 / inner)), 1.0)


def rectangle_weights(alpha: Array, n: int) -> Array:
    """Integral of the kernel over [m-1, m], m = 1 ... n."""
    return power_difference(_steps(1, n, alpha), alpha) * jnp.exp(-gammaln(alpha + 1))


def trapezoid_weights(alpha: Array, n: int) -> tuple[Array, Array]:
    """What the far and the near end of the interval m - 1 to m steps back weigh, m = 1 ... n."""
    m = _steps(1, n, alpha)
    whole, first = power_difference(m, alpha) / alpha, power_difference(m, alpha + 1) / (alpha + 1)
    scale = jnp.exp(-gammaln(alpha))
    return (first - (m - 1) * whole) * scale, (m * whole - first) * scale


def binomial_series(p: Array, n: int) -> Array:
    """Coefficients of (1 - z)^p."""
    ratios = 1 - (1 + p) / _steps(1, n - 1, p)
    return jnp.concatenate([jnp.ones_like(p)[None], jnp.cumprod(ratios, 0)])


def inverse(p: Array) -> Array:
    """Coefficients of one over a series."""
    q, n = 1 / p[:1], len(p)
    while len(q) < n:
        size = min(2 * len(q), n)
        wide = jnp.concatenate([q, jnp.zeros_like(p[len(q) : size])])
        q = 2 * wide - convolved(convolved(wide, wide), p[:size])
    return q


def gl_weights(terms: Sequence[tuple[Array, Array]], h: float, n: int) -> Array:
    """Of sum_i c_i D^(a_i) w = f by Grünwald-Letnikov. Terms are (c, a)."""
    if len(terms) == 1:
        c, a = terms[0]
        return binomial_series(-a, n) * (h**a / c)
    return inverse(sum((binomial_series(a, n) * (c * h**-a) for c, a in terms), jnp.zeros(())))


def l1_weights(alpha: Array, h: float, n: int) -> Array:
    """Of D^alpha w = f by L1 on a uniform grid."""
    lines = power_difference(_steps(1, n, alpha), 1 - alpha)
    steps = jnp.concatenate([lines[:1], lines[1:] - lines[:-1]])
    return inverse(steps) * (h**alpha * jnp.exp(gammaln(2 - alpha)))


def flmm2_series(alpha: Array, n: int, rule: str) -> Array:
    """bdf2: (3/2 - 2 z + z^2/2)^(-alpha); trapezoidal: ((1 + z)/(2 (1 - z)))^alpha."""
    growing, m = binomial_series(-alpha, n), _steps(0, n, alpha)
    if rule == "bdf2":
        return convolved(growing, growing * 3.0**-m) * 1.5**-alpha
    return convolved(growing, binomial_series(alpha, n) * (-1.0) ** m) * 2.0**-alpha


def starting_weights(alpha: Array, n: int, rule: str) -> Array:
    """(n + 1, MOST, *lanes*) of grid points 0 ... n: causal ones (`on_numpy.fractional_weights.starting_weights`).

    How many there are depends on the order's value, which a trace does not know: the others are 0.
    """
    rows = jax.vmap(lambda a: _starting(a, n, rule), out_axes=-1)(alpha.reshape(-1))
    return rows.reshape(n + 1, MOST, *alpha.shape)


def _starting(alpha: Array, n: int, rule: str) -> Array:
    k = jnp.arange(MOST)
    count = jnp.minimum(jnp.sum(k[: MOST - 1] * alpha < 1 - NEAR), MOST - 1) + 1
    powers = jnp.where(k < count - 1, k * alpha, 1.0)
    m = jnp.arange(max(n, MOST) + 1, dtype=alpha.dtype)
    omega = flmm2_series(alpha, len(m), rule)
    grid = jnp.where(m > 0, jnp.maximum(m, 1.0) ** powers[:, None], (powers == 0)[:, None])  # (MOST, n + 1)
    scale = jnp.exp(gammaln(powers + 1) - gammaln(powers + alpha + 1))[:, None]
    exact = scale * jnp.where(m > 0, jnp.maximum(m, 1.0) ** (powers + alpha)[:, None], 0.0)
    right = exact - jax.vmap(lambda g: convolved(omega, g))(grid)
    early = [jnp.zeros(MOST), *(_solved(grid, right[:, i], jnp.minimum(i + 1, count)) for i in range(1, MOST - 1))]
    wanted = jnp.stack([_solved(grid, right[:, i], count) for i in range(1, MOST - 1)])
    first = jnp.where((jnp.arange(1, MOST - 1) < count - 1)[:, None], jnp.stack(early[1:]), wanted)
    later = _solved(grid, right[:, MOST - 1 :], count).T
    return jnp.concatenate([early[0][None], first, later])[: n + 1]


def _solved(grid: Array, right: Array, count: Array) -> Array:
    """Weights of the first `count` values that are exact for as many powers; the others are 0."""
    k = jnp.arange(MOST)
    own = (k < count)[:, None] & (k < count)
    table = jnp.where(own, grid[:, :MOST], jnp.eye(MOST))
    return jnp.linalg.solve(table, jnp.where((k < count).reshape(-1, *([1] * (right.ndim - 1))), right, 0.0))


def convolved(weights: Array, values: Array, first: int = 0) -> Array:
    """sum_j weights[n - j]*values[j] for n = first ... len(weights) - 1."""
    size = len(weights) + len(values)
    spectrum = jnp.fft.rfft(weights, size, axis=0) * jnp.fft.rfft(values, size, axis=0)
    return jnp.fft.irfft(spectrum, size, axis=0)[first : len(weights)]


def _steps(first: int, count: int, like: Array) -> Array:
    m = jnp.arange(first, first + count, dtype=like.dtype)
    return m.reshape(-1, *(1 for _ in like.shape))
