"""The picture of an analysis: of nonlinear flows the phase portrait, fixed points over the input and firing rates; of
linear parts eigenvalues in the plane, multipliers, frequency responses, the divergence boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuroode._errors import RunError, readable
from neuroode.analysis.figures import INSIDE
from neuroode.cli import plot_dynamics, plots
from neuroode.cli.boundary_map import BoundaryMap, boundary_map

if TYPE_CHECKING:
    from neuroode.analysis.figures import Channel, Figures
    from neuroode.analysis.types import Report
    from neuroode.neuron import Neuron
    from neuroode.program.firing import FiringRates

MAX_CHANNELS = 4
Panel = Callable[[Figure, Axes], None]


def draw(
    neuron: Neuron, report: Report, dt: Any, method: str | None, kind: str, rates: FiringRates | None = None
) -> bytes:
    """The file of the picture; `rates` are computed where they are not given.

    Raises:
        RunError: the neuron has no linear part, or no step.
    """
    name = report.system.spec.name
    if report.figures is None:
        raise RunError(f"'{name}' declares no dt", hint="--dt X")
    with plots.style():
        panels = [*_nonlinear(neuron, report, dt, method, rates), *_linear(neuron, report, dt, method)]
        if not panels:
            why = f" ({report.dynamics.refusal})" if report.dynamics and report.dynamics.refusal else ""
            raise RunError(f"'{name}' has no linear part: there is nothing to draw{why}",
                           hint="neuroode simulate draws a run")  # fmt: skip
        return plots.as_bytes(_figure(report, report.figures, panels), kind)


def _nonlinear(neuron: Neuron, report: Report, dt: Any, method: str | None, rates: FiringRates | None) -> list[Panel]:
    """Of a flow that is not linear."""
    d = report.dynamics
    if d is None or report.is_linear or report.figures is None:
        return []
    rates = rates or plot_dynamics.rates_of(neuron, d, dt, method)
    return [_alone(p) for p in plot_dynamics.panels(neuron, d, report.figures.dt, method, rates)]


def _of_figures(panel: Callable[[Axes, Figures, Report], None], f: Figures, report: Report) -> Panel:
    return lambda figure, axes: panel(axes, f, report)


def _alone(panel: Callable[[Axes], None]) -> Panel:
    """A panel that needs nothing of the figure."""
    return lambda figure, axes: panel(axes)


def _linear(neuron: Neuron, report: Report, dt: Any, method: str | None) -> list[Panel]:
    """Of linear flows and maps."""
    f = report.figures
    if f is None or not f.modes:
        return []
    shown = [p for p in (_plane, _circle, _responses) if p is not _plane or _has_plane(report, f)]
    shown = [p for p in shown if p is not _responses or (f.step is not None and f.channels())]
    found = [_of_figures(p, f, report) for p in shown]
    edge = boundary_map(neuron, report, dt, method)
    return [*found, lambda figure, axes: _boundary(figure, axes, f, edge)] if edge is not None else found


def _figure(report: Report, f: Figures, panels: list[Panel]) -> Figure:
    count = len(panels)
    columns = count if count < 4 else 2 if count == 4 else 3
    rows = -(-count // columns)
    figure = plots.new_figure(4.6 * columns, 3.9 * rows + 0.4)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for one, panel in zip(axes, panels, strict=False):
        panel(figure, one)
    for one in axes[count:]:
        one.set_visible(False)
    unit = f" {f.unit}" if f.unit else ""
    drawn = f", {f.drawn} neurons drawn from their inits" if f.drawn > 1 else ""
    figure.suptitle(f"{report.system.spec.name}: {_methods(f)}dt = {f.dt:g}{unit}{drawn}", fontsize=11)
    return figure


def _methods(f: Figures) -> str:
    """Of the linear parts, whose steps are drawn."""
    if not f.modes:
        return ""
    return (", ".join(dict.fromkeys(m.method for m in f.modes if m.method != "map")) or "map") + ", "


def _has_plane(report: Report, f: Figures) -> bool:
    return bool(report.regions) and any(m.eigenvalue is not None and m.method in report.regions for m in f.modes)


def _names(f: Figures) -> dict[str, str]:
    """States -> colour."""
    names = list(dict.fromkeys(", ".join(m.states) for m in f.modes))
    return {n: plots.COLOURS[i % len(plots.COLOURS)] for i, n in enumerate(names)}


def _plane(axes: Axes, f: Figures, report: Report) -> None:
    """lambda dt, and where |R| <= 1."""
    shown = [(m, m.eigenvalue * f.dt) for m in f.modes if m.eigenvalue is not None and m.method in report.regions]
    everything = np.concatenate([np.concatenate([z, z.conj()]) for _, z in shown])
    method = shown[0][0].method
    region = report.regions[method]
    low, up = _window(everything, region.is_half_plane)
    x, y = np.meshgrid(np.linspace(*low, 400), np.linspace(*up, 400))
    size = np.abs(region(x + 1j * y))
    axes.contourf(x, y, size, [0, 1], colors=["#dcebf5"])
    axes.contour(x, y, size, [1], colors=[plots.GREY], linewidths=1)
    for m, z in shown:
        _points(axes, np.concatenate([z, z.conj()]), _names(f)[", ".join(m.states)])
    axes.axhline(0, color=plots.GREY, linewidth=0.6)
    axes.axvline(0, color=plots.GREY, linewidth=0.6)
    axes.set(xlabel="Re λ·dt", ylabel="Im λ·dt", xlim=low, ylim=up)
    axes.set_title("eigenvalues of the flow", loc="left")
    plots.note(axes, f"shaded: {method} is stable")
    if len(_names(f)) > 1:
        axes.legend(handles=_legend(f, only=[", ".join(m.states) for m, _ in shown]), loc="upper left", fontsize=8)


def _window(z: np.ndarray, half_plane: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    reach = 1.2 * float(np.abs(z).max())
    if half_plane and reach > 0:
        return (-1.1 * reach, 0.35 * reach), (-reach, reach)
    return (min(-2.4, -reach), max(0.7, 1.3 * float(z.real.max()))), (-max(1.5, reach), max(1.5, reach))


def _points(axes: Axes, z: np.ndarray, colour: str) -> None:
    z = np.unique(np.round(z, 12))
    size, alpha = (30, 1.0) if len(z) <= 8 else (7, 0.4)
    axes.scatter(z.real, z.imag, s=size, color=colour, alpha=alpha, linewidths=0, zorder=3)


def _legend(f: Figures, only: list[str] | None = None) -> list[Line2D]:
    rows = [(n, c) for n, c in _names(f).items() if only is None or n in only]
    return [Line2D([], [], linestyle="", marker="o", markersize=5, color=c, label=readable(n)) for n, c in rows]


def _circle(axes: Axes, f: Figures, _: Report) -> None:
    turn = np.exp(1j * np.linspace(0, 2 * np.pi, 400))
    axes.fill(turn.real, turn.imag, color="#dcebf5", linewidth=0)
    axes.plot(turn.real, turn.imag, color=plots.GREY, linewidth=1)
    reach = 1.15
    for m in f.modes:
        z = np.concatenate([m.multiplier, m.multiplier.conj()])
        reach = max(reach, 1.08 * float(np.abs(z[np.isfinite(z)]).max(initial=0)))
        _points(axes, z, _names(f)[", ".join(m.states)])
    axes.axhline(0, color=plots.GREY, linewidth=0.6)
    axes.axvline(0, color=plots.GREY, linewidth=0.6)
    axes.set(xlabel="real part", ylabel="imaginary part", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_title("multipliers of a step", loc="left")
    plots.note(axes, "shaded: no growth")
    if len(_names(f)) > 1:
        axes.legend(handles=_legend(f), loc="upper left", fontsize=8)


def _responses(axes: Axes, f: Figures, _: Report) -> None:
    """|H| of flow (solid) and step (dashed) up to the frequency where sampling ends."""
    assert f.step is not None
    nyquist = np.pi / f.dt
    channels = _chosen(f)
    w = np.unique(np.concatenate([np.geomspace(_lowest(f, nyquist), nyquist, 1500), *(_around(c) for c in channels)]))
    w = w[(w > 0) & (w <= nyquist)]
    several = len(f.step.inputs) > 1
    for i, c in enumerate(channels):
        colour = plots.COLOURS[i % len(plots.COLOURS)]
        if f.flow is not None and c.flow is not None:
            gain = np.abs(f.flow.channel(c.row, c.input).at(w)[:, 0, 0])
            axes.loglog(w, gain, color=colour, alpha=0.55, linewidth=2.6)
        gain = np.abs(f.step.channel(c.row, c.input).at(w)[:, 0, 0])
        axes.loglog(
            w, gain, color=colour, linestyle="--", label=readable(c.row + (f" from {c.input}" if several else ""))
        )
    axes.axvline(nyquist, color=plots.GREY, linewidth=1, linestyle=":", label="π/dt")
    axes.set(xlabel=f"angular frequency (rad/{f.unit or 'unit of time'})", ylabel="gain |H|")
    axes.set_title("frequency response", loc="left")
    unstable = np.abs(f.step.eigenvalues).max() > INSIDE
    which = "flow solid, step dashed" if f.flow is not None else "of the step"
    plots.note(axes, which + (" (unstable: formal)" if unstable else ""))
    axes.legend(loc="best", fontsize=8)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 1e5 * low))  # an undamped mode has no finite gain


def _lowest(f: Figures, nyquist: float) -> float:
    corners = [abs(p) for s in (f.flow,) if s is not None for p in s.eigenvalues if abs(p) > 0]
    return min([nyquist / 300, *(c / 10 for c in corners)])


def _around(c: Channel) -> np.ndarray:
    width = c.step.bandwidth or 0
    return c.step.frequency + width * np.linspace(-6, 6, 241)


def _chosen(f: Figures) -> list[Channel]:
    """States as a whole and outputs; parts of complex states only say the same twice."""
    found = [c for c in f.channels() if not c.row.startswith(("real(", "imag("))]
    return found[:MAX_CHANNELS]


def _boundary(figure: Figure, axes: Axes, f: Figures, edge: BoundaryMap) -> None:
    high = max(float(np.nanmax(edge.radius)), 1.0 + 1e-3)
    low = min(float(np.nanmin(edge.radius)), 1.0 - 1e-3)
    shown = axes.pcolormesh(
        edge.x, edge.y, np.clip(edge.radius, low, min(high, 2.0)), cmap="RdBu_r",
        norm=TwoSlopeNorm(1.0, low, min(high, 2.0)), shading="gouraud", rasterized=True,
    )  # fmt: skip
    if high > 1.0 + 1e-3:
        axes.contour(edge.x, edge.y, np.nan_to_num(edge.radius, nan=9.0), [1 + 1e-9], colors="black", linewidths=1.6)
        axes.plot([], [], color="black", linewidth=1.6, label="divergence boundary")
    size, alpha = (5, 0.35) if f.drawn > 1 else (28, 1.0)
    axes.scatter(*edge.drawn, s=size, color="black", alpha=alpha, linewidths=0)
    axes.scatter([], [], s=14, color="black", label="drawn neurons" if f.drawn > 1 else "as declared")
    axes.set(xlabel=edge.x_label, ylabel=edge.y_label, xscale=edge.x_scale, yscale=edge.y_scale)
    axes.set_xlim(edge.x.min(), edge.x.max())
    axes.set_ylim(edge.y.min(), edge.y.max())
    axes.set_title("divergence boundary", loc="left")
    plots.note(axes, f"of {', '.join(edge.states)}, at rest")
    axes.grid(False)
    axes.legend(loc="lower right", fontsize=8)
    figure.colorbar(shown, ax=axes, label="largest |multiplier|", pad=0.02)
