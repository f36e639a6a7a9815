"""Methods that keep the whole past, in numpy float64 by direct sums: what layers are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroode._errors import RunError
from neuroode.program.history import History, Method, history, history_method
from neuroode.program.hybrid import Hybrid
from neuroode.program.interpret import Array, Env, evaluate, prologue
from neuroode.program.sums import completed
from neuroode.program.types import CLOCK, Program
from neuroode.solvers.on_numpy import fractional_weights as formulas
from neuroode.solvers.on_numpy.fractional import unit_response

Weights = Callable[[list[tuple[float, float]], float, int], list[Array]]


@dataclass(frozen=True, slots=True)
class Past:
    """A neuron whose steps read its whole past."""

    history: History
    method: Method

    @property
    def program(self) -> Program:
        """Its inputs, parameters, carry and trace."""
        return self.history.hybrid.whole

    def run(self, parameters: Mapping[str, Array], inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The trace (T, B, *size*) by name."""
        return run(self.history, self.method, parameters, inputs)


def with_past(neuron: Any, dt: Any, method: Any) -> Past | None:
    """The neuron as a method of the whole past steps it; None where `method`, or the declared one, is none of these.

    Raises:
        Unsupported: it does not apply.
    """
    found = history_method(neuron.spec.method if method is None else method)
    return None if found is None else Past(history(neuron.analyse(dt, brief=True), found), found)


