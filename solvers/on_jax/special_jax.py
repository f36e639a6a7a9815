"""phi functions, divided differences and matrix exponentials on jax arrays, with finite gradients everywhere.

The same formulas as in `on_torch/special_torch.py`, whose sources hold. The text of this file is pasted into emitted
sources, so it imports jax, functools and math only. Series run as loops: unrolled they take seconds to compile.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

TERMS = 24  # of a Taylor series inside |z| <= 2: the rest is below 2^24/24! = 3e-17
SQUARINGS = 40  # of a matrix exponential
TERMS_1 = 18  # inside |z| <= 1: below 1/20! = 4e-19


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def phi(k: int, z: jax.Array) -> jax.Array:
    """phi_k(z) = sum_n z^n/(n+k)!, real or complex; phi_1(z) = (e^z - 1)/z."""
    if k == 1:
        safe = jnp.where(z == 0, 1, z)
        return jnp.where(z == 0, 1, expm1(safe) / safe)
    edge, terms = (1.0, TERMS_1) if k == 2 else (2.0, TERMS)
    small = jnp.abs(z) < edge
    far = jnp.where(small, 1, z)
    value = expm1(far) / far
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / far
    near = jnp.where(small, z, 0)
    total = near * (1 / math.factorial(terms + k))
    for n in reversed(range(1, terms)):
        total = (total + 1 / math.factorial(n + k)) * near
    return jnp.where(small, total + 1 / math.factorial(k), value)


@phi.defjvp
def _phi_slope(k, primals, tangents):
    """phi_k' = phi_k - k phi_{k+1} near 0 and (phi_{k-1} - k phi_k)/z away from it: neither cancels there."""
    (z,), (t,) = primals, tangents
    value, near = phi(k, z), jnp.abs(z) < 2
    below = phi(k - 1, z) if k > 1 else jnp.exp(z)
    slope = jnp.where(near, value - k * phi(k + 1, z), (below - k * value) / jnp.where(near, 1, z))
    return value, t * slope


def expm1(z: jax.Array) -> jax.Array:
    """e^z - 1; for complex z from real functions, each of them exact near 0."""
    if not jnp.iscomplexobj(z):
        return jnp.expm1(z)
    a, b = z.real, z.imag
    half = jnp.sin(b / 2)
    grown = jnp.expm1(a)
    return jax.lax.complex(grown * jnp.cos(b) - 2 * half * half, (grown + 1) * jnp.sin(b))


def cphi(k: int, a: jax.Array, b: jax.Array) -> jax.Array:
    """phi_k(a + i b)."""
    return phi(k, jax.lax.complex(*jnp.broadcast_arrays(a, b)))


def edd(*nodes: jax.Array) -> jax.Array:
    """Divided difference of exp at real nodes, equal ones allowed.

    From differences over neighbours to those over ever more nodes, all of one width at once: split where the nodes are
    far apart, else a series.
    """
    x = jnp.sort(jnp.stack(jnp.broadcast_arrays(*nodes)), axis=0)
    if len(x) == 1:
        return jnp.exp(x[0])
    found = jnp.exp(x[1:]) * phi(1, x[:-1] - x[1:])
    for width in range(3, len(x) + 1):
        count = len(x) - width + 1
        found = _wider([x[j : j + count] for j in range(width)], found[:-1], found[1:])
    return found[0]


def _wider(x: list, low: jax.Array, high: jax.Array) -> jax.Array:
    """The difference over x from those without its last and without its first node."""
    spread = x[-1] - x[0]
    near = spread < 2.0
    return jnp.where(near, _edd_series([jnp.where(near, n, 0) for n in x]), (high - low) / jnp.where(near, 1, spread))


def _edd_series(x: list) -> jax.Array:
    """e^c sum_n h_n(x - c)/(n+k)!; h_n of the first j nodes is that of the first j - 1 plus x_j h_{n-1} of j."""
    k, centre = len(x) - 1, (x[0] + x[-1]) / 2
    nodes = [node - centre for node in x]
    one = jnp.ones_like(centre)

    def term(below, weight):
        rows, above = [], jnp.zeros_like(centre)
        for node, h in zip(nodes, below, strict=True):
            above = above + node * h
            rows.append(above)
        return tuple(rows), rows[-1] * weight

    weights = jnp.asarray([1 / math.factorial(n + k) for n in range(1, TERMS)], centre.dtype)
    _, terms = jax.lax.scan(term, (one,) * (k + 1), weights)
    return jnp.exp(centre) * (jnp.sum(terms[::-1], axis=0) + 1 / math.factorial(k))


def expm(n: int, *entries: jax.Array) -> jax.Array:
    """exp of n x n matrices given entry by entry, row by row; shape (..., n, n).

    Taylor series of the matrix scaled to norm 1, then squaring; norms up to 2^SQUARINGS are scaled down.
    """
    stacked = jnp.stack(jnp.broadcast_arrays(*entries), axis=-1)
    matrices = stacked.reshape(*stacked.shape[:-1], n, n)
    norm = jax.lax.stop_gradient(jnp.abs(matrices).sum(axis=-2).max(axis=-1))[..., None, None]
    times = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(norm, 1))), 0, SQUARINGS)
    scaled, one = matrices * jnp.exp2(-times), jnp.eye(n, dtype=matrices.dtype)

    def term(total, k):
        return one + _product(scaled, total) / k, None

    def square(power, i):
        return jnp.where(i < times, _product(power, power), power), None

    counts = jnp.arange(TERMS - 1, 0, -1, dtype=matrices.dtype)
    total, _ = jax.lax.scan(term, one + 0 * scaled, counts)
    return jax.lax.scan(square, total, jnp.arange(SQUARINGS))[0]


