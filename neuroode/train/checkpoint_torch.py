"""A run on disk, so that it can go on where it stopped. A file is either the old one or the new one, never half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from neuroode._errors import RunError


def save(path: Path, content: dict[str, Any]) -> None:
    """Write to a temporary name in the same folder, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the same recipe. Only tensors and plain data are unpickled.

    Raises:
        RunError: the file is not a checkpoint, or belongs to another recipe; the names that differ are listed.
    """
    try:
        content = torch.load(path, weights_only=True)
        saved = content["recipe"]
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not a checkpoint of neuroode", hint="train without --resume") from error
    if saved != recipe:
        other = sorted(k for k in {*saved, *recipe} if saved.get(k) != recipe.get(k))
        hint = "train without --resume, or with the settings of the checkpoint"
        raise RunError(f"{path} was made with other values of {', '.join(other)}", hint=hint)
    return content
