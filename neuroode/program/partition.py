"""A step in parts that can run one after the other over a whole sequence: what is known of them decides how.

A node is a number that the next step reads (a slot of the carry) or an event. Nodes that need one another within or
across steps are one stage; the others follow in order of dependency. Sources: Martin and Cundy, ICLR 2018, and Lim et
al., ICLR 2024, for what becomes parallel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from neuroode._errors import readable
from neuroode.program import moebius
from neuroode.program.builder import Builder
from neuroode.program.collapse import Collapse, collapse
from neuroode.program.degree import OTHER, bend, degrees
from neuroode.program.graph import Graph
from neuroode.program.jacobian import Matrix, attached, drive, entries, is_complex, is_invariant, is_whole, jacobian
from neuroode.program.slices import Slice, builder_of, cut, program_of, renamed, signed, with_outputs
from neuroode.program.types import CLOCK, Assign, EventSlot, Program

DENSE = 4  # states of the largest dense scan
SAME, OTHERS = "the same in every step", "another one in each step, known beforehand"
WHOLE = "of whole numbers, so that counts stay whole: no transform"
STEPWISE = ("spiking", "loop")  # kinds whose solution is found step by step


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Slots and events that are found together.

    Attributes:
        kind: event (no slots: pointwise), delay (its first slot is a shifted sequence, each other one is the slot
            before it, shifted), affine, moebius, spiking (one of these once its spikes are known), loop.
        form: of an affine stage: diagonal, complex, dense.
        size: states of one block; several equal blocks side by side are one stage.
        invariant: the matrix reads coefficients only, so it is the same in every step, and a transform may be taken:
            not for whole numbers, because the step counter and counts of spikes must stay whole.
        reason: why it has this kind.
        level: 1 more than the largest of the stages that it reads.
        once: one step: carry `slots`, outputs `n.slot` and `e.event`; what a loop runs.
        step: the same, pointwise: inputs `c.slot` and, for events of its own, their bits `e.event`.
        spikes: its events alone, pointwise, of a stage with slots and events.
        jacobian: entries `J.block.row.column` as the gradient uses them: surrogates count, what is detached does not.
        matrix: entries as the solution uses them: bits are held, `detach` is nothing. Moebius: `M.a` ... `M.d`.
        drive: `b.slot`, of affine stages.
        collapse: of invariant ones, where weighted sums of their states are all that is read.
    """

    kind: str
    form: str = ""
    size: int = 1
    slots: tuple[str, ...]
    events: tuple[str, ...] = ()
    invariant: bool = False
    reason: str
    level: int
    once: Program
    step: Program
    spikes: Program | None = None
    jacobian: Program | None = None
    matrix: Program | None = None
    drive: Program | None = None
    collapse: Collapse | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """Names of its states, a complex one once."""
        return tuple(dict.fromkeys(s.removesuffix(".re").removesuffix(".im") for s in self.slots))

    @property
    def blocks(self) -> tuple[tuple[str, ...], ...]:
        """The slots of each block."""
        n = self.size
        return tuple(self.slots[i : i + n] for i in range(0, len(self.slots), n))


@dataclass(frozen=True, slots=True)
class Parts:
    """The stages of a program in order, and its outputs as a pointwise program of what they leave."""

    stages: tuple[Stage, ...]
    outputs: Program

    @property
    def parallel(self) -> bool:
        """Whether no stage must run step by step."""
        return all(s.kind not in STEPWISE for s in self.stages)


_known: dict[tuple[str, bool], Parts] = {}  # by digest: to hash a whole program takes time


def partition(program: Program, collapsed: bool = False) -> Parts:
    """The stages of a program; `collapsed`: without states of which only weighted sums are read."""
    key = program.digest, collapsed
    if key not in _known:
        _known[key] = _partition(program, collapsed)
    return _known[key]


def _partition(program: Program, collapsed: bool) -> Parts:
    graph = Graph(program)
    single: list[Stage] = []
    nodes: dict[Stage, tuple[str, ...]] = {}
    for component in graph.components():
        stage = _Maker(graph, component, single).stage()
        single.append(stage)
        nodes[stage] = component
    stages: list[Stage] = []
    for group in _alike(single):
        component = tuple(n for s in group for n in nodes[s])
        alone = _Maker(graph, component, stages)
        made = alone.stage() if len(group) == 1 else alone.side_by_side(group[0])
        stages.append(alone.collapsed(made) if collapsed else made)
    chained = tuple(_chained(stages))
    return Parts(chained, _pointwise(program, dict(program.outputs), _border(graph, chained, ())))


