"""What all pictures share. No pyplot: no global state, no window, no backend to choose."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too
GREY = "#777777"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.4,
    "svg.hashsalt": "neuroode",
}


def style() -> Any:
    """Settings that hold within a `with`."""
    return rc_context(STYLE)


def new_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def as_bytes(figure: Figure, kind: str) -> bytes:
    """The file of a figure; kind is png, svg or pdf."""
    target = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(target, format=kind, metadata={"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind))
    return target.getvalue()


def note(axes: Axes, text: str) -> None:
    """A small grey line above the right end of some axes."""
    axes.set_title(text, fontsize=8, color=GREY, loc="right", pad=3)
