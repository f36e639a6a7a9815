"""Nodes to text, with no bracket too many: `parse(show(n)) == n`."""

from __future__ import annotations

from fractions import Fraction

from neuroode.expr.nodes import Binary, Call, Compare, Logic, Neg, Node, Num, Ref, TimeIndex, children, fold

_LEVEL = {"or": 1, "and": 2, "not": 3, "+": 5, "-": 5, "*": 6, "/": 6, "^": 8}
_LEVEL |= dict.fromkeys((">", ">=", "<", "<="), 4)
_SIGN, _ATOM = 7, 9


def show(node: Node) -> str:
    """The text of an expression, a condition or a time index."""
    return fold(node, _text)


def show_number(value: Fraction) -> str:
    """A fraction as an exact decimal, or as a quotient where no decimal is exact."""
    if value < 0:
        return "-" + show_number(-value)
    places = _decimal_places(value.denominator)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(value.numerator * 10**places // value.denominator)
    stripped = digits.rstrip("0")
    exponent = len(digits) - 1 - places
    if value == 0 or -5 <= exponent <= 15:
        return _plain(digits, places)
    mantissa = stripped[0] + ("." + stripped[1:] if stripped[1:] else "")
    return f"{mantissa}e{exponent}"


def _plain(digits: str, places: int) -> str:
    if not places:
        return digits
    digits = digits.rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}"


def _decimal_places(denominator: int) -> int | None:
    """How many decimals hold 1/denominator exactly; None if no number of them does."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None


def _level(node: Node) -> int:
    match node:
        case Binary() | Compare() | Logic():
            return _LEVEL[node.op]
        case Neg():
            return _SIGN
        case Num() if node.value < 0 or _decimal_places(node.value.denominator) is None:
            return _LEVEL["/"]
    return _ATOM


def _text(node: Node, below: list[str]) -> str:
    match node:
        case Num():
            return show_number(node.value) + ("i" if node.imaginary else "") + (f" {node.unit}" if node.unit else "")
        case TimeIndex():
            return _time(node)
        case Ref():
            return _reference(node, below)
        case Call():
            return f"{node.name}({', '.join(below)})"
        case Neg():
            return "-" + _bracket(below[0], _level(node.arg) < _SIGN)
        case Logic(op="not"):
            return "not " + _bracket(below[0], _level(node.args[0]) < _LEVEL["not"])
        case Logic() | Compare() | Binary():
            return _infix(node, below)
    raise TypeError(f"not a node: {type(node).__name__}")


def _infix(node: Binary | Compare | Logic, below: list[str]) -> str:
    level = _LEVEL[node.op]
    left, right = children(node)
    if node.op == "^":
        # a sign may stand on the right of ^, never on its left
        return _bracket(below[0], _level(left) <= level) + "^" + _bracket(below[1], _level(right) < _SIGN)
    tight = node.op in "*/"
    glue = node.op if tight else f" {node.op} "
    return _bracket(below[0], _level(left) < level) + glue + _bracket(below[1], _level(right) <= level)


def _bracket(text: str, needed: bool) -> str:
    return f"({text})" if needed else text


def _reference(node: Ref, below: list[str]) -> str:
    inside = [str(i) for i in node.indices] + below
    return node.name + "'" * node.primes + (f"[{', '.join(inside)}]" if inside else "")


def _time(node: TimeIndex) -> str:
    """`t` and the terms of the lag with their signs turned."""
    if node.lag == Num(Fraction(0)):
        return "t"
    parts, lag = [], node.lag
    while isinstance(lag, Binary) and lag.op in "+-":
        parts.append(("-" if lag.op == "+" else "+") + _lag_term(lag.right))
        lag = lag.left
    if isinstance(lag, Neg):
        parts.append("+" + _lag_term(lag.arg))
    else:
        parts.append("-" + _lag_term(lag))
    return "t" + "".join(reversed(parts))


def _lag_term(node: Node) -> str:
    return _bracket(show(node), _level(node) < _LEVEL["*"] or isinstance(node, Neg))
