"""Generated C on this machine: find a compiler, build a library, keep it, load it."""

from __future__ import annotations

from neuroode.solvers.native.cache import cache_dir, cached_kernels, clear
from neuroode.solvers.native.compiler import compiler_here, cpu
from neuroode.solvers.native.library import load
from neuroode.solvers.native.memory import cache_bytes, prefer_huge_pages
from neuroode.solvers.native.text import sections, select, text

__all__ = [
    "cache_bytes",
    "cache_dir",
    "cached_kernels",
    "clear",
    "compiler_here",
    "cpu",
    "load",
    "prefer_huge_pages",
    "sections",
    "select",
    "text",
]
