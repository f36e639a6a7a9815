"""A step of a neuron with fractional derivatives around its memory, for methods that keep the whole past.

D^a v = f is stepped as v = base + (weights of the method) * (right sides so far): `base` is v(0) and what jumps have
added. The pieces are those of `program/hybrid.py`, with f as the field; a reset acts here as its declaration says: a
jump moves the base, a restart also erases the past, what an impulse or a current adds is right side for one step or
for a duration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from neuroode._errors import Unsupported
from neuroode.analysis.memory import leak
from neuroode.analysis.types import Report
from neuroode.discretize.types import Discretization
from neuroode.program.hybrid import Hybrid, _Open, _Pieces
from neuroode.program.lower import Value
from neuroode.program.types import Program
from neuroode.spec.schema import METHOD_VARIANTS
from neuroode.system.types import Event, Jump, OdeSystem

#: method -> its variants, the first is what the bare name means
VARIANTS = METHOD_VARIANTS | {"abm": ("",), "mittag_leffler": ("",)}
CALL = re.compile(r"(\w+)\s*(?:\(\s*(\w*)\s*\))?")


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the whole past: gl, l1, abm, flmm2 or mittag_leffler, and its variant."""

    name: str
    variant: str

    @property
    def implicit(self) -> bool:
        """Whether a step reads the right side at its own end."""
        return self.name == "flmm2" or self.variant == "implicit"

    def __str__(self) -> str:
        return self.name if self.variant == VARIANTS[self.name][0] else f"{self.name}({self.variant})"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What layers with the whole past run.

    Attributes:
        hybrid: `field` gives the right sides; resets that are impulses or currents do not move a state in it.
        orders: coefficients alone -> `a.v.0`, `c.v.0` order and coefficient of each term of each real slot (a flow of
            the usual kind has one term of order 1); `t.EVENT.v` duration of a current.
        kicks: -> `k.EVENT.v`, what an event adds to the right side: for a duration, or (`impulses`) times dt.
        restarts: (event, slot) that erases the past; `detached`: events whose resets pass no gradient through them.
        leaks: -> `l.v`, the rate of D^a v = -rate*v + ..., where every right side is such; else None.
    """

    hybrid: Hybrid
    orders: Program
    kicks: Program
    terms: tuple[int, ...]
    currents: tuple[tuple[str, str], ...]
    impulses: tuple[tuple[str, str], ...]
    restarts: tuple[tuple[str, str], ...]
    leaks: Program | None
    detached: frozenset[str]


def history_method(declared: object) -> Method | None:
    """The method of the whole past that a text names; None where it names none.

    Raises:
        Unsupported: no such variant.
    """
    found = CALL.fullmatch(declared.strip()) if isinstance(declared, str) else None
    if found is None or found.group(1) not in VARIANTS:
        return None
    name, variant = found.group(1), found.group(2)
    known = VARIANTS[name]
    if variant and variant not in known:
        raise Unsupported(f"method '{declared}': {name} has no variant '{variant}'",
                          hint="write " + " or ".join(str(Method(name, v)) for v in known))  # fmt: skip
    return Method(name, variant or known[0])


def history(report: Report, method: Method) -> History:
    """The pieces of a neuron for a method.

    Raises:
        Unsupported: the method does not apply, with the reason.
    """
    refuse(report, method)
    step = _Remembering(Discretization(report, str(method), ()))
    pieces = _Pieces(step)
    if pieces.whole.operators:
        names = ", ".join(n for n, _ in pieces.whole.operators)
        raise Unsupported(f"method {method}: operators mix neurons, which step by themselves here ({names})",
                          hint="method: soe")  # fmt: skip
    named = pieces._named
    rates = named("l")
    return History(
        hybrid=pieces.made(), orders=pieces._slice(named("a", "c", "t")), kicks=pieces._slice(named("k")),
        terms=tuple(step.terms.values()),
        currents=tuple(step.kicked("current")), impulses=tuple(step.kicked("impulse")),
        restarts=tuple(step.kicked("restart")), leaks=pieces._slice(rates) if rates else None,
        detached=frozenset(e.name for e in report.system.events if e.detached),
    )  # fmt: skip


def refuse(report: Report, method: Method) -> None:
    """Raise Unsupported, with the reason, for what the methods of the whole past do not do."""
    system = report.system
    name = system.spec.name
    if not system.fractional:
        raise Unsupported(f"method {method}: '{name}' has no D^alpha line", hint="method: auto")
    if system.spec.within_step == "locate":
        raise Unsupported(f"method {method}: events inside a step would need the past at any time",
                          hint="within_step: saturate")  # fmt: skip
    for event in system.events:
        _refuse_event(system, event, method)
    several = [v for v, f in system.fractional.items() if len(f.terms) > 1]
    if several and method.name != "gl":
        raise Unsupported(f"method {method}: {several[0]} has several orders", hint="method: gl, or soe")
    if method.name == "mittag_leffler":
        _refuse_feedback(report, method)


def _refuse_event(system: OdeSystem, event: Event, method: Method) -> None:
    own = [j for j in event.jumps if j.state in system.fractional]
    rests = [s for s in event.hold if s in system.fractional]
    if rests:
        raise Unsupported(f"method {method}: {rests[0]} has a past that goes on while it should rest (hold of "
                          f"{event.name})", hint="remove hold, or method: soe")  # fmt: skip
    if event.late and any(j.memory != "jump" for j in own):
        raise Unsupported(f"method {method}: a late reset of {event.name} with memory {own[0].memory}",
                          hint="when: same_step")  # fmt: skip
    if method.name == "flmm2" and any(j.memory == "restart" for j in own):
        raise Unsupported(f"method {method}: starting weights count from one origin, and {event.name} sets a new one "
                          "in each lane", hint="method: gl, l1 or abm")  # fmt: skip


def _refuse_feedback(report: Report, method: Method) -> None:
    """The propagator needs right sides -rate*v + drive whose drive is known before the first step."""
    system = report.system
    jumping = [f"{e.name} resets {j.state}" for e in system.events for j in e.jumps if j.state in system.flows]
    jumping += [f"an impulse moves {i.state}" for i in system.impulses]
    if jumping:
        raise Unsupported(f"method {method} moves all steps at once, but {jumping[0]}", hint="method: soe, gl or abm")
    for v in system.flows:
        rate = leak(system, v, report.blocks)
        reads = {s.name for s in system.flows[v].free_symbols} - {*system.flows}
        known = {f"{n}[t]" for n in system.inputs} | {*system.parameters, "dt", v}
        if rate is None or system.is_complex(v) or reads - known:
            what = f"reads {sorted(reads - known)[0]}" if reads - known else "is not -rate*v + drive"
            raise Unsupported(f"method {method} needs right sides known before the first step, but that of {v} {what}",
                              hint="method: soe, flmm2 or abm")  # fmt: skip


class _Remembering(_Open):
    """The lowering of a step around its memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.terms = {p: len(self._terms(v)) for v in self.system.flows for p in self._parts(v)}

    def _terms(self, name: str) -> tuple:
        found = self.system.fractional.get(name)
        return found.terms if found else ((1, 1),)

    def kicked(self, memory: str) -> Iterator[tuple[str, str]]:
        """(event, slot) of the resets with that memory."""
        for event, jump in self._resets(memory):
            yield from ((event.name, p) for p in self._parts(jump.state))

    def _resets(self, *memory: str) -> Iterator[tuple[Event, Jump]]:
        for event in self.system.events:
            seen: set[str] = set()
            for jump in event.jumps:
                if jump.memory in memory and jump.state not in seen and jump.state in self.system.fractional:
                    seen.add(jump.state)
                    yield event, jump

    def _jumped(self, name: str, value: Value, event: Event, signal: str) -> Value:
        moving = tuple(j for j in event.jumps if j.memory in ("jump", "restart"))
        return super()._jumped(name, value, replace(event, jumps=moving), signal)

    def _pieces(self, after: dict[str, Value]) -> list[tuple[str, str]]:
        rows = super()._pieces(after)
        for name in self.system.flows:
            for k, (coefficient, order) in enumerate(self._terms(name)):
                values = self._number(coefficient), self._number(order)
                for part in self._parts(name):
                    rows += [(f"c.{part}.{k}", values[0]), (f"a.{part}.{k}", values[1])]
        for event, jump in self._resets("impulse", "current"):
            rows += self._kick_rows(event, jump)
        return rows + self._rates()

    def _number(self, e: Any) -> str:
        return self.builder.const(1.0) if e == 1 else self.lowering.real(e)

    def _kick_rows(self, event: Event, jump: Jump) -> list[tuple[str, str]]:
        b = self.builder
        rest = Value(b.const(0.0), b.const(0.0) if self.system.is_complex(jump.state) else None)
        kept = tuple(j for j in event.jumps if j.memory == jump.memory)
        kick = super()._jumped(jump.state, rest, replace(event, jumps=kept), f"j.{event.name}")
        rows = self._row(f"k.{event.name}", jump.state, kick)
        if jump.duration is not None:
            rows += [(f"t.{event.name}.{p}", self.lowering.real(jump.duration)) for p in self._parts(jump.state)]
        return rows

    def _rates(self) -> list[tuple[str, str]]:
        report = self.discretization.report
        found = {v: leak(self.system, v, report.blocks) for v in self.system.flows}
        if any(r is None or self.system.is_complex(v) for v, r in found.items()):
            return []
        return [(f"l.{v}", self.lowering.real(r)) for v, r in found.items()]
