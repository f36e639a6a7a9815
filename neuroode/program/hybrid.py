"""A step with its flow taken out, for solvers that move the flow themselves.

What surrounds the flow (impulses, guards, jumps, maps, outputs, what the carry records) is lowered as for any step; the
values of flow states are inputs, `y.v`, `y.u.re`, `y.u.im`: the real vector that a solver sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from neuroode._errors import Unsupported
from neuroode.analysis.linearity import FRACTION, during
from neuroode.analysis.types import Report
from neuroode.discretize.riccati import check_infinity
from neuroode.discretize.types import Discretization
from neuroode.discretize.waves import in_calculus, streams_of, waves_of
from neuroode.program import refractory
from neuroode.program.build import _Step
from neuroode.program.builder import Builder
from neuroode.program.lower import Value
from neuroode.program.slices import cut, program_of, renamed, signed
from neuroode.program.types import Assign, CarrySlot, EventSlot, Program
from neuroode.system.types import Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """The pieces of a step: pointwise programs without carry that share the prologue and coefficients of `whole`.

    Their inputs are those of the step (`I`), the carry before it (`c.v`), and what is said here. A step that ends in at
    most one event: y from `start`, moved by `field` over dt, bits from `guards`, then `finish` with j = e. One with
    events inside: wherever a margin passes, `jump` with that event's j = 1, and on; then `finish` with j = 0.

    Attributes:
        whole: declared inputs, parameters, prologue, coefficients, carry, outputs, trace. It is never run.
        states: real slots of the flow states, in order: v, u.re, u.im.
        events: names of the events, in order.
        start: -> `y.v`, when the flow begins; impulses at the start of the step are in.
        field: from `y.v` and `fraction` (of the step, 0 to 1) -> `d.v`, dy/dtime; 0 where a refractory time holds v.
        guards: from `y.v` -> `e.s`, the bit with its surrogate; `m.s`, its margin, where it is one comparison.
        jump: from `y.v` and `j.s` -> `y.v` behind the resets of the events whose j is 1.
        finish: from `y.v`, `e.s` (the signals) and `j.s` (1: `y` has not jumped yet) -> `out.NAME`, `next.SLOT`,
            `trace.NAME`.
        waves: the Wiener increments, in order; inputs of `whole` like the `discretize.waves.bridge` of each.
        spread: from `y.v` and `fraction` -> `g.v.dW`, what a state gains per increment; `field` is then the drift in
            the calculus that was asked for.
    """

    whole: Program
    states: tuple[str, ...]
    events: tuple[str, ...]
    start: Program
    field: Program
    guards: Program
    jump: Program
    finish: Program
    waves: tuple[str, ...] = ()
    spread: Program | None = None

    @property
    def still(self) -> Program:
        """`whole` with a step that leaves the carry as it is: its prologue can be run."""
        rows = tuple((s.name, f"c.{s.name}") for s in self.whole.carry)
        return signed(replace(self.whole, body=(), events=(), outputs=(), trace=(), next=rows))


def hybrid(report: Report, calculus: str | None = None) -> Hybrid:
    """The pieces of the step of a neuron.

    Args:
        calculus: in which the solver moves noise; None: it knows of none.

    Raises:
        Unsupported: nothing flows; noise for a solver without, or a drift that cannot be converted; an operator mixes
            neurons; a peak or reset at infinity.
    """
    name = report.system.spec.name
    if not report.system.flows:
        raise Unsupported(f"'{name}' has no flow that a solver could move", hint="leave solver= out: maps are steps")
    if report.system.diffusion:
        if calculus is None:
            noisy = ", ".join(report.system.diffusion)
            what = f"'{name}' has noise in {noisy}, of which this solver knows nothing"
            raise Unsupported(what, hint='write solver="torchsde", in jax layers "diffrax", or leave solver= out')
        report = replace(report, system=in_calculus(report.system, calculus))
    bare = Discretization(report, "solver", ())
    check_infinity(bare)
    made = _Pieces(_Open(bare)).made()
    if made.whole.operators:
        names = ", ".join(n for n, _ in made.whole.operators)
        raise Unsupported(f"operators mix neurons, which solvers move one by one ({names})", hint="leave solver= out")
    return made


class _Open(_Step):
    """The lowering of a step whose flows are inputs; `rows` are the values of its pieces by name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.noise = self.noise | streams_of(self.system)
        self.rows: list[tuple[str, str]] = []
        for name in self.system.flows:
            self.values[name] = self._declared(name)
        for event in self.system.events:  # flow states jump by bits of their own: they may have jumped within the step
            self.values[f"j.{event.name}"] = Value(self.builder.declare(f"x.j.{event.name}", "lane", True))
        self.values[FRACTION.name] = Value(self.builder.declare(f"x.{FRACTION}", "lane"))

    def _declared(self, name: str) -> Value:
        parts = [self.builder.declare(f"x.y.{p}", "lane", True) for p in self._parts(name)]
        return Value(parts[0], parts[1] if len(parts) > 1 else None)

    def _flowed(self, name: str) -> Value:
        return self.values[name]

    def _after(self, name: str) -> Value:
        if name not in self.system.flows:
            return super()._after(name)
        value = self._value(f"{name}[t]")
        for event in self.system.events:
            if not event.late:
                value = self._jumped(name, value, event, f"j.{event.name}")
        return value

    def _trace(self, after: dict[str, Value]) -> list[tuple[str, str]]:
        self.rows = self._pieces(after)  # before the carry is closed: a field may read the past
        return super()._trace(after)

    def _pieces(self, after: dict[str, Value]) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        for name, flow in self.system.flows.items():
            rows += self._row("y", name, self._unless_held(name, self._start(name), self._value(f"{name}[t-1]")))
            rows += self._row("d", name, self._moving(name, flow))
            rows += self._row("j", name, after[name])
            for wave, g in self.system.diffusion.get(name, {}).items():
                rows += [(f"{n}.{wave}", v) for n, v in self._row("g", name, self._moving(name, g))]
        for event in self.system.events:
            rows.append((f"e.{event.name}", self._value(f"{event.name}[t]").re))
            if isinstance(event.condition, Test):
                rows.append((f"m.{event.name}", next(s.margin for s in self.events if s.name == event.name)))
        return rows

    def _moving(self, name: str, e: Any) -> Value:
        value = self._whole(name, during(self.system, e, FRACTION))
        return self._unless_held(name, value, Value(self.builder.const(0.0)))

    def _unless_held(self, name: str, moving: Value, resting: Value) -> Value:
        for event in self.system.events:
            if name in event.hold:
                moving = refractory.choose(self, (event,), resting, moving)
        return moving

    def _row(self, what: str, name: str, value: Value) -> list[tuple[str, str]]:
        values = (value.re, value.im or self.builder.const(0.0))
        return [(f"{what}.{p}", v) for p, v in zip(self._parts(name), values, strict=False)]

    def _assemble(
        self, outputs: list[tuple[str, str]], trace: list[tuple[str, str]], next_values: dict[str, str],
        carry: tuple[CarrySlot, ...], b: Builder,
    ) -> Program:  # fmt: skip
        made = super()._assemble([*outputs, *self.rows], trace, next_values, carry, b)
        return replace(made, outputs=tuple(outputs))


