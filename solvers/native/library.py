"""Build a library from C text once per machine, load it once per process."""

from __future__ import annotations

import ctypes
import hashlib
import json
import tempfile
import threading
from pathlib import Path

from neuroode._errors import Unsupported
from neuroode.solvers.native import cache
from neuroode.solvers.native.compiler import Compiler, cpu, find_compiler

LAYOUT = 1  # of the cache; part of every digest
_lock = threading.Lock()
_loaded: dict[str, ctypes.CDLL] = {}


def load(source: str, *, double: bool = False) -> ctypes.CDLL:
    """The compiled `source`, from memory, from the cache, or built now.

    Args:
        double: it computes in float64, where results should round like numpy's.

    Raises:
        Unsupported: no compiler, a compiler that fails, or a library that does not load.
    """
    compiler = find_compiler()
    digest = _digest(source, compiler, double)
    with _lock:
        if digest not in _loaded:
            _loaded[digest] = _find_or_build(source, digest, compiler, double)
        return _loaded[digest]


def _digest(source: str, compiler: Compiler, double: bool) -> str:
    parts = [LAYOUT, source, compiler.command, compiler.version, compiler.flags(double), cpu()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _find_or_build(source: str, digest: str, compiler: Compiler, double: bool) -> ctypes.CDLL:
    folder = cache.cache_dir()
    path = cache.find(folder, digest)
    if path:
        try:
            return ctypes.CDLL(str(path))
        except OSError:  # built elsewhere, or for a system library that is gone: once more
            path.unlink(missing_ok=True)
    path = _build(source, digest, compiler, double, folder)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise Unsupported(f"the kernel that {compiler.command[0]!r} built does not load: {error}") from error


def _build(source: str, digest: str, compiler: Compiler, double: bool, folder: Path) -> Path:
    """Compile under temporary names; other processes may build the same kernel, the last one to finish stays."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as work:
        text, library = Path(work) / "kernel.c", Path(work) / "kernel.so"
        text.write_text(source, encoding="utf-8")
        compiler.compile(text, library, double)
        return cache.keep(folder, digest, library, text)
