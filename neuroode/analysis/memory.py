"""What is known of fractional states: their orders, and for a leak how it relaxes and whether it is stable.

Source: Diethelm, The Analysis of Fractional Differential Equations (2010), chapters 4 and 7 (Mittag-Leffler decay).
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis.linearity import running
from neuroode.analysis.types import Block, Fact
from neuroode.system.show import show
from neuroode.system.types import OdeSystem


def facts(system: OdeSystem, blocks: tuple[Block, ...]) -> list[Fact]:
    """Orders of the fractional states; decay of those that leak alone."""
    found = []
    for name, fractional in system.fractional.items():
        orders = ", ".join(show(a) for _, a in fractional.terms)
        found.append(Fact("remembers its whole past", name, "proved", f"Caputo derivative of order {orders}"))
        lam = leak(system, name, blocks)
        if lam is not None and lam.is_positive and len(fractional.terms) == 1:
            order = fractional.terms[0][1]
            found.append(Fact("stable", name, "proved", _decay(lam, order)))
    return found


def leak(system: OdeSystem, name: str, blocks: tuple[Block, ...]) -> sp.Expr | None:
    """lam of D^a v = -lam*v + drive; None where v is not a linear block of its own."""
    block = next(b for b in blocks if name in b.states)
    if block.states != (name,) or block.A is None or block.kind == "switched":
        return None
    return -block.A[0, 0].subs(running(system)[name], 0)


def _decay(lam: sp.Expr, order: sp.Expr) -> str:
    a = show(order)
    return f"relaxes as E_{a}(-({show(lam)})*t^{a}), late as t^-{a}: slower than any exponential where {a} < 1"
