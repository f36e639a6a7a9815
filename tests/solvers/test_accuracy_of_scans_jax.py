"""Single precision in jax against double over 32,768 steps: chunks round as much as one of them, trees more."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuroode.emit.monoid import monoid_text
from neuroode.emit.python_jax import JAX, SUPPORT
from neuroode.program.monoid import monoid
from neuroode.solvers.on_jax import convolution_jax, parallel_jax
from tests.solvers.test_accuracy_of_scans import LANES, drive_of, exact, rounded

STEPS = 32_768
FACTORS = [1 - 1e-5, -0.9999, (1 - 1e-5) * np.exp(0.7j)]


def error(a: complex, *, tree: bool, reverse: bool = False) -> float:
    """The largest difference over the largest state, in single precision, jax's default."""
    m = monoid("complex" if a.imag else "diagonal")
    space: dict = {"jax": jax, "jnp": jnp}
    exec(f"import functools, math\n{SUPPORT}{monoid_text(m, JAX)}", space)
    drive = drive_of(STEPS)
    factor = [np.full((1, 1), part, np.float32) for part in (a.real, a.imag)]
    elements = (*factor, drive, np.zeros_like(drive)) if a.imag else (factor[0], drive)
    start = (jnp.zeros(LANES, jnp.float32),) * len(m.state)
    rows = tuple(jnp.asarray(e, jnp.float32) for e in elements)
    run = lambda rows: parallel_jax.scan(  # noqa: E731
        space["compose"], space["apply"], m.identity, rows, start, tree=tree, reverse=reverse
    )
    found = jax.jit(run)(rows)
    assert all(f.dtype == jnp.float32 for f in found)
    whole = np.asarray(found[0], float) + 1j * np.asarray(found[-1], float) if a.imag else np.asarray(found[0], float)
    expected = exact(a, drive[::-1])[::-1] if reverse else exact(a, drive)
    return np.abs(whole - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("a", FACTORS)
@pytest.mark.parametrize("reverse", [False, True])
def test_chunks(a: complex, reverse: bool) -> None:
    """Measured: 1e-6 at most, 8 units for chunks of 182 steps; float32 between them gives 1e-4."""
    assert error(rounded(a), tree=False, reverse=reverse) < 2e-6


def test_a_tree_loses_digits() -> None:
    """As docs/parallel.md says; if it no longer does, the page is wrong."""
    assert 1e-5 < error(rounded(FACTORS[0]), tree=True) < 1e-3


@pytest.mark.parametrize("a", [1 - 1e-5, *(r * np.exp(0.7j) for r in (0.999, 0.9999, 1 - 1e-5))])
def test_transforms(a: complex) -> None:
    """Phases of 32,768 angles: in single precision the error was 6e-4."""
    a, drive = rounded(a), drive_of(STEPS)
    form = "complex" if a.imag else "diagonal"
    factor = [jnp.float32(part) for part in ((a.real, a.imag) if a.imag else (a.real,))]
    rows = [jnp.asarray(drive), jnp.zeros_like(drive)][: len(factor)]
    start = (jnp.zeros(LANES, jnp.float32),) * len(factor)
    found = jax.jit(partial(convolution_jax.affine_invariant, form))(tuple(factor), tuple(rows), start)
    assert all(f.dtype == jnp.float32 for f in found)
    whole = np.asarray(found[0], float) + 1j * np.asarray(found[-1], float) if a.imag else np.asarray(found[0], float)
    assert np.abs(whole - exact(a, drive)).max() / np.abs(exact(a, drive)).max() < 1e-6


def test_gradients_of_collapsed_branches() -> None:
    """In single precision, jax's default, against double: 2e-5 in everything; sums over 4,096 random steps cancel."""
    random = np.random.default_rng(0)
    modulus, angle = 1 - 10.0 ** -random.uniform(2, 5, (3, 4)), random.uniform(0, 3, (3, 4))
    arrays = [random.normal(size=(3, 4)) + 0j, random.normal(size=(3, 4)) + 0.5j, modulus * np.exp(1j * angle)]
    arrays += [random.normal(size=(4096, 2, 3)), random.normal(size=(2, 3, 4)) + 0j]
    single = [x.astype(np.complex64 if np.iscomplexobj(x) else np.float32) for x in arrays]

    def functional(*leaves):
        h, last = convolution_jax.collapsed(*leaves)
        return (h * jnp.sin(jnp.arange(h.shape[0]))[:, None, None].astype(h.dtype)).sum() + last.real.sum()

    run = jax.jit(jax.value_and_grad(functional, argnums=tuple(range(5))))
    value, slopes = run(*single)
    with jax.enable_x64(True):
        exact_value, exact_slopes = run(*(x.astype(complex if np.iscomplexobj(x) else float) for x in single))
    assert abs(float(value) - float(exact_value)) < 1e-4 * abs(float(exact_value))
    for found, expected in zip(slopes, exact_slopes, strict=True):
        assert found.dtype in (jnp.float32, jnp.complex64)
        off = np.abs(np.asarray(found) - np.asarray(expected))
        assert off.max() < 5e-5 * np.abs(np.asarray(expected)).max()
