"""Measured convergence orders: every method on every model, on a window without spikes and with held inputs.

The reference interpreter in float64 against DOP853 with rtol 1e-12 on the flow itself, at eight times of a window of
two reciprocals of the fastest rate, so that all methods are past their first, irregular steps and above rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.integrate import solve_ivp

from neuroode._errors import NeuroodeError, Unsupported
from neuroode.analysis.held import HeldFlow, held_flow
from neuroode.models import names
from neuroode.neuron import Neuron, load
from neuroode.program import interpret
from neuroode.program.types import Program
from neuroode.program.values import initial_values, joined, slots

Array = np.ndarray
METHODS = (
    "auto", "exact", "euler", "semi_implicit", "exp_euler", "strang", "implicit_midpoint", "bilinear", "heun", "rk4",
)  # fmt: skip
TIMES = 8
STEPS = (8, 16, 32, 64, 128)
WINDOW = 2.0  # reciprocals of the fastest rate
NEAR = 0.15  # of a slope to its order
ROUNDING = 1e-10  # relative: errors below are rounding, and a method that stays below is exact
TRIALS = 12  # starts and inputs, until one has no spike


@dataclass(frozen=True, slots=True)
class OrderRow:
    """`declared`: the convergence order, None for an exact step; `measured`: the slope of log error over log dt, None
    where all errors are rounding; `worst`: the largest relative error; `reached`: None where nothing was measured."""

    model: str
    method: str
    taken: str
    declared: int | None
    measured: float | None
    worst: float
    reached: bool | None
    note: str = ""


def orders(models: Iterable[str] | None = None, methods: Sequence[str] = METHODS) -> list[OrderRow]:
    """The table: one row for each model and method that applies; one without a method for a model that has none.

    Args:
        models: names of the zoo; None takes all.
        methods: as in the key `method`.
    """
    return [row for name in (models or names()) for row in of_model(name, load(name), methods)]


def of_model(name: str, neuron: Neuron, methods: Sequence[str] = METHODS) -> Iterator[OrderRow]:
    """The rows of one neuron."""
    try:
        window = Window.of(neuron)
    except NeuroodeError as error:
        yield OrderRow(name, "", "", None, None, np.nan, None, f"not measured: {str(error).splitlines()[0]}")
        return
    for method in methods:
        try:
            found = neuron.discretize(window.declared_dt, method)
        except Unsupported:
            continue
        taken = ", ".join(dict.fromkeys(u.method for u in found.updates))
        errors = np.array([window.error(method, n) for n in STEPS])
        yield _row(name, method, taken, None if found.exact else found.convergence_order, errors)


def _row(name: str, method: str, taken: str, order: int | None, errors: Array) -> OrderRow:
    worst = float(errors.max())
    if not np.isfinite(worst):
        return OrderRow(name, method, taken, order, None, worst, False, "not finite")
    if worst <= ROUNDING:
        note = "" if order is None else "exact on this window: the flow is one that the method does not approximate"
        return OrderRow(name, method, taken, order, None, worst, True, note)
    slope = _slope(errors)
    if order is None or slope is None:
        return OrderRow(name, method, taken, order, slope, worst, False)
    note = f"faster than its order {order} here" if slope > order + NEAR else ""
    return OrderRow(name, method, taken, order, slope, worst, bool(slope >= order - NEAR), note)


def _slope(errors: Array) -> float | None:
    """Of the last three errors above rounding, against halvings of the step."""
    usable = [k for k, e in enumerate(errors) if e > ROUNDING / 100][-3:]
    if len(usable) < 2:
        return None
    return float(-np.polyfit(usable, np.log2(errors[usable]), 1)[0])


@dataclass(frozen=True)
class Window:
    """A start, held inputs and a length without spikes, and the solution in it."""

    neuron: Neuron
    flow: HeldFlow
    declared_dt: float
    values: Mapping[str, Array]
    start: Array
    inputs: Mapping[str, float]
    length: float

    @classmethod
    def of(cls, neuron: Neuron) -> Window:
        """The first of some starts around the inits from which no event occurs.

        Raises:
            Unsupported: no flow that stands alone, or spikes from every start.
        """
        dt = neuron.step_length(None) if neuron.spec.dt is not None else 1.0
        system = neuron.system()
        if not system.flows:
            raise Unsupported("maps only")
        if any(s.name == "dt" for e in system.flows.values() for s in e.free_symbols):
            raise Unsupported("its flow reads dt: another one for each step length")
        read = {s.name.removesuffix("[t]") for e in system.flows.values() for s in e.free_symbols}
        if read & set(system.maps):
            raise Unsupported("its flow reads a map, which moves once a step: another flow for each step length")
        values = initial_values(neuron.spec, dt, (1,), np.random.default_rng(0))
        numbers = {n: complex(np.ravel(v)[0]) for n, v in joined(slots_by_name(neuron, values)).items()} | {"dt": dt}
        for trial in range(TRIALS):
            rng = np.random.default_rng(trial)
            found = cls._drawn(neuron, numbers, dt, values, rng, 0.5 ** (trial // 2))
            if found is not None and found.is_silent:
                return found
        raise Unsupported("every start that was tried has a spike in its window")

    @classmethod
    def _drawn(
        cls, neuron: Neuron, numbers: Mapping[str, complex], dt: float, values: Mapping[str, Array],
        rng: np.random.Generator, size: float,
    ) -> Window | None:  # fmt: skip
        flow = held_flow(neuron.system(), numbers)
        span = np.array([_span(flow.starts.get(n, ())) for n in flow.names])
        init = np.array([next(iter(flow.starts.get(n, ())), 0.0) for n in flow.names])
        start = init + size * 0.3 * span * rng.uniform(-1, 1, len(init))
        rate = np.abs(np.linalg.eigvals(flow.J(start, 0.0))).max(initial=0)
        length = WINDOW / rate if rate > 0 else 10 * dt
        push = np.abs(flow.by_input(start, 0.0)).max(initial=0) if flow.input else 0.0
        at = size * 0.3 * span.max() / (push * length) * rng.uniform(-1, 1) if push > 0 else 0.0
        inputs = {flow.input: at} if flow.input else {}
        window = cls(neuron, held_flow(neuron.system(), numbers, inputs), dt, values, start, inputs, length)
        return window if np.isfinite([*start, length, at, *window.wanted.ravel()]).all() else None

    @cached_property
    def wanted(self) -> Array:
        """The solution at eight times, (8, coordinates)."""
        at = self.inputs.get(self.flow.input or "", 0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = solve_ivp(
                lambda t, y: self.flow.f(y, at), (0, self.length), self.start, "DOP853", rtol=1e-12,
                atol=1e-13 * self.scale, t_eval=self.length * np.arange(1, TIMES + 1) / TIMES,
            )  # fmt: skip
        return found.y.T if found.success else np.full((TIMES, len(self.start)), np.nan)

    @cached_property
    def scale(self) -> Array:
        span = np.array([_span(self.flow.starts.get(n, ())) for n in self.flow.names])
        return np.maximum(span, np.abs(self.start))

    @property
    def is_silent(self) -> bool:
        """Whether no event occurs, by the finest step."""
        run = self._run("auto", STEPS[-1])
        return not any(run.trace[e.name].any() for e in self.neuron.spec.events if e.name in run.trace)

    def error(self, method: str, steps: int) -> float:
        """Largest error at the eight times, relative to each coordinate's scale."""
        run = self._run(method, steps)
        every = steps // TIMES
        found = np.stack([run.trace[_slot(n)].ravel()[every - 1 :: every] for n in self.flow.names], axis=1)
        return float(np.abs((found - self.wanted) / self.scale).max())

    def _run(self, method: str, steps: int) -> interpret.Run:
        dt = self.length / steps
        program: Program = self.neuron.program(self.declared_dt, method=method)
        values = slots(self.neuron.spec, self.values, (1,)) | {"dt": np.asarray(dt)}
        env = interpret.prologue(program, values)
        carry = {s.name: np.broadcast_to(env[s.init], (1, 1)) for s in program.carry}
        carry |= {_slot(n): np.full((1, 1), v) for n, v in zip(self.flow.names, self.start, strict=True)}
        x = {n: np.full((steps, 1, 1), self.inputs.get(n, 0.0)) for n in program.inputs}
        with np.errstate(all="ignore"):
            return interpret.run(program, values, x, carry)


