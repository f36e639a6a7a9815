"""The firing period of one real state by quadrature: a held input takes v from its reset to its threshold.

T(I) = refractory time + integral of dv / f(v, I) from reset to threshold, where f has no zero in between (else the
neuron is silent). For LIF and QIF it is the logarithm and the arc tangent of the textbooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import sympy as sp
from scipy.integrate import quad

from neuroode.analysis.curve import zeros
from neuroode.analysis.held import HeldFlow
from neuroode.analysis.polynomials import affine, number
from neuroode.expr import functions as fn
from neuroode.system.types import Event, OdeSystem, Test

Array = np.ndarray
POINTS = 4001
FAR = 1e6  # where infinity is looked at


@dataclass(frozen=True, slots=True)
class Cycle:
    """One state from `reset` to `threshold`, then `refractory` time at the reset."""

    flow: HeldFlow
    reset: float
    threshold: float
    refractory: float

    def rate(self, I: float) -> float:
        """Cycles in a unit of time; 0 where a fixed point stands in the way."""
        low, high = max(self.reset, -FAR), min(self.threshold, FAR)
        v = np.linspace(low, high, POINTS)
        slowest = self._slowest(v, I)
        if not (self.flow.f(v[:, None], I)[:, 0] > 0).all():  # a flow with jumps has zeros between its extrema too
            return 0.0
        if any(self._speed(x, I) <= 0 or not np.isfinite(self._speed(x, I)) for x in (low, high, *slowest)):
            return 0.0
        edges = [self.reset, *(x for x in slowest if low < x < high), self.threshold]
        time = sum(self._time(a, b, I) for a, b in pairwise(edges))
        return 1 / (self.refractory + time) if np.isfinite(time) else 0.0

    def _time(self, a: float, b: float, I: float) -> float:
        """From a to b; not finite where the flow stops in between, at a jump of it too."""

        def pace(x: float) -> float:
            speed = self._speed(x, I)
            return 1 / speed if speed > 0 else np.inf

        return float(quad(pace, a, b, limit=400, epsabs=0, epsrel=1e-10, full_output=1)[0])

    def _speed(self, v: float, I: float) -> float:
        return float(self.flow.f(np.array([v]), I)[0])

    def _slowest(self, v: Array, I: float) -> list[float]:
        """Extrema of the flow in between: the bottleneck is one of them."""
        return zeros(lambda x: self.flow.J(x[:, None], I)[:, 0, 0], v)


def cycle(system: OdeSystem, flow: HeldFlow) -> Cycle | None:
    """The cycle of a neuron of one real state with one event that resets it from above; None of another one."""
    if len(flow.x) != 1 or len(system.events) != 1 or system.maps:
        return None
    (event,), name, known = system.events, flow.names[0], dict(flow.values)
    threshold = threshold_of(system, event, name, known)
    if threshold is None or len(event.jumps) != 1 or event.late:
        return None
    reset = reset_of(event, threshold, known)
    silent = 0.0 if event.silent is None else number(event.silent.xreplace(known))
    if reset is None or silent is None or reset >= threshold or (silent and name not in event.hold):
        return None
    step = _step(system, known) if silent else 0.0
    return None if step is None else Cycle(flow, reset, threshold, silent * step)


def threshold_of(system: OdeSystem, event: Event, name: str, known: Mapping[sp.Symbol, sp.Expr]) -> float | None:
    """Where an event's guard on one coordinate alone becomes true from below; None of another guard."""
    seen = system.symbols.get(f"{name}[t]")
    if seen is None or not isinstance(event.condition, Test):
        return None
    margin = event.condition.margin
    if margin.func is fn.peak:
        return np.inf if margin.args[0] == seen else None
    parts = affine(margin.xreplace(dict(known)), seen)
    if parts is None or not parts[0].is_positive:
        return None
    return number(-parts[1] / parts[0])


def reset_of(event: Event, threshold: float, known: Mapping[sp.Symbol, sp.Expr]) -> float | None:
    jump = event.jumps[0]
    value = number(jump.value.xreplace(dict(known)))
    if value is None:
        return None
    after = {"=": value, "-=": threshold - value, "+=": threshold + value, "*=": threshold * value}[jump.op]
    return after if not np.isnan(after) else None


def _step(system: OdeSystem, known: Mapping[sp.Symbol, sp.Expr]) -> float | None:
    symbol = system.symbols.get("dt")
    return None if symbol is None or symbol not in known else float(known[symbol])