def _alike(stages: Iterable[Stage]) -> list[list[Stage]]:
    """Stages that can be found side by side: all branches of a dendrite are one scan."""
    groups: dict[tuple, list[Stage]] = {}
    for i, s in enumerate(sorted(stages, key=lambda s: s.level)):
        alone = i if s.kind in (*STEPWISE, "delay", "moebius") else -1  # a chain of delays is one by itself
        groups.setdefault((s.level, s.kind, s.form, s.size, s.invariant, alone), []).append(s)
    return list(groups.values())


def _chained(stages: Iterable[Stage]) -> list[Stage]:
    """Shifts of shifts together: a window over the past is one stage."""
    made: list[Stage] = []
    ends: dict[str, int] = {}  # the last slot of a chain, as an input -> where the chain stands
    for s in stages:
        source = dict(s.once.next).get(s.slots[0], "") if s.kind == "delay" and len(s.slots) == 1 else ""
        at = ends.pop(source, None)
        if at is None:
            at = len(made)
            made.append(s)
        else:
            made[at] = replace(made[at], slots=(*made[at].slots, *s.slots))
        if source or (s.kind == "delay" and len(made[at].slots) == 1):
            ends[f"x.c.{s.slots[-1]}"] = at
    return made


class _Maker:
    """One stage from one component."""

    def __init__(self, graph: Graph, component: tuple[str, ...], before: Iterable[Stage]) -> None:
        self.graph, self.program, self.before = graph, graph.program, tuple(before)
        self.slots = tuple(n[2:] for n in component if n in graph.next)
        self.values = {graph.events[n]: n for n in component if n in graph.events}
        self.events = tuple(self.values)
        self.reads = {r for n in component for r in graph.reads[n]} - set(component)
        self.recurs = any(n in graph.reads[n] for n in component) or len(component) > 1

    def stage(self) -> Stage:
        once, step = self._once(), self._step(frozen=False)
        made = Stage(
            kind="event", slots=self.slots, events=self.events, level=self._level(), once=once, step=step,
            reason="an event that no state of its own follows",
        )  # fmt: skip
        if not self.slots:
            return made
        if not self.recurs:
            return replace(made, kind="delay", reason="does not read itself: the sequence, shifted")
        matrix = attached(self._step(frozen=True))
        made = _with_matrices(replace(made, size=len(self.slots)), matrix)
        b, (found,) = jacobian(matrix, [self.slots])
        why, form = self._bend(once), _form(b, found, made.matrix)
        if why and not self.events and (composed := moebius.element(matrix, self.slots)):
            return replace(made, kind="moebius", matrix=composed, reason=moebius.REASON)
        if why or not form:
            return self._stepwise(made, matrix, why)
        whole = is_whole(b, found)
        invariant = is_invariant(b, found) and not whole
        reason = _affine_reason(form, made.size, WHOLE if whole else SAME if invariant else OTHERS)
        made = replace(made, kind="affine", form=form, invariant=invariant, reason=reason)
        return replace(made, drive=drive(matrix, self.slots))

    def _stepwise(self, made: Stage, matrix: Program, why: str) -> Stage:
        """A stage that is no scan; `why` is empty where it is linear and only too large."""
        why = why or f"{made.size} states depend on one another; a dense scan is written for up to {DENSE}"
        if not self.events:
            return replace(made, kind="loop", reason=why)
        still = _still(self._released(matrix))
        spikes = _only(made.step, [f"e.{e}" for e in self.events])
        if not still:
            return replace(made, kind="spiking", reason=why, spikes=spikes)
        return replace(made, kind="loop", reason=f"{why}, and even with them known there is {still}", spikes=spikes)

    def _released(self, frozen: Program) -> Program:
        """The step with its spikes given, as a program of its own: it may fall into parts again."""
        at = {f"x.c.{s}": f"c.{s}" for s in self.slots}
        body = tuple(replace(a, args=tuple(at.get(x, x) for x in a.args)) for a in frozen.body)
        values = {n[2:]: at.get(v, v) for n, v in frozen.outputs if n.startswith("n.")}
        inputs = tuple(n for n in frozen.inputs if f"x.{n}" not in at) or (CLOCK,)
        carry = tuple(s for s in self.program.carry if s.name in self.slots)
        steps = tuple((s.name, values[s.name]) for s in carry)
        return signed(replace(frozen, body=body, inputs=inputs, carry=carry, next=steps, outputs=()))

    def side_by_side(self, one: Stage) -> Stage:
        """Several stages like `one` as one stage."""
        step = self._step(frozen=False)
        wide = replace(one, slots=self.slots, events=self.events, once=self._once(), step=step)
        if one.kind != "affine":
            return wide
        matrix = attached(step)
        return replace(_with_matrices(wide, matrix), drive=drive(matrix, self.slots))

    def collapsed(self, stage: Stage) -> Stage:
        """The stage with its readings, where they are all that is read of it."""
        if not stage.invariant or stage.form == "dense" or stage.drive is None:
            return stage
        if any(a.op == "detach" for a in stage.step.body):
            return stage
        own = {f"c.{s}" for s in stage.slots}
        others = [v for n, v in self.graph.next.items() if n not in own]
        others += [v for _, v in self.program.outputs]
        inside = {a.name for a in self.program.body}
        for e in self.program.events:
            others += [e.margin, *(x for a in e.slope for x in a.args if x in inside)]
        return replace(stage, collapse=collapse(self.program, stage.slots, stage.drive, others))

    def _level(self) -> int:
        return max((s.level + 1 for s in self.before if self._follows(s)), default=0)

    def _follows(self, other: Stage) -> bool:
        events = {v for v, e in self.graph.events.items() if e in other.events}
        return bool(self.reads & ({f"c.{s}" for s in other.slots} | events))

    def _roots(self) -> dict[str, str]:
        rows = {f"n.{s}": self.graph.next[f"c.{s}"] for s in self.slots}
        return rows | {f"e.{e}": value for e, value in self.values.items()}

    def _slots(self) -> tuple[EventSlot, ...]:
        return tuple(self.graph.slots[e] for e in self.events)

    def _slice(self, border) -> Slice:
        """What next values and events need, and the literals that slopes read."""
        roots = self._roots()
        slopes = [x for s in self._slots() for a in (*s.slope, Assign("", "", (s.slope_id,))) for x in a.args]
        inside = {a.name for a in self.program.body}
        return cut(self.program.body, [*roots.values(), *(x for x in slopes if x in inside)], border)

    def _once(self) -> Program:
        own = {f"c.{s}" for s in self.slots} | set(self.values.values())
        border = _border(self.graph, self.before, own)
        found = self._slice(border)
        carry = {s: self.graph.next[f"c.{s}"] for s in self.slots}
        return program_of(self.program, found, self._roots(), carry=carry, events=renamed(self._slots(), found))

    def _step(self, *, frozen: bool) -> Program:
        """Pointwise; an event of its own has the value of its bit and, unless frozen, the slope of its surrogate."""
        own = set(self.values.values())
        outer = _border(self.graph, self.before, own)
        found = self._slice(lambda v: v if v.startswith("c.") else outer(v))
        if self._kept_whole(frozen):
            return program_of(self.program, found, self._roots(), events=renamed(self._slots(), found))
        bits = tuple(f"e.{e}" for e in self.events)
        base = replace(program_of(self.program, found, {}), inputs=(*found.inputs, *bits))
        b, rename = builder_of(base), dict[str, str]()
        for a in found.body:
            if a.op == "event":
                rename[a.name] = self._given(b, a, rename, frozen)
            else:
                b.adopt([a], rename)
        rows = {n: rename.get(found.at.get(v, v), found.at.get(v, v)) for n, v in self._roots().items()}
        return with_outputs(base, b, rows)

    def _kept_whole(self, frozen: bool) -> bool:
        """An event without states stays what it is."""
        return not self.slots and not frozen

    def _given(self, b: Builder, a: Assign, rename: dict[str, str], frozen: bool) -> str:
        """bit + slope*(margin - detach(margin)): the gradient of the surrogate, the value of the bit.

        An infinite margin has no gradient; inf - inf would be nan.
        """
        slot = self.graph.slots[str(a.value)]
        bit = b.declare(f"x.e.{a.value}", "lane", True)
        if frozen:
            return bit
        margin = rename.get(a.args[0], a.args[0])
        inner = dict(rename)
        b.adopt(slot.slope, inner)
        slope = b.emit("detach", inner.get(slot.slope_id, slot.slope_id))
        fine = b.emit("gt", b.const(float("inf")), b.emit("abs", margin))
        finite = b.emit("where", fine, margin, b.const(0.0))
        rise = b.emit("mul", slope, b.emit("sub", finite, b.emit("detach", finite)))
        return b.emit("add", bit, b.emit("where", fine, rise, b.const(0.0)))

    def _acts(self, event: str) -> str:
        """What an event reads of the stage, and what reads it."""
        value, reads = self.values[event], self.graph.reads
        hit = _named(s for s in self.slots if value in reads[f"c.{s}"])
        read = _named(s for s in self.slots if f"c.{s}" in reads[value])
        return f"event {event} " + " and ".join(
            x for x in (f"reads {read}" if read else "", f"acts on {hit}" if hit else "") if x
        )

    def _bend(self, once: Program) -> str:
        """Why its steps do not compose; empty where they do."""
        if self.events:
            return "spikes of its own act on it: " + "; ".join(map(self._acts, self.events))
        return moebius.broken(once, self.slots) or _bent(once.body, [f"c.{s}" for s in self.slots], dict(once.next))


