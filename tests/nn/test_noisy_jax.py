"""Layers whose noisy flow diffrax moves: against torchsde on the same path, exact solutions, gradients of torch."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.solvers.on_jax import brownian_jax
from neuroode.solvers.on_jax.noisy_jax import ADDITIVE, METHODS
from neuroode.solvers.on_torch import brownian_torch

KEY = jax.random.key(0)
GBM = no.Neuron(
    "gbm", dt=0.25, states={"v": 1.0}, parameters={"a": no.Parameter(0.4, trainable=True), "s": 0.6},
    equations="dv = a*v*dt + s*v*dW", outputs={"v": "v"},
)  # fmt: skip
OU = no.Neuron("ou", dt=0.5, states={"v": 2.0}, parameters={"tau": 0.8, "s": 0.7}, inputs={"I": "current"},
               equations="dv = (I - v)/tau*dt + s*dW", outputs={"v": "v"})  # fmt: skip
MIXED = no.Neuron(
    "mixed", dt=0.2, states={"v": 0.5, "w": 0.1}, inputs={"I": "current"},
    parameters={"k": no.Parameter(0.8, trainable=True, per="neuron"), "g": no.Parameter(0.3, trainable=True)},
    equations="dv = (v - v^3 - w + I)*dt + g*(1 + 0.3*w)*dW_a + 0.2*v*dW_b\ndw = k*(v - w)*dt + 0.1*v*dW_a",
    spike="v > 0.9", reset="v = v - 1", outputs={"v": "v", "w": "w"},
)  # fmt: skip


@pytest.fixture(autouse=True)
def _double() -> Any:
    with jax.enable_x64(True):
        yield


def layer(neuron: no.Neuron, size: int = 1, **options: Any) -> Any:
    adjoint = options.pop("adjoint", None)
    return neuron.jax(size=size, key=KEY, solver="diffrax", adjoint=adjoint, solver_options=options)


def test_the_path_is_that_of_torch() -> None:
    made = np.random.default_rng(0)
    key, end = made.integers(0, 2**23, (3, 2)), made.standard_normal(3)
    own = brownian_jax.path(jnp.asarray(end), jnp.asarray(key, jnp.uint32))
    other = brownian_torch.Path(torch.tensor(end)[None], tuple(torch.tensor(key).T[:, None]))  # type: ignore[arg-type]
    asked = jax.jit(lambda a, b: own.evaluate(a, b, use_levy=True))
    for a, b in ((0.0, 0.25), (0.1, 0.9), (0.33, 1.0)):
        found, (w, u) = asked(a, b), other(a, b, return_U=True)
        assert np.allclose(found.W, w, rtol=0, atol=1e-14)
        assert np.allclose((found.H + found.W / 2) * found.dt, u, rtol=0, atol=1e-14)


def test_a_layer_is_that_of_torch() -> None:
    x = np.full((5, 2, 2), 0.2)
    out, carry = layer(MIXED, 2, method="Heun", step_size=0.05)(jnp.asarray(x), seed=3)
    other = MIXED.torch(2, solver="torchsde", dtype=torch.float64, solver_options={"method": "heun", "step_size": 0.05})
    with torch.no_grad():
        wanted, after = other(torch.tensor(x), seed=3)
    for n in out:
        assert np.allclose(out[n], wanted[n], rtol=0, atol=1e-13)
        assert np.allclose(carry[n], after[n], rtol=0, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ADDITIVE])
def test_strong_orders_on_geometric_brownian_motion(method: str) -> None:
    dW = 0.5 * np.random.default_rng(0).standard_normal((4, 400, 1))
    exact = np.exp(0.4 - 0.18 + 0.6 * dW.sum(0))

    def error(parts: int) -> float:
        run = layer(GBM, method=method, step_size=0.25 / parts)
        out, _ = run(steps=4, batch=400, noise={"dW": jnp.asarray(dW)}, seed=1)
        return float(np.sqrt(np.mean((out[-1] - exact) ** 2)))

    order = math.log2(error(2) / error(8)) / 2
    assert abs(order - {"Euler": 0.5, "SlowRK": 1.5}.get(method, 1.0)) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, "SEA", "ShARK"])
def test_ou_moments_by_adaptive_steps(method: str | None) -> None:
    count, tau, s = 4000, 0.8, 0.7
    named = {} if method is None else {"method": method}
    out, _ = layer(OU, **named)(jnp.ones((3, count, 1)), seed=3)
    x, t = np.asarray(out[:, :, 0]), 0.5 * np.arange(1, 4)
    mean = 1 + np.exp(-t / tau)
    cov = s**2 * tau / 2 * (np.exp(-abs(t[:, None] - t) / tau) - np.exp(-(t[:, None] + t) / tau))
    found = (x - mean[:, None]) @ (x - mean[:, None]).T / count
    error = np.sqrt((np.outer(cov.diagonal(), cov.diagonal()) + cov**2) / count)
    assert (abs(x.mean(1) - mean) < 4 * np.sqrt(cov.diagonal() / count)).all()
    assert (abs(found - cov) < 4 * error).all()


@pytest.mark.slow
@pytest.mark.parametrize("adjoint", ["none", "checkpointed"])
def test_gradients_are_those_of_torch(adjoint: str) -> None:
    """Of inputs and replayed noise, on one path; torch's are compared with finite differences."""
    neuron, x = MIXED.replace(spike="v > 100000"), np.full((4, 1, 1), 0.2)
    dW = 0.4 * np.random.default_rng(0).standard_normal((2, 4, 1, 1))
    run = layer(neuron, method="Heun", step_size=0.05, adjoint=adjoint)

    def loss(x: Any, a: Any, b: Any) -> Any:
        out, _ = run(x, noise={"dW_a": a, "dW_b": b}, seed=0)
        return out["v"].sum() + (out["w"] ** 2).sum()

    found = jax.grad(loss, (0, 1, 2))(jnp.asarray(x), *map(jnp.asarray, dW))
    options = {"method": "heun", "step_size": 0.05}
    other = neuron.torch(1, solver="torchsde", dtype=torch.float64, solver_options=options)
    given = [torch.tensor(v, requires_grad=True) for v in (x, *dW)]
    out, _ = other(given[0], noise={"dW_a": given[1], "dW_b": given[2]}, seed=0)
    (out["v"].sum() + out["w"].square().sum()).backward()
    for g, v in zip(found, given, strict=True):
        assert np.allclose(g, v.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_two_calls_are_one_whatever_the_steps() -> None:
    run = layer(MIXED, 2)
    x = jnp.full((6, 3, 2), 0.2)
    whole, end = run(x, seed=7)
    first, carry = run(x[:2], seed=7)
    second, last = run(x[2:], carry)
    for n in whole:
        assert np.array_equal(whole[n], np.concatenate([first[n], second[n]]))
    assert all(np.array_equal(end[n], last[n]) for n in end)


@pytest.mark.slow
def test_steps_out_of_reach_are_an_error() -> None:
    with pytest.raises(Exception, match="maximum number of"):
        layer(GBM, rtol=1e-9, atol=1e-9, max_steps=8)(steps=1, batch=1, seed=0)


REFUSED = {
    "additive": (GBM, {"method": "ShARK"}, Unsupported, "takes noise that is additive"),
    "commutative": (MIXED, {"method": "SlowRK"}, Unsupported, "additive, of one stream, or diagonal"),
    "adjoint": (OU, {"adjoint": "backsolve"}, Unsupported, "come back on another path"),
    "without": (no.load("li"), {"method": "SPaRK"}, RunError, "is for noise"),
    "with": (OU, {"method": "Tsit5"}, RunError, "knows no noise"),
    "adaptive": (GBM, {"method": "Euler"}, RunError, "takes fixed steps"),
    "general": (MIXED, {"method": "ReversibleHeun"}, Unsupported, "may converge to another solution"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    neuron, options, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text) as caught:
        layer(neuron, **options)
    assert "hint" in str(caught.value)