def slots_by_name(neuron: Neuron, values: Mapping[str, Array]) -> dict[str, Array]:
    return {n.removeprefix("p."): v for n, v in slots(neuron.spec, values, (1,)).items()}


def _span(marks: tuple[float, ...]) -> float:
    return (max(marks) - min(marks) if marks else 0.0) or max((abs(m) for m in marks), default=0.0) or 1.0


def _slot(name: str) -> str:
    """`real(u)` as the carry has it: `u.re`."""
    for word, part in (("real(", ".re"), ("imag(", ".im")):
        if name.startswith(word):
            return name[len(word) : -1] + part
    return name


def text(rows: Sequence[OrderRow]) -> str:
    """The table as text: a row a model, a column a method."""
    found = {(r.model, r.method): r for r in rows}
    columns = [m for m in METHODS if any(r.method == m for r in rows)]
    lines = [["model", *columns]]
    for model in dict.fromkeys(r.model for r in rows):
        lines.append([model, *(_cell(found.get((model, m))) for m in columns)])
    widths = [max(len(line[j]) for line in lines) for j in range(len(lines[0]))]
    table = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = [f"{r.model}{f', {r.method}' if r.method else ''}: {r.note}" for r in rows if r.note]
    return "\n".join([*table, *notes])


def _cell(row: OrderRow | None) -> str:
    if row is None:
        return "-"
    if row.measured is None:
        return "exact" if row.reached else "!"
    return f"{row.measured:.2f}" + ("" if row.reached else " !")
