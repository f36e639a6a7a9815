"""Which flows are linear, and in what.

A state is `linear` if its flow is linear in all states it reads, with coefficients that stand still within a step, and
all those states are linear too. It is `conditional` if it is linear in itself once the others are held. Every verdict
comes from exact symbolic derivatives; `re`, `im`, `conjugate` and `Abs` of a running complex state are not holomorphic
and count as nonlinear.
"""

from __future__ import annotations

import sympy as sp
from sympy.utilities.iterables import strongly_connected_components

from neuroode.analysis.types import Block
from neuroode.expr import functions as fn
from neuroode.system.types import OdeSystem

NOT_HOLOMORPHIC = (sp.re, sp.im, sp.conjugate, sp.Abs, sp.arg)
#: functions whose declared derivative is not the slope of their value, so that it proves nothing about linearity
STEPS = (fn.operator, fn.gate, fn.rounded, fn.detach, sp.floor, sp.ceiling, sp.sign)

FRACTION = sp.Symbol("fraction", real=True)  # of the step, 0 to 1, where it stays open


def running(system: OdeSystem) -> dict[str, sp.Symbol]:
    """Flow state -> symbol of its running value."""
    return {n: system.symbols.setdefault(n, sp.Symbol(n, **_facts(system, n))) for n in system.flows}


def moving(system: OdeSystem) -> set[sp.Symbol]:
    """All that moves within a step: flow states, and inputs that run from sample to sample."""
    return {*running(system).values(), *system.ramps}


def during(system: OdeSystem, e: sp.Expr, fraction: sp.Expr) -> sp.Expr:
    """The expression at a fraction (0..1) of the step: every ramp by its value there; flow states stay as they are."""
    return e.xreplace({s: start + fraction * (end - start) for s, (start, end) in system.ramps.items()})


def _facts(system: OdeSystem, name: str) -> dict[str, bool]:
    return {} if system.is_complex(name) else {"real": True}


def jacobian(system: OdeSystem) -> dict[str, dict[str, sp.Expr]]:
    """d flow_i / d state_j for every state j that flow i reads; None where there is no derivative."""
    x = running(system)
    return {i: {j: _derivative(f, x[j]) for j in x if f.has(x[j])} for i, f in system.flows.items()}


def _derivative(f: sp.Expr, x: sp.Symbol) -> sp.Expr | None:
    kinds = STEPS if x.is_real else NOT_HOLOMORPHIC + STEPS
    if any(part.has(x) for kind in kinds for part in f.atoms(kind)):
        return None
    return sp.expand(sp.diff(f, x)) if f.is_polynomial(x) else sp.diff(f, x)


def classify(system: OdeSystem, rows: dict[str, dict[str, sp.Expr]]) -> dict[str, str]:
    """Class of each flow state: linear, switched, conditional or nonlinear."""
    x = moving(system)
    base = {}
    for i, row in rows.items():
        whole = all(a is not None and not a.has(*x) for a in row.values())
        own = row.get(i, sp.S.Zero)
        itself = own is not None and not own.has(running(system)[i])
        base[i] = "linear" if whole else "conditional" if itself else "nonlinear"
    changed = True
    while changed:  # a linear flow that reads a state that is not linear is linear only while that one is held
        bad = {i for i in base if base[i] == "linear" and any(base[j] in ("conditional", "nonlinear") for j in rows[i])}
        changed = bool(bad)
        base |= dict.fromkeys(bad, "conditional")
    held = {s for name, s in system.symbols.items() if "[" in name}
    return {
        i: "switched" if c == "linear" and any(a.free_symbols & held for a in rows[i].values()) else c
        for i, c in base.items()
    }


def components(rows: dict[str, dict[str, sp.Expr]]) -> tuple[tuple[str, ...], ...]:
    """Strongly connected sets of states, each after those it reads."""
    edges = [(i, j) for i, row in rows.items() for j in row]
    order = list(rows)
    found = strongly_connected_components((order, edges))
    return tuple(tuple(sorted(c, key=order.index)) for c in found)


def blocks(system: OdeSystem, rows: dict[str, dict[str, sp.Expr]], classes: dict[str, str]) -> tuple[Block, ...]:
    """Linear states grouped by what they are coupled to, then the others by strongly connected component."""
    linear = [i for i in rows if classes[i] in ("linear", "switched")]
    made = [_linear_block(system, rows, group) for group in coupled(linear, rows)]
    for group in components(rows):
        rest = tuple(i for i in group if i not in linear)
        if rest:
            kind = "conditional" if all(classes[i] == "conditional" for i in rest) else "nonlinear"
            made.append(Block(rest, kind))
    return tuple(made)


def coupled(states: list[str], rows: dict[str, dict[str, sp.Expr]]) -> list[tuple[str, ...]]:
    """Connected sets, each ordered so that a state stands after those it reads where the block is triangular."""
    order = [i for group in components(rows) for i in group]
    left, groups = list(states), []
    while left:
        group, grown = {left[0]}, True
        while grown:
            more = {j for j in left if any(j in rows[i] or i in rows[j] for i in group)} - group
            group |= more
            grown = bool(more)
        left = [i for i in left if i not in group]
        groups.append(tuple(sorted(group, key=order.index)))
    return groups


def _linear_block(system: OdeSystem, rows: dict[str, dict[str, sp.Expr]], states: tuple[str, ...]) -> Block:
    x = running(system)
    A = sp.Matrix(len(states), len(states), lambda i, j: rows[states[i]].get(states[j], sp.S.Zero))
    at_zero = {x[s]: 0 for s in states}
    drive = sp.Matrix([system.flows[s].subs(at_zero) for s in states])
    held = any("[" in s.name for s in A.free_symbols)
    kind = "switched" if held else "linear" if drive.is_zero_matrix else "affine"
    return Block(states, kind, A, drive)