def _with_matrices(stage: Stage, matrix: Program) -> Stage:
    given = entries(stage.step, *jacobian(stage.step, stage.blocks))
    return replace(stage, jacobian=given, matrix=entries(matrix, *jacobian(matrix, stage.blocks)))


def _still(released: Program) -> str:
    """What keeps a step with given spikes from being linear, part after part; empty where nothing does."""
    return next((s.reason for s in partition(released).stages if s.kind == "loop"), "")


def _named(slots: Iterable[str]) -> str:
    """States in a sentence, a complex one once."""
    return ", ".join(dict.fromkeys(readable(s.removesuffix(".re").removesuffix(".im")) for s in slots))


def _bent(body: tuple[Assign, ...], own: list[str], values: Mapping[str, str]) -> str:
    """What makes one of the values not affine in `own`, in words; empty where all are."""
    found = degrees(body, own)
    bent = [v for v in values.values() if found.get(v) == OTHER]
    return bend(body, own, bent[0]) if bent else ""


def _only(step: Program, names: Iterable[str]) -> Program:
    """A pointwise program with some of its outputs."""
    values = dict(step.outputs)
    inputs = {f"x.{n}" for n in step.inputs}
    outputs = {n: values[n] for n in names}
    found = cut(step.body, outputs.values(), lambda v: v[2:] if v in inputs else None)
    return program_of(step, found, outputs)


