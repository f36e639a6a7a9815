"""Layers whose states are no numbers although what they put out is."""

from __future__ import annotations

import torch

import neuroode as no
from neuroode.nn.finite_torch import watched


def test_a_step_that_blows_up_behind_finite_spikes_is_seen() -> None:
    steep = no.Neuron("steep", dt=1, equations="dv/dt = -v^3 + I", spike="v >= 1e90", method="euler")
    layer = steep.torch(2, schedule="eager")
    net, seen = no.nn.Stack(torch.nn.Identity(), layer), []
    with watched(net, lambda name, states: seen.append((name, states))):
        net(torch.zeros(20, 1, 2))
        assert not seen
        out, _ = net(torch.full((20, 1, 2), 3.0))
    assert bool(torch.isfinite(out).all())
    assert seen == [("steep", ["v"])]
    net(torch.full((20, 1, 2), 3.0))
    assert len(seen) == 1
