"""Blocks that are linear over the real numbers only: a state that reads the real or imaginary part of another one.

The analysis calls dv/dt = -v + real(u) not linear, since real(u) has no complex derivative. In real and imaginary parts
it is: such states and what they read become one block, whose matrix has a row for each real number.
"""

from __future__ import annotations

import sympy as sp

from neuroode.analysis.linearity import STEPS, coupled, moving, running
from neuroode.analysis.types import Block, Report
from neuroode.discretize import exact
from neuroode.system.types import OdeSystem

MAX_OPERATIONS = 500  # of a flow that is looked at


def blocks(report: Report) -> tuple[Block, ...]:
    """The blocks of the report, with those that are linear over real numbers joined where that has an exact step."""
    found = _real_linear(report)
    if not found:
        return report.blocks
    linear = [s for b in report.blocks if b.is_linear for s in b.states]
    rows = {s: dict.fromkeys(_read(report.system, s), sp.S.One) for s in report.system.flows}
    groups = coupled([s for s in rows if s in linear or s in found], rows)
    small = [g for g in groups if found & set(g) and sum(len(parts(report.system, s)) for s in g) <= exact.MAX_BLOCK]
    new = [b for b in (_block(report, g) for g in small) if exact.applies(report, b).applies]
    taken = {s for b in new for s in b.states}
    return (*[b for b in report.blocks if not taken & set(b.states)], *new)


def parts(system: OdeSystem, state: str) -> tuple[sp.Symbol, ...]:
    """Real symbols of a state: itself, or its two parts."""
    if not system.is_complex(state):
        return (running(system)[state],)
    return sp.Symbol(f"re({state})", real=True), sp.Symbol(f"im({state})", real=True)


def _real_linear(report: Report) -> set[str]:
    """States that become linear: whatever they read is linear, or becomes so too."""
    system = report.system
    if not any(system.is_complex(s) for s in system.flows):
        return set()
    linear = {s for b in report.blocks if b.is_linear for s in b.states}
    found = {s for s in system.flows if s not in linear and _candidate(system, s)}
    while bad := {s for s in found if not set(_read(system, s)) <= linear | found}:
        found -= bad
    return found


def _candidate(system: OdeSystem, state: str) -> bool:
    """Whether no derivative of its real numbers moves within the step."""
    flow, x = system.flows[state], moving(system)
    if flow.count_ops() > MAX_OPERATIONS or any(p.has(*x) for kind in STEPS for p in flow.atoms(kind)):
        return False
    numbers = [p for s in _read(system, state) for p in parts(system, s)]
    slopes = (sp.diff(row, p) for row in _rows(system, state) for p in numbers)
    return all(not a.has(*numbers, *system.ramps) for a in slopes)


def _rows(system: OdeSystem, state: str) -> list[sp.Expr]:
    """The flow of each real number of a state, in real numbers."""
    x = running(system)
    pairs = {x[s]: parts(system, s) for s in system.flows if system.is_complex(s)}
    flow = system.flows[state].subs({z: re + sp.I * im for z, (re, im) in pairs.items()})
    return [sp.re(flow), sp.im(flow)] if system.is_complex(state) else [sp.re(flow)]


def _read(system: OdeSystem, state: str) -> list[str]:
    return [s for s, x in running(system).items() if system.flows[state].has(x)]


def _block(report: Report, states: tuple[str, ...]) -> Block:
    system = report.system
    x = [p for s in states for p in parts(system, s)]
    rows = sp.Matrix([row for s in states for row in _rows(system, s)])
    drive = rows.subs(dict.fromkeys(x, 0))
    A = sp.Matrix(len(x), len(x), lambda i, j: sp.expand(sp.diff(rows[i], x[j])))
    held = any("[" in s.name for s in A.free_symbols)
    return Block(states, "switched" if held else "linear" if drive.is_zero_matrix else "affine", A, drive)
