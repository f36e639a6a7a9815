"""A call of a layer that runs a compiled kernel, as one autograd function: from stored numbers, inputs and carry to
outputs and carry. Prologue and steps are one call of C each; their fixed cost is that of torch's own bookkeeping.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from neuroode.emit.c_stored import KINDS
from neuroode.nn.native import Kernel, kept_shapes
from neuroode.nn.native_kernels_torch import (
    PARALLEL_WORK,
    dense_rows,
    run_struct,
    shape_words,
    weight_words,
    wide_array,
)
from neuroode.nn.once_torch import once
from neuroode.nn.parameters import read_by_bounds
from neuroode.nn.parameters_torch import Parameters
from neuroode.program.domains import kind_over_axes
from neuroode.program.types import Program
from neuroode.program.values import transform_name
from neuroode.spec.types import ParameterDecl
from neuroode.system.indices import element_values, slot_parameters

Tensor = torch.Tensor
LINE = 64  # bytes: rows of coefficients start a cache line


def in_plain_torch() -> bool:
    """Outside of compilers, transforms and forward mode, which know nothing of addresses."""
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return not torch.compiler.is_compiling() and not active() and forward_ad._current_level < 0


class Layout:
    """Where the numbers of a program's parameter slots lie in the stored tensors of a layer.

    Attributes:
        names: attributes of the parameters' module; trained ones first.
        places: of each slot (index of the tensor, offset, stride), in numbers; None for what no prologue reads.
        fits: each stored number has a slope of its own, and the prologue none that C computes with fewer digits: those
            of 2 x 2 exponentials (`pair`) lose some between a series and divided differences (2e-10 against 2e-12).
    """

    def __init__(self, program: Program, parameters: Parameters) -> None:
        rows = sorted(slot_parameters(parameters.spec), key=lambda p: not p.trainable)
        self.parameters = parameters
        many = any(p.trainable and kind_over_axes(p) for p in rows)
        self.fits = not many and all(a.op != "pair" for a in program.prologue)
        self.trained = sum(p.trainable for p in rows)
        self.names = [f"raw_{p.name}" if p.trainable else f"value_{p.name}" for p in rows]
        self.shapes = [parameters.stored(p).shape for p in rows]
        found = {name: (i, p, *at) for i, p in enumerate(rows) for name, at in _places(p, parameters)}
        slots = [found.get(slot.name) for slot in program.parameters]
        self.places = [None if s is None else (s[0], s[2], s[3]) for s in slots]
        self.declared = [None if s is None else s[1] for s in slots]
        self.kinds = array("q", [0 if p is None else KINDS[_kind(p)] for p in self.declared])
        self.strides = array("q", [0 if s is None else s[2] for s in self.places])

    def tensors(self) -> list[Tensor]:
        """The stored tensors, in the order of `names`."""
        own, buffers = self.parameters._parameters, self.parameters._buffers
        found = (own.get(n, buffers.get(n)) for n in self.names)
        return [getattr(self.parameters, n) if t is None else t for n, t in zip(self.names, found, strict=True)]

    def addresses(self, tensors: Sequence[Tensor | None], itemsize: int) -> list[int]:
        """Of each slot's first number in tensors that lie like the stored ones; 0 for None."""
        base = [0 if t is None else t.data_ptr() for t in tensors]
        return [base[s[0]] + s[1] * itemsize if s and base[s[0]] else 0 for s in self.places]

    def numbers(self, dt: float) -> array:
        """The step, then the bounds of each slot, which may read constants."""
        found = array("d", [dt])
        for p in self.declared:
            bounded = p is not None and _kind(p) in ("sigmoid", "tanh")
            found.extend(self.parameters.bounds(p) if bounded and p is not None else (0.0, 0.0))
        return found

    def reads_constants(self) -> bool:
        """Whether bounds may change."""
        return any(p is not None and read_by_bounds(p) for p in self.declared)


def _kind(p: ParameterDecl) -> str:
    return transform_name(p) if p.trainable and p.type != "complex" and not kind_over_axes(p) else "none"


def _places(p: ParameterDecl, parameters: Parameters) -> Iterator[tuple[str, tuple[int, int]]]:
    """Slot name -> (offset, stride)."""
    shape = parameters.stored(p).shape
    at = np.arange(prod(shape)).reshape(shape)
    parts = {".re": at[..., 0], ".im": at[..., 1]} if p.type == "complex" else {"": at}
    for suffix, part in parts.items():
        for name, row in element_values(p, parameters.sizes, part).items():
            flat = row.reshape(-1)
            yield (
                f"p.{name}{suffix}",
                (int(flat[0]) if len(flat) else 0, int(flat[1] - flat[0]) if len(flat) > 1 else 0),
            )


