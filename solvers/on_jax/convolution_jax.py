"""Linear recurrences whose matrix never changes, as a convolution with its powers, by FFT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

Array = jax.Array
Row = tuple[Array, ...]
DIGITS = 1e-3  # what rounding may leave of a state's digits


def affine_invariant(form: str, matrix: Row, drive: Row, start: Row, *, reverse: bool = False) -> Row:
    """States after each step of s_t = A s_{t-1} + b_t, (T, B, *size*) each, in O(T log T).

    Args:
        form: diagonal (one state), complex (A is a + i b, two parts) or dense.
        matrix: entries of A row by row, or real and imaginary part; they broadcast against (B, *size*).
        drive: b, (T, B, *size*), one array a state.
        start: the state before the first step, (B, *size*) each.
        reverse: from the last step to the first; `start` is then the state after the last one.

    Powers of A are formed in float64. Errors are absolute: a rounding of the largest state of a sequence reaches all
    of its steps. Powers that grow so much that few digits are left are an error when it runs.
    """
    if drive[0].shape[0] == 0:
        return drive
    drive = tuple(jnp.flip(d, 0) for d in drive) if reverse else drive
    first = tuple(d[0] + m for d, m in zip(drive, moved(form, matrix, start), strict=True))
    drive = tuple(jnp.concatenate([f[None], d[1:]]) for d, f in zip(drive, first, strict=True))
    states = _convolved(form, matrix, drive)
    return tuple(jnp.flip(s, 0) for s in states) if reverse else states


def moved(form: str, matrix: Row, state: Row) -> Row:
    """A s."""
    if form == "complex":
        (a, b), (re, im) = matrix, state
        return a * re - b * im, a * im + b * re
    n = len(state)
    rows = (matrix[i * n : i * n + n] for i in range(n))
    return tuple(sum((a * s for a, s in zip(row, state, strict=True)), jnp.zeros((), state[0].dtype)) for row in rows)


def collapsed(reading: Array, gain: Array, factor: Array, drive: Array, start: Array) -> tuple[Array, Array]:
    """n branches z_t = A z_{t-1} + g u_t of which only h = Re sum C z is read: one real kernel, Re sum C g A^k.

    Differentiable in everything. Source: D-RF (arXiv:2509.17186), eq. 13.

    Args:
        reading, gain, factor: C, g, A, (*size*, n) each, real or complex.
        drive: u, (T, B, *size*), T at least 1.
        start: z before the first step, (B, *size*, n).

    Returns:
        h, (T, B, *size*), and z after the last step, (B, *size*, n).
    """
    steps, dtype = drive.shape[0], drive.dtype
    found = powers(factor, steps)
    kernel = _real(_product("...n,t...n->t...", reading * gain, found)).astype(dtype)
    free = _real(_product("t...n,b...n->tb...", found * (reading * factor), start)).astype(dtype)
    driven = _product("t...n,tb...->b...n", jnp.flip(found, 0) * gain, drive)
    last = driven + found[-1] * factor * start
    points = _points(steps)
    spectrum = _transform([kernel[:, None]], points, dtype)[0] * jnp.fft.rfft(drive, points, 0)
    return jnp.fft.irfft(spectrum, points, 0)[:steps].astype(dtype) + free, last


def _exact() -> AbstractContextManager[None]:
    """Here float64 exists, whatever jax is told elsewhere: a phase of k times an angle takes the digits of k."""
    return jax.enable_x64(True)


def _wide(x: Array) -> Array:
    return x.astype(jnp.complex128 if jnp.iscomplexobj(x) else jnp.float64)


def _real(x: Array) -> Array:
    return x.real if jnp.iscomplexobj(x) else x


def _points(steps: int) -> int:
    """Of a transform: at least 2 T - 1, so that the end does not reach the beginning."""
    return 1 << (2 * steps - 2).bit_length()


def _convolved(form: str, matrix: Row, drive: Row) -> Row:
    steps, dtype, points = drive[0].shape[0], drive[0].dtype, _points(drive[0].shape[0])
    rank = drive[0].ndim - 1
    entries = tuple(jnp.reshape(m, (1,) * (rank - jnp.ndim(m)) + jnp.shape(m)) for m in matrix)
    with _exact():
        found = tuple(k.astype(dtype) for k in powers_of(form, entries, steps))
    kernels = _transform(found, points, dtype)
    states = moved(form, kernels, tuple(jnp.fft.rfft(d, points, 0) for d in drive))
    return tuple(jnp.fft.irfft(s, points, 0)[:steps].astype(dtype) for s in states)


def _transform(kernels: Sequence[Array], points: int, dtype: Any) -> Row:
    """Of real kernels (T, ...), which must leave digits of what they multiply."""
    limit = DIGITS / jnp.finfo(dtype).eps
    largest = jnp.max(jnp.stack([jnp.abs(k).max(initial=0) for k in kernels]))
    what = "multipliers grow over the sequence: a transform rounds every state by that; schedule='scan' does not"
    kernels = eqx.error_if(tuple(kernels), ~(largest <= limit), what)
    return tuple(jnp.fft.rfft(k.astype(dtype), points, 0) for k in kernels)


def powers_of(form: str, matrix: Row, steps: int) -> Row:
    """A^0 ... A^(T-1), (T, ...) each, in float64, from moduli and phases (dense ones by doubling)."""
    matrix = tuple(_wide(m) for m in jnp.broadcast_arrays(*matrix))
    if form == "diagonal":
        return (_powers(matrix[0], steps, 0),)
    if form == "complex":
        found = _powers(jax.lax.complex(*matrix), steps, 0)
        return found.real, found.imag
    return _by_doubling(matrix, steps)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def powers(base: Array, steps: int, first: int = 0) -> Array:
    """base^k, (T, ...), real or complex, 0^0 = 1; k = `first`, `first` + 1, ..., none below 0.

    Formed in float64 and rounded once to the type of the base, in which derivatives are taken: jax transposes outside
    of `_exact`.
    """
    with _exact():
        return _powers(base, steps, first).astype(base.dtype)


@powers.defjvp
def _slope_of_powers(steps: int, first: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """k base^(k-1), finite at 0 too."""
    (base,), (t,) = primals, tangents
    with _exact():
        slope = (_count(base, steps, first) * _powers(base, steps, first - 1)).astype(base.dtype)
    return powers(base, steps, first), slope * t


def _powers(base: Array, steps: int, first: int) -> Array:
    base, count = _wide(base), _count(base, steps, first)
    if not jnp.iscomplexobj(base):
        return jnp.power(base, count)
    angle, radius = jnp.angle(base) * count, jnp.power(jnp.abs(base), count)
    return jax.lax.complex(radius * jnp.cos(angle), radius * jnp.sin(angle))


def _count(base: Array, steps: int, first: int) -> Array:
    return jnp.maximum(jnp.arange(first, first + steps, dtype=jnp.float64), 0).reshape(-1, *[1] * base.ndim)


def _by_doubling(matrix: Row, steps: int) -> Row:
    n = math.isqrt(len(matrix))
    square = jnp.stack(matrix).reshape(n, n, *matrix[0].shape)
    one = jnp.eye(n, dtype=square.dtype).reshape(1, n, n, *[1] * matrix[0].ndim)
    found = jnp.broadcast_to(one, (1, *square.shape))
    while found.shape[0] < steps:
        found = jnp.concatenate([found, _product("ij...,kjl...->kil...", square, found)])
        square = _product("ij...,jl...->il...", square, square)
    rows = found[:steps].reshape(steps, n * n, *matrix[0].shape)
    return tuple(rows[:, i] for i in range(n * n))


def _product(names: str, a: Array, b: Array) -> Array:
    return jnp.einsum(names, a, b, precision="highest")
