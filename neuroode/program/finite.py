"""Where a run left the finite numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuroode._errors import RunError


def require_finite(neuron: str, trace: Mapping[str, np.ndarray]) -> None:
    """Check every array of a trace, (T, B, *size*, *axes*).

    Raises:
        RunError: with the first step, the lane and the state (or what else was traced) that is not finite.
    """
    bad = {n: np.argwhere(~np.isfinite(v)) for n, v in trace.items()}
    first = {n: rows[0].tolist() for n, rows in bad.items() if len(rows)}
    if first:
        name = min(first, key=lambda n: first[n][0])
        t, *lane = first[name]
        raise RunError(f"'{name}' of '{neuron}' is not finite from step {t} on, lane {tuple(lane)}")
