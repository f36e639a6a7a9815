"""A NeuronSpec back to a tree of plain data: what the writer prints, and what changes are applied to."""

from __future__ import annotations

from collections.abc import Callable

from neuroode.expr.nodes import Expr, Node
from neuroode.expr.origin import Origin, of_text
from neuroode.expr.show import show, show_number
from neuroode.spec.build import default_outputs
from neuroode.spec.sections import unit_in
from neuroode.spec.tree import Map, Scalar, Seq, Tree
from neuroode.spec.types import (
    Equation,
    EventDecl,
    InputDecl,
    NeuronSpec,
    NoiseDecl,
    ParameterDecl,
    Quantity,
    Reset,
    StateDecl,
    Surrogate,
)

OriginOf = Callable[[str], Origin]


class Writer:
    """Makes tree nodes whose origins `origin_of` gives."""

    def __init__(self, origin_of: OriginOf = of_text) -> None:
        self.origin_of = origin_of

    def text(self, text: str, quoted: bool = False) -> Scalar:
        return Scalar(text, quoted, self.origin_of(text))

    def formula(self, node: Node) -> Scalar:
        return self.text(show(node), quoted=True)

    def list_of(self, texts: tuple[str, ...]) -> Seq:
        return Seq(tuple(self.text(t) for t in texts))

    def map_of(self, entries: list[tuple[str, Tree | None]]) -> Map:
        return Map(tuple((self.text(key), value) for key, value in entries if value is not None))

    def optional(self, text: str | None, default: str | None = "") -> Scalar | None:
        """A text, unless it says the default."""
        return None if text is None or text == default else self.text(text)


def to_tree(spec: NeuronSpec, origin_of: OriginOf = of_text) -> Map:
    """The tree that reads back as this declaration, with defaults left out."""
    w = Writer(origin_of)
    entries: list[tuple[str, Tree | None]] = [
        ("neuron", w.text(spec.name)),
        ("about", w.optional(spec.about)),
        ("cite", w.list_of(spec.cite) if spec.cite else None),
        ("dt", w.text(quantity_text(spec.dt)) if spec.dt else None),
        ("method", _method(w, spec)),
        ("within_step", w.optional(spec.within_step, "saturate")),
        ("calculus", w.optional(spec.calculus, "ito")),
        ("horizon", w.text(str(spec.horizon)) if spec.horizon else None),
        ("axes", _section(w, [(a.name, w.text(str(a.size))) for a in spec.axes])),
        ("inputs", _section(w, [(i.name, _input(w, i)) for i in spec.inputs])),
        ("states", _section(w, [(s.name, _state(w, s)) for s in spec.states])),
        ("parameters", _section(w, [(p.name, _parameter(w, p)) for p in spec.parameters])),
        ("noise", _section(w, [(n.name, _noise(w, n)) for n in spec.noise])),
        ("operators", _section(w, [(name, w.text(kind)) for name, kind in spec.operators])),
        ("equations", w.text("".join(equation_text(e) + "\n" for e in spec.equations), quoted=True)),
        *_events(w, spec),
        ("outputs", _outputs(w, spec)),
        ("checks", Seq(tuple(w.formula(c) for c in spec.checks)) if spec.checks else None),
        ("compat", _section(w, [(name, value) for name, value in spec.compat])),  # type: ignore[misc]
    ]
    return w.map_of(entries)


def _section(w: Writer, entries: list[tuple[str, Tree | None]]) -> Map | None:
    made = w.map_of(entries)
    return made if made.entries else None


def quantity_text(quantity: Quantity) -> str:
    """A quantity as it is written."""
    return show_number(quantity.value) + (f" {quantity.unit}" if quantity.unit else "")


def _method(w: Writer, spec: NeuronSpec) -> Tree | None:
    if isinstance(spec.method, str):
        return w.optional(spec.method, "auto")
    return w.map_of([(state, w.text(method)) for state, method in spec.method])


def _input(w: Writer, i: InputDecl) -> Tree:
    made = w.map_of([
        ("kind", w.text(i.kind)), ("axes", w.list_of(i.axes) if i.axes else None), ("unit", w.optional(i.unit)),
        ("hold", w.optional(i.hold, "zero")), ("at", w.optional(i.at, "start")), ("about", w.optional(i.about)),
    ])  # fmt: skip
    return made if len(made.entries) > 1 else w.text(i.kind)


def _state(w: Writer, s: StateDecl) -> Tree | None:
    """Nothing for a state that is all default; its type stands behind its equation."""
    init = w.formula(s.init) if s.init is not None else None
    unit = w.optional(s.unit, unit_in(s.init))
    if unit is None and not s.about:
        return init
    return w.map_of([("init", init), ("unit", unit), ("about", w.optional(s.about))])


def _value(w: Writer, value: Expr | tuple) -> Tree:
    if isinstance(value, tuple):
        return Seq(tuple(_value(w, each) for each in value))
    return w.formula(value)


