"""Our neurons, in float64 by the reference interpreter, beside the formulas of `theirs` and scipy's integrator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from neuroode.neuron import Neuron, load
from neuroode.papers.qif import theirs
from neuroode.spec.dsl import Parameter

Array = np.ndarray
DRAWS, LEVEL = 300, 2.0


def _neuron(**changes: Any) -> Neuron:
    """dv/dt = A v^2 + B v + C from v_0, every number a lane's own."""
    lanes = {name: Parameter(0.0, per="neuron") for name in ("B", "C", "v_0")}
    lanes["A"] = Parameter(1.0, per="neuron", domain="positive")
    given = {"equations": "dv/dt = A*v^2 + B*v + C + I", "states": {"v": "v_0"}, "dt": 1, **changes}
    return Neuron("riccati", parameters=lanes, **given)


@cache
def _draws() -> Array:
    """(5, 300): A, B, C, v_0 and a time of at most 0.9 of that to infinity; a third has the discriminant 0."""
    random = np.random.default_rng(0)
    A, B, v = random.uniform(0.1, 2, DRAWS), random.normal(size=DRAWS), random.uniform(-2, 1, DRAWS)
    C = np.where(np.arange(DRAWS) % 3 == 0, B**2 / 4 / A, random.normal(size=DRAWS))
    h = [min(2.0, 0.9 * theirs.blow_up(*row)) * random.uniform(0.2, 1) for row in zip(A, B, C, v, strict=True)]
    return np.array([A, B, C, v, h])


def _flow(A: float, B: float, C: float, v: float, h: float, level: float | None = None) -> Any:
    events = None
    if level is not None:
        events = lambda _, y: y[0] - level  # noqa: E731
        events.terminal = True  # type: ignore[attr-defined]
    return solve_ivp(lambda _, y: A * y**2 + B * y + C, (0, h), [v], "DOP853", events=events, rtol=1e-11, atol=1e-13)


def _reached(A: float, B: float, C: float, v: float) -> Array:
    """When the level is first reached within 25, by event location; empty if it is not."""
    found: Array = _flow(A, B, C, v, 25.0, LEVEL).t_events[0]
    return found


def exact_step() -> Mapping[str, float]:
    """One step of 300 random flows; the time is part of A, B and C."""
    A, B, C, v, h = _draws()
    values = {"A": A * h, "B": B * h, "C": C * h, "v_0": v}
    ours = _neuron(outputs="v").simulate(np.zeros((1, 1, DRAWS)), size=DRAWS, parameters=values)["v"][0, 0]
    wanted = np.array([_flow(*row).y[0, -1] for row in zip(A, B, C, v, h, strict=True)])
    ends = [theirs.matrix(a, b, c, t) @ [start, 1] for a, b, c, start, t in _draws().T]
    formula = [top / bottom for top, bottom in ends]
    return {
        "our step off solve_ivp": float((np.abs(ours - wanted) / (1 + np.abs(wanted))).max()),
        "the formula off our step": float((np.abs(ours - formula) / (1 + np.abs(ours))).max()),
        "flows": DRAWS,
    }


def threshold_times() -> Mapping[str, float]:
    """First times to 2 against event location; and whether our neuron fires in a step just before or after them."""
    A, B, C, v, _ = _draws()
    at = np.array([theirs.time_to(LEVEL, *row) for row in zip(A, B, C, v, strict=True)])
    soon = at < 20
    found = [_reached(*row) for row in zip(A[soon], B[soon], C[soon], v[soon], strict=True)]
    silent = np.isinf(at)
    never = [len(_reached(*row)) for row in zip(A[silent], B[silent], C[silent], v[silent], strict=True)]
    wrong = sum(_wrong(by, by > 1, soon, at) for by in (1 - 1e-9, 1 + 1e-9))
    return {
        "off event location": float(max(abs(f[0] - t) / t for f, t in zip(found, at[soon], strict=True))),
        "spikes": int(soon.sum()),
        "spikes where the formula says never": int(sum(never)),
        "silent draws": len(never),
        "wrong steps of ours within 1e-9 of it": wrong,
    }


def _wrong(by: float, fires: bool, which: Array, at: Array) -> int:
    A, B, C, v, _ = _draws()[:, which]
    h = by * at[which]
    neuron = _neuron(spike=f"v >= {LEVEL:g}", reset="v = 0")
    values = {"A": A * h, "B": B * h, "C": C * h, "v_0": v}
    spikes = neuron.simulate(np.zeros((1, 1, len(h))), size=len(h), parameters=values)["s"][0, 0]
    return int((spikes != fires).sum())


def product() -> Mapping[str, float]:
    """200 steps of a flow without spikes as one matrix, as it is, and our steps."""
    x = 0.5 * np.random.default_rng(1).normal(size=200)
    A, B, h = 0.5, -0.8, 0.05
    whole = np.eye(2)
    for each in x:
        whole = theirs.matrix(A, B, each, h) @ whole
    top, bottom = whole @ [0.2, 1.0]
    values = {"A": A, "B": B, "C": 0.0, "v_0": 0.2}
    ours = _neuron(outputs="v").simulate(x[:, None, None], dt=h, parameters=values)["v"].ravel()[-1]
    return {
        "product off our steps": abs(top / bottom - ours),
        "determinant off 1": abs(float(np.linalg.det(whole)) - 1),
    }


