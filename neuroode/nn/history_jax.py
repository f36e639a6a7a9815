"""Jax layers that keep the whole past: `neuron.jax(..., method="gl" | "l1" | "abm" | "flmm2" | "mittag_leffler")`.

Sums over the past go by blocks, O(T log^2 T) (`history_blocks_jax`); where something restarts they are direct, O(T^2)
(`history_scan_jax`). The gradient walks the scan back from stored states with O(T) memory. The definitions are those of
`program/history_run.py`, the numbers those of the torch layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode._errors import RunError, Unsupported
from neuroode.nn import forward_jax, history_blocks_jax, history_scan_jax, tables_jax
from neuroode.nn.carry_jax import JaxCarry
from neuroode.nn.eager_jax import JaxRun, jax_program
from neuroode.nn.history_step_jax import HistoryStep
from neuroode.program.history import History, Method, history, history_method
from neuroode.program.types import Program
from neuroode.solvers.on_jax import fractional_jax as formulas

Array = jax.Array
PAST, MEMORY = "past", "memory"


@dataclass(frozen=True)
class Choice:
    """That a layer's steps read the whole past, by a method."""

    method: Method

    def step(self, neuron: Any, dt: float) -> Remembering:
        """What a frame keeps of it."""
        return Remembering(history(neuron.analyse(dt, brief=True), self.method), self.method, dt)


def chosen(neuron: Any, method: Any, layer: Mapping[str, Any]) -> Choice | None:
    """The method of the whole past that a layer's options name; None: another one.

    Raises:
        Unsupported: what such a layer does not do.
    """
    found = history_method(neuron.spec.method if method is None else method)
    if found is None:
        return None
    if layer["recurrent"]:
        raise Unsupported(f"method {found} is not recurrent: its lanes step by themselves", hint="method: soe")
    if layer["schedule"] not in ("auto", "eager"):
        raise Unsupported(f"schedule={layer['schedule']!r}: the whole past is summed step by step",
                          hint="leave schedule= out, or method: soe")  # fmt: skip
    return Choice(found)


class Remembering:
    """A neuron's pieces for a method, and the step that a frame knows."""

    def __init__(self, found: History, method: Method, dt: float) -> None:
        self.history, self.method, self.dt = found, method, dt
        self.way = HistoryStep(found, method, dt)

    @property
    def program(self) -> Program:
        """What a layer knows of the step; its body is empty, the pieces are run."""
        still = self.history.hybrid.still
        whole = self.history.hybrid.whole
        any_value = f"c.{whole.carry[0].name}"
        return replace(
            still, outputs=tuple((n, any_value) for n, _ in whole.outputs),
            trace=tuple((n, any_value) for n, _ in whole.trace), digest=f"{whole.digest} {self.method} {self.dt!r}",
        )  # fmt: skip


def without_past(carry: Any) -> Any:
    """The states of a carry."""
    if not isinstance(carry, JaxCarry):
        return carry
    return JaxCarry({n: x for n, x in carry.items() if n not in (PAST, MEMORY)}, carry.digest)


def run(layer: Any, given: Any, carry: Any, start: list[Array] | None, trace: bool) -> JaxRun:
    """A call of such a layer."""
    frame = layer.frame
    if given.durations is not None:
        raise Unsupported(f"method {frame.solver.method} needs steps of one length: its past lies on a grid",
                          hint="leave times= out, or method: soe")  # fmt: skip
    way, lanes = frame.solved.way, (len(frame.solved.way.states), given.batch, *frame.size)
    past = None if carry is None or PAST not in carry else jnp.moveaxis(carry[PAST], (-3, -2, -1), (2, 1, 0))
    memory = None if past is None else [jnp.moveaxis(x, -1, 0) for x in jnp.moveaxis(carry[MEMORY], -1, 0)]
    if past is not None and past.shape[1:] != (way.channels, *lanes):
        raise RunError("the carry's past does not fit", hint="the batch changed? pass carry=None to start afresh")
    return JaxRun(*_run(frame, trace, layer.parameters_of_neuron, given.inputs, start, past, memory, given.lengths))


