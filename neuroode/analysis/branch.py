"""Curves of fixed points over the held input: along one coordinate where the flow reduces to it, else continued.

Continuation is by pseudo-arclength (Keller 1977): a step along the tangent, then Newton's method with the smallest
correction. Its length is bounded by a number of steps, and by how far the coordinates may leave their boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neuroode.analysis.curve import Reduced, bracketed, function, zeros
from neuroode.analysis.fixed_points import by_newton, eigenvalues
from neuroode.analysis.held import HeldFlow
from neuroode.analysis.polynomials import slope

Array = np.ndarray
STEPS = 600  # of a continuation in one direction
BRANCHES = 4
LEAST, MOST = 1e-6, 0.02  # lengths of a step, of the box
LEAVES = 3.0  # spans of the box
TINY = 1e-6  # imaginary part of an eigenvalue that turns, beside the largest one


@dataclass(frozen=True, slots=True)
class Branch:
    """Fixed points x (N, n) at inputs I (N,), in order along a curve, with eigenvalues (N, n)."""

    x: Array
    I: Array
    eigenvalues: Array

    @property
    def is_stable(self) -> Array:
        return np.all(self.eigenvalues.real < 0, axis=-1)


def balance(values: Array) -> Array:
    """Product of the sums of two eigenvalues (..., n), in units of the largest: 0 where a pair is +-i w, or +-a."""
    n = values.shape[-1]
    with np.errstate(all="ignore"):
        scale = np.abs(values).max(axis=-1, keepdims=True)
        one = values / np.where(scale > 0, scale, 1.0)
    i, j = np.triu_indices(n, 1)
    return np.prod(one[..., i] + one[..., j], axis=-1).real


def turning(values: Array) -> float | None:
    """The angular frequency of the pair on the imaginary axis; None where the pair that cancels is real."""
    i, j = np.triu_indices(len(values), 1)
    k = int(np.argmin(np.abs(values[i] + values[j])))
    w = float(abs(values[i[k]].imag))
    return w if w > TINY * np.abs(values).max() else None


@dataclass(frozen=True)
class Along:
    """The explicit curve: everything as functions of the kept coordinate."""

    flow: HeldFlow
    curve: Reduced

    def branch(self, v: Array) -> Branch:
        I = self.input(v)
        x = self.curve.points(v, I)
        return Branch(x, I, eigenvalues(self.flow.J(x, I)))

    @cached_property
    def _input(self) -> Callable[..., Array]:
        assert self.curve.input is not None
        return function((self.curve.v,), [self.curve.input, slope(self.curve.input, self.curve.v)])

    def input(self, v: Array) -> Array:
        return self._input(v)[..., 0]

    def folds(self) -> list[Branch]:
        """Where the input has an extremum along the curve."""
        return [self.branch(np.array([v])) for v in zeros(lambda v: self._input(v)[..., 1], self.curve.grid)]

    def hopfs(self) -> list[Branch]:
        """Where a pair of eigenvalues crosses the imaginary axis."""
        if len(self.flow.x) == 1:
            return []
        found = zeros(lambda v: balance(self.branch(v).eigenvalues), self.curve.grid)
        return [b for v in found if turning((b := self.branch(np.array([v]))).eigenvalues[0]) is not None]


@dataclass(frozen=True)
class Continued:
    """Branches by continuation, in coordinates y = (x / box, I / scale)."""

    flow: HeldFlow
    branches: tuple[Branch, ...]
    folds: tuple[Branch, ...]
    hopfs: tuple[Branch, ...]
    left_out: int = 0


def continued(flow: HeldFlow) -> Continued:
    """Branches through the fixed points at the held input, in both directions; at most 4, `left_out` counts points on
    others."""
    trace, left_out = _Trace(flow), 0
    branches: list[Branch] = []
    for x in by_newton(flow, flow.at):
        y = trace.scaled(x, flow.at)
        if any(trace.passes(b, y) for b in branches):
            continue
        if len(branches) < BRANCHES:
            branches.append(trace.both_ways(y))
        else:
            left_out += 1
    folds = [e for b in branches for e in trace.events(b, trace.fold)]
    hopfs = [e for b in branches for e in trace.events(b, trace.hopf)]
    hopfs = [b for b in hopfs if turning(b.eigenvalues[0]) is not None]
    return Continued(flow, tuple(branches), tuple(folds), tuple(hopfs), left_out)


class _Trace:
    """Pseudo-arclength steps along f(x, I) = 0."""

    def __init__(self, flow: HeldFlow) -> None:
        low, high = np.array(flow.boxes).T
        self.flow, self.middle, self.span = flow, (low + high) / 2, high - low
        x = self.middle[None]
        push, pull = np.abs(flow.by_input(x, flow.at)).max(), np.abs(flow.J(x, flow.at) * self.span).max()
        self.scale = float(pull / push) if push > 0 and np.isfinite(pull) and pull > 0 else 1.0

    def scaled(self, x: Array, I: float) -> Array:
        return np.append(x / self.span, I / self.scale)

    def matrix(self, y: Array) -> Array:
        """(n, n + 1): slopes of f in y."""
        x, I = y[:-1] * self.span, y[-1] * self.scale
        return np.column_stack([self.flow.J(x, I) * self.span, self.flow.by_input(x, I) * self.scale])

    def tangent(self, y: Array, before: Array | None) -> Array:
        t = np.linalg.svd(self.matrix(y))[2][-1]
        return t if before is None or t @ before >= 0 else -t

    def corrected(self, y: Array) -> Array | None:
        for _ in range(12):
            M = self.matrix(y)
            f = self.flow.f(y[:-1] * self.span, y[-1] * self.scale)
            if not (np.isfinite(M).all() and np.isfinite(f).all()):
                return None
            step = np.linalg.lstsq(M, f, rcond=None)[0]
            y = y - step
            if np.abs(step).max() < 1e-12:
                return y
        return y if np.abs(step).max() < 1e-9 else None

    def walk(self, y: Array, sign: float) -> Iterator[Array]:
        """Points from y in one direction."""
        t, length = sign * self.tangent(y, None), 0.01
        for _ in range(STEPS):
            new = self.corrected(y + length * t)
            while new is None or np.abs(new - y).max() > 3 * length:
                length /= 2
                if length < LEAST:
                    return
                new = self.corrected(y + length * t)
            turned = self.tangent(new, t)
            if turned @ t < 0.995 and length > 1e-4:  # bends too much for this length
                length /= 2
                continue
            y, t, length = new, turned, min(MOST, 1.3 * length)
            if np.abs(y[:-1] - self.middle / self.span).max() > LEAVES:
                return
            yield y

    def both_ways(self, y: Array) -> Branch:
        back = list(self.walk(y, -1.0))
        return self.branch(np.array([*back[::-1], y, *self.walk(y, 1.0)]))

    def branch(self, y: Array) -> Branch:
        x, I = y[:, :-1] * self.span, y[:, -1] * self.scale
        return Branch(x, I, eigenvalues(self.flow.J(x, I)))

    def passes(self, b: Branch, y: Array) -> bool:
        """Whether a branch runs through a point: its nearest one is closer than a step."""
        points = np.column_stack([b.x / self.span, b.I / self.scale])
        return bool(np.abs(points - y).max(axis=1).min() < MOST)

    def fold(self, y: Array) -> float:
        """The determinant of the Jacobian."""
        return float(np.linalg.det(self.flow.J(y[:-1] * self.span, y[-1] * self.scale)))

    def hopf(self, y: Array) -> float:
        return float(balance(self.branch(y[None]).eigenvalues[0])) if len(y) > 2 else 1.0

    def events(self, b: Branch, test: Callable[[Array], float]) -> Iterator[Branch]:
        """Where a test changes sign along a branch, on the curve between two of its points."""
        points = np.column_stack([b.x / self.span, b.I / self.scale])
        values = np.array([test(y) for y in points])
        for k in map(int, np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0)):

            def at(s: float, k: int = k) -> Array:
                guess = (1 - s) * points[k] + s * points[k + 1]
                found = self.corrected(guess)
                return guess if found is None else found

            s = bracketed(lambda s, at=at: test(at(s)), 0.0, 1.0)  # type: ignore[misc]
            if s is not None:
                yield self.branch(at(s)[None])
