"""A step whose flow has noise, moved by diffrax: `nn/noisy_torch.py` in JAX, lane by lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.discretize.waves import bridge
from neuroode.nn.eager_jax import jax_program
from neuroode.nn.pieces_jax import Moment, Pieces, by_lane, count, flat
from neuroode.program.types import Program
from neuroode.solvers.on_jax.brownian_jax import path, words_of
from neuroode.solvers.on_jax.noisy_jax import moved

Array = jax.Array


@dataclass(frozen=True, eq=False)
class Field:
    """Numbers of one lane by name, times a power of the step's length: a function without arrays of its own."""

    program: Program
    states: tuple[str, ...]
    rows: tuple[str, ...]
    wanted: tuple[str, ...]
    power: float

    def __call__(self, s: Array, y: Array, args: Any) -> Array:
        coefficients, rows, dt = args
        known = dict(zip(self.rows, rows, strict=True)) | {f"y.{n}": y[i] for i, n in enumerate(self.states)}
        known["fraction"] = s.astype(y.dtype)
        found, _, _ = jax_program(self.program).step(coefficients, (), tuple(known[n] for n in self.program.inputs))
        named = {n: jnp.asarray(x, y.dtype) for (n, _), x in zip(self.program.outputs, found, strict=True)}
        return dt**self.power * jnp.stack([named.get(n, jnp.zeros((), y.dtype)) for n in self.wanted])


@dataclass(frozen=True, eq=False)
class Spread:
    """(states, streams): what a state gains per increment."""

    field: Field
    streams: int

    def __call__(self, s: Array, y: Array, args: Any) -> Array:
        return self.field(s, y, args).reshape(-1, self.streams)


def flowed(pieces: Pieces, m: Moment, y: Array) -> Array:
    """y at the end of the step, (states, B, *size*)."""
    hybrid, lanes = pieces.hybrid, m.lanes
    assert hybrid.spread is not None
    batch, width = lanes[0], count(lanes[1:])
    own = {f"y.{s}" for s in hybrid.states} | {"fraction"}
    read = tuple(dict.fromkeys(n for p in (hybrid.field, hybrid.spread) for n in p.inputs if n not in own))
    field = partial(Field, states=hybrid.states, rows=read)
    slope = field(program=hybrid.field, wanted=tuple(f"d.{s}" for s in hybrid.states), power=1.0)
    wanted = tuple(f"g.{s}.{w}" for s in hybrid.states for w in hybrid.waves)
    spread = Spread(field(program=hybrid.spread, wanted=wanted, power=0.5), len(hybrid.waves))
    coefficients, axes = by_lane(m.coefficients, lanes, width)
    wide = partial(flat, lanes=lanes, shape=(batch, width))
    rows, dt = tuple(wide(m.known[n]) for n in read), wide(m.dt)
    ends, keys = _of_streams(m, hybrid.waves, wide)

    def lane(y: Array, coefficients: Any, rows: Any, dt: Array, end: Array, key: Array) -> Array:
        return moved(pieces.solver, slope, spread, y, path(end / jnp.sqrt(dt), key), (coefficients, rows, dt), dt)

    inner, outer = (tuple(0 if pair[k] else None for pair in axes) for k in (0, 1))
    mapped = jax.vmap(jax.vmap(lane, in_axes=(0, inner, 0, 0, 0, 0)), in_axes=(0, outer, 0, 0, 0, 0))
    vectors = jnp.moveaxis(y, 0, -1).reshape(batch, width, len(y))
    found = mapped(vectors, coefficients, rows, dt, ends, keys)
    return jnp.moveaxis(found.reshape(*lanes, len(y)), -1, 0)


def _of_streams(m: Moment, waves: Sequence[str], wide: Any) -> tuple[Array, Array]:
    """Increments (B, lanes, streams), and the keys of what they do inside the step (B, lanes, streams, 2)."""
    ends = jnp.stack([wide(m.known[w]) for w in waves], -1)
    keys = jnp.stack([jnp.stack([wide(words_of(m.known[b])) for b in bridge(w)], -1) for w in waves], -2)
    return ends, keys
