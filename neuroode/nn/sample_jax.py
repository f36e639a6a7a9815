"""Runs with the probability of what happened: `layer.sample(x)`."""

from __future__ import annotations

from typing import Any

import jax

from neuroode.nn.carry_jax import JaxCarry
from neuroode.program.chances import LOG_PROB, scored, scored_events
from neuroode.program.pack import groups

Named = jax.Array | dict[str, jax.Array]


def sample(layer: Any, x: Any, carry: Any, **call: Any) -> tuple[Named, Named, JaxCarry]:
    """What `NeuronLayer.sample` returns."""
    own, other = layer.frame.digest, layer._with(frame=layer.frame.with_program(scored(layer.program)))
    same = isinstance(carry, JaxCarry) and carry.digest == own
    found, after = other(x, JaxCarry(carry, other.frame.digest) if same else carry, **call)
    outputs = {g.name: found[g.name] for g in groups(n for n, _ in layer.program.outputs)}
    logs = {n: found[n + LOG_PROB] for n in scored_events(layer.program)}
    return _alone(outputs), _alone(logs), JaxCarry(after, own)


def _alone(rows: dict[str, jax.Array]) -> Named:
    return next(iter(rows.values())) if len(rows) == 1 else rows
