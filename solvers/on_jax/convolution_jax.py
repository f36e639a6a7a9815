"""Linear recurrences whose matrix never changes, as a convolution with its powers, by FFT."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

Array = jax.Array
Row = tuple[Array, ...]


def affine_invariant(form: str, matrix: Row, drive: Row, start: Row, *, reverse: bool = False) -> Row:
    """States after each step of s_t = A s_{t-1} + b_t, (T, B, *size*) each, in O(T log T).

    Args:
        form: diagonal (one state), complex (A is a + i b, two parts) or dense.
        matrix: entries of A row by row, or real and imaginary part; they broadcast against (B, *size*).
        drive: b, (T, B, *size*), one array a state.
        start: the state before the first step, (B, *size*) each.
        reverse: from the last step to the first; `start` is then the state after the last one.

    Powers of A are formed in the widest type that jax has. Errors are absolute: a rounding of the largest state of a
    sequence reaches all of its steps. A must not grow: powers that overflow spoil every step.
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
    return tuple(sum((a * s for a, s in zip(row, state, strict=True)), jnp.zeros(())) for row in rows)


def _convolved(form: str, matrix: Row, drive: Row) -> Row:
    steps, dtype = drive[0].shape[0], drive[0].dtype
    points = 1 << (2 * steps - 2).bit_length()  # at least 2 T - 1, so that the end does not reach the beginning
    rank = drive[0].ndim - 1
    entries = tuple(jnp.reshape(m, (1,) * (rank - jnp.ndim(m)) + jnp.shape(m)) for m in matrix)
    powers = powers_of(form, entries, steps)
    if form == "complex":
        kernel, given = (jax.lax.complex(*(p.astype(dtype) for p in powers)), jax.lax.complex(*drive))
        found = jnp.fft.ifft(jnp.fft.fft(kernel, points, 0) * jnp.fft.fft(given, points, 0), axis=0)[:steps]
        return found.real, found.imag
    kernels = [jnp.fft.rfft(p.astype(dtype), points, 0) for p in powers]
    states = moved("dense", tuple(kernels), tuple(jnp.fft.rfft(d, points, 0) for d in drive))
    return tuple(jnp.fft.irfft(s, points, 0)[:steps].astype(dtype) for s in states)


def powers_of(form: str, matrix: Row, steps: int) -> Row:
    """A^0 ... A^(T-1), (T, ...) each, from logarithms and whole turns, not from products that gather roundings."""
    wide = jnp.result_type(float)
    matrix = tuple(jnp.asarray(m, wide) for m in jnp.broadcast_arrays(*matrix))
    count = jnp.arange(steps, dtype=wide).reshape(-1, *[1] * matrix[0].ndim)
    if form == "diagonal":
        return (jnp.power(matrix[0], count),)
    if form == "complex":
        radius = jnp.power(jnp.hypot(*matrix), count)
        turns = jnp.arctan2(matrix[1], matrix[0]) / (2 * math.pi) * count
        angle = 2 * math.pi * (turns - jnp.round(turns))
        return radius * jnp.cos(angle), radius * jnp.sin(angle)
    return _by_doubling(matrix, steps)


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
