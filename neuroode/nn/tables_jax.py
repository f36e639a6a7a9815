"""Tables over time of a call: the rows that its steps read, as inputs of the program."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode.program.values import check_horizon
from neuroode.system.indices import is_table, table_values

Array = jax.Array


def check_reach(frame: Any, steps: int, lengths: Array | None, start: list[Array] | None) -> None:
    """Raise RunError where a call reaches beyond the horizon; under a trace `rows` raises when it runs."""
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
    """Tables from the step that the carry counts on, (T, 1 or B, *size*) each, in the program's order."""
    if not frame.program.tables:
        return []
    steps, batch, horizon = *inputs[0].shape[:2], frame.neuron.spec.horizon
    at = jnp.arange(steps)[:, None]
    if start is not None:
        begin = _counter(frame, start).reshape(batch, -1)[:, 0].astype(int)
        reach = begin + (steps if lengths is None else lengths)
        at = eqx.error_if(begin + at, jnp.any(reach > horizon), "the run reaches beyond the horizon")
    found: dict[str, Array] = {}
    for p in frame.neuron.spec.parameters:
        if is_table(p):
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
