"""The grammar: what texts mean, what is refused, and that nothing hangs."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest

from neuroode import NeuroodeError, SpecError
from neuroode.expr.nodes import Binary, Call, Compare, Logic, Neg, Num, Ref, TimeIndex, names, walk
from neuroode.expr.parse import parse_cond, parse_expr
from neuroode.expr.show import show
from neuroode.expr.statements import parse_equations, parse_left, parse_reset

X, Y, ONE, TWO = Ref("x"), Ref("y"), Num(Fraction(1)), Num(Fraction(2))


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("-x^2", Neg(Binary("^", X, TWO))),
        ("-x*y", Binary("*", Neg(X), Y)),
        ("x - y - 1", Binary("-", Binary("-", X, Y), ONE)),
        ("x/y/2", Binary("/", Binary("/", X, Y), TWO)),
        ("2^x^y", Binary("^", TWO, Binary("^", X, Y))),
        ("x**2", Binary("^", X, TWO)),
        ("x^-2", Binary("^", X, Neg(TWO))),
        ("+x", X),
        ("0.1", Num(Fraction(1, 10))),
        (".5e-3", Num(Fraction(1, 2000))),
        ("2i", Num(Fraction(2), imaginary=True)),
        ("50 mV", Num(Fraction(50), unit="mV")),
        ("x''", Ref("x", 2)),
        ("z[k, 0, t-1-k]", Ref("z", 0, ("k", 0), TimeIndex(Binary("+", ONE, Ref("k"))))),
        ("z[t]", Ref("z", time=TimeIndex())),
        ("z[t+1]", Ref("z", time=TimeIndex(Neg(ONE)))),
        ("where(x > 1, x, y)", Call("where", (Compare(">", X, ONE), X, Y))),
        ("(\n x\n)", X),
    ],
)
def test_expressions(text: str, node: object) -> None:
    assert parse_expr(text) == node


def test_conditions() -> None:
    a, b, c = (Compare(op, X, Num(Fraction(n))) for op, n in ((">", 1), ("<=", 2), ("<", 3)))
    assert parse_cond("x > 1 or x <= 2 and not x < 3") == Logic("or", (a, Logic("and", (b, Logic("not", (c,))))))
    assert parse_cond("(x > 1)") == a


def test_equations_of_every_kind() -> None:
    text = """
    dz[k]/dt = -z[k] : complex   # a flow
    x'' = -x; q[k, t] = q[k, t-1]
    c*D^a v + (1 + b)*D^0.5 v = (
        1 +
        2)
    dp[k] = p[k]*dt
    h = 2
    """
    found = parse_equations(text)
    assert [(s.kind, s.name, s.order, s.axes, s.complex) for s in found] == [
        ("flow", "z", 1, ("k",), True),
        ("flow", "x", 2, (), False),
        ("map", "q", 1, ("k",), False),
        ("fractional", "v", 1, (), False),
        ("definition", "dp", 1, ("k",), False),
        ("definition", "h", 1, (), False),
    ]
    assert [(c and show(c), show(a)) for c, a in found[3].fractional] == [("c", "a"), ("1 + b", "0.5")]


def test_resets() -> None:
    found = parse_reset("v -= v_th; w[k] = 0\nu *= 2")
    assert [(s.name, s.op, s.axes, show(s.rhs)) for s in found] == [
        ("v", "-=", (), "v_th"),
        ("w", "=", ("k",), "0"),
        ("u", "*=", (), "2"),
    ]
    assert parse_left("dv/dt").kind == "flow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2v", "missing operator between '2' and 'v'"),
        ("2 v", "missing operator between '2' and 'v'"),
        ("(x)(y)", "missing operator between '\\)' and '\\('"),
        ("x y", "missing operator between 'x' and 'y'"),
        ("012", "012 has a leading zero"),
        ("1e101", "outside 1e-100..1e100"),
        ("1e-999999999", "outside 1e-100..1e100"),
        ("x^65", "exponent is outside"),
        ("9^9^9^9", "outside"),
        ("((9^60)^60)^60", "outside"),
        ("x__y", "two underscores"),
        ("_x", "unexpected character '_'"),
        ("x.__class__", "unexpected character '.'"),
        ("v['a']", "expected an index"),
        ("x[k+1]", "is not a name"),
        ("x[t, k]", "time index stands last"),
        ("x[-1]", "expected an index"),
        ("f()", "has no argument"),
        ("x if y else 1", "missing operator"),
        ("lambda: 1", "end of the expression"),
        ("1_000", "missing operator|unexpected"),
        ("x == 1", "expected > >= < or <="),
        ("x & y", "unexpected character '&'"),
        ("(x > 1) + 1", "condition stands where a number"),
        ("exp(x > 1)", "condition stands where a number"),
        ("where(x, 1, 2)", "number stands where a condition"),
        ("(" * 61 + "1" + ")" * 61, "more than 60 levels of brackets"),
        ("-" * 61 + "1", "more than 60 levels"),
        ("1 +", "found the end"),
        ("", "found the end"),
        ("(x", "'\\(' is never closed"),
        ("x)", "closes nothing"),
        ("x'[k", "never closed"),
        ("2 ms s", "missing operator"),
        ("5 mV'", "end of the expression"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_expr(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v -= 1", "an equation is written with '='"),
        ("dv/dx = 1", "expected 'dt'"),
        ("d/dt = 1", "names no state"),
        ("v[t-1] = 1", "assigns \\[t\\] only"),
        ("v[0] = 1", "has the number 0 as an index"),
        ("v'[t] = 1", "primes or \\[t\\]"),
        ("v", "expected '='"),
        ("= 1", "expected the left side"),
        ("v = 1 : real", "expected 'complex'"),
        ("a - b*D^0.5 v = 1", "expected '\\* D\\^alpha'"),
        ("D^a v + D^b w = 1", "all D\\^alpha|one equation"),
        ("v = (1\nw = 2", "never closed"),
        ("v = 1 w = 2", "missing operator"),
    ],
)
def test_refused_equations(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_equations(text)


def test_places_count_lines_and_columns_from_one() -> None:
    with pytest.raises(SpecError) as caught:
        parse_equations("a = 1\n  b = 2v")
    assert caught.value.place is not None
    assert (caught.value.place.line, caught.value.place.column, caught.value.place.width) == (2, 7, 2)
    assert str(caught.value).splitlines()[1:3] == ["      b = 2v", "          ^^"]


def test_a_long_sum_is_no_trouble() -> None:
    text = "+".join(["v*w"] * 4000)
    start = time.process_time()
    node = parse_expr(text)
    assert names(node) == {"v", "w"}
    assert sum(1 for _ in walk(node)) == 3 * 4000 + 3999
    assert parse_expr(show(node)) == node
    assert hash(node) == hash(parse_expr(text))
    assert len(repr(node)) > 4000
    assert time.process_time() - start < 10


def test_a_statement_has_a_limit() -> None:
    with pytest.raises(SpecError, match="20000 characters"):
        parse_expr("+".join(["v*w"] * 6000))


@pytest.mark.parametrize(
    "text",
    [
        "2^" * 5000 + "1",
        "(" * 20000,
        "-" * 19000 + "x",
        "[" * 9000,
        "x'" * 9000,
        "not " * 4000,
        "a,b" * 6000,
        "1e" * 9000,
    ],
)
def test_odd_texts_end_quickly(text: str) -> None:
    start = time.process_time()
    with pytest.raises(NeuroodeError):
        parse_expr(text)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a-(b-c)", "a - (b - c)"),
        ("(a*b)*c", "a*b*c"),
        ("a*(b*c)", "a*(b*c)"),
        ("(a+b)^2", "(a + b)^2"),
        ("(-a)^2", "(-a)^2"),
        ("2^(-3)", "2^-3"),
        ("1e-3", "0.001"),
        ("1e30", "1e30"),
        ("z[k,t-(a+b)]", "z[k, t-a-b]"),
        ("(a>1 or b>1) and c>0", "(a > 1 or b > 1) and c > 0"),
    ],
)
def test_show_uses_few_brackets(text: str, shown: str) -> None:
    parse = parse_cond if "and" in text else parse_expr
    assert show(parse(text)) == shown
    assert parse(shown) == parse(text)
