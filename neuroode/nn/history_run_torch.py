"""A sequence of steps that read the whole past, and its gradient, both O(n log^2 n) by the online convolution.

The walk back takes each step's own gradient by autograd, from stored states, and the transposed convolution between
steps; what depends on the weights alone (the order) is one correlation at the end. `plain` is the same by direct sums
and autograd through everything, O(n^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from neuroode.nn.history_step_torch import Done, HistoryStep, Memory
from neuroode.nn.native_torch import refuse_transforms
from neuroode.nn.once_torch import once
from neuroode.nn.steps_torch import Call
from neuroode.solvers.on_torch.online_torch import OnlineConvolution

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a method, broadcast against (states, B, *size*).

    Attributes:
        kernel: [sum][value] -> (n, ...), weights[m] of the value m steps before.
        newest: (k, ...), of the right side at the end of steps 0, 1, ... since the origin; the last row from then on.
        starts: (n + 1, s, ...): more weights of the first s values in the sums of step n - 1; None: none.
        before: steps of the past before this call.
    """

    kernel: list[list[Tensor | None]]
    newest: Tensor
    starts: Tensor | None
    before: int

    def tensors(self) -> list[Tensor]:
        return [*(w for row in self.kernel for w in row if w is not None), self.newest,
                *([] if self.starts is None else [self.starts])]  # fmt: skip

    def replaced(self, rows: Sequence[Tensor]) -> Weights:
        left = list(rows)
        kernel = [[None if w is None else left.pop(0) for w in row] for row in self.kernel]
        return Weights(kernel, left[0], left[1] if self.starts is not None else None, self.before)

    def within(self, steps: int) -> Weights:
        """What a call of so many steps reads of the kernel."""
        return replace(self, kernel=[[None if w is None else w[:steps] for w in row] for row in self.kernel])

    def of_newest(self, newest: Tensor, t: int) -> Tensor:
        return newest[min(self.before + t, len(newest) - 1)]

    def starting(self, t: int) -> tuple[slice, int] | None:
        """Columns of `starts`, and how many values of this call they belong to, that step t reads."""
        if self.starts is None:
            return None
        count = min(self.starts.shape[1], self.before + t + 1) - self.before
        return (slice(self.before, self.before + count), count) if count > 0 else None


@dataclass(frozen=True, slots=True)
class Found:
    """Outputs (T, B, *size*), carry, memory; the values (T, channels, states, B, *size*) that the past takes in;
    `alive`: 1 for lanes that still know what was before the call, None: all do."""

    outputs: list[Tensor]
    carry: list[Tensor]
    memory: list[Tensor]
    values: Tensor
    trace: list[list[Tensor]]
    alive: Tensor | None = None


def plain(
    step: HistoryStep, call: Call, weights: Weights, carry: Sequence[Tensor], memory: Memory, tail: Tensor
) -> Found:
    """By direct sums and autograd through all of it. `tail`: (T, channels, states, B, *size*) of earlier calls."""
    rows, traces, values = [], [], []
    past: Tensor | None = None
    kept: Tensor | None = None
    alive: Tensor | None = None
    for t in range(call.steps):
        m = call.at(t, carry)
        value = step.before(m, memory, origin=weights.before + t == 0)
        past = value[None] if past is None else torch.cat([past if kept is None else past * kept, value[None]])
        tail = tail if kept is None else tail * kept
        sums = tail[t] + _direct(weights, past, t)
        done = step.after(m, memory, sums, weights.of_newest(weights.newest, t))
        carry, memory, kept = done.after.carry, done.memory, done.kept
        alive = kept if alive is None or kept is None else alive * kept
        rows.append(done.after.outputs)
        traces.append(done.after.trace)
        values.append(value)
    out = [torch.stack(column) for column in zip(*rows, strict=True)]
    assert past is not None
    return Found(out, list(carry), memory.rows(), past if kept is None else past * kept, traces, alive)


def _direct(weights: Weights, past: Tensor, t: int) -> Tensor:
    sums = []
    for row in weights.kernel:
        parts = [(w[: t + 1].flip(0) * past[:, i]).sum(0) for i, w in enumerate(row) if w is not None]
        sums.append(torch.stack(parts).sum(0))
    found = torch.stack(sums)
    columns = weights.starting(t)
    if columns is None or weights.starts is None:
        return found
    return found + (weights.starts[weights.before + t + 1, columns[0]] * past[: columns[1], 0]).sum(0)


