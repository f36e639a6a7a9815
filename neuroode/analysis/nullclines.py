"""Nullclines of a flow of two coordinates: where one of them stands still."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from neuroode.analysis import polynomials as poly
from neuroode.analysis.held import HeldFlow
from neuroode.analysis.inequality import plain, tidy

TIDIED = 200  # operations of a formula that is tidied
MAX_SHOWN = 300  # characters of one that is printed


@dataclass(frozen=True, slots=True)
class Nullcline:
    """Where d(name)/dt = 0: `solved` coordinate = `formula` in parameters, `numeric` in numbers; else a contour."""

    name: str
    solved: str = ""
    formula: sp.Expr | None = None
    numeric: sp.Expr | None = None

    @property
    def evidence(self) -> str:
        return "sampled" if self.formula is None else "proved"

    @property
    def text(self) -> str:
        """The formula as a line of text; empty for a contour."""
        return f"{self.solved} = {plain(self.formula)}".replace("[t]", "") if self.formula is not None else ""

    def __str__(self) -> str:
        if self.formula is None:
            return f"d{self.name}/dt = 0: a contour in numbers, the flow is linear in neither coordinate"
        return f"d{self.name}/dt = 0: " + (self.text if len(self.text) <= MAX_SHOWN else "a long formula, see --json")

    def to_json(self) -> dict[str, object]:
        return {"of": self.name, "formula": self.text or None, "evidence": self.evidence}


def nullclines(flow: HeldFlow) -> tuple[Nullcline, ...]:
    """Both nullclines of a flow of two coordinates, none of another one."""
    return tuple(_nullcline(flow, k) for k in range(2)) if len(flow.x) == 2 else ()


def _nullcline(flow: HeldFlow, k: int) -> Nullcline:
    for j in (1, 0):  # over the first coordinate where both can be had
        formula, numeric = (_solved(m[k], flow.x[j]) for m in (flow.symbolic, flow.numeric))
        if formula is not None and numeric is not None:
            return Nullcline(flow.names[k], flow.names[j], formula, numeric)
    return Nullcline(flow.names[k])


def _solved(e: sp.Expr, x: sp.Symbol) -> sp.Expr | None:
    parts = poly.affine(e, x)
    if parts is None:
        return None
    found = -parts[1] / parts[0]
    return tidy(found) if found.count_ops() <= TIDIED and poly.is_small(found) else found
