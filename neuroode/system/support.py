"""What the language accepts and this version does not lower yet: one row a construct. The list shrinks to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from neuroode._errors import Unsupported
from neuroode.expr.nodes import Call, Node, walk
from neuroode.spec.types import NeuronSpec
from neuroode.system.delays import trained
from neuroode.system.indices import time_axes

Found = Iterable[str]


def _expressions(spec: NeuronSpec) -> Iterator[Node]:
    yield from (e.rhs for e in spec.equations)
    for event in spec.events:
        yield event.when
        if event.reset:
            yield from (a.value for a in event.reset.do)
    yield from (value for _, value in spec.outputs)


def _calls(*names: str) -> Callable[[NeuronSpec], Found]:
    return lambda spec: [n.name for e in _expressions(spec) for n in walk(e) if isinstance(n, Call) and n.name in names]


def over_time(spec: NeuronSpec) -> Found:
    """What has a whole-sequence axis and is no parameter: `h[tau] = ...`; write `h = ...` and read h[tau]."""
    rows = [(d.name, d.axes) for d in spec.equations] + [(d.name, d.axes) for d in spec.inputs]
    rows += [(d.name, d.axes) for d in spec.events] + [(d.name, d.axes) for d in spec.noise]
    return [name for name, axes in rows if set(axes) & time_axes(spec).keys()]


#: construct, what it is called in a message, where it is found
CONSTRUCTS: tuple[tuple[str, Callable[[NeuronSpec], Found]], ...] = (
    ("equations, inputs and events along a whole-sequence axis (sums over it are compiled)", over_time),
    ("trained delays", trained),
)


def refuse_unsupported(spec: NeuronSpec) -> None:
    """Raise for the first construct that is not lowered yet.

    Raises:
        Unsupported: with the construct and the names that use it.
    """
    for construct, find in CONSTRUCTS:
        found = list(dict.fromkeys(find(spec)))
        if found:
            raise Unsupported(
                f"neuron '{spec.name}': {construct} not lowered yet (used by {', '.join(map(repr, found))})",
                hint="the declaration is fine; `neuroode check --support` lists what this version refuses",
            )
