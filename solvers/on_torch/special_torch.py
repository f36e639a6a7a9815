"""phi functions, divided differences and matrix exponentials on torch tensors, with finite gradients everywhere.

The text of this file is pasted into emitted sources, so it imports torch and math only.
"""

from __future__ import annotations

import math

import torch

TERMS = 24  # of a Taylor series inside |z| <= 2: the rest is below 2^24/24! = 3e-17
TERMS_1 = 18  # inside |z| <= 1: below 1/20! = 4e-19


class _Phi(torch.autograd.Function):
    """phi_k and its slope in closed form: few operations forward, no cancellation in the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(k, z):
        return _phi_values(k, z)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.k, z = inputs
        ctx.save_for_backward(z, output)
        ctx.save_for_forward(z, output)

    @staticmethod
    def backward(ctx, g):
        z, value = ctx.saved_tensors
        slope = _phi_slope(ctx.k, z, value)
        return None, g * (slope.conj() if slope.is_complex() else slope)


class _PhiForward(_Phi):
    """With forward mode, which torch.compile does not take."""

    @staticmethod
    def jvp(ctx, _, tangent):
        z, value = ctx.saved_tensors
        return tangent * _phi_slope(ctx.k, z, value)


def _phi_slope(k, z, value):
    """phi_k' = phi_k - k phi_{k+1} near 0 and (phi_{k-1} - k phi_k)/z away from it: neither cancels there."""
    near = z.abs() < 2
    far = torch.where(near, torch.ones_like(z), z)
    below = phi(k - 1, z) if k > 1 else torch.exp(z)
    return torch.where(near, value - k * phi(k + 1, z), (below - k * value) / far)


def phi(k: int, z: torch.Tensor) -> torch.Tensor:
    """phi_k(z) = sum_n z^n/(n+k)!, real or complex; phi_1(z) = (e^z - 1)/z."""
    return (_Phi if torch.compiler.is_compiling() else _PhiForward).apply(k, z)


def _phi_values(k, z):
    """phi_1 as a quotient that is right for every z but 0; higher ones by the recurrence, near 0 by the series."""
    if k == 1:
        safe = torch.where(z == 0, torch.ones_like(z), z)
        return torch.where(z == 0, torch.ones_like(z), torch.expm1(safe) / safe)
    edge, terms = (1.0, TERMS_1) if k == 2 else (2.0, TERMS)
    small = z.abs() < edge
    far = torch.where(small, torch.ones_like(z), z)
    value = torch.expm1(far) / far
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / far
    near = torch.where(small, z, torch.zeros_like(z))
    total = near * (1 / math.factorial(terms + k))
    for n in reversed(range(1, terms)):
        total = (total + 1 / math.factorial(n + k)) * near
    return torch.where(small, total + 1 / math.factorial(k), value)