@partial(jax.jit, static_argnums=(0, 1))
def _run(
    frame: Any, trace: bool, parameters: Any, inputs: list[Array], start: list[Array] | None, past: Array | None,
    memory: list[Array] | None, lengths: Array | None,
) -> tuple[Any, ...]:  # fmt: skip
    coefficients, inits = forward_jax.prepare(frame, parameters, inputs[0].shape[1])
    carry = tuple(inits if start is None else start)
    rows = [*inputs, *tables_jax.rows(frame, parameters, inputs, start, lengths)]
    rows = [jnp.broadcast_to(x, inputs[0].shape) for x in _held(rows, lengths)]
    way: HistoryStep = frame.solved.way
    vector = jnp.stack([carry[i] for i in way.slots])
    memory = way.fresh(vector) if memory is None else memory
    past = jnp.zeros((0, way.channels, *vector.shape), vector.dtype) if past is None else past
    orders = _orders(frame, coefficients)
    steps = inputs[0].shape[0]
    if not steps:
        empty = [[jnp.zeros_like(inputs[0]) for _ in names] for names in (frame.program.outputs, frame.program.trace)]
        return empty[0], list(carry), None, empty[1], {}, _packed(past, memory)
    if way.method.name == "mittag_leffler":
        return _propagated(way, frame.dt, coefficients, rows, carry, memory, past, orders, lengths)
    kernel, newest, starts = _weights(way, orders, frame.dt, len(past) + steps + 1, vector.dtype)
    tail = _tail(kernel, starts, past, steps)
    given = coefficients, tuple(rows), carry, tuple(memory), tail, kernel, newest
    live = _live(lengths, rows[0])
    if way.history.restarts:
        found = history_scan_jax.sequence(way, trace)(*given, live)
    else:
        found = history_blocks_jax.sequence(way, trace, len(past))(*given, starts, live)
    outputs, traces, carry, memory, values, alive = found
    return list(outputs), list(carry), None, list(traces), {}, _packed(_aligned(past * alive, values, lengths), memory)


def _orders(frame: Any, coefficients: tuple[Array, ...]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for program in (frame.solved.history.orders, frame.solved.history.leaks):
        if program is not None:
            rows, _, _ = jax_program(program).step(coefficients, (), (jnp.zeros(()),))
            found |= {n: jnp.asarray(x, frame.dtype) for (n, _), x in zip(program.outputs, rows, strict=True)}
    axes = len(frame.size)
    return {n: x.reshape(*([1] * (axes - x.ndim)), *x.shape) for n, x in found.items()}


def _terms(way: HistoryStep, orders: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    """(coefficient, order) of each term, (states, 1, *level*); a state with fewer terms has zeros."""
    found = []
    for k in range(max(way.history.terms)):
        own = [(orders[f"c.{s}.{k}"], orders[f"a.{s}.{k}"]) if k < n else (jnp.zeros(()), jnp.ones(()))
               for s, n in zip(way.states, way.history.terms, strict=True)]  # fmt: skip
        found.append((_lanes([c for c, _ in own]), _lanes([a for _, a in own])))
    return found


def _lanes(rows: list[Array]) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*rows))[:, None]


Kernel = tuple[tuple[Array | None, ...], ...]


def _weights(
    way: HistoryStep, orders: Mapping[str, Array], h: float, n: int, dtype: Any
) -> tuple[Kernel, Array, Array | None]:
    """Kernel; (k, ...) weights of the right side at the end of steps 0, 1, ...; starting weights."""
    terms = _terms(way, orders)
    c, a = terms[0]
    if way.method.name == "abm":
        far, near = (w * (h**a / c) for w in formulas.trapezoid_weights(a, n))
        ahead = formulas.rectangle_weights(a, n) * (h**a / c)
        last = jnp.concatenate([near[1:], near[-1:]])  # the last one is never read
        return ((ahead.astype(dtype), None), (far.astype(dtype), last.astype(dtype))), near[:1].astype(dtype), None
    if way.method.name == "flmm2":
        return _of_two(way, a, h**a / c, n)
    found = formulas.gl_weights(terms, h, n + 1) if way.method.name == "gl" else formulas.l1_weights(a, h, n + 1) / c
    own = found[1:] if way.method.implicit else found[:-1]
    return ((own.astype(dtype),),), found[:1].astype(dtype), None


def _of_two(way: HistoryStep, alpha: Array, scale: Array, n: int) -> tuple[Kernel, Array, Array]:
    """`_weights` of flmm2.

    Raises:
        Unsupported: in single precision, where starting weights lose their digits.
    """
    if alpha.dtype != jnp.float64:
        raise Unsupported(f"method {way.method}: starting weights need double precision",
                          hint='dtype="float64" with jax_enable_x64, or method: abm')  # fmt: skip
    found = formulas.flmm2_series(alpha, n + 1, way.method.variant) * scale
    starts = formulas.starting_weights(alpha, n, way.method.variant) * scale
    rows = [found[0] + starts[m, m] for m in range(1, min(starts.shape[1], n + 1))]
    return ((found[1:],),), jnp.stack([*rows, found[0]]), starts


