"""The leak of a fractional state: the part of its right side that modes take over."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from neuroode.analysis.linearity import STEPS, running
from neuroode.spec.quantities import literal
from neuroode.spec.types import ParameterDecl
from neuroode.system.show import show
from neuroode.system.types import OdeSystem


@dataclass(frozen=True, slots=True)
class Leak:
    """right side = -lam*v + rest; lam 0 where none is known to be positive, `why` says so."""

    lam: sp.Expr
    rest: sp.Expr
    why: str


def split_leak(system: OdeSystem, name: str) -> Leak:
    """The leak that stands still over all steps and is positive for all values in the parameters' domains."""
    flow, v = system.flows[name], running(system)[name]
    if any(part.has(v) for kind in STEPS for part in flow.atoms(kind)):
        return Leak(sp.S.Zero, flow, f"{name} stands inside a step or detached value: no leak of its own")
    slope = sp.diff(flow, v)
    slope = sp.expand(slope) if slope.is_polynomial(v) else slope
    still = sp.Add(*[term for term in sp.Add.make_args(slope) if _still(system, term)])
    if still == 0:
        return Leak(sp.S.Zero, flow, "no leak")
    if not _positive(system, -still):
        reason = (
            f"its leak {show(-still)} is not positive for all values of its parameters, so it is no part of the modes"
        )
        return Leak(sp.S.Zero, flow, reason)
    rest = flow - still * v
    rest = sp.expand(rest) if rest.is_polynomial(v) else sp.simplify(rest)
    return Leak(-still, rest, f"leak {show(-still)}")


def _still(system: OdeSystem, e: sp.Expr) -> bool:
    names = {p.name for p in system.spec.parameters}
    return all(s.name in names or s.name == "dt" for s in e.free_symbols)


def _positive(system: OdeSystem, e: sp.Expr) -> bool:
    """By domains; a constant is taken at its declared value."""
    return bool(e.subs(constants(system)).is_positive)


def constants(system: OdeSystem) -> dict[sp.Symbol, sp.Expr]:
    """Parameters that are never trained, where they are one number, at their declared value."""
    rows = [(system.symbols.get(p.name), _number(p)) for p in system.spec.parameters if not p.trainable]
    return {s: x for s, x in rows if s is not None and x is not None}


def _number(p: ParameterDecl) -> sp.Expr | None:
    found = literal(p.value) if p.value is not None and not isinstance(p.value, tuple) else None
    return None if found is None else sp.Rational(found.value.numerator, found.value.denominator)
