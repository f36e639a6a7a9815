"""The Python form of a declaration: same keys, same types, same checks as YAML; texts are strings or sympy objects."""

from __future__ import annotations

from typing import Any

from neuroode.spec.declare import changed, declare
from neuroode.spec.words import (
    Event,
    Input,
    Parameter,
    Reset,
    State,
    Surrogate,
    at,
    detach,
    dW,
    grad,
    index,
    quantity,
    straight_through,
    sum,
    symbol,
    symbols,
    where,
)

__all__ = [
    "Event", "Input", "Parameter", "Reset", "State", "Surrogate", "at", "changed", "dW", "declare", "detach", "grad",
    "index", "quantity", "straight_through", "sum", "symbol", "symbols", "where",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`t`, `dt` and `step`, made when asked for: importing neuroode must not import sympy."""
    if name in ("t", "dt", "step"):
        return symbol(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