def run(
    past: History, method: Method, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """The trace (T, B, *size*) by name; arguments as those of `interpret.run`."""
    whole = past.hybrid.whole
    if any(s.name not in inputs for s in whole.sums):
        inputs, _ = completed(whole, parameters, inputs)
    env = prologue(whole, parameters)
    shape = np.broadcast_shapes(*(np.shape(inputs[n]) for n in whole.inputs))
    lanes = _Lanes(past.hybrid, env, shape[1:])
    carry = {s.name: np.broadcast_to(env[s.init], shape[1:]).astype(float) for s in whole.carry}
    memory = _Memory(past, method, lanes, float(parameters["dt"]), shape[0])
    rows: dict[str, list[Array]] = {n: [] for n, _ in whole.trace}
    for t in range(shape[0]):
        now = {n: np.broadcast_to(np.asarray(inputs[n][t], float), shape[1:]) for n in whole.inputs}
        found = memory.step(t, now, carry)
        carry = {s.name: found[f"next.{s.name}"] for s in whole.carry}
        for name, kept in rows.items():
            kept.append(found[f"trace.{name}"])
    return {n: np.stack(kept) if kept else np.zeros(shape) for n, kept in rows.items()}


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Pieces evaluated for all lanes."""

    hybrid: Hybrid
    env: Env
    shape: tuple[int, ...]

    def evaluate(self, piece: Program, known: Mapping[str, Array]) -> dict[str, Array]:
        now = evaluate(piece.body, self.env | {f"x.{n}": v for n, v in known.items()}, piece)
        return {n: np.broadcast_to(now[v], self.shape) for n, v in piece.outputs}

    def vector(self, rows: Mapping[str, Array], kind: str) -> Array:
        return np.stack([rows[f"{kind}.{s}"] for s in self.hybrid.states])

    def named(self, y: Array) -> dict[str, Array]:
        return {f"y.{s}": x for s, x in zip(self.hybrid.states, y, strict=True)}


@dataclass
class _Memory:
    """The past of a run: `values[n]` and `base`, (states, B, *size*); `pending`: what comes to the right side, by
    step."""

    history: History
    method: Method
    lanes: _Lanes
    dt: float
    steps: int
    values: list[list[Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = self.history.hybrid.states
        orders = self.lanes.evaluate(self.history.orders, {CLOCK: np.zeros(())})
        self.terms = [[(orders[f"c.{s}.{k}"][0], orders[f"a.{s}.{k}"][0]) for k in range(n)]
                      for s, n in zip(self.states, self.history.terms, strict=True)]  # fmt: skip
        self.rates: list[Array] = []
        if self.method.name == "mittag_leffler":
            assert self.history.leaks is not None
            found = self.lanes.evaluate(self.history.leaks, {CLOCK: np.zeros(())})
            self.rates = [found[f"l.{s}"][0] for s in self.states]
            if any(np.any(r < 0) for r in self.rates):
                raise RunError(
                    "method mittag_leffler: a right side grows with its own state", hint="method: flmm2 or abm"
                )
        self.kernel = self._stacked(self._weights)
        zero = np.zeros((len(self.states), *self.lanes.shape))
        self.base, self.right = zero, zero
        self.durations = {k[2:]: float(np.max(v)) / self.dt for k, v in orders.items() if k.startswith("t.")}
        self.pending = [zero] * (1 + max([1, *(int(np.ceil(d - 1e-6)) for d in self.durations.values())]))

    def _stacked(self, make: Callable[[list[tuple[float, float]], float], list[Array]]) -> list[Array]:
        """Rows of weights as (n, states, 1, *size*)."""
        columns = []
        for k, terms in enumerate(self.terms):
            size = np.shape(terms[0][0])
            own = []
            for at in np.ndindex(size):
                rate = float(self.rates[k][at]) if self.rates else 0.0
                own.append(make([(float(c[at]), float(a[at])) for c, a in terms], rate))
            rows = [np.stack(r, -1).reshape(-1, *size) for r in zip(*own, strict=True)]
            columns.append(rows)
        return [np.stack(r, 1)[:, :, None] for r in zip(*columns, strict=True)]

    def _weights(self, terms: list[tuple[float, float]], rate: float) -> list[Array]:
        """By row: weights of what `_pushed` gives; the last row is that of the right side at the end of the step."""
        n, h, (c, a) = self.steps + 2, self.dt, terms[0]
        scale = h**a / c
        if self.method.name == "gl":
            found = _gl(terms, h, n)
            return [found[1:], found] if self.method.implicit else [found, 0 * found]
        if self.method.name == "l1":
            found = _l1(a, n) * scale
            return [found[1:], found] if self.method.implicit else [found, 0 * found]
        if self.method.name == "abm":
            ahead = formulas.rectangle_weights(a, n) * scale
            far, near = (w * scale for w in formulas.trapezoid_weights(a, n))
            return [ahead, far, near[1:], near]
        if self.method.name == "flmm2":
            found = formulas.SERIES[self.method.variant](a, n) * scale
            starts = formulas.starting_weights(a, n, self.method.variant, causal=True) * scale
            starts = np.pad(starts, ((0, 0), (0, formulas.MOST - starts.shape[1])))
            return [found[1:], found, *starts.T]
        response = unit_response(a, rate, h, n)
        return [np.diff(response) / c, 1 - rate * response]

    # one step

    def step(self, t: int, inputs: dict[str, Array], carry: dict[str, Array]) -> dict[str, Array]:
        """What `finish` gives, after the past has taken in the step."""
        self.known = {f"c.{n}": v for n, v in carry.items()} | inputs
        early = {n for p in (self.lanes.hybrid.start, self.lanes.hybrid.field) for n in p.inputs if n.startswith("e.")}
        old = np.stack([carry[s] for s in self.states])
        if early:
            self.known |= self.lanes.evaluate(self.lanes.hybrid.guards, self.known | self.lanes.named(old))
        start = self.lanes.vector(self.lanes.evaluate(self.lanes.hybrid.start, self.known), "y")
        self.base = (old if t == 0 else self.base) + start - old
        y = self._flow(t, start)
        return self._finish(y)

    def _slope(self, y: Array, fraction: float) -> Array:
        rows = self.known | self.lanes.named(y) | {"fraction": np.asarray(fraction)}
        return self.lanes.vector(self.lanes.evaluate(self.lanes.hybrid.field, rows), "d") + self.pending[0]

    def _sum(self, row: int, channel: int) -> Array:
        n = len(self.values)
        return sum(self.kernel[row][n - 1 - j] * self.values[j][channel] for j in range(n))

    def _flow(self, t: int, y: Array) -> Array:
        name = self.method.name
        if name == "mittag_leffler":
            if t == 0:
                self.start = y
            self.values.append([self._slope(0 * y, 0.0)])
            return self.kernel[1][t + 1] * self.start + self._sum(0, 0)
        left = self._slope(y, 0.0)
        if name == "abm":
            self.values.append([left, self.right])
            guess = self.base + self._sum(0, 0)
            end = self.base + self._sum(1, 0) + self._sum(2, 1) + self.kernel[3][0] * self._slope(guess, 1.0)
        elif not self.method.implicit:
            self.values.append([left])
            return self.base + self._sum(0, 0)
        else:
            value = (left + self.right) / 2 if name == "flmm2" and t else left if name == "flmm2" else self.right
            self.values.append([value])
            past, weight = self.base + self._sum(0, 0), self.kernel[1][0]
            if name == "flmm2":
                past, weight = self._started(t + 1, past, weight)
            end = self._solved(past, weight, y)
        self.right = self._slope(end, 1.0)
        return end

    def _started(self, m: int, past: Array, weight: Array) -> tuple[Array, Array]:
        """With the starting weights of grid point m."""
        for j, row in enumerate(self.kernel[2:]):
            if j < m:
                past = past + row[m] * self.values[j][0]
            if j == m:
                weight = weight + row[m]
        return past, weight

    def _solved(self, past: Array, weight: Array, y: Array) -> Array:
        """y = past + weight*f(y) by Newton's method with slopes from differences."""
        count = len(y)
        for _ in range(50):
            rest = y - past - weight * self._slope(y, 1.0)
            matrix = np.zeros((*y.shape[1:], count, count))
            for k in range(count):
                small = np.zeros_like(y)
                small[k] = 1e-6 * np.maximum(1.0, np.abs(y[k]))
                slope = weight * (self._slope(y + small, 1.0) - self._slope(y - small, 1.0)) / (2 * small[k])
                matrix[..., :, k] = np.eye(count)[k] - np.moveaxis(slope, 0, -1)
            change = np.moveaxis(np.linalg.solve(matrix, np.moveaxis(rest, 0, -1)[..., None])[..., 0], -1, 0)
            y = y - change
            if np.all(np.abs(change) <= 1e-13 * np.maximum(1.0, np.abs(y))):
                return y
        raise RunError(f"method {self.method}: the implicit step was not solved", hint="a smaller dt")

    def _finish(self, y: Array) -> dict[str, Array]:
        rows = self.known | self.lanes.named(y)
        bits = {n: x for n, x in self.lanes.evaluate(self.lanes.hybrid.guards, rows).items() if n.startswith("e.")}
        acts = {f"j.{n[2:]}": x for n, x in bits.items()}
        found = self.lanes.evaluate(self.lanes.hybrid.finish, rows | bits | acts)
        after = np.stack([found[f"next.{s}"] for s in self.states])
        kept = np.ones_like(y)
        for event, slot in self.history.restarts:
            kept[self.states.index(slot)] *= 1 - bits[f"e.{event}"]
        self.base = after - kept * (y - self.base)
        self.right = self.right * kept
        self.values = [[v * kept for v in row] for row in self.values] if not kept.all() else self.values
        self._kick(self.lanes.evaluate(self.history.kicks, rows | bits | acts))
        return found

    def _kick(self, kicks: Mapping[str, Array]) -> None:
        self.pending = [*self.pending[1:], np.zeros_like(self.pending[0])]
        for event, slot in self.history.impulses:
            self._add(0, slot, kicks[f"k.{event}.{slot}"] / self.dt)
        for event, slot in self.history.currents:
            left = self.durations[f"{event}.{slot}"]
            for k in range(int(np.ceil(left - 1e-6))):
                self._add(k, slot, kicks[f"k.{event}.{slot}"] * min(1.0, left - k))

    def _add(self, k: int, slot: str, amount: Array) -> None:
        self.pending[k] = self.pending[k].copy()
        self.pending[k][self.states.index(slot)] += amount


def _gl(terms: list[tuple[float, float]], h: float, n: int) -> Array:
    if len(terms) == 1:
        c, a = terms[0]
        return formulas.binomial_series(-a, n) * h**a / c
    return _one_over(sum(c * h**-a * formulas.binomial_series(a, n) for c, a in terms))


def _l1(alpha: float, n: int) -> Array:
    from scipy.special import gamma

    lines = formulas.power_difference(np.arange(1, n + 1), 1 - alpha)
    return _one_over(np.diff(lines, prepend=0.0)) * gamma(2 - alpha)


def _one_over(p: Array) -> Array:
    """Coefficients of one over a series."""
    q = np.zeros_like(p)
    q[0] = 1 / p[0]
    for m in range(1, len(p)):
        q[m] = -np.dot(p[1 : m + 1], q[m - 1 :: -1]) / p[0]
    return q
