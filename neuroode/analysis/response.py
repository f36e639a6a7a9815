"""Frequency responses in numbers: of a flow x' = A x + B u at s = i W, of a step x[t] = M x[t-1] + N u at e^(i W dt).

y = C x + D u in both; W is an angular frequency. An input of impulses counts as a rate of area per time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq, minimize_scalar

Array = np.ndarray
GRID = 4000


@dataclass(frozen=True, slots=True)
class StateSpace:
    """One linear system; `dt` is None for a flow. Inputs and rows (outputs) by name; `scale` per input."""

    A: Array
    B: Array
    C: Array
    D: Array
    inputs: tuple[str, ...]
    rows: tuple[str, ...]
    dt: float | None = None

    def at(self, frequencies: Array) -> Array:
        """H (W, rows, inputs) at angular frequencies."""
        w = np.atleast_1d(np.asarray(frequencies, float))
        s = 1j * w if self.dt is None else np.exp(1j * w * self.dt)
        left = s[:, None, None] * np.eye(len(self.A)) - self.A
        with np.errstate(all="ignore"):
            return self.C @ _solve(left, self.B) + self.D

    def channel(self, row: str, name: str) -> StateSpace:
        """One row and one input, with the states that lie between them."""
        i, j = self.rows.index(row), self.inputs.index(name)
        reads = self.A != 0
        between = _reached(reads, self.B[:, j] != 0) & _reached(reads.T, self.C[i] != 0)
        at = np.flatnonzero(between)
        return replace(
            self, A=self.A[np.ix_(at, at)], B=self.B[at, j : j + 1], C=self.C[i : i + 1, at],
            D=self.D[i : i + 1, j : j + 1], rows=(row,), inputs=(name,),
        )  # fmt: skip

    @property
    def eigenvalues(self) -> Array:
        return np.linalg.eigvals(self.A)


def _reached(reads: Array, start: Array) -> Array:
    """All that follows from some states, one edge after the other."""
    found = start.copy()
    while (more := found | reads[:, found].any(axis=1)).sum() > found.sum():
        found = more
    return found


def _solve(left: Array, right: Array) -> Array:
    try:
        return np.linalg.solve(left, np.broadcast_to(right, (*left.shape[:-1], right.shape[-1])))
    except np.linalg.LinAlgError:  # a pole on the axis: only that frequency has no finite answer
        rows = [_solve(m, right) if len(left) > 1 else np.full_like(right, np.inf, complex) for m in left[:, None]]
        return np.stack([r[0] if r.ndim == 3 else r for r in rows])


@dataclass(frozen=True, slots=True)
class Peak:
    """Gain of one channel: at frequency 0, largest, and the band around it where |H|^2 is at least half of that.

    The gain is inf at an undamped pole. `band` is (low, high); low is 0 where the gain does not fall below that towards
    0, high None where it does not above.
    """

    dc: float
    frequency: float
    gain: float
    band: tuple[float, float | None]

    @property
    def bandwidth(self) -> float | None:
        return None if self.band[1] is None else self.band[1] - self.band[0]


def peak(one: StateSpace) -> Peak:
    """The resonance of a system with one input and one row."""
    high = np.pi / one.dt if one.dt else 20 * max(1e-300, float(np.abs(one.eigenvalues).max(initial=0)))
    undamped = [p for p in _poles(one) if abs(p.real) * (one.dt or 1 / max(1e-300, abs(p))) <= 1e-12]
    grid = _grid(one, high)
    if undamped:
        frequency = abs(undamped[0].imag)
        return Peak(_gain(one, 0.0) if frequency else np.inf, frequency, np.inf, (frequency, frequency))
    gains = np.abs(one.at(grid)[:, 0, 0])
    best = int(np.nanargmax(np.where(np.isfinite(gains), gains, -1)))
    frequency, gain = _refined(one, grid, gains, best)
    dc = float(gains[0])
    return Peak(dc, frequency, gain, _band(one, grid, frequency, gain))


def _grid(one: StateSpace, high: float) -> Array:
    """Even and logarithmic points up to `high`, dense around each pole."""
    dense = [abs(p.imag) + abs(p.real) * np.linspace(-4, 4, 81) for p in _poles(one)]
    logs = np.geomspace(high * 1e-6, high, GRID // 4)
    points = np.concatenate([[0.0], np.linspace(0, high, GRID), logs, *dense])
    return np.unique(points[(points >= 0) & (points <= high)])


def _poles(one: StateSpace) -> Array:
    """Of a flow; those of a step as the rates that would give them."""
    found = one.eigenvalues.astype(complex)
    return found if one.dt is None else np.log(np.where(found == 0, 1e-300, found)) / one.dt


def _gain(one: StateSpace, w: float) -> float:
    return float(np.abs(one.at(np.array([w]))[0, 0, 0]))


def _refined(one: StateSpace, grid: Array, gains: Array, best: int) -> tuple[float, float]:
    if best in (0, len(grid) - 1):
        return float(grid[best]), float(gains[best])
    found = minimize_scalar(
        lambda w: -_gain(one, w), bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-12}
    )
    better = -found.fun >= gains[best]
    return (float(found.x), float(-found.fun)) if better else (float(grid[best]), float(gains[best]))


def _band(one: StateSpace, grid: Array, frequency: float, gain: float) -> tuple[float, float | None]:
    half = gain / np.sqrt(2)
    above = np.concatenate([[frequency], grid[grid > frequency]])
    below = np.concatenate([[frequency], grid[grid < frequency][::-1]])
    low, high = _crossing(one, below, half), _crossing(one, above, half)
    return (0.0 if low is None else low), high


def _crossing(one: StateSpace, points: Array, half: float) -> float | None:
    """The first frequency along the points at which the gain has fallen to `half`."""
    gains = np.abs(one.at(points)[:, 0, 0])
    for (a, b), end in zip(pairwise(points), gains[1:], strict=True):
        if end < half:
            return float(brentq(lambda w: _gain(one, w) - half, a, b, xtol=1e-14 * max(abs(a), abs(b), 1e-300)))
    return None
