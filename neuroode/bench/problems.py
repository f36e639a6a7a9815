"""Neurons written by hand for work against precision, and their event-driven reference.

The fields take their functions from any array library, so that peers integrate the same text. Nothing here comes from
the compiler: the reference is scipy's DOP853 with rtol 1e-12, stopped at each spike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

Values = tuple[Any, ...]
LANES = 32
CHECKED = (0, 10, 21, 31)  # lanes that are compared with the reference


@dataclass(frozen=True, slots=True)
class Problem:
    """A neuron of the zoo in its units (time in ms), from its inits, held currents of `LANES` lanes, two windows.

    Attributes:
        field: dy/dt of states, current and an exponential function.
        peak: of the first state; crossed upwards it is a spike. reset: of states at a spike.
        free, spiking: lowest and highest current, and the length of a window.
    """

    name: str
    field: Callable[[Values, Any, Callable[[Any], Any]], Values]
    start: tuple[float, ...]
    peak: float
    reset: Callable[[Values], Values] | None  # None: the neuron comes down by itself
    free: tuple[float, float, float]
    spiking: tuple[float, float, float]

    def currents(self, spiking: bool) -> np.ndarray:
        low, high, _ = self.spiking if spiking else self.free
        return np.linspace(low, high, LANES)

    def length(self, spiking: bool) -> float:
        return (self.spiking if spiking else self.free)[2]


def _qif(y: Values, current: Any, _: Any) -> Values:
    (v,) = y
    return (0.25 * v * (v - 0.5) + current,)


def _izhikevich(y: Values, current: Any, _: Any) -> Values:
    v, u = y
    return 0.04 * v * v + 5 * v + 140 - u + current, 0.02 * (0.2 * v - u)


def _adex(y: Values, current: Any, exp: Any) -> Values:
    v, w = y
    return (-30 * (v + 70.6) + 60 * exp((v + 50.4) / 2) - w + current) / 281, (4 * (v + 70.6) - w) / 144


def _hodgkin_huxley(y: Values, current: Any, exp: Any) -> Values:
    v, m, h, n = y
    a_m, b_m = 0.1 * (v + 40) / (1 - exp(-(v + 40) / 10)), 4 * exp(-(v + 65) / 18)
    a_h, b_h = 0.07 * exp(-(v + 65) / 20), 1 / (1 + exp(-(v + 35) / 10))
    a_n, b_n = 0.01 * (v + 55) / (1 - exp(-(v + 55) / 10)), 0.125 * exp(-(v + 65) / 80)
    channels = 120 * m * m * m * h * (v - 50) + 36 * n * n * n * n * (v + 77) + 0.3 * (v + 54.387)
    return current - channels, a_m * (1 - m) - b_m * m, a_h * (1 - h) - b_h * h, a_n * (1 - n) - b_n * n


PROBLEMS = (
    Problem("qif", _qif, (0.0,), 1.0, lambda y: (0.0,), (-0.1, 0.012, 8.0), (0.1, 0.3, 40.0)),
    Problem(
        "izhikevich", _izhikevich, (-65.0, -13.0), 30.0, lambda y: (-65.0, y[1] + 8),
        (3.0, 6.0, 4.0), (8.0, 12.0, 40.0),
    ),
    Problem(
        "adex", _adex, (-70.6, 0.0), 0.0, lambda y: (-70.6, y[1] + 80.5),
        (300.0, 500.0, 20.0), (800.0, 1000.0, 60.0),
    ),
    Problem(
        "hodgkin_huxley", _hodgkin_huxley, (-64.996379, 0.052955, 0.595994, 0.317732), 0.0, None,
        (1.0, 2.0, 8.0), (10.0, 20.0, 30.0),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """The first state at the end of a window, and spike times, of each checked lane."""

    end: np.ndarray
    spikes: tuple[np.ndarray, ...]


@cache
def reference(problem: Problem, spiking: bool) -> Run:
    """Event-driven, rtol 1e-12, of the checked lanes."""
    rows = [_lane(problem, c, problem.length(spiking)) for c in problem.currents(spiking)[list(CHECKED)]]
    return Run(np.array([end for end, _ in rows]), tuple(times for _, times in rows))


def _lane(problem: Problem, current: float, until: float) -> tuple[float, np.ndarray]:
    def crossing(_: float, y: np.ndarray) -> float:
        return float(y[0] - problem.peak)

    crossing.terminal, crossing.direction = problem.reset is not None, 1  # type: ignore[attr-defined]
    y, t, found = np.array(problem.start), 0.0, []
    while True:
        run = solve_ivp(
            lambda _, y: problem.field(tuple(y), current, np.exp), (t, until), y, "DOP853", rtol=1e-12, atol=1e-12,
            events=crossing,
        )  # fmt: skip
        found += list(run.t_events[0])
        if run.status != 1:
            return float(run.y[0, -1]), np.array(found)
        t, y = run.t[-1], np.array(problem.reset(tuple(run.y[:, -1])))  # type: ignore[misc]


def distance(found: Run, wanted: Run, spiking: bool) -> tuple[float, str]:
    """Largest error of the ends of spike-free windows, or of spike times in ms; and a word on counts that differ."""
    if not spiking:
        return float(np.abs(found.end - wanted.end).max()), ""
    pairs = list(zip(found.spikes, wanted.spikes, strict=True))
    apart = [np.abs(a[:n] - b[:n]).max() for a, b in pairs if (n := min(len(a), len(b)))]
    counts = sum(len(a) for a, _ in pairs), sum(len(b) for _, b in pairs)
    return float(max(apart, default=np.inf)), "" if counts[0] == counts[1] else f"{counts[0]} spikes for {counts[1]}"
