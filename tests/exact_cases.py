"""Linear neurons of every kind, each with the matrix that its step is measured against, in many digits.

A case is one declaration; its lanes are parameter values at which closed forms meet 0/0, stiffness or turns. Every
right side is multiplied by a parameter `h`, so that the gradient in `h` is the gradient in the length of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

STEPS = 2
#: A and the drive by power of the fraction of the step, from parameters, this sample and the last
Flow = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], tuple[list[list[Any]], list[list[Any]]]]


@dataclass(frozen=True, eq=False)
class Case:
    """`lanes`: name of a lane -> its parameters (besides h); `switched`: A reads the input g."""

    name: str
    text: str
    states: tuple[str, ...]
    lanes: Mapping[str, Mapping[str, float]]
    flow: Flow
    complex_states: tuple[str, ...] = ()
    kinds: Mapping[str, str] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.kinds or {"I": "current"})

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("h", *next(iter(self.lanes.values())))

    def yaml(self) -> str:
        rows = [f"  {p}: {{value: 1, per: neuron}}" for p in self.parameters]
        inits = ", ".join(f"{_key(s)}: {START[i]}" for i, s in enumerate(self.states))
        kinds = ", ".join(f"{n}: {k}" for n, k in (self.kinds or {"I": "current"}).items())
        outputs = ", ".join(f'{o}: "{e}"' for o, e in self.outputs())
        return (
            f"inputs: {{{kinds}}}\nstates: {{{inits}}}\nparameters:\n" + "\n".join(rows) + "\nmethod: exact\n"
            f"equations: |\n{self.text}\noutputs: {{{outputs}}}\n"
        )

    def outputs(self) -> list[tuple[str, str]]:
        """Every real number of the state, as an output of its own."""
        rows = []
        for i, s in enumerate(self.states):
            whole = s in self.complex_states
            rows += [(f"o{i}", f"real({s})"), (f"p{i}", f"imag({s})")] if whole else [(f"o{i}", s)]
        return rows

    def values(self) -> dict[str, np.ndarray]:
        """Parameters by name, one number a lane."""
        rows = {p: [lane.get(p, 1.0) for lane in self.lanes.values()] for p in self.parameters}
        return {p: np.array(v) for p, v in rows.items()}

    def samples(self) -> dict[str, np.ndarray]:
        """Inputs (STEPS, lanes), exact in float32. g is 1 in its first step, where v*g - v vanishes."""
        rng = np.random.default_rng(len(self.name))
        shape = (STEPS, len(self.lanes))
        rows = {n: rng.uniform(-1, 1, shape) for n in self.inputs}
        if "g" in rows:
            rows["g"] = np.stack([np.ones(shape[1]), np.abs(rows["g"][1])])
        return {n: np.round(x * 64) / 64 for n, x in rows.items()}


START = (0.625, -1.25, 0.875, 0.5)
RAMP = {"I": "{kind: current, hold: linear}"}
SWITCHED = {"I": "current", "g": "current"}
NEAR = (0.0, 1e-12, 1e-9, 1e-6, 1e-3)


def _key(state: str) -> str:
    return f'"{state}"' if "'" in state else state


def _apart(base: str, other: str, value: float, **rest: float) -> dict[str, dict[str, float]]:
    """Lanes where two parameters are equal, or apart by 1e-12 to 1e-3 of their size."""
    return {f"{e:g} apart" if e else "equal": {base: value, other: value * (1 + e), **rest} for e in NEAR}


def _one(p: Any, x: Any, _: Any) -> tuple:
    return [[p["a"]]], [[x["I"] + p["c"]]]


def _one_ramp(p: Any, x: Any, last: Any) -> tuple:
    return [[p["a"]]], [[last["I"] + p["c"]], [x["I"] - last["I"]]]


def _square_ramp(p: Any, x: Any, last: Any) -> tuple:
    d = x["I"] - last["I"]
    return [[p["a"]]], [[last["I"] ** 2 + p["c"]], [2 * d * last["I"]], [d**2]]


def _pole(p: Any, x: Any, _: Any) -> tuple:
    return [[mpmath.mpc(p["a"], p["b"])]], [[mpmath.mpc("0.25", 1) * x["I"]]]


def _pole_ramp(p: Any, x: Any, last: Any) -> tuple:
    gain = mpmath.mpc("0.25", 1)
    return [[mpmath.mpc(p["a"], p["b"])]], [[gain * last["I"]], [gain * (x["I"] - last["I"])]]


def _synapse(p: Any, x: Any, _: Any) -> tuple:
    return [[-1 / p["q"], 0], [1 / p["tau"], -1 / p["tau"]]], [[x["I"], p["E"] / p["tau"]]]


def _synapse_ramp(p: Any, x: Any, last: Any) -> tuple:
    return _synapse(p, last, last)[0], [[last["I"], p["E"] / p["tau"]], [x["I"] - last["I"], 0]]


def _chain(p: Any, x: Any, _: Any) -> tuple:
    r, d, m = (1 / p[n] for n in ("r", "d", "m"))
    return [[-r, 0, 0], [d, -d, 0], [0, m, -m]], [[x["I"], 0, 0]]


def _oscillator(p: Any, x: Any, _: Any) -> tuple:
    return [[0, 1], [-(p["w"] ** 2), -2 * p["z"] * p["w"]]], [[0, x["I"]]]


def _oscillator_ramp(p: Any, x: Any, last: Any) -> tuple:
    return _oscillator(p, x, last)[0], [[0, last["I"]], [0, x["I"] - last["I"]]]


def _third(p: Any, x: Any, _: Any) -> tuple:
    return [[0, 1, 0], [0, 0, 1], [p["a"], p["b"], p["c"]]], [[0, 0, x["I"]]]


def _third_ramp(p: Any, x: Any, last: Any) -> tuple:
    return _third(p, x, last)[0], [[0, 0, last["I"]], [0, 0, x["I"] - last["I"]]]


def _two_complex(p: Any, x: Any, _: Any) -> tuple:
    i = mpmath.mpc(0, 1)
    return [[p["a"] + i * p["b"], p["c"]], [i * p["d"], p["a"] - i * p["b"]]], [[x["I"], i * x["I"]]]


def _mixed(p: Any, x: Any, _: Any) -> tuple:
    i = mpmath.mpc(0, 1)
    return [[-1 / p["q"], 0], [1 + 2 * i, p["a"] + i * p["b"]]], [[x["I"], 0]]


def _leak(p: Any, x: Any, _: Any) -> tuple:
    return [[(x["g"] - 1) / p["tau"]]], [[(p["E"] + x["I"]) / p["tau"]]]


def _pole_switched(p: Any, x: Any, _: Any) -> tuple:
    i = mpmath.mpc(0, 1)
    return [[(p["a"] + i * p["b"]) * x["g"]]], [[x["I"]]]


def _synapse_switched(p: Any, x: Any, _: Any) -> tuple:
    return [[-1 / p["q"], 0], [x["g"], -x["g"] / p["tau"]]], [[x["I"], 0]]


def _oscillator_switched(p: Any, x: Any, _: Any) -> tuple:
    return [[0, 1], [-(p["w"] ** 2), -2 * p["z"] * p["w"] * x["g"]]], [[0, x["I"]]]


def _third_switched(p: Any, x: Any, _: Any) -> tuple:
    return [[0, 1, 0], [0, 0, 1], [p["a"] * x["g"], p["b"], p["c"] * x["g"]]], [[0, 0, x["I"]]]


def _two_complex_switched(p: Any, x: Any, _: Any) -> tuple:
    i, g = mpmath.mpc(0, 1), x["g"]
    return [[p["a"] + i * p["b"] * g, p["c"] * g], [i * p["d"], p["a"] - i * p["b"] * g]], [[x["I"], 0]]


FEW = ("undamped", "damped", "critical", "critical + 1e-09", "critical - 1e-06", "stiff", "free")
DECAYS = {
    "decay": {"a": -0.05, "c": 0.7}, "stiff": {"a": -1e4, "c": 0.7}, "zero": {"a": 0.0, "c": 0.7},
    "tiny": {"a": -1e-13, "c": 0.7}, "growth": {"a": 2.0, "c": -0.3},
}  # fmt: skip
POLES = {
    "damped": {"a": -1.0, "b": 10.0}, "undamped": {"a": 0.0, "b": 3.0}, "zero": {"a": 0.0, "b": 0.0},
    "tiny": {"a": 1e-9, "b": -1e-12}, "stiff": {"a": -1e4, "b": 3.0}, "60 turns": {"a": -0.5, "b": 400.0},
}  # fmt: skip
SYNAPSES = _apart("tau", "q", 2.5, E=-0.7) | {"stiff": {"tau": 10.0, "q": 1e-4, "E": 0.5}}
REGIMES = {
    "undamped": {"w": 3.0, "z": 0.0}, "damped": {"w": 3.0, "z": 0.1},
    **{f"critical{f' + {e:g}' if e else ''}": {"w": 1.5, "z": 1 + e} for e in NEAR},
    **{f"critical - {e:g}": {"w": 1.5, "z": 1 - e} for e in NEAR[1:]},
    "overdamped": {"w": 1.5, "z": 4.0}, "stiff": {"w": 1.0, "z": 5e3}, "40 turns": {"w": 250.0, "z": 0.01},
    "free": {"w": 0.0, "z": 0.3}, "nearly free": {"w": 1e-9, "z": 0.3},
}  # fmt: skip
THIRD = {
    "triple": {"a": -1.0, "b": -3.0, "c": -3.0}, "nearly triple": {"a": -1 - 1e-9, "b": -3.0, "c": -3.0},
    "zeros": {"a": 0.0, "b": 0.0, "c": 0.0}, "turning": {"a": -6.0, "b": -11.0, "c": -2.0},
    "stiff": {"a": -1.0, "b": -1e4, "c": -1e4},
}  # fmt: skip
COUPLED = {
    "apart": {"a": -0.5, "b": 2.0, "c": 0.7, "d": -1.1}, "defective": {"a": -0.5, "b": 0.0, "c": 1.0, "d": 0.0},
    "nearly defective": {"a": -0.5, "b": 1e-9, "c": 1.0, "d": 1e-12},
    "stiff": {"a": -1e4, "b": 2.0, "c": 5.0, "d": 1.0},
    "zeros": {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0},
}  # fmt: skip
MIXED = {
    "resonator": {"q": 2.0, "a": -0.5, "b": 6.0}, "equal": {"q": 2.0, "a": -0.5, "b": 0.0},
    "nearly equal": {"q": 2.0, "a": -0.5, "b": 1e-9},
}  # fmt: skip

Z = "  dz/dt = h*((a + b*i)*z + (0.25 + 1i)*I) : complex"
SYNAPSE = "  dj/dt = h*(-j/q + I)\n  dv/dt = h*(E - v + j)/tau"
OSCILLATOR = "  x'' = h^2*(-w^2*x + I) - 2*h*z*w*x'"
THREE = "  x''' = h^3*(a*x + I) + h^2*b*x' + h*c*x''"
TWO = "  du/dt = h*((a + b*i)*u + c*w + I) : complex\n  dw/dt = h*(1i*d*u + (a - b*i)*w + 1i*I) : complex"

CASES = (
    Case("one state", "  dx/dt = h*(a*x + I + c)", ("x",), DECAYS, _one),
    Case("one complex state", Z, ("z",), POLES, _pole, ("z",)),
    Case("synapse and membrane", SYNAPSE, ("j", "v"), SYNAPSES, _synapse),
    Case(
        "double-exponential synapse and membrane",
        "  ds/dt = h*(-s/r + I)\n  dk/dt = h*(s - k)/d\n  dv/dt = h*(k - v)/m", ("s", "k", "v"),
        {n: {**p, "m": p["d"]} for n, p in _apart("r", "d", 2.0).items()} | _apart("r", "d", 2.0, m=11.0)
        | {"stiff": {"r": 1e-4, "d": 1e-4, "m": 10.0}},
        _chain,
    ),
    Case("oscillator, x''", OSCILLATOR, ("x", "x'"), REGIMES, _oscillator),
    Case("third order, x'''", THREE, ("x", "x'", "x''"), THIRD, _third),
    Case("two coupled complex states", TWO, ("u", "w"), COUPLED, _two_complex, ("u", "w")),
    Case(
        "synapse and complex resonator", "  dj/dt = h*(-j/q + I)\n  du/dt = h*((a + b*i)*u + (1 + 2i)*j) : complex",
        ("j", "u"), MIXED, _mixed, ("u",),
    ),
    Case("one state, I a ramp", "  dx/dt = h*(a*x + I + c)", ("x",), DECAYS, _one_ramp, kinds=RAMP),
    Case("one state, square of a ramp", "  dx/dt = h*(a*x + I^2 + c)", ("x",), DECAYS, _square_ramp, kinds=RAMP),
    Case("one complex state, I a ramp", Z, ("z",), POLES, _pole_ramp, ("z",), RAMP),
    Case("synapse and membrane, I a ramp", SYNAPSE, ("j", "v"), SYNAPSES, _synapse_ramp, kinds=RAMP),
    Case("oscillator, I a ramp", OSCILLATOR, ("x", "x'"), {n: REGIMES[n] for n in FEW}, _oscillator_ramp,
         kinds=RAMP),
    Case("third order, I a ramp", THREE, ("x", "x'", "x''"), THIRD, _third_ramp, kinds=RAMP),
    Case(
        "one state, A reads g", "  dv/dt = h*(v*g - v + E + I)/tau", ("v",),
        {"slow": {"tau": 20.0, "E": -0.6}, "fast": {"tau": 1e-4, "E": 0.4}}, _leak, kinds=SWITCHED,
    ),
    Case("one complex state, A reads g", "  dz/dt = h*((a + b*i)*g*z + I) : complex", ("z",),
         {n: POLES[n] for n in ("damped", "undamped", "zero", "tiny")}, _pole_switched, ("z",), SWITCHED),
    Case("synapse and membrane, A reads g", "  dj/dt = h*(-j/q + I)\n  dv/dt = h*(j - v/tau)*g", ("j", "v"),
         _apart("tau", "q", 2.5), _synapse_switched, kinds=SWITCHED),
    Case("oscillator, A reads g", "  x'' = h^2*(-w^2*x + I) - 2*h*z*w*g*x'", ("x", "x'"),
         {n: REGIMES[n] for n in FEW}, _oscillator_switched, kinds=SWITCHED),
    Case("third order, A reads g", "  x''' = h^3*(a*g*x + I) + h^2*b*x' + h*c*g*x''", ("x", "x'", "x''"), THIRD,
         _third_switched, kinds=SWITCHED),
    Case("two coupled complex states, A reads g",
         "  du/dt = h*((a + b*g*i)*u + c*g*w + I) : complex\n  dw/dt = h*(1i*d*u + (a - b*g*i)*w) : complex",
         ("u", "w"), COUPLED, _two_complex_switched, ("u", "w"), SWITCHED),
)  # fmt: skip


# the reference


def size(case: Case, lane: int) -> float:
    """The largest 1-norm of A over the steps of a lane."""
    p, samples = {n: v[lane] for n, v in case.values().items()}, case.samples()
    norms = []
    for t in range(STEPS):
        x = {n: v[t, lane] for n, v in samples.items()}
        A = np.array([[complex(e) for e in row] for row in case.flow(p, x, x)[0]])
        norms.append(float(np.abs(A).sum(axis=0).max()))
    return max(norms)


def reference(case: Case, lane: int, weights: np.ndarray, digits: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Real numbers of the state after the run, and the gradients of their weighted sum in the parameters."""
    with mpmath.workdps(digits):
        given = {n: mpmath.mpf(float(v[lane])) for n, v in case.values().items()}
        tiny = mpmath.mpf(10) ** (-digits // 3)
        last = _run(case, lane, given)
        slopes = []
        for n in case.parameters:
            ends = [_run(case, lane, given | {n: given[n] + s * tiny}) for s in (1, -1)]
            slopes.append(mpmath.fsum(w * (a - b) for w, a, b in zip(weights, *ends, strict=True)) / (2 * tiny))
        return np.array([float(v) for v in last]), np.array([float(s) for s in slopes])


def _run(case: Case, lane: int, p: Mapping[str, Any]) -> list[Any]:
    samples = {n: [mpmath.mpf(float(v)) for v in x[:, lane]] for n, x in case.samples().items()}
    state = [mpmath.mpf(s) for s in START[: len(case.states)]]
    last = {n: mpmath.mpf(0) for n in samples}
    scale = [p["h"] ** i if "'" in case.states[-1] else 1 for i in range(len(state))]
    for t in range(STEPS):
        x = {n: v[t] for n, v in samples.items()}
        A, drives = case.flow(p, x, last)
        # x' of the text counts time in units of 1/h: y_i = x_i/h^i has the matrix A*h
        scaled = [v / s for v, s in zip(state, scale, strict=True)]
        state = [v * s for v, s in zip(_step(A, drives, p["h"], scaled), scale, strict=True)]
        last = x
    return [part for s, v in zip(case.states, state, strict=True) for part in _parts(v, s in case.complex_states)]


def _parts(v: Any, whole: bool) -> Sequence[Any]:
    return (mpmath.re(v), mpmath.im(v)) if whole else (mpmath.re(v),)


def _step(A: list, drives: list, h: Any, state: list) -> list[Any]:
    """x' = A x + sum_k u_k (s/h)^k over the length h by one matrix exponential: the drive is a chain of states."""
    n, count = len(A), len(drives)
    m = mpmath.zeros(n + count)
    for i in range(n):
        for j in range(n):
            m[i, j] = A[i][j] * h
        for k in range(count):
            m[i, n + k] = drives[k][i] * h * mpmath.factorial(k)
    for k in range(1, count):
        m[n + k, n + k - 1] = 1  # (s/h)^k/k! is the integral of the one before
    m = mpmath.expm(m)
    start = mpmath.matrix([*state, 1, *[0] * (count - 1)])
    return list((m * start)[:n])