def fast(
    step: HistoryStep, call: Call, weights: Weights, carry: Sequence[Tensor], memory: Memory, tail: Tensor
) -> Found:
    """As `plain`; one function of autograd."""
    weights = weights.within(call.steps)
    groups = (list(call.coefficients), list(call.inputs), list(carry), memory.rows(), [tail], weights.tensors())
    tensors = [x for g in groups for x in g]
    if not torch.is_grad_enabled() or not any(x.requires_grad for x in tensors):
        return _Walk(step, call, weights, tail).forward(list(carry), memory)
    refuse_transforms(tensors)
    counts = [len(g) for g in groups]
    found = _Run.apply(step, call.replaced((), ()), weights, counts, *tensors)
    *found, values, alive = found
    outputs, states = len(found) - counts[2] - counts[3], len(found) - counts[3]
    return Found(found[:outputs], found[outputs:states], found[states:], values, [], alive)


class _Walk:
    """One run forward and, if states are stored, back."""

    def __init__(self, step: HistoryStep, call: Call, weights: Weights, tail: Tensor, store: bool = False) -> None:
        self.step, self.call, self.weights, self.store = step, call, weights, store
        self.tail = tail.clone() if step.history.restarts else tail
        self.last: Tensor | None = None
        self.stored: list[tuple[list[Tensor], list[Tensor], Tensor, Tensor]] = []

    def forward(self, carry: list[Tensor], memory: Memory) -> Found:
        lanes, steps = tuple(memory.base.shape), self.call.steps
        self.online = OnlineConvolution(self.weights.kernel, steps, lanes)
        rows, traces = [], []
        for t in range(steps):
            m = self.call.at(t, carry)
            value = self.step.before(m, memory, origin=self.weights.before + t == 0)
            sums = self.online.push(t, value) + self.tail[t] + self._started(t)
            done = self.step.after(m, memory, sums, self.weights.of_newest(self.weights.newest, t))
            if self.store:
                self.stored.append((carry, memory.rows(), sums, done.end))
            carry, memory = done.after.carry, done.memory
            self._forget(t + 1, done)
            rows.append(done.after.outputs)
            traces.append(done.after.trace)
        out = [torch.stack(column) for column in zip(*rows, strict=True)]
        return Found(out, list(carry), memory.rows(), self._values(), traces, self._alive())

    def _alive(self) -> Tensor | None:
        if self.last is None or self.online.origin is None:
            return None if self.last is None else (~self.last).to(self.tail.dtype)
        return ((self.online.origin == 0) & ~self.last).to(self.tail.dtype)

    def _forget(self, t: int, done: Done) -> None:
        if done.kept is None:
            return
        gone = done.kept == 0
        if t < self.call.steps:
            self.online.forget(t, gone)
            self.tail[t:] = torch.where(gone, 0.0, self.tail[t:])
        else:
            self.last = gone

    def _values(self) -> Tensor:
        return self._remembered(self.online.values.movedim(0, 1))

    def _remembered(self, values: Tensor) -> Tensor:
        """Values that are not forgotten after the last step; 0 for the others."""
        if self.online.origin is not None:
            at = torch.arange(len(values), device=values.device).reshape(-1, *(1 for _ in values.shape[1:]))
            values = torch.where(at >= self.online.origin, values, 0.0)
        return values if self.last is None else torch.where(self.last, 0.0, values)

    def _started(self, t: int) -> Tensor | float:
        columns = self.weights.starting(t)
        if columns is None or self.weights.starts is None:
            return 0.0
        rows = self.weights.starts[self.weights.before + t + 1, columns[0]]
        return (rows * self.online.values[0, : columns[1]]).sum(0)

    # back

    def backward(self, grads: _Grads, counts: Sequence[int]) -> None:
        """Walk back; `grads` has the cotangents of what the run gave, and takes those of what it was given."""
        self.online.turn()
        grads.values = self._remembered(grads.values)
        for t in reversed(range(self.call.steps)):
            self._step_back(t, grads)
        rows = self.online.kernel_gradients()
        grads.kernel = [g for row in rows for g in row if g is not None]

    def _step_back(self, t: int, grads: _Grads) -> None:
        carry, memory, sums, end = self.stored[t]
        m = self.call.at(t, carry)
        groups = [list(m.coefficients), list(m.inputs), list(carry), memory, [sums, self.weights.newest]]
        leaves = [[x.detach().requires_grad_() for x in g] for g in groups]
        flat = [x for g in leaves for x in g]
        again = replace(m, coefficients=leaves[0], inputs=leaves[1], carry=leaves[2])
        with torch.enable_grad():
            value = self.step.before(again, Memory.of(leaves[3]), origin=self.weights.before + t == 0)
            done = self.step.after(again, Memory.of(leaves[3]), leaves[4][0],
                                   self.weights.of_newest(leaves[4][1], t), end)  # fmt: skip
        made = [*done.after.outputs, *done.after.carry, *done.memory.rows()]
        found = _pulled(made, [*(g[t] for g in grads.outputs), *grads.carry, *grads.memory], flat)
        of_sums = torch.zeros_like(sums) if found[-2] is None else found[-2]
        born = self.online.born
        grads.tail[t] = of_sums if born is None else torch.where(born[t] == 0, of_sums, 0.0)
        of_value = self.online.pull(t, of_sums) + grads.values[t] + grads.starting(self, t, of_sums)
        more = _pulled([value], [of_value], flat)
        grads.take(t, [_sum(a, b) for a, b in zip(found, more, strict=True)], groups)


