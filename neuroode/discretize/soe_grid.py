"""Where the leaks of a sum of exponentials lie: log(rate*dt) on a grid that is graded towards both ends.

The grid depends on the number of steps and the tolerance only, so that orders, leaks and dt may be trained or changed.
In the middle, where rates lie between 1/(steps*dt) and some 1/dt, its spacing is what the trapezoidal rule needs for a
decaying exponential (analytic in a strip of width pi/2 in log rate). Beyond, where little mass is left and exponentials
are nearly 1 or 0, it widens smoothly: a lot at the slow end; little at the fast one, because near order 1 the mass at
rate r belongs to the point log(r*dt/(1 - order)), and there the slope in the order is as steep as the mass is small.
The numbers below were found by a search for the fewest points at which, for tolerances from 1e-2 to 1e-9 and up to
32,768 steps, a leak keeps half the tolerance, its slope in the order 4 times it (orders in [0.1, 0.99]), and held
inputs of changing sign 1.5 times it, their slope 13 times.

Source: Trefethen and Weideman, SIAM Review 56 (2014), for the rate of the trapezoidal rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, erfc, exp, log, pi, sqrt


@dataclass(frozen=True, slots=True)
class Grid:
    """Points of the trapezoidal rule.

    Attributes:
        points: log(rate*dt), ascending.
        widths: their spacing (the slope of the map from whole numbers).
        edge: orders above 1 - edge are interpolated between 1 - edge and 1, where the grid would be too short.
        steps: the reach in time.
    """

    points: tuple[float, ...]
    widths: tuple[float, ...]
    edge: float
    steps: int


def grid(steps: int, tolerance: float) -> Grid:
    """Points for relaxations over 1 to `steps` steps, to an absolute error of at most `tolerance` of the initial value.

    Args:
        steps: the reach in time, in steps; beyond it the error grows slowly.
        tolerance: 1e-9 to 0.1.
    """
    digits = log(1 / tolerance)
    inner, slow, fast = (x / (digits + 1) for x in (9.85, 13.4 + 0.38 * digits, 10.45))
    low, high = -log(steps) - 0.25 * digits, log(digits) + 2.5
    before, after = ceil(0.79 * digits / slow), max(1, ceil((0.74 * digits - 2 - high) / fast))
    count = (high - low) / inner
    rows = []
    for k in range(-before, ceil(count) + after + 1):
        left, right = -k / SOFT, (k - count) / SOFT
        bend = (fast - inner) * _ramp(right) - (slow - inner) * _ramp(left)
        width = inner + (fast - inner) * _normal(right) + (slow - inner) * _normal(left)
        rows.append((low + inner * k + SOFT * bend, width))
    return Grid(tuple(r[0] for r in rows), tuple(r[1] for r in rows), min(sqrt(tolerance), 0.1), steps)


SOFT = 1.87  # points over which the spacing changes


def _normal(x: float) -> float:
    """The normal distribution function: the spacing is even again some points further."""
    return erfc(-x / sqrt(2)) / 2


def _ramp(x: float) -> float:
    """The integral of `_normal`."""
    return x * _normal(x) + exp(-x * x / 2) / sqrt(2 * pi)
