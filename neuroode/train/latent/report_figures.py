"""Pictures of a comparison, drawn from its numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neuroode.train.latent.report_numbers import title
from neuroode.train.report_figures import GREY, SEEDS, STYLE, png, svg

Numbers = dict[str, Any]
LEAST = -0.1  # of an axis of R^2 or bits: what is worse is not shown


def files(figures: Numbers) -> dict[str, bytes]:
    """The pictures that stand in the folder, as PNG files by name."""
    with rc_context(STYLE):
        return {f"{name}.png": png(figure) for name, figure in _made(figures).items()}


def draw(figures: Numbers) -> dict[str, str]:
    """The pictures of the page, as SVG elements by name."""
    with rc_context(STYLE):
        return {name: svg(figure, name) for name, figure in _made(figures).items()}


def _made(figures: Numbers) -> dict[str, Figure]:
    return {"training": training(figures), "rates": rates(figures), "latents": latents(figures)}


def colours(figures: Numbers) -> dict[str, str]:
    return {arm["name"]: colour for arm, colour in zip(figures["arms"], SEEDS, strict=False)}


def training(figures: Numbers) -> Figure:
    """Bits per spike of the held-out neurons and R^2 of their rates on the validation trials, and the divergence."""
    figure = Figure(figsize=(12, 3.8), dpi=150, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, key, name in (
        (left, "val_bits", "bits/spike, held-out neurons"), (middle, "val_r_squared", "R² of all rates"),
        (right, "kl", "divergence (nats a trial)"),
    ):  # fmt: skip
        _curves(axes, figures, key)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.axhline(figures["ceiling"], color=GREY, linestyle=":", label="true rates, test")
    left.set(title="validation; the epoch is picked here", ylim=(LEAST, None))
    middle.set(title="validation; only looked at", ylim=(LEAST, 1))
    right.set(title="of the posterior, training")
    left.legend(loc="center right", fontsize=8)
    return figure


def _curves(axes: Axes, figures: Numbers, key: str) -> None:
    for arm in figures["arms"]:
        for number, seed in enumerate(arm["seeds"]):
            points = [(e["epoch"], e[key]) for e in seed["epochs"] if e[key] is not None]
            if points:
                label = None if number else title(figures, arm["name"])
                axes.plot(*zip(*points, strict=True), color=colours(figures)[arm["name"]], label=label, linewidth=1.3)


def rates(figures: Numbers) -> Figure:
    """Rates of one test trial: the truth, what each arm infers, and the spikes."""
    shown = figures["rates"]
    half = len(shown["neurons"]) // 2
    figure = Figure(figsize=(12, 5.2), dpi=150, layout="constrained")
    grid = figure.subplots(2, half, sharex=True)
    for number, axes in enumerate(grid.flat):
        axes.plot(shown["time"], shown["true"][number], color="black", linewidth=2, label="true rate")
        for name, rows in shown["arms"].items():
            axes.plot(
                shown["time"], rows[number], color=colours(figures)[name], linewidth=1.2, label=title(figures, name)
            )
        _spikes(axes, shown, number)
        kind = "held out" if shown["held_out"][number] else "seen"
        axes.set(title=f"neuron {shown['neurons'][number]}, {kind}")
    for axes in grid[:, 0]:
        axes.set_ylabel("rate (spikes/s)")
    for axes in grid[-1]:
        axes.set_xlabel("time (s)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _spikes(axes: Axes, shown: Numbers, number: int) -> None:
    """One tick a bin with spikes, below the curves."""
    time, counts = np.array(shown["time"]), np.array(shown["spikes"][number])
    low = -0.08 * max(shown["true"][number])
    axes.plot(time[counts > 0], np.full((counts > 0).sum(), low), "|", color=GREY, markersize=7)


def latents(figures: Numbers) -> Figure:
    """The Lorenz trajectories of two test trials beside the latent's, by time and in the plane of x and z."""
    shown, colour = figures["latents"], colours(figures)[figures["neuron"]]
    time = figures["rates"]["time"]
    figure = Figure(figsize=(12, 5.2), dpi=150, layout="constrained")
    for row, (true, found) in enumerate(zip(np.array(shown["true"]), np.array(shown["found"]), strict=True)):
        for column, name in enumerate("xyz"):
            axes = figure.add_subplot(2, 4, 4 * row + column + 1)
            axes.plot(time, true[:, column], color="black", linewidth=2, label="Lorenz")
            axes.plot(time, found[:, column], color=colour, linewidth=1.2, label=title(figures, figures["neuron"]))
            axes.set(title=f"{name}, test trial {row}", xlabel="time (s)")
        axes = figure.add_subplot(2, 4, 4 * row + 4)
        axes.plot(true[:, 0], true[:, 2], color="black", linewidth=2)
        axes.plot(found[:, 0], found[:, 2], color=colour, linewidth=1.2)
        axes.set(title="z over x", xlabel="x", ylabel="z")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
