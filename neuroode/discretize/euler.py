"""Explicit Euler, and its semi-implicit form where listed states move one after another."""

from __future__ import annotations

import sympy as sp

from neuroode.analysis.linearity import during, running
from neuroode.analysis.types import Report
from neuroode.discretize.types import Update


def derive(report: Report, states: tuple[str, ...], dt: sp.Symbol, why: str) -> Update:
    """x + dt f(x), every state from the values at the start of the step. Order 1."""
    x = running(report.system)
    values = {s: x[s] + dt * during(report.system, report.system.flows[s], sp.S.Zero) for s in states}
    return Update(states, "euler", values, False, 1, why)


def derive_semi_implicit(report: Report, states: tuple[str, ...], dt: sp.Symbol) -> Update:
    """Euler steps in the given order, each reading the new values of those before it (symplectic Euler). Order 1."""
    x = running(report.system)
    values: dict[str, sp.Expr] = {}
    for s in states:
        new = {x[k]: v for k, v in values.items()}
        slope = during(report.system, report.system.flows[s], sp.S.Zero)
        values[s] = x[s] + dt * slope.subs(new, simultaneous=True)
    why = f"in the order {', '.join(states)}, each reads the new values of those before it"
    return Update(states, f"semi_implicit({', '.join(states)})", values, False, 1, why)
