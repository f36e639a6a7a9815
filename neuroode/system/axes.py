"""A neuron with index sets inside as one without: every array one name an element, every sum written out.

Everything after this stage knows numbers per lane only. What a caller passes and gets is put together again at the
borders (`neuroode/program/pack.py`, by names alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from neuroode.expr.nodes import Call, Cond, Expr, Node, Ref, children
from neuroode.spec.names import reduced_axis
from neuroode.spec.types import (
    Assignment,
    Equation,
    EventDecl,
    InputDecl,
    NeuronSpec,
    ParameterDecl,
    Refractory,
    StateDecl,
    Surrogate,
)
from neuroode.system.indices import (
    Bound,
    Elements,
    axes_of,
    axis_sizes,
    element_name,
    indices,
    is_table,
    slot_parameters,
    table_parameters,
    time_axes,
    value_sizes,
    weight_parameters,
)


def unrolled(spec: NeuronSpec) -> NeuronSpec:
    """The declaration with one scalar declaration an element."""
    return _Unrolling(spec).spec()


def table_names(spec: NeuronSpec) -> tuple[str, ...]:
    """Names under which a program reads tables over time."""
    return tuple(i.name for i in _Unrolling(spec).tables())


def weights_over_time(spec: NeuronSpec) -> dict[str, bool]:
    """Names of the elements of parameters over the whole sequence: are they over (tau, time), or over tau alone?"""
    writing = _Unrolling(spec)
    return {i.name: is_table(p) for p in weight_parameters(spec) for i in writing._as_inputs(p)}


def unrolled_parameters(spec: NeuronSpec) -> dict[str, tuple[ParameterDecl, ...]]:
    """Declared name -> the declarations of its elements, row by row; every step of a time axis is an element."""
    writing = _Unrolling(spec, {})
    writing.sizes = writing.elements.sizes = value_sizes(spec)
    return {p.name: tuple(writing._parameters(p)) for p in spec.parameters}


def unrolled_checks(spec: NeuronSpec) -> list[list[Cond]]:
    """Each statement of `checks` for every index that it leaves open."""
    writing = _Unrolling(spec)
    axes = [free_axes(c, writing.sizes) for c in spec.checks]
    return [
        [writing.elements.of(c, bound) for _, bound in writing._each(a)] for c, a in zip(spec.checks, axes, strict=True)
    ]


def unrolled_method(spec: NeuronSpec, method: Any) -> Any:
    """A method that names states, for the elements of those states."""
    arrays = {e.name: e.axes for e in spec.equations if e.axes}
    if not arrays or method is None:
        return method
    sizes = axis_sizes(spec)

    def elements(name: str) -> list[str]:
        return [element_name(name, at) for at in indices(arrays.get(name.rstrip("'"), ()), sizes)]

    if isinstance(method, str):
        head, bracket, inside = method.partition("(")
        if not bracket or "=" in inside:
            return method
        names = [n for each in inside.rstrip(") ").split(",") for n in elements(each.strip())]
        return f"{head}({', '.join(names)})"
    rows = method.items() if isinstance(method, Mapping) else method
    found = tuple((element, m) for name, m in rows for element in elements(name))
    return dict(found) if isinstance(method, Mapping) else found


class _Unrolling:
    def __init__(self, spec: NeuronSpec, over_time: Mapping[str, int] | None = None) -> None:
        self.declared, self.sizes = spec, axis_sizes(spec)
        arrays = {e.name: e.axes for e in spec.equations} | {i.name: i.axes for i in spec.inputs}
        arrays |= {e.name: e.axes for e in spec.events} | {n.name: n.axes for n in spec.noise}
        self.arrays = arrays | {p.name: axes_of(p) for p in spec.parameters}
        constants = {p.name: p.value for p in spec.parameters if p.value is not None and not isinstance(p.value, tuple)}
        rows = (*table_parameters(spec), *weight_parameters(spec))
        pairs = frozenset(p.name for p in rows if p.type == "complex")
        whole = time_axes(spec) if over_time is None else over_time
        self.elements = Elements(
            self.sizes, self.arrays, constants, pairs, whole, frozenset(n for n, _ in spec.operators)
        )  # fmt: skip

    def _each(self, axes: tuple[str, ...]) -> list[tuple[tuple[int, ...], Bound]]:
        return [(at, dict(zip(axes, at, strict=True))) for at in indices(axes, self.sizes)]

    def spec(self) -> NeuronSpec:
        s = self.declared
        return replace(
            s,
            axes=(),
            method=unrolled_method(s, s.method),
            inputs=(*(i for decl in s.inputs for i in self._inputs(decl)), *self.tables(), *self.weights()),
            states=tuple(x for decl in s.states for x in self._states(decl)),
            parameters=tuple(x for decl in slot_parameters(s) for x in self._parameters(decl)),
            noise=tuple(
                replace(n, name=element_name(n.name, at), axes=()) for n in s.noise for at, _ in self._each(n.axes)
            ),
            equations=tuple(x for e in s.equations for x in self._equations(e)),
            events=tuple(x for e in s.events for x in self._events(e)),
            outputs=tuple(x for name, value in s.outputs for x in self._outputs(name, value)),
        )

    def _inputs(self, decl: InputDecl) -> list[InputDecl]:
        return [replace(decl, name=element_name(decl.name, at), axes=()) for at, _ in self._each(decl.axes)]

    def tables(self) -> list[InputDecl]:
        """Tables over time enter like inputs: real ones, held over the step."""
        return [i for p in table_parameters(self.declared) for i in self._as_inputs(p)]

    def weights(self) -> list[InputDecl]:
        """Parameters over the whole sequence: inputs of the sums that read them (`system/sequences.py`)."""
        return [i for p in weight_parameters(self.declared) for i in self._as_inputs(p)]

    def _as_inputs(self, p: ParameterDecl) -> list[InputDecl]:
        parts = ("",) if p.type != "complex" else (".re", ".im")
        inner = tuple(a for a in axes_of(p) if a in self.sizes)
        names = [element_name(p.name, at) for at, _ in self._each(inner)]
        return [InputDecl(name=n + part, unit=p.unit, place=p.place) for n in names for part in parts]

    def _states(self, decl: StateDecl) -> list[StateDecl]:
        return [
            replace(
                decl, name=element_name(decl.name, at), init=self._maybe(decl.init, bound)
            )
            for at, bound in self._each(self.arrays.get(decl.name.rstrip("'"), ()))
        ]  # fmt: skip

    def _parameters(self, p: ParameterDecl) -> list[ParameterDecl]:
        axes = axes_of(p)
        per = tuple(x for x in p.per if x not in axes)
        return [replace(p, name=element_name(p.name, at), per=per, **self._number(p, at, bound))
                for at, bound in self._each(axes)]  # fmt: skip

    def _number(self, p: ParameterDecl, at: tuple[int, ...], bound: Bound) -> dict[str, Any]:
        """Value or init of one element; levels of a list that come before its axes stay a list."""
        value = _entry(p.value, at)
        return {
            "init": self._maybe(p.init, bound),
            "value": value if isinstance(value, tuple) else self._maybe(value, bound),
            "bounds": () if self._over_axes(p) else tuple(self.elements.of(b, bound) for b in p.bounds),
        }

    def _maybe(self, node: Any, bound: Bound) -> Any:
        return node if node is None else self.elements.of(node, bound)

    def _over_axes(self, p: ParameterDecl) -> bool:
        return any(isinstance(b, Ref) and b.name in self.sizes for b in p.bounds)

    def _equations(self, e: Equation) -> list[Equation]:
        return [
            replace(
                e, name=element_name(e.name, at), axes=(), rhs=self.elements.of(e.rhs, bound),
                fractional=tuple(
                    (self._maybe(c, bound), self.elements.of(a, bound)) for c, a in e.fractional
                ),
            )
            for at, bound in self._each(e.axes)
        ]  # fmt: skip

    def _events(self, e: EventDecl) -> list[EventDecl]:
        found = []
        for at, bound in self._each(e.axes):
            reset = e.reset
            if reset:
                do = tuple(x for a in reset.do for x in self._assignments(a, bound))
                reset = replace(reset, do=do, duration=self._maybe(reset.duration, bound))
            found.append(
                replace(
                    e, name=element_name(e.name, at), axes=(), when=self.elements.of(e.when, bound), reset=reset,
                    refractory=e.refractory and self._refractory(e.refractory, bound),
                    surrogate=self._surrogate(e.surrogate, bound),
                )
            )  # fmt: skip
        return found

    def _assignments(self, a: Assignment, bound: Bound) -> list[Assignment]:
        """An axis of the event is one value, any other runs over all."""
        free = tuple(x for x in a.axes if x not in bound)
        rows = [{**bound, **more} for _, more in self._each(free)]
        return [
            replace(a, name=element_name(a.name, [b[x] for x in a.axes]), axes=(), value=self.elements.of(a.value, b))
            for b in rows
        ]

    def _refractory(self, r: Refractory, bound: Bound) -> Refractory:
        held = []
        for name in r.hold:
            axes = self.arrays.get(name.rstrip("'"), ())
            held += [element_name(name, at) for at, b in self._each(axes) if all(bound.get(x, b[x]) == b[x] for x in b)]
        return Refractory(duration=self.elements.of(r.duration, bound), hold=tuple(held))

    def _surrogate(self, s: Surrogate, bound: Bound) -> Surrogate:
        options = tuple((k, v if isinstance(v, bool) else self.elements.of(v, bound)) for k, v in s.options)
        return replace(s, options=options, expression=self._maybe(s.expression, bound))

    def _outputs(self, name: str, value: Expr) -> list[tuple[str, Expr]]:
        axes = free_axes(value, self.sizes)
        return [(element_name(name, at), self.elements.of(value, bound)) for at, bound in self._each(axes)]


def free_axes(node: Node, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Axes that no sum inside the expression binds, in the order in which they are first read."""
    found: dict[str, None] = {}
    stack: list[tuple[Node, frozenset[str]]] = [(node, frozenset())]
    while stack:
        top, bound = stack.pop()
        if isinstance(top, Ref):
            found |= dict.fromkeys(i for i in (*map(str, top.indices), top.name) if i in sizes and i not in bound)
        skip = isinstance(top, Call) and top.name in ("size", "hippo")
        inner = bound | {reduced_axis(top.name)} if isinstance(top, Call) else bound
        stack += [] if skip else [(each, inner) for each in reversed(children(top))]
    return tuple(found)


def _entry(value: Any, at: tuple[int, ...]) -> Any:
    """One element of a literal list over axes; of one that also lists channels or neurons, all of those."""
    if not isinstance(value, tuple):
        return value
    if _depth(value) > len(at):
        return tuple(_entry(v, at) for v in value)
    for i in at[len(at) - _depth(value) :]:
        value = value[i]
    return value


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, tuple) else 0
