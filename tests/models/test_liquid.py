"""Cells without spikes: CfC and LTC against their formulas and tables, ELM against a loop over synapses."""

from __future__ import annotations

from math import log, prod
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neuroode as no

RNG = np.random.default_rng(5)
#: of one LTC unit from x = 1 with f = 0.8, w = 0.3, A = 1; CfC's direct solution has A for x(0) and ends at A
TIMES = (0.1, 1.0, 3.0, 10.0)
OF_LTC, OF_MINIMAL = (0.9716, 0.8181, 0.7373, 0.7273), (0.2833, 0.7337, 0.9705, 1.0)
#: memories -> trained numbers of ELM on NeuronIO (README of the authors' code)
COUNTS = {
    1: 4601, 2: 4708, 3: 4823, 5: 5077, 7: 5363, 10: 5852, 15: 6827, 20: 8002, 25: 9377, 30: 10952, 40: 14702,
    50: 19252, 75: 34127, 100: 54002,
}  # fmt: skip


def drawn(model: str, compat: str | None = None) -> tuple[no.Neuron, dict[str, np.ndarray]]:
    """A neuron, and normal values of what it trains, for one lane."""
    neuron = no.load(model, compat=compat)
    sizes = {a.name: a.size for a in neuron.spec.axes} | {"neuron": 1}
    sizes |= {a.name: sizes[a.size] for a in neuron.spec.axes if isinstance(a.size, str)}
    shapes = {p.name: tuple(sizes[a] for a in p.per) for p in neuron.spec.parameters if p.trainable and p.per}
    return neuron, {
        n: np.abs(RNG.normal(0, 1, s)) if n in ("w_s", "w_tau") else RNG.normal(0, 1, s) for n, s in shapes.items()
    }


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("compat", [None, "no_gate", "minimal"])
@pytest.mark.parametrize("dt", [0.3, 2.0])
def test_cfc_is_the_published_cell(compat: str | None, dt: float) -> None:
    neuron, p = drawn("cfc", compat)
    inputs = RNG.normal(0, 1, (6, 1, 1, 2))
    found = neuron.simulate(inputs, dt, parameters=p)["x"][:, 0, 0]
    x, wanted = np.zeros(2), []
    for I in inputs[:, 0, 0]:
        z = 1.7159 * np.tanh(0.666 * (p["W_I"][0] @ I + p["W_x"][0] @ x + p["b_z"][0]))
        heads = p["W"][0] @ z + p["b"][0]
        if compat == "minimal":
            x = p["A"][0] - p["A"][0] * np.exp(-dt * (np.abs(p["w_tau"][0]) + np.abs(heads[0]))) * heads[0]
        else:
            g = sigmoid(heads[2] * dt + heads[3])
            x = np.tanh(heads[0]) * (1 - g if compat is None else 1) + np.tanh(heads[1]) * g
        wanted.append(x)
    assert np.abs(found - wanted).max() <= 1e-12


def of_one_unit(model: str, compat: str | None, dt: float, steps: int, values: dict[str, float]) -> float:
    """The last x of unit 0, from 1 where it flows, without input and with all weights 0."""
    neuron, p = drawn(model, compat)
    neuron = neuron.add(states={"x": 1}) if model == "ltc" else neuron
    p = {n: np.full_like(v, values.get(n, 0)) for n, v in p.items()}
    return float(neuron.simulate(np.zeros((steps, 1, 1, 2)), dt, parameters=p)["x"][-1, 0, 0, 0])


def test_ltc_is_exact_for_held_synapses_and_the_direct_solution_of_cfc_is_not() -> None:
    held = {"b": log(0.8 / 0.2), "w_tau": 0.3, "A": 1.0}
    exact = [of_one_unit("ltc", None, t, 1, held) for t in TIMES]
    assert exact == pytest.approx(OF_LTC, abs=5e-5)
    flow = solve_ivp(lambda t, x: -(0.3 + 0.8) * x + 0.8, (0, 10), [1.0], "DOP853", TIMES, rtol=1e-12, atol=1e-13).y[0]
    assert exact == pytest.approx(flow, abs=1e-10)
    code = [of_one_unit("cfc", "minimal", t, 1, {"b": 0.8, "w_tau": 0.3, "A": 1.0}) for t in TIMES]
    assert code == pytest.approx(OF_MINIMAL, abs=5e-5)


