"""Delays through the whole line, at several steps, with units; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from line import check_line
from references import neuron
from timing_cases import DT
from timing_of_delays import CASES

from neuroode import RunError, SpecError, Unsupported
from neuroode.cli.timing import render, timing

SYNAPSE = """
dt: 0.5 ms
inputs: {x: {kind: impulse, unit: mV}}
states: {v: {unit: mV}}
parameters:
  tau: {value: 5 ms, domain: positive, per: neuron}
  w: {value: 1.5, per: neuron}
  d: 2 ms
equations: dv/dt = -v/tau + w*delay(x, d)
spike: v > 1 mV
reset: v -= 1 mV
"""


def test_line() -> None:
    x = np.random.default_rng(0).poisson(0.4, (30, 2, 3))
    check_line(neuron(SYNAPSE), x, 0.5)
    check_line(neuron(CASES["every_signal_can_be_delayed_to_the_nearest_step"][0]), x, DT)


def test_another_step_counts_a_delay_in_other_steps() -> None:
    layer = neuron(SYNAPSE).torch(1, dtype=torch.float64)
    x = torch.zeros(12, 1, 1, dtype=torch.float64)
    x[0] = 1
    for dt, steps in ((0.5, 4), (1, 2), (0.3, 7), (4.1, 0), (4, 1)):
        other = layer.at_dt(dt)
        assert torch.nonzero(other.trace(x)["v.before"].flatten())[0] == steps
        assert len([n for n in other.init_carry(1) if n.startswith("x[")]) == steps
        assert other.neuron.program(dt).digest == other.program.digest
    with pytest.raises(RunError, match="another model or method"):
        layer(x, layer.at_dt(1).init_carry(1))


def test_the_delay_is_fixed_when_the_layer_is_built() -> None:
    n = neuron(SYNAPSE)
    with pytest.raises(Unsupported, match="'d' is read by a lag or a delay"):
        n.torch(1).set(d=1.0)
    assert "x[t-6]" in n.torch(1, init={"d": "3 ms"}).init_carry(1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ('  d: {value: 2 ms, domain: "interval(0, 4)"}', Unsupported, "trained delays not lowered yet .used by 'd'"),
        ("  d: {value: -2 ms, trainable: false}", SpecError, "looks ahead by 0.002"),
        ("  d: {value: 600 ms, trainable: false}", Unsupported, "is 1200 steps; at most 1024"),
        ("  d: {init: 'uniform(1, 2)', unit: ms, trainable: false}", Unsupported, "'d' is drawn when the module"),
        ("  d: {value: [2, 3], unit: ms, per: neuron, trainable: false}", Unsupported, "'d' lists a value for each"),
    ],
)
def test_what_is_refused(change: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        neuron(SYNAPSE.replace("  d: 2 ms", change)).program()


def test_a_delay_of_no_step_may_close_a_circle() -> None:
    n = neuron("equations: q[t] = 0.5*q[t-1] + delay(s, 0.2) + I\nspike: q > 1\n")
    assert n.program(0.1).digest != n.program(0.2).digest
    with pytest.raises(SpecError, match=r"within step t: s needs q\[t\], q\[t\] needs s"):
        n.program(1.0)
    with pytest.raises(RunError, match="declares no dt"):
        neuron("equations: dv/dt = -v + delay(I, 1)\n").system()


def test_the_diagram() -> None:
    text = render(timing(neuron(SYNAPSE).spec))
    assert "a jump by coefficient*x[t-d/dt] at the start of the step" in text
    assert "impulses   flow" in text
    assert "x[t-d/dt]" in text.split("\n")[3]


def test_a_lag_is_as_long_as_a_delay_may_be() -> None:
    text = "inputs: {I: current}\nstates: {v: 0}\nequations: v[t] = v[t-1]/2 + I[t-%s]\noutputs: {v: v}\n"
    assert "I[t-1024]" in str(neuron(text % "1024").system())
    for steps in ("1025", "1" + 99 * "0"):
        with pytest.raises(Unsupported, match="steps back; at most 1024 are lowered"):
            neuron(text % steps).analyse()
