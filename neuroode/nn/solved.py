"""Which events of a neuron a solver locates inside the step, whatever the framework."""

from __future__ import annotations

from neuroode._errors import Unsupported
from neuroode.program.hybrid import Hybrid
from neuroode.system.types import Event, OdeSystem

SATURATE = "within_step: saturate takes events at the end of the step"


def located_events(h: Hybrid, system: OdeSystem) -> tuple[str, ...]:
    """Names of the events whose guards read the running states; none where the declaration says saturate.

    Raises:
        Unsupported: an event, or what it does, has no time inside the step.
    """
    if system.spec.within_step != "locate":
        return ()
    if kick := next((k for k in system.impulses if k.at == "end"), None):
        raise Unsupported(f"within_step: locate: impulse {kick.input} acts at the end of the step, after the events",
                          hint="give it at: start")  # fmt: skip
    margins = {n[2:]: v for n, v in h.guards.outputs if n.startswith("m.")}
    found = [e for e in system.events if _reads_states(system, e)]
    if not found:
        raise Unsupported(f"within_step: locate: no event of '{system.spec.name}' compares a state that flows",
                          hint="remove within_step: locate")  # fmt: skip
    for e in found:
        _check(system, e, margins)
    return tuple(e.name for e in found)


def _reads_states(system: OdeSystem, event: Event) -> bool:
    names = {s.name for t in _tests(event.condition) for s in t.margin.free_symbols}
    return any(f"{n}[t]" in names for n in system.flows)


def _tests(condition: object) -> list:
    return [condition] if not hasattr(condition, "items") else [t for c in condition.items for t in _tests(c)]


def _check(system: OdeSystem, event: Event, margins: dict[str, str]) -> None:
    head = f"within_step: locate: event '{event.name}'"
    if event.name not in margins:
        raise Unsupported(f"{head} combines comparisons; one is located", hint=f"one comparison; {SATURATE}")
    if event.late:
        raise Unsupported(f"{head} acts in the next step, not at its time", hint="reset without when: next_step")
    if event.silent is not None:
        raise Unsupported(f"{head} has a refractory time, which is counted in whole steps", hint=SATURATE)
    maps = [j.state for j in event.jumps if j.state not in system.flows]
    if maps:
        raise Unsupported(f"{head} assigns {maps[0]}, a map, which moves once a step; a solver locates events of flows",
                          hint=f"declare d{maps[0]}/dt, leave solver= out, or {SATURATE}")  # fmt: skip
