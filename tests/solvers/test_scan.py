"""Scans in chunks against the sequential float64 reference, adjoints against autograd of the loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroode._errors import RunError, Unsupported
from neuroode.emit.monoid import monoid_text
from neuroode.emit.python_torch import SUPPORT, TORCH
from neuroode.program.interpret import function
from neuroode.program.monoid import moebius, monoid
from neuroode.solvers.on_numpy import scan as reference
from neuroode.solvers.on_torch import scan_torch
from tests.linear_systems import STATES, form_of, system

LENGTHS = (0, 1, 2, 31, 32, 33, 48, 49, 1000, 1024)
LANES = (2, 3)


def tensors(arrays, dtype=torch.float64) -> list[torch.Tensor]:
    return [torch.as_tensor(np.ascontiguousarray(a), dtype=dtype) for a in arrays]


def run(name: str, matrix, drive, start, dtype=torch.float64, **options) -> list[np.ndarray]:
    compose, apply = scan_torch.affine(form_of(name))
    found = scan_torch.scan(compose, apply, tensors([*matrix, *drive], dtype), tensors(start, dtype), **options)
    assert all(x.dtype == dtype for x in found)
    return [x.double().numpy() for x in found]


def error(found, expected) -> float:
    """The largest difference over the largest state."""
    assert [np.shape(f) for f in found] == [np.shape(e) for e in expected]
    scale = max((np.abs(e).max(initial=0) for e in expected), default=0) or 1.0
    return max(np.abs(f - e).max(initial=0) for f, e in zip(found, expected, strict=True)) / scale


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("invariant", [True, False])
def test_scan_is_the_loop(name: str, steps: int, invariant: bool) -> None:
    matrix, drive, start = system(name, steps, LANES, steps, invariant=invariant)
    _, apply = reference.affine(form_of(name))
    for reverse in (False, True):
        expected = reference.scan(None, apply, [*matrix, *drive], start, reverse=reverse)
        assert error(run(name, matrix, drive, start, reverse=reverse), expected) < 1e-12


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(STATES)),
    steps=st.integers(0, 300),
    radix=st.integers(2, 40),
    seed=st.integers(0, 10**6),
    invariant=st.booleans(),
    reverse=st.booleans(),
)
def test_any_length_and_radix(name: str, steps: int, radix: int, seed: int, invariant: bool, reverse: bool) -> None:
    matrix, drive, start = system(name, steps, LANES, seed, invariant=invariant)
    _, apply = reference.affine(form_of(name))
    expected = reference.scan(None, apply, [*matrix, *drive], start, reverse=reverse)
    found = run(name, matrix, drive, start, reverse=reverse, radix=radix)
    assert error(found, expected) < 3e-11  # 1.01e-11 was seen: 211 steps, radix 6


def test_steps_without_drive() -> None:
    """Elements that lack T altogether: powers of a matrix times a state."""
    matrix, _, start = system("dense3", 1, LANES, 3, invariant=True)
    compose, apply = scan_torch.affine("dense")
    found = scan_torch.scan(compose, apply, [*tensors(matrix), None, None, None], tensors(start), steps=100)
    block = np.stack(matrix, -1).reshape(*LANES[1:], 3, 3)
    power = np.linalg.matrix_power(block, 100)
    expected = np.einsum("hij,jbh->ibh", power, np.stack(start))
    np.testing.assert_allclose(torch.stack(found)[:, -1], expected, atol=1e-14)


def test_zeros_of_a_matrix_may_be_left_out() -> None:
    matrix, drive, start = system("dense3", 200, LANES, 4, invariant=False)
    sparse = [m if k in (0, 3, 4, 7, 8) else None for k, m in enumerate(matrix)]
    _, reference_apply = reference.affine("dense")
    expected = reference.scan(None, reference_apply, [*sparse, *drive], start)
    compose, apply = scan_torch.affine("dense")
    entries = [None if m is None else tensors([m])[0] for m in sparse]
    found = scan_torch.scan(compose, apply, [*entries, *tensors(drive)], tensors(start))
    assert error([f.numpy() for f in found], expected) < 1e-12


@pytest.mark.parametrize("name", STATES)
def test_affine_steps_are_the_monoid_of_the_program(name: str) -> None:
    """The torch functions written by hand, and the numpy reference, against the formulas that are printed."""
    m = monoid(form_of(name), STATES[name])
    rng = np.random.default_rng(0)
    f, g, s = (tuple(rng.normal(size=(k, 4))) for k in (len(m.element), len(m.element), len(m.state)))
    compose, apply = scan_torch.affine(form_of(name))
    slow = reference.affine(form_of(name))
    for mine, theirs, formula, b in ((compose, slow[0], m.compose, g), (apply, slow[1], m.apply, s)):
        expected = function(formula)(f, b)
        np.testing.assert_allclose(np.stack(mine(tuple(tensors(f)), tuple(tensors(b)))), expected, rtol=1e-12)
        np.testing.assert_allclose(np.stack(theirs(f, b)), expected, rtol=1e-12)


def test_a_scan_of_moebius_steps() -> None:
    """Varying Riccati steps on the projective line, by the printed functions: poles are passed."""
    space: dict = {"torch": torch}
    exec(SUPPORT + monoid_text(moebius(), TORCH), space)
    rng = np.random.default_rng(1)
    drive = rng.uniform(-0.3, 0.5, size=(1000, 3))
    elements = [np.ones_like(drive), 0.1 * drive, np.full_like(drive, -0.1), np.ones_like(drive)]
    start = [rng.normal(size=3), np.ones(3)]
    expected = reference.scan(None, function(moebius().apply_line), elements, start)
    found = scan_torch.scan(space["compose"], space["apply_line"], tensors(elements), tensors(start))
    angle = [np.arctan2(s[0], s[1]) for s in (expected, [f.numpy() for f in found])]
    np.testing.assert_allclose(np.cos(angle[0] - angle[1]), 1.0, atol=1e-12)
    assert np.count_nonzero(np.diff(np.sign(expected[1]), axis=0)) > 5


@pytest.mark.parametrize("steps", [0, 1, 2, 33, 130])
@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("invariant", [True, False])
def test_adjoint_is_autograd_of_the_loop(name: str, steps: int, invariant: bool) -> None:
    matrix, drive, start = system(name, steps, LANES, steps + 7, invariant=invariant)
    cotangents = np.random.default_rng(9).normal(size=np.shape(drive))
    found = scan_torch.adjoint(form_of(name), tensors(matrix), tensors(cotangents))
    expected = reference.adjoint(form_of(name), matrix, list(cotangents))
    assert error([f.numpy() for f in found], expected) < 1e-12
    leaves = [d.requires_grad_() for d in tensors(drive)]  # ds_t/db_t = 1: the gradient in the drive is lambda
    _, apply = scan_torch.affine(form_of(name))
    state, total = tuple(tensors(start)), torch.zeros((), dtype=torch.float64)
    for t in range(steps):
        state = apply((*(m if invariant else m[t] for m in tensors(matrix)), *(d[t] for d in leaves)), state)
        total = total + sum((torch.as_tensor(g[t]) * s).sum() for g, s in zip(cotangents, state, strict=True))
    if steps:
        total.backward()
        assert error([f.numpy() for f in found], [d.grad.numpy() for d in leaves]) < 1e-12


def test_axes_that_do_not_fit() -> None:
    compose, apply = scan_torch.affine("diagonal")
    start = [torch.zeros(3)]
    with pytest.raises(RunError, match=r"an entry of shape \(2, 2, 3\) for states of 1 axes"):
        scan_torch.scan(compose, apply, [torch.zeros(2, 2, 3), None], start)
    with pytest.raises(RunError, match=r"steps of entries: \[4, 5\]"):
        scan_torch.scan(compose, apply, [torch.zeros(4, 3), torch.zeros(5, 3)], start)
    with pytest.raises(RunError, match="one T, or steps=T"):
        scan_torch.scan(compose, apply, [torch.zeros(3), None], start)
    with pytest.raises(Unsupported, match="form 'triangular'"):
        scan_torch.affine("triangular")
    with pytest.raises(RunError, match="dense element of 7 entries"):
        scan_torch.states_of(7)
