"""The zoo: one YAML file a neuron, grouped by family."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from .._errors import SpecError


@cache
def _index() -> dict[str, Path]:
    families = sorted((f for f in files(__package__).iterdir() if f.is_dir()), key=lambda f: f.name)
    return {name: path for family in families for name, path in _models(family)}


def _models(family: Traversable) -> list[tuple[str, Path]]:
    found = (file for file in family.iterdir() if file.name.endswith(".yaml"))
    return sorted((file.name.removesuffix(".yaml"), Path(str(file))) for file in found)


def names() -> tuple[str, ...]:
    """Name every model of the zoo, family by family."""
    return tuple(_index())


def path(name: str) -> Path:
    """Find the file of a model.

    Raises:
        SpecError: there is no such model.
    """
    if name in _index():
        return _index()[name]
    from ..spec.tree import did_you_mean

    hint = did_you_mean(name, names(), "neuroode list prints the names; a path ends in .yaml or holds a separator")
    raise SpecError(f"no neuron '{name}' in the zoo", hint=hint)
