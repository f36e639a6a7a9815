"""Values: numbers, quantities such as `0.02 1/ms`, and expressions."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from neuroode._errors import SpecError
from neuroode.expr.nodes import Expr, Mark, Neg, Num
from neuroode.expr.origin import Origin
from neuroode.expr.parse import parse_expr
from neuroode.expr.units import is_unit_text
from neuroode.spec.tree import Map, Scalar, Tree, kind_of, refuse, text_of
from neuroode.spec.types import Quantity

_QUANTITY = re.compile(r"\s*(?P<sign>[+-]?)\s*(?P<number>[0-9.]+(?:[eE][+-]?[0-9]+)?)\s+(?P<unit>\S.*?)\s*")


def parse_value(text: str, origin: Origin | None = None) -> Expr:
    """The expression of a value, in which a lone number may carry a product of units.

    Raises:
        SpecError: the text is neither a quantity nor an expression.
    """
    found = _QUANTITY.fullmatch(text) if len(text) < 200 else None
    if not found or not is_unit_text(found["unit"]):
        return parse_expr(text, origin)
    lone = parse_expr(" " * found.start("number") + found["number"], origin)
    mark = Mark(1, found.start("number") + 1, len(text.strip()), origin)
    if not isinstance(lone, Num):
        return parse_expr(text, origin)
    number = replace(lone, unit=re.sub(r"\s+", "", found["unit"]), mark=mark)
    return Neg(number, mark=mark) if found["sign"] == "-" else number


def value_of(node: Tree, what: str) -> Expr:
    """The expression of a scalar node."""
    text_of(node, what)
    assert isinstance(node, Scalar)
    return parse_value(node.text, node.origin)


def value_or_list(node: Tree, what: str) -> Expr | tuple:
    """The expression of a scalar, or nested tuples of them for nested lists."""
    if isinstance(node, Scalar):
        return value_of(node, what)
    if isinstance(node, Map):
        refuse(node, f"{what} is {kind_of(node)}, not a value")
    return tuple(value_or_list(item, what) for item in node.items)


def literal(expr: Expr) -> Quantity | None:
    """The number, with its unit, that an expression is; None if it is more than a signed literal."""
    if isinstance(expr, Neg):
        inner = literal(expr.arg)
        return Quantity(value=-inner.value, unit=inner.unit) if inner else None
    if isinstance(expr, Num) and not expr.imaginary:
        return Quantity(value=expr.value, unit=expr.unit)
    return None


def quantity_of(node: Tree, what: str) -> Quantity:
    """A positive number with an optional unit.

    Raises:
        SpecError: the node is something else.
    """
    expr = value_of(node, what)
    found = literal(expr)
    if found is None:
        refuse(node, f"{what} is {kind_of(node)}, not a number", "write a number or a quantity such as 0.1 ms")
    if found.value <= Fraction(0):
        raise SpecError(f"{what} is {kind_of(node)}, not positive", place=node.place)
    return found


def whole_number(node: Tree, what: str) -> int:
    """A whole number of at least 1."""
    text = text_of(node, what)
    found = literal(value_of(node, what)) if re.fullmatch(r"\s*[-+]?[0-9.]+([eE][+-]?[0-9]+)?\s*", text) else None
    if found is None or found.value.denominator != 1 or found.value < 1:
        refuse(node, f"{what} is {kind_of(node)}, not a whole number of at least 1")
    return int(found.value)


def unit_of(node: Tree, what: str) -> str:
    """The text of a unit, without blanks."""
    text = re.sub(r"\s+", "", text_of(node, what))
    if not is_unit_text(text):
        hint = "write products and quotients of s V A S F Ohm Hz K m mol with SI prefixes, such as mV/ms"
        refuse(node, f"{what} is '{text}', not a unit", hint)
    return text
