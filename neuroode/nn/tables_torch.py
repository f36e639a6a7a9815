"""What a call's steps read beside its inputs: rows of tables over time, and sums over the whole sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from neuroode.nn.carry import refuse_carry
from neuroode.nn.inputs_torch import Sequence
from neuroode.nn.sums_torch import with_sums
from neuroode.program.values import check_horizon
from neuroode.system.indices import table_values

Tensor = torch.Tensor


def with_tables(layer: Any, given: Sequence, start: list[Tensor] | None) -> Sequence:
    """The inputs of a call followed by tables, from the step that the carry counts, and sums; each (T, B, *size*).

    Raises:
        RunError: more steps than the horizon, or a carry where a sum reads the whole sequence.
    """
    refuse_carry(layer.program, start)
    return with_sums(layer, _with_rows(layer, given, start))


def _with_rows(layer: Any, given: Sequence, start: list[Tensor] | None) -> Sequence:
    program, parameters = layer.program, layer.parameters_of_neuron
    if not program.tables:
        return given
    shape = given.inputs[0].shape
    first = None if start is None else start[[s.name for s in program.carry].index("step")]
    at = _steps(layer, given, shape[0], first)
    found: dict[str, Tensor] = {}
    for p in parameters.tables:
        found |= table_values(p, parameters.sizes, parameters.exact(p))
    rows = [_rows(found[name].to(layer._like.dtype), at, shape) for name in program.tables]
    return replace(given, inputs=[*given.inputs, *rows])


def _steps(layer: Any, given: Sequence, steps: int, first: Tensor | None) -> Tensor | slice:
    """The row of each step: one for all samples, or (T, B) where they stand at different ones."""
    spec = layer.neuron.spec
    if first is None or not first.numel():
        check_horizon(spec, steps)
        return slice(0, steps)
    begin = first.detach().reshape(given.batch, -1)[:, 0].long()
    valid = torch.full_like(begin, steps) if given.lengths is None else given.lengths
    if not torch.compiler.is_compiling():  # a trace knows no numbers
        check_horizon(spec, int((begin + valid).max()))
        if bool((begin == begin[0]).all()) and given.lengths is None:
            return slice(int(begin[0]), int(begin[0]) + steps)
    now = begin + torch.arange(steps, device=begin.device)[:, None]
    return now.clamp_max(spec.horizon - 1)  # steps after a sample's end read nothing that counts


def _rows(table: Tensor, at: Tensor | slice, shape: torch.Size) -> Tensor:
    """(T, B, *size*) of a table (*level*, time)."""
    by_step = table.movedim(-1, 0)
    level = by_step.shape[1:]
    lanes = level if len(level) == len(shape) - 2 else (*level, *([1] * (len(shape) - 2 - len(level))))
    picked = by_step[at]
    steps = picked.shape[: 1 if isinstance(at, slice) else 2]
    return picked.reshape(*steps, *([1] if isinstance(at, slice) else []), *lanes).expand(shape)
