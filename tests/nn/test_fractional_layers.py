"""Fractional neurons as layers: one carry for chunks, orders per neuron and per axis, units, single precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erfcx

import neuroode as no

COARSE = "soe(tolerance=0.01, steps=128)"


def drawn(steps: int = 60) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 3, (steps, 2, 3))


@pytest.mark.parametrize("schedule", ["eager", "sequential"])
def test_chunks_equal_one_run(schedule: str) -> None:
    neuron = no.load("f_lif").replace(method=COARSE)
    x = torch.tensor(drawn(), dtype=torch.float32)
    layer = neuron.torch(3, schedule=schedule)
    whole, _ = layer(x)
    first, carry = layer(x[:25])
    assert {k: tuple(v.shape) for k, v in carry.items()} == {"memory(v)": (2, 3, 11), "v": (2, 3)}
    assert torch.equal(torch.cat([first, layer(x[25:], carry)[0]]), whole)
    wanted = neuron.simulate(drawn())
    assert np.array_equal(whole.detach().numpy(), wanted["s"])
    assert abs(layer.trace(x)["v"].detach().numpy() - wanted["v"]).max() < 2e-6


def test_an_order_for_every_neuron() -> None:
    neuron = no.load("f_lif").replace(
        method=COARSE, parameters={"alpha": no.Parameter([0.3, 0.6, 1.0], domain="interval(0.05, 1)", per="neuron")}
    )
    found = neuron.simulate(drawn(), size=3)
    for i, a in enumerate((0.3, 0.6, 1.0)):
        alone = no.load("f_lif").replace(method=COARSE).simulate(drawn()[..., i : i + 1], parameters={"alpha": a})
        assert abs(found["v"][..., i : i + 1] - alone["v"]).max() < 1e-12


def test_an_order_for_every_index() -> None:
    made = no.Neuron(
        "f", axes={"k": 2}, equations="D^(alpha[k]) v[k] = (-v[k] + I)/2", outputs="sum_k(v[k])", method=COARSE,
        parameters={"alpha": no.Parameter([0.3, 0.8], domain="interval(0.05, 1)", per="k")},
    )  # fmt: skip
    found = made.simulate(drawn(), 1.0)
    assert set(found) == {"v", "output"}
    for k, a in enumerate((0.3, 0.8)):
        one = no.Neuron("f", equations=f"D^{a} v = (-v + I)/2", method=COARSE).simulate(drawn(), 1.0)
        assert abs(found["v"][..., k] - one["v"]).max() < 1e-12


def test_declared_units() -> None:
    """A root of 20 ms beside a half derivative, in mV."""
    made = no.Neuron(
        "f", dt="1 ms", states={"v": no.State(init="0 mV", unit="mV")}, inputs={"I": no.Input("current", unit="mV")},
        parameters={"tau": no.Parameter("20 ms", domain="positive")}, equations="D^0.5 v = (-v + I)/sqrt(tau)",
    )  # fmt: skip
    found = made.simulate(np.full((50, 1, 1), 3.0))["v"][:, 0, 0]
    assert abs(found - 3 * (1 - erfcx(np.sqrt(np.arange(1, 51) / 20)))).max() < 3e-6


def test_steps_of_different_lengths_are_refused() -> None:
    with pytest.raises(no.Unsupported, match="memory of its whole past"):
        no.load("f_lif").replace(method=COARSE).torch(3)(torch.rand(5, 1, 3), times=torch.arange(1.0, 6.0))
