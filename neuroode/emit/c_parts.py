"""Pieces of every generated C text."""

from __future__ import annotations

from collections.abc import Iterable

from neuroode.emit.c_ops import REAL
from neuroode.solvers.native import sections, select


def types(dtype: str, recurrent: bool = False) -> str:
    """The number type, and what the frame asks about."""
    return (
        f"typedef {REAL[dtype]} real;\n"
        f"#define REAL_IS_DOUBLE {int(dtype == 'float64')}\n"
        f"#define RECURRENT {int(recurrent)}\n"
    )


def base(names: Iterable[str]) -> str:
    """Includes, and the named helpers of the frames."""
    return sections("base.h")[0] + select(names, ("base.h",))


def maths(names: Iterable[str], dtype: str) -> str:
    """The named functions, in the precision of the dtype."""
    own = "maths_float.h" if dtype == "float32" else "maths_double.h"
    found = select(names, (own, "maths.h"))
    return f"{sections(own)[0]}\n{found}" if found else ""


def table(name: str, values: list[int]) -> str:
    """A constant array, which C wants to have at least one entry."""
    return f"static const int {name}[] = {{{', '.join(map(str, values)) or '0'}}};"