def cphi(k: int, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """phi_k(a + i b)."""
    a, b = torch.broadcast_tensors(a, b)
    return phi(k, torch.complex(a, b))


def edd(*nodes: torch.Tensor) -> torch.Tensor:
    """Divided difference of exp at real nodes, equal ones allowed."""
    stacked = torch.stack(torch.broadcast_tensors(*nodes))
    return _edd_sorted(list(torch.sort(stacked, dim=0).values))


def _edd_sorted(x: list[torch.Tensor]) -> torch.Tensor:
    """From differences over neighbours to those over ever more nodes: split where they are far apart, else a series."""
    if len(x) == 1:
        return torch.exp(x[0])
    found = [torch.exp(x[i + 1]) * phi(1, x[i] - x[i + 1]) for i in range(len(x) - 1)]
    for width in range(3, len(x) + 1):
        found = [_wider(x[i : i + width], found[i], found[i + 1]) for i in range(len(found) - 1)]
    return found[0]


def _wider(x: list[torch.Tensor], low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The difference over x from those without its last and without its first node."""
    spread = x[-1] - x[0]
    near = spread < 2.0
    split = (high - low) / torch.where(near, torch.ones_like(spread), spread)
    return torch.where(near, _edd_series([torch.where(near, n, torch.zeros_like(n)) for n in x]), split)


def _edd_series(x: list[torch.Tensor]) -> torch.Tensor:
    k, centre = len(x) - 1, (x[0] + x[-1]) / 2
    h = [torch.ones_like(centre)] + [torch.zeros_like(centre)] * (TERMS - 1)
    for node in x:
        for n in range(1, TERMS):
            h[n] = h[n] + (node - centre) * h[n - 1]
    total = torch.zeros_like(centre)
    for n in reversed(range(TERMS)):
        total = total + h[n] * (1 / math.factorial(n + k))
    return torch.exp(centre) * total


def expm(n: int, *entries: torch.Tensor) -> torch.Tensor:
    """exp of n x n matrices given entry by entry, row by row; shape (..., n, n).

    A single small matrix takes a less exact path in torch than a batch, so it is computed as a batch of two.
    """
    stacked = torch.stack(torch.broadcast_tensors(*entries), dim=-1)
    shape = stacked.shape[:-1]
    matrices = stacked.reshape(-1, n, n)
    if matrices.shape[0] == 1:
        return torch.linalg.matrix_exp(matrices.expand(2, n, n))[0].reshape(*shape, n, n)
    return torch.linalg.matrix_exp(matrices).reshape(*shape, n, n)


class _Pair(torch.autograd.Function):
    """(C, S) of `pair`, with the derivative in closed form: autograd would meet sqrt(0) where eigenvalues coincide."""

    generate_vmap_rule = True

    @staticmethod
    def forward(k, m, d):
        C, S, _ = _pair_values(k, m, d)
        return C, S

    @staticmethod
    def setup_context(ctx, inputs, _output):
        ctx.k, m, d = inputs
        ctx.save_for_backward(m, d)
        ctx.save_for_forward(m, d)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gC, gS):
        U, V, T = _pair_slopes(ctx.k, *ctx.saved_tensors)
        return None, gC * U + gS * V, gC * V / 2 + gS * T


class _PairForward(_Pair):
    """With forward mode, which torch.compile does not take."""

    @staticmethod
    def jvp(ctx, _k, tm, td):
        U, V, T = _pair_slopes(ctx.k, *ctx.saved_tensors)
        return U * tm + V / 2 * td, V * tm + T * td


def pair(k: int, m: torch.Tensor, d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """phi_k(m + j) = C + S j with j^2 = d, any sign of d (phi_0 = exp): functions of 2 x 2 matrices."""
    function = _Pair if torch.compiler.is_compiling() else _PairForward
    return function.apply(k, *torch.broadcast_tensors(m, d))


def pair_slope(k: int, part: str, m: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """A derivative of `pair`: phi_k'(m + j) = U + V j, T = dS/dd."""
    return _pair_slopes(k, *torch.broadcast_tensors(m, d))["UVT".index(part)]


def _pair_slopes(k, m, d):
    """(U, V, T) with phi_k'(m + j) = U + V j and T = dS/dd; V/2 = dC/dd. Where nodes are repeated nothing cancels."""
    C, S, T = _pair_values(k, m, d)
    if k == 0:
        return C, S, T
    small, real, zero = torch.maximum(m.abs(), d.abs().sqrt()) < 1, d >= 0, torch.zeros_like(m)
    above, below = _pair_values(k + 1, m, d), _pair_values(k - 1, m, d)
    zeros, root = [zero] * k, torch.where(real, d, zero).sqrt()
    high, low = m + root, m - root
    U = (edd(*zeros, high, high) + edd(*zeros, low, low)) / 2
    V = edd(*zeros, high, high, low) + edd(*zeros, high, low, low)
    p, q, norm = below[0] - k * C, below[1] - k * S, torch.where(real | small, zero + 1, m**2 - d)
    U, V = torch.where(real, U, (p * m - q * d) / norm), torch.where(real, V, (q * m - p) / norm)
    return torch.where(small, C - k * above[0], U), torch.where(small, S - k * above[1], V), T


def _pair_values(k, m, d):
    size = torch.maximum(m.abs(), d.abs().sqrt())
    small, real = size < 1, d >= 0
    zero = torch.zeros_like(m)
    near = _pair_series(k, torch.where(small, m, zero), torch.where(small, d, zero))
    split = _pair_real(k, m, torch.where(real, d, zero))
    turning = _pair_complex(k, torch.where(small, zero + 1, m), torch.where(real | small, zero - 1, d))
    return [torch.where(small, a, torch.where(real, b, c)) for a, b, c in zip(near, split, turning, strict=True)]


def _pair_series(k, m, d):
    p, q, r, t = torch.ones_like(m), torch.zeros_like(m), torch.zeros_like(m), torch.zeros_like(m)
    C, S, T = torch.zeros_like(m), torch.zeros_like(m), torch.zeros_like(m)
    for n in range(TERMS + 6):
        weight = 1 / math.factorial(n + k)
        C, S, T = C + weight * p, S + weight * q, T + weight * t
        p, q, r, t = m * p + d * q, p + m * q, m * r + q + d * t, r + m * t
    return C, S, T


def _pair_real(k, m, d):
    root, zeros = d.sqrt(), [torch.zeros_like(m)] * k
    high, low = m + root, m - root
    C = (edd(*zeros, high) + edd(*zeros, low)) / 2
    return C, edd(*zeros, high, low), edd(*zeros, high, high, low, low)


def _pair_complex(k, m, d):
    w, size = (-d).sqrt(), m.exp()
    C, S = size * w.cos(), size * torch.sinc(w / math.pi)
    T = torch.where(w > 1, (C - S) / (2 * d), size * _sinc_slope(d.clamp(min=-1.0)))
    norm = m**2 - d
    for j in range(k):
        below = C - 1 / math.factorial(j)
        C, new = (below * m - S * d) / norm, (S * m - below) / norm
        slope = S if j == 0 else S - j * new
        S, T = new, (T * m - slope / 2 + new) / norm
    return C, S, T


def _sinc_slope(d):
    """d/dd of sinh(sqrt d)/sqrt d, |d| <= 1."""
    total = torch.zeros_like(d)
    for n in reversed(range(1, 14)):
        total = total * d + n / math.factorial(2 * n + 1)
    return total
