"""Generated C kernels as differentiable torch operators.

`compile_program` builds a kernel, `run` runs it over a sequence. Inside torch.compile two operators serve every kernel,
which they find by its key; outside, an autograd function calls the same code with a fifth of their overhead.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Sequence
from ctypes import c_void_p
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import RunError, Unsupported
from neuroode.emit.c import BLOCK, CHUNK, c_name, emit_c, lanes_of_tile
from neuroode.program.types import Adjoint, Program
from neuroode.solvers.native import cache_bytes, load, prefer_huge_pages

PARALLEL_WORK = 2**18  # lane steps below which a second thread costs more than it gives
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


_kernels: dict[str, Kernel] = {}


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
    if key not in _kernels:
        _kernels[key] = _load(program, adjoint, dtype, recurrent, source, key)
    return _kernels[key]


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


def run(
    kernel: Kernel,
    inputs: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    carry: Sequence[Tensor],
    *,
    lengths: Tensor | None = None,
    w_rec: Tensor | None = None,
    bias: Tensor | None = None,
    last_output: Tensor | None = None,
    threads: int | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Run a kernel over a sequence.

    Args:
        inputs: (T, B, N) each.
        coefficients: in the order of the program: 0-dim for level `layer`, else (N,).
        carry: (B, N) each.
        lengths: (B,) steps that each sample runs; afterwards its carry rests and its outputs are 0.
        w_rec: (N, N), [after, before], of a recurrent kernel; `bias` (N,); `last_output` (B, N), None for 0.
        threads: None: torch's number where the work is worth it.

    Returns:
        Outputs (T, B, N) and carry (B, N); a recurrent kernel's last output is the last of the carry.
    """
    steps, samples, neurons = inputs[0].shape
    weights = [w for w in (w_rec, bias) if w is not None]
    states = list(carry)
    if kernel.recurrent:
        states.append(inputs[0].new_zeros(samples, neurons) if last_output is None else last_output)
    _check(kernel, inputs, coefficients, states, lengths, weights)
    if threads is None:
        threads = torch.get_num_threads() if steps * samples * neurons >= PARALLEL_WORK else 1
    groups = [_rows(x) for x in inputs], list(coefficients), weights, states
    keep = torch.is_grad_enabled() and any(x.requires_grad for group in groups for x in group)
    if torch.compiler.is_compiling():
        found = kernel_forward(kernel.key, *groups, lengths, threads, keep)
    elif keep:
        found = _Sequence.apply(kernel, lengths, threads, tuple(map(len, groups)), *(x for g in groups for x in g))
    else:
        found = _forward(kernel, *groups, lengths, threads, keep=False)
    end = kernel.outputs + kernel.carry
    return list(found[: kernel.outputs]), list(found[kernel.outputs : end])


def _check(
    kernel: Kernel,
    inputs: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    states: Sequence[Tensor],
    lengths: Tensor | None,
    weights: Sequence[Tensor],
) -> None:
    """Shapes and dtypes: the kernel reads memory by address."""
    shape = inputs[0].shape
    batch, neurons = shape[1:], shape[2:]
    wanted = [("input", x, shape) for x in inputs] + [("carry", s, batch) for s in states]
    wanted += [
        ("coefficient", c, neurons if per_neuron else ())
        for c, (_, per_neuron) in zip(coefficients, kernel.coefficients, strict=True)
    ]
    wanted += [("recurrent weight", w, (neurons[0],) * (2 - i)) for i, w in enumerate(weights)]
    for what, x, size in wanted:
        if x.shape != torch.Size(size) or x.dtype != kernel.dtype or x.device.type != "cpu":
            raise RunError(
                f"{what} of shape {tuple(x.shape)}, {x.dtype} on {x.device}; "
                f"expected {tuple(size)}, {kernel.dtype} on cpu"
            )
    if (len(inputs), len(states)) != (len(kernel.inputs), kernel.carry) or bool(weights) != kernel.recurrent:
        raise RunError(f"{len(inputs)} inputs, {len(states)} states, {len(weights)} weights do not fit the kernel")
    if lengths is not None and (lengths.shape != batch[:1] or lengths.dtype != torch.int64):
        raise RunError(f"lengths of shape {tuple(lengths.shape)}, {lengths.dtype}; expected ({batch[0]},), torch.int64")


def _rows(x: Tensor) -> Tensor:
    """`x` if each of its time steps is one run of memory, else a contiguous copy; steps may lie anywhere."""
    _, samples, neurons = x.shape
    dense = (x.stride(2) == 1 or neurons == 1) and (x.stride(1) == neurons or samples == 1)
    return x if dense else x.contiguous()


