"""Values and gradients of every exact step, in every backend, and the page that shows them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from exact_cases import CASES, NEAR, RAMP, SWITCHED, Case
from exactness import TOLERANCES, errors, exact, interpreted, measure, page_rows
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_exact_and_as_the_page_says(case: Case) -> None:
    found = measure(case)
    for error, shown, allowed in zip(found.errors, page_rows()[case.name], TOLERANCES, strict=True):
        assert error <= min(allowed, 10 * shown + (1e-15 if allowed < 1e-6 else 1e-7)), found


def test_the_page_has_a_row_for_each_case() -> None:
    assert list(page_rows()) == [c.name for c in CASES]


# random systems


def _matrix(n: int, i: Any, p: Any, g: Any) -> list[list[Any]]:
    return [[(p[f"a{r}{c}"] + i * p[f"b{r}{c}"] if i else p[f"a{r}{c}"]) * g for c in range(n)] for r in range(n)]


def _flow(n: int, i: Any, ramp: bool, p: Any, x: Any, last: Any) -> tuple:
    start = last["I"] if ramp else x["I"]
    rest = [[x["I"] - last["I"]] + [0] * (n - 1)] if ramp else []
    return _matrix(n, i, p, x.get("g", 1)), [[start] + [0] * (n - 1), *rest]


def system(n: int, kind: str, hold: str, lane: dict[str, float]) -> Case:
    """x_r' = h*(sum_c a_rc x_c + I [r = 0]), lower triangular or full; `hold`: zero, linear, switched."""
    pairs = [(r, c) for r in range(n) for c in range(n) if kind != "triangular" or c <= r]
    number = "(a{0}{1} + b{0}{1}*i)" if kind == "complex" else "a{0}{1}"
    end = " : complex" if kind == "complex" else ""
    gain = "*g" if hold == "switched" else ""
    rows = [
        f"  dx{r}/dt = h*(" + " + ".join(f"{number.format(*q)}{gain}*x{q[1]}" for q in pairs if q[0] == r)
        + (" + I)" if r == 0 else ")") + end for r in range(n)
    ]  # fmt: skip
    states, i = tuple(f"x{r}" for r in range(n)), 1j if kind == "complex" else 0
    names = [f"{k}{r}{c}" for r, c in pairs for k in ("ab" if i else "a")]
    zeros = {f"{k}{r}{c}": 0.0 for r in range(n) for c in range(n) for k in "ab"}
    flow = partial(_flow, n, i, hold == "linear")
    return Case(
        f"{kind} {n} {hold}", "\n".join(rows), states, {"": {k: lane.get(k, 0.0) for k in names}},
        lambda p, x, last: flow({**zeros, **p}, x, last), states if i else (),
        {"linear": RAMP, "switched": SWITCHED}.get(hold),
    )  # fmt: skip


@st.composite
def systems(draw: Any) -> Case:
    """Eigenvalues coincide now and then: exactly, nearly, or at 0; some rows are stiff."""
    n, kind = draw(st.sampled_from([(1, "full"), (2, "triangular"), (2, "full"), (3, "triangular"), (3, "full"),
                                    (1, "complex"), (2, "complex")]))  # fmt: skip
    number = st.floats(-4, 4, allow_subnormal=False).map(lambda v: 0.0 if abs(v) < 1e-8 else v)
    lane = {f"{k}{r}{c}": draw(number) for r in range(n) for c in range(n) for k in "ab"}
    if draw(st.booleans()):
        near, same = draw(st.sampled_from(NEAR)), draw(st.sampled_from([-1.0, 0.0, -30.0]))
        lane |= {f"a{r}{r}": same * (1 + near * r) for r in range(n)} | {f"b{r}{r}": 0.0 for r in range(n)}
    if draw(st.booleans()):
        lane |= {f"{k}{r}{c}": 0.0 for r in range(n) for c in range(r) for k in "ab"}
    return system(n, kind, draw(st.sampled_from(["zero", "linear", "switched"])), lane)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(systems())
def test_random_systems_with_planted_coincidences(case: Case) -> None:
    value, slope = errors(case, interpreted(case, case.values()), exact(case), 1)
    assert value <= TOLERANCES[0]
    assert slope <= TOLERANCES[1]
