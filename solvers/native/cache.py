"""Where built kernels are kept: `DI/DIGEST-CHECKSUM.so` beside `DI/DIGEST.c`, writable only for their owner.

`DI`, the digest's first two characters, keeps folders short: a kernel is found by looking through one.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from functools import cache
from pathlib import Path

SUFFIX = ".so"


def cache_dir() -> Path:
    """The folder of kernels: in $NEUROODE_CACHE or the user's cache; a private temporary one where that is not safe."""
    wanted = _wanted()
    return wanted if _usable(wanted) else _private(os.getpid())


def cached_kernels() -> list[Path]:
    """The libraries in the cache, oldest first."""
    wanted = _wanted()
    found = wanted.rglob(f"*{SUFFIX}") if wanted.is_dir() else ()
    return sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name))


def clear() -> int:
    """Remove every kernel, its source and kept programs; returns how many kernels. Loaded kernels go on working."""
    kernels = cached_kernels()
    for path in [*kernels, *_wanted().rglob("*.c"), *_wanted().rglob("program-*.json")]:
        path.unlink(missing_ok=True)
    for folder in [p for p in _wanted().rglob("*") if p.is_dir()][::-1]:
        with contextlib.suppress(OSError):  # somebody else's file lies in it
            folder.rmdir()
    return len(kernels)


def find(folder: Path, digest: str) -> Path | None:
    """The library of this digest with the bytes that were written: loading a cut-off file can kill a process."""
    for path in sorted((folder / digest[:2]).glob(f"{digest}-*{SUFFIX}")):
        if path.stem == f"{digest}-{_checksum(path)}":
            return path
        path.unlink(missing_ok=True)
    return None


def keep(folder: Path, digest: str, library: Path, source: Path) -> Path:
    """Move a finished library and its source from their temporary names into the folder."""
    near = folder / digest[:2]
    near.mkdir(mode=0o700, exist_ok=True)
    target = near / f"{digest}-{_checksum(library)}{SUFFIX}"
    os.replace(source, near / f"{digest}.c")
    os.replace(library, target)
    return target


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _wanted() -> Path:
    if os.environ.get("NEUROODE_CACHE"):
        return Path(os.environ["NEUROODE_CACHE"]).expanduser() / "kernels"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "neuroode" / "kernels"


def _usable(folder: Path) -> bool:
    """Can we write there, and nobody else?"""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return False
    foreign = hasattr(os, "getuid") and about.st_uid != os.getuid()
    return not foreign and not stat.S_IMODE(about.st_mode) & 0o022


@cache
def _private(process: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="neuroode-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
