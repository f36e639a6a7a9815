"""Degrees known before anything is expanded, and equations in one unknown that have a short solution.

`sympy.solve` and dense polynomials are never called on an expression whose degree was not bounded by its structure:
((x + 1)^64)^64 has three operations and four thousand terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from neuroode.analysis.inequality import tidy
from neuroode.analysis.linearity import STEPS
from neuroode.analysis.numbers import evaluate
from neuroode.analysis.riccati import neat

MAX_DEGREE = 4
MAX_TOTAL = 12  # degree in all symbols together, of what is expanded
MAX_OPERATIONS = 300


def degree(e: sp.Expr, *x: sp.Symbol) -> float:
    """A bound of the degree in some symbols together; inf where it is no polynomial in them."""
    if not e.has(*x):
        return 0
    if e in x:
        return 1
    if isinstance(e, sp.Add):
        return max(degree(a, *x) for a in e.args)
    if isinstance(e, sp.Mul):
        return sum(degree(a, *x) for a in e.args)
    if isinstance(e, sp.Pow) and e.exp.is_Integer and e.exp > 0:
        return int(e.exp) * degree(e.base, *x)
    return math.inf


def is_small(e: sp.Expr) -> bool:
    """Whether the expression may be expanded."""
    return bool(e.count_ops() <= MAX_OPERATIONS and _total(e) <= MAX_TOTAL)


def _total(e: sp.Expr) -> float:
    """Degree in everything, where what is no sum, product or power counts as a symbol and a quotient as its parts."""
    if isinstance(e, sp.Add):
        return max(_total(a) for a in e.args)
    if isinstance(e, sp.Mul):
        return sum(_total(a) for a in e.args)
    if isinstance(e, sp.Pow) and e.exp.is_Integer:
        return abs(int(e.exp)) * _total(e.base)
    return 0 if e.is_number else 1


def coefficients(e: sp.Expr, x: sp.Symbol) -> list[sp.Expr] | None:
    """Of a polynomial of degree at most 4 in x, the highest first; None where it is none, or too large to expand."""
    if degree(e, x) > MAX_DEGREE or not is_small(e):
        return None
    return sp.Poly(sp.expand(e), x).all_coeffs()


def affine(e: sp.Expr, x: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """(A, B) of e = A x + B with A free of x and not 0; None where it is not so."""
    if not e.has(x) or any(part.has(x) for kind in STEPS for part in e.atoms(kind)):
        return None
    by_x = sp.diff(e, x)
    if by_x.has(x):
        by_x = sp.expand(by_x) if is_small(by_x) else by_x
    if by_x == 0 or by_x.has(x):
        return None
    rest = e.xreplace({x: sp.S.Zero})
    return None if rest.has(sp.zoo, sp.nan, sp.oo) else (by_x, rest)


def slope(e: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """The derivative; of steps (floor, ceil, sign) 0, as it is almost everywhere."""
    kinds = (sp.Derivative, sp.Subs, sp.DiracDelta)
    return sp.diff(e, x).replace(lambda p: isinstance(p, kinds), lambda p: sp.S.Zero)


def roots_of_affine_parts(rows: sp.Matrix, x: sp.Symbol) -> list[float]:
    """Zeros of the sums that are linear in x and hold nothing else: (v - E) gives E."""
    found = set()
    for e in rows:
        for part in e.atoms(sp.Add):
            if part.free_symbols == {x} and degree(part, x) == 1:
                root = -part.xreplace({x: sp.S.Zero}) / sp.diff(part, x)
                value = number(root)
                if value is not None and abs(value) < 1e12:
                    found.add(value)
    return sorted(found)


def solutions(e: sp.Expr, x: sp.Symbol) -> list[sp.Expr]:
    """All solutions of e = 0 for x in closed form: polynomials up to degree 2, A exp(c x + d) + B; else none."""
    rows = coefficients(e, x)
    if rows is not None:
        return _roots(rows)
    whole = sp.expand(e, power_exp=False, power_base=False) if is_small(e) else e
    exponentials = [a for a in whole.atoms(sp.exp) if a.has(x)]
    if len(exponentials) != 1:
        return []
    (one,) = exponentials
    argument, y = affine(one.args[0], x), sp.Dummy("y", positive=True)
    parts = affine(whole.xreplace({one: y}), y)
    if argument is None or parts is None or any(p.has(x) for p in (*argument, *parts)):
        return []
    ratio = tidy(-parts[1] / parts[0])
    return [] if ratio.is_nonpositive else [tidy((sp.log(ratio) - argument[1]) / argument[0])]


def _roots(rows: Sequence[sp.Expr]) -> list[sp.Expr]:
    if len(rows) == 2:
        return [tidy(-rows[1] / rows[0])]
    if len(rows) != 3:
        return []
    a, b, c = rows
    middle, radicand = tidy(-b / (2 * a)), _shortest((b / (2 * a)) ** 2 - c / a)
    return [middle - sp.sqrt(radicand), middle + sp.sqrt(radicand)]


def _shortest(e: sp.Expr) -> sp.Expr:
    """Also with what stands beside a held input as one product: (u_1 - u_2)^2/4 - I/a."""
    return min(tidy(e), neat(sp.expand(e)), key=lambda f: (f.count_ops(), str(f)))


def real_roots(e: sp.Expr, x: sp.Symbol) -> list[float] | None:
    """All real roots of a polynomial with rational coefficients, isolated exactly; None where it is no such one."""
    rows = coefficients(e, x)
    if rows is None or len(rows) < 2 or not all(r.is_Rational for r in rows):
        return None
    return sorted({float(r) for r in sp.Poly(rows, x).real_roots()})


def number(e: sp.Expr, values: Mapping[sp.Symbol, sp.Expr] | None = None) -> float | None:
    """A formula as a real number, infinities too; None where it is none."""
    known: dict[str, Any] = {s.name: complex(x) for s, x in (values or {}).items() if s in e.free_symbols}
    if {s.name for s in e.free_symbols} - set(known) or e.has(sp.nan, sp.zoo):
        return None
    if e in (sp.oo, -sp.oo):
        return float(e)
    try:
        value = complex(evaluate(sp.Matrix([[e]]), known)[..., 0, 0])
    except (TypeError, OverflowError, ZeroDivisionError):  # a number beyond the range of floats, or no number
        return None
    return value.real if np.isfinite(value) and abs(value.imag) <= 1e-12 * (1 + abs(value.real)) else None
