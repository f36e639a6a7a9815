"""The C text of noise streams."""

from __future__ import annotations

from neuroode.emit.c_parts import base, maths, types
from neuroode.solvers.native import text


def emit_random(dtype: str) -> str:
    """C source of `draw` for float32 or float64."""
    root = f"#define REAL_SQRT {'sqrt' if dtype == 'float64' else 'sqrtf'}\n"
    return "\n".join([types(dtype), root, base(()), maths(("log1p_unit",), dtype), text("random.h")])
