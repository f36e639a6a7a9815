"""Sympy's rational algebra, safe against powers that a model file makes huge.

`exp(1e9*a)` is exp(a) to the power of 10^9 to sympy, and a dense polynomial of that degree fills the memory of any
machine. Such powers are symbols here while the algebra runs; nothing is lost but identities between them.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

LARGEST = 64  # as an exponent that algebra may see; literal ones of the language are no larger


def factor(e: sp.Expr) -> sp.Expr:
    return _shielded(sp.factor, e)


def cancel(e: sp.Expr) -> sp.Expr:
    return _shielded(sp.cancel, e)


def together(e: sp.Expr) -> sp.Expr:
    return _shielded(sp.together, e)


def simplify(e: sp.Expr) -> sp.Expr:
    return _shielded(sp.simplify, e)


def _shielded(f: Callable[[sp.Expr], sp.Expr], e: sp.Expr) -> sp.Expr:
    huge = {x: sp.Dummy() for x in e.atoms(sp.Pow, sp.exp) if abs(_multiple(x)) > LARGEST}
    return f(e.xreplace(huge)).xreplace({d: x for x, d in huge.items()}) if huge else f(e)


def _multiple(x: sp.Expr) -> sp.Expr:
    """The largest number that multiplies a term of an exponent."""
    exponent = x.as_base_exp()[1]
    numbers = [abs(term.as_coeff_Mul()[0]) for term in sp.Add.make_args(exponent)]
    return max((n for n in numbers if n.is_Rational), default=sp.S.Zero)
