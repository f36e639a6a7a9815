"""Where a run stopped being a number: `check_finite=True`."""

from __future__ import annotations

from typing import Any

import torch

from neuroode._errors import RunError


def require_finite(layer: Any, given: Any, carry: Any, found: list[torch.Tensor]) -> None:
    """Raise RunError with the first step, lane and state that is not finite."""
    if all(bool(torch.isfinite(a).all()) for a in found):
        return
    name = layer.neuron.spec.name
    with torch.no_grad():
        rows = layer._traced(given, carry)
    bad = {n: torch.nonzero(~torch.isfinite(v)) for n, v in rows.items()}
    first = {n: b[0].tolist() for n, b in bad.items() if len(b)}
    if not first:
        raise RunError(f"a value of '{name}' is not finite")
    state = min(first, key=lambda n: first[n][0])
    t, *lane = first[state]
    raise RunError(f"'{state}' of '{name}' is not finite from step {t} on, lane {tuple(lane)}")
