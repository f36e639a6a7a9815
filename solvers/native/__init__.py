"""Generated C on this machine: find a compiler, build a library, keep it, load it."""

from __future__ import annotations

from neuroode.solvers.native.cache import cache_dir, cached_kernels, clear
from neuroode.solvers.native.library import load
from neuroode.solvers.native.text import sections, select, text

__all__ = ["cache_dir", "cached_kernels", "clear", "load", "sections", "select", "text"]
