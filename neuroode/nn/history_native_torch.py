"""A sequence of steps that read their whole past in native code, and its gradient.

Steps of a block and their sums over one another are generated C, on the way back the step's adjoint; what a block owes
to the blocks before it are convolutions (`solvers/on_torch/blocks_torch.py`). The forward pass keeps the carry before
each step, the values and the sums, so that the way back computes no step again.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from neuroode.emit.c_history import BLOCK, plain_outputs
from neuroode.nn.history_kernel_torch import Native, is_wide
from neuroode.nn.history_run_torch import Found, Weights, fast
from neuroode.nn.history_step_torch import HistoryStep, Memory
from neuroode.nn.native_kernels_torch import run_struct
from neuroode.nn.native_torch import refuse_transforms
from neuroode.nn.once_torch import once
from neuroode.nn.steps_torch import Call
from neuroode.solvers.on_torch.blocks_torch import Far

Tensor = torch.Tensor
PARALLEL_LANES = 1024  # from which a second thread is worth its start


class _Unsolved(Exception):
    """Newton's method needs more iterations than native code makes."""


def native(
    kernel: Native, step: HistoryStep, call: Call, weights: Weights, carry: Sequence[Tensor], memory: Memory,
    tail: Tensor,
) -> Found:  # fmt: skip
    """As `history_run_torch.fast`."""
    weights = weights.within(call.steps)
    groups = (list(call.coefficients), list(call.inputs), list(carry), memory.rows(), [tail], weights.tensors())
    tensors = [x for g in groups for x in g]
    refuse_transforms(tensors)
    counts, keep = [len(g) for g in groups], torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    try:
        found = _Run.apply(kernel, call.replaced((), ()), weights, counts, keep, *tensors)
    except _Unsolved:
        return fast(step, call, weights, carry, memory, tail)
    *found, values, alive = found
    outputs, states = len(found) - counts[2] - counts[3], len(found) - counts[3]
    return Found(found[:outputs], found[outputs:states], found[states:], values, [], alive)


