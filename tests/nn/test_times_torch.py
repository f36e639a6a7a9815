"""Observation times of torch layers: steps of different lengths, of solver layers and of layers of formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode._errors import RunError, Unsupported

DOUBLE = {"dtype": torch.float64}
LEAK = no.Neuron(
    "leak",
    dt=1.0,
    parameters={"tau": no.Parameter(5.0, domain="positive", per="neuron", trainable=True), "v_th": 1.0},
    equations="dv/dt = (-v + I)/tau\nw[t] = exp(-dt/tau)*w[t-1] + s[t-1]",
    spike="v > v_th",
    reset="v -= v_th",
    outputs={"s": "s", "v": "v", "w": "w"},
)
LAYERS = {
    "formula": {},
    "eager": {"schedule": "eager"},
    "solver": {"solver": "torchdiffeq"},
    "backsolve": {"solver": "torchdiffeq", "adjoint": "backsolve"},
}


def inputs(steps: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(steps, 2, 3, generator=torch.Generator().manual_seed(seed), **DOUBLE) * 4


def gaps(shape: tuple[int, ...]) -> torch.Tensor:
    return (0.2 + torch.rand(shape, generator=torch.Generator().manual_seed(5), **DOUBLE)).cumsum(0)


@pytest.mark.parametrize("name", ["rc_ladder", "brf", "alif", "izhikevich", "synaptic"])
def test_equal_spacing_is_the_ordinary_call(name: str) -> None:
    layer = no.load(name).torch(3, **DOUBLE)
    x = {g.name: inputs(6) for g in layer._border.inputs}
    dt = torch.arange(1, 7, dtype=torch.float64) * layer.dt
    (same, after), (out, carry) = layer(x, times=dt), layer(x)
    rows = [(same, out)] if isinstance(out, torch.Tensor) else [(same[n], out[n]) for n in out]
    for found, wanted in [*rows, *((after[n], carry[n]) for n in carry)]:
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
def test_each_step_is_that_of_a_layer_of_its_length(kind: str) -> None:
    """One call with times against one call a step of layers at that step; gradients too; a map that reads dt."""
    layer = LEAK.torch(3, **DOUBLE, **LAYERS[kind])
    times, x = gaps((7,)), inputs(7)
    given, again = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, carry = layer(given, times=times)
    loss = sum((v * torch.arange(1.0, 1 + v.numel()).reshape(v.shape)).sum() for v in out.values()) + carry["v"].sum()
    loss.backward()
    tau = next(layer.parameters())
    found, tau.grad = tau.grad, None
    state, rows = None, []
    for t, dt in enumerate(times.diff(prepend=torch.zeros(1, **DOUBLE)).tolist()):
        one, state = layer.at_dt(dt)(again[t : t + 1], state)
        rows.append(one)
    whole = {n: torch.cat([r[n] for r in rows]) for n in out}
    (
        sum((v * torch.arange(1.0, 1 + v.numel()).reshape(v.shape)).sum() for v in whole.values()) + state["v"].sum()
    ).backward()
    for n, v in out.items():
        torch.testing.assert_close(v, whole[n], rtol=1e-9, atol=1e-9)
    tight = {"rtol": 1e-5, "atol": 1e-5} if kind == "backsolve" else {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(given.grad, again.grad, **tight)
    torch.testing.assert_close(found, tau.grad, **tight)


@pytest.mark.parametrize("kind", ["formula", "solver"])
def test_each_sample_has_times_of_its_own(kind: str) -> None:
    layer = LEAK.torch(3, **DOUBLE, **LAYERS[kind])
    times, x = gaps((5, 2)), inputs(5)
    out, carry = layer(x, times=times)
    for b in range(2):
        alone, after = layer(x[:, b : b + 1], times=times[:, b])
        torch.testing.assert_close(out["v"][:, b : b + 1], alone["v"], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(carry["w"][b : b + 1], after["w"], rtol=1e-8, atol=1e-8)
    trace = layer.trace(x, times=times, lengths=torch.tensor([5, 2]))
    torch.testing.assert_close(trace["v"][:2], layer.trace(x, times=times)["v"][:2])


def test_spike_times_and_gradients_of_times() -> None:
    """dv/dt = (I - v)/tau between observations: the spike lies where the closed form says, whatever the steps."""
    locating = no.Neuron(
        "locating",
        dt=1.0,
        within_step="locate",
        parameters={"tau": 5.0},
        equations="dv/dt = (-v + I)/tau",
        spike="v > 1",
        reset="v = 0",
        outputs={"s": "s", "v": "v"},
    )
    layer = locating.torch(1, solver="torchdiffeq", gradient="event", **DOUBLE)
    times = torch.tensor([0.7, 3.1, 4.0, 9.0, 11.0], requires_grad=True, **DOUBLE)
    found, _ = layer.spike_times(torch.full((5, 1, 1), 1.5, **DOUBLE), times=times)
    assert float(found[found.isfinite()][0].detach()) == pytest.approx(5 * math.log(3), rel=1e-6)
    out, _ = layer(torch.tensor([1.2, 0.0], **DOUBLE).reshape(2, 1, 1), times=times[:2])
    (slope,) = torch.autograd.grad(out["v"][1].sum(), times)
    v = 1.2 * (1 - np.exp(-0.7 / 5))
    wanted = np.exp(-2.4 / 5) / 5 * np.array([1.2 * np.exp(-0.7 / 5) + v, -v])
    np.testing.assert_allclose(slope[:2].numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", ["formula", "solver"])
@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([0.5, 0.4, 1.0], r"times\[1\] is 0.4 behind 0.5"),
        ([0.0, 0.4, 1.0], r"times\[0\] is 0 behind 0"),
        ([-1.0, 0.4, 1.0], r"times\[0\] is -1"),
        ([0.5, math.nan, 1.0], r"times\[1\] is nan"),
        ([0.5, 1.0], r"times has shape \(2,\), expected \(3,\) or \(3, 2\)"),
        ([[0.5, 0.5], [1.0, 0.4], [2.0, 2.0]], r"behind 0.5, sample 1"),
        ("soon", "times is a str"),
    ],
)
def test_wrong_times_are_errors(kind: str, times: object, said: str) -> None:
    with pytest.raises(RunError, match=said):
        LEAK.torch(3, **DOUBLE, **LAYERS[kind])(inputs(3), times=times)


@pytest.mark.parametrize(
    ("neuron", "options", "said"),
    [
        (LEAK, {"schedule": "sequential"}, "takes all steps to be alike"),
        (LEAK, {"schedule": "scan"}, "takes all steps to be alike"),
        (no.load("lif_refractory"), {}, "a refractory time"),
        (no.Neuron("clocked", dt=1.0, equations="dv/dt = -v + sin(t) + I", outputs={"v": "v"}), {}, "t, step"),
    ],
)
def test_what_counts_steps_is_refused(neuron: no.Neuron, options: dict, said: str) -> None:
    with pytest.raises(Unsupported, match=said):
        neuron.torch(3, **DOUBLE, **options)(inputs(3), times=[1.0, 2.0, 3.0])


def test_times_with_a_gradient_need_the_one_through_the_solver() -> None:
    times = torch.tensor([1.0, 2.0, 3.0], requires_grad=True, **DOUBLE)
    with pytest.raises(Unsupported, match='adjoint="none"'):
        LEAK.torch(3, **DOUBLE, **LAYERS["backsolve"])(inputs(3), times=times)
