"""Scans of a monoid in jax against a loop in numpy: every form, both directions, any length.

Cut over devices: `tests/nn/test_parallel_jax.py`.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from neuroode.nn.scans_jax import functions
from neuroode.program.monoid import monoid
from neuroode.solvers.on_jax.convolution_jax import affine_invariant, powers, powers_of
from neuroode.solvers.on_jax.parallel_jax import scan

jax.config.update("jax_enable_x64", True)
B, N = 2, 3


def compose(later, earlier):
    """Of s' = a s + b."""
    return later[0] * earlier[0], later[0] * earlier[1] + later[1]


def apply(element, state):
    return (element[0] * state[0] + element[1],)


IDENTITY = (1.0, 0.0)


def loop(a: np.ndarray, b: np.ndarray, start: np.ndarray, reverse: bool) -> np.ndarray:
    """s_t = A_t s_{t-1} + b_t with matrices (T, B, N, n, n) and vectors (T, B, N, n)."""
    states, s = np.zeros_like(b), start
    for t in range(len(b))[:: -1 if reverse else 1]:
        s = states[t] = np.einsum("...ij,...j->...i", a[t], s) + b[t]
    return states


def drawn(seed: int, steps: int, n: int, *, invariant: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    a = random.normal(size=(1 if invariant else steps, 1, N, n, n))
    a /= np.abs(np.linalg.eigvals(a)).max(axis=-1)[..., None, None] * random.uniform(1.001, 1.4)
    a = np.broadcast_to(a, (steps, 1, N, n, n))
    return a, random.normal(size=(steps, B, N, n)), random.normal(size=(B, N, n))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("steps", "tree"), [(0, None), (1, None), (2, False), (13, False), (13, True), (16, None)])
def test_a_scan_is_the_loop(steps: int, tree: bool | None, reverse: bool) -> None:
    a, b, start = drawn(0, steps, 1)
    run = jax.jit(lambda *e: scan(compose, apply, IDENTITY, e, (start[..., 0],), reverse=reverse, tree=tree))
    found = run(a[..., 0, 0], b[..., 0])
    wanted = loop(a, b, start, reverse)[..., 0]
    assert len(found) == 1
    assert found[0].shape == wanted.shape
    assert np.allclose(found[0], wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("tree", [False, True])
def test_a_moebius_scan_passes_infinity(tree: bool) -> None:
    """x' = (a x + b)/(c x + d) printed from program/monoid.py, as points of the line, against a loop in the angle."""
    kind = monoid("moebius")
    random = np.random.default_rng(3)
    turns = random.uniform(0.2, 0.9, (40, B, N))
    entries = tuple(2.0 * e for e in (np.cos(turns), np.sin(turns), -np.sin(turns), np.cos(turns)))
    first = random.uniform(-1, 1, (B, N))
    start = (np.sin(first), np.cos(first))
    run = jax.jit(lambda *e: scan(*functions(kind), kind.identity, e, start, tree=tree))
    above, below = run(*entries)
    angle = first + np.cumsum(turns, axis=0)
    assert (np.diff(np.sign(np.cos(angle)), axis=0) != 0).any()
    size = np.hypot(above, below)
    assert np.allclose(above / size, np.sin(angle), rtol=0, atol=1e-13)
    assert np.allclose(below / size, np.cos(angle), rtol=0, atol=1e-13)


def test_elements_that_never_change_need_no_copies() -> None:
    a, b, start = drawn(1, 9, 1, invariant=True)
    given = (a[:1, ..., 0, 0], b[:1, ..., 0])
    found = scan(compose, apply, IDENTITY, given, (start[..., 0],), steps=9)
    assert np.allclose(found[0], loop(a, np.broadcast_to(b[:1], b.shape), start, False)[..., 0], rtol=0, atol=1e-13)


FORMS = {"diagonal": 1, "complex": 2, "dense": 3}


def in_form(form: str, steps: int) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Matrices as such and as entries (1, N), drive and start, of one matrix for all steps."""
    n = FORMS[form]
    a, b, start = drawn(2, max(steps, 1), n, invariant=True)
    if form == "complex":
        re, im = a[..., 0, 0], a[..., 1, 0]
        size = np.hypot(re, im) * 1.01
        re, im = re / size, im / size
        a = np.stack([np.stack([re, -im], -1), np.stack([im, re], -1)], -2)
        entries = (re[0], im[0])
    else:
        entries = tuple(a[0, ..., i, j] for i in range(n) for j in range(n))
    return a[:steps], entries, b[:steps], start


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("form", "steps"), [("diagonal", 0), ("diagonal", 1), *((f, 21) for f in FORMS)])
def test_a_convolution_is_the_loop(form: str, steps: int, reverse: bool) -> None:
    a, entries, b, start = in_form(form, steps)
    parts = range(FORMS[form])
    drive, begin = tuple(b[..., i] for i in parts), tuple(start[..., i] for i in parts)
    found = affine_invariant(form, entries, drive, begin, reverse=reverse)
    wanted = loop(a, b, start, reverse)
    scale = np.abs(wanted).max(initial=1)
    assert all(np.allclose(f, wanted[..., i], rtol=0, atol=1e-13 * scale) for i, f in enumerate(found))
    assert len(found) == len(parts)


def test_growth_that_leaves_no_digits_is_an_error() -> None:
    given = (np.full((1, N), 1.3),), (np.ones((140, B, N)),), (np.ones((B, N)),)
    with pytest.raises(RuntimeError, match="multipliers grow over the sequence"):
        jax.block_until_ready(affine_invariant("diagonal", *given))


def test_slopes_of_powers_are_finite_at_zero() -> None:
    base = jax.numpy.array([0.0, 0.5, -0.9])
    slopes = jax.jacobian(lambda a: powers(a, 5))(base)
    k = np.arange(5)[:, None]
    wanted = np.where(k == 0, 0, k * np.power(np.asarray(base), np.maximum(k - 1, 0)))
    assert np.allclose(np.einsum("kii->ki", slopes), wanted, rtol=0, atol=1e-15)
    turning = jax.jvp(lambda a: powers(a, 5), (base + 0.3j,), (np.array([1.0, 1j, 1 + 1j]),))[1]
    assert np.allclose(turning, k * (base + 0.3j) ** np.maximum(k - 1, 0) * np.array([1.0, 1j, 1 + 1j]), atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_high_powers_are_exact(form: str) -> None:
    """Relative to |A^k|: against numpy's powers of the same matrix, k = 4095; condition k eps."""
    a, entries, _, _ = in_form(form, 1)
    a, entries = a[0], entries
    scale = np.abs(np.linalg.eigvals(a)).max(axis=-1) * 1.001
    a, entries = a / scale[..., None, None], tuple(e / scale for e in entries)
    found = [np.asarray(p[-1]) for p in powers_of(form, entries, 4096)]
    high = np.linalg.matrix_power(a, 4095)
    size = np.abs(high).max(axis=(-1, -2))
    n = FORMS[form]
    places = [(0, 0), (1, 0)] if form == "complex" else [(i, j) for i in range(n) for j in range(n)]
    wanted = [high[..., i, j] for i, j in places]
    assert max(float((np.abs(f - w) / size).max()) for f, w in zip(found, wanted, strict=True)) <= 4095 * 4 * 2.3e-16
