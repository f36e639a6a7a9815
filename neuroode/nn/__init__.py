"""Modules. Names come from torch files when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TORCH = {"Stack": "stack_torch", "OnlyOutput": "stack_torch", "NeuronLayer": "layer_torch"}
_TORCH |= dict.fromkeys(("Transition", "gaussian", "moments", "log_density", "kl", "kl_of_paths"), "gaussian_torch")


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        return getattr(import_module(f"neuroode.nn.{_TORCH[name]}"), name)
    raise AttributeError(f"module 'neuroode.nn' has no attribute {name!r}")
