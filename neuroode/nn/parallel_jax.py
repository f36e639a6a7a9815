"""Runs over whole sequences, stage by stage: solve without a gradient, then linearize at the solution.

A stage is s[t] = f(s[t-1], x[t]). Whatever found its trajectory, the cotangents follow
lambda[t] = g[t] + J[t+1]' lambda[t+1], a linear scan in reverse with the Jacobian of f at the trajectory; what lambda
does to inputs and parameters is pointwise in t. Sources: `parallel_torch.py`, which does the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode._errors import Unsupported
from neuroode.nn import eager_jax, scans_jax
from neuroode.nn.newton_jax import Problem, name_of, newton, too_large
from neuroode.nn.scans_jax import WHOLE, Place
from neuroode.program.collapse import Collapse
from neuroode.program.partition import Parts, Stage, partition
from neuroode.program.types import CLOCK, Program
from neuroode.solvers.on_jax import convolution_jax

Array = jax.Array
Rows = dict[str, Array]


@dataclass(frozen=True, slots=True)
class ParallelRun:
    """Outputs (T, B, *size*), the carry (B, *size*) after each sample's last step, newton's iterations by states."""

    outputs: list[Array]
    carry: list[Array]
    iterations: Rows


def run(
    program: Program, coefficients: Sequence[Array], inputs: Sequence[Array], carry: Sequence[Array],
    *, lengths: Array | None = None, schedule: str = "scan", place: Place = WHOLE,
) -> ParallelRun:  # fmt: skip
    """Run over T steps.

    Args:
        coefficients: broadcast against *size*. inputs: (T, B, *size*) each. carry: (B, *size*) each.
        lengths: (B,) steps of each sample; afterwards outputs are 0.
        schedule: scan, fft (invariant stages as convolutions) or newton (loops by iteration).
        place: the mesh over which time is cut.
    """
    shape = inputs[0].shape
    if not inputs[0].size:  # no step, or no sample
        return ParallelRun([jnp.zeros_like(inputs[0]) for _ in program.outputs], list(carry), {})
    wide = (place.cut(jnp.broadcast_to(x, shape)) for x in _held(inputs, lengths))
    given = dict(zip(program.inputs, wide, strict=True))
    start = dict(zip((s.name for s in program.carry), carry, strict=True))
    collapsed = schedule == "fft" and lengths is None  # the states of samples that end early are needed
    sweep = _Sweep(partition(program, collapsed), tuple(coefficients), given, start, shape, lengths, schedule, place)
    for stage in sweep.parts.stages:
        sweep.solve(stage)
    return ParallelRun(sweep.outputs(program), [sweep.after[s.name] for s in program.carry], sweep.iterations)


@dataclass
class _Sweep:
    """What is known so far: sequences (T, B, *size*) by name, the carry after the last step."""

    parts: Parts
    coefficients: tuple[Array, ...]
    known: Rows
    start: Rows
    shape: tuple[int, ...]
    lengths: Array | None
    schedule: str
    place: Place
    after: Rows = field(default_factory=dict)
    iterations: Rows = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known.setdefault(CLOCK, jnp.zeros(self.shape, next(iter(self.known.values())).dtype))

    def solve(self, stage: Stage) -> None:
        """Add what a stage finds."""
        if stage.collapse is not None:
            self._collapsed(stage, stage.collapse)
        else:
            by_kind = {"event": self._event, "delay": self._delay}
            by_kind.get(stage.kind, self._recurrence)(stage)

    def outputs(self, program: Program) -> list[Array]:
        rows = self._evaluate(self.parts.outputs, self.known)
        return [self._masked(rows[n]) for n, _ in program.outputs]

    def _event(self, stage: Stage) -> None:
        self.known |= self._evaluate(stage.step, self.known)

    def _delay(self, stage: Stage) -> None:
        """One line of memory: what was before the first step, oldest first, then the sequence."""
        slots = stage.slots
        newest = self._evaluate(stage.step, self.known)[f"n.{slots[0]}"]
        line = jnp.concatenate([jnp.stack([self.start[s] for s in reversed(slots)]), newest])
        steps, depth = self.shape[0], len(slots)
        for k, slot in enumerate(slots):
            own = line[depth - 1 - k : depth - k + steps]
            self.known[f"c.{slot}"] = self._earlier(own)
            self.after[slot] = self._last(own)
        self.known[f"n.{slots[0]}"] = newest

    def _collapsed(self, stage: Stage, what: Collapse) -> None:
        """Readings by one convolution each; the states themselves are known after the last step only."""
        branches = scans_jax.Branches(stage, self.shape[2:])
        gain = branches.numbers(self._narrow(what.gains), "g.")
        factor = branches.factors(list(self._narrow(stage.matrix).values()))
        weights, signal = self._narrow(what.weights), self._evaluate(what.signal, self.known)["u"]
        start = branches.together([self.start[s] for s in stage.slots])
        for i, name in enumerate(what.readings.values()):
            reading = jnp.conj(branches.numbers(weights, f"C.{i}."))
            self.known[name], last = convolution_jax.collapsed(reading, gain, factor, signal, start)
        self.after |= dict(zip(stage.slots, branches.apart(last, signal.dtype), strict=True))

    def _recurrence(self, stage: Stage) -> None:
        found, bits = jax.lax.stop_gradient(self._solution(stage))
        before = self._before(stage, found)
        step = self._evaluate(stage.step, self.known | bits | before)
        slopes = self._entries(stage.jacobian, self._known | bits | jax.lax.stop_gradient(before))
        how = _How(stage, self.place, self.schedule == "fft")
        rows = _trajectory(how, found, slopes, tuple(step[f"n.{s}"] for s in stage.slots))
        for slot, row in zip(stage.slots, rows, strict=True):
            line = jnp.concatenate([self.start[slot][None], row])
            self.known |= {f"n.{slot}": self._behind(line), f"c.{slot}": self._earlier(line)}
            self.after[slot] = self._last(line)
        if stage.spikes is not None:
            self.known |= self._evaluate(stage.spikes, self.known | bits)

    def _solution(self, stage: Stage) -> tuple[tuple[Array, ...], Rows]:
        """The trajectory of each slot after each step, and the bits of the stage's own events."""
        start = [jax.lax.stop_gradient(self.start[s]) for s in stage.slots]
        if stage.kind == "affine":
            matrix, drive = self._entries(stage.matrix, self._known), self._evaluate(stage.drive, self._known)
            driven = [drive[f"b.{s}"] for s in stage.slots]
            if self.schedule == "fft" and stage.invariant:
                rows = scans_jax.convolve(stage, matrix, driven, start)
            else:
                rows = scans_jax.solve(stage, matrix, driven, start, self.place)
            return tuple(self._masked(x) for x in rows), {}
        if stage.kind == "moebius":
            entries = self._entries(stage.matrix, self._known)
            return (self._masked(scans_jax.moebius(entries, start[0], self.shape, self.place)),), {}
        if self.schedule == "newton" and not too_large(stage):
            return self._by_newton(stage, start)
        return self._loop(stage, start)

    def _loop(self, stage: Stage, start: list[Array]) -> tuple[tuple[Array, ...], Rows]:
        known = [self._known[n] for n in stage.once.inputs]
        rows = eager_jax.run(stage.once, self._fixed, known, start, lengths=self.lengths).outputs
        return _apart(stage, dict(zip((n for n, _ in stage.once.outputs), rows, strict=True)))

    def _by_newton(self, stage: Stage, start: list[Array]) -> tuple[tuple[Array, ...], Rows]:
        known = self._known
        slots = [f"c.{s}" for s in stage.slots]
        problem = Problem(
            name=name_of(stage),
            start=start, shape=self.shape, events=[f"e.{e}" for e in stage.events],
            step=lambda before: _apart(stage, jax.lax.stop_gradient(self._evaluate(stage.once, known, before))),
            slopes=lambda before, bits: self._entries(
                stage.matrix, known | bits | dict(zip(slots, before, strict=True))
            ),
            solve=lambda entries, drive, first: scans_jax.solve(stage, entries, drive, first, self.place),
            loop=lambda: self._loop(stage, start), masked=self._masked,
        )  # fmt: skip
        found, bits, self.iterations[problem.name] = newton(problem)
        return found, bits

    def _before(self, stage: Stage, found: Sequence[Array]) -> Rows:
        """The stage's states before each step; only the first has a gradient from here."""
        pairs = zip(stage.slots, found, strict=True)
        return {f"c.{s}": self._earlier(jnp.concatenate([self.start[s][None], x])) for s, x in pairs}

    @property
    def _known(self) -> Rows:
        return jax.lax.stop_gradient(self.known)

    @property
    def _fixed(self) -> tuple[Array, ...]:
        return jax.lax.stop_gradient(self.coefficients)

    def _entries(self, program: Program | None, known: Mapping[str, Array]) -> tuple[Array, ...]:
        """Entries of a matrix, without a gradient: those that never change have no time."""
        return jax.lax.stop_gradient(tuple(self._narrow(program, known).values()))

    def _narrow(self, program: Program | None, known: Mapping[str, Array] | None = None) -> Rows:
        """The outputs of a pointwise program in their own shapes."""
        assert program is not None
        inputs = tuple((known or self.known)[n] for n in program.inputs)
        rows, _, _ = eager_jax.jax_program(program).step(self.coefficients, (), inputs)
        return dict(zip((n for n, _ in program.outputs), rows, strict=True))

    def _evaluate(self, program: Program | None, known: Mapping[str, Array], carry: tuple[Array, ...] = ()) -> Rows:
        """The outputs of a pointwise program for all steps at once; `carry`: the states before each of them."""
        assert program is not None
        inputs = tuple(known[n] for n in program.inputs)
        rows, _, _ = eager_jax.jax_program(program).step(self.coefficients, carry, inputs)
        named = zip((n for n, _ in program.outputs), rows, strict=True)
        return {n: jnp.broadcast_to(x, self.shape) for n, x in named}

    def _earlier(self, line: Array) -> Array:
        """From (T + 1, ...), the entry before each step; behind a sample's end that of its last step again.

        So whatever is computed there is what a valid step computed, and a gradient of 0 meets no infinite slope.
        """
        if self.lengths is None:
            return line[:-1]
        steps = jnp.arange(self.shape[0])[:, None]
        return _gathered(line, jnp.minimum(steps, jnp.maximum(self.lengths - 1, 0)))

    def _behind(self, line: Array) -> Array:
        """The same of the entry after each step."""
        if self.lengths is None:
            return line[1:]
        return _gathered(line, jnp.minimum(jnp.arange(self.shape[0])[:, None] + 1, self.lengths))

    def _last(self, line: Array) -> Array:
        """From (T + 1, ...), the entry after the last step of each sample."""
        return line[-1] if self.lengths is None else _gathered(line, self.lengths[None])[0]

    def _masked(self, row: Array) -> Array:
        return row if self.lengths is None else jnp.where(_live(self.lengths, self.shape), row, 0)


