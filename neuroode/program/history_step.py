"""One step around a memory as one program, whose adjoint and native loop are those of any other step.

The definitions are those of `program/history_run.py`; what a loop over time has to add are the sums over the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from neuroode.program.adjoint import reverse_rows
from neuroode.program.builder import Builder, live
from neuroode.program.history import History, Method
from neuroode.program.jacobian import attached
from neuroode.program.slices import builder_of, signed, with_outputs
from neuroode.program.types import CLOCK, Assign, CarrySlot, Coefficient, EventSlot, Program

ITERATIONS = 6  # of Newton's method, for right sides that are not affine in the states
MOST = 4  # states of an implicit step that is solved by elimination
Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A step of a neuron and of its memory.

    Attributes:
        program: reads the declared inputs, then `#sum.O.S`: what channel O of the sums of slot S owes to all values
            before this step's own. Its coefficients are those of the whole, then `#own.O.I.S`, the weights of the
            step's own values, `#newest.S`, that of the right side at its end, `#mean`, 0 in the first step of all and
            1/2 later (flmm2), and `#dt`. Its carry is that of the whole, then `#base.S`, `#right.S`, `#due.K.S`. Its
            outputs are those of the whole, then `#value.I.S`, which the past takes in; `#kept.S`, 0 where a lane
            forgets the past, if something restarts; `#rest.S`, how far Newton's last iteration moved, if there was one.
        states, channels: slots S, and how many O and I there are.
        pairs: (O, I) that have a kernel.
    """

    program: Program
    states: tuple[str, ...]
    channels: int
    pairs: tuple[tuple[int, int], ...]
    forgets: bool
    iterates: bool


def remembered(
    history: History, method: Method, durations: Mapping[tuple[str, str], float], level: str
) -> Remembered | None:
    """The step of a method; None where it is not one program: events that act before their step's flow, or an implicit
    step of many states.

    Args:
        durations: of currents, (event, slot) -> steps.
        level: of the weights, layer or neuron.
    """
    pieces = history.hybrid
    early = any(n.startswith("e.") for p in (pieces.start, pieces.field) for n in p.inputs)
    if early or (method.implicit and len(pieces.states) > MOST):
        return None
    return _Splice(history, method, durations, level).made()


