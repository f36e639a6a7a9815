"""Functions that exact discretizations need, without cancellation: phi functions, divided differences, exponentials.

Sources: Higham, Functions of Matrices (2008), sections 10.5 and 10.7.4; McCurdy, Ng, Parlett, Math. Comp. 43 (1984) for
divided differences of exp.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

TERMS = 24  # of a Taylor series inside |z| <= 2: the rest is below 2^24/24! = 3e-17


def phi(k: int, z: np.ndarray) -> np.ndarray:
    """phi_k(z) = sum_n z^n/(n+k)!, real or complex, any shape; phi_1(z) = (e^z - 1)/z."""
    z = np.asarray(z)
    z = z.astype(complex) if np.iscomplexobj(z) else z.astype(float)
    if k == 1:
        safe = np.where(z == 0, 1.0, z)
        return np.where(z == 0, 1.0, np.expm1(safe) / safe)
    small = np.abs(z) < 2.0
    far = np.where(small, 1.0, z)
    value = np.expm1(far) / far
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / far
    return np.where(small, _phi_series(k, np.where(small, z, 0.0)), value)


def _phi_series(k: int, z: np.ndarray) -> np.ndarray:
    total = np.zeros_like(z)
    for n in reversed(range(TERMS)):
        total = total * z + 1 / math.factorial(n + k)
    return total


def edd(*nodes: np.ndarray) -> np.ndarray:
    """Divided difference of exp at real nodes (any number, equal ones allowed), elementwise over arrays."""
    x = np.sort(np.stack(np.broadcast_arrays(*[np.asarray(n, float) for n in nodes])), axis=0)
    return _edd_sorted(x)


def _edd_sorted(x: np.ndarray) -> np.ndarray:
    """From differences over neighbours to those over ever more nodes: split where they are far apart, else a series."""
    if len(x) == 1:
        return np.exp(x[0])
    found = [np.exp(high) * phi(1, low - high) for low, high in pairwise(x)]
    for width in range(3, len(x) + 1):
        parts = [x[i : i + width] for i in range(len(found) - 1)]
        found = [_wider(nodes, low, high) for nodes, (low, high) in zip(parts, pairwise(found), strict=True)]
    return found[0]


def _wider(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The difference over x from those without its last and without its first node."""
    spread = x[-1] - x[0]
    near = spread < 2.0
    found = np.asarray((high - low) / np.where(near, 1.0, spread))
    if near.any():
        found[near] = _edd_series(x[:, near])
    return found


def _edd_series(x: np.ndarray) -> np.ndarray:
    """e^c sum_n h_n(x - c)/(n+k)!, h_n the complete homogeneous symmetric polynomials, c the middle of the nodes."""
    k, centre = len(x) - 1, (x[0] + x[-1]) / 2
    h = [np.ones_like(centre)] + [np.zeros_like(centre)] * (TERMS - 1)
    for node in x - centre:
        for n in range(1, TERMS):
            h[n] = h[n] + node * h[n - 1]
    total = sum(h[n] / math.factorial(n + k) for n in reversed(range(TERMS)))
    return np.exp(centre) * total


def expm(n: int, entries: list[np.ndarray]) -> np.ndarray:
    """exp of n x n matrices given entry by entry (row by row); the result has shape (..., n, n).

    Taylor series of the scaled matrix and squaring, in extended precision where the machine has it: scipy's Pade
    approximant is up to a hundred times less exact than torch's, and a reference should not be the worse one.
    """
    stacked = np.stack(np.broadcast_arrays(*[np.asarray(e, np.longdouble) for e in entries]), axis=-1)
    matrices = stacked.reshape(*stacked.shape[:-1], n, n)
    norm = float(np.abs(matrices).sum(axis=-2).max(initial=0.0))
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if 0 < norm < math.inf else 0
    scaled, one = matrices / 2.0**squarings, np.eye(n, dtype=np.longdouble)
    total = one + 0 * scaled
    for k in reversed(range(1, TERMS)):
        total = one + scaled @ total / k
    for _ in range(squarings):
        total = total @ total
    return total.astype(float)