class _Loop:
    """Arrays of a run, lanes flat: (steps, ..., lanes). `segments`: steps that share their coefficients and block."""

    def __init__(
        self, kernel: Native, call: Call, weights: Weights, groups: Sequence[Sequence[Tensor]], keep: bool
    ) -> None:
        coefficients, inputs, carry, memory, (tail,) = groups
        self.kernel, self.call, self.weights, self.keep = kernel, call, weights, keep
        self.step, self.steps, self.shape = kernel.step, len(tail), tuple(tail.shape[3:])
        self.lanes, self.wide = tail[0, 0, 0].numel(), is_wide(weights)
        self.values = tail.new_empty(self.steps, *tail.shape[1:3], self.lanes)
        self.sums = tail.reshape(self.values.shape).clone()
        self.inputs = [self._flat(x, 1) for x in inputs]
        levels = {c.name: c.level for c in self.step.program.coefficients}
        names = [c.name for c in self.step.program.coefficients]
        self.fixed = {n: self._row(c, levels[n]) for n, c in zip(names, coefficients, strict=False)}
        rows = [*carry, *(x for group in memory for x in group)]
        self.carry = tail.new_empty(self.steps + 1 if keep else 2, len(rows), self.lanes)
        torch.stack([x.reshape(-1) for x in rows], out=self.carry[0])
        events = len(self.step.program.events)
        self.events = tail.new_empty(self.steps if keep else 1, events, self.lanes)
        self.outputs = [tail.new_empty(self.steps, self.lanes) for _ in range(plain_outputs(self.step))]
        self.own = {p: self._kernel_rows(*p) for p in self.step.pairs}
        self.ends = None if call.lengths is None else self._ends(call.lengths)
        lost = self.step.forgets
        self.born = torch.zeros(self.steps + 1, len(self.step.states), self.lanes, dtype=torch.int64) if lost else None
        self.rest = tail.new_zeros(len(self.step.states), self.lanes)
        self.far = Far(self.own, self.step.channels, self.steps, self.born)
        self.structs: dict[int, tuple[array[int], list[Tensor]]] = {}
        starts = weights.starts
        self.alone = 0 if starts is None else min(max(0, starts.shape[1] - weights.before), self.steps)
        self.segments = self._segments()

    def _ends(self, lengths: Tensor) -> Tensor:
        return self._flat(lengths.long().reshape(-1, *(1 for _ in self.shape[1:])), 0)

    def _flat(self, x: Tensor, lead: int) -> Tensor:
        """Axes after the first `lead` as one row of lanes."""
        return x.expand(*x.shape[:lead], *self.shape).reshape(*x.shape[:lead], self.lanes).contiguous()

    def _row(self, x: Tensor, level: str) -> Tensor:
        return x.reshape(()).contiguous() if level == "layer" else self._flat(x, 0)

    def _kernel_rows(self, o: int, i: int) -> Tensor:
        w = self.weights.kernel[o][i]
        assert w is not None
        return self._flat(w, 2) if self.wide else w.reshape(*w.shape[:2], 1).contiguous()

    def _segments(self) -> list[tuple[int, int]]:
        """(first, last): blocks, and steps with starting weights of their own."""
        cuts = sorted({*range(self.alone + 1), *range(0, self.steps, BLOCK), self.steps})
        return list(pairwise(cuts))

    def _coefficients(self, t: int) -> list[Tensor]:
        """In the order of the program, for the segment that starts with step t."""
        found, weights, level = dict(self.fixed), self.weights, "neuron" if self.wide else "layer"
        newest, starts = weights.of_newest(weights.newest, t), weights.starts
        columns = weights.starting(t)
        for (o, i), w in self.own.items():
            for k, s in enumerate(self.step.states):
                found[f"#own.{o}.{i}.{s}"] = w[0, k] if self.wide else w[0, k].reshape(())
        for k, s in enumerate(self.step.states):
            found[f"#newest.{s}"] = self._row(newest[k, 0], level)
            if starts is not None and columns is not None and columns[1] > t:  # the step's own value has one too
                own = self._row(starts[weights.before + t + 1, weights.before + t, k, 0], level)
                found[f"#own.0.0.{s}"] = found[f"#own.0.0.{s}"] + own
        like = self.values
        found["#mean"] = like.new_full((), 0.0 if weights.before + t == 0 else 0.5)
        found["#dt"] = like.new_full((), float(self.call.h))
        return [found[c.name].contiguous() for c in self.step.program.coefficients]

    def struct(self, first: int, last: int) -> array[int]:
        """That of a call; those of steps with the same coefficients are one."""
        key = first if first < self.alone or first + self.weights.before == 0 else -1
        if key not in self.structs:
            coefficients = self._coefficients(first)  # the struct has their addresses only
            self.structs[key] = self._words(coefficients), coefficients
        words, _ = self.structs[key]
        words[1], words[2], words[3] = first, last, first - first % BLOCK
        return words

    def _words(self, coefficients: Sequence[Tensor]) -> array[int]:
        threads = torch.get_num_threads() if self.lanes >= PARALLEL_LANES else 1
        threads = threads if os.getpid() == self.kernel.process else 1  # OpenMP does not survive a fork
        kept = [self.carry.data_ptr(), int(self.keep), *(o.data_ptr() for o in self.outputs), self.events.data_ptr()]
        return array("q", (
            self.lanes, 0, 0, 0, self.steps, threads, _at(self.ends),
            *map(_at, coefficients), *map(_at, self.inputs), *(_at(self.own[p]) for p in self.step.pairs),
            self.lanes if self.wide else 1, _at(self.sums), _at(self.values), *kept, _at(self.born), _at(self.rest),
        ))  # fmt: skip

    def forward(self) -> None:
        for first, last in self.segments:
            if first and first % BLOCK == 0:
                self.far.spread(first, self.values, self.sums)
            run_struct(self.kernel.forward, self.struct(first, last))
            self._forget(first, last)
            self._start(first, last)
        limit = 2e4 * torch.finfo(self.values.dtype).eps
        if self.step.iterates and not bool((self.rest <= limit).all()):
            raise _Unsolved

    def _forget(self, first: int, last: int) -> None:
        """Later sums of lanes that forgot lose what they had."""
        if self.born is not None and last < self.steps:
            gone = self.born[last] > first
            if bool(gone.any()):
                self.sums[last:] = torch.where(gone, 0.0, self.sums[last:])

    def _start(self, first: int, last: int) -> None:
        """Values with starting weights enter all later sums."""
        starts, before = self.weights.starts, self.weights.before
        if starts is not None and before + first < starts.shape[1] and last < self.steps:
            assert last == first + 1
            rows = self._start_rows(starts[before + last + 1 : before + self.steps + 1, before + first])
            self.sums[last:, 0] += rows * self.values[first, 0]

    def _start_rows(self, x: Tensor) -> Tensor:
        """(steps, states, 1 or lanes) of (steps, states, 1, *level*)."""
        return self._flat(x, 2) if self.wide else x.reshape(*x.shape[:2], 1)

    def found(self) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Outputs, last carry and memory, values that are left, lanes that still know earlier calls."""
        last = self.carry[self.steps if self.keep else self.steps % 2]
        values, alive = self.values, self.values.new_ones(())
        if self.born is not None:
            values = torch.where(self._times() >= self.born[-1], values, 0.0)
            alive = (self.born[-1] == 0).to(values.dtype).reshape(-1, *self.shape)
        wide = [x.reshape(-1, *self.shape) for x in self.outputs]
        return wide, list(last.reshape(-1, *self.shape)), values.reshape(*values.shape[:3], *self.shape), alive

    def _times(self) -> Tensor:
        return torch.arange(self.steps).reshape(-1, 1, 1, 1)


class _Back:
    """The way back of a run, and what it finds."""

    def __init__(
        self, loop: _Loop, tail: Tensor, outputs: Sequence[Tensor], last: Tensor, past: Tensor, alive: Tensor
    ) -> None:
        self.loop, values = loop, loop.values
        self.tail = tail.reshape(values.shape).contiguous()
        self.outputs = [g.reshape(loop.steps, loop.lanes).contiguous() for g in outputs]
        self.carry = last.reshape(-1, loop.lanes).clone()
        self.past = past.reshape(values.shape).contiguous()
        self.values, self.sums = self.past.clone(), torch.zeros_like(values)
        self.inputs = [torch.zeros_like(x) for x in loop.inputs]
        self.totals: dict[int, Tensor] = {}  # by row of `newest`: (trained, lanes), double
        self.trained = values.new_zeros(len(loop.kernel.trained), loop.lanes)
        self.kernel = {p: torch.zeros_like(w) for p, w in loop.own.items()} if loop.born is not None else {}
        self.near = {p: values.new_zeros(BLOCK, values.shape[2], loop.lanes) for p in self.kernel}
        self.alive: Tensor | None = None
        self.left: Tensor | None = None
        self.next: Tensor | None = None
        if loop.born is not None:
            self._end(loop.born, alive)

    def _end(self, born: Tensor, alive: Tensor) -> None:
        loop = self.loop
        self.values = torch.where(loop._times() >= born[-1], self.values, 0.0)
        alive = alive.expand(born.shape[1], *loop.shape).reshape(-1, loop.lanes).contiguous()
        self.alive, known = alive, torch.where(born[-1] == 0, alive, 0.0)
        self.left = ((self.values * loop.values).sum((0, 1)) + known).contiguous()
        self.next = torch.full_like(born[-1], loop.steps)

    def run(self, learns: bool) -> None:
        """All steps; `learns`: the weights get a gradient."""
        loop, words = self.loop, self._words()
        for first, last in reversed(loop.segments):
            if last % BLOCK == 0 and last < loop.steps:
                loop.far.gather(last, self.sums, self.values)
                if loop.born is not None and learns:
                    loop.far.kernel_gradients_at(last, loop.values, self.sums, self.kernel)
            self._started(first, last)
            self._segment(first, last, words)
        if loop.born is None and learns:
            self.kernel = loop.far.kernel_gradients(loop.values, self.sums)
        for p, w in self.near.items():
            size = min(BLOCK, loop.steps)
            self.kernel[p][:size] += w[:size] if loop.wide else w[:size].sum(-1, keepdim=True)

    def _started(self, first: int, last: int) -> None:
        """The transpose of `_Loop._start`."""
        starts, before = self.loop.weights.starts, self.loop.weights.before
        if starts is not None and before + first < starts.shape[1] and last < self.loop.steps:
            rows = starts[before + last + 1 : before + self.loop.steps + 1, before + first]
            self.values[first, 0] += (self.loop._start_rows(rows) * self.sums[last:, 0]).sum(0)

    def _words(self) -> array[int]:
        pairs = self.loop.step.pairs
        return array("q", (
            0, *map(_at, self.outputs), *(g.stride(0) for g in self.outputs), _at(self.values), _at(self.sums),
            *map(_at, self.inputs), _at(self.carry), _at(self.trained), *(_at(self.near.get(p)) for p in pairs),
            _at(self.tail), _at(self.past), _at(self.alive), _at(self.left), _at(self.next),
        ))  # fmt: skip

    def _segment(self, first: int, last: int, words: array[int]) -> None:
        loop = self.loop
        forward = loop.struct(first, last)
        words[0] = forward.buffer_info()[0]
        run_struct(loop.kernel.backward, words)
        at = min(loop.weights.before + first, len(loop.weights.newest) - 1)
        if at not in self.totals:
            self.totals[at] = torch.zeros(self.trained.shape, dtype=torch.float64)
        self.totals[at] += self.trained
        self.trained.zero_()

    def of_coefficients(self) -> dict[str, Tensor]:
        """Cotangents of trained coefficients, lanes flat."""
        total = torch.stack(list(self.totals.values())).sum(0)
        return dict(zip(self.loop.kernel.trained, total, strict=True))

    def of_newest(self, like: Tensor) -> Tensor:
        """Cotangents of the weights of the right side at the end of a step."""
        found, names = torch.zeros_like(like), self.loop.kernel.trained
        for at, total in self.totals.items():
            for k, s in enumerate(self.loop.step.states):
                if f"#newest.{s}" in names:
                    row = total[names.index(f"#newest.{s}")].reshape(self.loop.shape)
                    found[at, k] += _narrowed(row[None], found[at, k])
        return found


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, kernel: Native, call: Call, weights: Weights, counts: list[int], keep: bool, *tensors: Tensor
    ) -> Any:
        parts = torch.split(torch.arange(len(tensors)), counts)
        *groups, rows = ([tensors[int(i)] for i in p] for p in parts)
        loop = _Loop(kernel, call, weights.replaced(rows), groups, keep)
        loop.forward()
        outputs, last, values, alive = loop.found()
        states = counts[2]
        count = len(kernel.step.states)
        memory = [torch.stack(last[k : k + count]) for k in range(states, len(last), count)]
        if keep:
            ctx.loop, ctx.counts = loop, counts
            ctx.save_for_backward(*tensors)
        return (*outputs, *(x.clone() for x in last[:states]), *memory, values.clone(), alive)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        loop, counts, tensors = ctx.loop, ctx.counts, ctx.saved_tensors
        outputs = len(given) - counts[2] - counts[3] - 2
        rows = [*given[outputs : outputs + counts[2]], *(x for g in given[outputs + counts[2] : -2] for x in g)]
        with torch.no_grad():
            tail, last = tensors[sum(counts[:4])], torch.stack([r.reshape(-1) for r in rows])
            back = _Back(loop, tail, given[:outputs], last, given[-2], given[-1])
            back.run(any(ctx.needs_input_grad[5 + sum(counts[:5]) :]))
            found = _cotangents(back, tensors, counts)
        return None, None, None, None, None, *once(found, (*tensors, *given))


def _cotangents(back: _Back, tensors: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor | None]:
    """In the order of `tensors`."""
    loop, shape = back.loop, back.loop.shape
    n, k, c = counts[0], sum(counts[:2]), sum(counts[:3])
    names = [x.name for x in loop.step.program.coefficients]
    totals = back.of_coefficients()
    found: list[Tensor | None] = []
    for name, x in zip(names, tensors[:n], strict=False):
        total = totals.get(name)
        found.append(torch.zeros_like(x) if total is None else _narrowed(total.reshape(shape), x))
    found += [g.reshape(x.shape[0], *shape) for g, x in zip(back.inputs, tensors[n:k], strict=True)]
    carry = back.carry.reshape(-1, *shape)
    found += list(carry[: counts[2]])
    count = len(loop.step.states)
    found += [carry[i : i + count] for i in range(counts[2], len(carry), count)]
    tail = back.sums if loop.born is None else torch.where(loop.born[:-1, None] == 0, back.sums, 0.0)
    found.append(tail.reshape(tensors[c + counts[3]].shape))
    weights = loop.weights
    if not back.kernel:
        return [*found, *(torch.zeros_like(w) for w in weights.tensors())]
    kernel = {p: g.reshape(*g.shape[:2], *(shape if loop.wide else ())) for p, g in back.kernel.items()}
    rows = [(w, kernel[o, i]) for o, row in enumerate(weights.kernel) for i, w in enumerate(row) if w is not None]
    found += [_narrowed(g, w) if loop.wide else g.reshape(w.shape) for w, g in rows]
    starts = [] if weights.starts is None else [_of_starts(back, weights.starts)]
    return [*found, back.of_newest(weights.newest), *starts]


def _of_starts(back: _Back, starts: Tensor) -> Tensor:
    """Cotangents of the starting weights, which multiply the first values."""
    loop, found = back.loop, torch.zeros_like(starts)
    before = loop.weights.before
    for col in range(before, min(starts.shape[1], before + loop.steps)):
        first = col - before
        products = (back.sums[first:, 0] * loop.values[first, 0]).reshape(-1, starts.shape[2], *loop.shape)
        own = found[before + first + 1 : before + loop.steps + 1, col]
        own += _narrowed(products, own)
    return found


def _narrowed(x: Tensor, like: Tensor) -> Tensor:
    """Summed to the shape of a tensor that broadcasts to it."""
    return x.sum_to_size(like.shape).to(like.dtype)


def _at(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()
