"""Launching generated sequence kernels on torch tensors: allocate, pass, reduce; an autograd function around them.

The text of this file is pasted into emitted sources, so it imports torch and triton only.
"""

# mypy: ignore-errors
import contextlib

import torch
import triton.language as tl

REAL = {torch.float32: tl.float32, torch.float64: tl.float64}
WIDE = 2**15  # lanes from which a block of 128 keeps a large device busy; fewer lanes go into smaller blocks


class Kernels:
    """Generated kernels and what a launch must know of them; the names are those of `neuroode.emit.triton.Shape`."""

    def __init__(self, forward, backward, **shape):
        self.forward, self.backward = forward, backward
        self.__dict__.update(shape)


def lanes_of_block(lanes):
    """Lanes of a program instance, a power of two, one a thread."""
    return 128 if lanes >= WIDE else 64 if lanes >= WIDE // 4 else 32


def run_forward(kernels, inputs, coefficients, carry, lengths=None, keep=False, block=None):
    """All steps.

    Args:
        inputs: (T, B, N) each, each step one run of memory; coefficients: () or (N,); carry: (B, N).
        lengths: (B,) int64: afterwards a sample's carry rests and its outputs are 0.
        keep: whether `run_backward` will follow.

    Returns:
        Outputs (T, B, N), the last carry (B, N), checkpoints and words of event bits.
    """
    steps, samples, neurons = inputs[0].shape
    outputs = [x.new_empty((steps, samples, neurons)) for x in inputs[:1] * kernels.outputs]
    last = [c.new_empty((samples, neurons)) for c in carry]
    chunks = -(-steps // kernels.chunk) if keep else 0
    checkpoints = inputs[0].new_empty((chunks, kernels.checkpoints, samples, neurons))
    words = inputs[0].new_empty((chunks, kernels.events if kernels.words else 0, samples, neurons), dtype=torch.int32)
    arrays = [*inputs, *coefficients, *carry, *outputs, *last, checkpoints, words, _lengths(lengths, inputs[0])]
    _launch(kernels.forward, arrays, _steps(inputs), inputs[0], lengths, block, KEEP=keep, STAGES=kernels.stages)
    return outputs, last, checkpoints, words


def run_backward(kernels, inputs, coefficients, kept, g_outputs, g_last, lengths=None, wanted=None, block=None):
    """Cotangents of inputs (None where not wanted), trained coefficients in their order, carry.

    Sums over lanes are taken of one float64 number a lane, by torch, in an order that depends on the shape alone.
    """
    steps, samples, neurons = shape = inputs[0].shape
    wanted = [True] * len(inputs) if wanted is None else wanted
    silent = inputs[0].new_zeros((samples, neurons))
    g_outputs = [silent.expand(shape) if g is None else _rows(g) for g in g_outputs]
    g_last = [silent if g is None else g.contiguous() for g in g_last]
    g_inputs = [x.new_empty(shape if w else (0,)) for x, w in zip(inputs, wanted, strict=True)]
    g_carry = [torch.empty_like(silent) for _ in g_last]
    sums = silent.new_empty((len(kernels.trained), samples, neurons), dtype=torch.float64)
    history = silent.new_empty((kernels.chunk if steps else 0, kernels.saved, samples, neurons))
    arrays = [*inputs, *coefficients, *kept, _lengths(lengths, silent), *g_outputs, *g_last, *g_inputs, *g_carry]
    options = {f"WANTED{i}": bool(w) for i, w in enumerate(wanted)} | {"STAGES": kernels.stages}
    numbers = [*_steps(inputs), *_steps(g_outputs)]
    _launch(kernels.backward, [*arrays, sums, history], numbers, inputs[0], lengths, block, **options)
    trained = []
    for i, row in zip(kernels.trained, sums, strict=True):
        total = row.sum(0) if kernels.coefficients[i] else row.sum()
        trained.append(total.to(inputs[0].dtype))
    return [g if w else None for g, w in zip(g_inputs, wanted, strict=True)], trained, g_carry


def _launch(kernel, arrays, numbers, like, lengths, block, **options):
    steps, samples, neurons = like.shape
    lanes = samples * neurons
    if not lanes:
        return
    block = block or lanes_of_block(lanes)
    options |= {"REAL": REAL[like.dtype], "BLOCK": block, "LENGTHS": lengths is not None}
    device = torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()
    with device:  # float64 without fused multiplications equals the other targets to the last digits
        kernel[(-(-lanes // block),)](
            *arrays, *numbers, steps, lanes, neurons, **options,
            num_warps=max(1, block // 32), enable_fp_fusion=like.dtype == torch.float32,
        )  # fmt: skip


def _rows(x):
    """`x` if each of its steps is one run of memory, else a contiguous copy; steps may lie anywhere."""
    _, samples, neurons = x.shape
    dense = (x.stride(2) == 1 or neurons == 1) and (x.stride(1) == neurons or samples == 1)
    return x if dense else x.contiguous()


def _steps(arrays):
    return [x.stride(0) for x in arrays]


def _lengths(lengths, like):
    return like.new_empty(0, dtype=torch.int64) if lengths is None else lengths


class Sequence(torch.autograd.Function):
    """`apply(kernels, lengths, counts, *inputs, *coefficients, *carry)` -> outputs and last carry."""

    @staticmethod
    def forward(ctx, kernels, lengths, counts, *tensors):
        inputs, coefficients, carry = _split(tensors, counts)
        inputs = [_rows(x) for x in inputs]
        coefficients, carry = [c.contiguous() for c in coefficients], [c.contiguous() for c in carry]
        outputs, last, *kept = run_forward(kernels, inputs, coefficients, carry, lengths, keep=True)
        ctx.call = kernels, lengths, counts
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *coefficients, *kept)
        return (*outputs, *last)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads):
        return cotangents(ctx, ctx.saved_tensors, grads)


def cotangents(ctx, saved, grads):
    """What the backward of `Sequence` returns."""
    kernels, lengths, counts = ctx.call
    inputs, coefficients, kept = _split(saved, (*counts[:2], 2))
    g_outputs, g_last = list(grads[: kernels.outputs]), list(grads[kernels.outputs :])
    wanted = ctx.needs_input_grad[3 : 3 + counts[0]]
    found = run_backward(kernels, inputs, coefficients, kept, g_outputs, g_last, lengths, wanted)
    g_inputs, trained, g_carry = found
    by_coefficient = [None] * counts[1]
    for index, g in zip(kernels.trained, trained, strict=True):
        by_coefficient[index] = g
    return (None, None, None, *g_inputs, *by_coefficient, *g_carry)


def _split(tensors, counts):
    groups, start = [], 0
    for count in counts:
        groups.append(list(tensors[start : start + count]))
        start += count
    return groups
