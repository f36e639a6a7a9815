"""The carry before the first step where initial values of states are drawn, (B, *size*) for each slot.

A pure function of seed, sample and lane, computed before the call: schedules and kernels are given a carry.
"""

from __future__ import annotations

from typing import Any

import torch

from neuroode.nn import eager_torch
from neuroode.nn.inputs_torch import Sequence
from neuroode.nn.native_random_torch import draw
from neuroode.program.start import filled

Tensor = torch.Tensor


def first(layer: Any, inits: list[Tensor], batch: int, key: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
    """States before the first step, (batch, *size*) each, and a recurrent layer's last output.

    Args:
        inits: of the prologue. key: (batch, 2) seed, and a number that is not read; None where nothing is drawn.
    """
    shape = (batch, *layer.size)
    wide = [v.to(layer._like.dtype).expand(shape) for v in inits]
    last = layer._like.new_zeros(shape) if layer.recurrent else None
    return wide if key is None or layer.program.start is None else _drawn(layer, wide, key), last


def drawn(layer: Any, given: Sequence) -> list[Tensor] | None:
    """What a call starts from, a recurrent layer's last output last; None where it draws nothing."""
    if given.start_key is None:
        return None
    states, last = first(layer, layer._prologue()[1], given.batch, given.start_key)
    return states if last is None else [*states, last]


def _drawn(layer: Any, inits: list[Tensor], key: Tensor) -> list[Tensor]:
    """Inits with what is drawn in its place, with gradients to parameters in the arguments of draws."""
    start, like, shape = layer.program.start, layer._like, (1, len(key), *layer.size)
    fresh = torch.stack([key[:, 0], torch.zeros_like(key[:, 0])], dim=1)
    numbers = [draw(n.kind, n.name, fresh, shape, like.dtype) for n in start.noise]
    clock = [like.new_zeros(shape) for _ in start.given]
    dt = torch.tensor(layer.dt, dtype=torch.float64, device=like.device)
    coefficients, _ = eager_torch.eager_program(start).prologue(layer.parameters_of_neuron.slots(), dt)
    run = eager_torch.run(start, [c.to(like.dtype) for c in coefficients], [*clock, *numbers], [])
    return filled(layer.program, inits, [x[0] for x in run.outputs])