def steps_of(duration: float) -> int:
    """Steps that a duration, measured in steps, touches."""
    return -int(-(duration - 1e-6) // 1)


class _Splice:
    """The pieces of a step, one behind the other."""

    def __init__(
        self, history: History, method: Method, durations: Mapping[tuple[str, str], float], level: str
    ) -> None:
        self.history, self.method, self.durations, self.level = history, method, durations, level
        self.whole, self.states = history.hybrid.whole, history.hybrid.states
        self.channels = 2 if method.name == "abm" else 1
        self.pairs = ((0, 0), (1, 0), (1, 1)) if method.name == "abm" else ((0, 0),)
        self.due = max([1 if history.impulses else 0, *(steps_of(d) for d in durations.values())])
        self.b = Builder(prefix="%h")
        self.rests: Values = {}
        self.events: tuple[EventSlot, ...] = ()
        self._declare()

    def _declare(self) -> None:
        sums = [f"#sum.{o}.{s}" for o in range(self.channels) for s in self.states]
        self.inputs = (*self.whole.inputs, *sums)
        self.memory = [f"#{kind}.{s}" for kind in ("base", "right", *(f"due.{k}" for k in range(self.due)))
                       for s in self.states]  # fmt: skip
        own = [(f"#own.{o}.{i}.{s}", self.level, False) for o, i in self.pairs for s in self.states]
        newest = [(f"#newest.{s}", self.level, True) for s in self.states]
        rows = [Coefficient(*row) for row in (*own, *newest, ("#mean", "layer", False), ("#dt", "layer", False))]
        self.coefficients = (*self.whole.coefficients, *rows)
        for c in self.coefficients:
            self.b.declare(c.name, c.level, c.trainable)
        slots = [s.name for s in self.whole.carry]
        for name in (*(f"x.{n}" for n in self.inputs), *(f"c.{n}" for n in (*slots, *self.memory))):
            self.b.declare(name, "lane", True)
        self.known = {n: f"x.{n}" for n in self.whole.inputs} | {f"c.{n}": f"c.{n}" for n in slots}

    # arithmetic on values by slot

    def _add(self, *rows: Values) -> Values:
        return {s: self.b.sum([r[s] for r in rows]) for s in self.states}

    def _sub(self, a: Values, c: Values) -> Values:
        return {s: self.b.emit("sub", a[s], c[s]) for s in self.states}

    def _mul(self, a: Values, c: Values) -> Values:
        return {s: self.b.emit("mul", a[s], c[s]) for s in self.states}

    def _named(self, prefix: str) -> Values:
        return {s: f"{prefix}.{s}" for s in self.states}

    def _call(self, piece: Program, known: Mapping[str, str]) -> Values:
        """Its outputs by name; its events become those of the step."""
        at = {f"x.{n}": known[n] for n in piece.inputs if n != CLOCK or n in known}
        self.b.adopt(piece.body, at)
        self.events += tuple(_slot(s, at) for s in piece.events)
        return {n: at.get(v, v) for n, v in piece.outputs}

    def _vector(self, y: Values) -> Values:
        return self.known | {f"y.{s}": y[s] for s in self.states}

    def _slope(self, y: Values, fraction: float) -> Values:
        rows = self._call(self.history.hybrid.field, self._vector(y) | {"fraction": self.b.const(fraction)})
        slope = {s: rows[f"d.{s}"] for s in self.states}
        return self._add(slope, self._named("c.#due.0")) if self.due else slope

    # the step

    def made(self) -> Remembered:
        rows = self._call(self.history.hybrid.start, self.known)
        start = {s: rows[f"y.{s}"] for s in self.states}
        base = self._add(self._named("c.#base"), self._sub(start, self._named("c")))
        values = self._values(start)
        sums = [self._sum(o, values) for o in range(self.channels)]
        end, right = self._end(start, base, sums)
        return self._closed(values, base, end, right)

    def _values(self, start: Values) -> list[Values]:
        """What the past takes in."""
        right = self._named("c.#right")
        if self.method.implicit and self.method.name != "flmm2":
            return [right]
        left = self._slope(start, 0.0)
        if self.method.name == "abm":
            return [left, right]
        if self.method.name != "flmm2":
            return [left]
        return [self._add(left, self._mul(dict.fromkeys(self.states, "#mean"), self._sub(right, left)))]

    def _sum(self, o: int, values: list[Values]) -> Values:
        own = [self._mul(self._named(f"#own.{o}.{i}"), values[i]) for p, i in self.pairs if p == o]
        return self._add(self._named(f"x.#sum.{o}"), *own)

    def _end(self, start: Values, base: Values, sums: list[Values]) -> tuple[Values, Values]:
        """The state before resets, and the right side there."""
        newest = self._named("#newest")
        past = self._add(base, sums[0])
        if self.method.name == "abm":
            end = self._add(base, sums[1], self._mul(newest, self._slope(past, 1.0)))
        elif self.method.implicit:
            end = self._solved(start, past)
        else:
            return past, self._named("c.#right")
        return end, self._slope(end, 1.0)

    def _solved(self, y: Values, past: Values) -> Values:
        """y = past + newest*slope(y): at once where the slope is affine, else by Newton's method, whose last iteration
        carries the gradient of the equation and of nothing else."""
        matrix = _slopes(self.history.hybrid.field, self.states)
        if not any(n.startswith("y.") for n in matrix.inputs):
            zero = dict.fromkeys(self.states, self.b.const(0.0))
            return self._improved(matrix, zero, past, last=False)[0]
        for _ in range(ITERATIONS):
            y, change = self._improved(matrix, y, past, last=False)
        size = {s: self.b.emit("max", self.b.const(1.0), self.b.emit("abs", y[s])) for s in self.states}
        self.rests = {s: self.b.emit("div", self.b.emit("abs", change[s]), size[s]) for s in self.states}
        return self._improved(matrix, self._held(y), past, last=True)[0]

    def _held(self, y: Values) -> Values:
        return {s: self.b.emit("detach", v) for s, v in y.items()}

    def _improved(self, matrix: Program, y: Values, past: Values, *, last: bool) -> tuple[Values, Values]:
        b, newest = self.b, self._named("#newest")
        rest = self._sub(self._add(past, self._mul(newest, self._slope(y, 1.0))), y)
        found = self._call(matrix, self._vector(y) | {"fraction": b.const(1.0)})
        rows = []
        for s in self.states:
            row = [b.emit("sub", b.const(float(s == o)), b.emit("mul", newest[s], found[f"J.{s}.{o}"]))
                   for o in self.states]  # fmt: skip
            rows.append([b.emit("detach", m) for m in row] if last else row)
        change = dict(zip(self.states, _eliminated(b, rows, [rest[s] for s in self.states]), strict=True))
        return self._add(y, change), change

    def _closed(self, values: list[Values], base: Values, end: Values, right: Values) -> Remembered:
        """Guards and resets, and what they do to the memory."""
        known = self._vector(end)
        bits = self._call(self.history.hybrid.guards, known) if self.history.hybrid.events else {}
        signals = {n: v for n, v in bits.items() if n.startswith("e.")}
        acts = {f"j.{n[2:]}": v for n, v in signals.items()}
        rows = self._call(self.history.hybrid.finish, known | signals | acts)
        kept = self._kept(signals)
        left = {s: rows[f"next.{s}"] for s in self.states}
        moved, right = self._sub(end, base), right
        if kept is not None:
            moved, right = self._mul(kept, moved), self._mul(kept, right)
        due = self._due(known | signals | acts)
        memory = [r[s] for r in (self._sub(left, moved), right, *due) for s in self.states]
        after = [(s.name, rows[f"next.{s.name}"]) for s in self.whole.carry]
        outputs = [(n, rows[f"out.{n}"]) for n, _ in self.whole.outputs]
        outputs += [(f"#value.{i}.{s}", v[s]) for i, v in enumerate(values) for s in self.states]
        outputs += [(f"#kept.{s}", v) for s, v in (kept or {}).items()]
        outputs += [(f"#rest.{s}", v) for s, v in self.rests.items()]
        return self._program(outputs, [*after, *zip(self.memory, memory, strict=True)], forgets=kept is not None)

    def _kept(self, signals: Mapping[str, str]) -> Values | None:
        if not self.history.restarts:
            return None
        kept = dict.fromkeys(self.states, self.b.const(1.0))
        for event, slot in self.history.restarts:
            bit = signals[f"e.{event}"]
            bit = self.b.emit("detach", bit) if event in self.history.detached else bit
            kept[slot] = self.b.emit("mul", kept[slot], self.b.emit("sub", self.b.const(1.0), bit))
        return kept

    def _due(self, known: Mapping[str, str]) -> list[Values]:
        """What resets will add to the right side in the next step, the one after it, ..."""
        if not self.due:
            return []
        zero = dict.fromkeys(self.states, self.b.const(0.0))
        due = [*(self._named(f"c.#due.{k}") for k in range(1, self.due)), zero]
        rows = self._call(self.history.kicks, known)
        for event, slot in self.history.impulses:
            kick = self.b.emit("div", rows[f"k.{event}.{slot}"], "#dt")
            due[0] = due[0] | {slot: self.b.emit("add", due[0][slot], kick)}
        for (event, slot), steps in self.durations.items():
            for k in range(steps_of(steps)):
                kick = self.b.emit("mul", rows[f"k.{event}.{slot}"], self.b.const(min(1.0, steps - k)))
                due[k] = due[k] | {slot: self.b.emit("add", due[k][slot], kick)}
        return due

    def _program(self, outputs: list[tuple[str, str]], after: list[tuple[str, str]], *, forgets: bool) -> Remembered:
        slopes = [x for e in self.events for a in e.slope for x in a.args] + [e.slope_id for e in self.events]
        margins = [e.margin for e in self.events]
        body = live(self.b.assigns, [v for _, v in (*outputs, *after)] + slopes + margins)
        any_value = self.whole.carry[0].init
        program = replace(
            self.whole, inputs=self.inputs, noise=(), tables=(), sums=(), body=body, events=self.events,
            coefficients=self.coefficients, outputs=tuple(outputs), next=tuple(after), trace=(),
            carry=(*self.whole.carry, *(CarrySlot(n, any_value) for n in self.memory)),
        )  # fmt: skip
        return Remembered(signed(program), self.states, self.channels, self.pairs, forgets, bool(self.rests))


def _slot(slot: EventSlot, at: Mapping[str, str]) -> EventSlot:
    slope = tuple(replace(a, args=tuple(at.get(x, x) for x in a.args)) for a in slot.slope)
    return replace(slot, margin=at.get(slot.margin, slot.margin), slope=slope,
                   slope_id=at.get(slot.slope_id, slot.slope_id))  # fmt: skip


def _slopes(field: Program, states: Iterable[str]) -> Program:
    """-> `J.S.O`, the derivative of `d.S` for `y.O`."""
    field = attached(field)
    b = builder_of(field)
    rows: Values = {}
    rename: Values = {}
    b.adopt(field.body, rename)
    forward: list[Assign] = list(b.assigns)
    for s, value in ((n[2:], v) for n, v in field.outputs):
        found = reverse_rows(b, forward, rename.get(value, value), [f"x.y.{o}" for o in states])
        rows |= {f"J.{s}.{o}": v for o, v in zip(states, found, strict=True)}
    return with_outputs(field, b, rows)


def _eliminated(b: Builder, rows: Sequence[Sequence[str]], right: Sequence[str]) -> list[str]:
    """Gaussian elimination without pivots: 1 - weight*f' has a large diagonal where the step is short enough."""
    m, r = [list(row) for row in rows], list(right)
    for k in range(len(r)):
        for i in range(k + 1, len(r)):
            if b.constant(m[i][k]) == 0:
                continue
            factor = b.emit("div", m[i][k], m[k][k])
            m[i] = [b.emit("sub", x, b.emit("mul", factor, y)) for x, y in zip(m[i], m[k], strict=True)]
            r[i] = b.emit("sub", r[i], b.emit("mul", factor, r[k]))
    found: list[str] = [""] * len(r)
    for i in reversed(range(len(r))):
        rest = b.sum([b.emit("mul", m[i][j], found[j]) for j in range(i + 1, len(r))])
        found[i] = b.emit("div", b.emit("sub", r[i], rest), m[i][i])
    return found
