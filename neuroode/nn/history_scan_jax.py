"""A scan over steps that read the whole past, and its walk back, both O(T) in memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.nn.history_step_jax import HistoryStep

Array = jax.Array


def sequence(way: HistoryStep, trace: bool) -> Any:
    """The function of (coefficients, inputs, carry, memory, tail, kernel, newest, live) that gives outputs, traces,
    carry, memory, values (T, channels, states, B, *size*) without what was forgotten, and which lanes still know
    earlier calls."""

    def run(*given: Any) -> Any:
        return _forward(way, trace, given)[0]

    function = jax.custom_vjp(run)
    function.defvjp(lambda *given: _forward(way, trace, given), partial(_backward, way))
    return function


def _reversed(w: Array, steps: int) -> Array:
    """Padded so that a window of it, from steps - 1 - t on, holds the weight of value j in the sums of step t."""
    return jnp.concatenate([w[:steps][::-1], jnp.zeros_like(w[:steps])])


def _window(wide: Array, t: Array, steps: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(wide, steps - 1 - t, steps)


def _sums(kernel: Any, values: Array, t: Array) -> Array:
    """Of values (T, channels, ...), the later ones 0."""
    rows = []
    for row in kernel:
        parts = [jnp.sum(_window(w, t, len(values)) * values[:, i], 0) for i, w in enumerate(row) if w is not None]
        rows.append(sum(parts[1:], parts[0]))
    return jnp.stack(rows)


def _forward(way: HistoryStep, trace: bool, given: Any) -> tuple[Any, Any]:
    coefficients, inputs, carry, memory, tail, kernel, newest, live = given
    steps = len(tail)
    wide = jax.tree.map(lambda w: _reversed(w, steps), kernel)

    def body(state: Any, row: Any) -> Any:
        carry, memory, values, alive = state
        t, x, own, on = row
        values = values.at[t].set(way.before(coefficients, x, carry, memory))
        sums = _sums(wide, values, t) + own * alive
        out, new, seen, rest, kept, end = way.after(coefficients, x, carry, memory, sums, newest[0], on)
        stored = carry, memory, sums, alive, kept, end, values[t]
        return (new, rest, values * kept, alive * kept), (out, seen if trace else (), stored)

    start = carry, memory, jnp.zeros_like(tail), jnp.ones_like(tail[0, 0])
    (carry, memory, values, alive), (outputs, traces, stored) = jax.lax.scan(
        body, start, (jnp.arange(steps), inputs, tail, live)
    )
    return (outputs, traces, carry, memory, values, alive), (given, stored)


def _backward(way: HistoryStep, kept_of_run: Any, cotangents: Any) -> Any:
    """Steps from the last to the first; `past` holds the cotangents of the values, `known` the values as they stood."""
    given, stored = kept_of_run
    coefficients, inputs, _, _, tail, kernel, newest, live = given
    g_outputs, _, g_carry, g_memory, g_values, g_alive = cotangents
    steps = len(tail)
    wide = jax.tree.map(lambda w: _reversed(w, steps), kernel)
    pushed, erased = stored[-1], stored[4]
    later = jnp.arange(steps)

    def known_at(t: Array, born: Array) -> Array:
        """Values 0 ... t that the sums of step t know."""
        at = later.reshape(-1, *([1] * (pushed.ndim - 1)))
        return jnp.where((at <= t) & (at >= born), pushed, 0)

    born = _born(erased)

    def body(state: Any, row: Any) -> Any:
        g_carry, g_memory, past, g_alive, totals = state
        t, x, own, on, g_out, (carry, memory, sums, alive, kept, end, _), first = row
        known = known_at(t, first)
        g_kept = jnp.sum(past * known, (0, 1)) + g_alive * alive

        def after(coefficients: Any, x: Any, carry: Any, memory: Any, sums: Array, newest: Array) -> Any:
            out, new, _, rest, kept, _ = way.after(coefficients, x, carry, memory, sums, newest, on, end)
            return out, new, rest, kept

        _, pull = jax.vjp(after, coefficients, x, carry, memory, sums, newest[0])
        g_c, g_x, g_carry, g_memory, g_sums, g_newest = pull((g_out, g_carry, g_memory, g_kept))
        past, g_alive = past * kept, g_alive * kept + jnp.sum(g_sums * own, 0)
        past, g_kernel = _spread(wide, totals[1], past, g_sums, known, t)
        _, pull = jax.vjp(way.before, coefficients, x, carry, memory)
        more = pull(past[t])
        g_c, g_x, g_carry, g_memory = jax.tree.map(jnp.add, (g_c, g_x, g_carry, g_memory), more)
        totals = jax.tree.map(jnp.add, totals[0], g_c), g_kernel, totals[2] + g_newest[None]
        return (g_carry, g_memory, past, g_alive, totals), (g_x, g_sums * alive)

    zeros = jax.tree.map(jnp.zeros_like, (coefficients, wide, newest))
    rows = later, inputs, tail, live, g_outputs, stored, born
    state = g_carry, g_memory, g_values, g_alive, zeros
    (g_carry, g_memory, _, _, totals), (g_inputs, g_tail) = jax.lax.scan(body, state, rows, reverse=True)
    g_kernel = jax.tree.map(lambda g, w: _narrow(g, w, steps), totals[1], kernel)
    return totals[0], g_inputs, g_carry, g_memory, g_tail, g_kernel, totals[2], jnp.zeros_like(live)


def _born(erased: Array) -> Array:
    """(T, states, B, *size*): the first value that the sums of each step know."""
    at = jnp.arange(1, len(erased)).reshape(-1, *([1] * (erased.ndim - 1)))
    marks = jnp.concatenate([jnp.zeros_like(erased[:1], int), jnp.where(erased[:-1] == 0, at, 0)])
    return jax.lax.cummax(marks, 0)[:, None]


def _spread(wide: Any, totals: Any, past: Array, g_sums: Array, known: Array, t: Array) -> tuple[Array, Any]:
    """The transpose of `_sums`: cotangents of values, and of weights added to `totals`."""
    steps = len(past)
    at = jnp.arange(steps).reshape(-1, *([1] * (past.ndim - 2)))
    grown = []
    for o, row in enumerate(wide):
        own: list[Array | None] = []
        for i, w in enumerate(row):
            if w is None:
                own.append(None)
                continue
            past = past.at[:, i].add(jnp.where(at <= t, _window(w, t, steps) * g_sums[o], 0))
            more = g_sums[o] * known[:, i]
            axes = tuple(k for k in range(1, w.ndim) if w.shape[k] == 1)
            more = jnp.sum(more, axes, keepdims=True)
            old = jax.lax.dynamic_slice_in_dim(totals[o][i], steps - 1 - t, steps)
            own.append(jax.lax.dynamic_update_slice_in_dim(totals[o][i], old + more, steps - 1 - t, 0))
        grown.append(tuple(own))
    return past, tuple(grown)


def _narrow(g: Array, w: Array, steps: int) -> Array:
    """The transpose of `_reversed`."""
    own = g[:steps][::-1]
    return jnp.concatenate([own, jnp.zeros((len(w) - len(own), *w.shape[1:]), w.dtype)])
