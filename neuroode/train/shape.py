"""What the training network must know of a declaration: does it fit, does it spike, how does it resonate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from neuroode._errors import Unsupported
from neuroode.expr.nodes import Binary, Call, Expr, Neg, Num, Ref
from neuroode.spec.types import NeuronSpec

Array = np.ndarray
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "abs": np.abs,
    "cos": np.cos,
    "sin": np.sin,
}
OPERATORS: dict[str, Callable[..., Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
}


def check(spec: NeuronSpec) -> None:
    """The network feeds one number a lane and reads one.

    Raises:
        Unsupported: several inputs or outputs, or inputs with axes.
    """
    if len(spec.inputs) != 1 or spec.inputs[0].axes:
        found = ", ".join(i.name + "".join(f"[{a}]" for a in i.axes) for i in spec.inputs) or "none"
        raise Unsupported(f"training needs a neuron with one input of one number; '{spec.name}' has {found}")
    if len(spec.outputs) != 1:
        found = ", ".join(name for name, _ in spec.outputs)
        hint = "declare one under outputs, for example outputs: s"
        raise Unsupported(f"training needs a neuron with one output; '{spec.name}' has {found}", hint=hint)


def spiking(spec: NeuronSpec) -> bool:
    """Whether the output is an event, so 0 or 1."""
    events = {event.name for event in spec.events}
    return len(spec.outputs) == 1 and _name(spec.outputs[0][1]) in events


def resonator(spec: NeuronSpec) -> bool:
    return {"omega", "b_0"} <= {p.name for p in spec.parameters}


def damping(spec: NeuronSpec, omega: Array, b_0: Array, dt: float) -> Array:
    """Real part b of the eigenvalues at rest: the model's own definition of b, with all states 0, or -b_0."""
    if (rhs := _definition(spec, "b")) is None:
        return -b_0
    return evaluate(rhs, spec, {"omega": omega, "b_0": b_0, "dt": np.asarray(dt)})


def boundary(spec: NeuronSpec, omega: Array, dt: float) -> Array:
    """Where the step neither grows nor decays: the model's p(omega); 0 where none is declared, as for an exact step."""
    if (rhs := _definition(spec, "p")) is None:
        return np.zeros_like(omega)
    return evaluate(rhs, spec, {"omega": omega, "dt": np.asarray(dt)})


def evaluate(node: Expr, spec: NeuronSpec, known: Mapping[str, Array]) -> Array:
    """A definition with numbers for its names; other definitions are followed, states are 0."""
    match node:
        case Num(value=value, imaginary=False):
            return np.asarray(float(value))
        case Neg(arg=arg):
            return -evaluate(arg, spec, known)
        case Binary(op=op, left=left, right=right):
            return OPERATORS[op](evaluate(left, spec, known), evaluate(right, spec, known))
        case Call(name=name, args=(arg,)) if name in FUNCTIONS:
            return FUNCTIONS[name](evaluate(arg, spec, known))
        case Ref(name=name) if name in known:
            return known[name]
        case Ref(name=name):
            return evaluate(_meaning(spec, name), spec, known)
    raise Unsupported(f"the report cannot evaluate a definition of '{spec.name}'")


def _definition(spec: NeuronSpec, name: str) -> Expr | None:
    return next((e.rhs for e in spec.equations if e.kind == "definition" and e.name == name), None)


def _meaning(spec: NeuronSpec, name: str) -> Expr:
    """What a name stands for at rest: a definition, a constant's number, or the 0 of a state."""
    if (rhs := _definition(spec, name)) is not None:
        return rhs
    values = {p.name: p.value for p in spec.parameters}
    value = values.get(name)
    return value if isinstance(value, Num) else Num(Fraction(0))


def _name(node: Expr) -> str | None:
    return node.name if isinstance(node, Ref) and not node.indices and node.time is None else None
