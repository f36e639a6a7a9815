"""Symbols with what their declared domains say, definitions in the place of what they stand for, held reads at rest."""

from __future__ import annotations

import re

import sympy as sp

from neuroode.expr.nodes import Num
from neuroode.spec.types import ParameterDecl
from neuroode.system.types import OdeSystem

HELD = re.compile(r"^(?P<name>.+)\[t(?:-(?P<lag>\d+))?\]$")


def assumed(system: OdeSystem) -> dict[sp.Symbol, sp.Symbol]:
    """Symbol -> the same with the sign that its domain gives it."""
    found = {}
    for p in system.spec.parameters:
        symbol = system.symbols.get(p.name)
        if symbol is not None and not symbol.is_positive and _nonnegative(p):
            found[symbol] = sp.Symbol(p.name, nonnegative=True)
    return found


def _nonnegative(p: ParameterDecl) -> bool:
    low = p.bounds[0] if p.bounds else None
    return p.domain in ("nonnegative", "unit") or (isinstance(low, Num) and not low.imaginary and low.value >= 0)


def held(e: sp.Basic) -> list[sp.Symbol]:
    """Reads that stand still over a step: inputs, events, past values."""
    return sorted((s for s in e.free_symbols if "[t" in s.name), key=str)


def in_definitions(M: sp.Matrix, system: OdeSystem) -> sp.Matrix | None:
    """The matrix in terms of the neuron's own definitions, if that makes it shorter and rids it of held reads.

    A definition d = c*y + rest is solved for a symbol y, which it replaces: with b = p - b_0 - q[t-1], the coefficient
    p - b_0 - q[t-1] + i*omega becomes b + i*omega.
    """
    best = M
    for name, e in sorted(system.definitions.items(), key=lambda row: -sp.count_ops(row[1])):
        symbol = sp.Symbol(name, **({} if system.is_complex(name) else {"real": True}))
        for y in sorted(e.free_symbols & best.free_symbols, key=lambda s: ("[" not in s.name, s.name)):
            other = _solved(e, y, symbol)
            if other is not None:
                rewritten = best.applyfunc(lambda a, y=y, other=other: sp.expand(a.subs(y, other)))
                best = min(best, rewritten, key=_length)
        constant = best.applyfunc(lambda a, e=e, symbol=symbol: a.subs(e, symbol))
        best = min(best, constant, key=_length)
    shorter = _length(best) < _length(M)
    return best if shorter and len(held(best)) <= len(held(M)) else None


def _solved(e: sp.Expr, y: sp.Symbol, symbol: sp.Symbol) -> sp.Expr | None:
    c = sp.diff(e, y)
    if not c.is_number or c == 0:
        return None
    return (symbol - e.subs(y, 0)) / c


def _length(M: sp.Matrix) -> tuple[int, int]:
    return len(held(M)), sum(map(sp.count_ops, M)) + len(M.free_symbols)


def at_rest(M: sp.Matrix, system: OdeSystem) -> sp.Matrix | None:
    """The matrix without events and with past states at their inits; None where it reads inputs or nothing held."""
    values = {}
    for s in held(M):
        match = HELD.match(s.name)
        name = match["name"] if match else ""
        if name in {e.name for e in system.events}:
            values[s] = sp.S.Zero
        elif name in {x.name for x in system.states} and system.state(name).init.is_number:
            values[s] = system.state(name).init
    return M.subs(values) if values and not held(M.subs(values)) else None
