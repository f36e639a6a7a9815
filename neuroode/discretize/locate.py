"""Which events lie at a time inside the step, and how that time is found: `within_step: locate`.

A guard that reads the running states becomes true somewhere in the step. There the event acts, and the states run on
for the rest of the step, up to four events a step (`PIECES`), two where times are bracketed; a guard that is true
still, or again, after the last of them acts at the start of the next step. A guard that is true when the step begins
(an impulse) acts at once, at time 0.

The time has a closed form where the guard compares one state that is linear or of Riccati form; elsewhere it is found
by bracketing on the step itself, taken over part of the step (program/crossing.py).

Sources: qif.md (c) for the closed form; Brette, Neural Comput. 18 (2006), for event-driven linear neurons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis import riccati as flows
from neuroode.analysis.types import Block, Report
from neuroode.discretize import riccati
from neuroode.discretize.types import Discretization, Update
from neuroode.expr import functions as fn
from neuroode.expr.alike import listed
from neuroode.system.types import Event, OdeSystem, Test

PIECES = 4  # located events in a step, at most, where all times have a closed form
BRACKETED_PIECES = 2  # the same where some have not: such a piece is some hundred to some thousand operations
SATURATE = "within_step: saturate takes events at the end of the step"


@dataclass(frozen=True, slots=True)
class Closed:
    """The flow A v^2 + B v + C of the one state that a guard compares with `level` (None: infinity)."""

    state: str
    level: sp.Expr | None
    A: sp.Expr
    B: sp.Expr
    C: sp.Expr


@dataclass(frozen=True, slots=True)
class Guard:
    """An event inside the step.

    `plain`: the margin as declared, which reads `v[t]` as the running value; `margin`: as the step computes it, from
    values of its own (`Update.guards`) where `stepwise`.
    `moves`: its reset assigns a state, so that the neuron runs on from another one.
    """

    event: Event
    plain: sp.Expr
    margin: sp.Expr
    strict: bool
    stepwise: bool
    closed: Closed | None
    moves: bool


@dataclass(frozen=True, slots=True)
class Located:
    """`carried`: maps that located events assign; they run along with the flow states."""

    guards: tuple[Guard, ...]
    carried: tuple[str, ...]

    @property
    def pieces(self) -> int:
        """Parts of the step between events; without resets the first time is all that matters."""
        if not any(g.moves for g in self.guards):
            return 1
        return PIECES if all(g.closed for g in self.guards) else BRACKETED_PIECES


def located(d: Discretization) -> Located | None:
    """What is located in the steps of a neuron; None where its declaration says `saturate`.

    Raises:
        Unsupported: a construct that has no time inside the step, with the reason.
    """
    system = d.report.system
    if system.spec.within_step != "locate" or (system.flows and not d.updates):  # a solver finds events by itself
        return None
    events, carried = inside(system)
    return Located(tuple(_guard(d, e) for e in events), carried)


def inside(system: OdeSystem) -> tuple[list[Event], tuple[str, ...]]:
    """The events that have a time inside the step, and the maps that they assign.

    Raises:
        Unsupported: a construct that has no time inside the step, with the reason.
    """
    if system.diffusion:
        raise Unsupported(
            f"within_step: locate: a path of {', '.join(system.diffusion)} has noise, and no slope at which a time "
            "could be found", hint="remove within_step: locate",
        )  # fmt: skip
    events = [e for e in system.events if any(_running(system, t.margin) for t in riccati.tests(e.condition))]
    if not events:
        raise Unsupported(
            f"within_step: locate: no event of '{system.spec.name}' compares a state that flows, so none has a time "
            "inside the step", hint="remove within_step: locate",
        )  # fmt: skip
    _check_flows(system)
    carried = tuple(n for n in system.maps if any(j.state == n for e in events for j in e.jumps))
    early = _Early(system, {e.name for e in events})
    for e in events:
        _check(e, early)
    for name in carried:
        early.check(f"{name}[t]", f"map {name}, which a located event assigns")
    return events, carried


def _running(system: OdeSystem, e: sp.Expr) -> set[str]:
    """Flow states whose value of now an expression reads."""
    names = {s.name for s in e.free_symbols}
    return {n for n in system.flows if f"{n}[t]" in names}


def _check_flows(system: OdeSystem) -> None:
    def no(what: str, hint: str = SATURATE) -> None:
        raise Unsupported(f"within_step: locate: {what}", hint=hint)

    for name, e in system.flows.items():
        if any(s.name == "dt" for s in e.free_symbols):
            no(f"the flow of {name} reads dt, so it belongs to whole steps")
        if any(isinstance(f, fn.operator) for f in e.atoms(sp.Function)):
            no(f"the flow of {name} calls an operator, and every neuron has times of its own")
        if ramps := [s.name for s in system.ramps if e.has(s)]:
            no(f"the flow of {name} reads {ramps[0]}, which runs through the step")
    for kick in system.impulses:
        if kick.at == "end":
            no(f"the impulse {kick.input} acts at the end of the step, after the events", "give it at: start")
    for event in system.events:
        moved = [j.state for j in event.jumps if j.state in system.flows]
        if event.late and moved:
            no(f"event '{event.name}' assigns {moved[0]} in the next step, after its flow", "reset: same step")


def _check(event: Event, early: _Early) -> None:
    head = f"within_step: locate: event '{event.name}'"
    if not isinstance(event.condition, Test):
        raise Unsupported(f"{head} combines comparisons; one is located", hint=f"one comparison; {SATURATE}")
    if event.late:
        raise Unsupported(f"{head} acts in the next step, not at its time", hint="reset without when: next_step")
    if event.silent is not None:
        raise Unsupported(f"{head} has a refractory time, which is counted in whole steps", hint=SATURATE)
    for e, what in [(event.condition.margin, "guard"), *((j.value, "reset") for j in event.jumps)]:
        for s in e.free_symbols:
            early.check(s.name, f"the {what} of event '{event.name}'")
    reads = {s.name.removesuffix("[t]") for s in event.condition.margin.free_symbols if s.name.endswith("[t]")}
    jumps = [j for j in event.jumps if j.value not in (sp.oo, -sp.oo)]
    if jumps and not reads & {j.state for j in jumps}:
        raise Unsupported(
            f"{head} assigns {listed([j.state for j in jumps])} but nothing that its guard reads, so it would act "
            "again at the same time", hint=f"reset what the guard compares, or {SATURATE}",
        )  # fmt: skip


@dataclass
class _Early:
    """Whether a value is known before the flow starts; the running states themselves are known where they are asked."""

    system: OdeSystem
    located: set[str]

    def check(self, name: str, reader: str) -> None:
        """Raise where `name` is known after the flow only."""
        late = self._late(name.removesuffix("[t]")) if name.endswith("[t]") or name.startswith("after(") else None
        if late and name.removesuffix("[t]") not in self.system.flows:
            raise Unsupported(
                f"within_step: locate: {reader} reads {name}, which needs {late} at the end of the step",
                hint=f"read a value of the step before; {SATURATE}",
            )

    def _late(self, name: str) -> str | None:
        """What of the end of the flow a value of this step reads."""
        if name in self.system.flows or name in self.located or name.startswith("after("):
            return name
        event = next((e for e in self.system.events if e.name == name), None)
        if event is not None:
            return self._first(s for t in riccati.tests(event.condition) for s in t.margin.free_symbols)
        if name in self.system.maps:
            return self._first(self.system.maps[name].free_symbols)
        return None

    def _first(self, symbols: Iterable[sp.Symbol]) -> str | None:
        names = [s.name for s in symbols if s.name.endswith("[t]") or s.name.startswith("after(")]
        return next((late for n in names if (late := self._late(n.removesuffix("[t]")))), None)


def _guard(d: Discretization, event: Event) -> Guard:
    assert isinstance(event.condition, Test)
    margin, strict = event.condition.margin, event.condition.strict
    own = {m: e for u in d.updates for m, e in u.guards.items()}
    moves = any(j.value not in (sp.oo, -sp.oo) for j in event.jumps)
    return Guard(event, margin, own.get(margin, margin), strict, margin in own, _closed(d, margin), moves)


def _closed(d: Discretization, margin: sp.Expr) -> Closed | None:
    system = d.report.system
    names = _running(system, margin)
    state = next(iter(names))
    if len(names) > 1 or system.is_complex(state):
        return None
    update = next(u for u in d.updates if state in u.states)
    found = _flow(d.report, d.report.block_of(state), update)
    now = system.symbols[f"{state}[t]"]
    if found is None:
        return None
    if isinstance(margin, fn.peak):
        return Closed(state, None, *found)
    slope = sp.diff(margin, now)
    if slope.has(now):
        return None
    return Closed(state, -margin.subs(now, 0) / slope, *found)


def _flow(report: Report, block: Block, update: Update) -> tuple[sp.Expr, sp.Expr, sp.Expr] | None:
    """A, B, C of a state whose step is the exact flow A v^2 + B v + C."""
    if len(block.states) > 1 or not update.exact:
        return None
    if block.A is not None and block.drive is not None:
        return sp.S.Zero, block.A[0, 0], block.drive[0]
    found = flows.coefficients(report.system, block)
    return (found.A, found.B, found.C) if found else None
