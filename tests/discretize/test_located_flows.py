"""Events inside the step of flows without a closed form of their times: bracketed on the step itself."""

from __future__ import annotations

import numpy as np
import pytest
from located import neuron, worst_gradient
from scipy.integrate import solve_ivp

import neuroode as no


def test_gradients_of_a_linear_neuron_with_two_states() -> None:
    rng = np.random.default_rng(0)
    for dt in (1.0, 8.0):
        x = (rng.random((10, 1, 3)) < 0.7) * rng.uniform(0.5, 5, (10, 1, 3))
        error, count = worst_gradient(neuron("cuba"), dt, {"x": x})
        assert count >= 8
        assert error < 1e-6


def test_gradients_of_an_exponential_neuron() -> None:
    """AdEx by rk4 at 0.5 ms: from rest through the upstroke and the reset."""
    drive = 2500 + 100 * np.random.default_rng(0).normal(size=(14, 1, 2))
    error, count = worst_gradient(neuron("adex"), 0.5, {"I": drive})
    assert count >= 2
    assert error < 1e-6


def test_a_double_crossing_within_a_step_is_not_missed() -> None:
    """v(t) = x tau_s/(tau - tau_s)(e^(-t/tau) - e^(-t/tau_s)) is above 0.5 from 2.6 to 11.8 at x = 3; a step is 20."""
    amounts = np.array([2.0, 2.29, 2.31, 3.0])  # 2.3023 reaches the threshold
    x = np.zeros((2, 1, 4))
    x[0, 0] = amounts
    found = neuron("cuba").simulate({"x": x}, dt=20.0, size=4)
    assert found["s"][0, 0].tolist() == [0, 0, 1, 1]
    t = found["s.time"][0, 0]
    assert t[:2].tolist() == [20, 20]
    wave = amounts[2:] * 4 / 6 * (np.exp(-t[2:] / 10) - np.exp(-t[2:] / 4))
    assert wave == pytest.approx(0.5, abs=1e-12)
    assert (t[2:] < np.log(10 / 4) / (1 / 4 - 1 / 10)).all()  # on the rising side


@pytest.mark.slow
def test_the_order_of_a_method_holds_across_spikes() -> None:
    """heun: 2 where events are located, 1 where they wait for the end of the step."""
    keys = {
        "equations": "dv/dt = I - v + 0.1*v^2; dw/dt = v - w",
        "reset": "v -= 1; w += 0.3",
        "spike": "v > 1 + 0.1*w",
    }

    def last(within: str, steps: int) -> float:
        n = no.Neuron("bent", dt=1.0, method="heun", within_step=within, **keys)
        return float(n.simulate(np.full((steps, 1, 1), 2.5), dt=2 / steps, size=1)["w"][-1, 0, 0])

    orders = {}
    for within in ("locate", "saturate"):
        fine = last("locate", 160)
        errors = [abs(last(within, n) - fine) for n in (10, 20, 40)]
        orders[within] = np.log2(errors[0] / errors[2]) / 2
    assert orders["locate"] > 1.8
    assert orders["saturate"] < 1.5


TWO = {
    "equations": "dv/dt = -v + I; dw/dt = -0.5*w + 0.5*I; q[t] = 0.9*q[t-1]",
    "events": {
        "a": no.Event(when="v > 1 + q", reset="v = 0; q += 0.2"),
        "b": no.Event(when="w > 0.6", reset="w = -0.5; v -= 0.1"),
        "level": no.Event(when="v > 0.8"),
    },
    "outputs": {"a": "a", "b": "b", "level": "level"},
}  # fmt: skip


def test_several_events_act_in_the_order_of_their_times() -> None:
    """Against the same neuron at a step of which no two events share one."""
    n = no.Neuron("two", dt=1.0, within_step="locate", **TWO)
    coarse, fine = (n.simulate(np.full((int(2 / dt), 1, 1), 2.0), dt=dt, size=1) for dt in (1.0, 0.01))
    for event in ("a", "b", "level"):
        at = np.flatnonzero(fine[event].ravel()[:100])
        wanted = at[0] * 0.01 + fine[f"{event}.time"].ravel()[at[0]] if len(at) else 1.0
        assert coarse[f"{event}.time"][0, 0, 0] == pytest.approx(wanted, abs=1e-9)
    assert coarse["a.time"][0, 0, 0] < 1
    assert coarse["b.time"][0, 0, 0] < 1
    assert coarse["q"][0, 0, 0] == pytest.approx(0.2)  # 0.9 * 0, and one event
    error, count = worst_gradient(n, 1.0, {"I": 2 + 0.2 * np.random.default_rng(0).normal(size=(3, 1, 2))})
    assert count >= 12
    assert error < 1e-6


