"""Arbitrary texts give our errors or nodes that print and read back; values agree with Python's."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from neuroode import NeuroodeError
from neuroode.expr.nodes import Binary, Call, Compare, Expr, Logic, Neg, Num, Ref, TimeIndex
from neuroode.expr.parse import parse_cond, parse_expr
from neuroode.expr.show import show
from neuroode.expr.statements import parse_equations, parse_reset

LETTERS = "0123456789.eitkvdD+-*/^()[],<>=!: '\"#;\n\tmVsxyzwhereandornot_"
TEXTS = st.one_of(st.text(max_size=40), st.text(alphabet=LETTERS, max_size=60))

NAMES = st.sampled_from(["v", "w", "tau", "z1"])
NUMBERS = st.one_of(st.integers(0, 999).map(Fraction), st.decimals("0.001", "99", places=3).map(Fraction)).map(Num)
REFS = st.builds(Ref, NAMES, st.integers(0, 2), st.lists(st.sampled_from(["k", "l", 0, 3]), max_size=2).map(tuple))


def _above(below: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    compared = st.builds(Compare, st.sampled_from([">", ">=", "<", "<="]), below, below)
    both = st.builds(lambda op, a, b: Logic(op, (a, b)), st.sampled_from(["and", "or"]), compared, compared)
    conds = st.one_of(compared, both, st.builds(lambda a: Logic("not", (a,)), both))
    return st.one_of(
        st.builds(Binary, st.sampled_from("+-*/"), below, below),
        st.builds(lambda a: Binary("^", a, Ref("n")), below),
        st.builds(Neg, below),
        st.builds(lambda a: Call("exp", (a,)), below),
        st.builds(lambda c, a, b: Call("where", (c, a, b)), conds, below, below),
        st.builds(lambda lag: Ref("q", time=TimeIndex(lag)), below),
    )


EXPRS = st.recursive(st.one_of(NUMBERS, REFS), _above, max_leaves=12)


@settings(max_examples=1200, deadline=2000, database=None)
@given(TEXTS)
def test_arbitrary_text(text: str) -> None:
    for parse in (parse_expr, parse_cond):
        try:
            node = parse(text)
        except NeuroodeError as error:
            assert error.place is None or error.place.column >= 1  # noqa: PT017
        else:
            assert parse(show(node)) == node
    for statements in (parse_equations, parse_reset):
        try:
            statements(text)
        except NeuroodeError:
            continue


@settings(max_examples=600, deadline=2000, database=None)
@given(EXPRS)
def test_what_is_shown_reads_back(node: Expr) -> None:
    assert parse_expr(show(node)) == node
