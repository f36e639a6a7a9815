"""Pictures of a report, drawn from its numbers alone. No pyplot: no global state, no window, no backend to choose."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Numbers = dict[str, Any]
SEEDS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too
KINDS = {"val": "-", "train": "--"}
GREY = "#777777"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def draw(figures: Numbers) -> dict[str, bytes]:
    """The pictures as PNG files by name."""
    with rc_context(STYLE):
        made = {"training.png": _png(training(figures))}
        if figures["hidden"] is not None:
            made["hidden.png"] = _png(hidden(figures))
        if figures["resonators"] is not None:
            made["resonators.png"] = _png(resonators(figures))
    return made


def _png(figure: Figure) -> bytes:
    target = BytesIO()
    FigureCanvasAgg(figure).print_png(target)
    return target.getvalue()


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _title(figures: Numbers) -> str:
    return f"{figures['neuron']} on {figures['task']}, {figures['parameters']:,} parameters"


def training(figures: Numbers) -> Figure:
    """Accuracy and loss by epoch, a colour a seed."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    for number, seed in enumerate(figures["seeds"]):
        colour = SEEDS[number % len(SEEDS)]
        _by_epoch(left, seed, "score", colour)
        _by_epoch(right, seed, "loss", colour)
        left.plot([], [], color=colour, label=f"seed {seed['seed']}: test {seed['test_score']:.1f} %")
        picked = seed["epochs"][seed["picked_epoch"]]
        left.plot(picked["epoch"], picked["val_score"], "o", color=colour, markersize=5)
    left.set(xlabel="epoch", ylabel=f"{figures['score']['name']} (%)", title=_title(figures))
    right.set(xlabel="epoch", ylabel="loss", title=_loss_name(figures["settings"]["loss"]))
    right.set_ylim(0, 1.05 * right.get_ylim()[1])
    left.legend(loc="lower right")
    right.legend(handles=_line_kinds(), loc="upper right")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _by_epoch(axes: Axes, seed: Numbers, what: str, colour: str) -> None:
    for part, style in KINDS.items():
        points = [(e["epoch"], e[f"{part}_{what}"]) for e in seed["epochs"] if e[f"{part}_{what}"] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=1.6 if style == "-" else 1.2)


def _line_kinds() -> list[Line2D]:
    names = {"val": "validation", "train": "training"}
    return [Line2D([], [], color=GREY, linestyle=style, label=names[part]) for part, style in KINDS.items()]


def _loss_name(kind: str) -> str:
    names = {
        "every_step": "per step",
        "last_step": "at the last step",
        "mean_output": "of the mean output",
    }
    return names[kind]


def hidden(figures: Numbers) -> Figure:
    """One test sample: its input, what the hidden layer does, and how active it is."""
    shown = figures["hidden"]
    strips = isinstance(shown["target"], list)
    heights = [1, 3.2, 1] + ([_strip_height(shown)] if strips else [])
    figure = _figure(10, 6 + 0.5 * strips)
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _input(rows[0], shown)
    rows[0].set_title(f"{_title(figures)}: {_sample_name(shown)}")
    if "spikes" in shown:
        _raster(rows[1], shown)
        _rate(rows[2], shown)
    else:
        _heat(figure, rows[1], shown)
        _mean_activity(rows[2], shown)
    if strips:
        _targets(rows[3], shown)
    rows[-1].set(xlabel="step", xlim=(0, shown["steps"]))
    return figure


def _strip_height(shown: Numbers) -> float:
    return 1.0 if isinstance(shown["target"][0], float) else 0.5


def _sample_name(shown: Numbers) -> str:
    name = f"test sample {shown['sample']}"
    target, found = np.array(shown["target"]), np.array(shown["prediction"])
    if target.dtype.kind == "f":
        return f"{name}, root mean square error {np.sqrt(np.mean((target - found) ** 2)):.3f}"
    if target.ndim:
        return f"{name}, {100 * np.mean(target == found):.0f} % of its steps right"
    return f"{name}, label {target}, predicted {found}"


def _input(axes: Axes, shown: Numbers) -> None:
    values = np.array(shown["input"])
    gap = max(1e-9, np.ptp(values)) * 1.1
    for channel in range(values.shape[1]):
        axes.plot(values[:, channel] + channel * gap, color="#333333", linewidth=0.7)
    axes.set_ylabel("input")
    if values.shape[1] > 1:
        axes.set_yticks([channel * gap for channel in range(values.shape[1])], [str(c) for c in range(values.shape[1])])
        axes.set_ylabel("input\nchannel")


