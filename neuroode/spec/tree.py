"""A declaration as plain data with places: what YAML and Python both become before it is read as a neuron."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from neuroode._errors import Place, SpecError
from neuroode.expr.origin import Origin
from neuroode.spec.schema import Key

_MOST_COMPARED = 2_000


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, as written; `quoted` only tells texts from the words true and false."""

    text: str
    quoted: bool = field(default=False, compare=False)
    origin: Origin = field(default=Origin(), compare=False, repr=False)

    @property
    def place(self) -> Place:
        return self.origin.place(1, 1, len(self.text.split("\n")[0]))


@dataclass(frozen=True, slots=True)
class Seq:
    items: tuple[Tree, ...]
    place: Place = field(default=Place(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Map:
    entries: tuple[tuple[Scalar, Tree], ...]
    place: Place = field(default=Place(), compare=False, repr=False)

    def get(self, key: str) -> Tree | None:
        return next((value for name, value in self.entries if name.text == key), None)

    def keys(self) -> list[str]:
        return [name.text for name, _ in self.entries]

    def __contains__(self, key: str) -> bool:
        return any(name.text == key for name, _ in self.entries)

    def without(self, *keys: str) -> Map:
        return Map(tuple(e for e in self.entries if e[0].text not in keys), self.place)

    def with_entry(self, key: Scalar, value: Tree) -> Map:
        """The mapping with this entry in the place of the one of the same name, or at the end."""
        if key.text not in self:
            return Map((*self.entries, (key, value)), self.place)
        return Map(tuple((key, value) if e[0].text == key.text else e for e in self.entries), self.place)


Tree = Scalar | Seq | Map


def refuse(node: Tree, what: str, hint: str = "") -> NoReturn:
    """Raise what is wrong with a node, at its place."""
    raise SpecError(what, place=node.place, hint=hint)


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint that names the nearest known word, or `otherwise`."""
    close = difflib.get_close_matches(word[:60], list(known)[:_MOST_COMPARED], 1)
    return f"did you mean '{close[0]}'?" if close else otherwise


def kind_of(node: Tree) -> str:
    """What a node is, in words for a message."""
    if isinstance(node, Scalar):
        return f"'{node.text[:60]}'" if node.text else "empty"
    return "a list" if isinstance(node, Seq) else "a mapping"


def text_of(node: Tree, what: str, hint: str = "") -> str:
    """The text of a scalar that is not empty.

    Raises:
        SpecError: the node is a list, a mapping or empty.
    """
    if not isinstance(node, Scalar) or not node.text.strip():
        refuse(node, f"{what} is {kind_of(node)}, not a text", hint)
    return node.text


def choice(node: Tree, what: str, allowed: Iterable[str]) -> str:
    """The text of a scalar, which must be one of `allowed`."""
    text, known = text_of(node, what), list(allowed)
    if text not in known:
        refuse(node, f"{what} is '{text}'", did_you_mean(text, known, "write " + _either(known)))
    return text


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def boolean(node: Tree, what: str) -> bool:
    """True or false; any other word is a text.

    Raises:
        SpecError: the node is not one of the two words.
    """
    if isinstance(node, Scalar) and not node.quoted and node.text in ("true", "false"):
        return node.text == "true"
    refuse(node, f"{what} is {kind_of(node)}, a text" if isinstance(node, Scalar) else f"{what} is {kind_of(node)}",
           "write true or false")  # fmt: skip


def items(node: Tree) -> tuple[Tree, ...]:
    """The entries of a list; anything else counts as a list of one."""
    return node.items if isinstance(node, Seq) else (node,)


def mapping(node: Tree, what: str, hint: str = "") -> Map:
    """The node, which must be a mapping."""
    if not isinstance(node, Map):
        refuse(node, f"{what} is {kind_of(node)}, not a mapping", hint)
    return node


def fields_of(node: Tree, table: tuple[Key, ...], what: str) -> dict[str, Tree]:
    """The values of a mapping by key, all of which the table must name.

    Raises:
        SpecError: an unknown key, or a key without a value.
    """
    known = [key.name for key in table]
    found = mapping(node, what)
    for at, (key, value) in enumerate(found.entries):
        if key.text not in known:
            _unknown_key(found, at, known)
        if isinstance(value, Scalar) and not value.text and not value.quoted:
            refuse(key, f"the key '{key.text}' has no value", "give it one or remove the key")
    return {key.text: value for key, value in found.entries}


def _unknown_key(node: Map, at: int, known: list[str]) -> NoReturn:
    """Refuse a key; where a comma inside brackets has cut a value in two, say that."""
    key = node.entries[at][0]
    before = node.entries[at - 1] if at else None
    if before and isinstance(before[1], Scalar) and not before[1].quoted and _is_open(before[1].text):
        whole = before[1].text
        for name, value in node.entries[at : at + 20]:
            empty = isinstance(value, Scalar) and not value.text
            whole += f", {name.text}" if empty else f", {name.text}: ..."
            if not _is_open(whole):
                break
        refuse(key, f"unknown key '{key.text}': the comma ended the value", f'quote it: {before[0].text}: "{whole}"')
    refuse(key, f"unknown key '{key.text}'", did_you_mean(key.text, known, "known: " + ", ".join(known)))


def _is_open(text: str) -> bool:
    return text.count("(") > text.count(")") or text.count("[") > text.count("]")
