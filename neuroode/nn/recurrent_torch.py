"""Recurrent weights of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.nn.recurrent import Recurrent
from neuroode.program.types import Program

Tensor = torch.Tensor
INITS = {
    "xavier_uniform": torch.nn.init.xavier_uniform_,
    "orthogonal": torch.nn.init.orthogonal_,
    "zeros": torch.nn.init.zeros_,
}


def recurrent_names(option: Any, program: Program, size: tuple[int, ...]) -> Recurrent | None:
    """The option with its input and output filled in.

    Raises:
        Unsupported: *size* is not one number, or the names do not fit.
    """
    if option is None or option is False:
        return None
    chosen = _as_recurrent(option)
    if len(size) != 1:
        raise Unsupported(f"recurrent weights need size to be one number, found {size}")
    outputs = [n for n, _ in program.outputs]
    if chosen.output is None and len(outputs) != 1:
        raise Unsupported(
            f"recurrent=True needs a single output, found {', '.join(outputs)}", hint='name both: recurrent={"I": "s"}'
        )
    filled = replace(chosen, input=chosen.input or program.inputs[0], output=chosen.output or outputs[0])
    if filled.input not in program.inputs or filled.output not in outputs:
        raise Unsupported(
            f"recurrent from '{filled.output}' to '{filled.input}' does not fit",
            hint=f"inputs: {', '.join(program.inputs)}; outputs: {', '.join(outputs)}",
        )
    return filled


def _as_recurrent(option: Any) -> Recurrent:
    if option is True:
        return Recurrent()
    if isinstance(option, Mapping) and len(option) == 1:
        ((target, source),) = option.items()
        return Recurrent(input=target, output=source)
    if isinstance(option, Recurrent):
        return option
    raise RunError(f"recurrent is {option!r}", hint='write True, Recurrent(...) or {"I": "s"}')


class RecurrentWeights(torch.nn.Module):
    """W_rec (N, N), [to, from], and an optional bias (N,)."""

    def __init__(self, option: Recurrent, n: int, dtype: torch.dtype, device: Any) -> None:
        super().__init__()
        if option.init not in INITS:
            raise Unsupported(f"unknown init '{option.init}' of W_rec", hint="choose among " + ", ".join(INITS))
        self.weight = torch.nn.Parameter(INITS[option.init](torch.empty(n, n, dtype=dtype, device=device)))
        self.bias = torch.nn.Parameter(torch.zeros(n, dtype=dtype, device=device)) if option.bias else None
        self.self_connections = option.self_connections

    def matrix(self) -> Tensor:
        """The weights; without self connections the diagonal is 0 and gets no gradient."""
        if self.self_connections:
            return self.weight
        return self.weight * (1 - torch.eye(len(self.weight), dtype=self.weight.dtype, device=self.weight.device))
