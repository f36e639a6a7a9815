"""Which method is taken, and what is refused with which reason."""

from __future__ import annotations

import numpy as np
import pytest
from references import distance, neuron

from neuroode._errors import NeuroodeError, RunError, SpecError, Unsupported

LIF = "dv/dt = -v + I\n"
QIF = "dv/dt = v^2 + I\n"
CUBIC = "dv/dt = v - v^3 + I\n"
PAIR = "|\n  dv/dt = -v - w + I\n  dw/dt = v - w\n"
MIXED = "|\n  dv/dt = -v^2 - w + I\n  dw/dt = v - w\n"

REFUSED = [
    (CUBIC, "exact", "does not apply to v: not linear: v is nonlinear"),
    (QIF, "exp_euler", "v is not linear in itself"),
    (MIXED, "exact", "not linear"),
    (LIF, "magic", "unknown method 'magic'"),
    (LIF, "mittag_leffler", "is for D.alpha lines, and there is none"),
    (PAIR, "semi_implicit(v)", r"every flow state once, found \(v\)"),
    (PAIR, "semi_implicit(v, v, w)", "every flow state once"),
    (PAIR, "semi_implicit(v, w, q)", "every flow state once"),
    (PAIR, "semi_implicit()", "every flow state once"),
    (PAIR, {"v": "exact", "w": "euler"}, "one block and need one method"),
    (PAIR, {"v": "euler"}, "one block and need one method"),
    (PAIR, {"v": "magic", "w": "euler"}, "unknown method 'magic'"),
    (PAIR, {"v": "strang", "w": "euler"}, "one block and need one method"),
    (PAIR, {"q": "euler"}, "'q': it is not a flow state"),
    (PAIR, {"v": "semi_implicit", "w": "euler"}, "semi_implicit orders all"),
    (MIXED, {"v": "exp_euler", "w": "euler"}, "v is not linear in itself"),
    (QIF, "bilinear", "does not apply to v: not linear: v is nonlinear"),
    ("|\n  da/dt = -d - b\n  db/dt = a - c\n  dc/dt = b - d\n  dd/dt = a + c + I\n", "bilinear", "4 states read each"),
    (PAIR, {"v": "rk4", "w": "euler"}, "reads w, which another method moves"),
    (PAIR, {"v": "bilinear", "w": "euler"}, "one block and need one method"),
    ("|\n  dv/dt = -v\n  dw/dt = v - w + I\n", {"v": "rk4", "w": "exact"}, "moves all of them or none"),
    ("dv/dt = -v*R\ninputs: {R: {kind: current, hold: linear}}\noutputs: v\n", "exact", "d/dv = -R"),
    ("dv/dt = -v + sin(R)\ninputs: {R: {kind: current, hold: linear}}\n", "exact", r"no polynomial .* ramp R"),
    ("|\n" + "".join(f"  dx{i}/dt = -x{(i + 1) % 5}*I - x{i}\n" for i in range(5)), "exact", "5 coupled real numbers"),
    ("|\n" + "".join(f"  dx{i}/dt = I - x{(i + 1) % 9}\n" for i in range(9)), "exact", "9 coupled real numbers"),
]


@pytest.mark.parametrize(("text", "method", "reason"), REFUSED)
def test_refused_with_the_reason(text: str, method: str | dict, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason) as caught:
        neuron("equations: " + text).discretize(method=method)
    assert caught.value.hint or "complex" in reason or "linear" in reason


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        (LIF, ["exact"]), (QIF, ["exact"]), (CUBIC, ["strang"]), (PAIR, ["exact"]), (MIXED, ["strang"]),
        ("dv/dt = -v^3*I\n", ["separable"]),
        ("|\n  dv/dt = -v*g + I\n  dg/dt = v - g*v\n", ["strang"]),
        ("|\n  dv/dt = -v + I\n  dw/dt = -w^3 + v\n", ["exact", "strang"]),
        ("|\n  du/dt = (-1 + 2i)*u + I : complex\n  dv/dt = -v + real(u)\noutputs: v\n", ["exact"]),
        ("|\n  du/dt = (-1 + 2i)*u + I : complex\n  dv/dt = -v + abs(u)\noutputs: v\n", ["exact", "strang"]),
        ("v[t] = I\n", []),
    ],
)  # fmt: skip
def test_auto(text: str, methods: list[str]) -> None:
    found = neuron("equations: " + text).discretize()
    assert [u.method for u in found.updates] == methods
    assert all(u.why for u in found.updates)
    str(found), found.to_json()


def test_auto_explains_why_not_exact() -> None:
    (update,) = neuron("equations: dv/dt = -atan(v) + I\n".replace("atan", "erf")).discretize().updates
    assert "no exact step" in update.why
    assert "exp(-v^2)" in update.why


def test_a_method_by_state() -> None:
    text = "equations: |\n  dv/dt = -v + I\n  dw/dt = -w^3 + v\n"
    x = np.random.default_rng(0).normal(size=(20, 1, 1))
    declared = neuron("method: {v: euler, w: euler}\n" + text)
    given = neuron(text).simulate(x, 0.1, method="euler")
    assert distance(declared.simulate(x, 0.1)["w"], given["w"]) == 0
    mixed = neuron("method: {v: exact}\n" + text).discretize()
    assert {s: u.method for u in mixed.updates for s in u.states} == {"v": "exact", "w": "strang"}


def test_a_block_split_between_two_methods() -> None:
    """exp_euler for v and euler for w, each from the values at the start of the step."""
    x = np.random.default_rng(0).normal(size=20)
    found = neuron("method: {v: exp_euler, w: euler}\nequations: " + PAIR).simulate(x.reshape(-1, 1, 1), 0.1)
    v = w = 0.0
    for t, i in enumerate(x):
        v, w = np.exp(-0.1) * v + (1 - np.exp(-0.1)) * (i - w), w + 0.1 * (v - w)
        assert abs(found["v"][t, 0, 0] - v) + abs(found["w"][t, 0, 0] - w) <= 1e-14


@pytest.mark.parametrize("dt", [0, -1.0, float("nan"), float("inf"), "soon", None, "1 ms"])
def test_a_step_must_be_a_positive_number(dt: object) -> None:
    with pytest.raises((RunError, SpecError)):
        neuron("equations: " + LIF).simulate(np.zeros((1, 1, 1)), dt)


@pytest.mark.parametrize(
    "text",
    [
        "dv/dt = -v + gamma(v)*I",  "D^0.5 v = (2i - 1)*v + I : complex",
    ],
)  # fmt: skip
def test_what_is_not_lowered_is_refused_with_a_type(text: str) -> None:
    with pytest.raises(NeuroodeError):
        neuron(f"equations: '{text}'\noutputs: real(v)\n").program(1.0)
