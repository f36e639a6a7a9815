"""Refractory times through the whole line; oracles of their timing are in `timing_of_refractory`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from line import check_line
from references import neuron
from timing_cases import DT
from timing_of_refractory import CASES

NAMES = [
    "events_have_counters_of_their_own_and_resets_assign_held_states",
    "what_a_coupled_flow_reads_of_a_held_state_stands_still",
]
LIF = """
dt: 0.5 ms
inputs: {I: {kind: current, unit: mV}}
states: {v: {unit: mV}}
parameters:
  tau: {value: 4 ms, domain: positive, per: neuron}
  rest: {value: 1.2 ms, per: neuron}
equations: dv/dt = (-v + I)/tau
spike: v > 0.3 mV
reset: v = 0 mV
refractory: {duration: rest, hold: [v]}
"""


@pytest.mark.parametrize("name", NAMES)
def test_line(name: str) -> None:
    text, _, x = CASES[name]
    check_line(neuron(text), np.stack([x, x[::-1]], axis=-1)[:, None], DT)


def test_a_duration_is_a_parameter_with_a_unit_and_another_step_covers_it_with_other_steps() -> None:
    n = neuron(LIF)
    x = np.full((40, 1, 3), 3.0)
    check_line(n, x, 0.5)
    layer = n.torch(3, dtype=torch.float64)
    layer.set(rest=[0.0, 1.2, 2.0])
    for dt, silent in ((0.5, (0, 3, 4)), (0.25, (0, 5, 8)), (1.5, (0, 1, 2))):
        spikes = layer.at_dt(dt)(torch.tensor(x))[0][:, 0]
        for lane, n_silent in enumerate(silent):
            first, second = torch.nonzero(spikes[:, lane])[:2, 0].tolist()
            with_hold = torch.nonzero(layer.at_dt(dt).trace(torch.tensor(x))["v"][:, 0, lane])[:, 0].tolist()
            assert second - first == n_silent + 1 + first  # rests at 0, then rises as from the start
            assert all(t not in with_hold for t in range(first, first + n_silent + 1))


def test_no_gradient_passes_a_held_step_but_that_of_the_state() -> None:
    n = neuron("equations: dv/dt = (-v + I)/4\nspike: v > 0.3\nreset: v -= 0.5\nrefractory: {duration: 1, hold: [v]}\n")
    layer = n.torch(1, DT, dtype=torch.float64)
    x = torch.full((12, 1, 1), 0.9, dtype=torch.float64, requires_grad=True)
    spikes = layer(x)[0].flatten()
    first = int(torch.nonzero(spikes)[0])
    _, carry = layer(x[: first + 3])
    (g,) = torch.autograd.grad(carry["v"].sum(), x)
    assert (g[first + 1 : first + 3] == 0).all()
    assert g[first] != 0


def test_a_recurrent_layer_rests() -> None:
    n = neuron("equations: dv/dt = (-v + I)/4\nspike: v > 0.2\nreset: v -= 0.5\nrefractory: {duration: 1, hold: [v]}\n")
    check_line(n, np.random.default_rng(0).normal(0.8, 1, (30, 3, 5)), DT, recurrent=True, standalone=False)


def test_wrong_ones() -> None:
    from neuroode import SpecError

    with pytest.raises(SpecError, match="the refractory of s reads v, which is a state"):
        neuron("equations: dv/dt = -v + I\nspike: v > 1\nrefractory: v\n")


def test_the_diagram_says_when_the_guard_is_false_and_what_rests() -> None:
    from neuroode.cli.timing import render, timing

    n = neuron("equations: dv/dt = (-v + I)/4\nspike: v > 0.3\nreset: v -= 0.5\nrefractory: {duration: 1, hold: [v]}\n")
    text = render(timing(n.spec))
    assert "refractory(s)" in text
    assert "false in the ceil(duration/dt) steps after an event" in text
    assert "rests while s is refractory" in text
