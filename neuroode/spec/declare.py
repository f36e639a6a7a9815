"""Python keywords to a NeuronSpec, by way of the same tree as YAML."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroode._errors import NeuroodeError, Place, SpecError
from neuroode.expr.from_sympy import decimal, is_sympy, node_of
from neuroode.expr.nodes import Compare, Logic
from neuroode.expr.origin import Origin, of_text
from neuroode.expr.show import show
from neuroode.spec import events, words
from neuroode.spec.build import build
from neuroode.spec.inherit import change, resolve
from neuroode.spec.read_yaml import parent_of
from neuroode.spec.to_tree import quantity_text, to_tree
from neuroode.spec.tree import Map, Scalar, Seq, Tree
from neuroode.spec.types import NeuronSpec, Quantity, Surrogate

_MAPPINGS = (words.Parameter, words.State, words.Input, words.Reset, words.Surrogate, words.Event)
_GUARDS = ("spike", "when", "checks")
MAX_LEVELS = 32
Find = Callable[[str], Path]


def declare(name: str, *, find: Find | None = None, **keys: Any) -> NeuronSpec:
    """The declaration that the keywords make: the keys of the language, with strings or sympy objects as texts.

    Args:
        name: the key `neuron`.
        find: gives the file of a zoo name, for `extends=`.
        keys: every other key of the language; None counts as absent.

    Raises:
        SpecError: the declaration is wrong; its place is the line of the caller.
    """
    make = _Maker(*_caller())
    tree = make.top({"neuron": name, **keys})
    return build(resolve(tree, make.file, None, lambda n, node: parent_of(n, make.file, node, find)), source="")


def changed(spec: NeuronSpec, key: str, what: Any) -> NeuronSpec:
    """The declaration after one change: `remove` a list of names, `replace` or `add` a mapping of sections.

    Raises:
        SpecError: a change does not apply, or its result is wrong.
    """
    make = _Maker(*_caller())
    changes = make.top({key: what})
    return build(change(to_tree(spec, make.origin), changes), source=spec.source)


def surrogate(value: Any) -> Surrogate:
    """The surrogate that a text, a mapping, or `Surrogate(...)` of `words` makes.

    Raises:
        SpecError: no such kind or option.
    """
    make = _Maker(*_caller())
    return events.surrogate(make.tree(value, "surrogate", 0, False), "the module")


def _caller() -> tuple[str, int]:
    """File and line of the first frame outside neuroode."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] == "neuroode":
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


class _Maker:
    """Makes tree nodes out of Python values."""

    def __init__(self, file: str, line: int) -> None:
        self.file, self.line = file, line

    def origin(self, text: str) -> Origin:
        return of_text(text, self.file, self.line)

    @property
    def place(self) -> Place:
        return Place(self.file, self.line, 1)

    def text(self, text: str, quoted: bool = True) -> Scalar:
        return Scalar(text, quoted, self.origin(text))

    def top(self, keys: dict[str, Any]) -> Map:
        """The mapping of the keys that are given."""
        return self.mapping({k: v for k, v in keys.items() if v is not None}, "", 0)

    def mapping(self, values: dict[Any, Any], inside: str, level: int) -> Map:
        entries: list[tuple[Scalar, Tree]] = []
        for key, value in values.items():
            name = str(key)
            entries.append((self.text(name), self.entry(name, value, inside, level + 1)))
        return Map(tuple(entries), self.place)

    def entry(self, key: str, value: Any, inside: str, level: int) -> Tree:
        """The value of a key; mappings under `equations`, `reset` and `do` are lines."""
        if key == "equations" and isinstance(value, dict):
            return Seq(tuple(self.line_of(str(k), "=", v) for k, v in value.items()), self.place)
        if key in ("reset", "do") and isinstance(value, dict) and not self._is_reset_mapping(value):
            return Seq(tuple(self.line_of(str(k), "=", v) for k, v in value.items()), self.place)
        is_guard = key in _GUARDS or inside == "checks"
        return self.tree(value, key, level, is_guard)

    @staticmethod
    def _is_reset_mapping(value: dict[Any, Any]) -> bool:
        return "do" in value and set(value) <= {"do", "when", "memory"}

    def line_of(self, left: str, op: str, value: Any) -> Scalar:
        tree = self.tree(value, left, 0, is_guard=False)
        if not isinstance(tree, Scalar):
            raise SpecError(f"the right side of {left} is not an expression", place=self.place)
        return self.text(f"{left} {op} {tree.text}")

    def tree(self, value: Any, key: str, level: int, is_guard: bool) -> Tree:
        """Any value: texts, numbers, sympy objects, quantities, mappings and lists of these."""
        if level > MAX_LEVELS:
            raise SpecError(f"more than {MAX_LEVELS} levels", place=self.place)
        if isinstance(value, Map | Seq | Scalar):
            return value
        if isinstance(value, _MAPPINGS):
            given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return self.mapping({k: v for k, v in given.items() if v is not None}, key, level)
        if isinstance(value, dict):
            return self.mapping(value, key, level)
        value = _plain(value)
        if isinstance(value, list | tuple):
            return Seq(tuple(self.tree(each, key, level + 1, is_guard) for each in value), self.place)
        return self.scalar(value, key, is_guard)

    def scalar(self, value: Any, key: str, is_guard: bool) -> Scalar:
        if isinstance(value, bool):
            return self.text(str(value).lower(), quoted=False)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Quantity):
            return self.text(quantity_text(value))
        return self.text(show(self.node(value, key, is_guard)))

    def node(self, value: Any, key: str, is_guard: bool) -> Any:
        """A number or a sympy object as a node; relations stand in guards and checks only."""
        try:
            node = _node(value, key)
        except NeuroodeError as error:
            raise SpecError(error.what, place=self.place, hint=error.hint) from error
        if isinstance(node, Compare | Logic) and not is_guard:
            hint = "declare an event and read its name, or use where(cond, a, b)"
            raise SpecError("a relation stands in an expression", place=self.place, hint=hint)
        return node


def _node(value: Any, key: str) -> Any:
    if isinstance(value, float):
        return decimal(value)
    if not is_sympy(value) and not isinstance(value, int | complex):
        raise SpecError(f"{key} is of type {type(value).__name__}, not a text, a number or a sympy object")
    return node_of(value)


def _plain(value: Any) -> Any:
    """Numbers and arrays of other libraries as Python's own."""
    if isinstance(value, str | int | float | complex | list | tuple) or is_sympy(value):
        return value
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value
