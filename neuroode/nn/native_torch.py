"""Generated C kernels as differentiable torch operators.

`compile_program` builds a kernel, `run` runs it over a sequence. Inside torch.compile two operators serve every kernel,
which they find by its key; outside, an autograd function calls the same code with a fifth of their overhead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neuroode._errors import RunError, Unsupported
from neuroode.nn.native_kernels_torch import (
    PARALLEL_WORK,
    Kernel,
    allocate,
    allocate_cotangents,
    backward,
    compile_program,
    dense_rows,
    forward,
    kernels,
)
from neuroode.nn.once_torch import once
from neuroode.nn.vmap_torch import HINT, REASON, is_mapped, mapped

__all__ = ["Kernel", "compile_program", "kernel_backward", "kernel_forward", "run"]


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
    counts = (len(inputs), len(coefficients), len(weights), len(states))
    if not torch.compiler.is_compiling() and is_mapped(every := [*inputs, *coefficients, *weights, *states]):
        return _parted(kernel, mapped(partial(_again, kernel, counts), lengths, counts, *every))
    groups = [dense_rows(x) for x in inputs], list(coefficients), weights, states
    keep = torch.is_grad_enabled() and any(x.requires_grad for group in groups for x in group)
    if torch.compiler.is_compiling():
        found = kernel_forward(kernel.key, *groups, lengths, threads, keep)
        return _parted(kernel, found)
    flat = [x for group in groups for x in group]
    refuse_transforms(flat)
    if keep:
        found = _Sequence.apply(kernel, lengths, threads, tuple(map(len, groups)), *flat)
    else:
        found = forward(kernel, *groups, lengths, threads, keep=False)
    return _parted(kernel, found)


def _again(kernel: Kernel, counts: tuple[int, ...], lengths: Tensor | None, *tensors: Tensor) -> list[Tensor]:
    """The same run with a mapped axis among its samples."""
    inputs, coefficients, weights, states = _split(tensors, counts)
    last = states.pop() if kernel.recurrent else None
    w_rec, bias = [*weights, None, None][:2]
    outputs, after = run(
        kernel, inputs, coefficients, states, lengths=lengths, w_rec=w_rec, bias=bias, last_output=last
    )
    return [*outputs, *after]


def _parted(kernel: Kernel, found: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
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
    wanted: list[tuple[str, Tensor, tuple[int, ...]]] = [("input", x, shape) for x in inputs]
    wanted += [("carry", s, batch) for s in states]
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


class _Sequence(torch.autograd.Function):
    """The operators below, for eager use."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, kernel: Kernel, lengths: Tensor | None, threads: int, counts: tuple[int, ...], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        inputs, coefficients, weights, carry = _split(tensors, counts)
        found = forward(kernel, inputs, coefficients, weights, carry, lengths, threads, keep=True)
        ctx.call = kernel, lengths, threads, counts
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[: sum(counts[:3])], *found[-2:])
        return tuple(found[:-2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        kernel, lengths, threads, counts = ctx.call
        wanted = ctx.needs_input_grad[4 : 4 + counts[0]]
        saved = ctx.saved_tensors  # once: a checkpoint computes them anew at each access
        groups = _cotangents(kernel, counts, saved, lengths, grads, threads, wanted, backward)
        found = [g for group in groups for g in group]
        found = once(found, (*saved, *grads))
        return None, None, None, None, *found


def refuse_transforms(tensors: Sequence[Tensor]) -> None:
    """Raise where a kernel would drop a derivative: forward mode.

    Raises:
        Unsupported: one of the tensors is dual.
    """
    forward_mode = forward_ad._current_level >= 0 and any(
        forward_ad.unpack_dual(x).tangent is not None for x in tensors
    )
    if forward_mode:
        raise Unsupported(REASON, hint=HINT)


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
    """`forward` of the kernel with this key."""
    return forward(kernels[key], inputs, coefficients, weights, carry, lengths, threads, keep=keep)


@kernel_forward.register_fake
def _(key, inputs, coefficients, weights, carry, lengths, threads, keep):  # noqa: ARG001
    return allocate(kernels[key], inputs, carry, lengths, keep)


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
    """`backward` of the kernel with this key."""
    return backward(
        kernels[key], inputs, coefficients, weights, kept, lengths, g_outputs, g_last, threads, wanted
    )  # fmt: skip


@kernel_backward.register_fake
def _(key, inputs, coefficients, weights, kept, lengths, g_outputs, g_last, threads, wanted):  # noqa: ARG001
    return allocate_cotangents(kernels[key], inputs, coefficients, weights, wanted)


def _setup_context(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    key, xs, coefficients, weights, carry, lengths, threads, _ = inputs
    ctx.call = key, lengths, threads, (len(xs), len(coefficients), len(weights), len(carry))
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*xs, *coefficients, *weights, *output[-2:])


def _operator_backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    key, lengths, threads, counts = ctx.call
    groups = _cotangents(
        kernels[key], counts, ctx.saved_tensors, lengths, grads, threads, ctx.needs_input_grad[1],
        lambda kernel, *rest: kernel_backward(kernel.key, *rest),
    )  # fmt: skip
    return None, *groups, None, None, None


kernel_forward.register_autograd(_operator_backward, setup_context=_setup_context)