class _Pieces:
    """Slices of the open step."""

    def __init__(self, step: _Open) -> None:
        self.step, self.whole = step, signed(step.program())
        self.values = dict(step.rows)
        self.bits = {v: n for n, v in step.rows if n.startswith("e.")}

    def made(self) -> Hybrid:
        whole, values = self.whole, self.values
        ends = {f"out.{n}": v for n, v in whole.outputs} | {f"next.{n}": v for n, v in whole.next}
        waves = waves_of(self.step.system)
        return Hybrid(
            whole=whole, states=tuple(n.removeprefix("d.") for n in values if n.startswith("d.")),
            events=tuple(e.name for e in self.step.system.events),
            start=self._slice(self._named("y")), field=self._slice(self._named("d")),
            guards=self._slice(self._named("e", "m"), self.whole.events),
            jump=self._slice({f"y.{n[2:]}": v for n, v in self._named("j").items()}),
            finish=self._slice(ends | {f"trace.{n}": v for n, v in whole.trace}),
            waves=waves, spread=self._slice(self._named("g")) if waves else None,
        )  # fmt: skip

    def _named(self, *kinds: str) -> dict[str, str]:
        return {n: v for n, v in self.values.items() if n.partition(".")[0] in kinds}

    def _slice(self, rows: dict[str, str], events: tuple[EventSlot, ...] = ()) -> Program:
        """What the rows need; the bits of events are inputs, unless they are what is asked for."""
        slopes = [x for s in events for a in (*s.slope, Assign("", "", (s.slope_id,))) for x in a.args]
        inside = {a.name for a in self.whole.body}
        found = cut(self.whole.body, [*rows.values(), *(x for x in slopes if x in inside)], self._border(bool(events)))
        return program_of(self.whole, found, rows, events=renamed(events, found))

    def _border(self, computes: bool) -> Callable[[str], str | None]:
        def border(value: str) -> str | None:
            if value.startswith("x."):
                return value[2:]
            return value if value.startswith("c.") else None if computes else self.bits.get(value)

        return border
