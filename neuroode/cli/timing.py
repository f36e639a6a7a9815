"""The order of one step of a model, and the timing diagram that `neuroode show` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import zip_longest

from neuroode.cli.reads import Names, Read, at_once, direct, full_name, lag, states_of
from neuroode.cli.table import table
from neuroode.expr.nodes import Cond, Expr
from neuroode.expr.show import show
from neuroode.spec.types import Assignment, EventDecl, NeuronSpec

Place = tuple[str, tuple[Read, ...]]  # a line of the model and its reads


@dataclass(frozen=True, slots=True)
class Stage:
    """A moment of the step, the values that are known from then on, and the places that are read in it."""

    title: str
    values: tuple[str, ...]
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """The stages of a step in their order; `prologue` names what is computed once per call.

    `notes` says where a step may depend on later ones.
    """

    stages: tuple[Stage, ...]
    prologue: tuple[str, ...]
    notes: tuple[str, ...] = ()


def timing(spec: NeuronSpec) -> Timing:
    """Order the step of a model by its dependencies and say what each read means."""
    names = Names(spec)
    carried = tuple(f"{x}[t-1]" for x in names.states) + _buffers(names)
    stages = [stage for node in _order(names) for stage in _stages(names, node)]
    outputs = tuple((f"output {name}", names.explained(value, flow=False)) for name, value in spec.outputs)
    last = Stage("outputs", tuple(name for name, _ in spec.outputs), outputs)
    kept = Stage("carry out", tuple(f"after({x})" for x in names.states))
    prologue = tuple(d for d, reads in names.inside.items() if not reads)
    shown = (Stage("carry in", carried), *stages, last, kept)
    return Timing(tuple(stage for stage in shown if stage.values), prologue, _notes(names))


def _notes(names: Names) -> tuple[str, ...]:
    wide = sorted(names.whole_sequence & {i for e in names.spec.equations for i in _indices(e.rhs)})
    notes = [f"not causal: index {axis} runs over the whole sequence, so carry must be None" for axis in wide]
    notes += [
        f"operator {n}: a learned N x N matrix of the layer" for n, kind in names.spec.operators if kind == "dense"
    ]
    external = [name for name, kind in names.spec.operators if kind == "external"]
    notes += [f"operator {name}: given to the layer, called once a step with (B, *size*)" for name in external]
    return tuple(notes)


def _indices(expression: Expr) -> set[str]:
    return {str(index) for ref, _ in direct(expression) for index in ref.indices}


def _buffers(names: Names) -> tuple[str, ...]:
    """Past values that the carry holds beside the states as the last step left them."""
    spec = names.spec
    texts: list[Expr | Cond] = [e.rhs for e in spec.equations]
    texts += [e.when for e in spec.events] + [value for _, value in spec.outputs]
    past = [ref for text in texts for ref, _ in names.reads(text) if lag(ref)]
    rows = dict.fromkeys(show(r) for r in past if lag(r) != "t-1" or full_name(r) not in names.states)
    return (*rows, *(f"refractory({e.name})" for e in spec.events if e.refractory))


# --- order -----------------------------------------------------------------------------------------------------------
def _order(names: Names) -> list[str]:
    """What a step computes, each after what it reads: the flow (all its states), maps, guards, resets."""
    graph: dict[str, set[str]] = {"": set()}
    graph |= {q: _needs(names, e.rhs) for q, e in names.maps.items()}
    graph |= {s: _needs(names, e.when) for s, e in names.events.items()}
    if names.flows:
        graph["flow"] = {node for e in names.flows for node in _needs(names, e.rhs)} - {"flow"}
    acting = [e for e in names.events.values() if e.reset and at_once(e)]
    if acting:
        targets = [_needs(names, a.value) | {_node(names, a.name)} for e in acting if e.reset for a in e.reset.do]
        graph["resets"] = {e.name for e in acting}.union(*targets)
    order = [node for node in TopologicalSorter(graph).static_order() if node]
    return _resets_late(order, graph)


def _resets_late(order: list[str], graph: dict[str, set[str]]) -> list[str]:
    """The same order with all that needs no reset before the resets."""
    after: list[str] = []
    for node in order:
        if node == "resets" or graph[node].intersection(after):
            after.append(node)
    return [node for node in order if node not in after] + after


def _needs(names: Names, expression: Expr | Cond) -> set[str]:
    """Nodes whose values of this step an expression reads."""
    return {
        "resets" if after else _node(names, full_name(ref)) for ref, after in names.reads(expression) if not lag(ref)
    }


def _node(names: Names, name: str) -> str:
    if name in names.moving:
        return "flow"
    return name if name in names.maps or name in names.events else ""


# --- stages ----------------------------------------------------------------------------------------------------------
def _stages(names: Names, node: str) -> Iterator[Stage]:
    if node == "flow":
        yield from _flow(names)
    elif node == "resets":
        yield from _resets(names, names.states, late=False)
    elif node in names.maps:
        reads = (*_rests(names, [node]), *names.explained(names.maps[node].rhs, flow=False))
        yield Stage("map", (f"{node}[t]",), ((f"{node}[t]", reads),))
        yield from _resets(names, [node], late=True)
    else:
        event = names.events[node]
        yield Stage(
            "guard",
            (f"{node}[t]",),
            ((f"guard of {node}", (*_guard_rests(event), *names.explained(event.when, flow=False))),),
        )


def _flow(names: Names) -> Iterator[Stage]:
    moving = [x for x in names.states if x in names.moving]
    early, at_end = ([f"{i.name}[t]" for i in names.kicks if i.at == at] for at in ("start", "end"))
    if early:
        yield Stage("impulses", tuple(early))
    lines = tuple(
        (f"flow of {e.name}", (*_rests(names, states_of(e)), *names.explained(e.rhs, flow=True))) for e in names.flows
    )
    yield Stage("flow", tuple(f"{x}[t]" for x in moving), lines)
    if at_end:
        yield Stage("impulses", tuple(at_end))
    yield from _resets(names, moving, late=True)


def _rests(names: Names, states: Iterable[str]) -> tuple[Read, ...]:
    """When a refractory time holds one of the states."""
    holding = [(x, e) for x in states for e in names.events.values() if e.refractory and x in e.refractory.hold]
    return tuple(Read(x, f"rests while {e.name} is refractory") for x, e in holding)


def _resets(names: Names, states: list[str], *, late: bool) -> Iterator[Stage]:
    """The resets of this step's events, or those that the last step's events left due for some states."""
    due = [(e, a) for e, a in _assignments(names) if a.name in states and at_once(e) != late]
    if not due:
        return
    by = "[t-1]" if late else ""
    lines = tuple((f"reset by {e.name}{by}", (_acts(e, a, by), *names.explained(a.value, flow=False))) for e, a in due)
    changed = tuple(dict.fromkeys(a.name for _, a in due))
    yield Stage(
        "late resets" if late else "resets", tuple(f"{x}[t]" if late else f"after({x})" for x in changed), lines
    )


def _acts(event: EventDecl, a: Assignment, by: str) -> Read:
    return Read(f"{a.name} {a.op} {show(a.value)}", f"acts where {event.name}{by or '[t]'} is 1")


def _assignments(names: Names) -> list[tuple[EventDecl, Assignment]]:
    return [(e, a) for e in names.events.values() if e.reset for a in e.reset.do]


def _guard_rests(event: EventDecl) -> tuple[Read, ...]:
    if event.refractory is None:
        return ()
    text = f"refractory: {show(event.refractory.duration)}"
    return (Read(text, "false in the ceil(duration/dt) steps after an event"),)


# --- text ------------------------------------------------------------------------------------------------------------
def render(times: Timing) -> str:
    """Draw the stages along one line and list what each read means."""
    rows = [
        (place if k == 0 else "", read.text, ", ".join(read.through), read.means)
        for stage in times.stages
        for place, reads in stage.places
        for k, read in enumerate(reads)
    ]
    parts = [_line(times.stages), table(("in", "reads", "through", "meaning"), rows, indent="  ")]
    if times.prologue:
        parts.append(f"  once per call, from parameters and dt: {', '.join(times.prologue)}")
    parts += [f"  {note}" for note in times.notes]
    return "\n\n".join(parts)


def _line(stages: tuple[Stage, ...]) -> str:
    widths = [max(len(text) for text in (s.title, *s.values)) + 3 for s in stages]
    cells = [[s.title for s in stages], *map(list, zip_longest(*(s.values for s in stages), fillvalue=""))]
    axis = "  " + "".join("+" + "-" * (w - 1) for w in widths) + ">"
    lines = ["  " + "".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], axis, *lines[1:]])
