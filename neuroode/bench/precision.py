"""`neuroode bench precision`: error against cost of steps and solvers on four nonlinear neurons."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from neuroode.bench.problems import LANES, PROBLEMS, Problem

NAMES = tuple(p.name for p in PROBLEMS)
STEPS, QUICK_STEPS = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01), (0.5, 0.1)
TOLERANCES, QUICK_TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9), (1e-5,)
LAYER_TOLERANCES = (1e-4, 1e-7)  # of solver layers, which run step by step
ABOUT = f"""\
CPU milliseconds of {LANES} lanes over the window in float64, forward; the reference is event-driven, DOP853 with rtol
1e-12. Without spikes the error is that of v at the end of the window; with spikes it is the largest error of a spike
time in ms. `at` is dt in ms of our steps, rtol of solvers (atol is a hundredth). Solver layers run from step to step
of the layer (1 ms); torchdiffeq and diffrax run on fields written by hand, over the whole window."""


def sections(quick: bool, plot: Path | None = None) -> Iterator[str]:
    """A table for each problem and window, and a picture if wanted."""
    yield f"## Work against precision\n\n{ABOUT}"
    found: list[Any] = []
    for problem in PROBLEMS:
        for spiking in (False, True):
            rows = list(_points(problem, spiking, quick))
            yield table(problem, spiking, rows)
            found += rows
    if plot:
        picture(found, plot)
        yield f"picture: {plot}"


def _points(problem: Problem, spiking: bool, quick: bool) -> Iterator[Any]:
    ours, tolerances = import_module("neuroode.bench.precision_torch"), QUICK_TOLERANCES if quick else TOLERANCES
    yield from ours.ours(problem, spiking, QUICK_STEPS if quick else STEPS)
    yield from ours.solved(problem, spiking, QUICK_TOLERANCES if quick else LAYER_TOLERANCES, 1.0)
    if not spiking:
        yield from ours.peer(problem, tolerances)
        if importlib.util.find_spec("diffrax"):
            yield from import_module("neuroode.bench.precision_jax").peer(problem, tolerances)


def table(problem: Problem, spiking: bool, rows: Sequence[Any]) -> str:
    low, high, length = problem.spiking if spiking else problem.free
    what = "spiking" if spiking else "without spikes"
    head = f"### {problem.name}, {what}: {length:g} ms, I = {low:g} to {high:g}\n\n"
    lines = ["| method | at | error | ms | |", "|---|---|---|---|---|"]
    lines += [f"| {p.method} | {p.at:g} | {_error(p.error)} | {p.milliseconds:.2f} | {p.note} |" for p in rows]
    return head + "\n".join(lines)


def _error(error: float) -> str:
    return f"{error:.1e}" if error < 1e6 else "diverges"


def picture(found: Sequence[Any], target: Path) -> None:
    """Error against cost, a panel for each problem and window; what diverges is left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(PROBLEMS), figsize=(4 * len(PROBLEMS), 7.5), layout="constrained")
    methods = list(dict.fromkeys(p.method for p in found))
    for (row, column), panel in zip(((r, c) for r in (0, 1) for c in range(len(PROBLEMS))), axes.flat, strict=True):
        name = PROBLEMS[column].name
        for k, method in enumerate(methods):
            line = [p for p in found if (p.problem, p.spiking, p.method) == (name, bool(row), method) and p.error < 1e3]
            shape = "o-" if k < 7 else "s--"
            panel.loglog([p.milliseconds for p in line], [max(p.error, 1e-16) for p in line], shape, ms=4, label=method)
        panel.set(title=f"{name}, {'spike times' if row else 'v without spikes'}", xlabel="CPU ms", ylabel="error")
        panel.grid(alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