def _tail(kernel: Kernel, starts: Array | None, past: Array, steps: int) -> Array:
    """(T, channels, states, B, *size*): what the sums of a call's steps owe to the calls before it."""
    before = len(past)
    if not before:
        return jnp.zeros((steps, *past.shape[1:]), past.dtype)
    rows = []
    for row in kernel:
        pairs = [(w[: before + steps], past[:, i]) for i, w in enumerate(row) if w is not None]
        parts = [formulas.convolved(w, x, before) for w, x in pairs]
        rows.append(sum(parts[1:], parts[0]))
    found = jnp.stack(rows, 1).astype(past.dtype)
    if starts is None:
        return found
    count = min(before, starts.shape[1])
    weights = starts[before + 1 : before + steps + 1, :count]
    return found + jnp.sum(weights * past[:count, 0], 1)[:, None]


def _held(inputs: list[Array], lengths: Array | None) -> list[Array]:
    """Inputs whose padding holds the last valid step."""
    if lengths is None:
        return inputs
    at = jnp.minimum(jnp.arange(inputs[0].shape[0])[:, None], jnp.maximum(lengths - 1, 0))
    at = at.reshape(*at.shape, *([1] * (inputs[0].ndim - 2)))
    wide = [jnp.broadcast_to(x, inputs[0].shape) for x in inputs]
    empty = (lengths == 0).reshape(1, -1, *([1] * (inputs[0].ndim - 2)))
    return [jnp.where(empty, 0, jnp.take_along_axis(x, at, 0)) for x in wide]


def _live(lengths: Array | None, like: Array) -> Array:
    """(T, B, 1, ...), 1 in the steps of each sample."""
    steps, batch = like.shape[:2]
    found = jnp.ones((steps, batch), bool) if lengths is None else jnp.arange(steps)[:, None] < lengths
    return found.reshape(steps, batch, *([1] * (like.ndim - 2))).astype(like.dtype)


def _packed(past: Array, memory: Any) -> dict[str, Array]:
    rows = jnp.stack([jnp.moveaxis(x, 0, -1) for x in memory], -1)
    return {PAST: jnp.moveaxis(past, (2, 1, 0), (-3, -2, -1)), MEMORY: rows}


def _aligned(past: Array, new: Array, lengths: Array | None) -> Array:
    """The past with a call's values; that of a sample that has ended ends with it."""
    whole = jnp.concatenate([past, new])
    if lengths is None:
        return whole
    at = jnp.arange(len(whole))[:, None] - (len(new) - lengths)
    at = at.reshape(len(whole), 1, 1, len(lengths), *([1] * (whole.ndim - 4)))
    return jnp.where(at >= 0, jnp.take_along_axis(whole, jnp.maximum(at, 0), 0), 0)


def _propagated(
    way: HistoryStep, h: float, coefficients: Any, inputs: list[Array], carry: Any, memory: Any, past: Array,
    orders: Mapping[str, Array], lengths: Array | None,
) -> tuple[Any, ...]:  # fmt: skip
    """All steps at once, exact for inputs that are held: v - v(0) = response * (drive - rate*v(0))."""
    order, rates = _terms(way, orders)[0][1], _lanes([orders[f"l.{s}"] for s in way.states])
    steps, before = inputs[0].shape[0], len(past)
    response = formulas.unit_response(order, rates, h, before + steps + 1)
    zero = jnp.zeros_like(memory[0])
    drive = jax.vmap(lambda *x: way.slope(coefficients, x, tuple(0 * c for c in carry), zero, 0.0))(*inputs)
    drive = drive - rates * memory[0]
    forced = formulas.convolved(jnp.diff(response, axis=0), jnp.concatenate([past[:, 0], drive]), before)[:steps]
    v = (memory[0] + forced).astype(zero.dtype)
    live = _live(lengths, inputs[0])

    def finish(carry: Any, row: Any) -> Any:
        out, after, seen = way.close(coefficients, row[1], carry, row[0], row[2])
        return after, (out, seen)

    carry, (outputs, traces) = jax.lax.scan(finish, carry, (v, tuple(inputs), live))
    done = _packed(_aligned(past, drive[:, None], lengths), memory)
    return list(outputs), list(carry), None, list(traces), {}, done
