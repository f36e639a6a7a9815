"""Events at times inside the step, in closed form: LIF and quadratic neurons (textbook.md 1, qif.md)."""

from __future__ import annotations

import numpy as np
import pytest
from located import neuron, slots, spikes, with_times, worst_gradient

import neuroode as no
from neuroode.program import interpret

RATES = {1.1: 20.8516, 1.5: 45.5120, 2.0: 72.1348, 3.0: 123.3152}


def test_rates_are_those_of_continuous_time() -> None:
    """tau = 20 ms, at dt = 1 ms; the formula of the textbook, and its printed digits."""
    for (current, rate), times in zip(RATES.items(), spikes(neuron("lif"), list(RATES), 200, 1.0), strict=True):
        assert 1000 / np.diff(times) == pytest.approx(1000 / (20 * np.log(current / (current - 1))), rel=1e-11)
        assert 1000 / np.diff(times).mean() == pytest.approx(rate, abs=1e-4)


@pytest.mark.parametrize("dt", [1.0, 7.0, 30.0])
def test_the_first_spike_and_its_derivative(dt: float) -> None:
    """t* = tau ln(I/(I - 1)), dt*/dI = -4/3 tau at I = 1.5; saturate would say a whole number of steps."""
    n = neuron("lif")
    program, values = with_times(n, dt), slots(n, dt)
    steps = int(30 // dt) or 1
    run = interpret.run(program, values, {"I": np.full((steps, 1, 1), 1.5)})
    at = int(np.argmax(run.outputs["s"].ravel()))
    weights = np.zeros((steps, 1, 1))
    weights[at] = 1
    slopes = interpret.gradients(program, values, run, {"s.time": weights}).inputs["I"]
    assert at * dt + run.outputs["s.time"][at, 0, 0] == pytest.approx(20 * 1.0986122886681098, abs=1e-12 * 20)
    assert slopes.sum() == pytest.approx(-20 * 4 / 3, rel=1e-12)


def test_canonical_quadratic_neuron() -> None:
    """dv/dt = v^2 + I from -inf to inf takes pi/sqrt(I) (qif.md (c))."""
    currents = [0.5, 1.0, 2.0, 8.0]
    for current, times in zip(currents, spikes(neuron("theta"), currents, 150, 0.1), strict=True):
        assert len(times) > 2
        assert np.diff(times)[1:] == pytest.approx(np.pi / np.sqrt(current), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "dt", "mean", "wanted"),
    [
        ("lif", 1.0, 2.6, 5),
        ("lif", 20.0, 2.5, 20),
        ("qif", 0.2, 1.0, 5),
        ("qif", 1.0, 3.0, 20),
        ("theta", 0.2, 1.0, 5),
    ],
)
def test_gradients_of_times_and_of_states_after_several_spikes(name: str, dt: float, mean: float, wanted: int) -> None:
    drive = mean + 0.3 * np.random.default_rng(1).normal(size=(25, 1, 3))
    error, count = worst_gradient(neuron(name), dt, {"I": drive})
    assert count >= wanted
    assert error < 1e-6


def test_an_impulse_above_threshold_acts_at_once_and_as_often_as_it_must() -> None:
    """Subtractive reset: 3.5 is three events at time 0; four at most in a step, a fifth waits for the next."""
    x = np.zeros((3, 1, 2))
    x[0, 0] = 3.5, 6.5
    found = neuron("soft").simulate({"I": np.zeros_like(x), "x": x}, dt=1.0, size=2)
    decay = np.exp(-1 / 20)
    assert np.array_equal(found["s.time"][0, 0], [0.0, 0.0])
    assert found["v"][0, 0] == pytest.approx(np.array([0.5, 2.5]) * decay)
    assert found["v"][1, 0, 1] == pytest.approx((2.5 * decay - 2) * decay)  # two more at the start of the next step


def test_without_an_event_it_is_the_step_of_saturate() -> None:
    drive = 0.5 * np.random.default_rng(0).normal(size=(50, 2, 3))
    for name in ("lif", "qif"):
        located, saturated = (
            neuron(name, within_step=w).simulate(drive - 0.5, dt=0.5, size=3) for w in ("locate", "saturate")
        )
        quiet = ~(located["s"].cumsum(0) > 0)
        assert quiet.mean() > 0.5
        assert located["v"][quiet] == pytest.approx(saturated["v"][quiet], abs=1e-15)


REFUSED = {
    "no event": ({"equations": "v[t] = 0.9*v[t-1] + I"}, "no event of"),
    "combined": ({"spike": "v > 1 and v[t-1] <= 1"}, "combines comparisons"),
    "late": ({"reset": {"do": "v = 0", "when": "next_step"}}, "in the next step"),
    "nothing that the guard reads": ({"equations": "dv/dt = -v + I - w; dw/dt = -w", "reset": "w += 1"}, "act again"),
    "end": ({"inputs": {"I": no.Input("impulse", at="end")}, "equations": "dv/dt = -v + I"}, "at the end of the step"),
    "ramp": ({"inputs": {"I": no.Input("current", hold="linear")}}, "runs through the step"),
    "dt": ({"equations": "dv/dt = -v/dt + I"}, "reads dt"),
    "map after the flow": ({"equations": "dv/dt = -v + I; q[t] = 0.9*q[t-1] + v", "spike": "v > 1 + q"}, "reads q"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_the_reason(what: str) -> None:
    changes, reason = REFUSED[what]
    keys = {"dt": 1.0, "equations": "dv/dt = -v + I", "spike": "v > 1", "reset": "v = 0", "within_step": "locate"}
    with pytest.raises(no.NeuroodeError, match=reason) as found:
        no.Neuron("refused", **{**keys, **changes}).program()
    assert found.value.hint


@pytest.mark.parametrize("schedule", ["scan", "fft", "newton"])
def test_schedules_over_the_whole_sequence_are_refused(schedule: str) -> None:
    with pytest.raises(no.Unsupported, match="times inside the step"):
        neuron("lif").program(schedule=schedule)
