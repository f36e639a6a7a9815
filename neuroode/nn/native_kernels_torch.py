"""Loaded kernels, and one call of them: allocate, pass addresses."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Sequence
from ctypes import c_void_p
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.emit.c import BLOCK, CHUNK, c_name, emit_c, lanes_of_tile
from neuroode.program.types import Adjoint, Program
from neuroode.solvers.native import cache_bytes, load, prefer_huge_pages

LARGE = 8 * 1024 * 1024  # bytes from which page faults are felt

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A loaded kernel.

    Attributes:
        key: names it in the operators' calls.
        coefficients: (name, one per neuron?) in the order of the program.
        trained: indices of the coefficients that get a gradient.
        lanes: lanes of a tile, which the layout of the kept bits depends on.
        process: the process that loaded it; a fork must not start threads.
    """

    key: str
    dtype: torch.dtype
    inputs: tuple[str, ...]
    coefficients: tuple[tuple[str, bool], ...]
    outputs: int
    carry: int
    events: int
    trained: tuple[int, ...]
    recurrent: bool
    lanes: int
    process: int
    forward: Any = field(repr=False)
    backward: Any = field(repr=False)


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
    source = emit_c(program, adjoint, DTYPES[dtype], recurrent=recurrent)
    key = hashlib.sha256(source.encode()).hexdigest()[:24]
    if key not in kernels:
        kernels[key] = _load(program, adjoint, dtype, recurrent, source, key)
    return kernels[key]


def _load(
    program: Program, adjoint: Adjoint, dtype: torch.dtype, recurrent: tuple[str, str] | None, source: str, key: str
) -> Kernel:
    library = load(source, double=dtype == torch.float64)
    functions = [getattr(library, f"{c_name(program.name)}_{which}") for which in ("forward", "backward")]
    for function in functions:
        function.argtypes = (c_void_p,)
    place = {c.name: i for i, c in enumerate(program.coefficients)}
    return Kernel(
        key=key,
        dtype=dtype,
        inputs=program.inputs,
        coefficients=tuple((c.name, c.level != "layer") for c in program.coefficients),
        outputs=len(program.outputs),
        carry=len(program.carry) + (recurrent is not None),
        events=len(program.events),
        trained=tuple(place[name] for name, _ in adjoint.coefficients),
        recurrent=recurrent is not None,
        lanes=lanes_of_tile(program, DTYPES[dtype]),
        process=os.getpid(),
        forward=functions[0],
        backward=functions[1],
    )


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
        *_shape_words(kernel, inputs[0].shape, threads, lengths), *_pointers(coefficients),
        *_pointers(inputs), *_steps(inputs), *_pointers(start), *_pointers(outputs), *_pointers(last),
        *(_pointers(kept) if keep else (0, 0)), *_weight_words(kernel, weights),
    ]  # fmt: skip
    _call(kernel.forward, words)
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
        *_shape_words(kernel, inputs[0].shape, threads, lengths), *_pointers(coefficients),
        *_pointers(inputs), *_steps(inputs), *_pointers(kept), *_pointers(g_out), *_steps(g_out), *_pointers(g_end),
        *(x.data_ptr() if w else 0 for x, w in zip(found[:a], wanted, strict=True)),
        *_pointers(found[c:]), *_pointers(found[a:b]), *_weight_words(kernel, weights, found[b:c]),
    ]  # fmt: skip
    _call(kernel.backward, words)
    return found


def allocate(
    kernel: Kernel, inputs: Sequence[Tensor], carry: Sequence[Tensor], lengths: Tensor | None, keep: bool
) -> list[Tensor]:
    """Outputs, last carry, checkpoints, bits."""
    steps, samples, neurons = inputs[0].shape
    outputs = [_large(inputs[0], (steps, samples, neurons)) for _ in range(kernel.outputs)]
    last = [c.new_empty((samples, neurons)) for c in carry]
    chunks = -(-steps // CHUNK) if keep else 0
    checkpoints = inputs[0].new_empty((chunks, kernel.carry, samples, neurons))
    words = _bit_words(kernel, samples, neurons, lengths is not None)
    bits = inputs[0].new_empty((steps if keep else 0, kernel.events, words), dtype=torch.int64)
    return [*outputs, *last, checkpoints, bits]


def _bit_words(kernel: Kernel, samples: int, neurons: int, by_sample: bool) -> int:
    """Words in a row of event bits; mirrors the tiles of the C frame, each of which starts a new word."""
    if kernel.recurrent:
        return -(-samples // BLOCK) * -(-BLOCK * neurons // 64)
    if neurons > kernel.lanes:
        tiles = samples * (-(-neurons // kernel.lanes))
    else:
        together = 1 if by_sample else kernel.lanes // max(neurons, 1)
        tiles = -(-samples // together)
    return samples * neurons // 64 + tiles


def allocate_cotangents(
    kernel: Kernel,
    inputs: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weights: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Those of inputs, trained coefficients, weights, carry."""
    shape = tuple(inputs[0].shape)
    g_inputs = [_large(x, shape) if w else x.new_empty(0) for x, w in zip(inputs, wanted, strict=True)]
    g_coefficients = [torch.empty_like(coefficients[i]) for i in kernel.trained]
    g_weights = [torch.empty_like(w) for w in weights]
    return [*g_inputs, *g_coefficients, *g_weights, *(inputs[0].new_empty(shape[1:]) for _ in range(kernel.carry))]


def _large(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A new array, in huge pages where it is big."""
    x = like.new_empty(shape)
    if type(x) is Tensor and x.nbytes >= LARGE:
        prefer_huge_pages(x.data_ptr(), x.nbytes)
    return x


def _shape_words(kernel: Kernel, shape: torch.Size, threads: int, lengths: Tensor | None) -> tuple[int, ...]:
    steps, samples, neurons = shape
    arrays = 2 * (len(kernel.inputs) + kernel.outputs)  # of a training step, cotangents included
    stream = shape.numel() * kernel.dtype.itemsize * arrays >= cache_bytes()
    if os.getpid() != kernel.process:
        threads = 1  # OpenMP does not survive a fork
    return steps, samples, neurons, threads, stream, 0 if lengths is None else lengths.data_ptr()


def _weight_words(kernel: Kernel, weights: Sequence[Tensor], found: Sequence[Tensor] | None = None) -> tuple[int, ...]:
    """Pointers to the matrix and the bias or 0, then to their cotangents."""
    if not kernel.recurrent:
        return ()
    groups = [weights] if found is None else [weights, found]
    return tuple(p for group in groups for p in (group[0].data_ptr(), group[1].data_ptr() if len(group) > 1 else 0))


def _pointers(arrays: Sequence[Tensor | None]) -> list[int]:
    return [0 if x is None else x.data_ptr() for x in arrays]


def _steps(arrays: Sequence[Tensor | None]) -> list[int]:
    return [0 if x is None else x.stride(0) for x in arrays]


def _call(function: Any, words: list[int]) -> None:
    """Call with a struct of 8-byte fields."""
    fields = array("q", words)
    if function(fields.buffer_info()[0]):
        raise MemoryError("a kernel found no memory for its work space")


def dense_rows(x: Tensor) -> Tensor:
    """`x` if each of its time steps is one run of memory, else a contiguous copy; steps may lie anywhere."""
    _, samples, neurons = x.shape
    dense = (x.stride(2) == 1 or neurons == 1) and (x.stride(1) == neurons or samples == 1)
    return x if dense else x.contiguous()
