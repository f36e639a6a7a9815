"""Modules. Names come from their files, most of them of torch, when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TORCH = {"Stack": "stack_torch", "OnlyOutput": "stack_torch", "NeuronLayer": "layer_torch"}
_FREE = ("Transition", "gaussian", "moments", "log_density", "kl", "kl_of_paths")  # of torch and jax


def __getattr__(name: str) -> Any:
    if name in _TORCH:
        return getattr(import_module(f"neuroode.nn.{_TORCH[name]}"), name)
    if name in _FREE:
        return getattr(import_module("neuroode.nn.linear_gaussian"), name)
    raise AttributeError(f"module 'neuroode.nn' has no attribute {name!r}")
