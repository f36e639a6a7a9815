"""Noise that reads a state which a refractory time holds: a number there, in drifts of both calculi and in stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuroode as no

DT, REST = 0.5, 0.7


@pytest.mark.parametrize("method", ["euler_maruyama", "heun_stratonovich"])
@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_noise_that_reads_a_held_state_is_additive(method: str, calculus: str) -> None:
    n = no.Neuron(
        "held", dt=DT, states={"v": 2.0, "w": 1.0}, method=method, calculus=calculus,
        equations="dv = -v*dt + dW\ndw = -w*dt + v*dW",
        events={"s": {"when": "t < 0.6", "reset": f"v = {REST}", "refractory": {"duration": 2, "hold": ["v"]}}},
        outputs={"s": "s", "v": "v", "w": "w"},
    )  # fmt: skip
    dW = np.random.default_rng(0).normal(size=6) * 0.7
    rows = n.torch(1, dtype=torch.float64).trace(steps=6, batch=1, noise={"dW": torch.tensor(dW).reshape(6, 1, 1)})
    v, w = (rows[name].detach().numpy().reshape(6) for name in "vw")
    for t in range(1, 5):
        assert v[t] == REST
        decay = 1 - DT if method == "euler_maruyama" else 1 - DT + DT**2 / 2
        push = REST * dW[t] * (1 if method == "euler_maruyama" else 1 - DT / 2)
        assert w[t] == pytest.approx(decay * w[t - 1] + push, abs=1e-12)
    assert abs(v[5] - REST) > 0.01


def test_time_runs_through_a_step() -> None:
    """Forces and noise that read t: at both ends of the step, in stages that are there at its end."""
    h, dW = 0.5, np.array([0.3, -0.8])
    noise = {"dW": dW.reshape(2, 1, 1)}
    n = no.Neuron("driven", dt=h, states={"q": 0.3, "p": 0.2}, equations="dq = p*dt\ndp = (-q^3 + t - p)*dt + dW")
    rows = n.simulate(steps=2, batch=1, method="baoab", noise=noise)
    q, p = 0.3, 0.2
    for k in range(2):
        p += h / 2 * (-(q**3) + k * h)
        q += h / 2 * p
        p = np.exp(-h) * p + np.sqrt((1 - np.exp(-2 * h)) / (2 * h)) * dW[k]
        q += h / 2 * p
        p += h / 2 * (-(q**3) + (k + 1) * h)
        assert (rows["q"][k].item(), rows["p"][k].item()) == pytest.approx((q, p), abs=1e-12)
    n = no.Neuron("louder", dt=h, states={"x": 0}, equations="dx = t*dt + (1 + t)*dW", calculus="stratonovich")
    x = n.simulate(steps=2, batch=1, method="heun_stratonovich", noise=noise)["x"].ravel()
    steps = [h * (k + 0.5) * h + (1 + (k + 0.5) * h) * dW[k] for k in range(2)]
    np.testing.assert_allclose(x, np.cumsum(steps), atol=1e-12)
    x = n.simulate(steps=2, batch=1, method="euler_maruyama", noise=noise)["x"].ravel()
    np.testing.assert_allclose(x, np.cumsum([h * k * h + (1 + k * h) * dW[k] for k in range(2)]), atol=1e-12)


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_the_correction_has_the_noise_of_every_state_that_a_coefficient_reads(calculus: str) -> None:
    """dx = y dW, dy = x dW: the correction is 1/2 (y d/dx + x d/dy) y = x/2 for x and y/2 for y."""
    h, dW, sign = 0.25, 0.7, {"ito": -1, "stratonovich": 1}[calculus]
    method = {"ito": "heun_stratonovich", "stratonovich": "euler_maruyama"}[calculus]
    n = no.Neuron("turned", dt=h, calculus=calculus, states={"x": 1.0, "y": 0.4}, equations="dx = y*dW\ndy = x*dW")
    rows = n.simulate(steps=1, batch=1, method=method, noise={"dW": np.full((1, 1, 1), dW)})
    start = np.array([1.0, 0.4])

    def push(z: np.ndarray) -> np.ndarray:
        return sign * h / 2 * z + z[::-1] * dW

    guess = start + push(start)
    wanted = guess if calculus == "stratonovich" else start + (push(start) + push(guess)) / 2
    np.testing.assert_allclose([rows["x"].item(), rows["y"].item()], wanted, atol=1e-12)
