"""Where the leaks of a sum of exponentials lie: log(rate*dt) on a grid that is graded towards both ends.

The grid depends on the number of steps and the tolerance only, so that orders, leaks and dt may be trained or changed.
In the middle, where rates lie between 1/(steps*dt) and some 1/dt, its spacing is what the trapezoidal rule needs for a
decaying exponential (analytic in a strip of width pi/2 in log rate); beyond, where little mass is left and exponentials
are nearly 1 or 0, it widens smoothly to twice that. Without the far ends orders near 1 would lose digits: there the
mass is spread over the ends of the grid (`soe_kernels.py`).

Source: Trefethen and Weideman, SIAM Review 56 (2014), for the rate of the trapezoidal rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, log, log1p


@dataclass(frozen=True, slots=True)
class Grid:
    """`points`: log(rate*dt), ascending; `widths`: their spacing (the slope of the map from whole numbers)."""

    points: tuple[float, ...]
    widths: tuple[float, ...]


def grid(steps: int, tolerance: float) -> Grid:
    """Points for relaxations over 1 to `steps` steps, to an absolute error of at most `tolerance` of the initial value.

    Args:
        steps: the reach in time, in steps; beyond it the error grows slowly.
        tolerance: 1e-9 to 0.1.
    """
    digits = log(1 / tolerance)
    fine = tolerance < 1e-7
    inner, outer = 10.2 / (digits + 1), (16.0 if fine else 20.0) / (digits + 1)
    low = -log(steps) - (0.25 if fine else 0.2) * digits
    high = log(digits) + 1.8
    beyond, turn = ceil(max(digits - 3, 1) / outer), digits / 12  # points at each end; how soft the change of slope is
    count = (high - low) / inner
    rows = [_point(k, low, count, inner, outer, turn) for k in range(-beyond, ceil(count) + beyond + 1)]
    return Grid(tuple(r[0] for r in rows), tuple(r[1] for r in rows))


def _point(k: int, low: float, count: float, inner: float, outer: float, turn: float) -> tuple[float, float]:
    right, left = (k - count) / turn, -k / turn
    bend = turn * (_softplus(right) - _softplus(left))
    return low + inner * k + (outer - inner) * bend, inner + (outer - inner) * (_sigmoid(right) + _sigmoid(left))


def _softplus(x: float) -> float:
    return max(x, 0.0) + log1p(exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > -700 else 0.0
