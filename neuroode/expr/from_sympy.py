"""Sympy objects to nodes, through the same whitelist as text."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from neuroode._errors import SpecError
from neuroode.expr.nodes import Binary, Call, Compare, Cond, Expr, Logic, Neg, Num, Ref
from neuroode.expr.parse import parse_expr

_RENAMED = {
    "Abs": "abs", "re": "real", "im": "imag", "conjugate": "conj", "ceiling": "ceil", "Min": "min", "Max": "max",
}  # fmt: skip
_KNOWN = (
    "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "erf", "sign", "floor", "arg",
)  # fmt: skip
_RELATIONS = {
    "StrictGreaterThan": ">", "GreaterThan": ">=", "StrictLessThan": "<", "LessThan": "<=",
}  # fmt: skip
_HINT = "declare an event and read its name, or use where(cond, a, b)"


def node_of(value: Any) -> Expr | Cond:
    """The node of a sympy expression or condition.

    Raises:
        SpecError: it holds what the language does not have.
    """
    try:
        return _node(value)
    except RecursionError as error:
        raise SpecError("a sympy expression is nested too deeply") from error


def is_sympy(value: object) -> bool:
    """Whether the value is a sympy object, told without importing sympy."""
    return any(str(base.__module__).split(".")[0] == "sympy" for base in type(value).__mro__)


def reference(name: str) -> Ref:
    """The reference that a symbol's name is: `v`, `x'`, `z[k, t-1]`.

    Raises:
        SpecError: the name is not one.
    """
    found = parse_expr(name)
    if not isinstance(found, Ref):
        raise SpecError(f"the symbol '{name}' is not a name", hint="a name is a letter, then letters, digits and '_'")
    return found


def _node(value: Any) -> Expr | Cond:
    for test, convert in _CASES:
        if test(value):
            return convert(value)
    name = type(value).__name__
    if name in ("Piecewise", "Heaviside", "ITE", "DiracDelta"):
        raise SpecError(f"sympy.{name} stands in an expression", hint=_HINT)
    raise SpecError(f"{name} has no counterpart in the language: {str(value)[:80]}")


def _integer(value: int) -> Expr:
    number = Num(Fraction(abs(value)))
    return Neg(number) if value < 0 else number


def _rational(value: Any) -> Expr:
    top = Binary("/", Num(Fraction(abs(int(value.p)))), Num(Fraction(int(value.q))))
    return Neg(top) if value < 0 else top


def decimal(value: float) -> Expr:
    """A float as the exact decimal that Python prints for it.

    Raises:
        SpecError: it is not a number.
    """
    text = repr(float(value))
    if text in ("inf", "-inf"):
        return Neg(Ref("inf")) if text.startswith("-") else Ref("inf")
    if text == "nan":
        raise SpecError("nan is not a number")
    text = text.removesuffix(".0")
    number = parse_expr(text.lstrip("-"))
    return Neg(number) if text.startswith("-") else number


def _sum(value: Any) -> Expr:
    total: Expr | None = None
    for term in value.as_ordered_terms():
        node = expression(_node(term))
        if total is None:
            total = node
        elif isinstance(node, Neg):
            total = Binary("-", total, node.arg)
        else:
            total = Binary("+", total, node)
    assert total is not None
    return total


def _product(value: Any) -> Expr:
    """Factors with negative powers go below the line, a negative number becomes a sign."""
    coefficient, rest = value.as_coeff_Mul()
    above: list[Expr] = []
    below: list[Expr] = []
    size = abs(coefficient)
    if size != 1:
        numerator, denominator = (size.p, size.q) if size.is_Rational else (size, 1)
        above += [expression(_node_of_number(numerator))] if numerator != 1 else []
        below += [_integer(int(denominator))] if denominator != 1 else []
    for factor in rest.as_ordered_factors():
        base, exponent = factor.as_base_exp()
        if factor.is_Pow and exponent.is_number and exponent.is_negative:
            below.append(expression(_node(base ** (-exponent))))
        else:
            above.append(expression(_node(factor)))
    node = _chain(above) or Num(Fraction(1))
    for each in below:
        node = Binary("/", node, each)
    return Neg(node) if coefficient.is_negative else node


def _node_of_number(value: Any) -> Expr | Cond:
    return _integer(value) if isinstance(value, int) else _node(value)


def _chain(factors: list[Expr]) -> Expr | None:
    node: Expr | None = None
    for each in factors:
        node = each if node is None else Binary("*", node, each)
    return node


def _power(value: Any) -> Expr:
    base, exponent = value.args
    if exponent.is_Rational and exponent.p == 1 and exponent.q == 2:
        return Call("sqrt", (_node(base),))
    if exponent.is_Rational and exponent.is_negative:
        return Binary("/", Num(Fraction(1)), expression(_node(base**-exponent)))
    return Binary("^", expression(_node(base)), expression(_node(exponent)))


def _function(value: Any) -> Expr:
    name = type(value).__name__
    args = tuple(_node(each) for each in value.args)
    if name == "where":
        return Call("where", args)
    for each in args:
        expression(each)
    return Call(_RENAMED.get(name, name), args)


def expression(node: Expr | Cond) -> Expr:
    """The node, which must be a number.

    Raises:
        SpecError: it is a condition.
    """
    if isinstance(node, Compare | Logic):
        raise SpecError("a relation stands in an expression", hint=_HINT)
    return node


def _relation(value: Any) -> Cond:
    left, right = (expression(_node(each)) for each in value.args)
    return Compare(_RELATIONS[type(value).__name__], left, right)


def _logic(value: Any) -> Cond:
    name = type(value).__name__.lower()
    parts = sorted((_node(each) for each in value.args), key=repr)
    if name == "not":
        return Logic("not", tuple(parts))  # type: ignore[arg-type]
    node = parts[0]
    for each in parts[1:]:
        node = Logic(name, (node, each))  # type: ignore[arg-type]
    return node  # type: ignore[return-value]


def _is_function(value: Any) -> bool:
    name = type(value).__name__
    return getattr(value, "is_Function", False) and (name in _KNOWN or name in _RENAMED or _is_undefined(value))


def _is_undefined(value: Any) -> bool:
    return type(type(value)).__name__ == "UndefinedFunction"


_CASES: tuple[tuple[Callable[[Any], bool], Callable[[Any], Expr | Cond]], ...] = (
    (lambda v: isinstance(v, bool), lambda v: _refuse_truth(v)),
    (lambda v: isinstance(v, int), _integer),
    (lambda v: isinstance(v, float), decimal),
    (lambda v: isinstance(v, complex), lambda v: _complex(v)),
    (lambda v: getattr(v, "is_Symbol", False), lambda v: reference(v.name)),
    (lambda v: getattr(v, "is_Integer", False), lambda v: _integer(int(v))),
    (lambda v: getattr(v, "is_Rational", False), _rational),
    (lambda v: getattr(v, "is_Float", False), lambda v: decimal(float(v))),
    (lambda v: type(v).__name__ == "ImaginaryUnit", lambda _: Ref("i")),
    (lambda v: type(v).__name__ == "Pi", lambda _: Ref("pi")),
    (lambda v: type(v).__name__ == "Exp1", lambda _: Call("exp", (Num(Fraction(1)),))),
    (lambda v: type(v).__name__ == "Infinity", lambda _: Ref("inf")),
    (lambda v: type(v).__name__ == "NegativeInfinity", lambda _: Neg(Ref("inf"))),
    (lambda v: getattr(v, "is_Add", False), _sum),
    (lambda v: getattr(v, "is_Mul", False), _product),
    (lambda v: getattr(v, "is_Pow", False), _power),
    (lambda v: type(v).__name__ in _RELATIONS, _relation),
    (lambda v: type(v).__name__ in ("And", "Or", "Not"), _logic),
    (_is_function, _function),
)


def _refuse_truth(value: bool) -> Expr:
    raise SpecError(f"{value} is not a number")


def _complex(value: complex) -> Expr:
    imaginary = Binary("*", decimal(value.imag), Ref("i"))
    return Binary("+", decimal(value.real), imaginary) if value.real else imaginary