@dataclass(frozen=True, slots=True)
class _How:
    """What an adjoint is besides its arrays; static."""

    stage: Stage
    place: Place
    fft: bool


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _trajectory(_how: _How, found: Any, _slopes: Any, _rows: Any) -> Any:
    """The value of a solution; its gradient goes to the right sides of the steps, through the adjoint recurrence."""
    return found


def _trajectory_forward(_how: _How, found: Any, slopes: Any, rows: Any) -> tuple[Any, Any]:
    return found, (slopes, tuple(r[:1] for r in rows))


def _trajectory_backward(how: _How, kept: Any, grads: Any) -> tuple[Any, Any, Any]:
    slopes, first = kept
    found = scans_jax.adjoint(how.stage, slopes, grads, how.place, fft=how.fft)
    return None, None, _once(found, (slopes, first, grads))


_trajectory.defvjp(_trajectory_forward, _trajectory_backward)


@jax.custom_jvp
def _once(found: Any, _depends: Any) -> Any:
    """`found`, which no rule differentiates: second derivatives would lack those of the Jacobian."""
    return found


@_once.defjvp
def _no_second(*_: Any) -> Any:
    raise Unsupported("a scan has no second derivative", hint='build the layer with schedule="eager"')


def _apart(stage: Stage, rows: Rows) -> tuple[tuple[Array, ...], Rows]:
    """What `once` gives: next values, and bits of events."""
    return tuple(rows[f"n.{s}"] for s in stage.slots), {n: x for n, x in rows.items() if n.startswith("e.")}


def _gathered(line: Array, at: Array) -> Array:
    """Entries by index (steps, B)."""
    return jnp.take_along_axis(line, at.reshape(*at.shape, *([1] * (line.ndim - 2))), axis=0)


def _live(lengths: Array, shape: tuple[int, ...]) -> Array:
    steps = jnp.arange(shape[0])[:, None]
    return (lengths > steps).reshape(*shape[:2], *([1] * (len(shape) - 2)))


def _held(inputs: Sequence[Array], lengths: Array | None) -> list[Array]:
    """Inputs whose padding holds the last valid step: nothing of it enters, not even 0*nan."""
    if lengths is None:
        return list(inputs)
    shape = inputs[0].shape
    at = jnp.minimum(jnp.arange(shape[0])[:, None], jnp.maximum(lengths - 1, 0))
    at = at.reshape(*shape[:2], *([1] * (len(shape) - 2)))
    empty = (lengths == 0).reshape(1, -1, *([1] * (len(shape) - 2)))
    return [jnp.where(empty, 0, jnp.take_along_axis(jnp.broadcast_to(x, shape), at, axis=0)) for x in inputs]
