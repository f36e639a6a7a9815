"""A run of a model against a recursion written out by hand in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import neuroode as no

T, N = 300, 5
RNG = np.random.default_rng(7)
Row = dict[str, np.ndarray]
Step = Callable[[Row, np.ndarray], Row]


def close(name: str, x: np.ndarray, step: Step, start: Row, compat: str | None = None, **options: object) -> None:
    """Compare a run of the model with the steps of a recursion; something must have happened meanwhile."""
    found = no.load(name, compat=compat).simulate(x[:, None, :], **options)  # type: ignore[arg-type]
    state, rows = start, []
    for row in x:
        state = step(state, row)
        rows.append(state)
    for key in start:
        expected = np.array([row[key] for row in rows])
        assert np.abs(found[key][:, 0] - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max()), key
        assert np.abs(expected).max() > 0, key


def zeros(*names: str, dtype: type = float) -> Row:
    return {name: np.zeros(N, dtype) for name in names}
