"""The picture of a run: inputs, states of the first neuron, spikes of all."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neuroode.cli import plots

if TYPE_CHECKING:
    from neuroode.cli.runs import Run

MAX_LINES = 6


def draw(r: Run, kind: str) -> bytes:
    """The file of the picture."""
    with plots.style():
        return plots.as_bytes(_figure(r), kind)


def _figure(r: Run) -> Figure:
    inputs = [(n, x) for n, x in r.inputs.items()]
    states = [(n, x) for n, x in r.trace.items() if n in _states(r)]
    graded = [(n, r.trace[n]) for n, _ in r.neuron.spec.outputs if n in r.trace and n not in (*_states(r), *r.events)]
    rows = len(inputs) + len(states) + len(graded) + bool(r.events)
    heights = [0.7] * len(inputs) + [1.1] * (len(states) + len(graded)) + [_raster_height(r)] * bool(r.events)
    figure = plots.new_figure(9, 0.9 + 1.35 * sum(heights))
    axes = np.atleast_1d(figure.subplots(rows, 1, sharex=True, height_ratios=heights))
    for one, (name, x) in zip(axes, inputs, strict=False):
        _input(one, r, name, x)
    for one, (name, x) in zip(axes[len(inputs) :], [*states, *graded], strict=False):
        _state(one, r, name, x)
    if r.events:
        _raster(axes[-1], r)
    axes[-1].set_xlabel(f"time ({r.unit})" if r.unit else "time")
    axes[-1].set_xlim(0, r.times[-1])
    size = next(iter(r.trace.values())).shape[1]
    who = "" if size == 1 else f"; traces of the first of {size} neurons"
    unit = f" {r.unit}" if r.unit else ""
    figure.suptitle(f"{r.neuron.spec.name}, dt = {r.dt:g}{unit}{who}", fontsize=11)
    figure.align_ylabels(axes)
    return figure


def _states(r: Run) -> list[str]:
    return [s.name for s in r.neuron.spec.states]


def _raster_height(r: Run) -> float:
    lines = sum(r.trace[n][0].size for n in r.events)
    return float(np.clip(0.3 + 0.06 * lines, 0.45, 2.2))


def _input(axes: Axes, r: Run, name: str, x: np.ndarray) -> None:
    unit = next((i.unit for i in r.neuron.spec.inputs if i.name == name), None)
    values = x[:, 0].reshape(r.steps, -1)[:, 0]
    kind = next(i.kind for i in r.neuron.spec.inputs if i.name == name)
    if kind == "current":
        edges = np.concatenate([[0.0], r.times])
        axes.stairs(values, edges, color=plots.GREY, linewidth=1.1, baseline=None)
    else:
        at = np.flatnonzero(values)
        axes.vlines(r.times[at] - r.dt, 0, values[at], color=plots.GREY, linewidth=0.9)
        axes.axhline(0, color=plots.GREY, linewidth=0.6)
    _labels(axes, name, unit)
    plots.note(axes, r.signals.get(name, "silent"))


def _labels(axes: Axes, name: str, unit: str | None) -> None:
    text = f"{name}\n({unit})" if unit else name
    axes.set_ylabel(text, rotation=0, horizontalalignment="right", verticalalignment="center")
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.margins(y=0.12)


def _state(axes: Axes, r: Run, name: str, x: np.ndarray) -> None:
    """A state of the first neuron; where an event resets it, up to the value that the guard saw."""
    unit = next((s.unit for s in r.neuron.spec.states if s.name == name), None)
    lines = _lines(name, x[:, 0])[:MAX_LINES]
    before = r.trace.get(f"{name}.before")
    if before is not None and not np.iscomplexobj(before) and before[:, 0].ndim == 1:
        values = np.stack([before[:, 0], x[:, 0]], axis=1).ravel()
        axes.plot(np.repeat(r.times, 2), values, color=plots.COLOURS[0])
    else:
        for i, (label, values) in enumerate(lines):
            axes.plot(r.times, values, color=plots.COLOURS[i % 6], label=label, alpha=1 if len(lines) == 1 else 0.85)
        if len(lines) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), fontsize=7, handlelength=1.2)
    _labels(axes, name, unit)


def _lines(name: str, x: np.ndarray) -> list[tuple[str, np.ndarray]]:
    if np.iscomplexobj(x):
        parts = _lines(name, x.real), _lines(name, x.imag)
        both = zip(*parts, strict=True)
        return [row for re, im in both for row in ((f"real({re[0]})", re[1]), (f"imag({im[0]})", im[1]))]
    if x.ndim == 1:
        return [(name, x)]
    return [(f"{name}[{', '.join(map(str, at))}]", x[(slice(None), *at)]) for at in np.ndindex(*x.shape[1:])]


def _raster(axes: Axes, r: Run) -> None:
    """A row a neuron, a colour an event; a graded size would say nothing here."""
    low = 0
    for i, name in enumerate(r.events):
        spikes = r.trace[name].reshape(r.steps, -1)
        at, row = np.nonzero(spikes)
        axes.vlines(r.times[at], low + row + 0.1, low + row + 0.9, color=plots.COLOURS[(i + 1) % 6], linewidth=1.0)
        low += spikes.shape[1]
        if i < len(r.events) - 1:
            axes.axhline(low, color=plots.GREY, linewidth=0.6)
    axes.set_ylim(0, low)
    axes.grid(False)
    total = sum(int(r.trace[n].sum()) for n in r.events)
    size = r.trace[r.events[0]].shape[1]
    if len(r.events) > 1:
        middles = np.cumsum([0, *(r.trace[n][0].size for n in r.events)])
        axes.set_yticks([(a + b) / 2 for a, b in pairwise(middles)], r.events)
        axes.set_ylabel("events")
    else:
        axes.set_yticks([] if size == 1 else [0.5, size - 0.5], [] if size == 1 else ["1", str(size)])
        axes.set_ylabel("spikes" if size == 1 else "neuron")
    plots.note(axes, f"{total} event{'s' if total != 1 else ''}")
