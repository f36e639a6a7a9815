"""The C text of products with a narrow matrix."""

from __future__ import annotations

from neuroode.emit.c_parts import base, types
from neuroode.solvers.native import text


def emit_linear(dtype: str) -> str:
    """C source of `product` and `outer` for float32 or float64."""
    return "\n".join([types(dtype), base(("lines",)), text("linear.h")])
