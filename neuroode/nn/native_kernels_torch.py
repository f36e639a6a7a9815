"""Loaded kernels, and one call of them: allocate, pass addresses."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.nn.native import Kernel, compile_kernel, kept_shapes, streams
from neuroode.program.types import Adjoint, Program
from neuroode.solvers.native import prefer_huge_pages

PARALLEL_WORK = 2**18  # lane steps below which a second thread costs more than it gives
LARGE = 8 * 1024 * 1024  # bytes from which page faults are felt

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


kernels: dict[str, Kernel] = {}


def compile_program(
    program: Program, adjoint: Adjoint, dtype: torch.dtype, recurrent: tuple[str, str] | None = None
) -> Kernel:
    """The kernel of a program, built or taken from the cache.

    Args:
        recurrent: (input, output) of a layer whose last output, times a matrix, is added to its input.

    Raises:
        Unsupported: no compiler here, or a compiler that fails.
    """
    if dtype not in DTYPES:
        raise Unsupported(f"kernels compute in float32 or float64, not {dtype}")
    return compile_kernel(program, adjoint, DTYPES[dtype], dtype, recurrent, kernels)


def forward(
    kernel: Kernel,
    inputs: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weights: Sequence[Tensor],
    carry: Sequence[Tensor],
    lengths: Tensor | None,
    threads: int,
    *,
    keep: bool,
) -> list[Tensor]:
    """Outputs, the carry after the last step, and what the backward pass needs: checkpoints and event bits."""
    inputs, start = [dense_rows(x) for x in inputs], [c.contiguous() for c in carry]
    coefficients, weights = [c.contiguous() for c in coefficients], [w.contiguous() for w in weights]
    found = allocate(kernel, inputs, carry, lengths, keep)
    outputs, last, kept = found[: kernel.outputs], found[kernel.outputs : -2], found[-2:]
    words = [
        *shape_words(kernel, inputs[0].shape, threads, lengths), *_pointers(coefficients),
        *_pointers(inputs), *_steps(inputs), *_pointers(start), *_pointers(outputs), *_pointers(last),
        *(_pointers(kept) if keep else (0, 0)), *weight_words(kernel, weights),
    ]  # fmt: skip
    run_struct(kernel.forward, words)
    return found


def backward(
    kernel: Kernel,
    inputs: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weights: Sequence[Tensor],
    kept: Sequence[Tensor],
    lengths: Tensor | None,
    g_outputs: Sequence[Tensor | None],
    g_last: Sequence[Tensor | None],
    threads: int,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Cotangents of inputs (empty where not wanted), trained coefficients, weights and carry."""
    inputs, weights = [dense_rows(x) for x in inputs], [w.contiguous() for w in weights]
    coefficients = [c.contiguous() for c in coefficients]
    g_out = [None if g is None else dense_rows(g) for g in g_outputs]
    g_end = [None if g is None else g.contiguous() for g in g_last]
    found = allocate_cotangents(kernel, inputs, coefficients, weights, wanted)
    a, b = len(inputs), len(inputs) + len(kernel.trained)
    c = b + len(weights)
    words = [
        *shape_words(kernel, inputs[0].shape, threads, lengths), *_pointers(coefficients),
        *_pointers(inputs), *_steps(inputs), *_pointers(kept), *_pointers(g_out), *_steps(g_out), *_pointers(g_end),
        *(x.data_ptr() if w else 0 for x, w in zip(found[:a], wanted, strict=True)),
        *_pointers(found[c:]), *_pointers(found[a:b]), *weight_words(kernel, weights, found[b:c]),
    ]  # fmt: skip
    run_struct(kernel.backward, words)
    return found


def allocate(
    kernel: Kernel, inputs: Sequence[Tensor], carry: Sequence[Tensor], lengths: Tensor | None, keep: bool
) -> list[Tensor]:
    """Outputs, last carry, checkpoints, bits."""
    steps, samples, neurons = inputs[0].shape
    outputs = [wide_array(inputs[0], (steps, samples, neurons)) for _ in range(kernel.outputs)]
    last = [c.new_empty((samples, neurons)) for c in carry]
    kept, words = kept_shapes(kernel, inputs[0].shape, lengths is not None)
    checkpoints = inputs[0].new_empty(kept if keep else (0, *kept[1:]))
    bits = inputs[0].new_empty(words if keep else (0, *words[1:]), dtype=torch.int64)
    return [*outputs, *last, checkpoints, bits]


def allocate_cotangents(
    kernel: Kernel,
    inputs: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weights: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Those of inputs, trained coefficients, weights, carry."""
    shape = tuple(inputs[0].shape)
    g_inputs = [wide_array(x, shape) if w else x.new_empty(0) for x, w in zip(inputs, wanted, strict=True)]
    g_coefficients = [torch.empty_like(coefficients[i]) for i in kernel.trained]
    g_weights = [torch.empty_like(w) for w in weights]
    return [*g_inputs, *g_coefficients, *g_weights, *(inputs[0].new_empty(shape[1:]) for _ in range(kernel.carry))]


def wide_array(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A new array, in huge pages where it is big."""
    x = like.new_empty(shape)
    if type(x) is Tensor and x.nbytes >= LARGE:
        prefer_huge_pages(x.data_ptr(), x.nbytes)
    return x


def shape_words(kernel: Kernel, shape: Sequence[int], threads: int, lengths: Tensor | None) -> tuple[int, ...]:
    """The head of a kernel's structs for a run over (T, B, N)."""
    steps, samples, neurons = shape
    stream = streams(kernel, steps * samples * neurons, kernel.dtype.itemsize)
    if os.getpid() != kernel.process:
        threads = 1  # OpenMP does not survive a fork
    return steps, samples, neurons, threads, stream, 0 if lengths is None else lengths.data_ptr()


def weight_words(kernel: Kernel, weights: Sequence[Tensor], found: Sequence[Tensor] | None = None) -> tuple[int, ...]:
    """Pointers to the matrix and the bias or 0, then to their cotangents."""
    if not kernel.recurrent:
        return ()
    groups = [weights] if found is None else [weights, found]
    return tuple(p for group in groups for p in (group[0].data_ptr(), group[1].data_ptr() if len(group) > 1 else 0))


def _pointers(arrays: Sequence[Tensor | None]) -> list[int]:
    return [0 if x is None else x.data_ptr() for x in arrays]


def _steps(arrays: Sequence[Tensor | None]) -> list[int]:
    return [0 if x is None else x.stride(0) for x in arrays]


def run_struct(function: Any, words: Sequence[int]) -> None:
    """Call with a struct of 8-byte fields."""
    fields = array("q", words)
    if function(fields.buffer_info()[0]):
        raise MemoryError("a kernel found no memory for its work space")


def dense_rows(x: Tensor) -> Tensor:
    """`x` if each of its time steps is one run of memory, else a contiguous copy; steps may lie anywhere."""
    _, samples, neurons = x.shape
    dense = (x.stride(2) == 1 or neurons == 1) and (x.stride(1) == neurons or samples == 1)
    return x if dense else x.contiguous()
