"""A declaration as rows of text: what `neuroode show` prints of it, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuroode.expr.nodes import Expr
from neuroode.expr.show import show, show_number
from neuroode.spec.types import Assignment, Equation, EventDecl, NeuronSpec, ParameterDecl, Reset, Surrogate

DEFAULT_TRANSFORM = {"positive": "softplus", "nonnegative": "abs", "unit": "sigmoid", "interval": "sigmoid"}
DEFAULT_TRANSFORM |= {"simplex": "softmax"}


def equations(spec: NeuronSpec) -> list[str]:
    """One line an equation, as the language writes it."""
    return [f"{_left(e)} = {show(e.rhs)}" + " : complex" * e.complex for e in spec.equations]


def _left(e: Equation) -> str:
    axes = f"[{', '.join(e.axes)}]" if e.axes else ""
    match e.kind:
        case "flow" if e.order == 1:
            return f"d{e.name}{axes}/dt"
        case "flow":
            return e.name + "'" * e.order + axes
        case "map":
            return f"{e.name}[{', '.join((*e.axes, 't'))}]"
        case "differential":
            return f"d{e.name}{axes}"
        case "fractional":
            return " + ".join(_fractional(coefficient, order) + e.name + axes for coefficient, order in e.fractional)
    return e.name + axes


def _fractional(coefficient: Expr | None, order: Expr) -> str:
    alpha = show(order)
    power = alpha if alpha.replace("_", "").replace(".", "").isalnum() else f"({alpha})"
    return (f"{show(coefficient)}*" if coefficient else "") + f"D^{power} "


def events(spec: NeuronSpec) -> list[dict[str, str]]:
    """One mapping an event: its guard, its reset, its surrogate."""
    return [_event(e) for e in spec.events]


def _event(e: EventDecl) -> dict[str, str]:
    row = {"name": e.name, "when": show(e.when), "surrogate": _surrogate(e.surrogate)}
    if e.reset:
        row |= {"reset": reset_text(e.reset), "reset_gradient": e.reset_gradient}
    if e.refractory:
        held = f", hold {', '.join(e.refractory.hold)}" if e.refractory.hold else ""
        row["refractory"] = show(e.refractory.duration) + held
    return row


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
        "equations": equations(spec),
        "events": events(spec),
        "parameters": parameters(spec),
        "outputs": {name: show(value) for name, value in spec.outputs},
        "checks": [show(c) for c in spec.checks],
        "compat": [name for name, _ in spec.compat],
    }


def step_text(spec: NeuronSpec) -> str:
    """The default step as written; empty without one."""
    if spec.dt is None:
        return ""
    return show_number(spec.dt.value) + (f" {spec.dt.unit}" if spec.dt.unit else "")
