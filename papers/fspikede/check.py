"""The published discretizations, resets and adjoint against closed forms; nothing of torch here.

The test problem is the linear leak D^a v = -v + 0.7, whose solution is v0 E + 0.7 (1 - E), E = E_a(-t^a).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import gamma, log, sqrt

import numpy as np
from scipy.special import digamma, erfcx

from neuroode.papers.fspikede import theirs

Array = np.ndarray
INPUT, END = 0.7, 2.0
STEPS = (100, 200, 400, 800, 1600)


def _leak(_: int, v: Array) -> Array:
    return INPUT - v


def _solution(alpha: float, v0: float) -> float:
    E = erfcx(sqrt(END)) if alpha == 0.5 else float(theirs.mittag_leffler(alpha, END))
    return float(v0 * E + INPUT * (1 - E))


@cache
def _errors(scheme: str, alpha: float, v0: float) -> Array:
    """At t = 2 as the step is halved."""
    run = getattr(theirs, scheme)
    ends = [run(_leak, v0, alpha, END / n, n)[-1] for n in STEPS]
    return np.abs(np.array(ends) - _solution(alpha, v0))


def _order(scheme: str, alpha: float, v0: float) -> float:
    errors = _errors(scheme, alpha, v0)
    return float(np.log2(errors[-2] / errors[-1]))


def stated_orders() -> Mapping[str, float]:
    """alpha = 0.5 from v0 = 0, the last halving, N = 800 to 1600."""
    names = {"l1": "l1", "trap": "trap", "predictor": "predictor", "gl": "gl", "corrector": "Adams predictor-corrector"}
    return {f"order of {shown}": _order(name, 0.5, 0.0) for name, shown in names.items()}


def initial_value() -> Mapping[str, float]:
    """v0 = 1, alpha = 0.5, N = 1600; what gl finds is the solution from 0."""
    found = {f"{name} off": _errors(name, 0.5, 1.0)[-1] for name in ("gl", "trap", "predictor", "l1")}
    from_0 = abs(theirs.gl(_leak, 1.0, 0.5, END / STEPS[-1], STEPS[-1])[-1] - _solution(0.5, 0.0))
    return found | {"gl off the solution from 0": from_0, "order of gl on v - v0": _order("gl_shifted", 0.5, 1.0)}


def order_one() -> Mapping[str, float]:
    """The leak at t = 2 from 0 in 200 steps, alpha = 1 and next to it; Euler gives 0.7 (1 - 0.99^200)."""
    runs = {f"{name}, alpha = {a:g}": getattr(theirs, name)(_leak, 0.0, a, 0.01, 200)[-1]
            for name in ("l1", "trap", "gl", "predictor") for a in (1.0, 0.999999)}  # fmt: skip
    return runs | {"Euler": INPUT * (1 - 0.99**200), "largest step at alpha = 1 of gl and predictor": max(
        abs(runs[f"{name}, alpha = 1"] - INPUT * (1 - 0.99**200)) for name in ("gl", "predictor"))}  # fmt: skip


def short_memory() -> Mapping[str, float]:
    """The leak with alpha = 1/2 after 1,600 steps of 0.01 from 0, with all of its past and with the last 50 and 200."""
    whole = theirs.gl(_leak, 0.0, 0.5, 0.01, 1600)[-1]
    short = {m: theirs.gl_short(_leak, 0.0, 0.5, 0.01, 1600, m)[-1] for m in (50, 200)}
    return {"whole past": whole} | {f"relative error, last {m} steps": abs(v / whole - 1) for m, v in short.items()}


def adjoint() -> Mapping[str, float]:
    """dL/db of L = v(T), D^(1/2) v = b, in 200 steps up to T = 10; the exact one is T^(1/2)/Gamma(3/2)."""
    found = {f"dL/db by {n}-f": theirs.adjoint(n, 0.5, 0.0, 0.05, 200).sum() for n in ("predictor", "l1", "gl", "trap")}
    right = theirs.exact_adjoint(0.5, 0.0, 0.05, 200).sum()
    return found | {"dL/db, transposed sum": right, "that off T^a/Gamma(a + 1)": abs(right - sqrt(10) / gamma(1.5))}


def recency() -> Mapping[str, float]:
    """How much more v(10) gains from an input at 9.5 than at 0.5, without leak; (9.5/0.5)^(1 - a) is right."""
    right, published = (run(0.5, 0.0, 0.01, 1000) for run in (
        theirs.exact_adjoint, lambda *known: theirs.adjoint("predictor", *known)))  # fmt: skip
    late, early = 949, 50
    return {"right": right[late] / right[early], "that over 19^(1 - a)": right[late] / right[early] / 19**0.5,
            "predictor-f": published[late] / published[early]}  # fmt: skip


def direction() -> Mapping[str, float]:
    """Gradient of v(T) for ten windows of input by predictor-f and right: T = 99, h = 1, alpha = 0.3, tau = 2."""
    found = {}
    for name, leak in (("leak 1/2", 0.5), ("no leak", 0.0)):
        published, right = (
            _windows(g, 10)
            for g in (theirs.adjoint("predictor", 0.3, leak, 1.0, 99), theirs.exact_adjoint(0.3, leak, 1.0, 99))
        )
        found[f"cosine, {name}"] = published @ right / np.linalg.norm(published) / np.linalg.norm(right)
        found[f"ratio of norms, {name}"] = np.linalg.norm(published) / np.linalg.norm(right)
    return found


def _windows(g: Array, n: int) -> Array:
    return np.array([part.sum() for part in np.array_split(g, n)])


def resets() -> Mapping[str, float]:
    """What one reset by 1 at t = 1 changes at t = 2; D^(1/2) v = I/2, in steps of 0.1, 0.01 and 0.001."""
    found: dict[str, float] = {}
    for h in (0.1, 0.01, 0.001):
        found[f"in the history, h = {h:g}"] = theirs.reset_in_history(0.5, h, 1.0, 2.0)
        found[f"as a current, h = {h:g}"] = theirs.reset_current(0.5, h, 1.0, 2.0)
    for name in ("in the history", "as a current"):
        found[f"order in h, {name}"] = np.log10(found[f"{name}, h = 0.01"] / found[f"{name}, h = 0.001"])
    return found


def order_gradient() -> Mapping[str, float]:
    """dv(T)/da of D^a v = 1 at a = 1/2, where v = T^a/Gamma(a + 1); as released Gamma(a) is a plain number."""
    a, e, found = 0.5, 1e-5, {}
    for T in (1.0, 5.0, 10.0):
        v = T**a / gamma(a + 1)
        released, right = v * (log(T) - 1 / a), v * (log(T) - digamma(a + 1))
        found[f"as released, T = {T:g}"], found[f"right, T = {T:g}"] = released, right
        found[f"off the right one, T = {T:g}"] = abs(released / right - 1)
    ends = [theirs.predictor(lambda _, y: y**0, 0.0, a + d, 0.05, 100)[-1] for d in (e, -e)]
    return found | {"differences off the right one": abs((ends[0] - ends[1]) / (2 * e) - found["right, T = 5"])}
