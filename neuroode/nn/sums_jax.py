"""Sums over the whole sequence of a call, as inputs of the program: pointwise programs and one matrix product each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.nn import eager_jax
from neuroode.nn.parameters_jax import widest
from neuroode.program.types import CLOCK, Program
from neuroode.system.indices import is_table, weight_parameters, weight_values
from neuroode.system.sequences import EARLIER, STEP, source_of

Array = jax.Array


def sums(frame: Any, parameters: Any, inputs: list[Array], lengths: Array | None) -> list[Array]:
    """The sums of a call, (T, B, *size*) each, of its inputs and tables in the program's order."""
    program: Program = frame.program
    if not program.sums:
        return []
    shape, steps = inputs[0].shape, len(inputs[0])
    live = None if lengths is None else jnp.arange(steps)[:, None] < lengths
    known = {n: _valid(x, live) for n, x in zip(program.inputs, inputs, strict=False)}
    known |= _weights(frame, parameters, steps)
    for each in program.sums:
        pairs = [_of_pairs(frame, n, known, steps) for n in each.weight.inputs]
        weight = _evaluated(frame, parameters, each.weight, pairs)
        weight = jnp.broadcast_to(weight, (steps, steps, *weight.shape[2:]))
        rows = [_of_steps(frame, n, known, steps) for n in each.value.inputs]
        value = jnp.broadcast_to(_evaluated(frame, parameters, each.value, rows), shape)
        value = value if live is None else jnp.where(_wide(live, value), value, 0)
        known[each.name] = _contracted(weight, value)
    return [known[s.name] for s in program.sums]


def _valid(x: Array, live: Array | None) -> Array:
    """Padded steps as the first one: nothing of the padding enters, not even 0*nan."""
    if live is None or not len(x):
        return x
    first = jnp.where(_wide(live[:1], x[:1]), x[:1], 0)
    return jnp.where(_wide(live, x), x, first)


def _wide(live: Array, like: Array) -> Array:
    return live.reshape(*live.shape, *([1] * (like.ndim - 2)))


def _weights(frame: Any, parameters: Any, steps: int) -> dict[str, Array]:
    """Parameters over the sequence, their first steps: (tau, time or 1, *size* or ones)."""
    rows = {}
    for p in weight_parameters(frame.neuron.spec):
        found = parameters.constrained(p)
        whole = jax.lax.complex(found[..., 0], found[..., 1]) if p.type == "complex" else found
        for name, value in weight_values(p, parameters.constants.sizes, whole, jnp.moveaxis).items():
            first = value[:steps, :steps] if is_table(p) else value[:steps, None]
            level = first.shape[2:]
            lanes = (*level, *([1] * (len(frame.size) - len(level))))
            rows[name] = first.reshape(*first.shape[:2], *lanes).astype(frame.dtype)
    return rows


def _of_pairs(frame: Any, name: str, known: Mapping[str, Array], steps: int) -> Array:
    """An input of a weight over (tau, t, *level*)."""
    at = jnp.arange(steps, dtype=frame.dtype)
    clocks = {EARLIER: at[:, None], STEP: at[None], CLOCK: at[None]}
    if name in clocks:
        return clocks[name].reshape(*clocks[name].shape, *([1] * len(frame.size)))
    return jnp.swapaxes(known[name], 0, 1)[:1] if name in frame.program.tables else known[name]


def _of_steps(frame: Any, name: str, known: Mapping[str, Array], steps: int) -> Array:
    """An input of a value over (tau, B, *size*)."""
    base, lag = source_of(name)
    if base in (EARLIER, CLOCK):
        return jnp.arange(steps, dtype=frame.dtype).reshape(-1, 1, *([1] * len(frame.size)))
    x = known[base]
    return jnp.concatenate([jnp.zeros_like(x[:lag]), x[: len(x) - lag]]) if lag else x


def _evaluated(frame: Any, parameters: Any, program: Program, inputs: list[Array]) -> Array:
    """The output of a program without carry on arrays of any shape."""
    found = eager_jax.jax_program(program)
    coefficients, _ = found.prologue(parameters.slots(), jnp.asarray(frame.dt, widest()))
    outputs, _, _ = found.step(tuple(jnp.asarray(c, frame.dtype) for c in coefficients), (), tuple(inputs))
    return outputs[0]


def _contracted(weight: Array, value: Array) -> Array:
    """sum over tau of weight (tau, t, *level*) times value (tau, B, *size*): (t, B, *size*)."""
    if all(n == 1 for n in weight.shape[2:]):
        flat = weight.reshape(weight.shape[:2])
        return jnp.tensordot(flat, value, ((0,), (0,)))
    return jnp.einsum("st...,sb...->tb...", weight, value)
