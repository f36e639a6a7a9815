"""The largest multiplier over two parameters, and where it crosses 1; numbers of the program that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from neuroode.analysis.types import Report
    from neuroode.neuron import Neuron
    from neuroode.spec.types import ParameterDecl

POINTS = 120


@dataclass(frozen=True, slots=True)
class BoundaryMap:
    """`radius` over a grid of two parameters; `drawn`: where the neurons stand."""

    states: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    x_label: str
    y_label: str
    x_scale: str
    y_scale: str
    drawn: tuple[np.ndarray, np.ndarray]


def boundary_map(neuron: Neuron, report: Report, dt: Any, method: str | None) -> BoundaryMap | None:
    """Over the two parameters (or one and dt) that the first bounded set of states depends on; None if none is."""
    from neuroode.program.scheme import largest_multipliers

    assert report.figures is not None
    chosen = _axes(report)
    if chosen is None:
        return None
    states, names = chosen
    ranges = [_range(report, n) for n in names]
    x, y = np.meshgrid(ranges[0][0], ranges[1][0])
    changes = {names[0]: x.ravel(), names[1]: y.ravel()}
    d, program = neuron.discretize(dt, method), neuron.program(dt, method=method)
    radius = largest_multipliers(report, d, program, changes)[states].reshape(x.shape)
    if np.ptp(radius[np.isfinite(radius)]) < 1e-6:  # nothing grows and nothing decays: no picture
        return None
    drawn = tuple(np.broadcast_to(report.figures.parameters[n], (report.figures.drawn,)) for n in names)
    x_label, y_label = (_label(report, n) for n in names)
    return BoundaryMap(states, x, y, radius, x_label, y_label, ranges[0][1], ranges[1][1], (drawn[0], drawn[1]))


def _axes(report: Report) -> tuple[tuple[str, ...], tuple[str, str]] | None:
    """States and the names of both axes: trained parameters of their condition first, then dt."""
    assert report.figures is not None
    trained = {p.name for p in report.system.spec.parameters if p.trainable and p.type == "real"}
    defined = set(report.system.definitions)
    for b in report.boundaries:
        if any(s.name in defined for c in b.conditions or () for s in c.free_symbols):
            continue  # the same boundary in the neuron's own parameters follows
        read = {s.name for c in b.conditions or () for s in c.free_symbols}
        names = [n for n in (p.name for p in report.system.spec.parameters) if n in read & trained]
        names += ["dt"] if "dt" in read and "dt" in report.figures.parameters else []
        if len(names) >= 2:
            return b.states, (names[0], names[1])
    return None


def _range(report: Report, name: str) -> tuple[np.ndarray, str]:
    """Values of an axis, and its scale: bounded domains whole, positive ones by decades around the neurons."""
    assert report.figures is not None
    drawn = np.atleast_1d(report.figures.parameters[name])
    p = next((p for p in report.system.spec.parameters if p.name == name), None)
    low, high = _bounds(p, report) if p else (0.0, np.inf)
    if np.isfinite(low) and np.isfinite(high):
        margin = (high - low) * 1e-4
        return np.linspace(low + margin, high - margin, POINTS), "linear"
    if low == 0 and drawn.min() > 0:
        edges = [e for e in _edges(report, name) if 0 < e < np.inf]
        least, most = min([drawn.min() / 10, *(e / 3 for e in edges)]), max([drawn.max() * 10, *(e * 3 for e in edges)])
        return np.geomspace(least, most, POINTS), "log"
    spread = max(np.ptp(drawn), abs(drawn).max(), 1.0)
    return np.linspace(max(low, drawn.min() - spread), min(high, drawn.max() + spread), POINTS), "linear"


def _edges(report: Report, name: str) -> list[float]:
    """Where the boundary stands for the median neuron."""
    assert report.figures is not None
    values = {n: float(np.median(v.real)) for n, v in report.figures.parameters.items()}
    found = []
    for b in (b for boundary in report.boundaries for b in boundary.solved if b.symbol.name == name):
        for e in (*b.lower, *b.upper):
            at = {s: values[s.name] for s in e.free_symbols if s.name in values}
            value = e.subs(at)
            found += [float(value)] if value.is_real and value.is_number else []
    return found


def _bounds(p: ParameterDecl, report: Report) -> tuple[float, float]:
    from neuroode.program.values import bounds, in_base

    assert report.figures is not None
    values = {n: np.median(v.real) for n, v in report.figures.parameters.items()}
    return bounds(p, in_base(report.system.spec, values))


def _label(report: Report, name: str) -> str:
    unit = next((p.unit for p in report.system.spec.parameters if p.name == name), None)
    if name == "dt" and report.figures:
        unit = report.figures.unit
    return f"{name} ({unit})" if unit else name
