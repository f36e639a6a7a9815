"""Pictures of a report, drawn from its numbers alone. No pyplot: no global state, no window, no backend to choose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Numbers = dict[str, Any]
SEEDS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too
KINDS = {"val": "-", "train": "--"}
GREY = "#777777"
LOSSES = {"every_step": "per step", "last_step": "at the last step", "mean_output": "of the mean output"}
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


def files(figures: Numbers) -> dict[str, bytes]:
    """The pictures that stand in the folder, as PNG files by name."""
    with rc_context(STYLE):
        made = {"training.png": training(figures), "hidden.png": hidden(figures)}
        if figures["resonators"] is not None:
            made["resonators.png"] = resonators(figures)
        return {name: png(figure) for name, figure in made.items()}


def draw(figures: Numbers) -> dict[str, str]:
    """The pictures of the page, as SVG elements by name; histograms are called `histogram NAME`."""
    with rc_context(STYLE):
        made = {"score": _single(scores, figures), "loss": _single(losses, figures), "hidden": hidden(figures)}
        for one in figures["parameters_by_name"]:
            made[f"histogram {one['name']}"] = _single(histogram, one, 3.3, 2.3)
        if figures["resonators"] is not None:
            made |= {"frequencies": _single(frequencies, figures), "distances": _single(distances, figures)}
        return {name: svg(figure, name) for name, figure in made.items()}


def png(figure: Figure) -> bytes:
    target = BytesIO()
    FigureCanvasAgg(figure).print_png(target)
    return target.getvalue()


def svg(figure: Figure, name: str) -> str:
    """One element without what only a file of its own needs; its ids begin with its name, so that no two are alike."""
    target = StringIO()
    with rc_context({"svg.hashsalt": "neuroode", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(target)
    text = re.sub(r"<metadata>.*?</metadata>", "", target.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r'<svg \1aria-hidden="true"', text, count=1)
    own = re.sub(r"\W", "-", name)
    return re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{own}-", text)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _single(plot: Callable[[Axes, Numbers], None], numbers: Numbers, width: float = 5.6, height: float = 3.8) -> Figure:
    figure = _figure(width, height)
    plot(figure.subplots(), numbers)
    return figure


def _title(figures: Numbers) -> str:
    return f"{figures['neuron']} on {figures['task']}, {figures['parameters']:,} parameters"


def training(figures: Numbers) -> Figure:
    """Score and loss by epoch."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    scores(left, figures)
    left.set_title(_title(figures))
    losses(right, figures)
    return figure


