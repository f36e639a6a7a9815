"""Packages of the `train` extra, imported where they are used, with one clear error where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from neuroode._errors import RunError

INSTALL = "pip install 'neuroode[train]'"


def need(module: str, purpose: str) -> ModuleType:
    """Import a module of the `train` extra.

    Raises:
        RunError: it is not installed; the hint is the pip line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise  # installed, but one of its own parts is missing: not for us to explain away
        raise RunError(f"{purpose} needs the package '{module.split('.')[0]}'", hint=INSTALL) from None