class Call:
    """What all calls of a layer at one step share."""

    def __init__(self, kernel: Kernel, program: Program, layout: Layout, size: tuple[int, ...], dt: float) -> None:
        self.kernel, self.layout, self.size, self.dt = kernel, layout, size, dt
        self.lanes, self.channels = prod(size), size[0]
        self.states = len(program.carry)
        counts = {"layer": 1, "channel": self.channels}
        self.stored = sum(counts.get(p.level, self.lanes) for p in program.parameters)
        self.coefficients, self.reals = self._rows([many for _, many in kernel.coefficients])
        self.g_coefficients, self.g_reals = self._rows([kernel.coefficients[i][1] for i in kernel.trained])
        self.fixed = None if layout.reads_constants() else layout.numbers(dt)
        graded = {s[0] for p, s in zip(program.parameters, layout.places, strict=True) if s and p.name in kernel.graded}
        self.graded = [i in graded for i in range(layout.trained)]

    def _rows(self, many: Sequence[bool]) -> tuple[list[int], int]:
        """Byte offsets of rows, one number or one for each lane, in one array, and its size in numbers."""
        size = self.kernel.dtype.itemsize
        offsets, end = [], 0
        for row in many:
            offsets.append(end)
            end += -(-(self.lanes if row else 1) * size // LINE) * LINE
        return offsets, end // size

    def layout_words(self, samples: int, numbers: array) -> tuple[int, ...]:
        """The head of both structs of the prologue."""
        tables = (numbers, self.layout.kinds, self.layout.strides)
        return (self.channels, self.lanes, samples, *(t.buffer_info()[0] for t in tables))


def call_of(layer: Any, kernel: Any) -> Call | None:
    """What the calls of a layer share; None where the general way is needed, through torch's own operations."""
    if not isinstance(kernel, Kernel) or not in_plain_torch():
        return None
    known = layer.__dict__.get("_call")
    if known is None or known.kernel is not kernel or known.layout.parameters is not layer.parameters_of_neuron:
        layout = Layout(layer.program, layer.parameters_of_neuron)
        known = Call(kernel, layer.program, layout, layer.size, layer.dt)
        layer.__dict__["_call"] = known
    return known if known.layout.fits else None


def run(
    call: Call,
    inputs: Sequence[Tensor],
    start: Sequence[Tensor] | None,
    lengths: Tensor | None,
    weights: Sequence[Tensor],
) -> tuple[list[Tensor], list[Tensor]] | None:
    """Outputs (T, B, *size*) and carry (B, *size*), a recurrent layer's last output last.

    Args:
        inputs: (T, B, *size*) each.
        start: (B, *size*) each, as the result; None: from the declared init.

    Returns:
        None where parameters were replaced by something of another form, so that the general way is the right one.
    """
    stored = call.layout.tensors()
    dtype = call.kernel.dtype
    for t, shape in zip(stored, call.layout.shapes, strict=True):
        if t.dtype is not dtype or t.shape != shape or not t.is_contiguous():
            return None
    rows = [x if x.is_contiguous() else dense_rows(x.reshape(*x.shape[:2], call.lanes)) for x in inputs]
    states = [s.contiguous() for s in start or ()]
    weights = [w.contiguous() for w in weights]
    tensors = [*rows, *weights, *states, *stored[: call.layout.trained]]
    shape = inputs[0].shape[:2]
    threads = torch.get_num_threads() if shape.numel() * call.lanes >= PARALLEL_WORK else 1
    given = _Given(call, shape, lengths, threads, (len(rows), len(weights), len(states)), stored)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        found = _Call.apply(given, *tensors)
    else:
        found = _forward(given, rows, weights, states, keep=False)[0]
    outputs = call.kernel.outputs
    return list(found[:outputs]), list(found[outputs:])


class _Given:
    """What a call is besides its differentiable tensors."""

    __slots__ = ("call", "counts", "lengths", "numbers", "shape", "stored", "threads")

    def __init__(self, call: Call, shape: torch.Size, lengths: Tensor | None, threads: int,
                 counts: tuple[int, int, int], stored: list[Tensor]) -> None:  # fmt: skip
        self.call, self.shape, self.lengths, self.threads, self.counts = call, shape, lengths, threads, counts
        self.stored = stored
        self.numbers = call.layout.numbers(call.dt) if call.fixed is None else call.fixed

    def words(self) -> tuple[int, ...]:
        """The head of both structs of the kernel."""
        call = self.call
        return shape_words(call.kernel, (*self.shape, call.lanes), self.threads, self.lengths)


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: _Given, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        inputs, weights, states, trained = _parted(tensors, given.counts)
        found, kept = _forward(given, inputs, weights, states, keep=True)
        ctx.given, ctx.trained = given, trained
        given.stored = []  # kept in their state of now
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *weights, *kept)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        saved = ctx.saved_tensors  # once: a checkpoint computes them anew at each access
        found = _backward(ctx.given, saved, ctx.trained, grads, ctx.needs_input_grad[1:])
        if torch.is_grad_enabled():
            found = once(found, (*saved, *ctx.trained, *grads))
        return None, *found


def _parted(row: Sequence[Any], counts: Sequence[int]) -> Iterator[Sequence[Any]]:
    start = 0
    for count in counts:
        yield row[start : start + count]
        start += count
    yield row[start:]


