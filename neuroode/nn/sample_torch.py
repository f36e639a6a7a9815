"""Runs with the probability of what happened: `layer.sample(x)`."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from neuroode.nn.carry import Carry
from neuroode.program.chances import LOG_PROB, scored, scored_events
from neuroode.program.pack import groups

Named = Tensor | dict[str, Tensor]


def sample(layer: Any, x: Any, carry: Carry | None, **call: Any) -> tuple[Named, Named, Carry]:
    """What `NeuronLayer.sample` returns."""
    names, own = scored_events(scored(layer.program)), layer._digest()
    other = _with_logarithms(layer)
    start = Carry(carry, other._digest()) if isinstance(carry, Carry) and carry.digest == own else carry
    found, after = other(x, start, **call)
    outputs = {g.name: found[g.name] for g in groups(n for n, _ in layer.program.outputs)}
    logs = {n: found[n + LOG_PROB] for n in names}
    return _alone(outputs), _alone(logs), Carry(after, own)


def _alone(rows: dict[str, Tensor]) -> Named:
    return next(iter(rows.values())) if len(rows) == 1 else rows


def _with_logarithms(layer: Any) -> Any:
    """The layer whose outputs are the logarithms too; it shares every number with this one."""
    known = layer.__dict__.get("_scored")
    if known is None or known[0] != layer.program.digest:
        other = copy.copy(layer)
        other.__dict__.pop("_scored", None)
        other._take(scored(layer.program))
        known = layer.__dict__["_scored"] = (layer.program.digest, other)
    return known[1]
