"""Heun's method (order 2) and the classical one of four stages (order 4), for all flow states together.

Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993), section II.1.
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis.linearity import during, moving, running
from neuroode.analysis.types import Report
from neuroode.discretize.types import Update, Verdict
from neuroode.expr import functions as fn

#: per method: rows of (fraction of the step, weight in the sum, coefficient of the stage before)
TABLEAUS: dict[str, tuple[tuple[sp.Rational, sp.Rational, sp.Rational], ...]] = {
    "heun": ((sp.S.Zero, sp.S.Half, sp.S.Zero), (sp.S.One, sp.S.Half, sp.S.One)),
    "rk4": (
        (sp.S.Zero, sp.Rational(1, 6), sp.S.Zero), (sp.S.Half, sp.Rational(1, 3), sp.S.Half),
        (sp.S.Half, sp.Rational(1, 3), sp.S.Half), (sp.S.One, sp.Rational(1, 6), sp.S.One),
    ),
}  # fmt: skip
ORDERS = {"heun": 2, "rk4": 4}
JUMPS = (fn.gate, fn.rounded, fn.pick, sp.floor, sp.ceiling, sp.sign)
KINKS = (fn.maximum, fn.minimum, sp.Abs)


def applies(report: Report, states: tuple[str, ...]) -> Verdict:
    """The stages need every flow state that the flows read."""
    x = running(report.system)
    missing = [s for s in x if s not in states and any(report.system.flows[i].has(x[s]) for i in states)]
    if missing:
        return Verdict(False, f"it reads {', '.join(missing)}, which another method moves")
    return Verdict(True, "every flow state that is read moves with it")


def derive(report: Report, states: tuple[str, ...], method: str, dt: sp.Symbol, why: str) -> Update:
    """x + dt*sum(w_i k_i), k_i = f(x + a_i dt k_(i-1)) at the fraction c_i of the step."""
    system, x = report.system, running(report.system)
    stages: list[tuple[sp.Symbol, sp.Expr]] = []
    total = dict.fromkeys(states, sp.S.Zero)
    before: dict[str, sp.Expr] = dict.fromkeys(states, sp.S.Zero)
    for number, (fraction, weight, back) in enumerate(TABLEAUS[method], start=1):
        at = {x[s]: x[s] + back * dt * before[s] for s in states}
        before = {s: sp.Symbol(f"k{number}({s})", **_facts(system.is_complex(s))) for s in states}
        stages += [(before[s], during(system, system.flows[s], fraction).xreplace(at)) for s in states]
        total = {s: total[s] + weight * before[s] for s in states}
    values = {s: x[s] + dt * total[s] for s in states}
    order, rough = order_left(report, states, ORDERS[method])
    return Update(states, method, values, False, order, why + rough, stages=tuple(stages))


def _facts(is_complex: bool) -> dict[str, bool]:
    return {} if is_complex else {"real": True}


def order_left(report: Report, states: tuple[str, ...], order: int) -> tuple[int, str]:
    """The order that is left where a flow has jumps or kinks in what moves within the step."""
    x = moving(report.system)
    flows = [report.system.flows[s] for s in states]
    for kinds, left, what in ((JUMPS, 1, "jumps"), (KINKS, 2, "kinks")):
        found = [part for f in flows for kind in kinds for part in f.atoms(kind) if part.has(*x)]
        if found and left < order:
            return left, f"; the flow has {what}, which cost the order {order}"
    return order, ""
