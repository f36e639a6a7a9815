"""The exact step of a Riccati flow dv/dt = A v^2 + B v + C whose coefficients stand still within the step.

One Moebius map, v(dt) = ((c + s B/2) v + s C)/(c - s (A v + B/2)): with j^2 = d = dt^2 (B^2/4 - A C), c + (s/dt) j is
e^j, so c and s are entire in d: cosh and sinh for d > 0, cos and sin for d < 0, 1 and dt at d = 0. Both are divided by
e^(sqrt(d) - 1) for d > 1, which the quotient does not see and which keeps them finite (program/swing.py).

v reaches infinity within the step where the denominator changes its sign, once at most while -d < pi^2 (half a turn of
the projective line). A flow that no finite reset stops passes on from the other end, as the theta neuron does; one that
is reset stops at a peak from which infinity is a millionth of a step away, above every threshold.

Sources: Reid, Riccati Differential Equations (1972), chapter 2, for the linear form; Ermentrout and Kopell, SIAM J.
Appl. Math. 46 (1986), for the passage through infinity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis.riccati import Riccati, coefficients
from neuroode.analysis.types import Block, Report
from neuroode.discretize.types import Discretization, Update, Verdict
from neuroode.expr import functions as fn
from neuroode.system.show import show
from neuroode.system.types import Combined, Condition, Event, OdeSystem, Test

NEAR = sp.Rational(1, 10**6)  # of a step: infinity counts as reached from the potential from which it is that far
SHIFT = sp.Rational(1, 10**16)  # of a denominator, below its rounding: so that it is not 0
METHOD = "exact"


def applies(report: Report, block: Block) -> Verdict:
    found = coefficients(report.system, block)
    if found is None:
        return Verdict(False, "no Riccati flow: one real state, quadratic in itself, and all else held over the step")
    return Verdict(True, f"Riccati: one Moebius map, discriminant B^2/4 - A C = {show(found.discriminant)}")


def derive(report: Report, block: Block, dt: sp.Symbol) -> Update:
    """The update of a block to which `applies` said yes.

    Raises:
        Unsupported: a reset to infinity that is not that of a peak at infinity.
    """
    found, name = coefficients(report.system, block), block.states[0]
    assert found is not None
    step = _Step(report.system, name, found, dt)
    return Update(
        block.states, METHOD, {name: step.value()}, True, None,
        f"{applies(report, block).reason}; {step.way()}", step.stages(), step.shown(), step.guards(),
    )  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """The formulas of one step; values that several of them read are stages with names of their own."""

    system: OdeSystem
    name: str
    flow: Riccati
    dt: sp.Symbol

    def _named(self, what: str) -> sp.Symbol:
        return sp.Symbol(f"{what}({self.name})", real=True)

    @property
    def passes(self) -> bool:
        """Whether the potential goes through infinity: nothing resets it, or the reset is that passage."""
        jumps = [j.value for e in self.system.events for j in e.jumps if j.state == self.name]
        return not jumps or any(_infinite(v) for v in jumps)

    def way(self) -> str:
        return "passes through infinity" if self.passes else "stops at a peak above every threshold"

    def shown(self) -> str:
        c, s, x = self._named("c"), self._named("s"), self.flow.x
        top = (c + s * self.flow.B / 2) * x + s * self.flow.C
        bottom = c - s * (self.flow.A * x + self.flow.B / 2)
        beyond = "" if self.passes else f"; {show(1 / (NEAR * self.dt * self.flow.A))} where that is infinite"
        return f"{self.name}[t] = ({show(top)})/({show(bottom)}){beyond}"

    def stages(self) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
        x, A, B, C = self.flow.x, self.flow.A, self.flow.B, self.flow.C
        d, c, s, low = (self._named(n) for n in ("d", "c", "s", "low"))
        rows = [
            (d, self.dt**2 * self.flow.discriminant),
            (c, fn.swing(0, d)),
            (s, self.dt * fn.swing(1, d)),
            (low, c - s * (A * x + B / 2)),
        ]
        if self.passes:
            below = self._named("below")
            return (*rows, (below, low + SHIFT), (self._named("rise"), _rise(below, d)))
        high = self._named("high")
        rows += [(high, (c + s * B / 2) * x + s * C), (self._named("within"), self._within(low, high, d))]
        return tuple(rows)

    def _within(self, low: sp.Symbol, high: sp.Symbol, d: sp.Symbol) -> sp.Expr:
        """1 where infinity lies beyond the step."""
        ahead = fn.gate(low - NEAR * self.dt * self.flow.A * high, 1)
        return fn.gate(low, 1) * ahead * fn.gate(d + sp.pi**2, 1)

    def value(self) -> sp.Expr:
        x, B, C = self.flow.x, self.flow.B, self.flow.C
        if self.passes:
            c, s = self._named("c"), self._named("s")
            return ((c + s * B / 2) * x + s * C) / self._named("below")
        within = self._named("within")
        top = fn.detach(1 / (NEAR * self.dt * fn.pick(within, 1, self.flow.A)))
        return fn.pick(within, self._named("high") / fn.pick(within, self._named("low"), 1), top)

    # guards: infinity is above every threshold, also where the potential has come back from the other end

    def guards(self) -> dict[sp.Expr, sp.Expr]:
        now = self.system.symbols.get(f"{self.name}[t]")
        rows = {}
        for event in self.system.events:
            self._check(event, now)
            for test in tests(event.condition):
                if now is not None and test.margin.has(now) and (margin := self._margin(test.margin, now)) is not None:
                    rows[test.margin] = margin
        return rows

    def _margin(self, margin: sp.Expr, now: sp.Symbol) -> sp.Expr | None:
        within, rise = self._named("within"), self._named("rise")
        if isinstance(margin, fn.peak):
            if self.passes:
                return rise
            return fn.pick(within, -self._named("low"), fn.maximum(-self._named("low"), 1))
        slope = sp.diff(margin, now)
        up = _upward(slope * self.flow.A)
        if slope.has(now) or up == 0:
            return None
        if self.passes:
            return fn.pick(fn.gate(rise, 0) * up, fn.maximum(margin, rise), margin)
        return fn.pick((1 - within) * up, fn.maximum(margin, 1), margin)

    def _check(self, event: Event, now: sp.Symbol | None) -> None:
        """Peak and reset at infinity belong together, and lie where the flow goes."""
        end = next((j for j in event.jumps if j.state == self.name and _infinite(j.value)), None)
        peaks = [t.margin.args[0] for t in tests(event.condition) if isinstance(t.margin, fn.peak)]
        peaks = [p for p in peaks if now is not None and p.has(now)]
        A = self.flow.A
        if end is not None and (end.op != "=" or not peaks or end.value is not (-sp.oo if _rises(peaks[0]) else sp.oo)):
            raise Unsupported(
                f"event '{event.name}' sets {self.name} to {show(end.value)}, which is no passage through infinity",
                hint=f"peak and reset at infinity: spike: {self.name} >= inf, reset: {self.name} = -inf",
            )
        for p in peaks:
            if not (A.is_nonnegative if _rises(p) else A.is_nonpositive):
                sign = "positive" if _rises(p) else "negative"
                raise Unsupported(
                    f"event '{event.name}': {self.name} goes to that infinity only where {show(A)} is {sign}",
                    hint=f"give what it reads a domain in which it is, such as domain: {sign}",
                )


def _rise(below: sp.Symbol, d: sp.Symbol) -> sp.Expr:
    """The margin of a passage: minus the denominator; beyond half a turn, in which one must lie, how far beyond."""
    return fn.pick(fn.gate(-d - sp.pi**2, 0), -d / sp.pi**2 - 1, -below)


def _upward(slope: sp.Expr) -> sp.Expr:
    """1 where a margin with this slope (in the direction of the flow at infinity) grows beyond bounds."""
    return sp.Integer(1) if slope.is_positive else sp.Integer(0) if slope.is_nonpositive else fn.gate(slope, 1)


def _rises(side: sp.Expr) -> bool:
    """Whether a peak is at +inf: peak(v), not peak(-v)."""
    return not side.could_extract_minus_sign()


def _infinite(e: sp.Expr) -> bool:
    return e in (sp.oo, -sp.oo)


def tests(c: Condition) -> Iterator[Test]:
    """The comparisons of a condition."""
    if isinstance(c, Combined):
        for item in c.items:
            yield from tests(item)
    else:
        yield c


def check_infinity(d: Discretization) -> None:
    """Refuse peaks and resets at infinity where no exact Riccati step gives them a meaning.

    Raises:
        Unsupported: with the event and the method that was taken.
    """
    known = {m for u in d.updates for m in u.guards}
    moved = {s for u in d.updates if u.stages and u.guards for s in u.states}
    for event in d.report.system.events:
        lost = [t for t in tests(event.condition) if isinstance(t.margin, fn.peak) and t.margin not in known]
        jumps = [j.state for j in event.jumps if _infinite(j.value) and j.state not in moved]
        if lost or jumps:
            names = jumps or sorted({str(s).partition("[")[0] for t in lost for s in t.margin.free_symbols})
            how = [f"{s} is stepped by {u.method}" for u in d.updates for s in u.states if s in names]
            raise Unsupported(
                f"event '{event.name}': {names[0]} at infinity needs the exact step of a Riccati flow"
                + (f"; {how[0]}" if how else ""),
                hint="dv/dt = A*v^2 + B*v + C with A, B, C held over the step, and method: exact",
            )
