"""Firing rates against golden values (adaptive solver), closed forms, and quadrature; runs against their own step."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dynamics_models import EIF, HODGKIN_HUXLEY, THETA, morris_lecar
from references import neuron

import neuroode as no

LIF = {1.1: 20.8516, 1.5: 45.5120, 2.0: 72.1348, 3.0: 123.3152}  # Hz, tau 20 ms
EXPONENTIAL = {0.17: 3.5667, 0.2: 8.2555, 0.5: 31.1223, 1.0: 57.7227}  # Hz, peak 0 mV, 1.7 ms refractory
SNLC = {39.5: 0.0, 45.0: 10.0814, 60.0: 17.0950, 100.0: 23.8375}  # Hz with time in ms


def rates(n: no.Neuron, currents: list[float], **options: object) -> no.Neuron:
    return n.firing_rates(currents, **options)


def test_lif() -> None:
    found = rates(no.load("lif"), list(LIF), duration=800)
    assert found.unit == "Hz"
    assert np.allclose(found.exact, list(LIF.values()), rtol=3e-6)
    one = 1000 / found.rates - 1000 / found.exact  # a spike waits for the end of its step
    assert np.all((one > 0) & (one <= 1.0))


def test_quadrature_is_the_textbook_formula() -> None:
    """1/(t_r + tau ln((I - V_r)/(I - theta))) with a refractory time of whole steps."""
    n = no.load("lif").replace(reset="v = -0.5").add(refractory={"duration": "5 ms", "hold": ["v"]})
    found = rates(n, [1.2, 4.0], duration=400)
    I = np.array([1.2, 4.0])
    assert np.allclose(found.exact, 1000 / (5 + 20 * np.log((I + 0.5) / (I - 1))), rtol=1e-9)
    assert np.all(np.abs(1000 / found.rates - 1000 / found.exact) <= 1.0)


def test_exponential() -> None:
    found = rates(neuron(EIF), list(EXPONENTIAL), dt=0.05, duration=20)
    assert np.allclose(found.exact, list(EXPONENTIAL.values()), rtol=2e-5)
    assert rates(neuron(EIF), [0.161], dt=0.05, duration=20).exact[0] == 0


@pytest.mark.parametrize("I", [1e-3, 0.04, 1.0])
def test_theta(I: float) -> None:
    """Period pi/sqrt(I) of v' = v^2 + I from -inf to inf: as an angle, and as a peak at infinity."""
    found = rates(neuron(THETA), [I], duration=1)
    assert np.isclose(found.exact[0], np.sqrt(I) / np.pi, rtol=1e-7)
    peak = neuron("dt: 0.1\nequations: dv/dt = v^2 + I\nspike: v >= inf\nreset: v = -inf\n")
    assert np.isclose(rates(peak, [I], duration=1).exact[0], np.sqrt(I) / np.pi, rtol=1e-7)


def test_a_flow_that_jumps_to_rest_is_silent() -> None:
    """-v + I below 0.5 and v + I above: at I = 0.5 no extremum shows that it stops at the jump."""
    n = neuron("dt: 0.1\nequations: dv/dt = where(v > 0.5, 1, -1)*v + I\nspike: v > 1\nreset: v = 0\n")
    found = rates(n, [0.2, 0.5, 0.8], duration=20)
    wanted = 1 / (np.log(0.8 / 0.3) + np.log(1.8 / 1.3))
    assert np.allclose(found.exact, [0, 0, wanted], rtol=1e-6)


def test_qif_between_finite_ends() -> None:
    """tau v' = v^2 + I: (atan(th/s) - atan(r/s)) tau/s with s = sqrt(I)."""
    n = neuron("dt: 0.01\nequations: dv/dt = (v^2 + I)/5\nspike: v > 3\nreset: v = -1\n")
    found = rates(n, [0.5, 2.0], duration=40, transient=0)
    s = np.sqrt([0.5, 2.0])
    wanted = 1 / (5 * (np.arctan(3 / s) - np.arctan(-1 / s)) / s)
    assert np.allclose(found.exact, wanted, rtol=1e-9)
    assert np.all(np.abs(1 / found.rates - 1 / wanted) <= 0.01)
    assert rates(n, [-0.1], duration=1).exact[0] == 0


