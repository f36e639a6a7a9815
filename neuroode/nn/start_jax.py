"""`nn/start_torch.py` in JAX: the carry before the first step where initial values of states are drawn."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neuroode.nn import eager_jax, forward_jax
from neuroode.nn.inputs_jax import Sequence
from neuroode.nn.parameters_jax import Parameters, widest
from neuroode.program.start import filled
from neuroode.solvers.on_jax.random_jax import draw

Array = jax.Array


@partial(jax.jit, static_argnums=(0, 2))
def first(frame: Any, parameters: Parameters, batch: int, seeds: Array | None) -> list[Array]:
    """States before the first step, (batch, *size*) each, with gradients to parameters in the arguments of draws.

    Args:
        seeds: (batch,) uint32; None where nothing is drawn.
    """
    inits, start = forward_jax.first(frame, parameters, batch), frame.program.start
    if start is None or seeds is None:
        return inits
    shape = (1, batch, *frame.size)
    numbers = [draw(n.kind, n.name, seeds, jnp.zeros_like(seeds), shape, frame.dtype) for n in start.noise]
    clock = [jnp.zeros(shape, frame.dtype) for _ in start.given]
    found = eager_jax.jax_program(start)
    coefficients, _ = found.prologue(parameters.slots(), jnp.asarray(frame.dt, widest()))
    narrow = tuple(jnp.asarray(c, frame.dtype) for c in coefficients)
    outputs, _, _ = found.step(narrow, (), tuple(x[0] for x in (*clock, *numbers)))
    return filled(frame.program, inits, [jnp.broadcast_to(x, shape[1:]).astype(frame.dtype) for x in outputs])


def drawn(layer: Any, given: Sequence) -> list[Array] | None:
    """What a call starts from; None where it draws nothing."""
    if given.start_seeds is None:
        return None
    return first(layer.frame, layer.parameters_of_neuron, given.batch, given.start_seeds)
