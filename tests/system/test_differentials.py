"""Ito lines as the system holds them: drift, diffusion, units, axes, and what is no differential."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import neuroode as no


def made(equations: str, **keys: object) -> no.Neuron:
    return no.Neuron("made", **{"equations": equations, "dt": 0.1, "parameters": {}, **keys})


def test_a_line_is_split_into_drift_and_diffusion() -> None:
    system = made(
        "rate = x/tau\ndx = (-rate + I)*dt + s*x*dW + 0.5*dW_2\ndv/dt = x - v",
        parameters={"tau": 2, "s": 3}, calculus="stratonovich",
    ).system()  # fmt: skip
    s = system.symbols
    assert sp.simplify(system.flows["x"] - (s["I[t]"] - s["x"] / s["tau"])) == 0
    assert system.diffusion == {"x": {"dW": s["s"] * s["x"], "dW_2": sp.Rational(1, 2)}}
    assert system.noise == {"dW": "wiener", "dW_2": "wiener"}
    assert system.calculus == "stratonovich"
    assert str(system).startswith("dx = (I[t] - x/tau)*dt + (s*x)*dW + (1/2)*dW_2  (stratonovich)")


@pytest.mark.parametrize("amplitude", ["0.3 mV*ms^-0.5", "0.3 mV/ms^0.5", "9.486832980505138 mV*s^-0.5"])
def test_an_amplitude_may_have_half_powers_of_a_unit(amplitude: str) -> None:
    keys: dict = {"dt": "1 ms", "states": {"v": no.State(unit="mV")}}
    found = made("dv = -v/tau*dt + g*dW", parameters={"tau": "20 ms", "g": amplitude}, **keys)
    same = made("dv = -v/tau*dt + sqrt(D)*dW", parameters={"tau": "20 ms", "D": "0.09 mV^2/ms"}, **keys)
    run = {"steps": 30, "batch": 2, "seed": 0}
    np.testing.assert_allclose(found.simulate(**run)["v"], same.simulate(**run)["v"], rtol=1e-12)
    assert "ms" not in amplitude or "sqrt(10)" not in str(found.discretize())  # roots of milli cancel


def test_an_increment_has_the_unit_of_the_root_of_time() -> None:
    keys: dict = {
        "dt": "1 ms", "parameters": {"tau": "20 ms", "s": "0.2 mV"}, "states": {"v": no.State(init="-1 mV", unit="mV")},
    }  # fmt: skip
    neuron = made("dv = -v/tau*dt + s*sqrt(2/tau)*dW", **keys)
    dW = np.random.default_rng(0).normal(size=(50, 2, 1))
    rows = neuron.simulate(steps=50, batch=2, noise={"dW": dW})["v"]  # dW in sqrt(ms), v in mV
    v, decay = np.full((2, 1), -1.0), np.exp(-1 / 20)
    for t in range(50):
        v = decay * v + 0.2 * np.sqrt(1 - decay**2) * dW[t]
        np.testing.assert_allclose(rows[t], v, rtol=1e-13)
    with pytest.raises(no.SpecError, match=r"mV and .* cannot be added"):
        made("dv = -v/tau*dt + s*dW", **keys)


def test_increments_along_an_axis_are_independent() -> None:
    system = made("dq[k] = -q[k]*dt + dW[k] + dW_all", axes={"k": 3}).system()
    assert system.diffusion["q__1"] == {"dW__1": 1, "dW_all": 1}
    assert list(system.noise) == ["dW__0", "dW_all", "dW__1", "dW__2"]


def test_an_impulse_is_a_jump_of_a_differential_too() -> None:
    system = made("dv = (-v + 2*x)*dt + dW", inputs={"x": "impulse"}).system()
    (kick,) = system.impulses
    assert (kick.state, kick.coefficient) == ("v", 2)
    assert system.flows["v"] == -system.symbols["v"]


def test_an_impulse_is_no_amplitude_of_noise() -> None:
    with pytest.raises(no.AnalysisError, match="the impulse 'x' multiplies the noise of v"):
        made("dv = -v*dt + x*dW", inputs={"x": "impulse"}).system()


def test_a_state_starts_at_random_for_each_lane_or_where_its_neuron_does() -> None:
    drawn = made("dq = -q*dt + dW", states={"q": "normal(0, 1)"})
    assert drawn.simulate(steps=1, batch=50, noise={"dW": np.zeros((1, 50, 1))})["q"].std() > 0.5
    started = made(
        "dq = -q*dt + dW", states={"q": "q_0"}, parameters={"q_0": no.Parameter(init="normal(0, 1)", per="neuron")}
    )
    assert started.simulate(steps=1, batch=1, size=50, noise={"dW": np.zeros((1, 1, 50))})["q"].std() > 0.5


def test_what_is_not_linear_is_refused_with_its_place() -> None:
    with pytest.raises(no.NeuroodeError, match="differential of x is not linear in dt and dW") as found:
        made("k = 1/dt\ndx = -k*x*dt + dW").system()
    assert found.value.place.text == "dx = -k*x*dt + dW"
    for bad in ("dx = -x*dt + dW*dW", "dx = -x + dW", "dx = -x*dt*dW"):
        with pytest.raises(no.SpecError, match="not linear in dt and dW"):
            made(bad, states={"x": 0})