@pytest.mark.parametrize("method", ["euler", "implicit_midpoint"])
def test_gradients_hold_for_the_flow_that_a_method_makes(method: str) -> None:
    """The time and its derivative are those of the discretized flow, whatever its order."""
    n = no.Neuron(
        "bent", dt=0.5, method=method, within_step="locate", parameters={"a": 1.5, "v_th": 1.0, "g": 0.3},
        equations="dv/dt = I - a*v + 0.2*v*v; dw/dt = v - w", spike="v > v_th + 0.1*w", reset="v -= 0.9; w += g",
    )  # fmt: skip
    error, count = worst_gradient(n, 0.5, {"I": 3.5 + 0.3 * np.random.default_rng(0).normal(size=(5, 1, 2))})
    assert count >= 8
    assert error < 1e-6


def test_gradients_of_a_complex_neuron() -> None:
    n = no.Neuron(
        "turning", dt=0.5, within_step="locate", states={"z": no.State(type="complex")},
        parameters={"b": 0.3, "om": 3.0}, equations="dz/dt = (-b + i*om)*z + I",
        spike="imag(z) > 0.4", reset="z = 0.3*real(z)",
    )  # fmt: skip
    error, count = worst_gradient(n, 0.5, {"I": 2 + 0.5 * np.random.default_rng(0).normal(size=(10, 1, 2))})
    assert count >= 10
    assert error < 1e-6


@pytest.mark.slow
def test_first_spikes_of_adex() -> None:
    """Golden times of textbook.md 5 at a step of 0.5 ms: an error of the splitting, not one of the spike's place."""
    x = np.broadcast_to([800.0, 1000.0, 1500.0], (90, 1, 3))
    found = no.load("adex", compat="located").simulate(x, dt=0.5, size=3)
    at = 0.5 * np.arange(90)[:, None] + found["s.time"][:, 0]
    for i, (first, interval) in enumerate([(17.720, 22.766), (11.792, 13.585), (6.667, 7.159)]):
        times = at[found["s"][:, 0, i] > 0, i]
        assert times[0] == pytest.approx(first, abs=0.1)
        assert times[1] - times[0] == pytest.approx(interval, abs=0.2)


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_a_splitting_by_terms_is_smooth_up_to_the_event(start: float) -> None:
    """Two parts move v: its place in the middle stops nothing; times have order 2 and their gradients."""
    n = no.Neuron(
        "cubic", dt=0.1, within_step="locate", states={"v": start}, parameters={"p": 2.0, "th": 1.0},
        equations="dv/dt = -v^3 + I - w; dw/dt = (v - w)/p", spike="v + 0.2*w > th", reset="v = -0.5*v; w += 0.1",
    )  # fmt: skip
    assert "split by terms" in n.discretize().updates[0].why

    def first(steps: int) -> float:
        found = n.simulate(np.full((steps, 1, 1), 2.5), dt=1 / steps, size=1)
        k = int(np.argmax(found["s"].ravel() > 0))
        return k / steps + float(found["s.time"].ravel()[k])

    passed = solve_ivp(
        lambda t, y: (-(y[0] ** 3) + 2.5 - y[1], (y[0] - y[1]) / 2), (0, 1), (start, 0), "DOP853", rtol=1e-12,
        atol=1e-13, events=lambda t, y: y[0] + 0.2 * y[1] - 1,
    ).t_events[0][0]  # fmt: skip
    errors = [abs(first(steps) - passed) for steps in (5, 10, 20)]
    assert np.log2(errors[0] / errors[2]) / 2 > 1.7
    error, count = worst_gradient(n, 0.1, {"I": 2.5 + 0.3 * np.random.default_rng(0).normal(size=(8, 1, 2))})
    assert count >= 2
    assert error < 1e-6


@pytest.mark.slow
def test_gradients_at_long_steps_are_taken_at_the_time_that_was_found() -> None:
    """A cubic flow split by terms, whose bracketed times are polished: the slope belongs to the polished time."""
    n = no.Neuron(
        "cubic", dt=0.2, within_step="locate", inputs={"I": "current"},
        parameters={"p": no.Parameter(2.0, domain="positive"), "v_th": no.Parameter(1.0)},
        equations="dv/dt = -v^3 + I - w; dw/dt = (v - w)/p", spike="v + 0.2*w > v_th", reset="v = -0.5*v; w += 0.1",
    )  # fmt: skip
    error, count = worst_gradient(n, 0.2, {"I": np.full((20, 1, 1), 2.5)})
    assert count >= 5
    assert error < 1e-6
