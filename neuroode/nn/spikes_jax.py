"""Times of events: `layer.spike_times(x)`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from neuroode.nn.carry_jax import JaxCarry
from neuroode.program.timed import SIGNAL, TIME, chosen_event, timed

Array = jax.Array


def spike_times(layer: Any, x: Any, carry: Any, event: str | None, **call: Any) -> tuple[Array, JaxCarry]:
    """What `NeuronLayer.spike_times` returns."""
    name = chosen_event(layer.program, event)
    if not layer.program.located:  # a solver finds them
        rows = layer.trace(x, carry, **call)
        return _absolute(layer, rows[name], rows[name + TIME], call.get("times")), layer(x, carry, **call)[1]
    other = layer._with(frame=layer.frame.with_program(timed(layer.program)))
    own, its = layer.frame.digest, other.frame.digest
    start = JaxCarry(carry, its) if isinstance(carry, JaxCarry) and carry.digest == own else carry
    found, after = other(x, start, **call)
    return _absolute(layer, found[name + SIGNAL], found[name + TIME], call.get("times")), JaxCarry(after, own)


def _absolute(layer: Any, signal: Array, time: Array, times: Any) -> Array:
    """Since the start of the call; inf where there is no event."""
    if times is None:
        starts = layer.dt * jnp.arange(signal.shape[0], dtype=time.dtype)
    else:
        ends = jnp.asarray(times, time.dtype)
        starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    starts = starts.reshape(*starts.shape, *(1,) * (time.ndim - starts.ndim))
    return jnp.where(signal > 0, starts + time, jnp.inf)
