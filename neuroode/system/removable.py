"""Removable 0/0: x/(exp(c*x) - 1) and x/(1 - exp(c*x)) are written through phi_1 (`exprel`), which has no gap at 0.

Others are found by `gap`: where a divisor is 0 along a line x = r, is the dividend 0 there too?
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sympy as sp

from neuroode.expr.functions import phi


def through_exprel(value: sp.Expr) -> sp.Expr:
    """A product with its removable quotients rewritten: c*u/(e^u - 1) is c/phi_1(u). Anything else as it is."""
    factors = sp.Mul.make_args(value)
    for i, factor in enumerate(factors):
        gap = _exp_gap(factor)
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


def _exp_gap(factor: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
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


MAX_OPERATIONS = 200  # of a quotient that is looked at


def gap(value: sp.Expr) -> tuple[sp.Symbol, sp.Expr] | None:
    """(x, r) where the product is 0/0 on x = r; None where it is not, or is larger than 200 operations."""
    factors = sp.Mul.make_args(value)
    below = [f.base for f in factors if f.is_Pow and f.exp.is_Integer and f.exp < 0]
    if not below or sp.count_ops(value) > MAX_OPERATIONS:
        return None
    above = sp.Mul(*[f for f in factors if not (f.is_Pow and f.exp.is_Integer and f.exp < 0)])
    roots = (root for base in below for root in _roots(base))
    return next(((x, r) for x, r in roots if sp.expand(above.subs(x, r)) == 0), None)


def _roots(divisor: sp.Expr) -> Iterator[tuple[sp.Symbol, sp.Expr]]:
    """Where a divisor is 0: linear in a symbol itself, or a function of something that is, as in exp(c*x) - 1."""
    inner = [part.args[0] for part in divisor.atoms(sp.exp, sp.sin, sp.cos, sp.tan, sp.sinh, sp.cosh, sp.tanh, sp.Abs)]
    inner += [part.args[0] - 1 for part in divisor.atoms(sp.log)]
    for u in [divisor, *inner]:
        for x in sorted(u.free_symbols, key=str):
            slope = sp.diff(u, x)
            root = -u.subs(x, 0) / slope if slope != 0 and not slope.has(x) else None
            if root is not None and _reaches(x, root) and sp.expand(divisor.subs(x, root)) == 0:
                yield x, root


def _reaches(x: sp.Symbol, value: sp.Expr) -> bool:
    """Whether the symbol may have the value: a positive parameter is never 0."""
    return not (x.is_positive and (value.is_nonpositive or value.is_zero))
