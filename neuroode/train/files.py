"""Files that are there whole or not at all, also after a crash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, *parts: bytes, before: Callable[[], None] = lambda: None) -> None:
    """Write to a temporary name in the same folder, bring that to the disk, then rename.

    Args:
        before: called when the new content is on the disk and the old file still in its place.

    Raises:
        OSError: the folder cannot be written, or is full; the old file is still there then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        before()
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The rename itself must reach the disk too. Systems that open no folders do that on their own."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Temporary files of a process that was killed while it wrote `path`."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)
