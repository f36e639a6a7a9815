"""Monoids: laws by random elements, against numpy's matrix products, and as text of every dialect."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroode._errors import LoweringError
from neuroode.emit.monoid import monoid_text
from neuroode.emit.python_jax import JAX
from neuroode.emit.python_jax import SUPPORT as JAX_SUPPORT
from neuroode.emit.python_torch import SUPPORT as TORCH_SUPPORT
from neuroode.emit.python_torch import TORCH
from neuroode.program.interpret import function
from neuroode.program.monoid import Monoid, closed, complex_diagonal, dense, diagonal, moebius, monoid

TRIANGLE = ((0, 0), (1, 0), (1, 1), (2, 1))  # the chain 0 -> 1 -> 2: entry (2, 0) is in the closure
AFFINE = (diagonal(), complex_diagonal(), dense(2), dense(3), dense(4), dense(3, TRIANGLE))
ALL = (*AFFINE, moebius())


def named(m: Monoid) -> str:
    return f"{m.name}/{m.matrix}"


def drawn(m: Monoid, seed: int, *, lanes: int = 5) -> tuple[np.ndarray, ...]:
    return tuple(np.random.default_rng(seed).normal(size=(len(m.element), lanes)))


def as_matrix(m: Monoid, element: tuple[np.ndarray, ...]) -> np.ndarray:
    """The homogeneous matrix of a step, (lanes, n + 1, n + 1); for moebius the 2x2 matrix itself."""
    e = dict(zip(m.element, element, strict=True))
    lanes, n = len(element[0]), len(m.state)
    if m.name == "moebius":
        return np.stack([e[k] for k in "abcd"], -1).reshape(lanes, 2, 2)
    found = np.zeros((lanes, n + 1, n + 1))
    found[:, n, n] = 1
    if m.name == "complex":
        found[:, :2, :2] = np.stack([e["a_re"], -e["a_im"], e["a_im"], e["a_re"]], -1).reshape(lanes, 2, 2)
    else:
        for name in m.element[: m.matrix]:
            i, j = map(int, name.split("_")[1:]) if "_" in name else (0, 0)
            found[:, i, j] = e[name]
    found[:, :n, n] = np.stack(element[m.matrix :], -1)
    return found


def direction(x: np.ndarray) -> np.ndarray:
    return x / np.abs(x).max((1, 2), keepdims=True)


@pytest.mark.parametrize("m", ALL, ids=named)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_composition_is_the_matrix_product_and_associative(m: Monoid, seed: int) -> None:
    f, g, h = (drawn(m, 3 * seed + k) for k in range(3))
    compose = function(m.compose)
    scale = direction if m.name == "moebius" else np.asarray
    product = as_matrix(m, f) @ as_matrix(m, g)
    np.testing.assert_allclose(as_matrix(m, compose(f, g)), scale(product), rtol=1e-12, atol=1e-12)
    left, right = compose(compose(f, g), h), compose(f, compose(g, h))
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("m", ALL, ids=named)
def test_the_identity_changes_nothing(m: Monoid) -> None:
    f, compose = drawn(m, 1), function(m.compose)
    one = tuple(np.full(5, x) for x in m.identity)
    expected = direction(as_matrix(m, f)).reshape(5, -1).T if m.name == "moebius" else f
    for found in (compose(one, f), compose(f, one)):
        np.testing.assert_allclose(found, expected, rtol=1e-15)
    state = tuple(np.arange(1.0, 1.0 + 5 * len(m.state)).reshape(-1, 5))
    np.testing.assert_array_equal(function(m.apply)(one, state), state)


@pytest.mark.parametrize("m", ALL, ids=named)
def test_apply_of_a_composition_is_one_step_after_the_other(m: Monoid) -> None:
    f, g = drawn(m, 2), drawn(m, 3)
    state = drawn(m, 4)[: len(m.state)]
    compose, apply = function(m.compose), function(m.apply)
    np.testing.assert_allclose(apply(compose(f, g), state), apply(f, apply(g, state)), rtol=1e-10)


def test_closure_of_a_pattern() -> None:
    assert closed(3, [(1, 0), (2, 1)]) == ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))
    assert len(dense(4, [(0, 1)]).element) == 4 + 1 + 4
    assert len(dense(2, [(0, 1), (1, 0)]).element) == 6
    assert monoid("dense", 3) is dense(3)


def test_zeros_cost_nothing() -> None:
    """Composing triangular blocks of 3 states: 10 products of the matrix and 6 of the drive; full ones 27 + 9."""
    count = lambda m: sum(a.op == "mul" for a in m.compose.assigns)  # noqa: E731
    assert (count(dense(3, TRIANGLE)), count(dense(3))) == (10 + 6, 27 + 9)


def test_what_there_is_no_monoid_of() -> None:
    with pytest.raises(LoweringError, match="5 states; 2 to 4"):
        dense(5)
    with pytest.raises(LoweringError, match="no monoid 'ring'; there are diagonal, complex, moebius, dense"):
        monoid("ring")


@pytest.mark.parametrize("step", [(3.0, 1.0, 0.5, 2.0), (1e-3, 0.0, 0.0, 1e-3), (1.0, 100.0, -0.01, 1.0)])
def test_moebius_products_stay_in_range_over_32768_steps(step: tuple[float, ...]) -> None:
    """2^15 steps by repeated squaring, and against the fixed point or the rotation that the step has."""
    m, compose = moebius(), function(moebius().compose)
    found = tuple(np.asarray(x, np.float64) for x in step)
    for _ in range(15):
        found = compose(found, found)
    assert np.all(np.isfinite(found))
    assert np.abs(found).max() == 1
    x = float(function(m.apply)(found, (np.asarray(0.3),))[0])
    a, b, c, d = step
    if (a - d) ** 2 + 4 * b * c > 0:  # hyperbolic: the attracting fixed point of c x^2 + (d - a) x - b
        assert math.isclose(x, (a - d + math.sqrt((a - d) ** 2 + 4 * b * c)) / (2 * c), rel_tol=1e-12)
    elif c == 0:
        assert x == 0.3
    else:  # elliptic: tan(atan(x/w) + n phi) w with w = sqrt(-b/c), a = d
        w = math.sqrt(-b / c)
        angle = math.atan(0.3 / w) + 2**15 * math.atan2(math.sqrt(-b * c), a)
        assert math.isclose(x, w * math.tan(angle), rel_tol=1e-8)


def test_on_the_projective_line_a_pole_changes_a_sign() -> None:
    """tan(t) as a Moebius map: in 10 radians there are 3 poles."""
    step = tuple(np.asarray(x) for x in (math.cos(0.1), math.sin(0.1), -math.sin(0.1), math.cos(0.1)))
    line, plain = function(moebius().apply_line), function(moebius().apply)
    point, x, signs = (np.asarray(0.0), np.asarray(1.0)), (np.asarray(0.0),), []
    for k in range(1, 101):
        point, x = line(step, point), plain(step, x)
        signs.append(np.sign(point[1]))
        assert math.isclose(point[0] / point[1], math.tan(0.1 * k), rel_tol=1e-9)
        assert math.isclose(x[0], math.tan(0.1 * k), rel_tol=1e-9)
    assert np.count_nonzero(np.diff(signs)) == 3


@pytest.mark.parametrize("m", ALL, ids=named)
@pytest.mark.parametrize("target", ["torch", "jax"])
def test_printed_functions_compute_what_the_formulas_say(m: Monoid, target: str) -> None:
    f, g = drawn(m, 5), drawn(m, 6)
    names: dict = {"torch": torch, "jax": jax, "jnp": jnp, "math": math}
    support = TORCH_SUPPORT if target == "torch" else f"import functools\n{JAX_SUPPORT}"
    exec(support + monoid_text(m, TORCH if target == "torch" else JAX), names)
    with jax.enable_x64(True):
        array = torch.from_numpy if target == "torch" else jnp.asarray
        arrays = [tuple(array(x) for x in e) for e in (f, g, g[: len(m.state)])]
        for text, formula in (("compose", m.compose), ("apply", m.apply), ("apply_line", m.apply_line)):
            if formula is None:
                assert text not in names
                continue
            size = len(formula.arguments[1])
            second = arrays[1] if text == "compose" else tuple(array(x) for x in g[:size])
            found = names[text](arrays[0], second)
            np.testing.assert_allclose([np.asarray(x) for x in found], function(formula)(f, g[:size]), rtol=1e-13)
