"""Expressions drawn from the grammar: their values through text, sympy and the interpreter against Python's own."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neuroode as no
from neuroode.expr.parse import parse_expr
from neuroode.expr.show import show
from neuroode.program import interpret
from neuroode.spec.read_yaml import read_text

POINT = {"I": 0.7312, "J": -1.3127, "K": 2.4193}
FUNCTIONS = {
    "exp": math.exp, "sin": math.sin, "cos": math.cos, "tanh": math.tanh, "abs": abs, "floor": math.floor,
    "ceil": math.ceil, "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "erf": math.erf, "sinh": math.sinh,
    "relu": lambda x: max(x, 0), "softplus": lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0),
    "sign": lambda x: (x > 0) - (x < 0), "round": round, "cosh": math.cosh,
    "exprel": lambda x: math.expm1(x) / x if x else 1.0,
}  # fmt: skip
TWO = {"min": min, "max": max}

Drawn = tuple[str, float]  # text, value


def _number(value: float) -> Drawn:
    return f"{value:g}", float(f"{value:g}")


LEAVES = st.one_of(
    st.sampled_from(list(POINT.items())),
    st.floats(0.05, 9.0).map(lambda x: _number(round(x, 3))),
    st.integers(0, 7).map(lambda n: (str(n), float(n))),
    st.just(("pi", math.pi)),
)


def _binary(op: str, a: Drawn, b: Drawn) -> Drawn:
    x, y = a[1], b[1]
    if op == "/":
        return f"({a[0]})/({b[0]})", x / y if y else math.nan
    return f"({a[0]}) {op} ({b[0]})", {"+": x + y, "-": x - y, "*": x * y}[op]


def _apply(f: str, a: Drawn) -> Drawn:
    try:
        return f"{f}({a[0]})", float(FUNCTIONS[f](a[1]))
    except (OverflowError, ValueError):
        return a


def _power(a: Drawn, n: int) -> Drawn:
    try:
        return f"({a[0]})^{n}" if n >= 0 else f"({a[0]})^({n})", a[1] ** n
    except (OverflowError, ZeroDivisionError):
        return a


def _where(op: str, a: Drawn, b: Drawn, c: Drawn, d: Drawn) -> Drawn:
    holds = {">": a[1] > b[1], "<=": a[1] <= b[1], ">=": a[1] >= b[1], "<": a[1] < b[1]}[op]
    return f"where({a[0]} {op} {b[0]}, {c[0]}, {d[0]})", c[1] if holds else d[1]


def _above(below: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    return st.one_of(
        st.builds(_binary, st.sampled_from("+-*/"), below, below),
        st.builds(_apply, st.sampled_from(list(FUNCTIONS)), below),
        st.builds(_power, below, st.integers(-3, 4)),
        st.builds(lambda a: (f"-({a[0]})", -a[1]), below),
        st.builds(
            lambda f, a, b: (f"{f}({a[0]}, {b[0]})", TWO[f](a[1], b[1])), st.sampled_from(list(TWO)), below, below
        ),
        st.builds(_where, st.sampled_from([">", "<=", ">=", "<"]), below, below, below, below),
    )


EXPRESSIONS = st.recursive(LEAVES, _above, max_leaves=10)


def compiled(text: str) -> float | None:
    """The value of the text as an output of a neuron; None where our stages refuse it (0/0, zoo, an overflow)."""
    unread = " + ".join(f"0*{n}" for n in POINT)
    inputs = "{" + ", ".join(f"{n}: current" for n in POINT) + "}"
    try:
        spec = read_text(f'neuron: x\ndt: 1\ninputs: {inputs}\nequations: v[t] = {unread}\noutputs: {{y: "{text}"}}\n')
        program = no.Neuron.from_spec(spec).program()
    except no.NeuroodeError as error:
        assert str(error)  # noqa: PT017
        return None
    values = {n: np.full((1, 1, 1), x) for n, x in POINT.items()}
    return float(interpret.run(program, {"dt": np.asarray(1.0)}, values).outputs["y"].ravel()[0])


def check(drawn: Drawn) -> None:
    text, wanted = drawn
    node = parse_expr(text)
    assert parse_expr(show(node)) == node
    found = compiled(text)
    if found is None or not math.isfinite(wanted) or abs(wanted) > 1e9:
        return
    if any(f in text for f in ("floor", "ceil", "round", "sign", "where")):  # a step may lie at the value itself
        return
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6), text


QUICK = settings(
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LONG = settings(max_examples=3000, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(EXPRESSIONS)
def test_values(drawn: Drawn) -> None:
    check(drawn)


@pytest.mark.slow
@LONG
@given(EXPRESSIONS)
def test_many_values(drawn: Drawn) -> None:
    check(drawn)


COMPLEX = {
    "exp(0.3i + 0.2*I)": lambda i: cmath.exp(0.3j + 0.2 * i), "(1 + 2i)*I/(3 - i)": lambda i: (1 + 2j) * i / (3 - 1j),
    "(I + 2i)^3": lambda i: (i + 2j) ** 3, "sqrt(I + 2i)": lambda i: cmath.sqrt(i + 2j),
    "conj(I + 2i)*1i": lambda i: (i - 2j) * 1j, "log(I + 2i)": lambda i: cmath.log(i + 2j),
    "sin(0.2i + I)": lambda i: cmath.sin(0.2j + i), "tanh(0.2i + I)": lambda i: cmath.tanh(0.2j + i),
    "1/(I + i)^2": lambda i: 1 / (i + 1j) ** 2,
    "abs(I + i) + i*arg(I + i)": lambda i: abs(i + 1j) + 1j * cmath.phase(i + 1j),
}  # fmt: skip


@pytest.mark.parametrize("text", COMPLEX)
def test_complex_values(text: str) -> None:
    spec = read_text(f"neuron: x\ndt: 1\nequations: 'z[t] = {text} : complex'\noutputs: {{a: real(z), b: imag(z)}}\n")
    try:
        program = no.Neuron.from_spec(spec).program()
    except no.Unsupported:
        pytest.skip("this function of a complex number is refused")
    out = interpret.run(program, {"dt": np.asarray(1.0)}, {"I": np.full((1, 1, 1), 0.7)}).outputs
    wanted = COMPLEX[text](0.7)
    assert float(out["a"].ravel()[0]) == pytest.approx(wanted.real, rel=1e-13)
    assert float(out["b"].ravel()[0]) == pytest.approx(wanted.imag, rel=1e-13, abs=1e-15)
