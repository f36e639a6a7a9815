"""Equations and resets: texts of several statements, each with a left side of its own kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from neuroode._errors import SpecError
from neuroode.expr.nodes import Expr, Mark, Num, Ref
from neuroode.expr.origin import Origin
from neuroode.expr.parse import Parser, expression
from neuroode.expr.tokens import Token, number

ZERO = Num(Fraction(0))
ASSIGNMENTS = ("=", "+=", "-=", "*=")
FORMS = "dv/dt = , v' = , v[t] = , dv = , D^alpha v = or v ="


@dataclass(frozen=True, slots=True)
class Statement:
    """One equation or assignment as written.

    kind: flow, map, fractional, definition (differentials too: only the model can tell them) or assignment.
    """

    kind: str
    name: str
    rhs: Expr
    op: str = "="
    order: int = 1
    axes: tuple[str, ...] = ()
    fractional: tuple[tuple[Expr | None, Expr], ...] = ()
    complex: bool = False
    mark: Mark = field(default=Mark(), compare=False)


def parse_equations(text: str, origin: Origin | None = None) -> tuple[Statement, ...]:
    """The equations of a text, in its order.

    Raises:
        SpecError: a statement is not an equation of the language.
    """
    return _statements(Parser(text, origin), _equation)


def parse_reset(text: str, origin: Origin | None = None) -> tuple[Statement, ...]:
    """The assignments of a reset, in the order of the text.

    Raises:
        SpecError: a statement is not `NAME = expr` with one of = += -= *=.
    """
    return _statements(Parser(text, origin), _assignment)


def parse_left(text: str, origin: Origin | None = None) -> Statement:
    """A left side alone, such as `dv/dt` or `q[k, t]`, with 0 on its right.

    Raises:
        SpecError: the text is not a left side.
    """
    parser = Parser(text, origin)
    left = _left(parser)
    if parser.next.kind != "stop":
        parser.fail("expected the end of the left side")
    return left


def _statements(parser: Parser, one: Callable[[Parser], Statement]) -> tuple[Statement, ...]:
    found: list[Statement] = []
    while parser.next.kind != "stop":
        if parser.next.kind == "end":
            parser.take()
            continue
        found.append(one(parser))
        if parser.next.kind not in ("end", "stop"):
            parser.fail("expected the end of the statement")
    return tuple(found)


def _equation(parser: Parser) -> Statement:
    left = _left(parser)
    if parser.next.text in ASSIGNMENTS[1:]:
        parser.fail("an equation is written with '='", "changes such as v -= 1 belong into the reset of an event")
    if not parser.accept("="):
        parser.fail("expected '='", f"an equation begins with {FORMS}")
    rhs = expression(parser.parse())
    return replace(left, rhs=rhs, complex=_suffix(parser, left))


def _suffix(parser: Parser, left: Statement) -> bool:
    colon = parser.accept(":")
    if not colon:
        return False
    if not parser.accept("complex"):
        parser.fail("expected 'complex' after ':'", "the only suffix is : complex")
    if left.kind == "definition" and not left.name.startswith("d"):
        hint = "a definition is complex where its right side is"
        raise SpecError("': complex' belongs to the equation of a state", place=colon.place, hint=hint)
    return True


def _assignment(parser: Parser) -> Statement:
    token = _name(parser, "the name of a state")
    if parser.next.text == "'":
        parser.fail("a reset assigns names without primes", "write a first-order equation for the derivative")
    axes, timed = _left_indices(parser)
    if timed:
        raise SpecError(f"a reset assigns '{token.text}', without a time index", place=token.place)
    op = parser.accept(*ASSIGNMENTS)
    if not op:
        parser.fail("expected = += -= or *=")
    rhs = expression(parser.parse())
    return Statement("assignment", token.text, rhs, op.text if op else "=", axes=axes, mark=token.mark)


def _left(parser: Parser) -> Statement:
    if _is_fractional(parser):
        return _fractional(parser)
    start = parser.at
    token = _name(parser, "the left side of an equation")
    primes = 0
    while parser.accept("'"):
        primes += 1
    axes, timed = _left_indices(parser)
    kind, name, order = "definition", token.text, 1
    if timed:
        kind = "map"
    elif primes:
        kind, order = "flow", primes
    elif parser.next.text == "/" and token.text.startswith("d"):
        kind, name = "flow", _derivative(parser, token)
    if timed and primes:
        raise SpecError("a left side has primes or [t], not both", place=token.place, hint=f"begin with {FORMS}")
    last = parser.tokens[parser.at - 1]
    mark = replace(parser.tokens[start].mark, width=last.stop - token.start)
    return Statement(kind, name, ZERO, order=order, axes=axes, mark=mark)


def _derivative(parser: Parser, token: Token) -> str:
    """The name v of `dv/dt`, of which `dv` is read."""
    parser.take()
    if not parser.accept("dt"):
        parser.fail(f"expected 'dt' after '{token.text}/'")
    if len(token.text) == 1:
        raise SpecError("'d/dt' names no state", place=token.place, hint="write dv/dt = ...")
    if not token.text[1].isalpha():
        raise SpecError(f"'{token.text[1:]}' is not a name", place=token.place)
    return token.text[1:]


def _name(parser: Parser, what: str) -> Token:
    if parser.next.kind != "name":
        parser.fail(f"expected {what}", f"an equation begins with {FORMS}" if "equation" in what else "")
    return parser.take()


def _left_indices(parser: Parser) -> tuple[tuple[str, ...], bool]:
    """The axes on a left side, and whether `t` stands after them."""
    if parser.next.text != "[":
        return (), False
    opening = parser.next
    indices, time = parser.indices()
    for index in indices:
        if not isinstance(index, str):
            hint = "an axis on the left makes one equation per value; read single entries on the right"
            raise SpecError(f"the left side has the number {index} as an index", place=opening.place, hint=hint)
    if time and time.lag != ZERO:
        raise SpecError(
            "a map assigns [t] only", place=time.mark.place, hint="write v[t] = ... with v[t-1] on the right"
        )
    return tuple(str(i) for i in indices), time is not None


def _is_fractional(parser: Parser) -> bool:
    """Whether `D ^` stands before the `=` of this statement."""
    for here, after in zip(parser.tokens[parser.at :], parser.tokens[parser.at + 1 :], strict=False):
        if here.kind in ("end", "stop") or here.text == "=":
            return False
        if here.text == "D" and after.text in ("^", "**"):
            return True
    return False


def _fractional(parser: Parser) -> Statement:
    start = parser.next
    terms, refs = [], []
    while True:
        term, ref = _fractional_term(parser)
        terms.append(term)
        refs.append(ref)
        if not parser.accept("+"):
            break
    for ref in refs[1:]:
        if (ref.name, ref.indices) != (refs[0].name, refs[0].indices):
            what = f"one equation for '{refs[0].name}' and '{ref.name}'"
            raise SpecError(what, place=ref.mark.place, hint="all D^alpha of a line are of one state")
    mark = replace(start.mark, width=parser.tokens[parser.at - 1].stop - start.start)
    axes = tuple(str(i) for i in refs[0].indices)
    return Statement("fractional", refs[0].name, ZERO, axes=axes, fractional=tuple(terms), mark=mark)


def _fractional_term(parser: Parser) -> tuple[tuple[Expr | None, Expr], Ref]:
    """`[coefficient *] D^order name`: the coefficient is a product that ends before `* D ^`."""
    coefficient = None
    if not _at_operator(parser, 0):
        coefficient = _coefficient(parser)
    parser.take()
    parser.take()
    order = _order(parser)
    token = _name(parser, "the name of the state after D^alpha")
    axes, timed = _left_indices(parser)
    if timed:
        raise SpecError(f"D^alpha {token.text} has no time index", place=token.place)
    return (coefficient, order), Ref(token.text, 0, axes, mark=token.mark)


def _at_operator(parser: Parser, ahead: int) -> bool:
    tokens = parser.tokens[parser.at + ahead : parser.at + ahead + 2]
    return len(tokens) == 2 and tokens[0].text == "D" and tokens[1].text in ("^", "**")


def _coefficient(parser: Parser) -> Expr:
    """Parse the tokens before `* D ^` as an expression of their own."""
    stop, level = parser.at, 0
    while not (level == 0 and parser.tokens[stop].text == "*" and _at_operator(parser, stop - parser.at + 1)):
        token = parser.tokens[stop]
        level += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if (
            token.kind in ("end", "stop")
            or token.text == "="
            or (level == 0 and token.text in ("+", "-") and stop > parser.at)
        ):
            parser.at = stop
            parser.fail("expected '* D^alpha'", "write c*D^alpha v, with brackets around a sum")
        stop += 1
    rest, ending = parser.tokens[stop:], replace(parser.tokens[stop], kind="stop", text="")
    parser.tokens = [*parser.tokens[:stop], ending]
    node = expression(parser.parse())
    if parser.at != stop:
        parser.fail("expected the end of the coefficient")
    parser.tokens = [*parser.tokens[:stop], *rest]
    parser.take()
    return node


def _order(parser: Parser) -> Expr:
    token = parser.next
    if token.kind == "number":
        parser.take()
        return Num(number(token), mark=token.mark)
    if token.kind == "name":
        parser.take()
        return Ref(token.text, mark=token.mark)
    if token.text != "(":
        parser.fail("expected the order after 'D^'", "write D^0.5 v, D^alpha v or D^(1 - a) v")
    return expression(parser.operand())
