"""Times of events: `layer.spike_times(x)`."""

from __future__ import annotations

import copy
from typing import Any

import torch

from neuroode.nn.carry import Carry
from neuroode.program.timed import SIGNAL, TIME, chosen_event, timed

Tensor = torch.Tensor


def spike_times(layer: Any, x: Any, carry: Carry | None, event: str | None, **call: Any) -> tuple[Tensor, Carry]:
    """What `NeuronLayer.spike_times` returns."""
    name = chosen_event(layer.program, event)
    if not layer.program.located:  # a solver finds them
        rows = layer.trace(x, carry, **call)
        return _absolute(layer, rows[name], rows[name + TIME], call.get("times")), layer(x, carry, **call)[1]
    other = _with_times(layer)
    start = carry if not isinstance(carry, Carry) or carry.digest != layer._digest() else Carry(carry, other._digest())
    found, after = other(x, start, **call)
    return _absolute(layer, found[name + SIGNAL], found[name + TIME], call.get("times")), Carry(after, layer._digest())


def _with_times(layer: Any) -> Any:
    """The layer whose outputs are the times too; it shares every number with this one."""
    known = layer.__dict__.get("_timed")
    if known is None or known[0] != layer.program.digest:
        other = copy.copy(layer)
        other.__dict__.pop("_timed", None)
        other._take(timed(layer.program))
        known = layer.__dict__["_timed"] = (layer.program.digest, other)
    return known[1]


def _absolute(layer: Any, signal: Tensor, time: Tensor, times: Any) -> Tensor:
    """Since the start of the call; inf where there is no event."""
    steps = signal.shape[0]
    if times is None:
        starts = layer.dt * torch.arange(steps, dtype=torch.float64, device=time.device)
    else:
        ends = torch.as_tensor(times, dtype=torch.float64, device=time.device)
        starts = torch.cat([torch.zeros_like(ends[:1]), ends[:-1]])
    starts = starts.reshape(*starts.shape, *(1,) * (time.dim() - starts.dim())).to(time.dtype)
    return torch.where(signal > 0, starts + time, torch.inf)
