"""Single precision in jax against double over 32,768 steps: chunks round as much as one of them, trees more."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuroode.emit.monoid import monoid_text
from neuroode.emit.python_jax import JAX, SUPPORT
from neuroode.program.monoid import monoid
from neuroode.solvers.on_jax import parallel_jax
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
