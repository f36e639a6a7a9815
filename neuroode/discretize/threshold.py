"""Where an event stops a state: what the rest of a split step sees of it, and what a flow to infinity leaves there."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from neuroode.discretize.riccati import tests
from neuroode.expr import functions as fn
from neuroode.system.types import Event, OdeSystem, Test


@dataclass(frozen=True, slots=True)
class Bound:
    """The potential at which an event resets a state in the same step, in symbols of the end of the step.

    `up`: whether the event is above it; `slope`: of the margin in the state.
    """

    at: sp.Expr
    up: bool
    slope: sp.Expr

    def seen(self, x: sp.Expr) -> sp.Expr:
        """The state as the others see it: at its threshold at most."""
        return fn.minimum(x, self.at) if self.up else fn.maximum(x, self.at)

    def passed(self, x: sp.Expr) -> sp.Expr:
        """1 where the state is at its threshold or beyond."""
        return fn.gate(x - self.at if self.up else self.at - x, 0)

    def least(self, x: sp.Expr) -> sp.Expr:
        """The state, at its threshold at least."""
        return fn.maximum(x, self.at) if self.up else fn.minimum(x, self.at)


def bounds(system: OdeSystem) -> dict[str, Bound]:
    """State -> its threshold, for events of one comparison that is linear in a state that they reset in the same step.

    An event that a refractory time silences bounds only what that time holds: other states pass the threshold then.
    """
    found: dict[str, Bound] = {}
    for event in system.events:
        for state in dict.fromkeys(j.state for j in event.jumps):
            bound = _bound(system, event, state)
            if bound is not None:
                found.setdefault(state, bound)
    return found


def _bound(system: OdeSystem, event: Event, state: str) -> Bound | None:
    now = system.symbols.get(f"{state}[t]")
    silenced = event.silent is not None and state not in event.hold
    if event.late or silenced or now is None or state not in system.flows or not isinstance(event.condition, Test):
        return None
    margin = event.condition.margin
    if isinstance(margin, fn.peak):
        return None
    slope = sp.diff(margin, now)
    if slope.has(now) or not (slope.is_positive or slope.is_negative):
        return None
    at = now - margin / slope
    at = sp.expand(at) if at.has(now) else at
    if at.has(now) or not all(_known(system, s) for s in at.free_symbols):
        return None
    return Bound(at, bool(slope.is_positive), slope)


def _known(system: OdeSystem, s: sp.Symbol) -> bool:
    """Whether the symbol can be read while states still flow: no map or event of this step, which may wait for them."""
    name = s.name.removesuffix("[t]")
    return name == s.name or name in system.inputs or name in system.flows


def stops(system: OdeSystem, name: str) -> bool:
    """Whether an event compares the state."""
    now = system.symbols.get(f"{name}[t]")
    return now is not None and any(t.margin.has(now) for e in system.events for t in tests(e.condition))


def stopped(
    system: OdeSystem, name: str, end: sp.Expr, lost: sp.Expr, rises: sp.Expr, far: sp.Expr
) -> tuple[dict[str, sp.Expr], dict[sp.Expr, sp.Expr]]:
    """Value and guards of a state that has left for infinity where `lost` is 1, upwards where `rises` is 1.

    `end` is where the closed form puts it; it stops at its threshold at least, and the margin is at least `far` then.
    """
    values, guards = {name: end}, {}
    now = system.symbols.get(f"{name}[t]")
    for margin in (t.margin for e in system.events for t in tests(e.condition)):
        slope = sp.diff(margin, now) if now is not None and not isinstance(margin, fn.peak) else sp.S.Zero
        if slope != 0 and not slope.has(now):
            towards = fn.gate((2 * rises - 1) * slope, 1)
            guards[margin] = fn.pick(lost * towards, fn.maximum(margin, fn.detach(far * sp.Abs(slope))), margin)
    bound = bounds(system).get(name)
    if bound is not None and not any(s.name.removesuffix("[t]") in system.flows for s in bound.at.free_symbols):
        towards = rises if bound.up else 1 - rises
        values[name] = fn.pick(lost * towards, bound.least(end), end)
    return values, guards
