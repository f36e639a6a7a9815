"""What the rules look at: the namespace of a declaration, and every expression with its role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from neuroode._errors import Place
from neuroode.expr.nodes import Expr, Node, Ref, walk
from neuroode.spec.types import NOWHERE, AxisDecl, Equation, EventDecl, NeuronSpec, ParameterDecl

A = {"axis": "an axis", "input": "an input", "event": "an event", "operator": "an operator", "noise": "a noise stream"}


@dataclass(frozen=True, slots=True)
class Name:
    """One declared name: its kind, its axes, whether it varies with time, and where it was declared."""

    name: str
    kind: str  # axis, parameter, state, input, event, noise, operator, definition
    axes: tuple[str, ...] = ()
    timed: bool = False
    complex: bool = False
    place: Place = NOWHERE

    @property
    def a_kind(self) -> str:
        return A.get(self.kind, f"a {self.kind}")


@dataclass(frozen=True, slots=True)
class Site:
    """An expression, what it is in words, its role, the name it belongs to and the axes that are bound there.

    role: flow, fractional, differential, map, definition, guard, reset, output, check, init, value, domain, surrogate,
    duration, order.
    """

    node: Node
    what: str
    role: str
    target: str
    axes: tuple[str, ...] = ()
    free: bool = False  # axes need no binding (outputs, checks)


@dataclass
class Scope:
    """The namespace, built once a check."""

    spec: NeuronSpec
    names: dict[str, Name] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in all_names(self.spec):
            self.names.setdefault(name.name, name)

    @cached_property
    def sites(self) -> list[Site]:
        return list(_sites(self.spec, self))

    @cached_property
    def sites_by_role(self) -> dict[tuple[str, str], list[Site]]:
        found: dict[tuple[str, str], list[Site]] = {}
        for site in self.sites:
            found.setdefault((site.role, site.target), []).append(site)
        return found

    @cached_property
    def axes(self) -> dict[str, AxisDecl]:
        return {a.name: a for a in self.spec.axes}

    @cached_property
    def equations(self) -> dict[str, Equation]:
        return {e.name: e for e in self.spec.equations}

    @cached_property
    def parameters(self) -> dict[str, ParameterDecl]:
        return {p.name: p for p in self.spec.parameters}

    @cached_property
    def flow_states(self) -> frozenset[str]:
        return frozenset(e.name for e in self.spec.equations if e.kind in ("flow", "fractional", "differential"))

    def root(self, axis: str) -> str:
        """The axis that a second index such as `l: k` runs over."""
        for _ in self.axes:
            size = self.axes[axis].size if axis in self.axes else 0
            if not isinstance(size, str) or size == "time":
                return axis
            axis = size
        return axis

    def size(self, axis: str) -> int | str:
        """The number of entries of an axis; `time` for one over the sequence; 0 if unknown."""
        found = self.axes.get(self.root(axis))
        return found.size if found else 0

    def refs(self) -> Iterator[tuple[Site, Ref]]:
        """Every read of a name, with its site."""
        for site in self.sites:
            for node in walk(site.node):
                if isinstance(node, Ref):
                    yield site, node


def all_names(spec: NeuronSpec) -> Iterator[Name]:
    """Every declaration of a name, repeated ones too."""
    for axis in spec.axes:
        yield Name(axis.name, "axis", place=axis.place)
    for p in spec.parameters:
        yield Name(p.name, "parameter", p.per[1:] if "time" not in p.per else p.per[1:-1], "time" in p.per,
                   p.type == "complex", p.place)  # fmt: skip
    for i in spec.inputs:
        yield Name(i.name, "input", i.axes, place=i.place)
    for n in spec.noise:
        yield Name(n.name, "noise", n.axes, place=n.place)
    for operator, _ in spec.operators:
        yield Name(operator, "operator")
    for e in spec.equations:
        yield Name(
            e.name, "definition" if e.kind == "definition" else "state", e.axes, complex=e.complex, place=e.place
        )
    for event in spec.events:
        yield Name(event.name, "event", event.axes, place=event.place)


def _sites(spec: NeuronSpec, scope: Scope) -> Iterator[Site]:
    for e in spec.equations:
        what = "the equation of " + e.name if e.kind != "definition" else "the definition of " + e.name
        yield Site(e.rhs, what, e.kind, e.name, e.axes)
        for pair in e.fractional:
            for part in pair:
                if part is not None:
                    yield Site(part, f"the left side of {e.name}", "order", e.name, e.axes)
    for event in spec.events:
        yield from _event_sites(event)
    for name, expr in spec.outputs:
        yield Site(expr, f"output {name}", "output", name, free=True)
    for cond in spec.checks:
        yield Site(cond, "a check", "check", "", free=True)
    yield from _value_sites(spec, scope)


def _event_sites(event: EventDecl) -> Iterator[Site]:
    yield Site(event.when, f"the guard of {event.name}", "guard", event.name, event.axes)
    if event.reset:
        for a in event.reset.do:
            axes = tuple(dict.fromkeys((*event.axes, *a.axes)))
            yield Site(a.value, f"the reset of {event.name}", "reset", event.name, axes)
        if event.reset.duration:
            yield Site(event.reset.duration, f"the reset of {event.name}", "duration", event.name)
    if event.refractory:
        yield Site(event.refractory.duration, f"the refractory of {event.name}", "duration", event.name)
    shapes: list[Expr | bool | None] = [event.surrogate.expression, *(v for _, v in event.surrogate.options)]
    for shape in shapes:
        if shape is not None and not isinstance(shape, bool):
            role = "surrogate" if shape is event.surrogate.expression else "width"
            yield Site(shape, f"the surrogate of {event.name}", role, event.name, event.axes)


def _value_sites(spec: NeuronSpec, scope: Scope) -> Iterator[Site]:
    for s in spec.states:
        if s.init is not None:
            bare = s.name.rstrip("'")
            axes = scope.names[bare].axes if bare in scope.names else ()
            yield Site(s.init, f"the init of {s.name}", "init", s.name, axes)
    for p in spec.parameters:
        axes = tuple(a for a in p.per[1:] if a != "time")
        if p.init is not None:
            yield Site(p.init, f"the init of {p.name}", "init", p.name, axes)
        for value in flatten(p.value):
            yield Site(value, f"the value of {p.name}", "value", p.name, axes)
        for bound in p.bounds:
            yield Site(bound, f"the domain of {p.name}", "domain", p.name, axes)


def flatten(value: Expr | tuple | None) -> Iterator[Expr]:
    """The entries of a value, nested lists too."""
    if isinstance(value, tuple):
        for each in value:
            yield from flatten(each)
    elif value is not None:
        yield value
