"""What a call's steps read beside its inputs: rows of tables over time, and sums over the whole sequence."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode.nn.carry import refuse_carry
from neuroode.nn.sums_jax import sums
from neuroode.program.values import check_horizon
from neuroode.system.indices import table_parameters, table_values

Array = jax.Array


def check_reach(frame: Any, steps: int, lengths: Array | None, start: list[Array] | None) -> None:
    """Raise RunError where a call reaches beyond the horizon; under a trace `rows` raises when it runs."""
    refuse_carry(frame.program, start)
    if frame.program.sums:
        check_horizon(frame.neuron.spec, steps)
    if not frame.program.tables:
        return
    first = None if start is None else _counter(frame, start)
    if any(isinstance(a, jax.core.Tracer) for a in (first, lengths)):
        return
    begin = np.zeros(1) if first is None or not first.size else np.asarray(first)
    check_horizon(
        frame.neuron.spec, int(np.max(begin)) + (steps if lengths is None else int(np.max(lengths, initial=0)))
    )


def rows(
    frame: Any, parameters: Any, inputs: list[Array], start: list[Array] | None, lengths: Array | None
) -> list[Array]:
    """Tables from the step that the carry counts on, (T, 1 or B, *size*) each, and sums, in the program's order."""
    found = _tables(frame, parameters, inputs, start, lengths)
    return [*found, *sums(frame, parameters, [*inputs, *found], lengths)]


def _tables(
    frame: Any, parameters: Any, inputs: list[Array], start: list[Array] | None, lengths: Array | None
) -> list[Array]:
    if not frame.program.tables:
        return []
    steps, batch, horizon = *inputs[0].shape[:2], frame.neuron.spec.horizon
    at = jnp.arange(steps)[:, None]
    if start is not None:
        begin = _counter(frame, start).reshape(batch, -1)[:, 0].astype(int)
        reach = begin + (steps if lengths is None else lengths)
        at = eqx.error_if(begin + at, jnp.any(reach > horizon), "the run reaches beyond the horizon")
    found: dict[str, Array] = {}
    for p in table_parameters(frame.neuron.spec):
        value = parameters.constrained(p)
        whole = jax.lax.complex(value[..., 0], value[..., 1]) if p.type == "complex" else value
        found |= table_values(p, parameters.constants.sizes, whole)
    return [_row(found[name].astype(frame.dtype), at, len(frame.size)) for name in frame.program.tables]


def _counter(frame: Any, start: list[Array]) -> Array:
    return start[[s.name for s in frame.program.carry].index("step")]


def _row(table: Array, at: Array, lanes: int) -> Array:
    """(T, 1 or B, *size*) of a table (*level*, time); steps after a sample's end read nothing that counts."""
    by_step = jnp.moveaxis(table, -1, 0)
    level = by_step.shape[1:]
    picked = by_step[jnp.minimum(at, len(by_step) - 1)]
    return picked.reshape(*at.shape, *level, *([1] * (lanes - len(level))))
