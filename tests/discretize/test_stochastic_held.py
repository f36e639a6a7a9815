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
