"""Several fractional derivatives of one state as a chain of single ones.

c_1 D^a_1 v + ... + c_k D^a_k v = f with a_1 < ... < a_k <= 1: with w_i = D^a_i v, which starts at 0,
    D^a_1 v = w_1,   D^(a_2 - a_1) w_1 = w_2,   ...,   D^(a_k - a_(k-1)) w_(k-1) = (f - sum_(i<k) c_i w_i)/c_k
(a Caputo derivative of a Caputo derivative, orders adding up to at most 1). A jump moves v alone; what resets add to
the right side goes to the last of the chain; a restart sets all w to 0.

Source: Diethelm and Ford, Numerical solution of the Bagley-Torvik equation, BIT 42 (2002), for the reduction.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import sympy as sp

from neuroode._errors import Unsupported
from neuroode.discretize.soe_leak import constants
from neuroode.system.types import Event, Fractional, Jump, OdeSystem, State


def in_single_terms(system: OdeSystem) -> OdeSystem:
    """The system with one order a state.

    Raises:
        Unsupported: orders that are no numbers, or twice the same.
    """
    for name, fractional in list(system.fractional.items()):
        if len(fractional.terms) > 1:
            system = _chained(system, name, _sorted(system, name))
    return system


def _sorted(system: OdeSystem, name: str) -> list[tuple[sp.Expr, sp.Expr]]:
    known = constants(system)
    terms = [(c, a.subs(known)) for c, a in system.fractional[name].terms]
    if not all(a.is_number for _, a in terms) or len({a for _, a in terms}) < len(terms):
        raise Unsupported(f"method soe: several orders of {name} must be different constant numbers",
                          hint="write numbers, or constants without a mapping")  # fmt: skip
    return sorted(terms, key=lambda row: row[1])


def _chained(system: OdeSystem, name: str, terms: list[tuple[sp.Expr, sp.Expr]]) -> OdeSystem:
    inner = [f"derivative {i}({name})" for i in range(1, len(terms))]
    w = [sp.Symbol(n, real=True) for n in inner]
    (top, _), orders = terms[-1], [a for _, a in terms]
    last = system.flows[name] / top - sp.Add(*[c / top * x for (c, _), x in zip(terms, w, strict=False)])
    names, rights = [name, *inner], [*w, last]
    steps = [orders[0], *(b - a for a, b in pairwise(orders))]
    fractional = {n: Fractional(((sp.S.One, a),)) for n, a in zip(names, steps, strict=True)}
    return replace(
        system, flows=system.flows | dict(zip(names, rights, strict=True)), fractional=system.fractional | fractional,
        states=(*system.states, *(State(n, "flow", False, sp.S.Zero) for n in inner)),
        symbols=system.symbols | dict(zip(inner, w, strict=True)),
        events=tuple(_event(e, name, inner, top) for e in system.events),
    )  # fmt: skip


def _event(event: Event, name: str, inner: list[str], top: sp.Expr) -> Event:
    jumps: list[Jump] = []
    for j in event.jumps:
        added = j.state == name and j.memory in ("impulse", "current")
        jumps.append(replace(j, state=inner[-1], value=j.value / top) if added else j)
        if j.state == name and j.memory == "restart":
            jumps += [Jump(n, "=", sp.S.Zero, "restart") for n in inner]
    return replace(event, jumps=tuple(jumps), hold=event.hold + (tuple(inner) if name in event.hold else ()))