def test_two_half_steps_are_a_step_of_ltc_and_not_of_cfc() -> None:
    held = {"b": 0.4, "w_tau": 0.3, "A": 1.2}
    assert abs(of_one_unit("ltc", None, 2.0, 1, held) - of_one_unit("ltc", None, 1.0, 2, held)) < 1e-12
    one = {"b": 0.4, "b_z": 0.5, "W": 0.7, "W_x": 0.6}
    assert abs(of_one_unit("cfc", None, 2.0, 1, one) - of_one_unit("cfc", None, 1.0, 2, one)) > 1e-2


def by_loop(p: dict[str, np.ndarray], inputs: np.ndarray, dt: float, version: int) -> np.ndarray:
    """ELM with one trace for each synapse, as in the first version of the code: (T, readout)."""
    p = {n: v[0] for n, v in p.items()}
    tau = np.array([1.0, 150.0])
    kappa, traces, m, rows = np.exp(-dt / tau), np.zeros((2, 2)), np.zeros(2), []
    gain = 5 * (1 - kappa) if version == 1 else 1 - kappa**5
    for x in inputs:
        traces = np.exp(-dt / 5) * traces + p["w_s"] * x
        hidden = np.maximum(p["W_b"] @ traces.sum(1) + p["W_m"] @ (kappa * m) + p["b_h"], 0)
        m = kappa * m + gain * 1.7159 * np.tanh(2 / 3 * (p["W_d"] @ hidden + p["b_d"]))
        rows.append(p["W_y"] @ m + p["b_y"])
    return np.array(rows)


@pytest.mark.parametrize(("compat", "version"), [(None, 1), ("v2", 2)])
def test_elm_is_the_published_neuron(compat: str | None, version: int) -> None:
    neuron, p = drawn("elm", compat)
    inputs = RNG.integers(0, 2, (30, 1, 1, 2, 2)).astype(float)
    layer = neuron.torch(1, 0.7, dtype=torch.float64).set(**p)
    found = layer(torch.tensor(inputs))[0].detach().numpy()[:, 0, 0]
    assert np.abs(found - by_loop(p, inputs[:, 0, 0], 0.7, version)).max() <= 1e-10


def test_gains_of_the_two_versions_of_elm() -> None:
    """What one step writes per unit of d: the first is the answer of tau dm/dt = -m + 5 d, the second is another."""

    def gain(tau: float, compat: str | None) -> float:
        neuron, p = drawn("elm", compat)
        p = {n: np.zeros_like(v) for n, v in p.items()} | {"b_d": np.full((1, 2), 1e3), "tau_m": np.full(2, tau)}
        return float(neuron.simulate(np.zeros((1, 1, 1, 2, 2)), 1.0, parameters=p)["m"][0, 0, 0, 0]) / 1.7159

    taus = (1.0, 5.0, 50.0, 150.0)
    assert [gain(t, None) for t in taus] == pytest.approx([3.161, 0.906, 0.0990, 0.0332], abs=5e-4)
    assert [gain(t, "v2") for t in taus] == pytest.approx([0.993, 0.632, 0.0952, 0.0328], abs=5e-4)
    for tau in taus:
        flow = solve_ivp(lambda t, m, tau=tau: (5 - m) / tau, (0, 1), [0.0], "DOP853", rtol=1e-13, atol=1e-14).y[0, -1]
        assert gain(tau, None) == pytest.approx(flow, abs=1e-12)
        assert abs(gain(tau, "v2") - flow) > 1e-4


def trained(neuron: Any, sizes: dict[str, int]) -> int:
    return sum(prod(sizes[a] for a in p.per) for p in neuron.spec.parameters if p.trainable and p.per)


def test_elm_has_as_many_parameters_as_the_published_one() -> None:
    neuron = no.load("elm")
    for memories, count in COUNTS.items():
        sizes = {"neuron": 1, "branch": 45, "synapse": 100, "unit": memories, "hidden": 2 * memories, "readout": 2}
        assert trained(neuron, sizes) == count
    sizes = {"branch": 3, "synapse": 2, "unit": 3, "hidden": 6, "readout": 2}
    layer = neuron.torch(1, axes=sizes)
    assert sum(p.numel() for p in layer.parameters()) == trained(neuron, sizes | {"neuron": 1})
