"""A picture of how fractional leaks forget, and of what they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuroode.solvers.on_numpy.mittag_leffler import mittag_leffler

Times = dict[int, dict[str, float]]  # CPU seconds by steps and candidate
Errors = dict[tuple[float, float], tuple[int, float]]  # (alpha, tolerance) -> modes, error


def picture(errors: Errors, training: Times, target: Path) -> None:
    """How leaks of several orders forget, error against modes, cost against length."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.9), dpi=130, layout="constrained")
    forgetting, accuracy, cost = figure.subplots(1, 3)
    t = np.geomspace(1e-2, 1e3, 300)
    colours = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#000000")
    for alpha, colour in zip((0.3, 0.5, 0.7, 0.9, 1.0), colours, strict=True):
        forgetting.loglog(t, mittag_leffler(t**alpha, alpha), color=colour, label=f"{alpha:g}")
    forgetting.set(title="what is left of v(0): E(-t^α)", xlabel="t", ylim=(1e-4, 1.3))
    forgetting.legend(title="α", fontsize=8, frameon=False)
    for alpha, colour in zip(dict.fromkeys(a for a, _ in errors), colours[:2] + colours[3:], strict=True):
        rows = [found for (a, _), found in errors.items() if a == alpha]
        accuracy.semilogy([k for k, _ in rows], [off for _, off in rows], "o-", color=colour, label=f"{alpha:g}")
    accuracy.set(title="error of a sum of exponentials, 4,000 steps", xlabel="modes")
    accuracy.legend(title="α", fontsize=8, frameon=False)
    for name, colour in zip(training[min(training)], ("#cc79a7", "#d55e00", "#0072b2", "#009e73"), strict=True):
        rows = [(steps, 1e3 * found[name]) for steps, found in training.items() if name in found]
        cost.loglog([n for n, _ in rows], [ms for _, ms in rows], "o-", color=colour, label=name)
    cost.set(title="training step of f_lif, CPU ms", xlabel="steps")
    cost.legend(fontsize=8, frameon=False)
    FigureCanvasAgg(figure).print_png(target)
