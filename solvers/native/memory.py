"""What kernels should know about memory."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

HUGE = 2 * 1024 * 1024
MADV_HUGEPAGE = 14


@cache
def cache_bytes() -> int:
    """Size of the last-level cache; 32 MiB where the system does not tell."""
    for name in ("SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE"):
        size = os.sysconf(name) if name in getattr(os, "sysconf_names", {}) else 0
        if size > 0:
            return size
    return 32 * 1024 * 1024


def prefer_huge_pages(address: int, size: int) -> None:
    """Ask for huge pages in a fresh array: with small ones, page faults take most of the time of a big array's step."""
    start = -(-address // HUGE) * HUGE
    end = (address + size) // HUGE * HUGE
    advise = _madvise()
    if end > start and advise:
        advise(start, end - start, MADV_HUGEPAGE)


@cache
def _madvise() -> Any:
    """The function of the C library, or None."""
    if os.uname().sysname != "Linux":
        return None
    function = getattr(ctypes.CDLL(None), "madvise", None)
    if function:
        function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function
