"""Building SSA: folding keeps values, sharing is by value, stages are what is read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuroode._errors import LoweringError
from neuroode.program import interpret
from neuroode.program.builder import Builder, live

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.5, 1e300]
POINTS = [-3.0, -0.0, 0.0, 0.5, 1e200]


def value_of(b: Builder, name: str, x: float) -> float:
    return float(interpret.evaluate(b.assigns, {"x": np.float64(x)})[name])


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("left", [True, False])
def test_folding_keeps_the_value_at_finite_points(op: str, left: bool) -> None:
    for number, x in itertools.product(NUMBERS, POINTS):
        b = Builder()
        b.declare("x", "lane")
        c = b.const(number)
        name = b.emit(op, c, "x") if left else b.emit(op, "x", c)
        with np.errstate(all="ignore"):
            args = (np.float64(number), np.float64(x))
            wanted = getattr(np, {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide"}[op])(
                *(args if left else args[::-1])
            )
        if np.isfinite(wanted):
            assert value_of(b, name, x) == wanted, (number, x)


@pytest.mark.parametrize(
    ("op", "args", "folds"),
    [
        ("add", ("x", 0.0), True), ("add", (0.0, "x"), True), ("sub", ("x", 0.0), True), ("mul", ("x", 1.0), True),
        ("mul", (1.0, "x"), True), ("div", ("x", 1.0), True), ("add", ("x", 1.0), False), ("mul", ("x", 2.0), False),
        ("div", (1.0, "x"), False), ("sub", (1.0, "x"), False), ("max", ("x", 0.0), False),
    ],
)  # fmt: skip
def test_neutral_elements_vanish(op: str, args: tuple, folds: bool) -> None:
    b = Builder()
    b.declare("x", "lane")
    name = b.emit(op, *(a if a == "x" else b.const(a) for a in args))
    assert (name == "x") is folds


def test_minus_one_times_is_a_sign_and_two_signs_vanish() -> None:
    b = Builder()
    b.declare("x", "lane")
    minus = b.emit("mul", b.const(-1.0), "x")
    assert next(a for a in b.assigns if a.name == minus).op == "neg"
    assert b.emit("neg", minus) == "x"


def test_literals_fold_and_faults_do_not() -> None:
    b = Builder()
    assert b.constant(b.emit("mul", b.const(3.0), b.const(0.5))) == 1.5
    assert b.constant(b.emit("div", b.const(1.0), b.const(0.0))) is None
    assert b.constant(b.emit("sqrt", b.const(-1.0))) is None
    assert b.constant(b.emit("exp", b.const(1e4))) is None


def test_equal_values_are_shared_and_zeros_keep_their_sign() -> None:
    b = Builder()
    b.declare("x", "lane"), b.declare("y", "lane")
    assert b.emit("add", "x", "y") == b.emit("add", "y", "x")
    assert b.emit("sub", "x", "y") != b.emit("sub", "y", "x")
    assert b.const(0.0) != b.const(-0.0)
    assert b.emit("phi", "x", value=1) != b.emit("phi", "x", value=2)
    assert b.const(0.0) == b.const(0.0)


def test_a_value_has_the_largest_level_of_what_it_reads() -> None:
    b = Builder()
    for level in ("layer", "channel", "neuron", "lane"):
        b.declare(level, level, trainable=level == "channel")
    assert b.levels[b.emit("add", "layer", "channel")] == "channel"
    assert b.levels[b.emit("mul", "neuron", "channel")] == "neuron"
    assert b.levels[b.emit("mul", "neuron", "lane")] == "lane"
    assert b.levels[b.const(2.0)] == "layer"
    assert b.trainable[b.emit("add", "layer", "channel")]
    assert not b.trainable[b.emit("exp", "layer")]
    assert b.levels[b.emit("event", "layer", value="s")] == "lane"


def test_arity_is_checked() -> None:
    with pytest.raises(LoweringError, match="'add' with 1"):
        Builder().emit("add", "x")
    with pytest.raises(LoweringError):
        Builder().emit("nonsense", "x")


def test_live_keeps_order_and_drops_the_rest() -> None:
    b = Builder()
    b.declare("x", "lane")
    a = b.emit("exp", "x")
    b.emit("sin", "x")
    c = b.emit("mul", a, a)
    assert [x.op for x in live(b.assigns, [c])] == ["exp", "mul"]
    assert live(b.assigns, []) == ()
