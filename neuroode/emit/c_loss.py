"""The C text of the loss kernel."""

from __future__ import annotations

from neuroode.emit.c_parts import base, maths, types
from neuroode.solvers.native import text


def emit_loss(dtype: str) -> str:
    """C source of `nll_sequence` for float32 or float64."""
    return "\n".join([types(dtype), base(("lines",)), maths(["real_exp"], dtype), text("loss.h")])
