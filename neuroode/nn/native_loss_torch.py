"""Cross entropy of every step of a sequence, with its gradient made in the same pass."""

from __future__ import annotations

from array import array
from ctypes import c_void_p
from functools import cache
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import RunError
from neuroode.emit.c_loss import emit_loss
from neuroode.solvers.native import load

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
PARALLEL_WORK = 2**18  # logits below which a second thread costs more than it gives


def nll_sequence(
    logits: Tensor, labels: Tensor, *, first: int = 0, last: int | None = None, over_time: str = "mean"
) -> tuple[Tensor, Tensor]:
    """Negative log likelihood of labels under softmax(logits), per step, reduced to one number.

    Args:
        logits: (T, B, C), float32 or float64.
        labels: (B, T), or (B,) for the same label at every step; uint8 or int64, a label below 0 does not count.
        first, last: only the steps first..last-1 count; None: up to the end.
        over_time: mean (over all that counts) or sum (over time, mean over the batch).

    Returns:
        The loss, and (2,) int64: how many predictions are right, and how many count.

    Raises:
        RunError: shapes, dtypes or labels that do not fit.
        Unsupported: no compiler here.
    """
    if over_time not in ("mean", "sum"):
        raise RunError(f"over_time is {over_time!r}", hint="write 'mean' or 'sum'")
    _check(logits, labels)
    steps = len(logits)
    threads = torch.get_num_threads() if logits.numel() >= PARALLEL_WORK else 1
    end = steps if last is None else min(last, steps)
    wanted = torch.is_grad_enabled() and logits.requires_grad
    loss, right, _ = nll_operator(logits, labels, max(first, 0), end, over_time == "mean", threads, wanted)
    return loss, right


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.dtype not in DTYPES or logits.ndim != 3 or logits.device.type != "cpu" or logits.shape[-1] == 0:
        raise RunError(
            f"logits of shape {tuple(logits.shape)}, {logits.dtype}; expected (T, B, C), float32 or float64, on the cpu"
        )
    steps, samples, _ = logits.shape
    if labels.shape not in ((samples,), (samples, steps)) or labels.dtype not in (torch.uint8, torch.int64):
        raise RunError(
            f"labels of shape {tuple(labels.shape)}, {labels.dtype}; "
            f"expected ({samples},) or ({samples}, {steps}) in uint8 or int64"
        )


@cache
def _function(dtype: torch.dtype) -> Any:
    function = load(emit_loss(DTYPES[dtype]), double=dtype == torch.float64).nll_sequence
    function.argtypes = (c_void_p,)
    return function


@torch.library.custom_op("neuroode::nll_sequence", mutates_args=(), device_types="cpu")
def nll_operator(
    logits: Tensor, labels: Tensor, first: int, last: int, mean: bool, threads: int, wanted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, (right, counted), and the gradient of the loss."""
    logits, labels = logits.contiguous(), labels.contiguous()
    gradient = torch.empty_like(logits) if wanted else logits.new_empty(0)
    loss, right = torch.empty((), dtype=torch.float64), torch.empty(2, dtype=torch.int64)
    fields = array("q", (
        *logits.shape, threads, first, last, labels.ndim == 2, labels.itemsize, mean, logits.data_ptr(),
        labels.data_ptr(), gradient.data_ptr() if wanted else 0, loss.data_ptr(), right.data_ptr(),
    ))  # fmt: skip
    failed = _function(logits.dtype)(fields.buffer_info()[0])
    if failed == 2:
        raise RunError(f"a label is not below the number of classes, {logits.shape[-1]}")
    if failed:
        raise MemoryError("the loss found no memory for its work space")
    return loss.to(logits.dtype), right, gradient


@nll_operator.register_fake
def _(logits, labels, first, last, mean, threads, wanted):  # noqa: ARG001
    right = labels.new_empty(2, dtype=torch.int64)
    return logits.new_empty(()), right, torch.empty_like(logits) if wanted else logits.new_empty(0)


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    del inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[2])


def _backward(ctx: Any, g_loss: Tensor | None, *_: Tensor | None) -> tuple:
    (gradient,) = ctx.saved_tensors
    g_logits = None if g_loss is None else gradient * g_loss
    return g_logits, None, None, None, None, None, None


nll_operator.register_autograd(_backward, setup_context=_setup_context)