def _forward(
    given: _Given, inputs: Sequence[Tensor], weights: Sequence[Tensor], states: Sequence[Tensor], *, keep: bool
) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """Outputs and the carry after the last step; kept: coefficients and checkpoints, stored numbers and event bits."""
    call, kernel, like = given.call, given.call.kernel, inputs[0]
    steps, samples = given.shape
    checkpoints, bits = kept_shapes(kernel, (steps, samples, call.lanes), given.lengths is not None)
    reals = like.new_empty(call.reals + (prod(checkpoints) if keep else 0))
    words = torch.empty(call.stored + (prod(bits) if keep else 0), dtype=torch.int64)
    wide, short = (steps, samples, *call.size), (samples, *call.size)
    outputs = [wide_array(like, wide) for _ in range(kernel.outputs)]
    last = [like.new_empty(short) for _ in range(kernel.carry)]
    if kernel.recurrent and not states:
        last[-1].zero_()
    at_last, at, more = [x.data_ptr() for x in last], reals.data_ptr(), words.data_ptr()
    coefficients = [at + offset for offset in call.coefficients]
    run_struct(kernel.prologue_forward, (
        *call.layout_words(samples, given.numbers),
        *call.layout.addresses(given.stored, kernel.dtype.itemsize), more, *coefficients,
        *((0,) * call.states if states else at_last[: call.states]),
    ))  # fmt: skip
    run_struct(kernel.forward, (
        *given.words(), *coefficients, *(x.data_ptr() for x in inputs), *(x.stride(0) for x in inputs),
        *([s.data_ptr() for s in states] or at_last), *(x.data_ptr() for x in outputs), *at_last,
        *((at + call.reals * kernel.dtype.itemsize, more + 8 * call.stored) if keep else (0, 0)),
        *weight_words(kernel, weights),
    ))  # fmt: skip
    return [*outputs, *last], (reals, words)


def _backward(
    given: _Given, saved: Sequence[Tensor], trained: Sequence[Tensor], grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:  # fmt: skip
    """Gradients of inputs, weights, states and trained stored numbers."""
    call, kernel = given.call, given.call.kernel
    inputs, weights, (reals, words) = _parted(saved, given.counts[:2])
    of_inputs, _, of_states, of_trained = _parted(wanted, given.counts)
    g_out = [None if g is None else _rows(g, call.lanes) for g in grads[: kernel.outputs]]
    g_last = [None if g is None else g.contiguous() for g in grads[kernel.outputs :]]
    row, size = given.shape[1] * call.lanes, kernel.dtype.itemsize
    g_inputs = [wide_array(x, x.shape) if w else None for x, w in zip(inputs, of_inputs, strict=True)]
    g_weights = [torch.empty_like(w) for w in weights]
    g_states = [reals.new_empty((given.shape[1], *call.size)) for _ in of_states]
    work = reals.new_empty(call.g_reals + (0 if of_states else kernel.carry * row))
    at, kept = work.data_ptr(), reals.data_ptr()
    g_coefficients = [at + offset for offset in call.g_coefficients]
    g_carry = [at + (call.g_reals + i * row) * size for i in range(kernel.carry)]
    run_struct(kernel.backward, (
        *given.words(), *(kept + offset for offset in call.coefficients), *(x.data_ptr() for x in inputs),
        *(x.stride(0) for x in inputs), kept + call.reals * size, words.data_ptr() + 8 * call.stored,
        *map(_address, g_out), *(0 if g is None else g.stride(0) for g in g_out), *map(_address, g_last),
        *map(_address, g_inputs), *([g.data_ptr() for g in g_states] or g_carry), *g_coefficients,
        *weight_words(kernel, weights, g_weights),
    ))  # fmt: skip
    seeds = [] if of_states else g_carry[: call.states]
    g_trained = _pulled(given, words, trained, of_trained, (g_coefficients, seeds))
    return [*g_inputs, *g_weights, *g_states, *g_trained]


def _pulled(
    given: _Given, words: Tensor, trained: Sequence[Tensor], wanted: Sequence[bool], seeds: tuple[list[int], list[int]]
) -> list[Tensor | None]:
    """Gradients of trained stored numbers from those of coefficients and initial carry, which are addresses."""
    call, layout = given.call, given.call.layout
    known = zip(trained, wanted, call.graded, strict=True)
    found = [torch.empty_like(t) if w and g else None for t, w, g in known]
    if any(g is not None for g in found):
        constants = [None] * (len(layout.names) - layout.trained)
        carry = seeds[1] if given.shape[1] and seeds[1] else (0,) * call.states
        run_struct(call.kernel.prologue_backward, (
            *call.layout_words(given.shape[1], given.numbers), words.data_ptr(), *seeds[0], *carry,
            *layout.addresses([*found, *constants], call.kernel.dtype.itemsize),
        ))  # fmt: skip
    return found


def _rows(g: Tensor, lanes: int) -> Tensor:
    return g if g.is_contiguous() else dense_rows(g.reshape(*g.shape[:2], lanes))


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()
