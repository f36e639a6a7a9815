"""`neuroode bench fractional`: measured orders, gradients beside the published adjoint, cost and memory of the past.

The problem of the orders is D^a v = -v + 0.7 from v = 1 up to t = 2, whose solution is E + 0.7 (1 - E), E =
E_a(-t^a); that of the gradients D^a v = -leak v + input, v(T) for its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from math import gamma
from pathlib import Path

import numpy as np

from neuroode.solvers.on_numpy import fractional as methods
from neuroode.solvers.on_numpy import fractional_published as published

Array = np.ndarray
ALPHAS = (0.3, 0.5, 0.8)
START, INPUT, END = 1.0, 0.7, 2.0
STEPS, QUICK_STEPS = (400, 800, 1600), (100, 200, 400)
ROUNDING = 1e-11
#: name -> (method, its order where it is known beforehand, by alpha)
ORDERS: dict[str, tuple[Callable[..., Array], str]] = {
    "rectangle": (methods.rectangle, "1"),
    "gl": (methods.gl, "1"),
    "l1": (methods.l1, "1"),
    "l1, graded mesh": (lambda f, y0, a, h, n: methods.l1_on(f, y0, a, methods.graded(h * n, n, a)), "2 - a"),
    "abm": (methods.abm, "1 + a"),
    "flmm2, bdf2": (methods.flmm2, "2"),
    "flmm2, trapezoidal": (partial(methods.flmm2, rule="trapezoidal"), "2"),
    "mittag_leffler": (lambda f, y0, a, h, n: methods.leak(np.full(n, INPUT), y0, a, 1.0, h), "exact"),
    "published gl": (published.gl_unshifted, "1, they say"),
    "published trap": (published.trapezoidal_published, "2, they say"),
}


def sections(quick: bool, plot: Path | None = None) -> Iterator[str]:
    """Orders, gradients, and what torch measures: cost, memory, error against the number of modes."""
    yield orders(QUICK_STEPS if quick else STEPS)
    yield gradients()
    yield directions()
    yield from import_module("neuroode.bench.fractional_torch").sections(quick, plot)


def solution(alpha: float) -> float:
    return float(methods.leak(np.full(1, INPUT), START, alpha, 1.0, END)[-1])


def errors(method: Callable[..., Array], alpha: float, steps: tuple[int, ...]) -> Array:
    """At t = 2 with so many steps."""
    ends = [method(lambda _, v: INPUT - v, START, alpha, END / n, n)[-1] for n in steps]
    return np.abs(np.array(ends) - solution(alpha))


def orders(steps: tuple[int, ...]) -> str:
    """Slopes of the last halving, with the error of the finest step."""
    lines = ["| method | order | " + " | ".join(f"a = {a:g}" for a in ALPHAS) + " |", "|---" * (len(ALPHAS) + 2) + "|"]
    for name, (method, known) in ORDERS.items():
        cells = [_slope(errors(method, a, steps)) for a in ALPHAS]
        lines.append(f"| {name} | {known} | " + " | ".join(cells) + " |")
    about = (
        f"D^a v = -v + {INPUT} from v = {START:g} to t = {END:g}: order, {steps[-2]} to {steps[-1]} steps, and error."
    )
    return f"## Orders of fractional methods\n\n{about}\n\n" + "\n".join(lines)


def _slope(found: Array) -> str:
    if found[-1] < ROUNDING:
        return f"exact ({found[-1]:.0e})"
    return f"{np.log2(found[-2] / found[-1]):.2f} ({found[-1]:.1e})"


def final_value(method: Callable[..., Array], alpha: float, leak: float, h: float, steps: int) -> Array:
    """d v(T)/d(input of each step) by the published adjoint: a Caputo problem with a final value, times h."""
    return h * method(lambda _, y: -leak * y, 1.0, alpha, h, steps)[:-1][::-1]


PUBLISHED = {
    "predictor-f": methods.rectangle, "gl-f": published.gl_unshifted, "trap-f": published.trapezoidal_published,
}  # fmt: skip


def gradients() -> str:
    """dL/db of L = v(10), D^0.5 v = b, in 200 steps."""
    right = 10**0.5 / gamma(1.5)
    rows = list(import_module("neuroode.bench.fractional_torch").of_constant(0.5, 0.05, 200))
    rows += [(f"published, {n}", float(final_value(m, 0.5, 0.0, 0.05, 200).sum())) for n, m in PUBLISHED.items()]
    lines = ["| by | dL/db | off |", "|---|---|---|", f"| closed form, T^a/Gamma(a + 1) | {right:.8f} | |"]
    lines += [f"| {name} | {found:.8f} | {found / right - 1:+.1e} |" for name, found in rows]
    return "## The gradient of v(10) for b, D^0.5 v = b from 0, 200 steps\n\n" + "\n".join(lines)


def directions() -> str:
    """How far the published gradients of input windows point away from the right one."""
    lines = ["| a | T, h, leak | predictor-f: cosine, norm | gl-f: cosine, norm |", "|---|---|---|---|"]
    for alpha in ALPHAS:
        for steps, h, leak, windows in ((200, 0.05, 0.1, 5), (100, 1.0, 0.5, 10)):
            pulses = transposed(alpha, leak, h, steps)
            right = _windows(pulses, windows)
            cells = [_beside(_windows(final_value(PUBLISHED[n], alpha, leak, h, steps), windows), right)
                     for n in ("predictor-f", "gl-f")]  # fmt: skip
            lines.append(f"| {alpha:g} | {steps * h:g}, {h:g}, {leak:g} | " + " | ".join(cells) + " |")
    return f"## Directions of the published gradients\n\n{ABOUT_DIRECTIONS}\n\n" + "\n".join(lines)


ABOUT_DIRECTIONS = """\
D^a v = -leak v + input, L = v(T), the input constant in 5 windows (T = 10) or 10 (T = 100); right is the derivative of
the rectangle rule. A cosine of 1 and a norm of 1 would be the same gradient."""


def transposed(alpha: float, leak: float, h: float, steps: int) -> Array:
    """d v(T)/d(input of each step) of the rectangle rule, by running its sums from the end to the start."""
    response = methods.rectangle(lambda t, v: (round(t / h) == 0) - leak * v, 0.0, alpha, h, steps)
    return response[1:][::-1]  # linear and free of t: the response to a pulse, read backwards


def _windows(g: Array, n: int) -> Array:
    return np.array([part.sum() for part in np.array_split(g, n)])


def _beside(found: Array, right: Array) -> str:
    sizes = np.linalg.norm(found), np.linalg.norm(right)
    return f"{found @ right / sizes[0] / sizes[1]:.3f}, {sizes[0] / sizes[1]:.2f}"
