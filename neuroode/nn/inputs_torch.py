"""What a call passes: checked, by name, in the layer's dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.nn.inputs import by_name, check_agree, check_shape, clock_shape, refuse_clock
from neuroode.program.pack import Group
from neuroode.program.types import CLOCK

Tensor = torch.Tensor
COMPUTES = (torch.float32, torch.float64)
SHORT = (torch.float16, torch.bfloat16)
WHOLE = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Inputs (T, B, *size*) in the program's order, one an element; `dtype` is what the outputs are returned in;
    `durations` of steps that differ, (T, B or 1, 1, ...); `noise_key` after the call, where there is noise;
    `start_key`, (B, 2), where the call starts afresh from values that are drawn."""

    inputs: list[Tensor]
    batch: int
    lengths: Tensor | None
    dtype: torch.dtype
    durations: Tensor | None = None
    noise_key: Tensor | None = None
    start_key: Tensor | None = None


def read_inputs(
    layer: Any, x: Tensor | Mapping[str, Tensor] | None, lengths: Tensor | None, steps: int | None, batch: int | None
) -> Sequence:
    """Check shapes, dtypes and names. A neuron without inputs gets its clock, which costs one row of memory.

    Raises:
        RunError: with what was found, what is allowed and what to write.
    """
    if layer._like.dtype not in COMPUTES:
        raise Unsupported(
            f"the layer was moved to {layer._like.dtype}; it computes in float32 or float64",
            hint="keep it in float32: it takes inputs of half precision, and autocast, as they are",
        )
    found = layer._border.inputs
    names, model = [g.name for g in found], layer.neuron.spec.name
    if names == [CLOCK]:
        shape = clock_shape(model, x, steps, batch, layer.size)
        x = layer._like.new_zeros(shape[1:]).expand(shape)
    else:
        refuse_clock(model, names, x, steps, batch)
    given = by_name(model, names, x)
    rows = [checked(layer, g, value) for g, value in zip(found, given, strict=True)]
    first = rows[0]
    check_agree(names, [r.shape[: 2 + len(layer.size)] for r in rows])
    dtype = given[0].dtype
    inputs = layer._border.split(dict(zip(names, rows, strict=True)), found)
    limits = _lengths(lengths, first.shape[0], first.shape[1], first)
    return Sequence(inputs, first.shape[1], limits, dtype if dtype in SHORT else first.dtype)


def checked(layer: Any, group: Group, x: Any, what: str = "input") -> Tensor:
    """One array of a call, (T, B, *size*, *axes*), in the layer's dtype; `what` it is called in a message."""
    like, name, size = layer._like, group.name, (*layer.size, *group.shape)
    if not isinstance(x, Tensor):
        raise RunError(f"{what} '{name}' is a {type(x).__name__}, not a torch tensor")
    if x.layout != torch.strided:
        raise RunError(f"{what} '{name}' is sparse, expected a dense tensor", hint="write x.to_dense()")
    check_shape(name, x.shape, size, what)
    if x.device != like.device:
        raise RunError(f"{what} '{name}' is on {x.device}, the layer on {like.device}")
    if x.dtype in SHORT:
        return x.to(like.dtype)
    if x.dtype != like.dtype:
        raise RunError(
            f"{what} '{name}' is {x.dtype}, the layer computes in {like.dtype}", hint=f"write x.to({like.dtype})"
        )
    return x


def _lengths(lengths: Tensor | None, steps: int, batch: int, like: Tensor) -> Tensor | None:
    if lengths is None:
        return None
    try:
        given = torch.as_tensor(lengths, device=like.device)
    except (TypeError, ValueError) as error:
        raise RunError(f"lengths is {lengths!r}, expected whole numbers of shape ({batch},)") from error
    if given.dim() != 1 or given.shape[0] != batch or given.dtype not in WHOLE:
        raise RunError(
            f"lengths is {given.dtype} of shape {tuple(given.shape)}, expected whole numbers of shape ({batch},)"
        )
    if torch.compiler.is_compiling():  # a trace knows no numbers
        return given.to(torch.int64, copy=True).contiguous().clamp(0, steps)
    if batch and (int(given.min()) < 0 or int(given.max()) > steps):
        raise RunError(f"lengths run from {int(given.min())} to {int(given.max())}, allowed are 0 to {steps}")
    return given.to(torch.int64, copy=True).contiguous()  # the caller may change it before the backward pass
