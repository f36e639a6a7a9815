"""The path of `solvers/on_torch/brownian_torch.py` in JAX, for one lane: the same tree, the same words."""

from __future__ import annotations

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from neuroode.solvers.on_jax.random_jax import normal, threefry

Array = jax.Array
DEPTH = 20  # halvings
LEAVES = 2**DEPTH
BITS = 2**23  # those of a uniform number that float32 and float64 share
QUARTER = 2**30  # of a turn, in words


def words_of(u: Array) -> Array:
    """A word of each uniform number, the same for both precisions."""
    return (jax.lax.stop_gradient(u) * BITS).astype(jnp.uint32)


def pairs(key: Array, nodes: Array, dtype: Any) -> tuple[Array, Array]:
    """Two independent normal numbers for each of some nodes and each key (streams, 2): (*nodes*, streams)."""
    x, y = threefry((key[:, 0], key[:, 1]), (nodes[..., None], jnp.uint32(0)))
    both = normal(jnp.stack([x, x]), jnp.stack([y, y - jnp.uint32(QUARTER)]), dtype)
    return both[0], both[1]


class Path(diffrax.AbstractBrownianPath):
    """Paths over (0, 1) of the streams of a lane; `path` makes one. end, area: (streams,); key: (streams, 2) words."""

    end: Array
    area: Array
    key: Array
    t0: ClassVar[int] = 0
    t1: ClassVar[int] = 1
    levy_area: ClassVar[Any] = diffrax.SpaceTimeLevyArea  # type: ignore[misc]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        """The increment from t0 to t1, with its space-time area if `use_levy`."""
        if t1 is None:
            return self.evaluate(self.t0, t0, left, use_levy)
        leaves = jnp.stack([leaf(t0), leaf(t1)])
        (w0, w1), (i0, i1) = self.at(leaves)
        w, h = w1 - w0, (leaves[1] - leaves[0]).astype(self.end.dtype) / LEAVES
        if not use_levy:
            return w
        area = (i1 - i0 - w0 * h) / jnp.where(h > 0, h, 1) - w / 2
        return diffrax.SpaceTimeLevyArea(dt=h, W=w, H=area)

    def at(self, leaves: Array) -> tuple[Array, Array]:
        """The path at some leaves and its integral up to them, (leaves, streams)."""
        dtype, k = self.end.dtype, leaves[None]
        levels = jnp.arange(DEPTH, dtype=jnp.uint32)[:, None]
        nodes = (jnp.uint32(1) << levels) + (k >> (DEPTH - levels))
        bits = ((k >> (DEPTH - 1 - levels)) & 1)[..., None]
        length = 0.5 ** jnp.arange(DEPTH, dtype=dtype)
        shape = (*leaves.shape, *self.end.shape)
        begin = (jnp.broadcast_to(self.end, shape), jnp.broadcast_to(self.area, shape), jnp.zeros(shape, dtype))
        (_, _, at, total), _ = jax.lax.scan(
            _descend, (*begin, begin[2]), (bits, length, *pairs(self.key, nodes, dtype))
        )
        whole = (leaves >= LEAVES)[:, None]
        return jnp.where(whole, self.end, at), jnp.where(whole, self.area + self.end / 2, total)


def path(end: Array, key: Array) -> Path:
    """The path that ends at `end`."""
    area = pairs(key, jnp.zeros(1, jnp.uint32), end.dtype)[0][0] / 12**0.5
    return Path(end, area, key)  # type: ignore[call-arg]


def _descend(now: Any, row: Any) -> tuple[Any, None]:
    """Into the half that holds the leaf; an interval of length h with increment w starts where the path is `at`."""
    (w, area, at, total), (bit, h, z1, z2) = now, row
    d, e = 1.5 * area + jnp.sqrt(h) / 4 * z1, jnp.sqrt(h / 12) * z2
    s, right = 2 * area - d, bit == 1
    first, first_area = w / 2 + d, (s + e) / 2
    total = jnp.where(right, total + h / 2 * (at + first / 2 + first_area), total)
    at = jnp.where(right, at + first, at)
    return (jnp.where(right, w / 2 - d, first), jnp.where(right, (s - e) / 2, first_area), at, total), None


def leaf(time: Any) -> Array:
    """The leaf at a time, 0 to `LEAVES`."""
    return jnp.clip(jnp.round(jnp.asarray(time) * LEAVES), 0, LEAVES).astype(jnp.uint32)
