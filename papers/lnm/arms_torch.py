"""LIF, PLIF, QIF and LNM of degree 2 and 3 in one small convolutional network on digits, from the same weights.

`neuroode claims lnm --train` prints the table; `--write` puts it and the picture beside it into the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from neuroode.bench.page import machine
from neuroode.neuron import Neuron, load
from neuroode.papers.claims import read
from neuroode.papers.page import markdown, write_section
from neuroode.papers.training_torch import Run, scores, settings, train

SEEDS, QUICK = 5, 2
LAYERS = (1, 2, 3)
WORKING = (-2.0, 1.0)  # where the potentials are: u_lo and the threshold
SURROGATE = {"kind": "rectangle", "width": 0.5}


def _lnm(degree: int, compat: str | None = None) -> Neuron:
    return load("lnm", compat=compat).with_axes({"power": degree + 1})


def _lif() -> Neuron:
    fixed = {"init": "0.5*max(0, 1 - abs(power - 1))", "per": ["power"], "trainable": False}
    return _lnm(1).replace(parameters={"theta": fixed})


def _qif() -> Neuron:
    """Our reading of eq. 11 of arXiv:2510.05168 at the numbers of its figure, not trained."""
    fixed = {"value": 0.25, "domain": "positive", "trainable": False}
    return load("qif", compat="euler_map").replace(parameters={"a": fixed}, surrogate=SURROGATE)


#: name -> (declaration, f from the values of one layer); all but QIF begin as u/2
ARMS: dict[str, tuple[Callable[[], Neuron], Callable[[Any], Polynomial]]] = {
    "LIF": (_lif, lambda _: Polynomial([0, 0.5])),
    "PLIF": (
        lambda: load("plif", compat="undecayed_input").replace(surrogate=SURROGATE),
        lambda v: Polynomial([0, 1 - v("k")[0]]),
    ),
    "QIF": (_qif, lambda _: Polynomial([0, 0.875, 0.25])),
    "LNM, degree 2": (lambda: _lnm(2), lambda v: Polynomial(v("theta"))),
    "LNM, degree 3": (lambda: _lnm(3), lambda v: Polynomial(v("theta"))),
    "contractive, degree 3": (lambda: _lnm(3, "contractive"), lambda v: contracted(v("c"))),
}


def contracted(c: np.ndarray) -> Polynomial:
    """The series of the compat `contractive` in powers of u."""
    low, high = WORKING
    excess = max(1.0, 2 * float(np.sum(np.arange(len(c)) ** 2 * np.abs(c))) / (high - low))
    return Chebyshev(c / excess, domain=WORKING).convert(kind=Polynomial, domain=[-1, 1])


def learned(run: Run) -> list[Polynomial]:
    """f of each layer at the end of a run."""
    form = ARMS[run.arm][1]
    return [form(lambda name, n=n: run.values[f"{name} of layer {n}"].astype(float)) for n in LAYERS]


def steepest(f: Polynomial) -> float:
    """Largest |f'| on the working interval."""
    return float(np.abs(f.deriv()(np.linspace(*WORKING, 1001))).max())


@cache
def results(seeds: int = SEEDS, arms: Sequence[str] = tuple(ARMS), **changes: Any) -> dict[str, list[Run]]:
    """Arms by name; `changes` to the recipe have a folder of their own."""
    where = "lnm" + "".join(f"-{k}{v}" for k, v in sorted(changes.items()))
    chosen, makers = settings(**changes), {arm: ARMS[arm][0] for arm in arms}
    return {arm: [train(where, arm, make(), seed, chosen) for seed in range(seeds)] for arm, make in makers.items()}


def table(found: dict[str, list[Run]]) -> str:
    head = ["arm", "test accuracy (%)", "seeds", "runs with a loss that is not finite", "updates left out"]
    head += ["firing (%)", "largest slope of f on [-2, 1]", "s of training"]
    return markdown(tuple(head), [_row(arm, runs) for arm, runs in found.items()])


