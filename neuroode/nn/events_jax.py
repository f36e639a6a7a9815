"""A step with its events inside, for solver layers: the flow to the first event, its reset, and on (`locate`).

The time t0 of an event is found without a gradient. Along the differentiable flow from the last event to t0,

    t = t0 - m(y)/stop(dm/dt)        y at the event = y(t0) + stop(dy/dt)*(t - t0)

has the value of one more Newton step and, by the implicit function theorem, the derivative of the crossing time. Resets
and the rest of the way, dt - t, are ordinary functions of it, so their derivatives hold the saltation terms.

Sources: Hiskens and Pai, IEEE Trans. Circuits Syst. I 47 (2000), for the jumps of sensitivities; Chen, Amos and Nickel,
Learning neural event functions (2021), for events of solvers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from neuroode.nn.pieces_jax import Moment, Pieces, Row
from neuroode.solvers.on_jax.root_jax import Crossing, Look, first_crossing

Array = jax.Array
TOUCH = 1e-9  # of the margin per step: a margin that rises slower touches, and its time has no derivative


class _Way(NamedTuple):
    """Where the lanes are: states, time since the start of the step, those that have not come to its end; of events
    (events, lanes...) whether there was none, with the gradient of the signal, and the first time."""

    y: Array
    time: Array
    under_way: Array
    none: Array
    first: Array


class Found(NamedTuple):
    """y at the end of the step, behind all jumps; `e.NAME`; `NAME.time`, the step's length where there is no event."""

    y: Array
    signals: Row
    times: Row


def located(pieces: Pieces, m: Moment, y: Array, names: tuple[str, ...], options: Any) -> Found:
    """Move y over the step.

    Args:
        names: the events that happen inside.
        options: max_events in a step, samples (`first_crossing`), shaped: signals have the slope of their surrogate.

    Raises:
        the runtime error of equinox: more events than `max_events`.
    """
    step = _Step(pieces, m, names, options)
    zero = jnp.zeros(m.lanes, y.dtype)
    dt = jnp.broadcast_to(m.dt, m.lanes)
    rows = (len(names), *m.lanes)
    way = _Way(y, zero, zero == 0, jnp.ones(rows, y.dtype), jnp.broadcast_to(dt, rows))

    def one(way: _Way, _: None) -> tuple[_Way, None]:
        return jax.lax.cond(way.under_way.any(), step, lambda w: w, way), None

    way, _ = jax.lax.scan(one, way, None, length=options.max_events + 1)
    text = f"more than max_events={options.max_events} events of one lane in a step: raise it in solver_options"
    end = eqx.error_if(way.y, way.under_way.any(), text)
    signals = {f"e.{n}": 1 - x for n, x in zip(names, way.none, strict=True)}
    return Found(end, signals, {f"{n}.time": x for n, x in zip(names, way.first, strict=True)})


class _Step:
    """One piece: to the next event or the end of the step."""

    def __init__(self, pieces: Pieces, m: Moment, names: tuple[str, ...], options: Any) -> None:
        self.pieces, self.m, self.names, self.options = pieces, m, names, options
        self.still = m.still()
        self.dt = jnp.broadcast_to(m.dt, m.lanes)

    def __call__(self, way: _Way) -> _Way:
        at = self._next(way)
        fires = at.fires & way.under_way
        aim = jnp.where(fires, at.time, self.dt)
        moved = self.pieces.flow(self.m, way.y, way.time, jnp.where(way.under_way, aim - way.time, 0))
        y = jnp.where(way.under_way, moved, way.y)
        which = (at.which & fires).astype(y.dtype)
        none = way.none * (1 - jnp.where(way.under_way, self._shaped(y, which), 0))
        time, y = self._corrected(way, at, fires, y, aim, which)
        jumped = self.pieces.jump(self.m, y, self._bits("j", which))
        first = jnp.where((which > 0) & (way.none > 0.5), time, way.first)
        return _Way(jnp.where(fires, jumped, y), jnp.where(way.under_way, time, way.time), fires, none, first)

    def _next(self, way: _Way) -> Crossing:
        y, start = jax.lax.stop_gradient((way.y, way.time))
        end = jnp.where(way.under_way, self.dt, -1.0)

        def move(y: Array, time: Array, length: Array) -> Array:
            return self.pieces.flow(self.still, y, time, length, tried=True)

        found = first_crossing(move, self._look, y, start, jax.lax.stop_gradient(end), self.options.samples)
        return jax.lax.stop_gradient(found)

    def _corrected(
        self, way: _Way, at: Crossing, fires: Array, y: Array, aim: Array, which: Array
    ) -> tuple[Array, Array]:
        """Time and states at the event, with the derivatives that both have."""
        seen = jax.lax.stop_gradient(self._look(jax.lax.stop_gradient(y), aim))
        share = which / jnp.maximum(which.sum(0), 1)
        margin, slope = (share * self._margins(self.m, y)).sum(0), (share * seen.slopes).sum(0)
        begin = jax.lax.stop_gradient((share * jnp.abs(self._margins(self.still, way.y))).sum(0))
        exact = fires & ~at.at_once & (slope * self.dt > TOUCH * begin)
        crossed = at.time - margin / jnp.where(exact, slope, 1)
        time = jnp.where(exact, crossed, jnp.where(fires & at.at_once, way.time, aim))
        pace = jax.lax.stop_gradient(self.pieces.slope(self.still, jax.lax.stop_gradient(y), aim))
        return time, y + pace * jnp.where(fires, time - aim, 0)

    def _shaped(self, y: Array, which: Array) -> Array:
        """The bits of the events, with the slope of the surrogate where that is wanted."""
        if not self.options.shaped:
            return which
        rows = self.pieces.guards(self.m, y)
        soft = jnp.stack([rows[f"e.{n}"] for n in self.names])
        return which + (soft - jax.lax.stop_gradient(soft))

    def _margins(self, m: Moment, y: Array) -> Array:
        rows = self.pieces.guards(m, y)
        return jnp.stack([rows[f"m.{n}"] for n in self.names])

    def _look(self, y: Array, time: Array) -> Look:
        pace = self.pieces.slope(self.still, y, time)
        margins, slopes = jax.jvp(lambda y: self._margins(self.still, y), (y,), (pace,))
        rows = self.pieces.guards(self.still, y)
        return Look(jnp.stack([rows[f"e.{n}"] for n in self.names]) > 0, margins, slopes)

    def _bits(self, kind: str, which: Array) -> Row:
        rows = dict(zip(self.names, which, strict=True))
        zero = jnp.zeros_like(self.dt)
        return {f"{kind}.{n}": rows.get(n, zero) for n in self.pieces.hybrid.events}
