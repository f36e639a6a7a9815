"""Phase portraits: dv/dt against v of one coordinate, nullclines with the vector field of two, a projection of more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from neuroode._errors import readable
from neuroode.analysis.held import function
from neuroode.cli import plots

if TYPE_CHECKING:
    from neuroode.analysis.dynamics import Dynamics
    from neuroode.analysis.fixed_points import FixedPoint
    from neuroode.analysis.nullclines import Nullcline

Array = np.ndarray
POINTS = 401
FIELD = "#c4ccd4"  # of the vector field


@dataclass(frozen=True)
class Orbit:
    """A run at a held input: `before` and `after` the resets of each step, (steps, coordinates)."""

    input: float
    before: Array
    after: Array


@dataclass(frozen=True)
class Marks:
    """What stands at one coordinate: its threshold and its reset, where they are numbers."""

    threshold: float | None = None
    reset: float | None = None

    def finite(self) -> list[float]:
        return [x for x in (self.threshold, self.reset) if x is not None and np.isfinite(x)]


def line(axes: Axes, d: Dynamics, orbit: Orbit | None, marks: Marks, unit: str, time: str) -> None:
    """dv/dt against v."""
    (name,), I = d.flow.names, d.flow.input or "input"
    seen = [*(p.at[name] for p in d.fixed_points), *marks.finite()]
    low, high = _window(seen if len(set(seen)) > 1 else [*seen, *d.flow.boxes[0]])
    v = np.linspace(low, high, POINTS)
    held = [d.flow.at, *([orbit.input] if orbit is not None and orbit.input != d.flow.at else [])]
    for k, x in enumerate(held):
        axes.plot(v, d.flow.f(v[:, None], x)[:, 0], color=plots.COLOURS[k], label=f"{I} = {x:.4g}")
    axes.axhline(0, color=plots.GREY, linewidth=0.8)
    _arrows(axes, d, v)
    _points(axes, d.fixed_points, [(p.at[name], 0.0) for p in d.fixed_points])
    _upright(axes, marks)
    axes.set(xlabel=_label(name, unit), ylabel=f"d{readable(name)}/dt" + _per(unit, time), xlim=(low, high))
    axes.set_title("phase line", loc="left")
    _legend(axes, d.fixed_points)


def _arrows(axes: Axes, d: Dynamics, v: Array) -> None:
    """Which way the flow goes between fixed points, at the held input."""
    edges = [v[0], *(p.at[d.flow.names[0]] for p in d.fixed_points if v[0] < p.at[d.flow.names[0]] < v[-1]), v[-1]]
    for a, b in pairwise(edges):
        middle = (a + b) / 2
        speed = float(d.flow.f(np.array([middle]), d.flow.at)[0])
        axes.plot(middle, 0, marker=">" if speed > 0 else "<", color=plots.COLOURS[0], markersize=6, clip_on=False)


def plane(axes: Axes, d: Dynamics, orbit: Orbit | None, marks: tuple[Marks, Marks], units: tuple[str, str]) -> None:
    """Nullclines and vector field of two coordinates, fixed points, and a run with its resets."""
    (x_name, y_name), I = d.flow.names, d.flow.input or "input"
    points = [(p.at[x_name], p.at[y_name]) for p in d.fixed_points]
    x_window, y_window = _plane_windows(points, orbit, marks, d)
    shown = d.flow.at if orbit is None else orbit.input
    _field(axes, d, x_window, y_window, shown)
    for k, n in enumerate(d.nullclines):
        _nullcline(axes, d, n, k, x_window, y_window, d.flow.at, "-")
        if shown != d.flow.at and d.flow.numeric[k].has(d.flow.I):
            _nullcline(axes, d, n, k, x_window, y_window, shown, "--")
    if orbit is not None:
        _orbit(axes, orbit, 0, 1)
    _points(axes, d.fixed_points, points)
    _upright(axes, marks[0])
    axes.set(xlabel=_label(x_name, units[0]), ylabel=_label(y_name, units[1]), xlim=x_window, ylim=y_window)
    axes.set_title("phase plane", loc="left")
    plots.note(
        axes,
        f"field and run at {I} = {shown:.4g}" + (", points at " + f"{d.flow.at:.4g}" if shown != d.flow.at else ""),
    )
    axes.grid(False)
    _legend(axes, d.fixed_points)


def projection(axes: Axes, d: Dynamics, orbit: Orbit | None, marks: Marks, units: tuple[str, str]) -> None:
    """The first and the last of more coordinates: a run, fixed points, where the last one stands still."""
    first, last = d.flow.names[0], d.flow.names[-1]
    points = [(p.at[first], p.at[last]) for p in d.fixed_points]
    if orbit is not None:
        _orbit(axes, orbit, 0, -1)
    if d.curve is not None and d.curve.name == first and not d.curve.others[d.flow.x[-1]].has(d.flow.I):
        low, high = axes.get_xlim() if orbit is not None else d.flow.boxes[0]
        v = np.linspace(low, high, POINTS)
        still = function((d.curve.v,), [d.curve.others[d.flow.x[-1]]])(v)[:, 0]
        axes.plot(v, still, color=plots.COLOURS[1], label=f"d{readable(last)}/dt = 0")
    _points(axes, d.fixed_points, points)
    _upright(axes, marks)
    axes.set(xlabel=_label(first, units[0]), ylabel=_label(last, units[1]))
    axes.set_title(f"{readable(first)} and {readable(last)} of {len(d.flow.names)} states", loc="left")
    if orbit is not None:
        plots.note(axes, f"run at {d.flow.input} = {orbit.input:.4g}")
    _legend(axes, d.fixed_points)


def _plane_windows(
    points: list[tuple[float, float]], orbit: Orbit | None, marks: tuple[Marks, Marks], d: Dynamics
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Around what is drawn."""
    windows = []
    for k in range(2):
        seen = [p[k] for p in points] + marks[k].finite()
        if orbit is not None:
            values = np.concatenate([orbit.before[:, k], orbit.after[:, k]])
            seen += [float(values.min()), float(values.max())]
        windows.append(_window(seen or list(d.flow.boxes[k])))
    return windows[0], windows[1]


