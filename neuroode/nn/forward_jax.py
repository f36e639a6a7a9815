"""A call of a jax layer from parameters to outputs, compiled: prologue, then the frame's schedule."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode.nn import costs, eager_jax, native_jax, parallel_jax, tables_jax, times_jax
from neuroode.nn.operators_jax import Operators
from neuroode.nn.parameters_jax import Parameters, widest
from neuroode.nn.recurrent_jax import RecurrentWeights
from neuroode.program.schedule import PARALLEL

Array = jax.Array


def prepare(frame: Any, parameters: Parameters, batch: int) -> tuple[tuple[Array, ...], list[Array]]:
    """Coefficients and inits: a few numbers per neuron, once per call, in float64 where jax has it."""
    prologue = eager_jax.jax_program(frame.program).prologue
    coefficients, inits = prologue(parameters.slots(), jnp.asarray(frame.dt, widest()))
    shape = (batch, *frame.size)
    return tuple(jnp.asarray(c, frame.dtype) for c in coefficients), [
        jnp.broadcast_to(jnp.asarray(v, frame.dtype), shape) for v in inits
    ]


@partial(jax.jit, static_argnums=(0, 2))
def first(frame: Any, parameters: Parameters, batch: int) -> list[Array]:
    return prepare(frame, parameters, batch)[1]


def _run_layer(
    frame: Any, trace: bool, parameters: Parameters, weights: RecurrentWeights | None, operators: Operators,
    inputs: list[Array], start: list[Array] | None, last: Array | None, lengths: Array | None,
    durations: Array | None = None,
) -> tuple[list[Array], list[Array], Array | None, list[Array], dict[str, Array]]:  # fmt: skip
    coefficients, inits = prepare(frame, parameters, inputs[0].shape[1])
    carry = inits if start is None else list(start)
    inputs = [*inputs, *tables_jax.rows(frame, parameters, inputs, start, lengths)]
    step, inputs = times_jax.step_of(frame, parameters, inputs, durations)
    schedule = "eager" if step else _chosen(frame, inputs[0]) if frame.schedule == "auto" else frame.schedule
    if schedule == "sequential" and not trace:
        return *_by_kernel(frame, weights, coefficients, inputs, carry, last, lengths), {}
    if schedule in PARALLEL and not trace:
        options = {"lengths": lengths, "schedule": schedule, "place": frame.place}
        whole = parallel_jax.run(frame.program, coefficients, inputs, carry, **options)
        return whole.outputs, whole.carry, None, [], whole.iterations
    drive = None
    if frame.recurrent and weights is not None and last is not None:
        names = [n for n, _ in frame.program.outputs]
        at = frame.program.inputs.index(str(frame.recurrent.input)), names.index(str(frame.recurrent.output))
        drive = eager_jax.Drive(*at, weights.matrix(), weights.bias, last)
    found = eager_jax.run(
        frame.program, coefficients, inputs, carry, drive=drive, lengths=lengths, trace=trace,
        operators=operators.calls(), step=step,
    )  # fmt: skip
    return found.outputs, found.carry, found.last, found.trace, {}


def _chosen(frame: Any, x: Array) -> str:
    """What "auto" takes where the cost model knows the device; the loop elsewhere, and where neurons are mixed."""
    if frame.recurrent or frame.program.operators:
        return "eager"
    lanes = x.size // max(1, x.shape[0])
    device = jax.default_backend()
    return costs.choose(
        frame.program, x.shape[0], lanes, device, framework="jax", kernel=False, cores=os.cpu_count() or 1
    )


#: compiled once for each program and shape, also where the caller does not jit
forward = partial(jax.jit, static_argnums=(0, 1))(_run_layer)
forward_with_functions = eqx.filter_jit(_run_layer)  # operators may hold functions


def _by_kernel(
    frame: Any, weights: RecurrentWeights | None, coefficients: tuple[Array, ...], inputs: list[Array],
    carry: list[Array], last: Array | None, lengths: Array | None,
) -> tuple[list[Array], list[Array], Array | None, list[Array]]:  # fmt: skip
    """The same by the C kernel, whose lanes are one axis."""
    kernel = native_jax.kernel_of(frame.program, frame.dtype, frame.pair)
    steps, batch, lanes = *inputs[0].shape[:2], int(np.prod(frame.size))
    wide = [jnp.broadcast_to(x, inputs[0].shape).reshape(steps, batch, lanes) for x in inputs]
    rows = [
        jnp.broadcast_to(c, frame.size).reshape(lanes) if per_neuron else c
        for c, (_, per_neuron) in zip(coefficients, kernel.coefficients, strict=True)
    ]
    states = [*carry, last] if last is not None else carry
    matrices = [] if weights is None else [w for w in (weights.matrix(), weights.bias) if w is not None]
    flat = [s.reshape(batch, lanes) for s in states]
    outputs, after = native_jax.run(kernel, wide, rows, flat, lengths=lengths, weights=matrices)
    outputs = [o.reshape(steps, batch, *frame.size) for o in outputs]
    after = [a.reshape(batch, *frame.size) for a in after]
    return outputs, after[: len(carry)], after[-1] if last is not None else None, []
