"""The emitted jax program over time: a scan in checkpointed chunks. Any device, every transform of jax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.emit.python_jax import jax_source
from neuroode.program.chances import LOG_PROB
from neuroode.program.types import Program
from neuroode.solvers.on_jax.scan_jax import scan

Array = jax.Array
Row = tuple[Array, ...]
Calls = Mapping[str, Callable[[Array], Array]]


@dataclass(frozen=True, slots=True)
class JaxProgram:
    """The functions of the emitted text."""

    prologue: Callable[[dict[str, Array], Array], tuple[Row, Row]]
    step: Callable[..., tuple[Row, Row, Row]]


_programs: dict[str, JaxProgram] = {}


def jax_program(program: Program) -> JaxProgram:
    """The functions of the text that `emit("jax")` prints; made once, keyed by digest."""
    if program.digest not in _programs:
        space = ModuleType(f"neuroode_emitted_{program.digest}_jax").__dict__
        exec(compile(jax_source(program), f"<neuroode {program.name} {program.digest}>", "exec"), space)
        _programs[program.digest] = JaxProgram(space["prologue"], space["step"])
    return _programs[program.digest]


@dataclass(frozen=True, slots=True)
class Drive:
    """Recurrent weights of a run: from which output to which input; `last` is that output before the first step."""

    input: int
    output: int
    weight: Array
    bias: Array | None
    last: Array


@dataclass(frozen=True, slots=True)
class JaxRun:
    """Outputs (T, B, *size*) each, carry (B, *size*) each, the last recurrent output, traces if they were asked for.

    `iterations`: of schedule newton, by states. `beside`: what a layer that keeps the whole past hands on with the
    carry.
    """

    outputs: list[Array]
    carry: list[Array]
    last: Array | None
    trace: list[Array]
    iterations: Mapping[str, Array] = field(default_factory=dict)
    beside: Mapping[str, Array] = field(default_factory=dict)


def run(
    program: Program, coefficients: Row, inputs: list[Array], carry: list[Array],
    *, drive: Drive | None = None, lengths: Array | None = None, trace: bool = False, operators: Calls | None = None,
    step: Callable[..., tuple[Row, Row, Row]] | None = None,
) -> JaxRun:  # fmt: skip
    """Run over T steps. `coefficients` broadcast against *size*; `operators`: functions of (B, *size*) by name; `step`
    stands for that of the program."""
    steps, shape, dtype = inputs[0].shape[0], inputs[0].shape[1:], inputs[0].dtype
    silent = jnp.zeros(shape, dtype)
    step = step or jax_program(program).step
    step = partial(step, operators=operators) if program.operators else step
    body = _Body(program, step, coefficients, drive, lengths, trace, silent)
    state: dict[str, Any] = {"carry": tuple(carry)}
    if drive is not None:
        state["last"] = drive.last
    if lengths is not None:
        state["held"] = (silent,) * len(inputs)
        state["shown"] = body.first(carry) if trace else ()
    counted = (jnp.arange(steps), tuple(inputs))
    end, (outputs, traced) = scan(body, state, counted, steps)
    return JaxRun(list(outputs), list(end["carry"]), end.get("last"), list(traced))


@dataclass(frozen=True, eq=False)  # jax keeps it in a weak dictionary
class _Body:
    """One step of the scan."""

    program: Program
    step: Callable[..., tuple[Row, Row, Row]]
    coefficients: Row
    drive: Drive | None
    lengths: Array | None
    trace: bool
    silent: Array

    def __call__(self, state: dict[str, Any], given: tuple[Array, Row]) -> tuple[dict[str, Any], tuple[Row, Row]]:
        t, now = given
        live = self._live(t)
        after: dict[str, Any] = {}
        if live is not None:  # nothing of the padding enters, not even 0*nan
            now = after["held"] = tuple(jnp.where(live, x, h) for x, h in zip(now, state["held"], strict=True))
        groups = self.step(self.coefficients, state["carry"], self._driven(now, state))
        out, new, seen = (tuple(jnp.broadcast_to(v, self.silent.shape) for v in group) for group in groups)
        seen = seen if self.trace else ()
        last = out[self.drive.output] if self.drive else None
        if live is not None:
            new = tuple(jnp.where(live, n, o) for n, o in zip(new, state["carry"], strict=True))
            last = None if last is None else jnp.where(live, last, state["last"])
            out = tuple(jnp.where(live, o, 0) for o in out)
            seen = after["shown"] = self._shown(live, seen, state["shown"]) if self.trace else ()
        after["carry"] = new
        if last is not None:
            after["last"] = last
        return after, (out, seen)

    def _live(self, t: Array) -> Array | None:
        if self.lengths is None:
            return None
        return (self.lengths > t).reshape(-1, *([1] * (self.silent.ndim - 1)))

    def _driven(self, now: Row, state: dict[str, Any]) -> Row:
        if self.drive is None:
            return now
        extra = jnp.matmul(state["last"], self.drive.weight.T)
        extra = extra if self.drive.bias is None else extra + self.drive.bias
        return tuple(x + extra if i == self.drive.input else x for i, x in enumerate(now))

    def first(self, carry: list[Array]) -> Row:
        """What a trace shows of a sample that has no step at all."""
        states = {s.name: v for s, v in zip(self.program.carry, carry, strict=True)}
        return tuple(states.get(n, self.silent) for n, _ in self.program.trace)

    def _shown(self, live: Array, seen: Row, before: Row) -> Row:
        """After a sample's end states rest, events and outputs are 0."""
        states = {s.name for s in self.program.carry}
        signals = {n for n, _ in self.program.outputs} | {
            e.name.partition(".")[0] + end for end in ("", LOG_PROB) for e in self.program.events
        }
        names = [n for n, _ in self.program.trace]
        rest = [h if n in states or n not in signals else self.silent for n, h in zip(names, before, strict=True)]
        return tuple(jnp.where(live, s, r) for s, r in zip(seen, rest, strict=True))
