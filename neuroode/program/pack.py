"""Arrays with axes, and the elements that a program counts: by names alone, for any array library.

A program knows `z__0`, `z__1`; a caller knows `z` with its axes last. `groups` finds which names belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from neuroode._errors import ELEMENT, readable


@dataclass(frozen=True, slots=True)
class Group:
    """One array: its name (`z`, `z.re`, `x[t-2]`), the sizes of its axes, where its elements are, row by row."""

    name: str
    shape: tuple[int, ...]
    members: tuple[int, ...]


def groups(names: Iterable[str]) -> tuple[Group, ...]:
    """The arrays of a row of names, in order of their first elements. Elements without their fellows stay alone."""
    found: dict[str, list[tuple[tuple[int, ...], int, str]]] = {}
    for position, name in enumerate(names):
        key, index = _split(name)
        found.setdefault(key, []).append((index, position, name))
    return tuple(group for key, rows in found.items() for group in _of_rows(key, rows))


def _split(name: str) -> tuple[str, tuple[int, ...]]:
    match = ELEMENT.search(name)
    if match is None:
        return name, ()
    return name[: match.start()] + name[match.end() :], tuple(int(i) for i in match[1].split("_"))


def _of_rows(key: str, rows: list[tuple[tuple[int, ...], int, str]]) -> list[Group]:
    rows = sorted(rows)
    shape = tuple(1 + max(column) for column in zip(*(index for index, _, _ in rows), strict=True))
    if [index for index, _, _ in rows] == list(product(*map(range, shape))):
        return [Group(key, shape, tuple(position for _, position, _ in rows))]
    return [Group(readable(name), (), (position,)) for _, position, name in rows]


def packed(arrays: Sequence[Any], found: Iterable[Group], stack: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """Arrays by name with their axes last; `stack` makes a new last axis."""
    return {g.name: _together([arrays[i] for i in g.members], g.shape, stack) for g in found}


def _together(rows: list[Any], shape: tuple[int, ...], stack: Callable[[list[Any]], Any]) -> Any:
    if not shape:
        return rows[0]
    return stack(rows).reshape(*rows[0].shape, *shape)


def unpacked(arrays: Mapping[str, Any], found: Sequence[Group]) -> list[Any]:
    """The elements in the order of the names that `found` was made of."""
    rows: list[Any] = [None] * sum(len(g.members) for g in found)
    for g in found:
        array = arrays[g.name]
        flat = array.reshape(*array.shape[: array.ndim - len(g.shape)], prod(g.shape)) if g.shape else array
        for i, position in enumerate(g.members):
            rows[position] = flat[..., i] if g.shape else flat
    return rows


def packed_by_name(arrays: Mapping[str, Any], stack: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """The same for a mapping from element names."""
    return packed(list(arrays.values()), groups(arrays), stack)
