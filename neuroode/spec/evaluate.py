"""The number that an expression of literals and constants is, in doubles, where it is one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from neuroode.expr.limits import apply
from neuroode.expr.nodes import Binary, Expr, Neg, Node, Num, Ref, fold
from neuroode.expr.units import scale_and_dimension
from neuroode.spec.quantities import literal
from neuroode.spec.scope import Scope

_CONSTANTS = {"pi": math.pi, "inf": math.inf}


def evaluate(expr: Expr, scope: Scope, known: Mapping[str, float] | None = None) -> float | None:
    """The value in SI units; None where it reads what is trained, drawn or only known at build time, and is not
    `known`. Never raises."""

    def combine(node: Node, below: list[float | None]) -> float | None:
        match node:
            case Num():
                return None if node.imaginary else float(node.value) * _scale(node.unit)
            case Ref():
                return known[node.name] if known and node.name in known else _constant(node, scope)
            case Neg() | Binary() if None not in below:
                return apply(node, *below)  # type: ignore[arg-type]
        return None

    return fold(expr, combine)


def _scale(unit: str | None) -> float:
    return float(scale_and_dimension(unit)[0]) if unit else 1.0


def _constant(ref: Ref, scope: Scope) -> float | None:
    if ref.name in _CONSTANTS:
        return _CONSTANTS[ref.name]
    if ref.name == "dt" and scope.spec.dt:
        return float(scope.spec.dt.value) * _scale(scope.spec.dt.unit)
    p = scope.parameters.get(ref.name)
    if not p or p.trainable or p.value is None or isinstance(p.value, tuple):
        return None
    found = literal(p.value)
    return float(found.value) * _scale(found.unit or p.unit) if found else None


def evaluate_in(expr: Expr, unit: str | None, scope: Scope) -> float | None:
    """The same, where a bare number is meant in `unit`."""
    found = literal(expr)
    bare = found is not None and found.unit is None
    value = evaluate(expr, scope)
    return value * _scale(unit) if value is not None and bare else value
