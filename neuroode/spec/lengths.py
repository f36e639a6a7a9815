"""What decides how many steps a neuron looks back: constants in lags and delays. They are fixed when it is built."""

from __future__ import annotations

from neuroode.expr.nodes import Call, Node, Ref, names, walk
from neuroode.spec.types import NeuronSpec


def expressions(spec: NeuronSpec) -> list[Node]:
    """Equations, guards, resets, outputs."""
    events = [n for e in spec.events for n in (e.when, *(a.value for a in (e.reset.do if e.reset else ())))]
    return [*(e.rhs for e in spec.equations), *events, *(value for _, value in spec.outputs)]


def fixed_names(spec: NeuronSpec) -> set[str]:
    """Parameters that lags, delays and durations read."""
    found: set[str] = set()
    for node in (n for e in expressions(spec) for n in walk(e)):
        if isinstance(node, Ref) and node.time:
            found |= names(node.time.lag)
        elif isinstance(node, Call) and node.name == "delay":
            found |= names(node.args[1])
    for duration in (e.reset.duration for e in spec.events if e.reset):
        found |= names(duration) if duration is not None else set()
    return found & {p.name for p in spec.parameters}
