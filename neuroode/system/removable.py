"""Removable 0/0: x/(exp(c*x) - 1) and x/(1 - exp(c*x)) are written through phi_1 (`exprel`), which has no gap at 0."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from neuroode.expr.functions import phi


def through_exprel(value: sp.Expr) -> sp.Expr:
    """A product with its removable quotients rewritten: c*u/(e^u - 1) is c/phi_1(u). Anything else as it is."""
    factors = sp.Mul.make_args(value)
    for i, factor in enumerate(factors):
        gap = _gap(factor)
        if gap is None:
            continue
        others = [f for k, f in enumerate(factors) if k != i]
        if _bases(others) & _bases(sp.Mul.make_args(gap[1])):  # a factor of u itself
            return sp.Mul(*others) / gap[1] / (gap[0] * phi(1, gap[1]))
        for j, other in enumerate(factors):
            base, power = other.as_base_exp()
            ratio = _ratio(base, gap[1]) if i != j and power.is_Integer and power > 0 else None
            if ratio is not None:
                rest = sp.Mul(*[f for k, f in enumerate(factors) if k not in (i, j)], base ** (power - 1))
                return through_exprel(rest * ratio / (gap[0] * phi(1, gap[1])))
    return value


def _bases(factors: Iterable[sp.Expr]) -> set[sp.Expr]:
    """What stands above the line, numbers apart."""
    pairs = [f.as_base_exp() for f in factors]
    return {base for base, power in pairs if power.is_Integer and power > 0 and not base.is_number}


def _gap(factor: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
    """(k, u) where the factor is 1/(k*(e^u - 1))."""
    if not (factor.is_Pow and factor.exp == -1 and factor.base.is_Add and len(factor.base.args) == 2):
        return None
    k, power = factor.base.as_coeff_Add()
    scale, e = power.as_coeff_Mul()
    return (scale, e.args[0]) if isinstance(e, sp.exp) and k == -scale else None


def _ratio(x: sp.Expr, u: sp.Expr) -> sp.Expr | None:
    """c where x = c*u, u linear in a symbol of both; None if there is no such c."""
    for s in sorted(x.free_symbols & u.free_symbols, key=str):
        slope = sp.diff(u, s)
        if slope != 0 and not slope.has(s):
            c = sp.diff(x, s) / slope
            return c if c != 0 and not c.has(s) and sp.expand(x - c * u) == 0 else None
    return None
