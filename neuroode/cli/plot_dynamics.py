"""The panels of a nonlinear neuron: phase portrait, fixed points over the held input, firing rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from neuroode._errors import NeuroodeError, readable
from neuroode.analysis.period import reset_of, threshold_of
from neuroode.cli import plots
from neuroode.cli.portrait import Marks, Orbit, line, plane, projection

if TYPE_CHECKING:
    from neuroode.analysis.bifurcations import Bifurcation, Diagram
    from neuroode.analysis.branch import Branch
    from neuroode.analysis.dynamics import Dynamics
    from neuroode.neuron import Neuron
    from neuroode.program.firing import FiringRates

Array = np.ndarray
Panel = Callable[[Axes], None]
PERIODS = 6  # of a run that is drawn
STEPS = (200, 20_000)
MARKERS = {"saddle-node": "D", "Hopf": "*"}


def panels(neuron: Neuron, d: Dynamics, dt: float, method: str | None, rates: FiringRates | None) -> list[Panel]:
    """What can be drawn of a flow with held inputs; empty where it has none."""
    if d.refusal:
        return []
    orbit, marks = orbit_of(neuron, d, dt, method, rates), marks_of(d)
    found: list[Panel] = [lambda axes: _portrait(axes, d, orbit, marks)]
    if d.diagram is not None and d.diagram.branches:
        shown = d.diagram
        found.append(lambda axes: _diagram(axes, d, shown, marks, rates))
    if rates is not None and np.any(rates.rates > 0):
        found.append(lambda axes: _rates(axes, d, rates))
    return found


def rates_of(neuron: Neuron, d: Dynamics, dt: Any, method: str | None) -> FiringRates | None:
    """None where there is no event, no current, or a step that does not run."""
    if d.refusal or not neuron.spec.events:
        return None
    try:
        return neuron.firing_rates(None, dt, method=method, input=d.flow.input, held=_others(d))
    except NeuroodeError:
        return None


def _others(d: Dynamics) -> dict[str, float]:
    return {n: x for n, x in d.inputs.items() if n != d.flow.input}


def marks_of(d: Dynamics) -> tuple[Marks, ...]:
    """Threshold and reset of each coordinate."""
    known, found = dict(d.flow.values), []
    for name in d.flow.names:
        mark = Marks()
        for event in d.system.events:
            at = threshold_of(d.system, event, name, known)
            jump = next((j for j in event.jumps if j.state == name), None)
            if at is not None:
                mark = Marks(at, None if jump is None else reset_of(event, at, known))
        found.append(mark)
    return tuple(found)


def orbit_of(neuron: Neuron, d: Dynamics, dt: float, method: str | None, rates: FiringRates | None) -> Orbit | None:
    """A run at the held input that was asked for, else at one that makes the neuron fire."""
    I, steps = d.flow.at, STEPS[1] // 4
    if rates is not None and np.any(rates.rates > 0):
        I = I if d.flow.input in d.inputs else _lively(rates)
        k = int(np.argmin(np.abs(rates.currents - I)))
        seconds = 1.0 if rates.unit != "Hz" else _seconds(d)
        steps = int(PERIODS / (rates.rates[k] * seconds * dt)) if rates.rates[k] > 0 else steps
    steps = int(np.clip(steps, *STEPS))
    x = {i.name: np.full((steps, 1, 1), _held(d, i.name, I)) for i in neuron.spec.inputs if not i.axes}
    if any(i.axes for i in neuron.spec.inputs) or not x:
        return None
    try:
        trace = neuron.simulate(x, dt, method=method)
    except NeuroodeError:
        return None
    after = np.stack([c for n in d.flow.states for c in _real(_path(trace, n))], axis=-1)
    before = np.stack([c for n in d.flow.states for c in _real(_path(trace, n, ".before"))], axis=-1)
    fine = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    stop = len(fine) if fine.all() else int(np.argmin(fine))
    return Orbit(I, _cut(before[:stop], marks_of(d)), after[:stop]) if stop > 1 else None


def _path(trace: Mapping[str, Array], name: str, when: str = "") -> Array:
    """(T,) of a state or of one element of an array, of which `z__0_1` is z[0, 1]."""
    base, _, index = name.partition("__")
    found = trace.get(f"{base}{when}", trace[base])[:, 0, 0]
    at: tuple[Any, ...] = (slice(None), *map(int, index.split("_"))) if index else (...,)
    return found[at]


def _cut(before: Array, marks: tuple[Marks, ...]) -> Array:
    """A step that ends beyond the threshold is drawn up to it."""
    tops = [m.threshold if m.threshold is not None and m.reset is not None else np.inf for m in marks]
    return np.minimum(before, tops)


def _seconds(d: Dynamics) -> float:
    from neuroode.expr.units import scale_and_dimension

    unit = d.system.spec.dt.unit if d.system.spec.dt else None
    return float(scale_and_dimension(unit)[0]) if unit else 1.0


def _lively(rates: FiringRates) -> float:
    """Half as much again as the least input that fires."""
    firing = np.flatnonzero(rates.rates > 0)
    onset = rates.currents[firing[0]]
    return float(rates.currents[firing[np.argmin(np.abs(rates.currents[firing] - (onset + 0.5 * abs(onset))))]])


def _held(d: Dynamics, name: str, I: float) -> float:
    return I if name == d.flow.input else float(d.inputs.get(name, 0.0))


def _real(x: Array) -> Iterator[Array]:
    yield from (x.real, x.imag) if np.iscomplexobj(x) else (x,)


def _units(d: Dynamics) -> tuple[str, ...]:
    known = {s.name: s.unit or "" for s in d.system.spec.states}
    return tuple(known.get(n, "") for n in d.flow.names)


def _portrait(axes: Axes, d: Dynamics, orbit: Orbit | None, marks: tuple[Marks, ...]) -> None:
    units, time = _units(d), (d.system.spec.dt.unit if d.system.spec.dt else None) or ""
    if len(d.flow.names) == 1:
        line(axes, d, orbit, marks[0], units[0], time)
    elif len(d.flow.names) == 2:
        plane(axes, d, orbit, (marks[0], marks[1]), (units[0], units[1]))
    else:
        projection(axes, d, orbit, marks[0], (units[0], units[-1]))


def _input_label(d: Dynamics, name: str) -> str:
    unit = next((i.unit for i in d.system.spec.inputs if i.name == name), None)
    return f"held {readable(name)}" + (f" ({unit})" if unit else "")


def _diagram(axes: Axes, d: Dynamics, shown: Diagram, marks: tuple[Marks, ...], rates: FiringRates | None) -> None:
    """One coordinate of the fixed points over the input: stable solid, unstable dashed."""
    k = d.flow.names.index(d.curve.name) if d.curve is not None else 0
    low, high = _input_window(shown, rates, d.flow.at)
    for b in shown.branches:
        _branch(axes, b, k, low, high)
    inside = [b for b in shown.bifurcations if low <= b.input <= high]
    for point in inside:
        axes.plot(point.input, point.at[d.flow.names[k]], linestyle="", zorder=5, **_style(point))
    unit = _units(d)[k]
    axes.set(xlabel=_input_label(d, shown.name), ylabel=readable(d.flow.names[k]) + (f" ({unit})" if unit else ""))
    axes.set(xlim=(low, high), ylim=_heights(shown, k, low, high, marks[k]))
    axes.set_title("fixed points", loc="left")
    handles = [Line2D([], [], color=plots.COLOURS[0], label="stable"),
               Line2D([], [], color=plots.COLOURS[1], linestyle="--", label="unstable")]  # fmt: skip
    handles += [Line2D([], [], linestyle="", label=f"{b.kind}, {b.input:.5g}", **_style(b)) for b in inside[:6]]
    axes.legend(handles=handles, loc="best", fontsize=7.5)


def _style(b: Bifurcation) -> dict[str, Any]:
    size = 11 if b.kind == "Hopf" else 6
    return {"marker": MARKERS[b.kind], "color": plots.COLOURS[2 if b.kind == "Hopf" else 3], "markersize": size,
            "markeredgecolor": "black", "markeredgewidth": 0.6}  # fmt: skip


def _input_window(shown: Diagram, rates: FiringRates | None, at: float) -> tuple[float, float]:
    seen = [b.input for b in shown.bifurcations] + [at]
    if rates is not None and np.any(rates.rates > 0) and not shown.bifurcations:
        seen += [float(rates.currents[0]), float(rates.currents[-1])]
    low, high = min(seen), max(seen)
    span = (high - low) or max(abs(high), 1.0)
    return low - 0.15 * span, high + 0.3 * span


def _branch(axes: Axes, b: Branch, k: int, low: float, high: float) -> None:
    """Pieces of equal stability inside the window."""
    margin = high - low
    inside = np.isfinite(b.I) & (low - margin < b.I) & (high + margin > b.I) & np.isfinite(b.x[:, k])
    for stable, colour, style in ((True, plots.COLOURS[0], "-"), (False, plots.COLOURS[1], "--")):
        same = inside & (b.is_stable == stable)
        joined = same | np.concatenate([[False], same[:-1] & inside[1:]])  # up to where the next piece begins
        axes.plot(np.where(joined, b.I, np.nan), np.where(joined, b.x[:, k], np.nan), color=colour, linestyle=style)


def _heights(shown: Diagram, k: int, low: float, high: float, marks: Marks) -> tuple[float, float]:
    """What the branches hold in the window of the input, near the bifurcations where there are some."""
    inside = [np.isfinite(b.x[:, k]) & (low <= b.I) & (high >= b.I) for b in shown.branches]
    values = np.concatenate([b.x[here, k] for b, here in zip(shown.branches, inside, strict=True)])
    seen = list(values) or [0.0, 1.0]
    bottom, top = float(min(seen)), float(max(seen))
    near = [list(b.at.values())[k] for b in shown.bifurcations if low <= b.input <= high]
    ends = marks.finite()
    if near and ends:  # a branch that runs far away would flatten what matters
        reach = max(abs(x - n) for x in [*ends, *near] for n in near) or (top - bottom)
        bottom, top = max(bottom, min(near) - 1.5 * reach), min(top, max(near) + 1.5 * reach)
    span = (top - bottom) or 1.0
    return bottom - 0.08 * span, top + 0.08 * span


def _rates(axes: Axes, d: Dynamics, rates: FiringRates) -> None:
    """Runs as points, the quadrature as a line, bifurcations as uprights."""
    if rates.exact is not None:
        axes.plot(rates.currents, rates.exact, color=plots.COLOURS[1], label="quadrature of 1/f")
    axes.plot(
        rates.currents, rates.rates, linestyle="", marker="o", markersize=3.5, color=plots.COLOURS[0], label="runs"
    )
    inside = [b for b in d.bifurcations if rates.currents[0] <= b.input <= rates.currents[-1]]
    for b in inside:
        style, colour = ("-.", plots.COLOURS[2]) if b.kind == "Hopf" else (":", plots.COLOURS[3])
        axes.axvline(b.input, color=colour, linewidth=1.2, linestyle=style, label=f"{b.kind}, {b.input:.5g}")
    axes.set(xlabel=_input_label(d, rates.input), ylabel=f"rate of {readable(rates.event)} ({rates.unit})")
    axes.set_ylim(bottom=-0.03 * float(np.nanmax(rates.rates)))
    axes.set_title("f-I curve", loc="left")
    plots.note(axes, f"sampled, dt = {rates.dt:g}")
    axes.legend(loc="best", fontsize=7.5)
