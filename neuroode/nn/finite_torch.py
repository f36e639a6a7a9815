"""Where a run stopped being a number: `check_finite=True`, and a look at the carries of a network's layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def watched(network: torch.nn.Module, lost: Callable[[str, list[str]], None]) -> Iterator[None]:
    """Calls inside look at the carries that layers of neurons return: spikes of a state that is no number are 0.

    Args:
        lost: called with a neuron's name and its states that are no numbers.
    """

    def look(layer: Any, _: Any, found: Any) -> None:
        states = [n for n, v in found[1].items() if v.is_floating_point() and bool(v.isnan().any())]
        if states:
            lost(layer.neuron.spec.name, states)

    hooks = [m.register_forward_hook(look) for m in network.modules() if hasattr(m, "init_carry")]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
