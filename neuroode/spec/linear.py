"""The degree of an expression in some names: 0, 1, or something else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from neuroode.expr.nodes import Binary, Call, Neg, Node, Num, Ref, fold


@dataclass(frozen=True, slots=True)
class Degree:
    """`low` and `high` bound the degree of the terms; `fault` is the first node that is not linear."""

    low: int = 0
    high: int = 0
    fault: Node | None = None


def degree(node: Node, names: Collection[str]) -> Degree:
    """How an expression depends on the names: (0, 0) not at all, (1, 1) each term holds exactly one of them."""

    def combine(each: Node, below: list[Degree]) -> Degree:
        fault = next((b.fault for b in below if b.fault is not None), None)
        if fault is not None:
            return Degree(fault=fault)
        if isinstance(each, Ref):
            return Degree(1, 1) if each.name in names else Degree()
        low, high = _bounds(each, below)
        return Degree(low, high) if high <= 1 else Degree(fault=each)

    return fold(node, combine)


def _bounds(node: Node, below: list[Degree]) -> tuple[int, int]:
    """The degree of a node from those of its children; 2 stands for all that is not linear."""
    if all(b.high == 0 for b in below):
        return 0, 0
    match node:
        case Neg():
            return below[0].low, below[0].high
        case Binary(op="+" | "-"):
            zeros = [n for n in (node.left, node.right) if isinstance(n, Num) and not n.value]
            lows = [b.low for b, n in zip(below, (node.left, node.right), strict=True) if n not in zeros]
            return min(lows), max(b.high for b in below)
        case Binary(op="*"):
            return below[0].low + below[1].low, below[0].high + below[1].high
        case Binary(op="/") if below[1].high == 0:
            return below[0].low, below[0].high
        case Call(name="delay") if below[1].high == 0:
            return below[0].low, below[0].high
        case Call() if node.name.startswith(("sum_", "mean_")):
            return below[0].low, below[0].high
    return 2, 2