def pair(k: int, m: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C, S, T) with phi_k(m + j) = C + S j where j^2 = d (phi_0 = exp), and T = dS/dd. Real, any sign of d.

    For a 2 x 2 matrix Z with m = tr(Z)/2 and d = m^2 - det(Z): phi_k(Z) = C 1 + S (Z - m 1), since (Z - m 1)^2 = d 1.
    Near (0, 0) a Taylor series; for d >= 0 divided differences at the real eigenvalues, which may coincide; for d < 0
    the recurrence phi_{k+1}(z) = (phi_k(z) - 1/k!)/z, |z| > 1/2.
    """
    m, d = np.broadcast_arrays(np.asarray(m, float), np.asarray(d, float))
    size = np.maximum(np.abs(m), np.sqrt(np.abs(d)))
    small, real = size < 1, d >= 0
    C, S, T = np.empty(m.shape), np.empty(m.shape), np.empty(m.shape)
    cases = ((small, _pair_series), (real & ~small, _pair_real), (~(real | small), _pair_complex))
    for where, of in cases:
        if where.any():
            C[where], S[where], T[where] = of(k, m[where], d[where])
    return C, S, T


def pair_slopes(k: int, m: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(U, V) with phi_k'(m + j) = U + V j, k >= 1: what C and S of `pair` gain per m.

    phi_k' = phi_k - k phi_{k+1} near (0, 0); divided differences at real eigenvalues, with nodes repeated;
    (phi_{k-1} - k phi_k)/z at complex ones. None of them cancels there.
    """
    m, d = np.broadcast_arrays(np.asarray(m, float), np.asarray(d, float))
    small, real = np.maximum(np.abs(m), np.sqrt(np.abs(d))) < 1, d >= 0
    (C, S, _), (above_C, above_S, _) = pair(k, m, d), pair(k + 1, m, d)
    below_C, below_S, _ = pair(k - 1, m, d)
    zeros, root = [np.zeros_like(m)] * k, np.sqrt(np.where(real, d, 0.0))
    high, low = m + root, m - root
    U = (edd(*zeros, high, high) + edd(*zeros, low, low)) / 2
    V = edd(*zeros, high, high, low) + edd(*zeros, high, low, low)
    p, q, norm = below_C - k * C, below_S - k * S, np.where(real | small, 1.0, m**2 - d)
    U, V = np.where(real, U, (p * m - q * d) / norm), np.where(real, V, (q * m - p) / norm)
    return np.where(small, C - k * above_C, U), np.where(small, S - k * above_S, V)


def _pair_series(k: int, m: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, ...]:
    """sum (m + j)^n/(n+k)!; p + q j is the power, r + t j its derivative in d."""
    p, q, r, t = np.ones_like(m), np.zeros_like(m), np.zeros_like(m), np.zeros_like(m)
    C, S, T = (np.zeros_like(m) for _ in range(3))
    for n in range(TERMS + 6):
        weight = 1 / math.factorial(n + k)
        C, S, T = C + weight * p, S + weight * q, T + weight * t
        p, q, r, t = m * p + d * q, p + m * q, m * r + q + d * t, r + m * t
    return C, S, T


def _pair_real(k: int, m: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, ...]:
    root, zeros = np.sqrt(d), [np.zeros_like(m)] * k
    high, low = m + root, m - root
    C = (edd(*zeros, high) + edd(*zeros, low)) / 2
    return C, edd(*zeros, high, low), edd(*zeros, high, high, low, low)


def _pair_complex(k: int, m: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, ...]:
    w, size = np.sqrt(-d), np.exp(m)
    C, S = size * np.cos(w), size * np.sinc(w / np.pi)
    T = np.where(w > 1, (C - S) / (2 * d), size * _sinc_slope(np.maximum(d, -1.0)))
    norm = m**2 - d
    for j in range(k):
        below = C - 1 / math.factorial(j)
        C, new = (below * m - S * d) / norm, (S * m - below) / norm
        slope = S if j == 0 else S - j * new  # of phi_j', whose half is dC/dd
        S, T = new, (T * m - slope / 2 + new) / norm
    return C, S, T


def _sinc_slope(d: np.ndarray) -> np.ndarray:
    """d/dd of sinh(sqrt d)/sqrt d = sum n d^(n-1)/(2n+1)!, |d| <= 1."""
    total = np.zeros_like(d)
    for n in reversed(range(1, 14)):
        total = total * d + n / math.factorial(2 * n + 1)
    return total
