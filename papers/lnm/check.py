"""Our learnable neurons, in float64 by the reference interpreter, beside numpy's polynomials and scipy's integrator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.polynomial import polynomial
from scipy.integrate import solve_ivp

from neuroode.neuron import Neuron, load
from neuroode.papers.lnm import theirs
from neuroode.spec.dsl import Parameter

Array = np.ndarray
LOW, HIGH = -2.0, 1.0  # u_lo and the threshold
CUBIC = np.array([0.2, -1.0, 0.4, -0.1])  # F of the flow


def _of_degree(degree: int, compat: str | None = None) -> Neuron:
    return load("lnm", compat=compat).with_axes({"power": degree + 1})


def map_alone() -> Mapping[str, float]:
    """Degrees 1 to 5, 200 steps of 50 lanes, against powers written out in numpy."""
    found, spikes = 0.0, 0
    for degree, theta in THETA.items():
        x = 0.5 * np.random.default_rng(degree).normal(size=(200, 1, 50)) + 0.1
        rows = _of_degree(degree).simulate(x, size=50, parameters={"theta": theta})
        u, s = theirs.run(theta, x)
        found, spikes = max(found, float(np.abs(rows["u.before"] - u).max())), spikes + int((rows["s"] != s).sum())
    return {"potentials off": found, "differing spikes": spikes}


#: coefficients from which random inputs do not run away
THETA = {
    1: np.array([0.05, 0.6]), 2: np.array([0.05, 0.6, 0.2]), 3: np.array([0.05, 0.6, 0.2, 0.05]),
    4: np.array([0.05, 0.6, 0.1, 0.05, -0.03]), 5: np.array([0.05, 0.6, 0.1, 0.05, -0.03, -0.01]),
}  # fmt: skip


def cost() -> Mapping[str, float]:
    """Multiplications and additions of a step more than of degree 1, counted in the programs."""
    counts = {d: [_count(_of_degree(d), op) for op in ("mul", "add")] for d in range(1, 6)}
    extra = {d: np.subtract(counts[d], counts[1]) for d in counts}
    return {
        **{f"{name} more at degree 3": int(extra[3][i]) for i, name in enumerate(("multiplications", "additions"))},
        "degrees where it is not d - 1 of each": sum(bool((e != d - 1).any()) for d, e in extra.items()),
    }


def _count(neuron: Neuron, op: str) -> int:
    return sum(a.op == op for a in neuron.program().body)


def bound() -> Mapping[str, float]:
    """10,000 random vectors of 4 coefficients, slopes between 1,001 points of [u_lo, v_th] by one step of ours."""
    random = np.random.default_rng(0)
    c = random.normal(size=(10_000, 4)) * random.choice([0.1, 1.0, 10.0], (10_000, 1))
    found = np.concatenate([_slopes("contractive", part) for part in np.split(c, 20)])
    plain = np.concatenate([_slopes("chebyshev", part) for part in np.split(c[:1000], 2)])
    sure = (np.arange(4) ** 2 * np.abs(c[:1000])).sum(1) <= (HIGH - LOW) / 2
    return {
        "largest slope, divided by its bound": float(found.max()),
        "largest slope where the check holds": float(plain[sure].max()),
        "largest slope otherwise": float(plain[~sure].max()),
    }


def _slopes(compat: str, c: Array) -> Array:
    """Largest difference quotient of one step over the grid, for each row of c."""
    grid = np.linspace(LOW, HIGH, 1001)
    neuron = _of_degree(3, compat).replace(parameters={"c": {"init": "0", "per": ["neuron", "power"]}}).remove("reset")
    neuron = neuron.add(states={"u": "u_0"}, parameters={"u_0": Parameter(0.0, per="neuron")})
    size = (len(c), len(grid))
    values = {"c": np.broadcast_to(c[:, None], (*size, 4)), "u_0": np.broadcast_to(grid, size)}
    u = neuron.simulate(np.zeros((1, 1, *size)), size=size, parameters=values)["u"][0, 0]
    return np.abs(np.diff(u) / np.diff(grid)).max(1)


def flow() -> Mapping[str, float]:
    """The flow of degree 2 with held inputs: our step (Riccati) and Euler steps against solve_ivp, 30 steps."""
    F = CUBIC[:3]
    x = 0.5 * np.random.default_rng(1).normal(size=30)
    free = _of_degree(2, "ode").replace(parameters={"v_th": 100})
    wanted, u = [], 0.0
    for each in x:
        u = _integrated(F, each, u)
        wanted.append(u)
    ours = free.simulate(x[:, None, None], parameters={"theta": F})["u"].ravel()
    euler = {n: _euler(free, F, x, n) for n in (8, 16, 32)}
    off = [float(np.abs(e - wanted).max()) for e in euler.values()]
    return {
        "our step off solve_ivp": float(np.abs(ours - wanted).max()),
        "Euler off, dt = 1/8": off[0],
        "its order": float(np.log2(off[1] / off[2])),
    }


def _integrated(F: Array, x: float, u: float) -> float:
    """du/dt = (F(u) + x)/2 over 1."""
    f = lambda _, u: (polynomial.polyval(u, F) + x) / 2  # noqa: E731
    return float(solve_ivp(f, (0, 1), [u], "DOP853", rtol=1e-12, atol=1e-13).y[0, -1])


def _euler(free: Neuron, F: Array, x: Array, n: int) -> Array:
    fine = np.repeat(x, n)[:, None, None]
    return free.simulate(fine, dt=1 / n, method="euler", parameters={"theta": F})["u"].ravel()[n - 1 :: n]


def consistency() -> Mapping[str, float]:
    """The map with f = u + h F(u), as the Euler step of du/dt = F(u) + x, at time 4 as h is halved; F of degree 3."""
    f = lambda _, u: polynomial.polyval(u, CUBIC) + 0.3  # noqa: E731
    wanted = solve_ivp(f, (0, 4), [0.0], "DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    free = load("lnm").replace(parameters={"v_th": 100})
    off = []
    for h in (1 / 8, 1 / 16, 1 / 32, 1 / 64):
        theta = h * CUBIC + np.array([0, 1, 0, 0])
        x = np.full((round(4 / h), 1, 1), 0.3 * h)
        off.append(abs(free.simulate(x, parameters={"theta": theta})["u"].ravel()[-1] - wanted))
    slopes = np.log2(np.divide(off[:-1], off[1:]))
    return {"lowest order": float(slopes.min()), "highest order": float(slopes.max())}
