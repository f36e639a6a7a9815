"""Running time, numbers of steps, whole parameters and neurons without inputs through the whole line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from line import check_line
from references import neuron
from timing_cases import DT
from timing_of_time import CASES

from neuroode import RunError, SpecError, Unsupported

OSCILLATOR = """
parameters:
  f: {value: 2, domain: positive, per: neuron}
  n: {value: 3, type: integer}
states: {v: 0.1}
equations: |
  dv/dt = -v + cos(f*t)
  q[t] = q[t-1] + s*n/(1 + step)
spike: v - v[t-n] > 0
reset: v *= 0.9
outputs: {v: v, q: q}
"""


def test_line() -> None:
    check_line(neuron(OSCILLATOR), (30, 2, 3), DT)
    check_line(neuron(CASES["a_flow_reads_the_running_time"][0]), np.random.default_rng(0).normal(size=(30, 2, 3)), DT)


def test_exact_in_the_running_time() -> None:
    """dv/dt = -v/4 + t^2 from v(0) = 0 is 4*t^2 - 32*t + 128 - 128*exp(-t/4) at any step."""
    for dt in (0.1, 0.5, 2.0):
        v = neuron("equations: dv/dt = -v/4 + t^2\n").simulate(steps=20, dt=dt)["v"].ravel()
        t = dt * np.arange(1, 21)
        assert np.allclose(v, 4 * t**2 - 32 * t + 128 - 128 * np.exp(-t / 4), rtol=1e-10, atol=1e-10)


def test_units_of_time() -> None:
    n = neuron("dt: 0.5 ms\ninputs: {I: {kind: current, unit: mV}}\nstates: {v: {unit: mV}}\nparameters: {r: 3 mV/ms}\n"
               "equations: v[t] = r*t + I\n")  # fmt: skip
    assert np.allclose(n.simulate(np.zeros((4, 1, 1)))["v"].ravel(), 3 * 0.5 * np.arange(1, 5))


def test_no_input() -> None:
    n = neuron(OSCILLATOR)
    layer = n.torch(2, DT)
    with pytest.raises(RunError, match="steps is None, expected a whole number"):
        layer()
    with pytest.raises(RunError, match="has no input"):
        layer(torch.zeros(3, 1, 2))
    with pytest.raises(RunError, match="takes steps and samples from its input"):
        neuron("equations: v[t] = I\n").torch(2, DT)(torch.zeros(3, 1, 2), steps=3)
    with pytest.raises(RunError, match="is called without x"):
        neuron("equations: v[t] = I\n").simulate(steps=3)
    with pytest.raises(Unsupported, match="no input that recurrent weights"):
        n.torch(2, DT, recurrent={"I": "v"})
    out, carry = layer(steps=0, batch=3)
    assert out["v"].shape == (0, 3, 2)
    assert carry["step"].shape == (3, 2)
    assert layer.trace(steps=4, batch=1, lengths=torch.tensor([2]))["v"].shape == (4, 1, 2)


def test_whole_parameters() -> None:
    n = neuron(OSCILLATOR)
    layer = n.torch(2, DT)
    assert [name for name, _ in layer.parameters_of_neuron.named_parameters()] == ["raw_f"]
    with pytest.raises(Unsupported, match="'n' is read by a lag or a delay and fixed when the layer is built"):
        layer.set(n=2)
    with pytest.raises(Unsupported, match="'n' is read by a lag or a delay"):
        n.simulate(steps=3, dt=DT, parameters={"n": 2})
    assert n.torch(2, DT, init={"n": 1}).init_carry(1).keys() == {"v", "q", "step"}
    m = neuron("parameters: {n: {value: [1, 2], type: integer, per: neuron}}\nequations: v[t] = n*I\n")
    assert m.simulate(np.ones((1, 1, 2)))["v"].tolist() == [[[1, 2]]]
    with pytest.raises(SpecError, match=r"parameter 'n': 1\.5 is not a whole number"):
        m.torch(2, DT).set(n=[1.5, 2])