def test_located_spikes_have_no_error_of_the_step() -> None:
    n = no.load("lif").add(within_step="locate")
    found = rates(n, list(LIF), dt=5.0, duration=2000)
    assert np.allclose(found.rates, list(LIF.values()), rtol=3e-6)


def test_two_states() -> None:
    found = rates(neuron(morris_lecar("snlc")), list(SNLC), dt=0.1, duration=700, transient=200)
    assert found.exact is None
    assert np.allclose(1000 * found.rates, list(SNLC.values()), rtol=3e-3)


@pytest.mark.slow
def test_hodgkin_huxley() -> None:
    golden = {7.0: 58.327, 10.0: 68.324, 20.0: 86.470, 50.0: 117.036}
    found = rates(neuron(HODGKIN_HUXLEY), list(golden), duration=300, transient=100)
    assert np.allclose(found.rates, list(golden.values()), rtol=2e-3)


def test_an_oscillation_below_the_threshold_is_said() -> None:
    """FitzHugh and Nagumo with an event that its limit cycle does not reach; outside of the Hopf points it rests."""
    n = no.load("fitzhugh_nagumo").replace(spike="v > 5")
    found = n.firing_rates([0.0, 0.6, 1.0, 1.8], dt=0.1, duration=600.0)
    assert found.rates.tolist() == [0, 0, 0, 0]
    assert found.swings.tolist() == [False, True, True, False]
    assert str(found).count("(0 events; it swings below the threshold)") == 2
    assert json.loads(json.dumps(found.to_json()))["swings"] == [False, True, True, False]


def test_the_range_is_found() -> None:
    found = no.load("lif").firing_rates(duration=300)
    assert found.rates[0] == 0
    assert found.rates[-1] > 0
    assert (found.currents[0], len(found.currents)) == (0, 61)
    assert found.onset[0] in found.currents
    assert json.dumps(found.to_json(), allow_nan=False)
    assert "sampled" in str(found)


def test_what_comes_to_rest_is_silent() -> None:
    """A damped oscillation crosses its threshold a few times."""
    n = neuron("dt: 0.05\nstates: {x: 0}\nequations: x'' = -x - 0.02*x' + I\nspike: x > 1\n")
    found = rates(n, [0.6, 1.5], duration=200, transient=0)
    assert found.counts[0] > 2
    assert found.rates[0] == 0


REFUSED = {
    "event": ("dt: 1\nequations: dv/dt = -v + I\noutputs: v\n", {}, "there is no event"),
    "current": ("dt: 1\ninputs: {I: impulse}\nequations: dv/dt = -v + I\nspike: v > 1\n", {}, "there is no current"),
    "input": ("dt: 1\nequations: dv/dt = -v + I\nspike: v > 1\n", {"input": "J"}, "'J' is no current"),
    "transient": ("dt: 1\nequations: dv/dt = -v + I\nspike: v > 1\n", {"transient": -1}, "transient is -1"),
    "duration": ("dt: 1\nequations: dv/dt = -v + I\nspike: v > 1\n", {"duration": 0}, "duration is 0"),
    "steps": ("dt: 1\nequations: dv/dt = -v + I\nspike: v > 1\n", {"duration": 1e9}, "1,000,000,000 steps"),
    "numbers": ("dt: 1\nequations: dv/dt = -v + I\nspike: v > 1\n", {"currents": ["a"]}, "finite numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, options, reason = REFUSED[name]
    with pytest.raises(no.NeuroodeError, match=reason):
        neuron(text).firing_rates(**options)
