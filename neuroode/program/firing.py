"""Firing rate against a held input (f-I curve): runs of the program in numpy, one lane an input.

Rates come from the intervals between events after a transient, (n - 1)/(t_last - t_first), so that a window that cuts
a period changes nothing; fewer than two events, or none in the second half of the window, count as silence. Neurons of
one real state have their rate also by quadrature (`neuroode/analysis/period.py`), which no step length enters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.analysis.dynamics import Dynamics
from neuroode.analysis.period import cycle
from neuroode.expr.units import scale_and_dimension
from neuroode.program import interpret
from neuroode.program.scheme import by_name, median_slots

if TYPE_CHECKING:
    from neuroode.analysis.types import Report
    from neuroode.program.types import Assign, Program
    from neuroode.spec.types import NeuronSpec

Array = np.ndarray
STEPS = 10_000  # of a run, where no duration is given
MOST_STEPS = 2_000_000
COARSE = 3_000  # steps that look for the strength that makes the neuron fire
STRENGTHS = 2.0 ** np.arange(-8, 17, 0.5)
POINTS = 61


@dataclass(frozen=True, slots=True)
class FiringRates:
    """`rates` per second where the neuron's time has a unit, else per unit of time; nan where a run was not finite.

    `counts`: events after the transient. `exact`: by quadrature, None of a neuron with more than one state.
    `swings`: runs without a rate whose states go on oscillating below the threshold of the event.
    """

    input: str
    input_unit: str
    event: str
    unit: str
    currents: Array
    rates: Array
    counts: Array
    exact: Array | None
    dt: float
    duration: float
    transient: float
    evidence: str = "sampled"
    swings: Array | None = None

    @property
    def onset(self) -> tuple[float, float] | None:
        """The least input that was seen to fire, and the rate there."""
        firing = np.flatnonzero(self.rates > 0)
        return (float(self.currents[firing[0]]), float(self.rates[firing[0]])) if len(firing) else None

    def __str__(self) -> str:
        per = f" {self.input_unit}" if self.input_unit else ""
        rows = [f"rate of {self.event} ({self.unit}) against {self.input}, of runs of {self.duration:g} after "
                f"{self.transient:g} at dt = {self.dt:g} ({self.evidence})"]  # fmt: skip
        for k, I in enumerate(self.currents):
            exact = f"  by quadrature {self.exact[k]:.6g}" if self.exact is not None else ""
            small = "; it swings below the threshold" if self.swings is not None and self.swings[k] else ""
            rows.append(
                f"    {self.input} = {I:.6g}{per}: {self.rates[k]:.6g} ({int(self.counts[k])} events{small}){exact}"
            )
        return "\n".join(rows)

    def to_json(self) -> dict[str, object]:
        return {
            "input": self.input, "event": self.event, "unit": self.unit, "dt": self.dt, "duration": self.duration,
            "transient": self.transient, "evidence": self.evidence, "currents": self.currents.tolist(),
            "rates": [float(r) if np.isfinite(r) else None for r in self.rates], "counts": self.counts.tolist(),
            "exact": None if self.exact is None else self.exact.tolist(),
            "swings": None if self.swings is None else self.swings.tolist(),
        }  # fmt: skip


def firing_rates(
    report: Report,
    program: Program,
    dt: float,
    currents: Sequence[float] | Array | None = None,
    *,
    input: str | None = None,
    held: Mapping[str, float] | None = None,
    event: str | None = None,
    duration: float | None = None,
    transient: float | None = None,
    seed: int = 0,
) -> FiringRates:
    """The f-I curve of the neuron with median parameters.

    Args:
        currents: held values, in the input's unit; None looks for where the neuron begins to fire.
        input: the input that is held; None takes the first current.
        held: the other inputs, 0 where nothing is said.
        event: None takes the only one, or the last.
        duration: of a run, in the neuron's unit of time; None takes 10,000 steps.
        transient: of it, left out at its start; None takes a fifth.

    Raises:
        Unsupported: no event, no current, operators or tables.
        RunError: currents or times that are no such numbers.
    """
    spec = report.system.spec
    _refuse(spec, program)
    name, what = _input(spec, input), _event(spec, event)
    steps, skipped = _times(dt, duration, transient)
    values = median_slots(spec, dt, seed) | {"dt": np.asarray(dt)}
    edges = not next(e for e in report.system.events if e.name == what).jumps  # holds while v is above, say
    runs = _Runs(program, values, name, dict(held or {}), what, dt, edges)
    dynamics = Dynamics(report.system, _numbers_of(values), dict(held or {}), name)
    known = [b.input for b in dynamics.bifurcations] if currents is None else []
    given = _range(runs, known) if currents is None else _numbers(currents)
    counts, periods, swings = runs.of(given, steps, skipped)
    text = (spec.dt.unit if spec.dt else None) or ""
    seconds = float(scale_and_dimension(text)[0]) if text else 1.0
    exact = _exact(dynamics, given)
    unit = next(i.unit for i in spec.inputs if i.name == name) or ""
    return FiringRates(
        name, unit, what, "Hz" if text else "per unit of time", given, 1 / (periods * seconds), counts,
        None if exact is None else exact / seconds, dt, steps * dt - skipped, skipped, swings=swings,
    )  # fmt: skip


def _numbers_of(values: Mapping[str, Array]) -> dict[str, complex]:
    return {n: complex(v) for n, v in by_name(values).items()}


def _refuse(spec: NeuronSpec, program: Program) -> None:
    why = "operators" if program.operators else "parameters over time" if program.tables or program.sums else ""
    if why:
        raise Unsupported(f"'{spec.name}' has {why}, so no rate at a held input")


def _input(spec: NeuronSpec, asked: str | None) -> str:
    found = [i.name for i in spec.inputs if i.kind == "current"]
    if not found or (asked is not None and asked not in found):
        what = f"'{asked}' is no current of" if asked else "there is no current in"
        raise Unsupported(
            f"{what} '{spec.name}', so no rate against it", hint=f"currents: {', '.join(found) or 'none'}"
        )
    return asked or found[0]


def _event(spec: NeuronSpec, asked: str | None) -> str:
    found = [e.name for e in spec.events]
    if not found or (asked is not None and asked not in found):
        what = f"'{asked}' is no event of" if asked else "there is no event in"
        raise Unsupported(f"{what} '{spec.name}', so no rate of it", hint=f"events: {', '.join(found) or 'none'}")
    return asked or found[-1]


def _times(dt: float, duration: float | None, transient: float | None) -> tuple[int, float]:
    """Steps, and the time that is left out."""
    whole = STEPS * dt if duration is None else _positive("duration", duration)
    skipped = whole / 5 if transient is None else float(transient)
    steps = int(np.ceil(whole / dt - 1e-9))
    if not 0 <= skipped < whole:
        raise RunError(f"transient is {transient}, duration {whole:g}", hint="0 <= transient < duration")
    if steps > MOST_STEPS:
        raise RunError(f"{steps:,} steps of {dt:g}", hint=f"at most {MOST_STEPS:,}: a shorter duration or a longer dt")
    return steps, skipped


def _positive(name: str, x: Any) -> float:
    if not (np.isreal(x) and np.isfinite(x) and x > 0):
        raise RunError(f"{name} is {x!r}, not a positive number")
    return float(x)


def _numbers(currents: Any) -> Array:
    try:
        found = np.atleast_1d(np.asarray(currents, float))
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise RunError("currents are not a row of finite numbers", hint="currents=[0.0, 0.5, 1.0]")
    return found


class _Range:
    """Least and largest value of every state that was seen, one row a state."""

    low: Array
    high: Array

    def __init__(self) -> None:
        self.low, self.high = np.asarray(np.inf), np.asarray(-np.inf)

    def take(self, state: Mapping[str, Array]) -> None:
        moving = [v for k, v in state.items() if k != "step"] or [np.zeros(1)]
        rows = np.stack(np.broadcast_arrays(*moving))
        self.low, self.high = np.minimum(self.low, rows), np.maximum(self.high, rows)

    @property
    def size(self) -> Array:
        return self.high - self.low


@dataclass
class _Runs:
    """Runs with one lane a current; `edges`: an event that resets nothing counts once until it ends."""

    program: Program
    values: Mapping[str, Array]
    input: str
    held: Mapping[str, float]
    event: str
    dt: float
    edges: bool

    def of(self, currents: Array, steps: int, skipped: float) -> tuple[Array, Array, Array]:
        """Events after the transient, mean intervals, and whether a run without a rate goes on oscillating.

        inf of fewer than two events or of none in the second half of the window, nan of a run that was not finite.
        """
        p, n = self.program, len(currents)
        env = interpret.prologue(p, self.values)
        fixed = env | {f"x.{name}": self._drive(name, currents) for name in p.inputs}
        state = {s.name: np.broadcast_to(env[s.init], (n,)) for s in p.carry}
        trace = dict(p.trace)
        bit, at = trace[self.event], trace.get(f"{self.event}.time")
        counts, first, last = np.zeros(n, int), np.full(n, np.nan), np.full(n, np.nan)
        before = np.zeros(n, bool)
        ranges = [_Range(), _Range(), _Range()]  # of the whole run, its third and its last quarter
        body = _needed(p.body, {bit, *([at] if at else []), *(value for _, value in p.next)})
        for t in range(steps):
            now = interpret.evaluate(body, fixed | {f"c.{k}": v for k, v in state.items()}, p)
            time = t * self.dt + (now[at] if at else self.dt)
            on = np.broadcast_to(now[bit], (n,)) > 0
            fires = on & ~(before & self.edges) & (np.broadcast_to(time, (n,)) > skipped)
            before = on
            first = np.where(fires & (counts == 0), time, first)
            last = np.where(fires, time, last)
            counts = counts + fires
            state = {name: now[value] for name, value in p.next}
            quarter = 4 * t // steps
            for each in (ranges[0], *([ranges[quarter - 1]] if quarter >= 2 else [])):
                each.take(state)
        fine = np.all([np.broadcast_to(np.isfinite(v), (n,)) for v in state.values()], axis=0) if state else True
        lasts = last > (skipped + steps * self.dt) / 2  # silent in the second half: it has come to rest
        with np.errstate(all="ignore"):
            mean = np.where((counts > 1) & lasts, (last - first) / np.maximum(counts - 1, 1), np.inf)
        whole, third, fourth = ranges
        with np.errstate(invalid="ignore"):  # of a state that passes infinity
            moves = fourth.size > np.maximum(0.01 * whole.size, 0.9 * third.size)  # much, and not dying away
        return counts, np.where(fine, mean, np.nan), np.any(moves, axis=0) & np.isinf(mean) & fine

    def _drive(self, name: str, currents: Array) -> Array:
        base = name.split("__")[0].partition("[")[0]
        return currents if base == self.input else np.full(len(currents), self.held.get(base, 0.0))


def _needed(body: Sequence[Assign], wanted: set[str]) -> tuple[Assign, ...]:
    """What some values are made of."""
    kept: list[Assign] = []
    for a in reversed(body):
        if a.name in wanted:
            wanted = wanted | set(a.args)
            kept.append(a)
    return tuple(reversed(kept))


def _range(runs: _Runs, known: Sequence[float]) -> Array:
    """From silence to some times the least strength that fires again and again, with bifurcations that are near."""
    counts, _, _ = runs.of(np.concatenate([STRENGTHS, -STRENGTHS]), COARSE, 0.0)
    up, down = counts[: len(STRENGTHS)] > 2, counts[len(STRENGTHS) :] > 2
    if up[0] and not down[0]:  # begins to fire nearer to 0 than any strength
        low, high = -0.25, 1.0
    elif up[0]:  # fires by itself
        silent = STRENGTHS[np.flatnonzero(~down)[0]] if (~down).any() else 1.0
        low, high = -silent, 2 * silent
    elif up.any():
        low, high = 0.0, 3 * STRENGTHS[np.flatnonzero(up)[0]]
    elif down.any():
        low, high = -3 * STRENGTHS[np.flatnonzero(down)[0]], 0.0
    else:
        low, high = 0.0, 1.0
    near = [x for x in known if low - 3 * (high - low) < x < low + 4 * (high - low)]
    return np.linspace(min([low, *(1.15 * x for x in near)]), max([high, *(1.15 * x for x in near)]), POINTS)


def _exact(dynamics: Dynamics, currents: Array) -> Array | None:
    """By quadrature."""
    if dynamics.refusal:
        return None
    found = cycle(dynamics.system, dynamics.flow)
    return None if found is None else np.array([found.rate(float(I)) for I in currents])
