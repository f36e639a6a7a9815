"""Flows beside states at rest: what moves while an event's refractory time holds others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.analysis.report import analyse
from neuroode.analysis.types import Report
from neuroode.discretize.types import Beside, Discretization
from neuroode.system.types import Event, OdeSystem

MAX_HOLDING = 4  # every set of them is a flow of its own


def groups(holding: Iterable[Event]) -> list[tuple[Event, ...]]:
    """Sets of events that may be refractory at once, smaller ones first."""
    events = list(holding)
    return [group for n in range(1, len(events) + 1) for group in combinations(events, n)]


def beside_held(found: Discretization, derive: Callable[[Report], Discretization]) -> dict[frozenset[str], Beside]:
    """For each set of states that may be held at once: updates of the others where they differ from the free ones.

    Raises:
        Unsupported: more than four events hold states.
    """
    system = found.report.system
    holding = [e for e in system.events if e.hold]
    if len(holding) > MAX_HOLDING:
        raise Unsupported(f"{len(holding)} events hold states; at most {MAX_HOLDING} are lowered")
    free = {s: e for u in found.updates for s, e in u.values.items()}
    rows: dict[frozenset[str], Beside] = {}
    for group in groups(holding):
        still = frozenset(s for e in group for s in e.hold if s in system.flows)
        if still and _is_read(system, still):
            pushed = {i.state for i in system.impulses if i.at == "start"} & still
            rows[still] = _differing(derive(analyse(_at_rest(system, still))), free, still, pushed)
    return rows


def _differing(found: Discretization, free: dict[str, sp.Expr], still: frozenset[str], pushed: set[str]) -> Beside:
    """The updates that are not the free ones, or read a state that an impulse does not push while it rests.

    Their stages get names of their own.
    """
    stages = [row for u in found.updates for row in u.stages]
    own = {s: sp.Symbol(f"{s.name} beside {sorted(still)}", **s.assumptions0) for s, _ in stages}
    values = {s: e.xreplace(own) for u in found.updates for s, e in u.values.items() if s not in still}
    differing = {s: e for s, e in values.items() if e != free[s] or pushed & {x.name for x in e.free_symbols}}
    noise = {n: kind for u in found.updates if set(u.states) & differing.keys() for n, kind in u.noise.items()}
    return Beside(differing, tuple((own[s], e.xreplace(own)) for s, e in stages), noise)


def _is_read(system: OdeSystem, still: frozenset[str]) -> bool:
    rows = list(system.flows.items())
    rows += [(n, g) for n, own in system.diffusion.items() for g in own.values()]
    return bool(still & {str(s) for n, e in rows if n not in still for s in e.free_symbols})


def _at_rest(system: OdeSystem, still: frozenset[str]) -> OdeSystem:
    flows = system.flows | dict.fromkeys(still, sp.S.Zero)
    diffusion = {s: g for s, g in system.diffusion.items() if s not in still}
    impulses = tuple(i for i in system.impulses if i.state not in still)
    return replace(system, flows=flows, diffusion=diffusion, impulses=impulses)
