"""Exponential Euler: each state by its own exact step while the others are held. Order 1.

Source: Rush and Larsen, IEEE Trans. Biomed. Eng. 25 (1978).
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis.linearity import during, jacobian, running
from neuroode.analysis.types import Report
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import phi


def applies(report: Report, states: tuple[str, ...]) -> Verdict:
    bad = [s for s in states if report.classes[s] == "nonlinear"]
    if bad:
        return Verdict(False, f"{', '.join(bad)} is not linear in itself")
    return Verdict(True, "each state is linear in itself while the others are held")


def derive(report: Report, states: tuple[str, ...], dt: sp.Symbol, why: str) -> Update:
    x, rows = running(report.system), jacobian(report.system)
    values = {}
    for s in states:
        rate = during(report.system, rows[s].get(s, sp.S.Zero), sp.S.Zero)
        drive = during(report.system, report.system.flows[s], sp.S.Zero).subs(x[s], 0)
        gain = dt * phi(1, rate * dt) if rate != 0 else dt
        values[s] = sp.exp(rate * dt) * x[s] + gain * drive
    return Update(states, "exp_euler", values, False, 1, why)
