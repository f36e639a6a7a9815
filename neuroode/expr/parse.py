"""Text to nodes: an operator-precedence parser. It recurses on brackets only, so no text can exhaust the stack."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from neuroode._errors import SpecError
from neuroode.expr import tokens as tk
from neuroode.expr.limits import check_power
from neuroode.expr.nodes import Binary, Call, Compare, Cond, Expr, Logic, Mark, Neg, Num, Ref, TimeIndex
from neuroode.expr.origin import Origin, of_text
from neuroode.expr.tokens import Token
from neuroode.expr.unit_table import is_unit

KEYWORDS = ("and", "or", "not")
COMPARISONS = (">", ">=", "<", "<=")
_BINDS = {"or": 1, "and": 2, "not": 3, "+": 5, "-": 5, "*": 6, "/": 6, "sign": 7, "^": 8}
_BINDS |= dict.fromkeys(COMPARISONS, 4)
_MAX_PREFIX = tk.MAX_LEVELS  # signs, `not` and powers waiting for their operand


def parse_expr(text: str, origin: Origin | None = None) -> Expr:
    """The expression that the text is.

    Raises:
        SpecError: the text is not one expression of the language.
    """
    return expression(Parser(text, origin).whole())


def parse_cond(text: str, origin: Origin | None = None) -> Cond:
    """The condition that the text is, for guards and checks.

    Raises:
        SpecError: the text is not one condition of the language.
    """
    return condition(Parser(text, origin).whole())


def expression(node: Expr | Cond) -> Expr:
    """The node, which must be a number.

    Raises:
        SpecError: it is a condition.
    """
    if isinstance(node, Compare | Logic):
        hint = "use where(cond, a, b), or declare an event and read its name"
        raise SpecError("a condition stands where a number is expected", place=node.mark.place, hint=hint)
    return node


def condition(node: Expr | Cond) -> Cond:
    """The node, which must be a condition.

    Raises:
        SpecError: it is a number.
    """
    if not isinstance(node, Compare | Logic):
        raise SpecError(
            "a number stands where a condition is expected", place=node.mark.place, hint="compare it: x > 0"
        )
    return node


class Parser:
    """A cursor over the tokens of one text."""

    def __init__(self, text: str, origin: Origin | None = None) -> None:
        self.tokens = tk.tokenize(text, origin or of_text(text))
        self.at = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "stop"
        return token

    def accept(self, *texts: str) -> Token | None:
        return self.take() if self.next.kind in ("op", "name") and self.next.text in texts else None

    def expect(self, text: str, where: str) -> Token:
        return self.accept(text) or self.fail(f"expected '{text}' {where}")

    def fail(self, what: str, hint: str = "") -> Any:
        found = {"stop": "the end", "end": "the end of the line"}.get(self.next.kind, f"'{self.next.text}'")
        raise SpecError(f"{what}, found {found}", place=self.next.place, hint=hint)

    def whole(self) -> Expr | Cond:
        """Parse the text as one expression or condition; newlines around it do not count."""
        while self.next.kind == "end":
            self.take()
        node = self.parse()
        while self.next.kind == "end":
            self.take()
        if self.next.kind != "stop":
            self.fail("expected the end of the expression")
        return node

    def parse(self, above: int = 0) -> Expr | Cond:
        """Parse up to what cannot continue an expression, or to an operator that binds no tighter than `above`."""
        operands: list[Any] = []
        waiting: list[tuple[str, Token]] = []
        while True:
            self.prefixes(waiting)
            operands.append(self.operand())
            operator = self.infix()
            binds = _BINDS.get(operator, 0)
            binds = binds if binds > above else 0
            while waiting and (_BINDS[waiting[-1][0]] > binds or (_BINDS[waiting[-1][0]] == binds and operator != "^")):
                _reduce(operands, *waiting.pop())
            if not binds:
                return operands.pop()
            waiting.append((operator, self.take()))

    def prefixes(self, waiting: list[tuple[str, Token]]) -> None:
        while self.next.text in ("+", "-", "not"):
            token = self.take()
            if token.text != "+":
                waiting.append(("sign" if token.text == "-" else "not", token))
        if len(waiting) > _MAX_PREFIX:
            raise SpecError(f"more than {tk.MAX_LEVELS} levels of signs and powers", place=self.next.place)

    def infix(self) -> str:
        """The operator that comes next, or an empty text; two operands side by side are an error."""
        token = self.next
        operator = "^" if token.text == "**" else token.text
        if operator in _BINDS and operator != "not" and token.kind != "end":
            return operator
        if token.text in ("==", "!="):
            self.fail("expected > >= < or <=", "equality of real numbers is not an event; write x >= 1 and x <= 1")
        if token.kind in ("number", "name") or token.text in ("(", "["):
            self._missing_operator()
        return ""

    def _missing_operator(self) -> None:
        left, right = self.tokens[self.at - 1], self.next
        if right.text == "[":
            self.fail("only a name takes indices")
        hint = f"write {left.text}*{right.text}" if right.text != "(" else f"write {left.text}*(...)"
        hint = f"write (...)*{right.text}" if left.text in (")", "]") and right.text != "(" else hint
        hint = "write (...)*(...)" if left.text in (")", "]") and right.text == "(" else hint
        place = replace(left.mark, width=right.stop - left.start).place
        raise SpecError(f"missing operator between '{left.text}' and '{right.text}'", place=place, hint=hint)

    def operand(self) -> Expr | Cond:
        token = self.next
        if token.kind == "number":
            return self.number()
        if token.kind == "name" and token.text not in KEYWORDS:
            return self.name()
        if token.text == "(":
            self.take()
            inside = self.parse()
            self.expect(")", "after the bracket's content")
            return inside
        return self.fail("expected a number, a name or '('")

    def number(self) -> Num:
        """NUMBER, NUMBER `i` without a space, or NUMBER UNIT with one."""
        token = self.take()
        value, after = tk.number(token), self.next
        if after.kind != "name":
            return Num(value, mark=token.mark)
        joined = after.start == token.stop
        wide = replace(token.mark, width=after.stop - token.start)
        if joined and after.text == "i":
            self.take()
            return Num(value, imaginary=True, mark=wide)
        if not joined and is_unit(after.text):
            self.take()
            return Num(value, unit=after.text, mark=wide)
        if after.text not in KEYWORDS and joined and is_unit(after.text):
            hint = f"write {token.text}*{after.text}, or {token.text} {after.text} for the unit"
            what = f"missing operator between '{token.text}' and '{after.text}'"
            raise SpecError(what, place=wide.place, hint=hint)
        return Num(value, mark=token.mark)

    def name(self) -> Ref | Call:
        """NAME, its primes, and `(arguments)` or `[indices]` behind it."""
        token = self.take()
        primes = 0
        while self.accept("'"):
            primes += 1
        if self.next.text == "(" and not primes:
            return self.call(token)
        if self.next.text != "[":
            return Ref(token.text, primes, mark=replace(token.mark, width=len(token.text) + primes))
        indices, time = self.indices()
        width = self.tokens[self.at - 1].stop - token.start
        return Ref(token.text, primes, indices, time, mark=replace(token.mark, width=width))

    def call(self, token: Token) -> Call:
        opening = self.take()
        if self.next.text == ")":
            raise SpecError(f"'{token.text}()' has no argument", place=opening.place)
        args = [self.argument(token, 0)]
        while self.accept(","):
            args.append(self.argument(token, len(args)))
        closing = self.expect(")", f"after the arguments of {token.text}")
        return Call(token.text, tuple(args), mark=replace(token.mark, width=closing.stop - token.start))

    def argument(self, function: Token, position: int) -> Expr | Cond:
        node = self.parse()
        return condition(node) if function.text == "where" and position == 0 else expression(node)

    def indices(self) -> tuple[tuple[str | int, ...], TimeIndex | None]:
        """Axis indices, and last the time index if there is one."""
        self.take()
        found: list[str | int] = []
        time: TimeIndex | None = None
        while True:
            if self.next.text == "t" and self.next.kind == "name":
                time = self.time_index()
            else:
                found.append(self.axis_index())
            if not self.accept(","):
                break
            if time:
                raise SpecError("the time index stands last", place=time.mark.place, hint="write x[k, t-1]")
        self.expect("]", "after the indices")
        return tuple(found), time

    def axis_index(self) -> str | int:
        token = self.next
        if token.kind == "name" and token.text not in KEYWORDS:
            self._no_index_arithmetic(token)
            return self.take().text
        if token.kind == "number" and token.text.isdigit():
            self.take()
            return int(tk.number(token))
        hint = "an index is an axis, a whole number from 0, or t, t-1, t-k"
        return self.fail("expected an index", hint)

    def _no_index_arithmetic(self, token: Token) -> None:
        after = self.tokens[self.at + 1]
        if after.text in ("+", "-", "*", "/"):
            hint = f"couple neighbours by a matrix over two axes: sum_l(W[{token.text}, l]*q[l])"
            raise SpecError(f"index '{token.text}{after.text}...' is not a name", place=token.place, hint=hint)

    def time_index(self) -> TimeIndex:
        """`t`, then signed terms from left to right, kept as the lag that they make."""
        start = self.take()
        lag: Expr | None = None
        while sign := self.accept("+", "-"):
            term = expression(self.parse(above=_BINDS["+"]))
            if lag is None:
                lag = term if sign.text == "-" else Neg(term, mark=term.mark)
            else:
                lag = Binary("+" if sign.text == "-" else "-", lag, term, mark=term.mark)
        mark = replace(start.mark, width=self.tokens[self.at - 1].stop - start.start)
        return TimeIndex(lag or Num(Fraction(0)), mark=mark)


def _reduce(operands: list[Any], operator: str, token: Token) -> None:
    """Apply the operator to the operands on top of the stack."""
    right = operands.pop()
    if operator == "sign":
        operands.append(Neg(expression(right), mark=_between(token.mark, right.mark)))
    elif operator == "not":
        operands.append(Logic("not", (condition(right),), mark=_between(token.mark, right.mark)))
    else:
        left = operands.pop()
        operands.append(_binary(operator, left, right, _between(left.mark, right.mark)))


def _binary(operator: str, left: Any, right: Any, mark: Mark) -> Expr | Cond:
    if operator in ("and", "or"):
        return Logic(operator, (condition(left), condition(right)), mark=mark)
    if operator in COMPARISONS:
        if isinstance(left, Compare):
            hint = "write a < b and b < c"
            raise SpecError("two comparisons in a row", place=mark.place, hint=hint)
        return Compare(operator, expression(left), expression(right), mark=mark)
    node = Binary(operator, expression(left), expression(right), mark=mark)
    if operator == "^":
        check_power(node)
    return node


def _between(left: Mark, right: Mark) -> Mark:
    """From the start of one mark to the end of another, on one line."""
    if left.line != right.line:
        return left
    return replace(left, width=max(left.width, right.column + right.width - left.column))
