"""Native code of a step that reads its whole past, built and loaded."""

from __future__ import annotations

import os
from ctypes import c_void_p
from dataclasses import dataclass
from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.emit.c_history import emit_history
from neuroode.nn.history_run_torch import Weights
from neuroode.nn.history_step_torch import HistoryStep
from neuroode.nn.kernels_torch import warn_once
from neuroode.nn.native_kernels_torch import DTYPES
from neuroode.program.adjoint import adjoint
from neuroode.program.history_step import Remembered, remembered
from neuroode.solvers.native import load

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Native:
    """A loaded kernel. `trained`: names of the coefficients that get a gradient."""

    step: Remembered
    trained: tuple[str, ...]
    forward: Any
    backward: Any
    process: int


_known: dict[tuple[str, torch.dtype], Native] = {}


def native_of(step: HistoryStep, weights: Weights, like: Tensor) -> Native | None:
    """The kernel of a layer's step; None where there is none: another device or dtype, torch.compile, no compiler
    (with a warning), a step that is not one program."""
    if like.device.type != "cpu" or like.dtype not in DTYPES or torch.compiler.is_compiling():
        return None
    made = remembered(step.history, step.method, step.durations, "neuron" if is_wide(weights) else "layer")
    if made is None:
        return None
    key = made.program.digest, like.dtype
    if key not in _known:
        try:
            _known[key] = _built(made, like.dtype)
        except Unsupported as error:
            warn_once(str(error))
            return None
    return _known[key]


def _built(step: Remembered, dtype: torch.dtype) -> Native:
    back = adjoint(step.program)
    library = load(emit_history(step, back, DTYPES[dtype]), double=dtype == torch.float64)
    functions = library.neuron_history_forward, library.neuron_history_backward
    for function in functions:
        function.argtypes = (c_void_p,)
    return Native(step, tuple(n for n, _ in back.coefficients), *functions, os.getpid())


def is_wide(weights: Weights) -> bool:
    """Whether neurons have weights of their own."""
    return any(w[0].numel() > w.shape[1] for row in weights.kernel for w in row if w is not None)