def _affine_reason(form: str, size: int, when: str) -> str:
    matrix = {"diagonal": "one number", "complex": "one complex number"}.get(form, f"a {size} x {size} matrix")
    return f"linear in itself with {matrix}, {when}"


def _form(b: Builder, matrix: Matrix, given: Program | None) -> str:
    if len(matrix) == 1:
        return "diagonal"
    if given is not None and is_complex(b, matrix, given):
        return "complex"
    return "dense" if len(matrix) <= DENSE else ""


def _border(graph: Graph, solved: Iterable[Stage], own: Iterable[str]):
    """Where slices end: at inputs, at slots that are not `own`, at what earlier stages found."""
    stages, mine = tuple(solved), set(own)
    known = {graph.next[f"c.{s}"]: f"n.{s}" for stage in stages if not stage.collapse for s in stage.slots}
    known = {v: n for v, n in known.items() if v[:2] not in ("c.", "x.")}
    names = {e for stage in stages for e in stage.events}
    known |= {v: f"e.{e}" for v, e in graph.events.items() if e in names}
    for stage in stages:
        known |= stage.collapse.readings if stage.collapse else {}

    def border(value: str) -> str | None:
        if value in mine:
            return None
        if value.startswith("x."):
            return value[2:]
        return value if value.startswith("c.") else known.get(value)

    return border


def _pointwise(program: Program, outputs: Mapping[str, str], border) -> Program:
    found = cut(program.body, outputs.values(), border)
    inside = {str(a.value) for a in found.body if a.op == "event"}
    assert not inside, "every event belongs to a stage"
    return program_of(program, found, outputs)