def _product(a, b):
    return jnp.matmul(a, b, precision="highest")


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pair(k: int, m: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array]:
    return tuple(_pair_values(k, m, d)[:2])


@_pair.defjvp
def _pair_slope(k, primals, tangents):
    """In closed form: automatic rules would meet sqrt(0) where eigenvalues coincide."""
    (m, d), (tm, td) = primals, tangents
    C, S = _pair(k, m, d)
    U, V = _pair_slopes(k, m, d)
    return (C, S), (U * tm + V / 2 * td, V * tm + _pair_last(k, m, d) * td)


def _pair_slopes(k, m, d):
    """(U, V) with phi_k'(m + j) = U + V j. Where nodes are repeated nothing cancels."""
    C, S = _pair(k, m, d)
    if k == 0:
        return C, S
    small, real = jnp.maximum(jnp.abs(m), jnp.sqrt(jnp.abs(d))) < 1, d >= 0
    above, below = _pair(k + 1, m, d), _pair(k - 1, m, d)
    zeros, root = [jnp.zeros_like(m)] * k, jnp.sqrt(jnp.where(real, d, 0))
    high, low = m + root, m - root
    U = (edd(*zeros, high, high) + edd(*zeros, low, low)) / 2
    V = edd(*zeros, high, high, low) + edd(*zeros, high, low, low)
    p, q, norm = below[0] - k * C, below[1] - k * S, jnp.where(real | small, 1, m**2 - d)
    U, V = jnp.where(real, U, (p * m - q * d) / norm), jnp.where(real, V, (q * m - p) / norm)
    return jnp.where(small, C - k * above[0], U), jnp.where(small, S - k * above[1], V)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pair_last(k, m, d):
    return _pair_values(k, m, d)[2]


@_pair_last.defjvp
def _no_second(k, primals, tangents):
    raise NotImplementedError("the exponential of a 2 x 2 block has no second derivative here")


def pair(k: int, m: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array]:
    """phi_k(m + j) = C + S j with j^2 = d, any sign of d (phi_0 = exp): functions of 2 x 2 matrices."""
    return _pair(k, *jnp.broadcast_arrays(m, d))


def pair_slope(k: int, part: str, m: jax.Array, d: jax.Array) -> jax.Array:
    """A derivative of `pair`: phi_k'(m + j) = U + V j, T = dS/dd."""
    m, d = jnp.broadcast_arrays(m, d)
    return _pair_last(k, m, d) if part == "T" else _pair_slopes(k, m, d)["UV".index(part)]


def _pair_values(k, m, d):
    size = jnp.maximum(jnp.abs(m), jnp.sqrt(jnp.abs(d)))
    small, real = size < 1, d >= 0
    near = _pair_series(k, jnp.where(small, m, 0), jnp.where(small, d, 0))
    split = _pair_real(k, m, jnp.where(real, d, 0))
    turning = _pair_complex(k, jnp.where(small, 1, m), jnp.where(real | small, -1, d))
    return [jnp.where(small, a, jnp.where(real, b, c)) for a, b, c in zip(near, split, turning, strict=True)]


def _pair_series(k, m, d):
    zero = jnp.zeros_like(m)

    def term(state, weight):
        p, q, r, t, C, S, T = state
        C, S, T = C + weight * p, S + weight * q, T + weight * t
        return (m * p + d * q, p + m * q, m * r + q + d * t, r + m * t, C, S, T), None

    weights = jnp.asarray([1 / math.factorial(n + k) for n in range(TERMS + 6)], m.dtype)
    state, _ = jax.lax.scan(term, (zero + 1, *(zero,) * 6), weights)
    return state[4:]


def _pair_real(k, m, d):
    root, zeros = jnp.sqrt(d), [jnp.zeros_like(m)] * k
    high, low = m + root, m - root
    both = jnp.stack([high, low])
    C = jnp.mean(edd(*[jnp.zeros_like(both)] * k, both), axis=0)
    return C, edd(*zeros, high, low), edd(*zeros, high, high, low, low)


def _pair_complex(k, m, d):
    w, size = jnp.sqrt(-d), jnp.exp(m)
    C, S = size * jnp.cos(w), size * jnp.sinc(w / math.pi)
    T = jnp.where(w > 1, (C - S) / (2 * d), size * _sinc_slope(jnp.maximum(d, -1)))
    norm = m**2 - d
    for j in range(k):
        below = C - 1 / math.factorial(j)
        C, new = (below * m - S * d) / norm, (S * m - below) / norm
        slope = S if j == 0 else S - j * new
        S, T = new, (T * m - slope / 2 + new) / norm
    return C, S, T


def _sinc_slope(d):
    """d/dd of sinh(sqrt d)/sqrt d, |d| <= 1."""
    total = jnp.zeros_like(d)
    for n in reversed(range(1, 14)):
        total = total * d + n / math.factorial(2 * n + 1)
    return total
