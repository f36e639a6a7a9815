"""A declaration as rows of text: what `neuroode show` prints of it, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuroode.expr.nodes import Expr, Ref, walk
from neuroode.expr.show import show
from neuroode.spec.names import is_increment
from neuroode.spec.to_tree import equation_text, quantity_text
from neuroode.spec.types import Assignment, EventDecl, NeuronSpec, ParameterDecl, Reset, Surrogate

DEFAULT_TRANSFORM = {"positive": "softplus", "nonnegative": "abs", "unit": "sigmoid", "interval": "sigmoid"}
DEFAULT_TRANSFORM |= {"simplex": "softmax"}


def equations(spec: NeuronSpec) -> list[str]:
    """One line an equation, as the language writes it."""
    return [equation_text(e) for e in spec.equations]


def events(spec: NeuronSpec) -> list[dict[str, str]]:
    """One mapping an event: its guard, its reset, its surrogate."""
    return [_event(e) for e in spec.events]


def _event(e: EventDecl) -> dict[str, str]:
    row = {"name": e.name, "when": show(e.when), "surrogate": _surrogate(e.surrogate)}
    if e.reset:
        row |= {"reset": reset_text(e.reset), "reset_gradient": e.reset_gradient}
    if e.gradient != "surrogate":
        row["gradient"] = e.gradient
    if e.refractory:
        held = f", hold {', '.join(e.refractory.hold)}" if e.refractory.hold else ""
        row["refractory"] = show(e.refractory.duration) + held
    return row


def noise(spec: NeuronSpec) -> dict[str, str]:
    """Kind of each stream by name, Wiener increments too."""
    lines = [e.rhs for e in spec.equations if e.kind == "differential"]
    waves = (n.name for rhs in lines for n in walk(rhs) if isinstance(n, Ref) and is_increment(n.name))
    return {n.name: n.kind for n in spec.noise} | dict.fromkeys(waves, "wiener")


def starts(spec: NeuronSpec) -> dict[str, str]:
    """The init of each state that declares one other than 0, as written."""
    rows = {s.name: show(s.init) for s in spec.states if s.init is not None}
    return {name: text for name, text in rows.items() if text != "0"}


def reset_text(reset: Reset) -> str:
    """The assignments, and what differs from a jump in the same step."""
    texts = ["; ".join(_assignment(a) for a in reset.do)]
    texts += ["in the next step"] * (reset.when == "next_step")
    texts += [f"memory: {reset.memory}"] * (reset.memory != "jump")
    return ", ".join(texts)


def _assignment(a: Assignment) -> str:
    axes = f"[{', '.join(a.axes)}]" if a.axes else ""
    return f"{a.name}{axes} {a.op} {show(a.value)}"


def _surrogate(s: Surrogate) -> str:
    if s.expression is not None:
        return show(s.expression)
    options = (f"{name} {str(v).lower() if isinstance(v, bool) else show(v)}" for name, v in s.options)
    return ", ".join((s.kind, *options))


def parameters(spec: NeuronSpec) -> list[dict[str, Any]]:
    """One mapping a parameter."""
    return [_parameter(p) for p in spec.parameters]


def _parameter(p: ParameterDecl) -> dict[str, Any]:
    default = DEFAULT_TRANSFORM.get(p.domain.split("(")[0], "none")
    return {
        "name": p.name,
        "value": value_text(p.value if p.init is None else p.init),
        "per": ", ".join(p.per),
        "domain": p.domain,
        "transform": p.transform or default,
        "type": p.type,
        "unit": p.unit or "",  # as in the value, where that has one
        "trainable": p.trainable,
        "about": p.about,
    }


def value_text(value: Expr | tuple | None) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value_text(v) for v in value)}]"
    return show(value) if value is not None else ""


def method_text(method: str | tuple[tuple[str, str], ...]) -> str:
    return method if isinstance(method, str) else ", ".join(f"{state}: {name}" for state, name in method)


def as_json(spec: NeuronSpec) -> Mapping[str, Any]:
    """The declaration as plain data."""
    return {
        "name": spec.name,
        "about": spec.about,
        "cite": list(spec.cite),
        "source": spec.source,
        "dt": step_text(spec) or None,
        "method": method_text(spec.method),
        "inputs": [{"name": i.name, "kind": i.kind, "unit": i.unit or ""} for i in spec.inputs],
        "noise": noise(spec),
        "starts": starts(spec),
        "equations": equations(spec),
        "events": events(spec),
        "parameters": parameters(spec),
        "outputs": {name: show(value) for name, value in spec.outputs},
        "checks": [show(c) for c in spec.checks],
        "compat": [name for name, _ in spec.compat],
    }


def step_text(spec: NeuronSpec) -> str:
    """The default step as written; empty without one."""
    return quantity_text(spec.dt) if spec.dt else ""
