"""The numbers of `solvers/on_numpy/random.py` in JAX, with and without 64-bit numbers: words are uint32."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuroode.solvers.on_numpy.random import PARITY, ROTATIONS, stream_key

Array = jax.Array


def _word(x: Any) -> Array:
    return jnp.asarray(x, jnp.uint32)


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Array, Array]:
    """Two random words for each entry; all four are broadcast words."""
    k0, k1 = map(_word, key)
    schedule = (k0, k1, k0 ^ k1 ^ _word(PARITY))
    x, y = _word(counter[0]) + k0, _word(counter[1]) + k1
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x = x + y
            y = ((y << _word(r)) | (y >> _word(32 - r))) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + _word(group + 1)
    return x, y


def words(name: str, seed: Array, first: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The two words of each entry of (T, B, *size*); seed and first step are (B,) uint32."""
    steps, batch, *size = shape
    lanes = prod(size)
    at = jnp.arange(steps, dtype=jnp.uint32)[:, None] + first
    number = jnp.arange(batch * lanes, dtype=jnp.uint32).reshape(1, batch, lanes)
    x, y = threefry((seed[None, :, None], stream_key(name)), (at[..., None], number))
    return x.reshape(shape), y.reshape(shape)


def uniform(x: Array, y: Array, dtype: Any) -> Array:
    """Numbers in (0, 1) of two words."""
    if np.dtype(dtype) == np.float32:
        return ((x >> _word(9)).astype(dtype) + 0.5) * np.float32(2.0**-23)
    return (x.astype(dtype) * 2.0**20 + (y >> _word(12)).astype(dtype) + 0.5) * 2.0**-52


def normal(x: Array, y: Array, dtype: Any) -> Array:
    """Standard normal numbers of two words."""
    near_0 = x < _word(2**31)
    tail = (jnp.where(near_0, x, ~x).astype(dtype) + 0.5) * 2.0**-32
    radius = jnp.sqrt(-2.0 * jnp.where(near_0, jnp.log(tail), jnp.log1p(-tail)))
    turn = (y.astype(jnp.int32).astype(dtype) + 0.5) * 2.0**-31
    return (radius * jnp.cos(np.pi * turn)).astype(dtype)


@partial(jax.jit, static_argnums=(0, 1, 4, 5))
def draw(kind: str, name: str, seed: Array, first: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """(T, B, *size*) numbers of a stream: uniform in (0, 1), or standard normal."""
    made = words(name, seed, first, shape)
    return uniform(*made, dtype) if kind == "uniform" else normal(*made, dtype)
