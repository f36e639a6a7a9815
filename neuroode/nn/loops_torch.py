"""The stages that must run step by step: the compiled kernel where there is one, the emitted step elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.nn import eager_torch, native_torch
from neuroode.program.adjoint import adjoint
from neuroode.program.types import Program

Tensor = torch.Tensor
_kernels: dict[tuple[str, torch.dtype], Any] = {}


def loop(
    once: Program, coefficients: Sequence[Tensor], inputs: Sequence[Tensor], start: Sequence[Tensor],
    lengths: Tensor | None, compiled: bool = True,
) -> tuple[list[Tensor], dict[str, Tensor]]:  # fmt: skip
    """The slots after each step, and the events by output name, (T, B, *size*); without gradients."""
    shape = inputs[0].shape
    kernel = _kernel(once, inputs[0].dtype) if compiled and inputs[0].device.type == "cpu" else None
    if kernel is None:
        wide = [s.expand(shape[1:]) for s in start]
        rows = eager_torch.run(once, list(coefficients), list(inputs), wide, lengths=lengths).outputs
    else:
        rows = _native(kernel, once, coefficients, inputs, start, lengths)
    named = dict(zip((n for n, _ in once.outputs), rows, strict=True))
    return [named.pop(f"n.{s.name}") for s in once.carry], named


def _native(
    kernel: Any, once: Program, coefficients: Sequence[Tensor], inputs: Sequence[Tensor], start: Sequence[Tensor],
    lengths: Tensor | None,
) -> list[Tensor]:  # fmt: skip
    steps, batch, *size = inputs[0].shape
    lanes = inputs[0][0, 0].numel() if steps and batch else 0
    rows = [
        c if w.level == "layer" else c.expand(size).reshape(lanes).contiguous()
        for c, w in zip(coefficients, once.coefficients, strict=True)
    ]
    flat = [x.expand(steps, batch, *size).reshape(steps, batch, lanes) for x in inputs]
    state = [s.expand(batch, *size).reshape(batch, lanes) for s in start]
    outputs, _ = native_torch.run(kernel, flat, rows, state, lengths=lengths)
    return [o.reshape(steps, batch, *size) for o in outputs]


def _kernel(once: Program, dtype: torch.dtype) -> Any:
    """None where no compiler works; the layer's own kernel says so."""
    key = once.digest, dtype
    if key not in _kernels:
        try:
            _kernels[key] = native_torch.compile_program(once, adjoint(once), dtype)
        except Unsupported:
            _kernels[key] = None
    return _kernels[key]
