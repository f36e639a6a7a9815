"""Times of events: `layer.spike_times(x)`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from neuroode.nn.carry_jax import JaxCarry
from neuroode.nn.noise_jax import given_of
from neuroode.program.timed import SIGNAL, TIME, timed, timed_events

Array = jax.Array


Times = Array | dict[str, Array]


def spike_times(layer: Any, x: Any, carry: Any, **call: Any) -> tuple[Times, JaxCarry]:
    """What `NeuronLayer.spike_times` returns."""
    names = timed_events(layer.program)
    if layer.program.located:
        own, other = layer.frame.digest, layer._with(frame=layer.frame.with_program(timed(layer.program)))
        same = isinstance(carry, JaxCarry) and carry.digest == own
        rows, after = other(x, JaxCarry(carry, other.frame.digest) if same else carry, **call)
        after = JaxCarry(after, own)
    else:  # a solver finds them
        rows, after = layer._traced(given_of(layer.frame, x, carry, **call), carry)
        rows |= {n + SIGNAL: rows[n] for n in names}
    times = {n: _absolute(layer, rows[n + SIGNAL], rows[n + TIME], call.get("times")) for n in names}
    return next(iter(times.values())) if len(times) == 1 else times, after


def _absolute(layer: Any, signal: Array, time: Array, times: Any) -> Array:
    """Since the start of the call; inf where there is no event."""
    if times is None:
        starts = layer.dt * jnp.arange(signal.shape[0], dtype=time.dtype)
    else:
        ends = jnp.asarray(times, time.dtype)
        starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    starts = starts.reshape(*starts.shape, *(1,) * (time.ndim - starts.ndim))
    return jnp.where(signal > 0, starts + time, jnp.inf)