def _pulled(made: list[Tensor], given: list[Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    pairs = [(x, g) for x, g in zip(made, given, strict=True) if x.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    return list(torch.autograd.grad([x for x, _ in pairs], leaves, [g for _, g in pairs], allow_unused=True))


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class _Grads:
    """Cotangents on the way back."""

    def __init__(self, outputs: Sequence[Tensor], carry: Sequence[Tensor], memory: Sequence[Tensor],
                 values: Tensor, call: Call, weights: Weights) -> None:  # fmt: skip
        self.outputs, self.carry, self.memory, self.values = outputs, list(carry), list(memory), values
        self.coefficients: list[Tensor | None] = [None] * len(call.coefficients)
        self.inputs = [torch.zeros_like(x) for x in call.inputs]
        self.tail = torch.zeros_like(values)
        self.newest = torch.zeros_like(weights.newest)
        self.starts = None if weights.starts is None else torch.zeros_like(weights.starts)
        self.first: dict[int, Tensor] = {}
        self.kernel: list[Tensor] = []

    def starting(self, walk: _Walk, t: int, of_sums: Tensor) -> Tensor | float:
        """Through starting weights: adds to the cotangents of the first values, and gives that of value t."""
        columns, weights = walk.weights.starting(t), walk.weights
        if columns is None or weights.starts is None or self.starts is None:
            return 0.0
        row, local = weights.before + t + 1, columns[1]
        for j in range(local):
            at = weights.before + j
            self.first[j] = self.first.get(j, torch.zeros_like(of_sums)) + weights.starts[row, at] * of_sums
            product = of_sums[0] * walk.online.values[0, j]
            self.starts[row, at] += product.sum_to_size(self.starts.shape[2:])
        return self.first.get(t, 0.0)

    def take(self, t: int, found: list[Tensor | None], groups: list[list[Tensor]]) -> None:
        """Cotangents of what step t was given."""
        n, k, c, r = (len(g) for g in groups[:4])
        self.coefficients = [_sum(a, b) for a, b in zip(self.coefficients, found[:n], strict=True)]
        for total, g in zip(self.inputs, found[n : n + k], strict=True):
            if g is not None:
                total[t] = g
        rows = found[n + k : n + k + c + r]
        filled = [torch.zeros_like(x) if g is None else g for x, g in zip([*groups[2], *groups[3]], rows, strict=True)]
        self.carry, self.memory = filled[:c], filled[c:]
        if found[-1] is not None:
            self.newest += found[-1]

    def rows(self, coefficients: Sequence[Tensor]) -> list[Tensor | None]:
        """In the order of `fast`."""
        own = [torch.zeros_like(x) if g is None else g for x, g in zip(coefficients, self.coefficients, strict=True)]
        starts = [] if self.starts is None else [self.starts]
        return [*own, *self.inputs, *self.carry, *self.memory, self.tail, *self.kernel, self.newest, *starts]


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, step: HistoryStep, call: Call, weights: Weights, counts: list[int], *tensors: Tensor) -> Any:  # type: ignore[override]
        parts = torch.split(torch.arange(len(tensors)), counts)
        coefficients, inputs, carry, memory, tail, rows = ([tensors[int(i)] for i in p] for p in parts)
        call, weights = call.replaced(coefficients, inputs), weights.replaced(rows)
        ctx.walk = _Walk(step, call, weights, tail[0], store=True)
        found = ctx.walk.forward(list(carry), Memory.of(memory))
        ctx.counts = counts
        ctx.save_for_backward(*tensors)
        given = {id(x) for x in tensors}
        last = [x.clone() if id(x) in given else x for x in (*found.carry, *found.memory)]
        alive = found.values.new_ones(()) if found.alive is None else found.alive
        ctx.mark_non_differentiable(alive)
        return (*found.outputs, *last, found.values.clone(), alive)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        walk, counts, given = ctx.walk, ctx.counts, given[:-1]
        outputs = len(given) - counts[2] - counts[3] - 1
        carry, memory = given[outputs : outputs + counts[2]], given[outputs + counts[2] : -1]
        with torch.no_grad():
            grads = _Grads(given[:outputs], carry, memory, given[-1], walk.call, walk.weights)
            walk.backward(grads, counts)
        found = grads.rows(walk.call.coefficients)
        return None, None, None, None, *once(found, (*ctx.saved_tensors, *given))
