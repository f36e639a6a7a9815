"""The bilinear step of a linear block (trapezoidal rule, Tustin): (1 - A dt/2) x1 = (1 + A dt/2) x0 + dt (u0 + u1)/2.

Order 2, and stable exactly where the flow is.
Source: Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.2.
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis.linearity import components, during, running
from neuroode.analysis.types import Block, Report
from neuroode.discretize.types import Update, Verdict

MAX_COUPLED = 3


def applies(report: Report, block: Block) -> Verdict:
    if block.A is None or block.drive is None:
        facts = "; ".join(f"{f.subject} is {f.claim}" for f in report.facts if f.subject in block.states)
        return Verdict(False, f"not linear: {facts}")
    largest = max(map(len, _groups(block)))
    if largest > MAX_COUPLED:
        return Verdict(False, f"{largest} states read each other; it is solved in closed form for up to {MAX_COUPLED}")
    return Verdict(True, f"{block.kind} block, solved in closed form; undefined where an eigenvalue of A is 2/dt")


def derive(report: Report, block: Block, dt: sp.Symbol) -> Update:
    """States that read each other are solved together, by Cramer's rule, after those that they read."""
    assert block.A is not None
    assert block.drive is not None
    system, n = report.system, len(block.states)
    x = sp.Matrix([running(system)[s] for s in block.states])
    drive = (during(system, block.drive, sp.S.Zero) + during(system, block.drive, sp.S.One)) / 2
    right = x + dt / 2 * block.A * x + dt * drive
    left = sp.eye(n) - dt / 2 * block.A
    new = [sp.Symbol(f"new({s})", **({} if system.is_complex(s) else {"real": True})) for s in block.states]
    stages: list[tuple[sp.Symbol, sp.Expr]] = []
    for names in _groups(block):
        rows = [block.states.index(s) for s in names]
        others = [j for j in range(n) if j not in rows]
        rest = [right[i] - sum(left[i, j] * new[j] for j in others) for i in rows]
        solved = _solve(left.extract(rows, rows), rest)
        stages += [(new[i], value) for i, value in zip(rows, solved, strict=True)]
    values = dict(zip(block.states, new, strict=True))
    return Update(block.states, "bilinear", values, False, 2, applies(report, block).reason, stages=tuple(stages))


def _groups(block: Block) -> tuple[tuple[str, ...], ...]:
    assert block.A is not None
    rows = {
        s: {r: block.A[i, j] for j, r in enumerate(block.states) if block.A[i, j] != 0}
        for i, s in enumerate(block.states)
    }
    return components(rows)


def _solve(m: sp.Matrix, right: list[sp.Expr]) -> list[sp.Expr]:
    """m^-1 right; the inverse is free of `right`, so that what stands still is computed once."""
    determinant = m.det(method="berkowitz")
    adjugate = m.adjugate(method="berkowitz") if m.rows > 1 else sp.eye(1)
    return [sp.Add(*[adjugate[i, j] / determinant * right[j] for j in range(m.cols)]) for i in range(m.rows)]
