"""Inequalities between parameters: a normal form without factors of known sign, and their solutions for one symbol.

Square roots are carried as nonnegative symbols while polynomials are taken apart, so `sqrt(1 - dt^2*omega^2)` needs no
assumption about its radicand beyond that it is real where the model is defined.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp
from sympy.core.function import AppliedUndef

from neuroode.analysis import algebra
from neuroode.system.show import show

MAX_OPERATIONS = 2_000
MAX_DEGREE = 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """lower <= symbol <= upper, valid where every expression of `where` is at least 0; several entries: all hold."""

    symbol: sp.Symbol
    lower: tuple[sp.Expr, ...] = ()
    upper: tuple[sp.Expr, ...] = ()
    where: tuple[sp.Expr, ...] = ()

    def __str__(self) -> str:
        text = _chain(_extreme("max", self.lower), show(self.symbol), _extreme("min", self.upper))
        return f"{text} where {' and '.join(f'{plain(e)} >= 0' for e in self.where)}" if self.where else text


def _chain(lower: str, name: str, upper: str) -> str:
    return (f"{lower} <= " if lower else "") + name + (f" <= {upper}" if upper else "")


def _extreme(of: str, sides: tuple[sp.Expr, ...]) -> str:
    texts = list(dict.fromkeys(map(plain, sides)))
    return texts[0] if len(texts) == 1 else f"{of}({', '.join(texts)})" if texts else ""


def plain(e: sp.Expr) -> str:
    """The text of an expression with its constants first: (-1 + sqrt(1 - dt^2*omega^2))/dt."""
    return show(e, order="rev-lex")


class Roots:
    """Square roots and opaque real functions of a few expressions as symbols, and back."""

    def __init__(self) -> None:
        self.bases: dict[sp.Dummy, sp.Expr] = {}
        self.opaque: dict[sp.Dummy, sp.Expr] = {}

    def hide(self, e: sp.Expr) -> sp.Expr:
        """The expression with every half-power b^(k/2) as r^k, and every function as a symbol."""
        for f in sorted((f for f in e.atoms(sp.Function) if not isinstance(f, AppliedUndef)), key=sp.count_ops):
            if f in e.atoms(sp.Function):
                e = e.subs(f, self._symbol(self.opaque, f, positive=f.is_positive or None))
        while halves := [p for p in e.atoms(sp.Pow) if p.exp.is_Rational and p.exp.q == 2]:
            p = min(halves, key=sp.count_ops)  # the inner ones first
            r = self._symbol(self.bases, p.base, nonnegative=True, positive=p.base.is_positive)
            e = e.xreplace({p: r**p.exp.p})
        return e

    def _symbol(self, table: dict[sp.Dummy, sp.Expr], e: sp.Expr, **facts: bool | None) -> sp.Dummy:
        for symbol, known in table.items():
            if known == e:
                return symbol
        symbol = sp.Dummy("r", real=True, **{k: v for k, v in facts.items() if v})
        table[symbol] = e
        return symbol

    def reduce(self, e: sp.Expr) -> sp.Expr:
        """Expanded, with r^2 written as what the root is of."""
        e = sp.expand(e)
        for r, base in self.bases.items():
            e = sp.expand(e.replace(lambda p, r=r: p.is_Pow and p.base == r, lambda p, b=base: _lower(p, b)))
        return e

    def always(self, e: sp.Expr) -> bool:
        """Whether an expression of these symbols is never negative; sqrt(1 - x), exp(-x) with x >= 0 are at most 1."""
        small = {r for r, base in self.bases.items() if (1 - base).is_nonnegative}
        small |= {r for r, f in self.opaque.items() if isinstance(f, sp.exp) and f.args[0].is_nonpositive}
        one = {r: 1 - sp.Dummy("g", nonnegative=True) for r in small}
        return bool(sp.expand(e.subs(one)).is_nonnegative)

    def restore(self, e: sp.Expr) -> sp.Expr:
        """The expression in its own terms again."""
        for r, base in reversed(self.bases.items()):
            e = e.xreplace({r: sp.sqrt(base)})
        for r, f in reversed(self.opaque.items()):
            e = e.xreplace({r: f})
        return e


def _lower(p: sp.Pow, base: sp.Expr) -> sp.Expr:
    half, odd = divmod(int(p.exp), 2) if p.exp.is_Integer else (0, 0)
    return base**half * p.base**odd if p.exp.is_Integer and p.exp > 0 else p


def normal(e: sp.Expr) -> sp.Expr:
    """An expression with the sign of `e`, without factors that are known to be positive, without denominators.

    True and False stand for expressions that are never negative, or always.
    """
    e = algebra.together(e)
    if e.is_nonnegative:
        return sp.true
    if e.is_negative:
        return sp.false
    above, below = sp.fraction(e)
    coefficient, factors = sp.factor_list(sp.expand(above))
    kept, sign = sp.S.One, sp.sign(coefficient)
    for factor, power in [*factors, *((f, p) for f, p in sp.factor_list(sp.expand(below))[1])]:
        if power % 2 == 0 or factor.is_nonnegative:
            continue
        if factor.is_nonpositive:
            sign = -sign
        else:
            kept *= factor
    sign *= sp.sign(sp.factor_list(sp.expand(below))[0])
    kept = _times(kept, sign)
    if _never_negative(kept):
        return sp.true
    return sp.false if sp.expand(kept).is_negative else kept


def _times(product: sp.Expr, sign: sp.Expr) -> sp.Expr:
    """The product with the sign inside one of its factors."""
    factors = [f if _positive_first(f) else -f for f in sp.Mul.make_args(product)]
    if sp.expand(sp.Mul(*factors) - sign * product) != 0:
        factors[-1] = -factors[-1]
    return sp.Mul(*[sp.expand(f) for f in factors])


def _positive_first(f: sp.Expr) -> bool:
    """Whether the term without most symbols, which is printed first, is positive."""
    return not plain(sp.expand(f)).startswith("-")


def _never_negative(e: sp.Expr) -> bool:
    """By sign of its terms, or as a quadratic without real roots that opens upwards."""
    e = sp.expand(e)
    if e.is_nonnegative:
        return True
    for x in sorted(e.free_symbols, key=str):
        if e.is_polynomial(x) and sp.degree(e, x) == 2:
            a, b, c = sp.Poly(e, x).all_coeffs()
            if a.is_positive and sp.expand(4 * a * c - b**2).is_nonnegative:
                return True
    return False


def solve(conditions: list[sp.Expr], symbol: sp.Symbol) -> Bounds | None:
    """What the conditions (each >= 0) ask of one symbol; None where they are not a simple interval."""
    lower: list[sp.Expr] = []
    upper: list[sp.Expr] = []
    where: list[sp.Expr] = []
    for c in (c for c in conditions if c.has(symbol)):
        found = _interval(c, symbol)
        if found is None:
            return None
        lower += [e for e in found.lower if not _below(e, symbol)]
        upper += found.upper
        where += found.where
    if not lower and not upper:
        return None
    return Bounds(symbol, tuple(dict.fromkeys(lower)), tuple(dict.fromkeys(upper)), tuple(dict.fromkeys(where)))


def _below(e: sp.Expr, symbol: sp.Symbol) -> bool:
    """Whether the symbol's own domain says already that it is above."""
    return bool(symbol.is_nonnegative and Roots().hide(e).is_nonpositive)


