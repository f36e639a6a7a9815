"""Steps that read their whole past in blocks, O(T log^2 T), and their walk back; memory O(T).

Steps of a block sum over one another directly. Before block b, the latest 2^k blocks of values, 2^k the largest power
of two that divides b, are added to the sums of as many blocks to come by one FFT (`solvers/on_torch/online_torch.py`).
One scan runs over all blocks, so that what is compiled grows with log T only.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuroode.nn.history_step_jax import HistoryStep

Array = jax.Array
BLOCK = 64


def sequence(way: HistoryStep, trace: bool, before: int) -> Any:
    """As `history_scan_jax.sequence` for steps that forget nothing, of (coefficients, inputs, carry, memory, tail,
    kernel, newest, starts, live).

    Args:
        before: steps of the past before the call.
    """

    def run(*given: Any) -> Any:
        return _forward(way, trace, before, given)[0]

    function = jax.custom_vjp(run)
    function.defvjp(lambda *given: _forward(way, trace, before, given), partial(_backward, way, before))
    return function


class _Blocks:
    """How many steps fall into blocks, and what is added between these."""

    def __init__(self, kernel: Any, steps: int) -> None:
        self.kernel, self.steps, self.size = kernel, steps, min(BLOCK, steps)
        self.count = -(-steps // self.size)
        self.whole = self.count * self.size
        self.wide = self.size * 2 ** int(np.ceil(np.log2(self.count)))
        self.levels = np.array([0 if b == 0 else (b & -b).bit_length() for b in range(self.count + 1)])
        self.levels[self.count] = 0
        self.lengths = [self.size * 2**k for k in range(int(self.levels.max()))]
        self.spectra = [jax.tree.map(lambda w, n=n: jnp.fft.rfft(w[: 2 * n], 2 * n, axis=0), kernel)
                        for n in self.lengths]  # fmt: skip

    def parted(self, x: Array, mode: str = "constant") -> Array:
        """(blocks, steps, ...)"""
        wide = jnp.pad(x, [(0, self.whole - self.steps), *([(0, 0)] * (x.ndim - 1))], mode=mode)
        return wide.reshape(self.count, self.size, *x.shape[1:])

    def joined(self, x: Array) -> Array:
        """The transpose of `parted`."""
        return x.reshape(self.whole, *x.shape[2:])[: self.steps]

    def spread(self, level: Array, at: Array, values: Array, sums: Array) -> Array:
        """Sums to which the latest values before step `at` are added."""

        def add(n: int, spectra: Any, sums: Array) -> Array:
            known = jnp.fft.rfft(jax.lax.dynamic_slice_in_dim(values, at - n, n), 2 * n, axis=0)
            rows = [sum((w * known[:, i] for i, w in enumerate(row) if w is not None), jnp.zeros(()))
                    for row in spectra]  # fmt: skip
            more = jnp.fft.irfft(jnp.stack(rows, 1), 2 * n, axis=0)[n:].astype(sums.dtype)
            old = jax.lax.dynamic_slice_in_dim(sums, at, n)
            return jax.lax.dynamic_update_slice_in_dim(sums, old + more, at, 0)

        return self._by_level(level, add, sums)

    def gather(self, level: Array, at: Array, g_sums: Array, g_values: Array) -> Array:
        """The transpose of `spread`."""

        def add(n: int, spectra: Any, g_values: Array) -> Array:
            later = jax.lax.dynamic_slice_in_dim(g_sums, at, n)
            later = jnp.fft.rfft(jnp.concatenate([jnp.zeros_like(later), later]), axis=0)
            columns = [[w.conj() * later[:, o] for o, w in enumerate(c) if w is not None]
                       for c in zip(*spectra, strict=True)]  # fmt: skip
            rows = [sum(c, jnp.zeros(())) for c in columns]
            more = jnp.fft.irfft(jnp.stack(rows, 1), 2 * n, axis=0)[:n].astype(g_values.dtype)
            old = jax.lax.dynamic_slice_in_dim(g_values, at - n, n)
            return jax.lax.dynamic_update_slice_in_dim(g_values, old + more, at - n, 0)

        return self._by_level(level, add, g_values)

    def _by_level(self, level: Array, add: Any, x: Array) -> Array:
        ways = [partial(add, n, s) for n, s in zip(self.lengths, self.spectra, strict=True)]
        return jax.lax.switch(level, [lambda x: x, *ways], x)

    def near(self, values: Array, k: Array) -> Array:
        """What the values of a block, those behind step k being 0, give to the sums of its step k."""
        rows = []
        for row in self.kernel:
            parts = [jnp.sum(self._window(w[::-1], w, k) * values[:, i], 0) for i, w in enumerate(self._cut(row))
                     if w is not None]  # fmt: skip
            rows.append(sum(parts[1:], parts[0]))
        return jnp.stack(rows)

    def near_back(self, g_sums: Array, k: Array) -> Array:
        """The cotangent of value k of a block from its sums k, k + 1, ..., those before being 0."""
        rows = []
        for column in zip(*map(self._cut, self.kernel), strict=True):
            wide = [None if w is None else jnp.concatenate([jnp.zeros_like(w), w]) for w in column]
            parts = [jnp.sum(jax.lax.dynamic_slice_in_dim(w, self.size - k, self.size) * g_sums[:, o], 0)
                     for o, w in enumerate(wide) if w is not None]  # fmt: skip
            rows.append(sum(parts[1:], parts[0]))
        return jnp.stack(rows)

    def _cut(self, row: Any) -> list[Array | None]:
        return [None if w is None else w[: self.size] for w in row]

    def _window(self, turned: Array, like: Array, k: Array) -> Array:
        """[j]: weight of value j in sum k; 0 for j > k."""
        wide = jnp.concatenate([turned, jnp.zeros_like(like)])
        return jax.lax.dynamic_slice_in_dim(wide, self.size - 1 - k, self.size)


class _Start:
    """Starting weights (n + 1, s, ...) of the first values of all; None: there are none."""

    def __init__(self, starts: Array | None, before: int) -> None:
        self.starts, self.before = starts, before

    def fresh(self, value: Array) -> Array:
        """(s, ...): the first values, known ones and others to come."""
        count = 0 if self.starts is None else self.starts.shape[1]
        return jnp.zeros((count, *value.shape[1:]), value.dtype)

    def known(self, firsts: Array, value: Array, t: Array) -> Array:
        """With the value of step t, if it is one of the first; those of earlier calls are in their own sums."""
        return firsts if self.starts is None else jnp.where(self._is(firsts, t), value[0], firsts)

    def sums(self, firsts: Array, t: Array) -> Array | float:
        """What they give to the sums of step t."""
        return 0.0 if self.starts is None else jnp.sum(self._row(t) * firsts, 0)[None]

    def back(self, g_firsts: Array, g_sums: Array, t: Array) -> tuple[Array, Array | float]:
        """Cotangents of the first values, with those from step t; and of the value of step t."""
        if self.starts is None:
            return g_firsts, 0.0
        g_firsts = g_firsts + self._row(t) * g_sums[0]
        return g_firsts, jnp.sum(jnp.where(self._is(g_firsts, t), g_firsts, 0), 0)[None]

    def gradient(self, values: Array, g_sums: Array) -> Array | None:
        """Cotangents of the weights; values and cotangents of sums (T, channels, ...)."""
        if self.starts is None:
            return None
        steps, found = len(values), jnp.zeros_like(self.starts)
        for column in range(self.before, min(self.starts.shape[1], self.before + steps)):
            first = column - self.before
            products = _narrowed(g_sums[first:, 0] * values[first, 0], self.starts[:, 0])
            found = found.at[column + 1 : self.before + steps + 1, column].add(products)
        return found

    def _row(self, t: Array) -> Array:
        assert self.starts is not None
        return jax.lax.dynamic_index_in_dim(self.starts, self.before + t + 1, keepdims=False)

    def _is(self, firsts: Array, t: Array) -> Array:
        return (jnp.arange(len(firsts)) == self.before + t).reshape(-1, *([1] * (firsts.ndim - 1)))


def _place(newest: Array, before: int, t: Array) -> Array:
    return jnp.minimum(before + t, len(newest) - 1)


def _forward(way: HistoryStep, trace: bool, before: int, given: Any) -> tuple[Any, Any]:
    coefficients, inputs, carry, memory, tail, kernel, newest, starts, live = given
    blocks, start = _Blocks(kernel, len(tail)), _Start(starts, before)

    def step(state: Any, row: Any) -> Any:
        carry, memory, values, firsts = state
        k, t, x, own, on = row
        value = way.before(coefficients, x, carry, memory, t + before == 0)
        values, firsts = values.at[k].set(value), start.known(firsts, value, t)
        sums = own + blocks.near(values, k) + start.sums(firsts, t)
        out, new, seen, rest, _, end = way.after(
            coefficients, x, carry, memory, sums, newest[_place(newest, before, t)], on
        )
        return (new, rest, values, firsts), (out, seen if trace else (), (carry, memory, sums, end, value))

    def block(state: Any, row: Any) -> Any:
        carry, memory, values, far, firsts = state
        level, t, x, own, on = row
        far = blocks.spread(level, t[0], values, far)
        own = own + jax.lax.dynamic_slice_in_dim(far, t[0], blocks.size)
        state = carry, memory, jnp.zeros_like(own), firsts
        (carry, memory, mine, firsts), found = jax.lax.scan(step, state, (jnp.arange(blocks.size), t, x, own, on))
        values = jax.lax.dynamic_update_slice_in_dim(values, mine, t[0], 0)
        return (carry, memory, values, far, firsts), found

    empty = jnp.zeros((blocks.wide, *tail.shape[1:]), tail.dtype)
    times = jnp.arange(blocks.whole).reshape(blocks.count, blocks.size)
    given_inputs = tuple(blocks.parted(x, "edge") for x in inputs)
    rows = jnp.asarray(blocks.levels[:-1]), times, given_inputs, blocks.parted(tail), blocks.parted(live)
    state = carry, memory, empty, empty, start.fresh(tail[0])
    (carry, memory, values, _, _), (outputs, traces, stored) = jax.lax.scan(block, state, rows)
    outputs, traces = jax.tree.map(blocks.joined, (outputs, traces))
    alive = jnp.ones_like(tail[0, 0])
    return (outputs, traces, carry, memory, values[: len(tail)], alive), (given, stored)


def _backward(way: HistoryStep, before: int, kept_of_run: Any, cotangents: Any) -> Any:
    """Blocks from the last to the first; of each step the adjoint, between blocks the transpose."""
    given, stored = kept_of_run
    coefficients, inputs, _, _, tail, kernel, newest, starts, live = given
    g_outputs, _, g_carry, g_memory, g_past, _ = cotangents
    blocks, start = _Blocks(kernel, len(tail)), _Start(starts, before)

    def step(state: Any, row: Any) -> Any:
        g_carry, g_memory, g_sums, g_firsts, totals = state
        k, t, x, on, g_out, far, (carry, memory, sums, end, _) = row
        place, first = _place(newest, before, t), t + before == 0

        def after(coefficients: Any, x: Any, carry: Any, memory: Any, sums: Array, newest: Array) -> Any:
            out, new, _, rest, _, _ = way.after(coefficients, x, carry, memory, sums, newest, on, end)
            return out, new, rest

        _, pull = jax.vjp(after, coefficients, x, carry, memory, sums, newest[place])
        *found, own, g_newest = pull((g_out, g_carry, g_memory))
        g_sums = g_sums.at[k].set(own)
        g_firsts, more = start.back(g_firsts, own, t)
        _, pull = jax.vjp(partial(way.before, origin=first), coefficients, x, carry, memory)
        others = pull(far + blocks.near_back(g_sums, k) + more)
        g_c, g_x, g_carry, g_memory = jax.tree.map(jnp.add, tuple(found), others)
        totals = jax.tree.map(jnp.add, totals[0], g_c), totals[1].at[place].add(g_newest)
        return (g_carry, g_memory, g_sums, g_firsts, totals), g_x

    def block(state: Any, row: Any) -> Any:
        g_carry, g_memory, g_values, g_sums, g_firsts, totals = state
        level, t, x, on, g_out, stored = row
        g_values = blocks.gather(level, t[0] + blocks.size, g_sums, g_values)
        far = jax.lax.dynamic_slice_in_dim(g_values, t[0], blocks.size)
        state = g_carry, g_memory, jnp.zeros_like(far), g_firsts, totals
        rows = jnp.arange(blocks.size), t, x, on, g_out, far, stored
        (g_carry, g_memory, mine, g_firsts, totals), g_x = jax.lax.scan(step, state, rows, reverse=True)
        g_sums = jax.lax.dynamic_update_slice_in_dim(g_sums, mine, t[0], 0)
        return (g_carry, g_memory, g_values, g_sums, g_firsts, totals), g_x

    empty = jnp.zeros((blocks.wide, *tail.shape[1:]), tail.dtype)
    times = jnp.arange(blocks.whole).reshape(blocks.count, blocks.size)
    rows = (jnp.asarray(blocks.levels[1:]), times, tuple(blocks.parted(x, "edge") for x in inputs), blocks.parted(live),
            tuple(blocks.parted(g) for g in g_outputs), stored)  # fmt: skip
    totals = jax.tree.map(jnp.zeros_like, (coefficients, newest))
    state = g_carry, g_memory, empty.at[: len(tail)].set(g_past), empty, start.fresh(tail[0]), totals
    (g_carry, g_memory, _, g_sums, _, totals), g_x = jax.lax.scan(block, state, rows, reverse=True)
    values, g_tail = blocks.joined(stored[-1]), g_sums[: len(tail)]
    g_kernel = _correlated(g_tail, values, kernel)
    g_inputs = tuple(blocks.joined(g) for g in g_x)
    return (totals[0], g_inputs, g_carry, g_memory, g_tail, g_kernel, totals[1], start.gradient(values, g_tail),
            jnp.zeros_like(live))  # fmt: skip


def _correlated(later: Array, earlier: Array, kernel: Any) -> Any:
    """Cotangents of the kernel: sums over n of later[n]*earlier[n - m]."""
    size = 2 * len(later)
    a, b = jnp.fft.rfft(later, size, axis=0), jnp.fft.rfft(earlier, size, axis=0).conj()

    def of(o: int, i: int, w: Array) -> Array:
        found = jnp.fft.irfft(_narrowed(a[:, o] * b[:, i], w), size, axis=0)[: min(len(later), len(w))]
        return jnp.zeros_like(w).at[: len(found)].set(found.astype(w.dtype))

    return tuple(tuple(None if w is None else of(o, i, w) for i, w in enumerate(row)) for o, row in enumerate(kernel))


def _narrowed(x: Array, like: Array) -> Array:
    """Summed over the lanes that `like` has only once."""
    axes = tuple(k for k in range(1, like.ndim) if like.shape[k] == 1 and x.shape[k] > 1)
    return jnp.sum(x, axes, keepdims=True) if axes else x
