"""`lax.scan` in chunks whose insides are computed again in the backward pass.

The text of this file is pasted into emitted sources, so it imports jax only.
"""

from __future__ import annotations

import jax

CHUNK = 64  # steps; from twice as many on a sequence is cut


def chunk(steps: int) -> int:
    """Steps of a chunk: the largest divisor of `steps` from 16 to 64, so that nothing is left over; or 32."""
    return next((n for n in range(CHUNK, 15, -1) if steps % n == 0), 32)


def scan(body, carry, xs, steps: int):
    """`lax.scan(body, carry, xs)` over `steps` steps: of every chunk, only the carry is kept for the backward pass.

    Memory falls from T to about T/64 + 64 states, and so does the time on a CPU, whose caches hold a chunk.
    """
    if steps < 2 * CHUNK:
        return jax.lax.scan(body, carry, xs, length=steps)
    size = chunk(steps)
    count, rest = divmod(steps, size)
    inner = jax.checkpoint(lambda c, x: jax.lax.scan(body, c, x, length=size), prevent_cse=False)
    cut = jax.tree.map(lambda x: x[: count * size].reshape(count, size, *x.shape[1:]), xs)
    carry, rows = jax.lax.scan(inner, carry, cut, length=count)
    rows = jax.tree.map(lambda y: y.reshape(count * size, *y.shape[2:]), rows)
    if not rest:
        return carry, rows
    carry, last = jax.lax.scan(body, carry, jax.tree.map(lambda x: x[count * size :], xs), length=rest)
    return carry, jax.tree.map(lambda a, b: jax.numpy.concatenate([a, b]), rows, last)