def _raster(axes: Axes, shown: Numbers) -> None:
    size = min(6.0, max(0.6, 250 / shown["neurons"]))
    axes.scatter(shown["spikes"]["step"], shown["spikes"]["row"], s=size, c=SEEDS[0], marker="s", linewidths=0)
    axes.set(ylabel=f"neuron, by {shown['ordered_by']}", ylim=(-1, shown["neurons"]))
    axes.grid(False)


def _rate(axes: Axes, shown: Numbers) -> None:
    share = 100 * np.array(shown["share"])
    axes.fill_between(np.arange(len(share)), share, color=SEEDS[0], alpha=0.25, linewidth=0)
    axes.plot(share, color=SEEDS[0], linewidth=1)
    axes.axhline(100 * shown["rate"], color=GREY, linestyle="--", linewidth=1)
    note = f"mean {100 * shown['rate']:.2f} % of the neurons fire in a step; running mean over {shown['window']} steps"
    axes.set_title(note, fontsize=9, color=GREY, loc="right", pad=2)
    axes.set(ylabel="firing (%)", ylim=(0, None))


def _heat(figure: Figure, axes: Axes, shown: Numbers) -> None:
    values = np.array(shown["activity"], dtype=float).T
    bound = np.nanmax(np.abs(values)) or 1.0
    extent = (0, values.shape[1], 0, len(values))
    image = axes.imshow(
        values,
        aspect="auto",
        origin="lower",
        cmap="RdBu_r",
        vmin=-bound,
        vmax=bound,
        extent=extent,
        interpolation="nearest",
    )
    axes.set_ylabel(f"{len(values)} most active neurons")
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="output", pad=0.01)


def _mean_activity(axes: Axes, shown: Numbers) -> None:
    axes.plot(np.nanmean(np.array(shown["activity"], dtype=float), axis=1), color=SEEDS[0], linewidth=1)
    axes.set_ylabel("mean output")


def _targets(axes: Axes, shown: Numbers) -> None:
    """From the first step that counts on."""
    values = np.array([shown["prediction"], shown["target"]])
    first = shown["steps"] - values.shape[1]
    if values.dtype.kind == "f":
        for row, style, name in zip(values, ("-", "--"), ("network", "target"), strict=True):
            axes.plot(np.arange(first, shown["steps"]), row, style, label=name)
        axes.legend(loc="upper left", ncols=2)
        axes.set_ylabel("output")
        return
    extent = (first, shown["steps"], -0.5, 1.5)
    axes.imshow(
        values, aspect="auto", cmap="tab10", vmin=0, vmax=9, extent=extent, origin="lower", interpolation="nearest"
    )
    axes.set_yticks([0, 1], ["network", "label"])
    axes.grid(False)


def resonators(figures: Numbers) -> Figure:
    """Learned frequency against damping with the divergence boundary, and the distance that is left to it."""
    found = figures["resonators"]
    figure = _figure(10, 4.4)
    left, right = figure.subplots(1, 2)
    edge = found["boundary"]
    left.plot(edge["omega"], edge["b"], color="black", linewidth=1.4, label="divergence boundary p(ω)")
    for number, seed in enumerate(found["seeds"]):
        colour = SEEDS[number % len(SEEDS)]
        for axes, start, trained in ((left, "b_start", "b"), (right, "distance_start", "distance")):
            axes.scatter(
                seed["omega_start"], _floats(seed[start]), 14, facecolors="none", edgecolors=colour, alpha=0.35
            )
            axes.scatter(seed["omega"], _floats(seed[trained]), 14, color=colour, alpha=0.8, linewidths=0)
        left.scatter([], [], 14, color=colour, label=f"seed {seed['seed']}, trained")
    left.scatter([], [], 14, facecolors="none", edgecolors=GREY, label="before training")
    left.set(xlabel="frequency ω (rad per unit of time)", ylabel="b, real part of the eigenvalue")
    left.set_title(f"{_title(figures)}, dt = {found['dt']:g}")
    left.legend(loc="lower left")
    right.set(xlabel="frequency ω (rad per unit of time)", ylabel="|p(ω) - b|", yscale="log")
    right.set_title("distance to the boundary, without spikes")
    return figure


def _floats(values: list[float | None]) -> np.ndarray:
    return np.array(values, dtype=float)
