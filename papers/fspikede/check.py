"""The published discretizations, resets and adjoint against closed forms, beside our methods; nothing of torch here.

The test problem is the linear leak D^a v = -v + 0.7, whose solution is v0 E + 0.7 (1 - E), E = E_a(-t^a).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from math import exp, gamma, log, sqrt
from time import process_time

import numpy as np
from scipy.special import digamma, erfcx

from neuroode.papers.fspikede import theirs
from neuroode.solvers.on_numpy import fractional as ours
from neuroode.solvers.on_numpy.mittag_leffler import mittag_leffler

Array = np.ndarray
INPUT, END = 0.7, 2.0
STEPS = (100, 200, 400, 800, 1600)
LONG = 32_768


def _leak(_: int, v: Array) -> Array:
    return INPUT - v


def _solution(alpha: float, v0: float) -> float:
    E = erfcx(sqrt(END)) if alpha == 0.5 else float(theirs.mittag_leffler(alpha, END))
    return float(v0 * E + INPUT * (1 - E))


def _errors(scheme: str, alpha: float, v0: float) -> Array:
    """Of a published scheme at t = 2 as the step is halved."""
    return _off(getattr(theirs, scheme), alpha, v0)


@cache
def _off(run: Callable[..., Array], alpha: float, v0: float) -> Array:
    ends = [run(_leak, v0, alpha, END / n, n)[-1] for n in STEPS]
    return np.abs(np.array(ends) - _solution(alpha, v0))


def _order(scheme: str, alpha: float, v0: float) -> float:
    return _slope(_errors(scheme, alpha, v0))


def _slope(errors: Array) -> float:
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


REFERENCE = {0.3: 0.456594408330, 0.5: 0.427583576156, 0.7: 0.399611978116, 0.9: 0.376066021425}


def function() -> Mapping[str, float]:
    """E_a(-1) against values of 12 digits, E_0.5(-x) against erfcx, others against the spectral integral."""
    x, t = np.geomspace(1e-6, 1e6, 200), np.geomspace(1e-3, 1e3, 50)
    return {
        "off E_a(-1)": max(abs(mittag_leffler(1.0, a) - value) for a, value in REFERENCE.items()),
        "off erfcx, relative": np.abs(mittag_leffler(x, 0.5) / erfcx(x) - 1).max(),
        "off the spectral integral": max(
            np.abs(mittag_leffler(t**a, a) - theirs.mittag_leffler(a, t)).max() for a in REFERENCE
        ),
    }


METHODS: dict[str, Callable[..., Array]] = {
    "rectangle": ours.rectangle, "gl": ours.gl, "l1": ours.l1, "abm": ours.abm, "flmm2": ours.flmm2,
    "flmm2 trapezoidal": partial(ours.flmm2, rule="trapezoidal"),
    "l1 graded": lambda f, y0, a, h, n: ours.l1_on(f, y0, a, ours.graded(h * n, n, a)),
}  # fmt: skip


def orders() -> Mapping[str, float]:
    """The leak from v0 = 1 at t = 2, N = 800 to 1600: the slope furthest from what it should be, over a."""
    slopes = {n: np.array([_slope(_off(m, a, 1.0)) for a in (0.3, 0.5, 0.8)]) for n, m in METHODS.items()}
    wanted = {
        "1": dict.fromkeys(("rectangle", "gl", "l1"), (1.0, 1.0, 1.0)),
        "2 - a": {"l1 graded": (1.7, 1.5, 1.2)},
        "what is known": {"abm": (1.38, 1.52, 1.79)},
    }
    found = {f"{n}, furthest from {word}": float(np.abs(slopes[n] - at).max()) for word, by in wanted.items()
             for n, at in by.items()}  # fmt: skip
    return found | {f"{n}, least": float(slopes[n].min()) for n in ("flmm2", "flmm2 trapezoidal")}


def propagator() -> Mapping[str, float]:
    """The exact leak for 32,768 random inputs, each held over 0.01, by FFT, and 4,096 of the sums; gl comes to it."""
    b = np.random.default_rng(0).normal(size=LONG)
    fast, direct = ours.leak(b, 1.0, 0.5, 1.0, 0.01), ours.leak(b[:4096], 1.0, 0.5, 1.0, 0.01, direct=True)
    return {"off the direct sum": np.abs(fast[:4097] - direct).max(), "order of gl towards it": _towards()}


def cost() -> Mapping[str, float]:
    """CPU milliseconds of the propagator at 32,768 steps by FFT, least of five."""
    b, taken = np.random.default_rng(0).normal(size=LONG), []
    for _ in range(5):
        start = process_time()
        ours.leak(b, 1.0, 0.5, 1.0, 0.01)
        taken.append(process_time() - start)
    return {"ms by FFT": 1e3 * min(taken)}


def _towards() -> float:
    """Slope of gl with one input a unit of time, against the propagator, at t = 4."""
    b = np.random.default_rng(1).normal(size=4)
    wanted = ours.leak(b, 1.0, 0.5, 1.0, 1.0)[-1]

    def off(n: int) -> float:
        found = ours.gl(lambda t, v: b[round(t * n) // n] - v, 1.0, 0.5, 1 / n, 4 * n)
        return float(abs(found[-1] - wanted))

    return float(np.log2(off(100) / off(200)))


def towards_one() -> Mapping[str, float]:
    """Each method at a = 1 - d beside itself at a = 1, 400 steps to t = 2: the difference is of order d; at a = 1
    rectangle and gl are Euler's steps."""
    found, h = {}, END / 400
    for name, method in METHODS.items():
        at_one = method(_leak, 1.0, 1.0, h, 400)[-1]
        off = [abs(method(_leak, 1.0, 1 - d, h, 400)[-1] - at_one) for d in (1e-4, 1e-6)]
        found[name] = float(np.log10(off[0] / off[1]) / 2)
    euler = INPUT + (1 - INPUT) * (1 - h) ** 400
    exact = INPUT + (1 - INPUT) * exp(-END)
    return {
        "furthest order in 1 - a from 1": max(abs(v - 1) for v in found.values()),
        "Euler off at a = 1": max(abs(METHODS[n](_leak, 1.0, 1.0, h, 400)[-1] - euler) for n in ("rectangle", "gl")),
        "all off LIF at a = 1": max(abs(m(_leak, 1.0, 1.0, h, 400)[-1] - exact) for m in METHODS.values()),
        "propagator off LIF at a = 1": abs(ours.leak(np.full(1, INPUT), 1.0, 1.0, 1.0, END)[-1] - exact),
    }


def tail() -> Mapping[str, float]:
    """v(t) t^a lam Gamma(1 - a) of a leak from 1, a = 0.5, lam = 2."""
    v = {t: float(ours.leak(np.zeros(1), 1.0, 0.5, 2.0, t)[-1]) for t in (1e2, 1e4)}
    return {f"v over its tail at t = {t:g}": v[t] * t**0.5 * 2 * gamma(0.5) for t in v}
