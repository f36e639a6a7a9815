"""Inputs of a run in numpy: numbers of the right kind and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroode._errors import RunError
from neuroode.program.pack import Group


def sequence(group: Group, x: Any, what: str = "input") -> np.ndarray:
    """One input, (T, B, *size*, *axes*); `what` it is called in a message."""
    try:
        found = np.asarray(x)
        if not np.iscomplexobj(found):
            found = found.astype(float)
    except (TypeError, ValueError) as error:
        raise RunError(f"{what} '{group.name}' is not made of numbers") from error
    if np.iscomplexobj(found):
        raise RunError(f"{what} '{group.name}' is complex, expected real numbers", hint="pass its real part")
    if found.ndim < 2 + len(group.shape) or found.shape[found.ndim - len(group.shape) :] != group.shape:
        wanted = ", ".join(["T", "B", "*size*", *map(str, group.shape)])
        raise RunError(f"{what} '{group.name}' has shape {found.shape}, expected ({wanted})")
    return found


def lanes_of(group: Group, array: np.ndarray) -> tuple[int, ...]:
    """(T, B, *size*)."""
    return array.shape[: array.ndim - len(group.shape)]
