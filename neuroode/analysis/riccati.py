"""Riccati flows: one real state whose flow is quadratic in itself, with coefficients that stand still within a step.

Source: Reid, Riccati Differential Equations (1972), chapter 2: the flow of a quotient of two linear solutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from neuroode.analysis import algebra
from neuroode.analysis.linearity import STEPS, moving, running
from neuroode.analysis.types import Block, Fact
from neuroode.system.show import show
from neuroode.system.types import OdeSystem

MAX_OPERATIONS = 500  # of a flow that is looked at
FACTORED = 100  # operations of what is brought into factors


@dataclass(frozen=True, slots=True)
class Riccati:
    """dx/dt = A x^2 + B x + C of one real state; the coefficients hold no running state."""

    x: sp.Symbol
    A: sp.Expr
    B: sp.Expr
    C: sp.Expr

    @property
    def discriminant(self) -> sp.Expr:
        """B^2/4 - A C: positive where there are fixed points, negative where every solution reaches infinity."""
        return neat(self.B**2 / 4 - self.A * self.C)


def coefficients(system: OdeSystem, block: Block) -> Riccati | None:
    """The coefficients of a block that is one Riccati flow, else None."""
    if block.is_linear or len(block.states) > 1 or system.is_complex(block.states[0]):
        return None
    x, flow = running(system)[block.states[0]], system.flows[block.states[0]]
    others = moving(system) - {x}
    if flow.count_ops() > MAX_OPERATIONS or flow.has(*others) or any(p.has(x) for k in STEPS for p in flow.atoms(k)):
        return None
    if not flow.is_polynomial(x) or sp.degree(sp.expand(flow), x) != 2:
        return None
    slope = sp.diff(flow, x)
    A, B, C = sp.expand(sp.diff(slope, x)) / 2, slope.subs(x, 0), flow.subs(x, 0)
    return Riccati(x, neat(A), neat(B), neat(C))


def neat(e: sp.Expr) -> sp.Expr:
    """What stands still as one product, so that nothing cancels that need not: (u_1 - u_2)^2 for three squares."""
    held = sorted((s for s in e.free_symbols if "[" in s.name), key=str)
    if e.count_ops() > FACTORED or not e.is_polynomial(*held):
        return e
    rows = sp.Poly(e, *held).terms() if held else [((), e)]
    return sp.Add(
        *[algebra.factor(a) * sp.Mul(*[s**k for s, k in zip(held, powers, strict=True)]) for powers, a in rows]
    )


def riccati_facts(system: OdeSystem, block: Block) -> list[Fact]:
    """What the discriminant says, and how long a step may be that counts every passage through infinity."""
    found = coefficients(system, block)
    if found is None:
        return []
    d, name = show(found.discriminant), block.states[0]
    ends = "fixed points where it is positive, every solution reaches infinity where it is negative"
    half = f"one passage through infinity in a step at most where dt^2*({show(-found.discriminant)}) < pi^2"
    return [Fact("Riccati: one Moebius map", name, "proved", f"discriminant B^2/4 - A C = {d}: {ends}; {half}")]