def _forward(
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
    inputs, start = [_rows(x) for x in inputs], [c.contiguous() for c in carry]
    coefficients, weights = [c.contiguous() for c in coefficients], [w.contiguous() for w in weights]
    found = _allocate(kernel, inputs, carry, lengths, keep)
    outputs, last, kept = found[: kernel.outputs], found[kernel.outputs : -2], found[-2:]
    words = [
        *_shape_words(kernel, inputs[0].shape, threads, lengths), *_pointers(coefficients),
        *_pointers(inputs), *_steps(inputs), *_pointers(start), *_pointers(outputs), *_pointers(last),
        *(_pointers(kept) if keep else (0, 0)), *_weight_words(kernel, weights),
    ]  # fmt: skip
    _call(kernel.forward, words)
    return found


def _backward(
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
    inputs, weights = [_rows(x) for x in inputs], [w.contiguous() for w in weights]
    coefficients = [c.contiguous() for c in coefficients]
    g_out = [None if g is None else _rows(g) for g in g_outputs]
    g_end = [None if g is None else g.contiguous() for g in g_last]
    found = _allocate_cotangents(kernel, inputs, coefficients, weights, wanted)
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


class _Sequence(torch.autograd.Function):
    """The operators below, for eager use."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, kernel: Kernel, lengths: Tensor | None, threads: int, counts: tuple[int, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        groups = _split(tensors, counts)
        found = _forward(kernel, *groups, lengths, threads, keep=True)
        ctx.call = kernel, lengths, threads, counts
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[: sum(counts[:3])], *found[-2:])
        return tuple(found[:-2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        kernel, lengths, threads, counts = ctx.call
        wanted = ctx.needs_input_grad[4 : 4 + counts[0]]
        groups = _cotangents(kernel, counts, ctx.saved_tensors, lengths, grads, threads, wanted, _backward)
        return None, None, None, None, *(g for group in groups for g in group)


def _cotangents(
    kernel: Kernel,
    counts: Sequence[int],
    saved: Sequence[Tensor],
    lengths: Tensor | None,
    grads: Sequence[Tensor | None],
    threads: int,
    wanted: Sequence[bool],
    backward: Callable[..., list[Tensor]],
) -> list[list[Tensor | None]]:
    """Cotangents of inputs, coefficients, weights and carry, None where there is none."""
    inputs, coefficients, weights, kept = _split(saved, (*counts[:3], 2))
    end = kernel.outputs + kernel.carry
    g_outputs, g_last = list(grads[: kernel.outputs]), list(grads[kernel.outputs : end])
    found = backward(kernel, inputs, coefficients, weights, kept, lengths, g_outputs, g_last, threads, list(wanted))
    sizes = (counts[0], len(kernel.trained), counts[2], kernel.carry)
    g_inputs, trained, g_weights, g_carry = _split(found, sizes)
    by_coefficient: list[Tensor | None] = [None] * counts[1]
    for index, g in zip(kernel.trained, trained, strict=True):
        by_coefficient[index] = g
    return [[g if w else None for g, w in zip(g_inputs, wanted, strict=True)], by_coefficient, g_weights, g_carry]


def _split(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[list[Any]]:
    groups, start = [], 0
    for count in counts:
        groups.append(list(tensors[start : start + count]))
        start += count
    return groups


@torch.library.custom_op("neuroode::kernel_forward", mutates_args=(), device_types="cpu")
def kernel_forward(
    key: str,
    inputs: list[Tensor],
    coefficients: list[Tensor],
    weights: list[Tensor],
    carry: list[Tensor],
    lengths: Tensor | None,
    threads: int,
    keep: bool,
) -> list[Tensor]:
    """`_forward` of the kernel with this key."""
    return _forward(_kernels[key], inputs, coefficients, weights, carry, lengths, threads, keep=keep)


@kernel_forward.register_fake
def _(key, inputs, coefficients, weights, carry, lengths, threads, keep):  # noqa: ARG001
    return _allocate(_kernels[key], inputs, carry, lengths, keep)


@torch.library.custom_op("neuroode::kernel_backward", mutates_args=(), device_types="cpu")
def kernel_backward(
    key: str,
    inputs: list[Tensor],
    coefficients: list[Tensor],
    weights: list[Tensor],
    kept: list[Tensor],
    lengths: Tensor | None,
    g_outputs: list[Tensor | None],
    g_last: list[Tensor | None],
    threads: int,
    wanted: list[bool],
) -> list[Tensor]:
    """`_backward` of the kernel with this key."""
    return _backward(
        _kernels[key], inputs, coefficients, weights, kept, lengths, g_outputs, g_last, threads, wanted
    )  # fmt: skip


@kernel_backward.register_fake
def _(key, inputs, coefficients, weights, kept, lengths, g_outputs, g_last, threads, wanted):  # noqa: ARG001
    return _allocate_cotangents(_kernels[key], inputs, coefficients, weights, wanted)


def _setup_context(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    key, xs, coefficients, weights, carry, lengths, threads, _ = inputs
    ctx.call = key, lengths, threads, (len(xs), len(coefficients), len(weights), len(carry))
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*xs, *coefficients, *weights, *output[-2:])


def _operator_backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    key, lengths, threads, counts = ctx.call
    groups = _cotangents(
        _kernels[key], counts, ctx.saved_tensors, lengths, grads, threads, ctx.needs_input_grad[1],
        lambda kernel, *rest: kernel_backward(kernel.key, *rest),
    )  # fmt: skip
    return None, *groups, None, None, None


kernel_forward.register_autograd(_operator_backward, setup_context=_setup_context)


def _allocate(
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


def _allocate_cotangents(
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