def _row(arm: str, runs: list[Run]) -> tuple[str, ...]:
    scored = scores(runs)
    spread = f" ± {scored.std(ddof=1):.2f}" if len(scored) > 1 else ""
    done = [r for r in runs if r.score is not None]
    return (
        arm,
        f"{scored.mean():.2f}{spread}" if len(scored) else "–",
        str(len(runs)),
        f"{len(runs) - len(done)}",
        f"{sum(r.left_out for r in runs)}",
        f"{100 * np.mean([r.rate for r in done]):.1f}" if done else "–",
        f"{max(steepest(f) for r in done for f in learned(r)):.2f}" if done else "–",
        f"{np.mean([r.seconds for r in runs]):.1f}",
    )


def coefficients(found: dict[str, list[Run]]) -> str:
    """Mean and spread over the seeds of the learned coefficients, layer by layer."""
    rows = []
    for arm, runs in found.items():
        if arm in ("LIF", "QIF"):
            continue
        done = [learned(r) for r in runs if r.score is not None]
        for n in LAYERS if done else ():
            values = np.array([[*fs[n - 1].coef, 0, 0, 0][:4] for fs in done])
            cells = (
                f"{m:.3f} ± {s:.3f}"
                for m, s in zip(values.mean(0), values.std(0, ddof=min(1, len(done) - 1)), strict=True)
            )
            rows.append((arm, str(n), *cells))
    return markdown(("arm", "layer", "theta_0", "theta_1", "theta_2", "theta_3"), rows)


def picture(found: dict[str, list[Run]], target: Path) -> None:
    """Learned coefficients by layer, and the maps they make."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), dpi=130, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    above, below = parts
    colours = dict(zip(ARMS, ("#777777", "#e69f00", "#cc79a7", "#0072b2", "#d55e00", "#009e73"), strict=True))
    trained = [a for a in found if a not in ("LIF", "QIF") and any(r.score is not None for r in found[a])]
    for power, axes in enumerate(above.subplots(1, 4)):
        for shift, arm in enumerate(trained):
            values = [[(*f.coef, 0, 0, 0)[power] for f in learned(r)] for r in found[arm] if r.score is not None]
            if not np.any(values):
                continue  # of a lower degree
            x = np.array(LAYERS) + 0.1 * (shift - (len(trained) - 1) / 2)
            axes.plot(x, np.mean(values, 0), "-", color=colours[arm], linewidth=1)
            for row in values:
                axes.plot(x, row, "o", color=colours[arm], markersize=3)
        axes.axhline(0.5 * (power == 1), color="black", linewidth=0.8, linestyle=":")
        axes.set(title=f"θ{'₀₁₂₃'[power]}", xlabel="layer", xticks=LAYERS)
    u = np.linspace(*WORKING, 201)
    for n, axes in zip(LAYERS, below.subplots(1, 3, sharey=True), strict=True):
        for arm, runs in found.items():
            for number, run in enumerate(r for r in runs if r.score is not None):
                axes.plot(u, learned(run)[n - 1](u), color=colours[arm], linewidth=1, label=None if number else arm)
        axes.plot(u, u, color="black", linewidth=0.8, linestyle=":", label="u")
        axes.set(title=f"f(u) of layer {n}, a line a seed", xlabel="u", ylim=(-2.5, 2))
    axes.legend(fontsize=8, frameon=False)
    FigureCanvasAgg(figure).print_png(target)


def section(found: dict[str, list[Run]], command: str) -> str:
    parts = [
        f"Measured by `{command}` on {date.today()}; mean ± standard deviation (n - 1) over seeds.",
        machine(),
        table(found),
        "Learned coefficients in powers of u, mean ± standard deviation over seeds; they begin at 0, 0.5, 0, 0:",
        coefficients(found),
        "![learned coefficients by layer and the maps they make](arms.png)",
    ]
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="neurons of several kinds in one small convolutional network")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seeds")
    parser.add_argument("--write", action="store_true", help="write the section and the picture beside the page")
    given = parser.parse_args(argv)
    found = results(QUICK if given.quick else SEEDS)
    text = section(found, "neuroode claims lnm --train" + " --quick" * given.quick)
    print(text)
    page = read("lnm").page
    target = page.with_name("arms.png") if given.write else Path("arms.png")
    picture(found, target)
    print(f"picture: {target}", file=sys.stderr)
    if given.write:
        write_section(page, "arms", text)


if __name__ == "__main__":
    main()