def _interval(c: sp.Expr, x: sp.Symbol) -> Bounds | None:
    if not c.is_polynomial(x) or sp.degree(c, x) > MAX_DEGREE:
        return None
    coefficients = sp.Poly(c, x).all_coeffs()
    if len(coefficients) == 2:
        return _linear(coefficients, x)
    a, b, d = coefficients
    square = algebra.together(b**2 - 4 * a * d)
    if not a.is_negative:  # outside the roots: no interval
        return None
    root = _square_root(square)
    low, high = (tidy((-b + s * root) / (2 * a)) for s in (1, -1))
    needs = normal(square)
    return Bounds(x, (low,), (high,), () if needs is sp.true else (needs,))


def _square_root(e: sp.Expr) -> sp.Expr:
    """sqrt(e) with squares of positive factors taken out and the rest kept in one radicand."""
    above, below = sp.fraction(e)
    coefficient, factors = sp.factor_list(sp.expand(above * below))
    outside, inside = sp.sqrt(abs(coefficient)).as_coeff_Mul()
    outside, inside = outside / below, inside**2 * sp.sign(coefficient)
    for factor, power in factors:
        half, odd = divmod(power, 2) if factor.is_positive else (0, power)
        outside, inside = outside * factor**half, inside * factor**odd
    return outside * sp.sqrt(sp.expand(inside))


def _linear(coefficients: list[sp.Expr], x: sp.Symbol) -> Bounds | None:
    a, b = coefficients
    edge = tidy(-b / a)
    if a.is_positive:
        return Bounds(x, (edge,))
    return Bounds(x, (), (edge,)) if a.is_negative else None


def tidy(e: sp.Expr) -> sp.Expr:
    """The shortest of a few equal forms."""
    forms = [e, algebra.cancel(e), algebra.factor(e), algebra.together(sp.expand(e))]
    return min(forms, key=lambda f: (sp.count_ops(f), str(f)))
