"""Measured orders of the methods for differentials: strong ones on common Brownian paths, weak ones by moments."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.interpolate import RectBivariateSpline
from transitions import stationary, transition

import neuroode as no
from neuroode.program.interpret import run

Array = np.ndarray


def made(equations: str, **keys: object) -> no.Neuron:
    return no.Neuron("made", **{"equations": equations, "dt": 0.1, "parameters": {}, **keys})


def slope(steps: list[int], errors: list[float]) -> float:
    return float(np.polyfit(-np.log2(steps), np.log2(errors), 1)[0])


def ends(neuron: no.Neuron, method: str, path: Array, steps: int) -> Array:
    """x at time 1 over increments that are sums of those of a fine path, (fine steps, samples)."""
    together = path.reshape(steps, -1, path.shape[1]).sum(1)[..., None]
    rows = neuron.simulate(steps=steps, batch=path.shape[1], dt=1 / steps, method=method, noise={"dW": together})
    return rows["x"][-1, :, 0]


BLACK_SCHOLES = {"equations": "dx = 0.5*x*dt + 0.8*x*dW", "states": {"x": 1}}
ADDITIVE = {"equations": "dx = (x - x^3)*dt + 0.5*dW", "states": {"x": 0.5}}


@pytest.mark.parametrize(
    ("keys", "method", "order"),
    [
        (BLACK_SCHOLES, "euler_maruyama", 0.5),
        (BLACK_SCHOLES, "heun_stratonovich", 1.0),
        ({**BLACK_SCHOLES, "calculus": "stratonovich"}, "euler_maruyama", 0.5),
        ({**BLACK_SCHOLES, "calculus": "stratonovich"}, "heun_stratonovich", 1.0),
        (ADDITIVE, "euler_maruyama", 1.0),
        (ADDITIVE, "heun_stratonovich", 1.0),
    ],
)
def test_strong_orders(keys: dict, method: str, order: float) -> None:
    """Against the closed form where there is one (Ito: exp((a - b^2/2) + b W)), else the same method on a fine path."""
    neuron, fine = made(**keys), 1024
    path = np.random.default_rng(0).normal(0, fine**-0.5, (fine, 400))
    if keys is ADDITIVE:
        wanted = ends(neuron, "heun_stratonovich", path, fine)
    else:
        a = 0.5 if "calculus" in keys else 0.5 - 0.8**2 / 2
        wanted = np.exp(a + 0.8 * path.sum(0))
    steps = [8, 16, 32, 64]
    errors = [np.abs(ends(neuron, method, path, n) - wanted).mean() for n in steps]
    assert slope(steps, errors) == pytest.approx(order, abs=0.25)


def test_weak_orders_on_a_linear_oscillator() -> None:
    """Errors of the stationary covariance (k = 1, gamma = 1/2, T = 1) by the discrete Lyapunov equation."""
    line = "dq = p*dt\ndp = (-q - p/2)*dt + dW"
    steps = [16, 32, 64, 128]
    for method, order in (("euler_maruyama", 1), ("heun_stratonovich", 2), ("baoab", 2), ("obabo", 2)):
        laws = [stationary(*transition(made(line), 1 / n, method)[::2]) for n in steps]
        errors = [abs(V - np.eye(2)).max() for V in laws]
        assert slope(steps, errors) == pytest.approx(order, abs=0.1)


def expected(neuron: no.Neuron, method: str, steps: int, start: tuple[float, float]) -> float:
    """E[q^2] at time 1 from a point, without sampling: u <- E[u(step)] on a grid, Gauss-Hermite in the noise."""
    h, Q, P = 1 / steps, np.linspace(-4.5, 4.5, 81), np.linspace(-6, 6, 61)
    program = neuron.program(h, method=method)
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    count = len(program.noise)
    mesh = np.meshgrid(Q, P, *[nodes] * count, indexing="ij")
    scale = [h**0.5 if n.kind == "wiener" else 1.0 for n in program.noise]
    x = {n.name: (s * m).reshape(1, -1, 1) for n, s, m in zip(program.noise, scale, mesh[2:], strict=True)}
    carry = dict(zip("qp", (m.reshape(-1, 1) for m in mesh[:2]), strict=True))
    moved = run(program, {"dt": np.asarray(h)}, {"(clock)": 0 * x["dW"]} | x, carry).carry
    q, p = (np.clip(moved[s], x[0], x[-1]).ravel() for s, x in (("q", Q), ("p", P)))
    chance = np.array([np.prod(w) for w in product(weights, repeat=count)]) / weights.sum() ** count
    u = np.broadcast_to(Q[:, None] ** 2, (81, 61))
    for _ in range(steps):
        spline = RectBivariateSpline(Q, P, u, kx=5, ky=5)
        u = spline.ev(q, p).reshape(81, 61, -1) @ chance
    return float(RectBivariateSpline(Q, P, u, kx=5, ky=5).ev(*start))


def test_weak_orders_in_a_quartic_potential() -> None:
    """U = q^4/4, gamma = T = 1, from (1, 0) to time 1."""
    neuron = made("U = q^4/4\ndq = p*dt\ndp = (-grad(U, q) - p)*dt + sqrt(2)*dW")
    steps, start = [8, 16], (1.0, 0.0)
    wanted = expected(neuron, "baoab", 64, start)
    found = {}
    for method, order in (("euler_maruyama", 1), ("heun_stratonovich", 2), ("baoab", 2), ("obabo", 2)):
        errors = [abs(expected(neuron, method, n, start) - wanted) for n in steps]
        found[method] = slope(steps, errors)
        assert found[method] == pytest.approx(order, abs=0.3), found