def scores(axes: Axes, figures: Numbers) -> None:
    """Validation and training score by epoch, a colour a seed; the picked epoch has a dot."""
    for seed, colour in _coloured(figures["seeds"]):
        _by_epoch(axes, seed, "score", colour)
        picked = seed["epochs"][seed["picked_epoch"]]
        label = f"seed {seed['seed']}: test {seed['test_score']:.1f} %"
        axes.plot(picked["epoch"], picked["val_score"], "o", color=colour, markersize=5, label=label)
    axes.axhline(figures["score"]["chance"], color=GREY, linestyle=":", linewidth=1)
    axes.set(xlabel="epoch", ylabel=f"{figures['score']['name']} (%)", title="score; dots: epochs that were picked")
    axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def losses(axes: Axes, figures: Numbers) -> None:
    """Validation and training loss by epoch."""
    for seed, colour in _coloured(figures["seeds"]):
        _by_epoch(axes, seed, "loss", colour)
    kind = "squared error" if figures["score"]["name"] == "explained variance" else "negative log-likelihood"
    axes.set(xlabel="epoch", ylabel="loss", title=f"{kind} {LOSSES[figures['settings']['loss']]}")
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.legend(handles=_line_kinds(), loc="upper right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def histogram(axes: Axes, one: Numbers) -> None:
    """Values of one parameter before and after."""
    for at, colour, name in (("start", GREY, "before"), ("end", SEEDS[0], "after")):
        axes.stairs(one[at], one["edges"], fill=True, color=colour, alpha=0.45, label=name)
    axes.set(title=one["name"], ylabel="count")
    axes.legend(fontsize=8)


def _coloured(seeds: list[Numbers]) -> Iterator[tuple[Numbers, str]]:
    return zip(seeds, cycle(SEEDS), strict=False)


def _by_epoch(axes: Axes, seed: Numbers, what: str, colour: str) -> None:
    for part, style in KINDS.items():
        points = [(e["epoch"], e[f"{part}_{what}"]) for e in seed["epochs"] if e[f"{part}_{what}"] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=1.6 if style == "-" else 1.2)


def _line_kinds() -> list[Line2D]:
    names = {"val": "validation", "train": "training"}
    return [Line2D([], [], color=GREY, linestyle=style, label=names[part]) for part, style in KINDS.items()]


def hidden(figures: Numbers) -> Figure:
    """One test sample: its input, what the hidden layer does, and how active it is."""
    shown = figures["hidden"]
    if shown["side"] is not None:
        return _hidden_by_image(figures, shown)
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


def _hidden_by_image(figures: Numbers, shown: Numbers) -> Figure:
    """The image that is shown, and what the neurons of all layers do meanwhile."""
    figure = _figure(10, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    left.imshow(np.array(shown["input"], dtype=float).reshape(shown["side"], -1), cmap="gray_r")
    left.set(title=_sample_name(shown))
    left.axis("off")
    if "spikes" in shown:
        _spike_map(right, shown)
        right.set(title=f"{_title(figures)}; {100 * shown['rate']:.1f} % fire in a step")
    else:
        _heat(figure, right, shown)
        right.set(title=_title(figures))
    right.set(xlabel="step")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _spike_map(axes: Axes, shown: Numbers) -> None:
    """Few steps: each as wide as it can be."""
    fired = np.zeros((shown["neurons"], shown["steps"]))
    fired[shown["spikes"]["row"], shown["spikes"]["step"]] = 1
    extent = (-0.5, shown["steps"] - 0.5, 0, shown["neurons"])
    axes.imshow(fired, cmap="Blues", aspect="auto", origin="lower", extent=extent, interpolation="nearest")
    axes.set_ylabel(f"neuron, by {shown['ordered_by']}")
    axes.grid(False)


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
    style: Numbers = {"s": size, "c": SEEDS[0], "marker": "s", "linewidths": 0, "rasterized": True}
    axes.scatter(shown["spikes"]["step"], shown["spikes"]["row"], **style)
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
    figure = _figure(10, 4.4)
    left, right = figure.subplots(1, 2)
    frequencies(left, figures)
    distances(right, figures)
    return figure


def frequencies(axes: Axes, figures: Numbers) -> None:
    """Frequency against damping."""
    found = figures["resonators"]
    edge = found["boundary"]
    axes.plot(edge["omega"], edge["b"], color="black", linewidth=1.4, label="divergence boundary p(ω)")
    for seed, colour in _coloured(found["seeds"]):
        _before_and_after(axes, seed, "b", colour)
        axes.scatter([], [], 14, color=colour, label=f"seed {seed['seed']}, trained")
    axes.scatter([], [], 14, facecolors="none", edgecolors=GREY, label="before training")
    axes.set(xlabel="frequency ω (rad per unit of time)", ylabel="b, real part of the eigenvalue")
    axes.set_title(f"{figures['neuron']}, dt = {found['dt']:g}")
    axes.legend(loc="lower left")


def distances(axes: Axes, figures: Numbers) -> None:
    """How far from the boundary."""
    for seed, colour in _coloured(figures["resonators"]["seeds"]):
        _before_and_after(axes, seed, "distance", colour)
    axes.set(xlabel="frequency ω (rad per unit of time)", ylabel="|p(ω) - b|", yscale="log")
    axes.set_title("distance to the boundary, without spikes")


def _before_and_after(axes: Axes, seed: Numbers, what: str, colour: str) -> None:
    start = _floats(seed[f"{what}_start"])
    axes.scatter(seed["omega_start"], start, 14, facecolors="none", edgecolors=colour, alpha=0.35)
    axes.scatter(seed["omega"], _floats(seed[what]), 14, color=colour, alpha=0.8, linewidths=0)


def _floats(values: list[float | None]) -> np.ndarray:
    return np.array(values, dtype=float)