def theta_spikes() -> Mapping[str, float]:
    """20 inputs of 400 steps: our theta neuron, sign flips of prefix products, Runge-Kutta steps of the angle."""
    I = np.random.default_rng(2).uniform(-1, 6, (400, 20))
    ours = load("theta").simulate(I[:, None], dt=0.1, size=20)["s"].sum((0, 1)).astype(int)
    return {
        "differing counts, sign flips": int((ours != theirs.sign_flips(I, 0.1)).sum()),
        "differing counts, angle": int((ours != theirs.angle_spikes(I, 0.1, 40)).sum()),
        "spikes": int(ours.sum()),
    }


def interval() -> Mapping[str, float]:
    """The shortest step that takes v' = v^2 + I from -infinity to a spike, by narrowing 41 lanes of other lengths."""
    off = []
    for current in (0.5, 1.0, 2.0, 8.0):
        low, high = 0.5, 8.0
        for _ in range(7):
            lengths = np.linspace(low, high, 41)
            neuron = load("theta").add(states={"v": -1e99})
            x = np.full((1, 1, 41), current)
            fired = neuron.simulate(x, dt=1.0, size=41, parameters={"tau": 1 / lengths})["s"][0, 0]
            first = int(fired.argmax())
            low, high = lengths[first - 1], lengths[first]
        off.append(abs((low + high) / 2 - np.pi / np.sqrt(current)))
    return {"furthest from pi/sqrt(I)": max(off)}


def basin() -> Mapping[str, float]:
    """Starts from which the Euler map without input stays bounded: [u_1 - 1/a, u_2] = [-4, 0.5]; the flow comes to rest
    from any depth."""
    deep = load("qif").replace(parameters={"v_th": 10}).add(states={"v": -1e3})
    return {
        "upper end off u_2": abs(_edge(0.2, 0.9) - 0.5),
        "lower end off u_1 - 1/a": abs(_edge(-3.0, -4.7) + 4.0),
        "spikes of the flow from -1000": int(deep.simulate(np.zeros((100, 1, 1)))["s"].sum()),
    }


def _edge(inside: float, outside: float) -> float:
    start = Parameter(0.0, per="neuron")
    free = (
        load("qif", compat="euler_map")
        .replace(parameters={"v_th": 1e6})
        .add(states={"v": "v_0"}, parameters={"v_0": start})
    )
    for _ in range(5):
        starts = np.linspace(inside, outside, 41)
        ran = free.simulate(np.zeros((300, 1, 41)), size=41, parameters={"v_0": starts})["s"].any(axis=(0, 1))
        first = int(ran.argmax())
        inside, outside = starts[first - 1], starts[first]
    return float((inside + outside) / 2)


def order() -> Mapping[str, float]:
    """Of Euler steps at time 4, against the exact step."""
    free = load("qif").replace(parameters={"v_th": 100}).add(states={"v": 0.3})
    exact = free.simulate(np.full((4, 1, 1), 0.05), dt=1.0)["v"].ravel()[-1]
    rows = [
        free.simulate(np.full((4 * n, 1, 1), 0.05), dt=1 / n, method="euler")["v"].ravel()[-1] for n in (8, 16, 32, 64)
    ]
    slopes = np.log2(np.divide(np.abs(rows[:-1] - exact), np.abs(rows[1:] - exact)))
    return {"lowest order": float(slopes.min()), "highest order": float(slopes.max())}


def gaussian() -> Mapping[str, float]:
    """Two million samples of one step of our Euler map from Gaussian potentials (mean 0.1, deviation 0.4)."""
    random, n = np.random.default_rng(3), 2_000_000
    start = Parameter(0.0, per="neuron")
    free = (
        load("qif", compat="euler_map")
        .replace(parameters={"v_th": 1e6})
        .add(states={"v": "v_0"}, parameters={"v_0": start})
    )
    x, v = 0.5 * random.normal(size=(1, 1, n)), 0.1 + 0.4 * random.normal(size=n)
    u = free.simulate(x, size=n, parameters={"v_0": v})["v"]
    mean, variance = theirs.moments(0.1, 0.4, 0.5)
    return {
        "mean off the formula": abs(float(u.mean()) - mean),
        "variance off it, relative": abs(float(u.var()) / variance - 1),
    }


def growth() -> Mapping[str, float]:
    """Deviations after 4 steps of N(0, 1) inputs: of the closure, and of our map with its hard reset."""
    x = np.random.default_rng(4).normal(size=(4, 1, 200_000))
    rows = load("qif", compat="euler_map").simulate(x, size=200_000)
    rates = rows["s"].mean((1, 2))
    return {
        "closure at step 1": theirs.window(1.0, 1),
        "closure at step 4": theirs.window(1.0, 4),
        "with the reset at step 4": float(rows["v.before"][3].std()),
        "rate at step 1": float(rates[0]),
        "rate at step 4": float(rates[3]),
    }


def overflow() -> Mapping[str, float]:
    """a = 1.5 under N(0, 1) inputs, 100 steps of 1,000 lanes: lanes whose potential is not finite."""
    x = np.random.default_rng(5).normal(size=(100, 1, 1000))
    steep = {"value": 1.5, "domain": "positive"}
    with np.errstate(all="ignore"):
        free = load("qif", compat="euler_map").replace(parameters={"a": steep}).remove("reset", "v_reset")
        rows = {
            "Euler without reset": free,
            "Euler with reset": load("qif", compat="euler_map").replace(parameters={"a": steep}),
            "exact with reset": load("qif").replace(parameters={"a": steep}),
        }
        runs = {name: neuron.simulate(x, size=1000)["v"] for name, neuron in rows.items()}
    lost = {name: int((~np.isfinite(v)).any(axis=(0, 1)).sum()) for name, v in runs.items()}
    return lost | {
        "deepest, Euler with reset": float(runs["Euler with reset"].min()),
        "deepest, exact": float(runs["exact with reset"].min()),
    }
