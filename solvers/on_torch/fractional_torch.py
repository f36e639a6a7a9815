"""Weights of fractional methods as functions of the order, in float64 and differentiable.

Orders and leaks have any shape, *lanes*; weights are (n, *lanes*). The definitions are those of
`on_numpy/fractional_weights.py` and `on_numpy/mittag_leffler.py`.
"""

from __future__ import annotations

import numpy as np
import torch

from ..on_numpy.fractional_weights import exponents
from ..on_numpy.mittag_leffler import nodes

Tensor = torch.Tensor


def mittag_leffler(z: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """E_{alpha, beta}(-z), z >= 0, 0 < alpha <= 1, 0 <= beta <= 2."""
    far = z.clamp_min(1.0)
    tail = (torch.exp(-torch.lgamma(beta - alpha + 2)) * (beta - alpha) * (beta - alpha + 1)  # 1/Gamma(beta - alpha)
            - _contour(far, alpha, beta - alpha)) / far  # fmt: skip
    return torch.where(z > 1, tail, _contour(z.clamp_max(1.0), alpha, beta))


def _contour(z: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    total = torch.zeros((), dtype=z.dtype, device=z.device)
    for s, weight in zip(*nodes(), strict=True):
        log = torch.tensor(np.log(s), device=z.device)
        power = torch.exp(alpha * log)
        top, below = complex(weight) * torch.exp((alpha - beta) * log), power.real + z
        total = total + (top.real * below + top.imag * power.imag) / (below * below + power.imag**2)
    return total


def unit_response(alpha: Tensor, lam: Tensor, h: float, n: int) -> Tensor:
    """(n + 1, *lanes*): y(k h) of D^alpha y = -lam*y + 1, y(0) = 0."""
    t = _steps(0, n + 1, alpha) * h
    grown = torch.cat([torch.zeros_like(t[:1] * alpha), t[1:] ** alpha])
    return grown * mittag_leffler(lam * grown, alpha, 1 + alpha)


def power_difference(m: Tensor, p: Tensor) -> Tensor:
    """m^p - (m - 1)^p for m >= 1 without cancellation."""
    inner = m.clamp_min(2.0)
    return torch.where(m > 1, -(inner**p) * torch.expm1(p * torch.log1p(-1 / inner)), torch.ones_like(m * p))


def rectangle_weights(alpha: Tensor, n: int) -> Tensor:
    """Integral of the kernel over [m-1, m], m = 1 ... n."""
    return power_difference(_steps(1, n, alpha), alpha) * torch.exp(-torch.lgamma(alpha + 1))


def trapezoid_weights(alpha: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """What the far and the near end of the interval m - 1 to m steps back weigh, m = 1 ... n."""
    m = _steps(1, n, alpha)
    whole, first = power_difference(m, alpha) / alpha, power_difference(m, alpha + 1) / (alpha + 1)
    scale = torch.exp(-torch.lgamma(alpha))
    return (first - (m - 1) * whole) * scale, (m * whole - first) * scale


def binomial_series(p: Tensor, n: int) -> Tensor:
    """Coefficients of (1 - z)^p: c_m = (1 - (1 + p)/m) c_(m-1)."""
    m = _steps(1, max(n - 1, 0), p)
    ratios = 1 - (1 + p) / m
    return torch.cat([torch.ones_like(p)[None], torch.cumprod(ratios, 0)])[:n]


def product(a: Tensor, b: Tensor) -> Tensor:
    """Coefficients of the product of two series, (n, *lanes*) each."""
    n = len(a)
    return torch.fft.irfft(torch.fft.rfft(a, 2 * n, dim=0) * torch.fft.rfft(b, 2 * n, dim=0), 2 * n, dim=0)[:n]


def inverse(p: Tensor) -> Tensor:
    """Coefficients of one over a series whose first coefficient is not 0, by Newton's method: n doubles."""
    q, n = 1 / p[:1], len(p)
    while len(q) < n:
        size = min(2 * len(q), n)
        wide = torch.cat([q, torch.zeros_like(p[len(q) : size])])
        q = 2 * wide - product(product(wide, wide), p[:size])
    return q


def gl_weights(terms: list[tuple[Tensor, Tensor]], h: float, n: int) -> Tensor:
    """Of sum_i c_i D^(a_i) w = f by Grünwald-Letnikov: w = series(weights) f. Terms are (c, a)."""
    if len(terms) == 1:
        c, a = terms[0]
        return binomial_series(-a, n) * (h**a / c)
    total = sum(binomial_series(a, n) * (c * h**-a) for c, a in terms)
    assert isinstance(total, Tensor)
    return inverse(total)


def l1_weights(alpha: Tensor, h: float, n: int) -> Tensor:
    """Of D^alpha w = f by L1 on a uniform grid: w_m = sum of weights[m - j]*f_j over 1 <= j <= m."""
    lines = power_difference(_steps(1, n, alpha), 1 - alpha)  # at alpha = 1: 1, 0, 0, ...
    steps = torch.cat([lines[:1], lines[1:] - lines[:-1]])  # times 1 - z
    return inverse(steps) * (h**alpha * torch.exp(torch.lgamma(2 - alpha)))


def flmm2_series(alpha: Tensor, n: int, rule: str) -> Tensor:
    """bdf2: (3/2 - 2 z + z^2/2)^(-alpha); trapezoidal: ((1 + z)/(2 (1 - z)))^alpha."""
    growing, m = binomial_series(-alpha, n), _steps(0, n, alpha)
    if rule == "bdf2":
        return product(growing, binomial_series(-alpha, n) * 3.0**-m) * 1.5**-alpha
    return product(growing, binomial_series(alpha, n) * (-1.0) ** m) * 2.0**-alpha


def starting_weights(alpha: Tensor, n: int, rule: str) -> Tensor:
    """(n + 1, s, *lanes*) of grid points 0 ... n: causal ones (`on_numpy.fractional_weights.starting_weights`)."""
    flat = alpha.reshape(-1)
    rows = [_starting(a, n, rule) for a in flat]
    s = max(r.shape[1] for r in rows)
    padded = [torch.nn.functional.pad(r, (0, s - r.shape[1])) for r in rows]
    return torch.stack(padded, -1).reshape(n + 1, s, *alpha.shape)


def _starting(alpha: Tensor, n: int, rule: str) -> Tensor:
    count = len(exponents(float(alpha.detach())))
    powers = [k * alpha for k in range(count - 1)] + [torch.ones_like(alpha)]
    m = _steps(0, max(n, count) + 1, alpha)
    omega = flmm2_series(alpha, len(m), rule)
    grid = torch.stack([_raised(m, g) for g in powers])  # (s, n + 1)
    right = torch.stack([_defect(omega, m, row, alpha, g) for row, g in zip(grid, powers, strict=True)])
    table = grid[:, :count]
    rows = [torch.zeros_like(alpha).expand(count)]
    for k in range(1, count - 1):
        own = torch.linalg.solve(table[: k + 1, : k + 1], right[: k + 1, k])
        rows.append(torch.nn.functional.pad(own, (0, count - k - 1)))
    later = torch.linalg.solve(table, right[:, len(rows) :]).T
    return torch.cat([torch.stack(rows), later])[: n + 1]


def _raised(m: Tensor, g: Tensor) -> Tensor:
    """m^g, 1 at m = 0 for g = 0 only."""
    inner = m.clamp_min(1.0) ** g
    first = torch.ones_like(m[:1]) if float(g.detach()) == 0 else torch.zeros_like(m[:1])
    return torch.cat([first, inner[1:]])


def _defect(omega: Tensor, m: Tensor, powers: Tensor, alpha: Tensor, g: Tensor) -> Tensor:
    exact = torch.exp(torch.lgamma(g + 1) - torch.lgamma(g + alpha + 1)) * _raised(m, g + alpha)
    return exact - product(omega, powers)


def _steps(first: int, count: int, like: Tensor) -> Tensor:
    """first, first + 1, ... with axes of length 1 for lanes: (count, 1, ...)"""
    m = torch.arange(first, first + count, dtype=like.dtype, device=like.device)
    return m.reshape(-1, *(1 for _ in like.shape))
