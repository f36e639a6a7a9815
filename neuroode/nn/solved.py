"""Which events of a neuron a solver locates inside the step, whatever the framework."""

from __future__ import annotations

from neuroode._errors import Unsupported
from neuroode.discretize.locate import SATURATE, inside
from neuroode.system.types import Event, OdeSystem


def refuse_memory(system: OdeSystem) -> None:
    """A solver steps from what a state is, not from what it was.

    Raises:
        Unsupported: a state has a fractional derivative.
    """
    if system.fractional:
        names = ", ".join(system.fractional)
        raise Unsupported(f"{names} has a fractional derivative, which solvers of ordinary equations do not know",
                          hint="leave solver= out: method soe turns it into ordinary leaks")  # fmt: skip


def located_events(system: OdeSystem) -> tuple[Event, ...]:
    """The events inside the step; none where the declaration says saturate.

    Raises:
        Unsupported: an event, or what it does, has no time inside the step.
    """
    if system.spec.within_step != "locate":
        return ()
    events, carried = inside(system)
    if carried:
        raise Unsupported(f"within_step: locate: an event assigns {carried[0]}, a map, which no solver runs along",
                          hint=f"declare d{carried[0]}/dt, leave solver= out, or {SATURATE}")  # fmt: skip
    return tuple(events)