def _parameter(w: Writer, p: ParameterDecl) -> Tree:
    per = p.per[1:] if p.per[0] == "layer" else p.per
    rest: list[tuple[str, Tree | None]] = [
        ("per", w.list_of(per) if len(per) > 1 else w.optional("".join(per))),
        ("domain", w.optional(p.domain, "real")), ("transform", w.optional(p.transform)),
        ("type", w.optional(p.type, "real")), ("unit", w.optional(p.unit, unit_in(p.value or p.init))),
        ("about", w.optional(p.about)),
    ]  # fmt: skip
    if p.value is not None and not p.trainable and all(value is None for _, value in rest):
        return _value(w, p.value)
    first: list[tuple[str, Tree | None]] = [
        ("value", _value(w, p.value) if p.value is not None else None),
        ("init", w.formula(p.init) if p.init is not None else None),
        ("trainable", w.text("false") if not p.trainable and p.type != "integer" else None),
    ]
    return w.map_of(first + rest)


def _noise(w: Writer, n: NoiseDecl) -> Tree:
    if not n.axes:
        return w.text(n.kind)
    return w.map_of([("kind", w.text(n.kind)), ("axes", w.list_of(n.axes))])


def equation_text(e: Equation) -> str:
    """One line of `equations`."""
    axes = f"[{', '.join(e.axes)}]" if e.axes else ""
    left = {
        "definition": e.name + axes,
        "differential": f"d{e.name}{axes}",
        "map": f"{e.name}[{', '.join((*e.axes, 't'))}]",
        "flow": f"d{e.name}{axes}/dt" if e.order == 1 else e.name + "'" * e.order + axes,
        "fractional": " + ".join(_fractional(c, order) + f" {e.name}{axes}" for c, order in e.fractional),
    }[e.kind]
    return f"{left} = {show(e.rhs)}" + (" : complex" if e.complex else "")


def _fractional(coefficient: Expr | None, order: Expr) -> str:
    shown = show(order)
    operator = f"D^{shown}" if shown.replace(".", "").replace("_", "").isalnum() else f"D^({shown})"
    if coefficient is None:
        return operator
    text = show(coefficient)
    return f"({text})*{operator}" if " " in text else f"{text}*{operator}"


def _events(w: Writer, spec: NeuronSpec) -> list[tuple[str, Tree | None]]:
    if not spec.events:
        return []
    event = spec.events[0]
    if spec.short_event and len(spec.events) == 1 and _fits_short(spec, event):
        return [("spike" if key == "when" else key, value) for key, value in _event(w, event)]
    return [("events", w.map_of([(e.name, w.map_of(_event(w, e))) for e in spec.events]))]


def _fits_short(spec: NeuronSpec, event: EventDecl) -> bool:
    """Whether the short form would give the event this name and lose nothing."""
    others = {d.name for group in (spec.axes, spec.parameters, spec.states, spec.inputs, spec.noise) for d in group}
    others |= {e.name for e in spec.equations} | {name for name, _ in spec.operators}
    others |= {e.name[1:] for e in spec.equations if e.kind == "definition" and e.name.startswith("d")}
    name = "spike" if "s" in others or "ds" in others else "s"
    return event.name == name and not event.axes and not event.about and event.gradient == "surrogate"


def _event(w: Writer, e: EventDecl) -> list[tuple[str, Tree | None]]:
    refractory: Tree | None = None
    if e.refractory:
        duration = w.formula(e.refractory.duration)
        hold = w.list_of(e.refractory.hold)
        refractory = w.map_of([("duration", duration), ("hold", hold)]) if e.refractory.hold else duration
    return [
        ("when", w.formula(e.when)),
        ("reset", _reset(w, e.reset) if e.reset else None),
        ("reset_gradient", w.optional(e.reset_gradient, "through")),
        ("refractory", refractory),
        ("surrogate", _surrogate(w, e.surrogate)),
        ("gradient", w.optional(e.gradient, "surrogate")),
        ("axes", w.list_of(e.axes) if e.axes else None),
        ("about", w.optional(e.about)),
    ]


def _reset(w: Writer, reset: Reset) -> Tree:
    parts = []
    for a in reset.do:
        axes = f"[{', '.join(a.axes)}]" if a.axes else ""
        parts.append(f"{a.name}{axes} {a.op} {show(a.value)}")
    do = w.text("; ".join(parts), quoted=True)
    memory = f"current({show(reset.duration)})" if reset.duration is not None else reset.memory
    more = [("when", w.optional(reset.when, "same_step")), ("memory", w.optional(memory, "jump"))]
    return do if all(v is None for _, v in more) else w.map_of([("do", do), *more])


def _surrogate(w: Writer, s: Surrogate) -> Tree | None:
    if s.expression is not None:
        return w.formula(s.expression)
    if not s.options:
        return w.optional(s.kind, "fast_sigmoid")
    options: list[tuple[str, Tree | None]] = [
        (name, w.text(str(value).lower()) if isinstance(value, bool) else w.formula(value)) for name, value in s.options
    ]
    return w.map_of([("kind", w.text(s.kind)), *options])


def _outputs(w: Writer, spec: NeuronSpec) -> Tree | None:
    if spec.outputs == default_outputs(spec):
        return None
    return w.map_of([(name, w.formula(expr)) for name, expr in spec.outputs])
