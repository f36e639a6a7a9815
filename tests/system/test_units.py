"""Units end at build time: a model with units is the model in numbers."""

from __future__ import annotations

import numpy as np
import pytest
from references import distance, neuron, slots

from neuroode.program import interpret

X = np.random.default_rng(0).normal(0.8, 1.0, (60, 1, 2))

WITH = """
dt: 0.5 ms
inputs: {I: {kind: current, unit: nA}}
states: {v: {init: -70 mV, unit: mV}, a: {unit: mV}}
parameters: {tau: {value: 20 ms, domain: positive}, R: {value: 30 MOhm, domain: positive}, E: -70 mV, th: -64 mV}
equations: |
  dv/dt = (E - v + R*I)/tau
  da/dt = -a/(100 ms)
spike: v > th + a
reset: v = E; a += 2 mV
surrogate: {kind: atan, width: 0.5}
"""
WITHOUT = """
states: {v: -70}
parameters: {tau: {value: 20, domain: positive}, R: {value: 30, domain: positive}, E: -70, th: -64}
equations: |
  dv/dt = (E - v + R*I)/tau
  da/dt = -a/100
spike: v > th + a
reset: v = E; a += 2
surrogate: {kind: atan, width: 0.5}
"""


def test_the_same_numbers() -> None:
    found = neuron(WITH).simulate(X)
    wanted = neuron(WITHOUT).simulate(X, 0.5)
    assert wanted["s"].sum() > 5
    assert set(found) == set(wanted)
    for key in wanted:
        assert distance(found[key], wanted[key]) <= 1e-12, key


@pytest.mark.parametrize("method", ["exact", "euler", "semi_implicit(v, a)", "exp_euler"])
def test_the_same_gradients_in_the_declared_units(method: str) -> None:
    rows = []
    for text in (WITH, WITHOUT):
        n = neuron(text)
        program, values = n.program(0.5, method=method), slots(n, 0.5, (2,))
        result = interpret.run(program, values, {"I": X})
        found = interpret.gradients(program, values, result, {"s": np.cos(np.arange(X.size)).reshape(X.shape)})
        rows.append((found.parameters["p.tau"], found.parameters["p.R"], found.inputs["I"]))
    for ours, wanted in zip(*rows, strict=True):
        assert np.abs(wanted).max() > 0
        assert distance(ours, wanted) <= 1e-11


def test_dt_may_be_given_in_another_unit_or_bare() -> None:
    n = neuron(WITH)
    wanted = n.simulate(X)["v"]
    for dt in ("0.5 ms", "500 us", 0.5):
        assert distance(n.simulate(X, dt)["v"], wanted) <= 1e-13


def test_an_impulse_of_unit_U_acts_as_U_per_time() -> None:
    text = "dt: 1 ms\ninputs: {x: {kind: impulse, unit: mV}}\nstates: {v: {unit: mV}}\nparameters: {tau: 10 ms}\n"
    found = neuron(text + "equations: dv/dt = -v/tau + 2*x\n").simulate(X)["v"]
    wanted = neuron("inputs: {x: impulse}\nparameters: {tau: 10}\nequations: dv/dt = -v/tau + 2*x\n").simulate(X, 1.0)[
        "v"
    ]
    assert distance(found, wanted) <= 1e-13


@pytest.mark.parametrize("unit", ["", "1/ms"])
def test_a_flow_of_second_order_in_ms(unit: str) -> None:
    """x'' with dt in ms: x' is in its declared unit, or in 1/s."""
    states = 'states: {x: 1, "x\'": {unit: 1/ms}}\n' if unit else "states: {x: 1}\n"
    text = "dt: 0.1 ms\nparameters: {w: 2 1/ms, d: 0.3 1/ms, one: 1 1/ms}\n" + states
    text += "equations: x'' = -w^2*x - d*x' + one^2*I\noutputs: x\n"
    wanted = "states: {x: 1}\nequations: x'' = -4*x - 0.3*x' + I\noutputs: x\n"
    for method in ("exact", "euler", "semi_implicit(x', x)"):
        found = neuron(text).simulate(X, method=method)
        same = neuron(wanted).simulate(X, 0.1, method=method)
        assert distance(found["x"], same["x"]) <= 1e-12
        assert distance(found["x'"] * (1 if unit else 1e-3), same["x'"]) <= 1e-12


def test_a_late_reset_lags_and_definitions_in_units() -> None:
    text = """
dt: 1 ms
inputs: {I: {unit: mV}}
states: {v: {unit: mV}, q: {unit: mV}}
parameters: {tau: 10 ms, th: 1 mV}
"""
    text += (
        "equations: |\n  dv/dt = (-v + I + 0.1*I[t-1])/tau\n  h = v + q[t-1]\n  q[t] = 0.5*q[t-1] + 0.1*h[t-1] + s*th\n"
    )
    text += "spike: v > 0.1*th + q[t-1]\nreset: {do: v -= 0.2 mV, when: next_step}\n"
    plain = "parameters: {tau: 10, th: 1}\nequations: |\n  dv/dt = (-v + I + 0.1*I[t-1])/tau\n  h = v + q[t-1]\n"
    plain += (
        "  q[t] = 0.5*q[t-1] + 0.1*h[t-1] + s*th\nspike: v > 0.1*th + q[t-1]\nreset: {do: v -= 0.2, when: next_step}\n"
    )
    found, wanted = neuron(text).simulate(X), neuron(plain).simulate(X, 1.0)
    assert 0 < wanted["s"].mean() < 1
    for key in ("v", "q", "s"):
        assert distance(found[key], wanted[key]) <= 1e-12, key


def test_hodgkin_huxley_in_units_against_plain_numbers() -> None:
    """One gate with its rates, a removable 0/0 included."""
    gate = "  dm/dt = a*(1 - m) - b*m\n  a = {a}\n  b = {b}\n"
    units = "dt: 0.01 ms\ninputs: {{V: {{kind: current, unit: mV}}}}\nstates: {{m: 0.05}}\nequations: |\n" + gate
    plain = "inputs: {{V: current}}\nstates: {{m: 0.05}}\nequations: |\n" + gate
    a, b = "0.1*((V + 40 mV)/1 mV)/(1 - exp(-(V + 40 mV)/10 mV))/1 ms", "4*exp(-(V + 65 mV)/18 mV)/1 ms"
    v = np.linspace(-90, 40, 27).reshape(-1, 1, 1)
    found = neuron(units.format(a=a, b=b)).simulate(v)["m"]
    for rate in ("1/exprel(-(V + 40)/10)", "0.1*(V + 40)/(1 - exp(-(V + 40)/10))"):
        wanted = neuron(plain.format(a=rate, b="4*exp(-(V + 65)/18)")).simulate(v, 0.01)["m"]
        assert distance(found, wanted) <= 1e-12, rate