def _window(seen: list[float]) -> tuple[float, float]:
    low, high = min(seen), max(seen)
    span = (high - low) or max(abs(high), 1.0)
    return low - 0.15 * span, high + 0.15 * span


def _field(axes: Axes, d: Dynamics, x: tuple[float, float], y: tuple[float, float], I: float) -> None:
    grid = np.stack(np.meshgrid(np.linspace(*x, 60), np.linspace(*y, 60)), axis=-1)
    speed = np.nan_to_num(d.flow.f(grid, I))
    axes.streamplot(
        grid[0, :, 0], grid[:, 0, 1], speed[..., 0], speed[..., 1],
        color=FIELD, linewidth=0.6, arrowsize=0.7, density=1.1, zorder=0,
    )  # fmt: skip


def _nullcline(
    axes: Axes, d: Dynamics, n: Nullcline, k: int, x: tuple[float, float], y: tuple[float, float], I: float, style: str
) -> None:
    """A curve over the coordinate that the flow is not linear in, or a contour of numbers."""
    colour, label = plots.COLOURS[k], f"d{readable(n.name)}/dt = 0" if style == "-" else None
    if label and d.flow.numeric[k].has(d.flow.I):
        label += f" at {d.flow.input} = {I:.4g}"
    elif style == "--":
        label = f"d{readable(n.name)}/dt = 0 at {d.flow.input} = {I:.4g}"
    if n.numeric is None:
        grid = np.stack(np.meshgrid(np.linspace(*x, 200), np.linspace(*y, 200)), axis=-1)
        axes.contour(grid[..., 0], grid[..., 1], d.flow.f(grid, I)[..., k], [0.0], colors=[colour], linestyles=style)
        axes.plot([], [], color=colour, linestyle=style, label=label)
        return
    solved = d.flow.names.index(n.solved)
    free, ends = d.flow.x[1 - solved], (x, y)[1 - solved]
    at = np.linspace(*ends, POINTS)
    found = function((free, d.flow.I), [n.numeric])(at, I)[:, 0]
    inside = (x, y)[solved]
    span = inside[1] - inside[0]
    found = np.where((found > inside[0] - span) & (found < inside[1] + span), found, np.nan)  # no line through a pole
    axes.plot(*((at, found) if solved else (found, at)), color=colour, linestyle=style, label=label)


def _orbit(axes: Axes, orbit: Orbit, i: int, j: int) -> None:
    """The run; a reset as a dotted line."""
    start, stop = orbit.after[:-1][:, [i, j]], orbit.before[1:][:, [i, j]]
    gap = np.full_like(start, np.nan)
    path = np.stack([start, stop, gap], axis=1).reshape(-1, 2)
    axes.plot(path[:, 0], path[:, 1], color="black", linewidth=0.9, label="run")
    jumps = np.any(orbit.before != orbit.after, axis=1)
    for a, b in zip(orbit.before[jumps][:, [i, j]], orbit.after[jumps][:, [i, j]], strict=True):
        axes.plot([a[0], b[0]], [a[1], b[1]], color="black", linewidth=0.8, linestyle=":")


def marker(p: FixedPoint) -> dict[str, Any]:
    """Filled: stable; open: unstable; a square: saddle."""
    shape = "s" if p.kind.startswith("saddle") else "o"
    return {"marker": shape, "markerfacecolor": "black" if p.is_stable else "white", "markeredgecolor": "black"}


def _points(axes: Axes, points: tuple[FixedPoint, ...], at: list[tuple[float, float]]) -> None:
    for p, (x, y) in zip(points, at, strict=True):
        axes.plot(x, y, linestyle="", markersize=7, zorder=5, **marker(p))


def _legend(axes: Axes, points: tuple[FixedPoint, ...]) -> None:
    """Lines, then one entry a kind of fixed point."""
    handles, _ = axes.get_legend_handles_labels()
    kinds = {p.kind.split(",")[0].split(" (")[0]: p for p in points}
    handles += [Line2D([], [], linestyle="", markersize=6, label=kind, **marker(p)) for kind, p in kinds.items()]
    axes.legend(handles=handles, loc="best", fontsize=7.5, handlelength=1.6)


def _upright(axes: Axes, marks: Marks) -> None:
    """Threshold and reset as vertical lines with their names."""
    for x, text in ((marks.threshold, "threshold"), (marks.reset, "reset")):
        if x is not None and np.isfinite(x):
            axes.axvline(x, color=plots.GREY, linewidth=0.9, linestyle=":")
            axes.annotate(
                text, (x, 0.98), xycoords=("data", "axes fraction"), fontsize=7, color=plots.GREY,
                rotation=90, horizontalalignment="right", verticalalignment="top",
            )  # fmt: skip


def _label(name: str, unit: str) -> str:
    return readable(name) + (f" ({unit})" if unit else "")


def _per(unit: str, time: str) -> str:
    return f" ({unit or '1'}/{time})" if time else f" ({unit} per unit of time)" if unit else ""
