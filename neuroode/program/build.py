"""From a discretization to the program of one step. Order is dependency: a value is lowered when somebody reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import sympy as sp

from neuroode._errors import LoweringError
from neuroode.analysis.linearity import during, running
from neuroode.analysis.report import analyse
from neuroode.discretize.choose import discretize
from neuroode.discretize.locate import located
from neuroode.discretize.types import Discretization
from neuroode.program import chances, conditions, refractory
from neuroode.program.builder import Builder, live, reads_of
from neuroode.program.located import Pieces
from neuroode.program.lower import Lowering, Value
from neuroode.program.noise import declared, input_names
from neuroode.program.operators import called_operators
from neuroode.program.slices import signed
from neuroode.program.types import Assign, CarrySlot, Coefficient, EventSlot, ParamSlot, Program, SequenceSum
from neuroode.program.verify import verify_program
from neuroode.spec.types import NeuronSpec
from neuroode.system.build import MARGIN, build_system
from neuroode.system.types import Event, Impulse, OdeSystem, Test

LAGGED = re.compile(r"(.+)\[t-(\d+)\]")
MEMORY = ("memory(", "impulse(", "current(", "derivative ")  # states that only stand for the past of another one
BEFORE_END = "before end("  # a flow state after its flow, before the impulses at the end of the step
LEVEL_NAMES = ("layer", "channel", "neuron")


def build_program(d: Discretization) -> Program:
    """Lower one discretized neuron.

    Raises:
        Unsupported: something that has no lowering yet, by name.
        LoweringError: a fault of neuroode.
    """
    program = _Step(d).program()
    verify_program(program)
    return signed(program)


@dataclass
class _Step:
    """The state of one lowering: the values of the step by symbol name, and the slots that reads have asked for."""

    discretization: Discretization
    values: dict[str, Value] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)  # carry name -> init, in the order of need
    lags: dict[str, int] = field(default_factory=dict)  # name -> deepest lag that is read
    events: list[EventSlot] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.system: OdeSystem = self.discretization.report.system
        self.noise = self.discretization.noise
        self.builder = Builder()
        self.lowering = Lowering(self.builder, self._symbol)
        self.updates = {s: u.values[s] for u in self.discretization.updates for s in u.states}
        beside = self.discretization.beside_held.values()
        stages = [u.stages for u in self.discretization.updates] + [b.stages for b in beside]
        self.stages = {s.name: e for rows in stages for s, e in rows}
        self.guards = {m: e for u in self.discretization.updates for m, e in u.guards.items()}
        self.parameters = self._declare_parameters()
        plan = located(self.discretization)
        self.located = Pieces(self, plan) if plan else None

    # parameters and carry

    def _declare_parameters(self) -> list[ParamSlot]:
        self.builder.declare("dt", "layer")
        slots = []
        for p in self.system.spec.parameters:
            level = next((x for x in p.per if x in LEVEL_NAMES), "layer")
            for part in ("re", "im") if p.type == "complex" else ("",):
                name = f"p.{p.name}" + (f".{part}" if part else "")
                self.builder.declare(name, level, p.trainable)
                slots.append(ParamSlot(name, p.name, part, level, p.trainable))
        return slots

    def _slot(self, name: str, init: str | None = None) -> str:
        """The carry read `c.NAME`, made at its first use; init is a prologue value, 0 if not given."""
        self.slots.setdefault(name, init if init is not None else self.builder.const(0.0))
        return self.builder.declare(f"c.{name}", "lane", True)

    def _parts(self, name: str) -> tuple[str, ...]:
        return (f"{name}.re", f"{name}.im") if self.system.is_complex(name) else (name,)

    def _init(self, name: str) -> tuple[str, ...]:
        value = self.lowering.lower(self.system.state(name).init)
        if self.system.is_complex(name):
            return value.re, value.im or self.builder.const(0.0)
        return (value.re,)

    # what a symbol stands for

    def _symbol(self, symbol: sp.Symbol) -> Value:
        return self._value(symbol.name)

    def _value(self, name: str) -> Value:
        if name not in self.values:
            if name in self.busy:
                raise LoweringError(f"cycle within a step: {' -> '.join([*self.busy, name])}")
            self.busy.append(name)
            self.values[name] = self._make(name)
            self.busy.pop()
        return self.values[name]

    def _make(self, name: str) -> Value:
        if name == "dt":
            return Value("dt")
        if name == "step":
            return Value(self.builder.emit("detach", self._slot("step")))
        if name in self.stages:
            return self.lowering.lower(self.stages[name])
        if name in self.system.parameters:
            return self._parameter(name)
        if name.startswith(BEFORE_END):
            return self._flowed(name.removeprefix(BEFORE_END)[:-1])
        lagged = LAGGED.fullmatch(name)
        if lagged:
            return self._lagged(lagged.group(1), int(lagged.group(2)))
        if name.startswith("after("):
            return self._after(name[6:-1])
        if name.endswith("[t]"):
            return self._now(name[:-3])
        if name in self.system.flows:
            return self._start(name)
        raise LoweringError(f"symbol {name!r} has no meaning in a step")

    def _parameter(self, name: str) -> Value:
        parts = [p.name for p in self.parameters if p.source == name]
        return Value(parts[0], parts[1] if len(parts) > 1 else None)

    def _lagged(self, name: str, k: int) -> Value:
        self.lags[name] = max(k, self.lags.get(name, 0))
        is_state = any(s.name == name for s in self.system.states)
        parts = self._parts(name)
        inits = self._init(name) if is_state else (None,) * len(parts)
        suffix = "" if is_state and k == 1 else f"[t-{k}]"
        read = [self._slot(part + suffix, init) for part, init in zip(parts, inits, strict=True)]
        return Value(read[0], read[1] if len(read) > 1 else None)

    def _now(self, name: str) -> Value:
        """`name[t]`."""
        system = self.system
        if name in system.inputs or name in self.noise:
            return Value(self.builder.declare(f"x.{name}", "lane", True))
        if name in system.flows and self.located:
            return self.located.value(name)
        if name in system.flows:
            flowed = self._flowed(name)
            pushed = self._pushed(name, flowed, "end")
            return self._late(name, flowed if pushed == flowed else refractory.at_rest(self, name, pushed))
        if name in system.maps:
            return self._late(name, refractory.at_rest(self, name, self._whole(name, system.maps[name])))
        event = next((e for e in system.events if e.name == name), None)
        if event is not None:
            if self.located and event.name in self.located.names:
                return Value(self.located.signal(event.name))
            return Value(conditions.guard(self, event))
        return self.lowering.lower(system.definitions[name])

    def _whole(self, name: str, e: sp.Expr) -> Value:
        """The value of a state; a complex one has an imaginary part even where its equation is real."""
        value = self.lowering.lower(e)
        return replace(value, im=value.im or self.builder.const(0.0)) if self.system.is_complex(name) else value

    def _flowed(self, name: str) -> Value:
        """At the end of the flow, before impulses."""
        moved = refractory.held(self, name, self._whole(name, self.updates[name]))
        return refractory.at_rest(self, name, moved)

    def _start(self, name: str) -> Value:
        """The running value at the start of the flow: what the last step left, and impulses."""
        return self._pushed(name, self._value(f"{name}[t-1]"), "start")

    def _pushed(self, name: str, value: Value, at: str) -> Value:
        for kick in self.system.impulses:
            if kick.state == name and kick.at == at:
                value = self._plus(value, self._kick(kick))
        return value

    def _kick(self, kick: Impulse) -> Value:
        """coefficient * input; what runs within the step is read just before all impulses of that moment."""
        start = kick.at == "start"
        names = {s: f"{n}[t-1]" if start else f"{BEFORE_END}{n})" for n, s in running(self.system).items()}
        before = {s: sp.Symbol(name, **s.assumptions0) for s, name in names.items()}
        coefficient = during(self.system, kick.coefficient, sp.S.Zero if start else sp.S.One).xreplace(before)
        return self.lowering.lower(coefficient * self.system.symbols[kick.number])

    def _plus(self, x: Value, y: Value) -> Value:
        re = self.builder.emit("add", x.re, y.re)
        if x.im is None and y.im is None:
            return Value(re)
        zero = self.builder.const(0.0)
        return Value(re, self.builder.emit("add", x.im or zero, y.im or zero))

    # events and resets

    def tested(self, event: Event, test: Test, name: str) -> str:
        """One comparison of a guard."""
        margin = self.lowering.real(self.guards.get(test.margin, test.margin))
        event, margin, shaped = chances.aimed(self, event, test, margin)
        if test is event.condition:  # the event stays one comparison, which kernels know as a bit
            margin = refractory.silenced(self, event, margin, -1.0)
        return self.slotted(event, margin, test.strict, name, shaped)

    def slotted(self, event: Event, margin: str, strict: bool, name: str, shaped: bool = True) -> str:
        """1 where a margin passes; `shaped`: with the slope of the surrogate."""
        if not shaped:
            self.events.append(EventSlot(name, margin, strict, (), self.builder.const(0.0)))
            return self.builder.emit("event", margin, value=name)
        with self._fragment(margin) as fragment:
            slope_id = self.lowering.real(event.slope)
        # a fragment keeps only what computes the slope; the margin and the prologue come from outside
        self.events.append(EventSlot(name, margin, strict, live(fragment, [slope_id]), slope_id))
        return self.builder.emit("event", margin, value=name)

    @contextmanager
    def _fragment(self, margin: str) -> Iterator[list[Assign]]:
        """Code that only the adjoint runs: what varies by lane goes into a list of its own and is forgotten after."""
        b = self.builder
        before, known = len(b.assigns), set(b._known)
        self.lowering.forget()
        self.values[MARGIN.name] = Value(margin)
        fragment: list[Assign] = []
        yield fragment
        new = b.assigns[before:]
        fragment += [a for a in new if b.levels[a.name] == "lane"]
        b.assigns[before:] = [a for a in new if b.levels[a.name] != "lane"]
        dropped = {a.name for a in fragment}
        for key in [k for k in b._known if k not in known and b._known[k] in dropped]:
            del b._known[key]
        del self.values[MARGIN.name]
        self.lowering.forget()

    def _after(self, name: str) -> Value:
        done = self.located.names if self.located else ()  # those events have acted already
        value = self.located.after(name) if self.located else self._value(f"{name}[t]")
        for event in self.system.events:
            if not event.late and event.name not in done:
                value = self._jumped(name, value, event, f"{event.name}[t]")
        return value

    def _late(self, name: str, value: Value) -> Value:
        for event in self.system.events:
            if event.late and any(j.state == name for j in event.jumps):
                value = self._jumped(name, value, event, f"{event.name}[t-1]")
        return value

    def _jumped(self, name: str, value: Value, event: Event, signal: str) -> Value:
        """x + e*(target - x) for each assignment of this event to `name`. A flow to infinity passes there by itself."""
        for jump in event.jumps:
            if jump.state == name and jump.value not in (sp.oo, -sp.oo):
                e = self._value(signal).re
                e = self.builder.emit("detach", e) if event.detached else e
                amount = self._amount(name, value, jump.value, event.late)
                value = self._apply(jump.op, e, amount, value)
        return value

    def _amount(self, name: str, value: Value, amount: sp.Expr, late: bool) -> Value:
        """The right side of an assignment. Inside a late reset the state's own name is its value so far."""
        own = self.system.symbols.get(f"{name}[t]")
        if not late or own is None or not amount.has(own):
            return self.lowering.lower(amount)
        self.lowering.forget()
        self.values[f"{name}[t]"] = value
        lowered = self.lowering.lower(amount)
        del self.values[f"{name}[t]"]
        self.lowering.forget()
        return lowered

    def _apply(self, op: str, e: str, amount: Value, x: Value) -> Value:
        b, zero = self.builder, self.builder.const(0.0)
        if op == "*=":
            amount, op = self.lowering._times(amount, x), "="

        def part(old: str, new: str) -> str:
            if op == "=":
                return b.emit("reset", e, new, old)
            return b.emit("add" if op == "+=" else "sub", old, b.emit("mul", e, new))

        re = part(x.re, amount.re)
        return Value(re) if x.im is None else Value(re, part(x.im, amount.im or zero))

    # the whole

    def program(self) -> Program:
        system, b = self.system, self.builder
        outputs = [(name, self.lowering.real(e)) for name, e in system.outputs]
        after = {s.name: self._value(f"after({s.name})") for s in system.states}
        trace = self._trace(after)
        if system.tables:
            self._value("step")  # the carry counts steps
        next_values = self._next(after)
        for s in system.states:  # the carry holds every state, read or not
            for part, init in zip(self._parts(s.name), self._init(s.name), strict=True):
                self._slot(part, init)
        carry = tuple(CarrySlot(name, init) for name, init in self.slots.items())
        return self._assemble(outputs, trace, next_values, carry, b)

    def _trace(self, after: dict[str, Value]) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        jumping = {j.state for e in self.system.events if not e.late for j in e.jumps}
        for name, value in after.items():
            rows += [] if name.startswith(MEMORY) else self._named(name, value)
            if name in jumping:
                rows += self._named(f"{name}.before", self._value(f"{name}[t]"))
        rows += [(e.name, self._value(f"{e.name}[t]").re) for e in self.system.events]
        rows += [*chances.log_probs(self), *(self.located.rows() if self.located else [])]
        for name, e in self.system.definitions.items():
            rows += self._named(name, self.lowering.lower(e))
        known = {name for name, _ in rows}
        return rows + [(n, self.lowering.real(e)) for n, e in self.system.outputs if n not in known]

    @staticmethod
    def _named(name: str, value: Value) -> list[tuple[str, str]]:
        return [(name, value.re)] if value.im is None else [(f"{name}.re", value.re), (f"{name}.im", value.im)]

    def _next(self, after: dict[str, Value]) -> dict[str, str]:
        rows: dict[str, str] = {}
        done: dict[str, int] = {}
        for name, value in after.items():
            parts = self._parts(name)
            rows |= dict(zip(parts, (value.re, value.im or self.builder.const(0.0)), strict=False))
        while done != self.lags:  # lowering a recorded value may ask for further lags
            for name, depth in list(self.lags.items()):
                done[name] = depth
                rows |= self._shift(name, depth, name in after)
        if "step" in self.slots:
            rows["step"] = self.builder.emit("add", self._value("step").re, self.builder.const(1.0))
        return rows | refractory.next_counters(self)

    def _shift(self, name: str, depth: int, is_state: bool) -> dict[str, str]:
        rows: dict[str, str] = {}
        for k in range(2 if is_state else 1, depth + 1):
            self._lagged(name, k)
            newer = self._value(f"{name}[t]") if k == 1 else self._lagged(name, k - 1)
            values = (newer.re, newer.im or self.builder.const(0.0))
            rows |= dict(zip([f"{p}[t-{k}]" for p in self._parts(name)], values, strict=False))
        return rows

    def _assemble(
        self, outputs: list[tuple[str, str]], trace: list[tuple[str, str]], next_values: dict[str, str],
        carry: tuple[CarrySlot, ...], b: Builder,
    ) -> Program:  # fmt: skip
        prologue = [a for a in b.assigns if b.levels[a.name] != "lane"]
        body = [a for a in b.assigns if b.levels[a.name] == "lane"]
        next_rows = tuple((slot.name, next_values[slot.name]) for slot in carry)
        body_roots = [v for _, v in outputs + trace] + [v for _, v in next_rows]
        body_live = live(body, body_roots)
        kept = {a.value for a in body_live if a.op == "event"}
        events = tuple(s for s in self.events if s.name in kept)
        read = reads_of(body_live, events, body_roots)
        local = {a.name for a in body_live} | {a.name for s in events for a in s.slope}
        names = [n for n in dict.fromkeys(read) if n not in local and n[:2] not in ("c.", "x.")]
        coefficients = [n for n in names if b.constant(n) is None]
        constants = [n for n in names if b.constant(n) is not None]
        body_live = tuple(a for a in prologue if a.name in constants) + body_live
        prologue_live = live(prologue, [*coefficients, *(s.init for s in carry)])
        return Program(
            name=self.system.spec.name,
            inputs=input_names(self.system, self.noise),
            noise=declared(self.noise),
            tables=self.system.tables,
            sums=tuple(SequenceSum(s.name, *map(_of_system, s.parts)) for s in self.system.sums),
            operators=called_operators(self.system.spec.operators, body_live),
            parameters=tuple(self.parameters),
            carry=carry,
            prologue=prologue_live,
            body=body_live,
            events=events,
            coefficients=tuple(Coefficient(n, b.levels[n], b.trainable[n]) for n in coefficients),
            outputs=tuple(outputs),
            next=next_rows,
            trace=tuple(trace),
            located=tuple(self.located.names) if self.located else (),
            start=_lowered(self.system.start) if self.system.start else None,
        )


def _of_system(spec: NeuronSpec) -> Program:
    return _lowered(build_system(spec))


def _lowered(system: OdeSystem) -> Program:
    return build_program(discretize(analyse(system)))
