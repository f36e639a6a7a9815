"""The same measurements for JAX layers: jitted training steps; compiling is not part of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp

import neuroode as no
from neuroode._errors import Unsupported
from neuroode.bench.measure import least_seconds

MODELS = ("li", "lif", "prf")
CELLS = ((64, 1), (8192, 1), (1024, 64), (128, 2048))
SCHEDULES = ("eager", "scan", "fft")


def rows() -> Iterator[tuple[str, str, int, int, float]]:
    """(model, schedule, steps, lanes, seconds) of each that applies."""
    for model in MODELS:
        for schedule in SCHEDULES:
            for steps, lanes in CELLS:
                run = step_of(model, schedule, steps, lanes)
                if run is not None:
                    yield model, schedule, steps, lanes, least_seconds(run)


def step_of(model: str, schedule: str, steps: int, lanes: int) -> Callable[[], object] | None:
    """A training step; None where the schedule does not apply."""
    try:
        layer = no.load(model).jax(lanes, schedule=schedule, key=jax.random.key(0), dtype="float32")
    except Unsupported:
        return None
    x = jax.random.normal(jax.random.key(1), (steps, 1, lanes))

    def loss(both: tuple) -> jax.Array:
        return jnp.sum(both[0](both[1])[0] * both[1])

    run = eqx.filter_jit(eqx.filter_value_and_grad(loss))
    return lambda: jax.block_until_ready(run((layer, x)))
