"""Events whose gradient is that of a probability (`system/chances.py`), in the SSA of a step.

expected: the value of the comparison stays what it is, its margin's gradient is that of the probability, its slope 1.
reinforce: no gradient passes the comparison; the trace has `NAME.log_prob`, the logarithm of the probability of what
happened, log(P) where there is an event, log(1 - P) where there is none, 0 in a refractory step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from neuroode._errors import Unsupported
from neuroode.program import refractory
from neuroode.program.pack import groups
from neuroode.program.slices import signed
from neuroode.program.types import Program
from neuroode.system.chances import STRAIGHT
from neuroode.system.types import Event, Test

if TYPE_CHECKING:
    from neuroode.program.build import _Step

LOG_PROB = ".log_prob"
LEAST = 1e-30  # of a probability whose logarithm is taken: what is less likely never happens
_known: dict[str, Program] = {}  # by the digest of the program without logarithms


def aimed(step: _Step, event: Event, test: Test, margin: str) -> tuple[Event, str, bool]:
    """The event with its slope, its margin, and whether a gradient passes it at all."""
    if test.chance is None or event.gradient == "surrogate":
        return event, margin, True
    if event.gradient == "reinforce":
        return event, margin, False
    b, chance = step.builder, step.lowering.real(test.chance)
    nothing = b.emit("sub", chance, b.emit("detach", chance))  # 0, with the gradient of the probability
    return replace(event, slope=STRAIGHT), b.emit("add", b.emit("detach", margin), nothing), True


def log_probs(step: _Step) -> list[tuple[str, str]]:
    """Rows of a trace."""
    return [(e.name + LOG_PROB, _log_prob(step, e)) for e in step.system.events if e.gradient == "reinforce"]


def _log_prob(step: _Step, event: Event) -> str:
    b, test = step.builder, event.condition
    assert isinstance(test, Test)
    assert test.chance is not None
    chance = step.lowering.real(test.chance)
    signal = step._value(f"{event.name}[t]").re
    of_what_happened = b.emit("where", signal, chance, b.emit("sub", b.const(1.0), chance))
    return refractory.silenced(step, event, b.emit("log", b.emit("max", of_what_happened, b.const(LEAST))), 0.0)


def scored(program: Program) -> Program:
    """The same step with outputs `NAME.log_prob` too.

    Raises:
        Unsupported: no event has gradient: reinforce.
    """
    rows = tuple(row for row in program.trace if row[0].endswith(LOG_PROB))
    if not rows:
        what = f"'{program.name}' has no event whose gradient is reinforce: nothing has a probability to take"
        raise Unsupported(what, hint="declare events: {s: {when: p > U, gradient: reinforce}}")
    if program.digest not in _known:
        _known[program.digest] = signed(replace(program, outputs=(*program.outputs, *rows)))
    return _known[program.digest]


def scored_events(program: Program) -> list[str]:
    """Names of the events that have a logarithm in the trace; elements of one are one."""
    return [g.name for g in groups(n.removesuffix(LOG_PROB) for n, _ in program.trace if n.endswith(LOG_PROB))]
