"""Powers of literals, kept small: `9^9^9^9` would keep exact arithmetic busy for ever."""

from __future__ import annotations

import math

from neuroode._errors import SpecError
from neuroode.expr.nodes import Binary, Expr, Neg, Node, Num, fold

MAX_EXPONENT = 64
SMALLEST, LARGEST = 1e-100, 1e100


def literal_value(node: Expr) -> float | None:
    """The value of an expression of real literals only; None if it holds anything else. Never raises."""

    def combine(each: Node, below: list[float | None]) -> float | None:
        if isinstance(each, Num):
            return float(each.value)
        if any(b is None for b in below) or not isinstance(each, Neg | Binary):
            return None
        return apply(each, *below)  # type: ignore[arg-type]

    return fold(node, combine)


def apply(node: Neg | Binary, left: float, right: float = 0.0) -> float:
    """The value of one operation; infinity where there is none. A broken power is that of the magnitude."""
    if isinstance(node, Neg):
        return -left
    try:
        match node.op:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
        return left**right if right.is_integer() else abs(left) ** right
    except (OverflowError, ZeroDivisionError):
        return math.inf


def check_power(node: Binary) -> None:
    """Check a power against the limits.

    Raises:
        SpecError: a literal exponent outside -64..64, or a power of literals outside 1e-100..1e100.
    """
    exponent = literal_value(node.right)
    if exponent is None:
        return
    if not abs(exponent) <= MAX_EXPONENT:
        raise SpecError(f"the exponent is outside -{MAX_EXPONENT}..{MAX_EXPONENT}", place=node.right.mark.place)
    value = literal_value(node)
    if value is not None and value != 0 and not SMALLEST <= abs(value) <= LARGEST:
        raise SpecError("this power of numbers is outside 1e-100..1e100", place=node.mark.place)
