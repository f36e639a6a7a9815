"""The implicit midpoint rule: x1 = x0 + dt f((x0 + x1)/2), by a fixed number of Newton iterations. Order 2, A-stable.

The unknown is the middle y = (x0 + x1)/2, y = x0 + (dt/2) f(y); then x1 = 2 y - x0. The start is the linearly implicit
Euler step of dt/2 from x0, whose error is O(dt^2); each iteration squares it, so three leave O(dt^16), rounding for
dt |f'| of some tenths and below, and five hold for stiff steps, where f changes its slope. Systems of up to four real
states are solved by Gaussian elimination in symbols, without pivots: 1 - (dt/2) f' has diagonal entries of at least 1
where the states are damped.

A fixed number is no guarantee: where a slope changes by a multiple within dt f (a saturated flow far from its rest, an
upstroke), Newton's iteration may not converge, and a shorter step or `strang` is needed.

The last iteration takes the Jacobian at a middle that carries no gradient. Its derivative at the fixed point is then
(1 - (dt/2) f_y)^-1 (dt/2) f_p, that of the implicit function, whatever the iterations before it were.

Source: Hairer and Wanner, Solving Ordinary Differential Equations II (1996), sections IV.3 and IV.8.
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis import linearity
from neuroode.analysis.linearity import during, moving, running
from neuroode.analysis.types import Report
from neuroode.discretize.runge_kutta import JUMPS, order_left
from neuroode.discretize.types import Update, Verdict
from neuroode.expr.functions import detach

MAX_STATES = 4
ITERATIONS = 5
METHOD = "implicit_midpoint"


def applies(report: Report, states: tuple[str, ...]) -> Verdict:
    system, x = report.system, running(report.system)
    flows = [system.flows[s] for s in states]
    missing = [s for s in x if s not in states and any(f.has(x[s]) for f in flows)]
    if missing:
        return Verdict(False, f"it reads {', '.join(missing)}, which another method moves")
    if len(states) > MAX_STATES:
        return Verdict(False, f"{len(states)} states that read each other, more than {MAX_STATES}")
    if any(system.is_complex(s) for s in states):
        return Verdict(False, f"{', '.join(s for s in states if system.is_complex(s))} is complex")
    if any(p.has(*moving(system)) for f in flows for kind in JUMPS for p in f.atoms(kind)):
        return Verdict(False, "the flow has jumps, across which Newton's iteration need not converge")
    if any(a is None for s in states for a in linearity.jacobian(system)[s].values()):
        return Verdict(False, "the flow has no derivative in a state")
    return Verdict(True, f"{ITERATIONS} Newton iterations with the symbolic Jacobian")


def derive(report: Report, states: tuple[str, ...], dt: sp.Symbol, why: str) -> Update:
    """The update of states to which `applies` said yes."""
    rule = _Newton(report, states, dt)
    y: list[sp.Expr] = [rule.x[s] for s in states]
    for number in range(ITERATIONS + 1):
        y = rule.improved(y, number, last=number == ITERATIONS)
    values = {s: 2 * middle - rule.x[s] for s, middle in zip(states, y, strict=True)}
    order, rough = order_left(report, states, 2)
    reason = f"{why}; {applies(report, states).reason} after a linearly implicit start"
    return Update(states, METHOD, values, False, order, reason + rough, stages=tuple(rule.stages))


class _Newton:
    """Iterations for y = x + (dt/2) f(y); what they compute are stages with names of their own."""

    def __init__(self, report: Report, states: tuple[str, ...], dt: sp.Symbol) -> None:
        system, self.states = report.system, states
        self.x, self.half = running(system), dt / 2
        self.f = [during(system, system.flows[s], sp.S.Half) for s in states]
        rows = linearity.jacobian(system)
        self.J = [[during(system, rows[s].get(n, sp.S.Zero), sp.S.Half) for n in states] for s in states]
        self.stages: list[tuple[sp.Symbol, sp.Expr]] = []

    def improved(self, y: list[sp.Expr], number: int, last: bool) -> list[sp.Expr]:
        """One Newton step from y; in the last one nothing of y carries a gradient."""
        if last:
            y = [self._named(f"middle({s})", number, detach(e)) for s, e in zip(self.states, y, strict=True)]
        at = {self.x[s]: e for s, e in zip(self.states, y, strict=True)}
        rest = [self.x[s] + self.half * f.xreplace(at) - e for s, f, e in zip(self.states, self.f, y, strict=True)]
        M = [
            [sp.Integer(i == j) - self.half * a.xreplace(at) for j, a in enumerate(row)] for i, row in enumerate(self.J)
        ]
        if last:
            M = [[detach(a) for a in row] for row in M]
        step = self._solved(M, rest, number)
        return [self._named(f"y({s})", number, e + d) for s, e, d in zip(self.states, y, step, strict=True)]

    def _solved(self, M: list[list[sp.Expr]], b: list[sp.Expr], number: int) -> list[sp.Expr]:
        """Gaussian elimination without pivots; entries that are 0 cost nothing."""
        n = len(b)
        M = [[self._named(f"M{i}{j}", number, a) for j, a in enumerate(row)] for i, row in enumerate(M)]
        b = [self._named(f"b{i}", number, e) for i, e in enumerate(b)]
        for k in range(n):
            for i in range(k + 1, n):
                if M[i][k] != 0:
                    factor = self._named(f"L{i}{k}", number, M[i][k] / M[k][k])
                    M[i] = [
                        M[i][j] if j <= k else self._named(f"M{i}{j}.{k}", number, M[i][j] - factor * M[k][j])
                        for j in range(n)
                    ]
                    b[i] = self._named(f"b{i}.{k}", number, b[i] - factor * b[k])
        x: list[sp.Expr] = [sp.S.Zero] * n
        for i in reversed(range(n)):
            x[i] = self._named(f"d{i}", number, (b[i] - sum(M[i][j] * x[j] for j in range(i + 1, n))) / M[i][i])
        return x

    def _named(self, name: str, number: int, value: sp.Expr) -> sp.Expr:
        """The value as a stage; numbers and symbols stay as they are."""
        if value.is_Atom:
            return value
        symbol = sp.Symbol(f"{name} of {','.join(self.states)} {number}", real=True)
        self.stages.append((symbol, value))
        return symbol
