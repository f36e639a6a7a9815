"""Events at times inside the step (`within_step: locate`): the step in pieces, unrolled into the SSA of one step.

A piece starts at the states y with h of the step left. The time t0 of its first event is found without gradient; then

    t = t0 - (m(y, t0) - detach(m(y, t0)))/detach(dm/dt)

has the value t0 and, by the implicit function theorem, the derivative of the crossing time. The states run on from
reset(flow(y, t)) for h - t, so the ordinary adjoint yields the jump of the sensitivities at the event, the saltation
matrix. Where the margin only touches its threshold (dm/dt = 0) the time has no derivative and gets none.

Sources: Hiskens and Pai, IEEE Trans. Circuits Syst. I 47 (2000), for the jump conditions of sensitivities; Wunderlich
and Pehle, Sci. Rep. 11 (2021), for exact gradients of spike times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from neuroode._errors import LoweringError
from neuroode.discretize.locate import Guard, Located
from neuroode.program import crossing
from neuroode.program.adjoint import pullback
from neuroode.program.builder import Builder, live
from neuroode.program.lower import Value
from neuroode.program.types import Assign

if TYPE_CHECKING:
    from neuroode.program.build import _Step

START, LEFT, ONE = "&y.", "&h", "&one"  # outside names of templates: states at the start, length, seed of a slope
PLAIN = "(margin)"  # beside slopes by slot, of which one may be called m
TOUCH = 1e-9  # of the margin at the start of the piece per its length: a slope below is none

T = TypeVar("T")
States = dict[str, str]  # slot -> value


@dataclass(frozen=True, slots=True)
class Template:
    """Code in the outside names `&y.SLOT` and `&h`, to be put in at several places."""

    code: tuple[Assign, ...]
    roots: dict[str, str]

    def call(self, b: Builder, y: States, h: str) -> dict[str, str]:
        rename = {START + n: v for n, v in y.items()} | {LEFT: h, ONE: b.const(1.0)}
        b.adopt(self.code, rename)
        return {n: rename.get(v, v) for n, v in self.roots.items()}


@dataclass(frozen=True, slots=True)
class Margin:
    """m(y, h) along the flow of one guard, dm/dh, and dm/dy where the time has no closed form."""

    guard: Guard
    value: Template
    slope: Template
    pull: Template | None


@dataclass(slots=True)
class Piece:
    """What one piece found: by event, whether it fires and when, both within the piece; the time at which it ends."""

    fires: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)


class Pieces:
    """The located step of one neuron.

    Attributes:
        end: slot -> value at the end of the step: flow states and carried maps.
        signals: event -> 1 if there was at least one.
        times: event -> time since the start of the step of its first one, dt where there is none.
    """

    def __init__(self, step: _Step, plan: Located) -> None:
        self.step, self.plan, self.b = step, plan, step.builder
        self.names = [g.event.name for g in plan.guards]
        self.end: States | None = None
        self.signals: dict[str, str] = {}
        self.times: dict[str, str] = {}
        self.busy = False

    def value(self, name: str) -> Value:
        """A flow state or a carried map at the end of the step."""
        self._ensure()
        assert self.end is not None
        return _value([self.end[p] for p in self.step._parts(name)])

    def after(self, name: str) -> Value:
        """The same; any other state as it is before events that are not located."""
        inside = name in self.step.system.flows or name in self.plan.carried
        return self.value(name) if inside else self.step._value(f"{name}[t]")

    def signal(self, name: str) -> str:
        """1 if the event took place in the step."""
        self._ensure()
        return self.signals[name]

    def rows(self) -> list[tuple[str, str]]:
        """The times, for the trace: of an event that is not located, the end of the step."""
        self._ensure()
        return [(f"{e.name}.time", self.times.get(e.name, "dt")) for e in self.step.system.events]

    def _ensure(self) -> None:
        if self.busy:
            raise LoweringError("within_step: locate: a value before the flow needs one after it")
        if self.end is None:
            self.busy = True
            self.run()
            self.busy = False

    # templates

    def prepare(self) -> None:
        """Lower the flow, the guards and the resets once, in outside names."""
        step = self.step
        self.flows = [p for s in step.system.flows for p in step._parts(s)]
        self.slots = self.flows + [p for q in self.plan.carried for p in step._parts(q)]
        for name in [START + s for s in self.slots] + [LEFT]:
            self.b.declare(name, "lane", True)
        self._known_before()
        starts = {s: _value([START + p for p in step._parts(s)]) for s in step.system.flows}
        held = {f"{q}[t]": _value([START + p for p in step._parts(q)]) for q in self.plan.carried}
        self.flow = self._within({**starts, "dt": Value(LEFT)}, partial(self._lower_states, step.updates))
        moved = {f"{s}[t]": _value([self.flow.roots[p] for p in step._parts(s)]) for s in step.system.flows}
        now = {f"{s}[t]": v for s, v in starts.items()} | held
        self.margins = [self._margin(g, {**starts, **moved, **held}, now) for g in self.plan.guards]
        self.field = self._within(starts, partial(self._lower_states, step.system.flows))
        self.jumps = {g.event.name: self._within(now, partial(self._lower_jump, g)) for g in self.plan.guards}
        self.levels = {g.event.name: self._within(held, partial(self._lower_closed, g)) for g in self.plan.guards}

    def _known_before(self) -> None:
        """Lower what stands still within the step where `dt` is the step."""
        step, expressions = self.step, [g.margin for g in self.plan.guards]
        expressions += [*step.updates.values(), *step.stages.values(), *step.system.flows.values()]
        expressions += [j.value for g in self.plan.guards for j in g.event.jumps]
        inside = {*step.system.flows, *step.stages, *(f"{n}[t]" for n in (*step.system.flows, *self.plan.carried))}
        for name in {s.name for e in expressions for s in e.free_symbols} - inside:
            step._value(name)

    def _within(self, names: dict[str, Value], make: Callable[[], T]) -> T:
        """Lower with other meanings of some names."""
        step = self.step
        saved = dict(step.values)
        step.values |= names
        step.lowering.forget()
        made = make()
        for name in {*names, *step.stages}:
            step.values.pop(name, None)
        step.values |= {n: saved[n] for n in names if n in saved}
        step.lowering.forget()
        return made

    def _template(self, roots: dict[str, str]) -> Template:
        """The code behind the roots that depends on the outside names; the rest stays where it is."""
        inside, code = {START + s for s in self.slots} | {LEFT}, []
        for a in live(self.b.assigns, roots.values()):
            if inside.intersection(a.args):
                inside.add(a.name)
                code.append(a)
        return Template(tuple(code), roots)

    def _lower_states(self, rows: Mapping[str, Any]) -> Template:
        """A value for each flow state."""
        step, roots = self.step, dict[str, str]()
        for s in step.system.flows:
            roots |= self._parts(s, step._whole(s, rows[s]))
        return self._template(roots)

    def _margin(self, guard: Guard, names: dict[str, Value], now: dict[str, Value]) -> Margin:
        if guard.stepwise:  # it reads the stages of the step, which are functions of its length
            names = {**names, "dt": Value(LEFT)}
        value = self._within(names, lambda: self._template({"m": self.step.lowering.real(guard.margin)}))
        return Margin(guard, value, self._slopes(value, {"m": LEFT}), None if guard.closed else self._pull(guard, now))

    def _pull(self, guard: Guard, now: dict[str, Value]) -> Template:
        """The derivative of a margin in each state of now."""
        plain = self._within(now, lambda: self._template({"m": self.step.lowering.real(guard.plain)}))
        slopes = self._slopes(plain, {s: START + s for s in self.flows})
        return Template(plain.code + slopes.code, {PLAIN: plain.roots["m"]} | slopes.roots)

    def _slopes(self, value: Template, rows: dict[str, str]) -> Template:
        """The derivatives of a margin in outside names."""
        code, found = pullback(value.code, {value.roots["m"]: ONE}, list(rows.values()))
        return Template(code, {n: found.get(name, self.b.const(0.0)) for n, name in rows.items()})

    def _lower_jump(self, guard: Guard) -> Template:
        step, roots = self.step, dict[str, str]()
        for jump in guard.event.jumps if guard.moves else ():
            if jump.state in step.system.flows or jump.state in self.plan.carried:
                value = step.lowering.lower(jump.value)
                roots |= {f"{jump.state} re": value.re, f"{jump.state} im": value.im or self.b.const(0.0)}
        return self._template(roots)

    def _lower_closed(self, guard: Guard) -> Template | None:
        """Level and coefficients of a closed form; a level at infinity has none."""
        closed, real = guard.closed, self.step.lowering.real
        if closed is None:
            return None
        roots = {"A": real(closed.A), "B": real(closed.B), "C": real(closed.C)}
        return self._template(roots | ({} if closed.level is None else {"level": real(closed.level)}))

    # the step

    def run(self) -> None:
        """Emit all pieces."""
        b = self.b
        self.prepare()
        y, h = self._start(), "dt"
        active: str | None = None
        used = b.const(0.0)
        found: list[tuple[Piece, str, str]] = []  # with the time before it, and whether a reset ends it
        ends: list[States] = []
        for number in range(self.plan.pieces):
            piece, end, length, goes_on, after = self._piece(number, y, h, active)
            found.append((piece, used, goes_on))
            ends.append(end)
            used, h = b.emit("add", used, length), b.emit("sub", h, length)
            y, active = after, goes_on
        last = self.flow.call(b, y, h) | {s: y[s] for s in self.slots if s not in self.flows}
        for (_, _, goes_on), end in zip(reversed(found), reversed(ends), strict=True):
            last = {s: b.emit("where", goes_on, last[s], end[s]) for s in self.slots} if self._moves() else end
        self.end = last
        for guard in self.plan.guards:
            self._summary(guard.event.name, [(p, before) for p, before, _ in found])

    def _moves(self) -> bool:
        return any(g.moves for g in self.plan.guards)

    def _start(self) -> States:
        step, rows = self.step, dict[str, str]()
        for name in step.system.flows:
            rows |= self._parts(name, step._start(name))
        for name in self.plan.carried:
            rows |= self._parts(name, step._value(f"{name}[t]"))
        return rows

    def _parts(self, name: str, value: Value) -> States:
        return dict(zip(self.step._parts(name), (value.re, value.im or self.b.const(0.0)), strict=False))

    def _piece(self, number: int, y: States, h: str, active: str | None) -> tuple[Piece, States, str, str, States]:
        """The piece, the states at its end, its length, whether a reset follows, the states after that."""
        b, piece = self.b, Piece()
        for margin in self.margins:
            self._find(piece, margin, number, y, h, active)
        moving = [g for g in self.plan.guards if g.moves]
        length, goes_on = h, b.const(0.0)
        if moving:
            goes_on, length = self._first(piece, moving, h)
        if len(self.plan.guards) > 1:
            for name, t in piece.times.items():
                in_time = b.emit("ge", b.emit("detach", length), b.emit("detach", t))
                piece.fires[name] = b.emit("mul", piece.fires[name], in_time)
        end = self.flow.call(b, y, length) | {s: y[s] for s in self.slots if s not in self.flows}
        return piece, end, length, goes_on, self._jumped(piece, moving, end)

    def _first(self, piece: Piece, moving: list[Guard], h: str) -> tuple[str, str]:
        """Whether a reset ends the piece, and when: the earliest; h where there is none."""
        b, length, any_fires = self.b, h, self.b.const(0.0)
        for guard in moving:
            name = guard.event.name
            fires, t = b.emit("detach", piece.fires[name]), piece.times[name]
            t = b.emit("detach", t) if guard.event.detached else t
            earlier = b.emit("mul", fires, b.emit("ge", b.emit("detach", length), b.emit("detach", t)))
            length = b.emit("where", earlier, t, length)
            any_fires = fires if any_fires == b.const(0.0) else b.emit("max", any_fires, fires)
        return any_fires, length

    def _find(self, piece: Piece, margin: Margin, number: int, y: States, h: str, active: str | None) -> None:
        """Whether an event lies in a piece, and when."""
        b, guard = self.b, margin.guard
        zero, name = b.const(0.0), guard.event.name
        still, left = {n: b.emit("detach", v) for n, v in y.items()}, b.emit("detach", h)
        begins = margin.value.call(b, still, zero)["m"]
        at_once = b.emit("gt" if guard.strict else "ge", begins, zero)
        until = b.emit("detach", b.emit("where", at_once, zero, self._until(margin, still, left)))
        m = self._reached(margin, y, still, until)
        m = m if active is None else b.emit("where", active, m, b.const(-1.0))
        slot = f"{name}.{number}" if number else name
        piece.fires[name] = e = self.step.slotted(guard.event, m, guard.strict, slot, self._shaped(number))
        inside = b.emit("where", at_once, zero, b.emit("detach", e))
        piece.times[name] = self._time(margin, y, still, (inside, until, left, begins))

    def _reached(self, margin: Margin, y: States, still: States, until: str) -> str:
        """The margin at the time that decides; 1, without gradient, where it lies beyond every number."""
        b = self.b
        if margin.guard.closed:
            return margin.value.call(b, y, until)["m"]
        finite = b.emit("gt", b.const(crossing.HUGE), margin.value.call(b, still, until)["m"])
        safe = b.emit("where", finite, until, b.const(0.0))
        return b.emit("where", finite, margin.value.call(b, y, safe)["m"], b.const(1.0))

    def _shaped(self, number: int) -> bool:
        """Whether the signal of a piece has the slope of the surrogate: of one event, the first says all."""
        return number == 0 or len(self.plan.guards) > 1

    def _time(self, margin: Margin, y: States, still: States, known: tuple[str, str, str, str]) -> str:
        """The time of a crossing inside the piece, with its derivative; 0 where there is none."""
        b, zero, (inside, until, left, begins) = self.b, self.b.const(0.0), known
        t0 = b.emit("detach", b.emit("where", inside, self._root(margin, still, until), zero))
        slope = margin.slope.call(b, still, t0)["m"]
        if margin.pull is not None:
            t0 = b.emit("detach", b.emit("where", inside, self._polished(margin, still, (t0, slope), until), zero))
            slope = margin.slope.call(b, still, t0)["m"]
        touch = b.emit("mul", b.const(TOUCH), b.emit("abs", begins))
        counts = b.emit("mul", inside, b.emit("gt", b.emit("mul", slope, left), touch))
        safe = b.emit("detach", b.emit("where", counts, slope, b.const(1.0)))
        shift = b.emit("div", b.emit("where", counts, margin.value.call(b, y, t0)["m"], zero), safe)
        return b.emit("sub", t0, b.emit("sub", shift, b.emit("detach", shift)))

    def _polished(self, margin: Margin, still: States, found: tuple[str, str], until: str) -> str:
        """A last step of Newton's method, by the slope of the step itself."""
        b, (t0, slope) = self.b, found
        rises = b.emit("gt", slope, b.const(0.0))
        size = b.emit("div", margin.value.call(b, still, t0)["m"], b.emit("where", rises, slope, b.const(1.0)))
        t = b.emit("sub", t0, size)
        fits = b.emit("mul", b.emit("gt", t, b.const(0.0)), b.emit("ge", until, t))
        return b.emit("where", b.emit("mul", rises, fits), t, t0)

    def _until(self, margin: Margin, still: States, left: str) -> str:
        """The time at which the margin is largest, as far as it matters: where the sign of the margin says enough."""
        if margin.guard.closed:
            return left  # one state moves one way
        return crossing.largest(self.b, self._with_slope(margin, still), left)

    def _root(self, margin: Margin, still: States, until: str) -> str:
        closed = self.levels[margin.guard.event.name]
        if closed is None or margin.guard.closed is None:
            rounds = crossing.UPSTROKE_ROUNDS if margin.guard.stepwise else crossing.ROUNDS
            return crossing.bracketed(self.b, self._with_slope(margin, still), until, rounds)
        at = closed.call(self.b, still, until)
        start = still[margin.guard.closed.state]
        return crossing.riccati(self.b, start, at.get("level"), (at["A"], at["B"], at["C"]), until)

    def _with_slope(self, margin: Margin, still: States) -> crossing.Along:
        """The margin along the flow, and its slope by the vector field: enough to look for a time with."""
        b = self.b

        def along(t: str) -> tuple[str, str, str]:
            assert margin.pull is not None
            end = self.flow.call(b, still, t) | {s: still[s] for s in self.slots if s not in self.flows}
            pace, pull = self.field.call(b, end, t), margin.pull.call(b, end, t)
            slope, m = b.sum(b.emit("mul", pull[s], pace[s]) for s in self.flows), margin.value.call(b, still, t)["m"]
            return (*self._stopped(m, pull[PLAIN]), slope) if margin.guard.stepwise else (m, b.const(0.0), slope)

        return along

    def _stopped(self, m: str, plain: str) -> tuple[str, str]:
        """The margin of the state itself where a step has seen a blow-up and stopped it no higher; 1 there."""
        b, zero = self.b, self.b.const(0.0)
        lost = b.emit("mul", b.emit("ge", m, zero), b.emit("gt", m, plain))
        return b.emit("where", lost, b.emit("max", plain, zero), m), lost

    # what follows an event

    def _jumped(self, piece: Piece, moving: list[Guard], end: States) -> States:
        """The states after the resets of the events that fire: each reads the states before all of them."""
        rows = dict(end)
        for guard in moving:
            fires = self.b.emit("detach", piece.fires[guard.event.name])
            amounts = self.jumps[guard.event.name].call(self.b, end, self.b.const(0.0))
            for jump in guard.event.jumps:
                if f"{jump.state} re" in amounts:
                    parts = self.step._parts(jump.state)
                    amount = Value(amounts[f"{jump.state} re"], amounts[f"{jump.state} im"])
                    new = self._assigned(jump.op, _value([rows[p] for p in parts]), amount)
                    rows |= {p: self.b.emit("where", fires, n, rows[p]) for p, n in zip(parts, new, strict=True)}
        return rows

    def _assigned(self, op: str, old: Value, amount: Value) -> list[str]:
        b = self.b
        if op == "*=":
            amount, op = self.step.lowering._times(old, amount if old.im else Value(amount.re)), "="
        pairs = [(old.re, amount.re)] + ([(old.im, amount.im or b.const(0.0))] if old.im else [])
        return [new if op == "=" else b.emit("add" if op == "+=" else "sub", x, new) for x, new in pairs]

    def _summary(self, name: str, rows: list[tuple[Piece, str]]) -> None:
        """Whether there was an event in the step, and the time of the first."""
        b, one = self.b, self.b.const(1.0)
        signal, time = rows[0][0].fires[name], b.const(0.0)
        if len(self.plan.guards) > 1 and len(rows) > 1:
            none = b.emit("sub", one, signal)
            for piece, _ in rows[1:]:
                none = b.emit("mul", none, b.emit("sub", one, piece.fires[name]))
            signal = b.emit("sub", one, none)
        time = "dt"
        for piece, before in reversed(rows):
            at = b.emit("add", before, piece.times[name])
            time = b.emit("where", b.emit("detach", piece.fires[name]), at, time)
        self.signals[name], self.times[name] = signal, time


def _value(parts: list[str]) -> Value:
    return Value(parts[0], parts[1] if len(parts) > 1 else None)
