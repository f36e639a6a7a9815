"""Observation times of a call: how long each step is, and coefficients at that length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.nn import eager_torch
from neuroode.nn.inputs_torch import Sequence as Given
from neuroode.nn.times import refuse_counted

Tensor = torch.Tensor


def timed(layer: Any, given: Given, times: Any) -> Given:
    """A call's inputs with the length of each step, (T, B or 1, 1, ...) in float64; times have a gradient.

    Raises:
        RunError: not (T,) or (T, B) finite times that increase from above 0, or a value outside a domain that reads dt.
        Unsupported: the neuron counts steps, or the schedule takes all steps to be alike.
    """
    if times is None:
        return given
    refuse_counted(layer.neuron, layer.program)
    if layer.schedule not in ("auto", "eager"):
        what = f"times=: schedule={layer.schedule!r} takes all steps to be alike"
        raise Unsupported(what, hint='leave schedule= out, or write schedule="eager"')
    like = given.inputs[0]
    lengths = _lengths(times, like.shape[0], given.batch, like)
    if lengths.numel():
        for dt in (lengths.min(), lengths.max()):
            layer.parameters_of_neuron.check(float(dt.detach()))
    return replace(given, durations=lengths.reshape(*lengths.shape, *([1] * (like.dim() - 2))))


def _lengths(times: Any, steps: int, batch: int, like: Tensor) -> Tensor:
    try:
        found = torch.as_tensor(times, dtype=torch.float64, device=like.device)
    except (TypeError, ValueError) as error:
        raise RunError(f"times is a {type(times).__name__}", hint=f"one time for each step, ({steps},)") from error
    if tuple(found.shape) not in ((steps,), (steps, batch)):
        wanted = f"({steps},) or ({steps}, {batch})"
        raise RunError(f"times has shape {tuple(found.shape)}, expected {wanted}", hint="one time for each step")
    rows = found.reshape(steps, 1 if found.dim() == 1 else batch)
    lengths = torch.diff(rows, dim=0, prepend=rows.new_zeros(1, rows.shape[1]))
    bad = torch.nonzero(~((lengths > 0) & lengths.isfinite()))
    if len(bad):
        t, b = bad[0].tolist()
        before = float(rows[t - 1, b].detach()) if t else 0.0
        sample = f", sample {b}" if found.dim() == 2 else ""
        what = f"times[{t}] is {float(rows[t, b].detach()):g} behind {before:g}{sample}"
        raise RunError(f"{what}; times increase, and the first is above 0",
                       hint="step k runs from times[k-1], or 0, to times[k]")  # fmt: skip
    return lengths


def coefficients_at(layer: Any, durations: Tensor) -> list[Tensor]:
    """Coefficients in float64; those that depend on the step (T, B or 1, *size*), the others as ever."""
    slots = layer.parameters_of_neuron.slots()
    rows, _ = eager_torch.eager_program(layer._emitted).prologue(slots, durations)
    return [c if c.dim() < durations.dim() else c.expand(len(durations), *c.shape[1:]) for c in rows]


def begins(layer: Any, times: Any, like: Tensor) -> Tensor:
    """When each step begins since the start of the call, broadcast against `like`, (T, B, *size*)."""
    steps, lanes = like.shape[0], [1] * (like.dim() - 2)
    if times is None:
        starts = torch.arange(steps, dtype=torch.float64, device=like.device) * layer.dt
    else:
        ends = torch.as_tensor(times, dtype=torch.float64, device=like.device)
        starts = torch.cat([torch.zeros_like(ends[:1]), ends[:-1]])
    return starts.reshape(steps, -1, *lanes).to(like.dtype)
