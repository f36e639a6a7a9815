"""A step around its flow, in jax: what comes before, the field, what comes after (`program.hybrid`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.nn.eager_jax import jax_program
from neuroode.program.hybrid import Hybrid
from neuroode.program.types import CLOCK, Program
from neuroode.solvers.on_jax.flow_jax import Solver

Array = jax.Array
Row = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Moment:
    """What one step is given.

    Attributes:
        coefficients: broadcast against (B, *size*).
        known: what pieces may read beside the flow states, by name, (B, *size*) each.
        dt: length of the step, broadcasts against (B, *size*).
    """

    coefficients: tuple[Array, ...]
    known: Row
    dt: Array

    @property
    def lanes(self) -> tuple[int, ...]:
        return next(iter(self.known.values())).shape

    def still(self) -> Moment:
        """The same without gradient."""
        return Moment(*jax.lax.stop_gradient((self.coefficients, self.known, self.dt)))


@dataclass(frozen=True, eq=False)
class Slope:
    """dy/ds of one lane, whose way takes `length`: a function without arrays of its own."""

    program: Program
    states: tuple[str, ...]
    rows: tuple[str, ...]

    def __call__(self, s: Array, y: Array, args: Any) -> Array:
        coefficients, rows, start, length, dt = args
        known = dict(zip(self.rows, rows, strict=True)) | {f"y.{n}": y[i] for i, n in enumerate(self.states)}
        known["fraction"] = (start + s.astype(y.dtype) * length) / dt
        found, _, _ = jax_program(self.program).step(coefficients, (), tuple(known[n] for n in self.program.inputs))
        return length * jnp.stack([jnp.asarray(x, y.dtype) for x in found])


class Pieces:
    """The pieces of a hybrid, for all lanes of a step at once. Vectors y are (states, B, *size*)."""

    def __init__(self, hybrid: Hybrid, solver: Solver) -> None:
        self.hybrid, self.solver = hybrid, solver
        self.slots = [s.name for s in hybrid.whole.carry]
        own = {f"y.{s}" for s in hybrid.states} | {"fraction"}
        rows = tuple(n for n in hybrid.field.inputs if n not in own)
        self.slope_of_lane = Slope(hybrid.field, hybrid.states, rows)
        readers = (*hybrid.start.inputs, *hybrid.field.inputs)
        self.early = tuple(dict.fromkeys(n for n in readers if n.startswith("e.")))  # events that no flow decides

    def moment(self, coefficients: Sequence[Array], carry: Sequence[Array], inputs: Sequence[Array], dt: Any) -> Moment:
        """What a step is given, with the events that its flow reads."""
        whole, shape = self.hybrid.whole, jnp.shape(carry[0])
        rows = dict(zip((f"c.{n}" for n in self.slots), carry, strict=True))
        rows |= dict(zip(whole.inputs, inputs, strict=True))
        rows.setdefault(CLOCK, jnp.zeros((), carry[0].dtype))
        rows = {n: jnp.broadcast_to(x, shape) for n, x in rows.items()}
        m = Moment(tuple(coefficients), rows, jnp.asarray(dt, carry[0].dtype))
        if not self.early:
            return m
        bits = self.guards(m, self.carried(carry))
        return Moment(m.coefficients, rows | {n: bits[n] for n in self.early}, m.dt)

    def carried(self, carry: Sequence[Array]) -> Array:
        """The flow states that the last step left."""
        return jnp.stack([carry[self.slots.index(s)] for s in self.hybrid.states])

    def evaluate(self, program: Program, m: Moment, more: Row) -> Row:
        """The outputs of a piece by name, (B, *size*) each."""
        known = m.known | more
        rows, _, _ = jax_program(program).step(m.coefficients, (), tuple(known[n] for n in program.inputs))
        return {n: jnp.broadcast_to(x, m.lanes) for (n, _), x in zip(program.outputs, rows, strict=True)}

    def named(self, y: Array) -> Row:
        return {f"y.{s}": x for s, x in zip(self.hybrid.states, y, strict=True)}

    def vector(self, rows: Row, kind: str) -> Array:
        return jnp.stack([rows[f"{kind}.{s}"] for s in self.hybrid.states])

    def start(self, m: Moment) -> Array:
        """y when the flow begins."""
        return self.vector(self.evaluate(self.hybrid.start, m, {}), "y")

    def slope(self, m: Moment, y: Array, time: Array) -> Array:
        """dy/dtime at a time since the start of the step."""
        more = self.named(y) | {"fraction": jnp.broadcast_to(time / m.dt, m.lanes)}
        return self.vector(self.evaluate(self.hybrid.field, m, more), "d")

    def flow(self, m: Moment, y: Array, start: Any, length: Any, *, tried: bool = False) -> Array:
        """y after `length` of time from `start` on, both since the start of the step and of each lane its own.

        `tried`: without a gradient, and nan where there is no such way.
        """
        lanes = m.lanes
        batch, width = lanes[0], count(lanes[1:])
        wide = partial(flat, shape=(batch, width))
        coefficients, axes = by_lane(m.coefficients, lanes, width)
        rows = tuple(wide(m.known[n], lanes) for n in self.slope_of_lane.rows)
        times = tuple(wide(jnp.asarray(x, y.dtype), lanes) for x in (start, length, m.dt))
        move = self.solver.tried if tried else self.solver

        def lane(y: Array, coefficients: Any, rows: Any, times: Any) -> Array:
            args = coefficients, rows, *times
            return move(self.slope_of_lane, y, args, times[1])

        inner = tuple(0 if a else None for a, _ in axes)
        outer = tuple(0 if b else None for _, b in axes)
        mapped = jax.vmap(jax.vmap(lane, in_axes=(0, inner, 0, 0)), in_axes=(0, outer, 0, 0))
        vectors = jnp.moveaxis(y, 0, -1).reshape(batch, width, len(y))
        found = mapped(vectors, coefficients, rows, times)
        return jnp.moveaxis(found.reshape(*lanes, len(y)), -1, 0)

    def guards(self, m: Moment, y: Array) -> Row:
        """`e.NAME` and `m.NAME` at y."""
        return self.evaluate(self.hybrid.guards, m, self.named(y)) if self.hybrid.events else {}

    def jump(self, m: Moment, y: Array, acts: Row) -> Array:
        """y behind the resets of the events whose `j.NAME` is 1."""
        return self.vector(self.evaluate(self.hybrid.jump, m, self.named(y) | acts), "y")

    def finish(self, m: Moment, y: Array, signals: Row, *, done: Sequence[str] = ()) -> tuple[Any, Any, Any]:
        """Outputs, the next carry, what a trace records; `signals` by `e.NAME`; y is behind the resets of `done`."""
        acts = {f"j.{n[2:]}": jnp.zeros_like(x) if n[2:] in done else x for n, x in signals.items()}
        rows = self.evaluate(self.hybrid.finish, m, self.named(y) | signals | acts)
        whole = self.hybrid.whole
        return (
            tuple(rows[f"out.{n}"] for n, _ in whole.outputs),
            tuple(rows[f"next.{n}"] for n in self.slots),
            tuple(rows[f"trace.{n}"] for n, _ in whole.trace),
        )


def signals_of(rows: Row) -> Row:
    """The signals among what guards give."""
    return {n: x for n, x in rows.items() if n.startswith("e.")}


def count(size: Sequence[int]) -> int:
    total = 1
    for n in size:
        total *= n
    return total


def flat(x: Array, lanes: tuple[int, ...], shape: tuple[int, int]) -> Array:
    return jnp.broadcast_to(x, lanes).reshape(shape)


def by_lane(
    rows: Sequence[Array], lanes: tuple[int, ...], width: int
) -> tuple[tuple[Array, ...], tuple[tuple[bool, bool], ...]]:
    """Coefficients as numbers, (width,) or (B, width), and of each whether it has an axis of lanes and one of samples:
    what all lanes share stays one number."""
    made, axes = [], []
    for c in rows:
        if c.size == 1:
            made.append(c.reshape(()))
            axes.append((False, False))
        elif c.ndim == len(lanes) and c.shape[0] == lanes[0] > 1:
            made.append(flat(c, lanes, (lanes[0], width)))
            axes.append((True, True))
        else:
            made.append(jnp.broadcast_to(c, lanes[1:] if c.ndim < len(lanes) else (1, *lanes[1:])).reshape(width))
            axes.append((True, False))
    return tuple(made), tuple(axes)
