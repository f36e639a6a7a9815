"""One step around a memory, in jax; see `nn/history_step_torch.py`. Vectors are (states, B, *size*)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from neuroode._errors import Unsupported
from neuroode.nn.pieces_jax import Moment, Pieces, signals_of
from neuroode.program.history import History, Method

Array = jax.Array
Row = tuple[Array, ...]
NEWTON = 50


class HistoryStep:
    """A step of a method. `memory`: base, the last right side, then what will be added to the right side, by step."""

    def __init__(self, history: History, method: Method, dt: float) -> None:
        self.history, self.method, self.dt = history, method, dt
        self.pieces: Any = Pieces(history.hybrid, None)  # type: ignore[arg-type]  # no solver moves the flow
        self.states = history.hybrid.states
        self.slots = [self.pieces.slots.index(s) for s in self.states]
        self.channels = 2 if method.name == "abm" else 1
        self.durations = {key: _duration(history, method, dt, *key) / dt for key in history.currents}
        self.due = max([1 if history.impulses else 0, *(_steps(d) for d in self.durations.values())])

    def fresh(self, start: Array) -> list[Array]:
        """The memory at an origin whose states are `start`."""
        return [start, *(jnp.zeros_like(start) for _ in range(1 + self.due))]

    def slope(self, coefficients: Row, x: Row, carry: Row, y: Array, fraction: float) -> Array:
        """Right sides at a fraction of the step."""
        return self._slope(self._moment(coefficients, x, carry), y, fraction)

    def _moment(self, coefficients: Row, x: Row, carry: Row) -> Moment:
        return self.pieces.moment(coefficients, carry, x, self.dt)

    def _slope(self, m: Moment, y: Array, fraction: float) -> Array:
        return self.pieces.slope(m, y, jnp.asarray(fraction * self.dt, y.dtype))

    def before(self, coefficients: Row, x: Row, carry: Row, memory: Row, origin: Array | bool = False) -> Array:
        """What the past takes in of the start of a step, (channels, states, B, *size*); `origin`: of the first."""
        if self.method.implicit and self.method.name != "flmm2":
            return memory[1][None]
        m = self._moment(coefficients, x, carry)
        left = self._slope(m, self.pieces.start(m), 0.0) + self._pending(memory)
        if self.method.name == "abm":
            return jnp.stack([left, memory[1]])
        return (left if self.method.name != "flmm2" else jnp.where(origin, left, (left + memory[1]) / 2))[None]

    @staticmethod
    def _pending(memory: Row) -> Array | float:
        return memory[2] if memory[2:] else 0.0

    def after(
        self, coefficients: Row, x: Row, carry: Row, memory: Row, sums: Array, newest: Array, live: Array,
        end: Array | None = None,
    ) -> tuple[Row, Row, Row, Row, Array, Array]:  # fmt: skip
        """Outputs, carry, trace, memory, what is kept of the past (1 or 0), the state before resets.

        Args:
            end: the solution of an implicit step, where it is known already.
        """
        m = self._moment(coefficients, x, carry)
        base = memory[0] + self.pieces.start(m) - self.pieces.carried(carry)
        add = self._pending(memory)

        def slope(y: Array) -> Array:
            return self._slope(m, y, 1.0) + add

        if self.method.name == "abm":
            y = base + sums[1] + newest * slope(base + sums[0])
        elif self.method.implicit:
            y = _solved(slope, base + sums[0], newest, self.pieces.start(m) if end is None else end, end is None)
        else:
            y = base + sums[0]
        right = slope(y) if self.method.implicit or self.method.name == "abm" else memory[1]
        return self._closed(m, carry, (base, right, *memory[2:]), memory, y, live)

    def _closed(self, m: Moment, carry: Row, now: Row, memory: Row, y: Array, live: Array) -> Any:
        signals = signals_of(self.pieces.guards(m, y))
        out, after, seen = self.pieces.finish(m, y, signals)
        kept = self._kept(signals, y)
        left = jnp.stack([after[i] for i in self.slots])
        new = (left - kept * (y - now[0]), now[1] * kept, *self._next(m, now, y, signals))
        on = live > 0
        rest = tuple(jnp.where(on, a, b) for a, b in zip(new, memory, strict=True))
        after = tuple(jnp.where(on, a, b) for a, b in zip(after, carry, strict=True))
        out = tuple(jnp.where(on, o, 0) for o in out)
        return out, after, seen, rest, jnp.where(on, kept, 1.0), y

    def close(self, coefficients: Row, x: Row, carry: Row, y: Array, live: Array) -> tuple[Row, Row, Row]:
        """Outputs, carry and trace of a step that ends in `y`."""
        m, on = self._moment(coefficients, x, carry), live > 0
        out, after, seen = self.pieces.finish(m, y, signals_of(self.pieces.guards(m, y)))
        after = tuple(jnp.where(on, a, b) for a, b in zip(after, carry, strict=True))
        return tuple(jnp.where(on, o, 0) for o in out), after, seen

    def _kept(self, signals: dict[str, Array], like: Array) -> Array:
        rows = list(jnp.ones_like(like))
        for event, slot in self.history.restarts:
            e = signals[f"e.{event}"]
            k = self.states.index(slot)
            rows[k] = rows[k] * (1 - (jax.lax.stop_gradient(e) if event in self.history.detached else e))
        return jnp.stack(rows)

    def _next(self, m: Moment, memory: Row, y: Array, signals: dict[str, Array]) -> list[Array]:
        """What resets will add to the right side in the next step, the one after it, ..."""
        if not self.due:
            return []
        due = [*memory[3:], jnp.zeros_like(y)]
        acts = {f"j.{n[2:]}": x for n, x in signals.items()}
        rows = self.pieces.evaluate(self.history.kicks, m, self.pieces.named(y) | signals | acts)
        for event, slot in self.history.impulses:
            due[0] = due[0].at[self.states.index(slot)].add(rows[f"k.{event}.{slot}"] / self.dt)
        for (event, slot), steps in self.durations.items():
            for k in range(_steps(steps)):
                kick = rows[f"k.{event}.{slot}"] * min(1.0, steps - k)
                due[k] = due[k].at[self.states.index(slot)].add(kick)
        return due


def _solved(slope: Any, past: Array, newest: Array, guess: Array, solve: bool) -> Array:
    """y = past + newest*slope(y) by Newton's method; its gradient is that of the equation."""

    def matrix(y: Array) -> Array:
        columns = [jax.jvp(slope, (y,), (jnp.zeros_like(y).at[k].set(1.0),))[1] for k in range(len(y))]
        wide = jnp.moveaxis(jnp.stack(columns, 1) * newest[:, None], (0, 1), (-2, -1))
        return jnp.eye(len(y), dtype=y.dtype) - wide

    def change(y: Array, scale: Array, past: Array, newest: Array) -> Array:
        rest = jnp.moveaxis(y - past - newest * slope(y), 0, -1)[..., None]
        return jnp.moveaxis(jnp.linalg.solve(scale, rest)[..., 0], -1, 0)

    y = jax.lax.stop_gradient(guess)
    if solve:
        tolerance = 20 * jnp.finfo(y.dtype).eps

        def more(state: tuple[Array, Array, Array]) -> Array:
            y, d, k = state
            return (k < NEWTON) & jnp.any(jnp.abs(d) > tolerance * jnp.maximum(1.0, jnp.abs(y)))

        def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            y, _, k = state
            d = change(y, matrix(y), past, newest)
            return y - d, d, k + 1

        start = y, jnp.full_like(y, jnp.inf), jnp.zeros((), int)
        y, d, _ = jax.lax.stop_gradient(jax.lax.while_loop(more, step, start))
        bad = jnp.any(jnp.abs(d) > 1e3 * tolerance * jnp.maximum(1.0, jnp.abs(y)))
        y = jnp.where(bad, jnp.nan, y)  # not solved: what is no number is seen, a wrong number is not
    return y - change(y, jax.lax.stop_gradient(matrix(y)), past, newest)


def _duration(history: History, method: Method, dt: float, event: str, slot: str) -> float:
    """Of a current, where the declaration alone says it."""
    name = dict(history.orders.outputs)[f"t.{event}.{slot}"]
    if name == "dt":
        return dt
    for a in history.orders.body:
        if a.name == name and a.op == "const":
            return float(a.value)  # type: ignore[arg-type]
    raise Unsupported(f"method {method}: the duration of the current of {event} is no number", hint="write it as one")


def _steps(duration: float) -> int:
    """Steps that a duration, measured in steps, touches."""
    return -int(-(duration - 1e-6) // 1)
