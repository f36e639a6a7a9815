"""Events inside the steps of a solver layer: times, states behind them and their exact gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchdiffeq import odeint_event

import neuroode as no
from neuroode._errors import RunError, Unsupported

DOUBLE = {"dtype": torch.float64}
TIGHT = {"rtol": 1e-10, "atol": 1e-12}
LIF = no.Neuron(
    "integrator",
    dt=0.5,
    within_step="locate",
    parameters={"tau": no.Parameter(20.0, domain="positive", trainable=True), "v_th": 1.0},
    equations="dv/dt = (-v + I)/tau",
    spike="v > v_th",
    reset="v = 0",
)
ADAPTIVE = no.Neuron(
    "adaptive",
    dt=2.0,
    within_step="locate",
    parameters={
        "tau": no.Parameter(5.0, domain="positive", trainable=True),
        "tau_a": no.Parameter(20.0, domain="positive", trainable=True),
        "b": no.Parameter(0.4, trainable=True),
    },
    equations="dv/dt = (-v - a + 0.1*v^2 + I)/tau\nda/dt = -a/tau_a",
    spike="v > 1 + 0.1*a",
    reset="v -= 1 + 0.2*a; a += b",
    outputs={"s": "s", "w": "v"},
)  # fmt: skip


def solved(neuron: no.Neuron, size: int = 1, dt: float | None = None, **options: object) -> torch.nn.Module:
    return neuron.torch(size, dt, **({"solver": "torchdiffeq", "solver_options": TIGHT} | DOUBLE | options))


def period(I: float, tau: float = 20.0) -> float:
    return tau * math.log(I / (I - 1))


@pytest.mark.parametrize("adjoint", ["none", "checkpointed", "backsolve"])
def test_the_time_of_the_first_spike_and_its_gradient_are_those_of_the_closed_form(adjoint: str) -> None:
    """t* = tau ln(I/(I - 1)) = 1.0986123 tau and dt*/dI = -tau/(I (I - 1)) = -1.3333333 tau at I = 1.5."""
    layer = solved(LIF, adjoint=adjoint, gradient="event", dt=4.0)
    I = torch.tensor(1.5, requires_grad=True, **DOUBLE)
    times, _ = layer.spike_times(I.expand(6, 1, 1))
    first = times.flatten()[times.isfinite().flatten()][0]
    first.backward()
    assert float(first.detach()) / 20 == pytest.approx(1.0986123, abs=1e-7)
    assert float(I.grad) / 20 == pytest.approx(-1.3333333, abs=1e-7)
    (tau,) = (p for n, p in layer.named_parameters() if n.endswith("tau"))
    assert float(tau.grad) == pytest.approx(math.log(3) * float(torch.sigmoid(tau.detach())), rel=1e-7)  # softplus


@pytest.mark.parametrize("dt", [0.5, 50.0])
def test_any_number_of_spikes_in_a_step(dt: float) -> None:
    """Ten spikes a step at dt = 50; a state after them depends on all."""
    layer = solved(LIF, 3, dt=dt)
    x = torch.tensor([1.2, 3.0, 5.0], **DOUBLE)
    steps = round(100 / dt) if dt > 1 else 20
    trace = layer.trace(x.expand(steps, 2, 3))
    ends = (1 + torch.arange(steps, dtype=torch.float64)) * dt
    for lane, I in enumerate(x.tolist()):
        since = torch.fmod(ends, period(I))
        v = I * (1 - torch.exp(-since / 20))
        torch.testing.assert_close(trace["v"][:, 1, lane].detach(), v, rtol=0, atol=1e-7)
        counted = torch.floor(ends / period(I)).diff(prepend=torch.zeros(1, **DOUBLE))
        torch.testing.assert_close(trace["s"][:, 1, lane].detach(), (counted > 0).double(), rtol=0, atol=0)


def weights(x: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.arange(x.numel(), dtype=x.dtype)).reshape(x.shape)


def of_times(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    times, _ = layer.spike_times(x)
    fired = times.isfinite()
    assert int(fired.sum()) > 6
    return (torch.where(fired, times, 0.0) * weights(times)).sum()


def of_states(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    out, carry = layer(x)
    return (out["w"] * weights(out["w"])).sum() + sum((v * weights(v)).sum() for v in carry.values())


def differences(layer: torch.nn.Module, x: torch.Tensor, loss: object, at: torch.Tensor, entry: tuple) -> float:
    rows = []
    for sign in (1, -1):
        with torch.no_grad():
            before = at[entry].clone()
            at[entry] += sign * 1e-6
            rows.append(float(loss(layer, x)))
            at[entry] = before
    return (rows[0] - rows[1]) / 2e-6


@pytest.mark.parametrize("loss", [of_times, of_states])
def test_gradients_after_several_spikes_are_those_of_finite_differences(loss: object) -> None:
    """The saltation terms: two states, a soft reset that reads the other state, a threshold that moves."""
    layer = solved(ADAPTIVE, 2, gradient="event")
    x = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(0), **DOUBLE) * 2 + 2.5
    given = x.clone().requires_grad_()
    loss(layer, given).backward()
    for entry in ((0, 0, 0), (2, 1, 1)):
        assert float(given.grad[entry]) == pytest.approx(differences(layer, x, loss, x, entry), rel=1e-5, abs=1e-7)
    for name, p in layer.named_parameters():
        assert float(p.grad) == pytest.approx(differences(layer, x, loss, p, ()), rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize(("adjoint", "gradient"), [("checkpointed", "surrogate"), ("backsolve", "event")])
def test_the_ways_to_a_gradient_agree_on_located_events(adjoint: str, gradient: str) -> None:
    x = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(1), **DOUBLE) * 3
    rows = []
    for way in ("none", adjoint):
        layer = solved(ADAPTIVE, 2, adjoint=way, gradient=gradient)
        given = x.clone().requires_grad_()
        out, _ = layer(given)
        (of_states(layer, given) + (out["s"] * weights(out["s"])).sum()).backward()
        rows.append([given.grad, *(p.grad for p in layer.parameters())])
    for found, wanted in zip(rows[1], rows[0], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_a_surrogate_gives_signals_a_slope_and_event_gives_none() -> None:
    x = torch.full((6, 1, 1), 1.5, requires_grad=True, **DOUBLE)
    for gradient, slope in (("event", 0.0), ("surrogate", None)):
        out, carry = solved(LIF, gradient=gradient, dt=5.0)(x)
        (g,) = torch.autograd.grad(out.sum() + 0.0 * carry["v"].sum(), x)
        assert (float(g.abs().sum()) == 0.0) == (slope == 0.0)


def test_odeint_event_finds_the_same_time_and_gradient_of_one_neuron() -> None:
    """The oracle for a batch of one: a pendulum that passes a level on its way up."""
    swing = no.Neuron(
        "swing", dt=4.0, within_step="locate", states={"q": 0.5},
        parameters={"k": no.Parameter(1.3, trainable=True)}, equations="dq/dt = p\ndp/dt = -k*sin(q) - 0.1*p + I",
        spike="q > 0.9", outputs={"q": "q", "s": "s"},
    )  # fmt: skip
    layer = solved(swing, gradient="event")
    x = torch.full((1, 1, 1), 0.9, requires_grad=True, **DOUBLE)
    time, _ = layer.spike_times(x)
    time.sum().backward()
    k = torch.tensor(1.3, requires_grad=True, **DOUBLE)
    I = torch.tensor(0.9, requires_grad=True, **DOUBLE)

    def field(_t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([y[1], -k * torch.sin(y[0]) - 0.1 * y[1] + I])

    start = torch.tensor([0.5, 0.0], **DOUBLE)
    wanted, _ = odeint_event(field, start, torch.tensor(0.0, **DOUBLE), event_fn=lambda _t, y: y[0] - 0.9,
                             rtol=1e-10, atol=1e-12)  # fmt: skip
    wanted.backward()
    assert float(time.detach()) == pytest.approx(float(wanted.detach()), rel=1e-9)
    assert float(x.grad) == pytest.approx(float(I.grad), rel=1e-6)
    (found,) = (p.grad for n, p in layer.named_parameters() if n.endswith("k"))
    assert float(found) == pytest.approx(float(k.grad), rel=1e-6)


def test_a_margin_that_passes_and_comes_back_between_two_samples_is_seen() -> None:
    """v = sin(omega t) is above 0.99 for 0.28/omega, a fortieth of the step."""
    wave = no.Neuron(
        "wave", dt=1.0, within_step="locate", states={"v": 0, "u": 1}, parameters={"omega": 6.0, "high": 0.99},
        equations="dv/dt = omega*u + 0*I\ndu/dt = -omega*v", spike="v > high", outputs={"v": "v", "s": "s"},
    )  # fmt: skip
    layer = solved(wave)
    times, _ = layer.spike_times(torch.zeros(1, 1, 1, **DOUBLE))
    assert float(times) == pytest.approx(math.asin(0.99) / 6, rel=1e-9)
    layer.set(high=1.001)
    assert not layer.spike_times(torch.zeros(1, 1, 1, **DOUBLE))[0].isfinite().any()


def test_lanes_know_nothing_of_one_another() -> None:
    x = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(2), **DOUBLE) * 5
    layer = solved(ADAPTIVE, 2)
    whole, _ = layer(x)
    for b in range(3):
        alone, _ = layer(x[:, b : b + 1])
        torch.testing.assert_close(whole["w"][:, b : b + 1], alone["w"], rtol=0, atol=1e-7)


def test_an_impulse_above_the_threshold_acts_at_once() -> None:
    kicked = no.Neuron("kicked", dt=1.0, within_step="locate", inputs={"I": "impulse"}, parameters={"tau": 10.0},
                       equations="dv/dt = -v/tau + I", spike="v > 1", reset="v -= 1")  # fmt: skip
    layer = solved(kicked)
    x = torch.tensor([0.0, 3.5, 0.0], **DOUBLE).reshape(3, 1, 1)
    times, carry = layer.spike_times(x)
    assert times.flatten().tolist() == [math.inf, 1.0, math.inf]
    assert float(carry["v"]) == pytest.approx(0.5 * math.exp(-0.2), rel=1e-9)  # three spikes at once


def test_two_calls_that_pass_the_carry_on_are_one_and_ended_samples_rest() -> None:
    x = torch.rand(8, 2, 2, generator=torch.Generator().manual_seed(3), **DOUBLE) * 5
    layer = solved(ADAPTIVE, 2)
    whole, after = layer(x)
    first, carry = layer(x[:3])
    second, last = layer(x[3:], carry)
    torch.testing.assert_close(torch.cat([first["w"], second["w"]]), whole["w"], rtol=0, atol=1e-12)
    torch.testing.assert_close(last["a"], after["a"], rtol=0, atol=1e-12)
    short, rested = layer(x, lengths=torch.tensor([8, 3]))
    torch.testing.assert_close(rested["v"][1], carry["v"][1], rtol=0, atol=1e-7)
    assert not short["w"][3:, 1].any()


def test_single_precision() -> None:
    x = torch.full((12, 1, 2), 1.5)
    single = LIF.torch(2, 4.0, solver="torchdiffeq", dtype=torch.float32)
    times, _ = single.spike_times(x)
    first = times[times[:, 0, 0].isfinite(), 0, 0]
    np.testing.assert_allclose(first.detach().numpy(), period(1.5) * np.array([1, 2]), rtol=1e-4)


def test_spike_times_and_surrogates_of_formulas_have_the_same_name_and_meaning() -> None:
    x = torch.full((6, 1, 1), 1.5, **DOUBLE)
    formula, _ = LIF.torch(1, 5.0, gradient="event", **DOUBLE).spike_times(x, times=[4.0, 9.0, 11.0, 30.0, 31.0, 45.0])
    found, _ = solved(LIF, dt=5.0, gradient="event").spike_times(x, times=[4.0, 9.0, 11.0, 30.0, 31.0, 45.0])
    torch.testing.assert_close(found, formula, rtol=1e-9, atol=1e-9)


def test_the_first_spike_of_izhikevichs_neuron() -> None:
    """3.127 ms (event-driven, textbook.md); an upstroke that ends before the sampled path does is reported."""
    neuron = no.load("izhikevich").add(within_step="locate")
    x = torch.full((14, 1, 1), 10.0, **DOUBLE)
    times, _ = neuron.torch(1, 0.25, solver="torchdiffeq", **DOUBLE).spike_times(x)
    assert float(times[times.isfinite()].detach()) == pytest.approx(3.127, abs=5e-4)
    with pytest.raises(RunError, match="shorter dt"):
        neuron.torch(1, 4.0, solver="torchdiffeq", **DOUBLE)(x[:2])


@pytest.mark.parametrize(
    ("neuron", "options", "said"),
    [
        (LIF.replace(within_step="saturate"), {"gradient": "event"}, "within_step: locate"),
        (LIF.replace(within_step="saturate"), {"solver_options": {"samples": 3}}, "belongs to within_step: locate"),
        (LIF, {"gradient": "magic"}, "write surrogate or event"),
        (LIF, {"solver_options": {"samples": 0}}, "at least 1"),
        (LIF.replace(reset="v *= 1"), {"solver_options": {"max_events": 3}}, "more than 3 events"),
        (LIF.replace(spike="v > v_th and I > 0"), {}, "combines comparisons"),
        (LIF.add(refractory=2.0), {}, "refractory"),
    ],
)
def test_what_does_not_apply_is_refused(neuron: no.Neuron, options: dict, said: str) -> None:
    with pytest.raises((Unsupported, RunError), match=said):
        neuron.torch(1, 10.0, solver="torchdiffeq", **options)(torch.full((3, 1, 1), 3.0))
