"""YAML files to declarations. The only user of a YAML reader, and of that only its events: it makes no objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from neuroode._errors import Place, SpecError
from neuroode.expr.origin import Origin, of_text
from neuroode.spec.build import build
from neuroode.spec.inherit import resolve
from neuroode.spec.raw_text import MAX_FILE, MAX_LEVELS, check_raw
from neuroode.spec.tree import Map, Scalar, Seq, Tree
from neuroode.spec.types import NeuronSpec

Find = Callable[[str], Path]
Runs = tuple[tuple[int, int, int, int], ...]


def read(path: str | Path, *, compat: str | None = None, find: Find | None = None) -> NeuronSpec:
    """The declaration in a file, checked.

    Args:
        path: the YAML file.
        compat: name of a deviation under the key `compat`, to apply before the checks.
        find: gives the file of a zoo name, for `extends: NAME`.

    Raises:
        SpecError: the file cannot be read, or the declaration is wrong.
    """
    return read_text(_load(Path(path)), str(path), compat=compat, find=find)


def read_text(text: str, file: str = "<model>", *, compat: str | None = None, find: Find | None = None) -> NeuronSpec:
    """The declaration in a text; `file` is what errors call it and where `extends` looks for its neighbours.

    Raises:
        SpecError: the declaration is wrong.
    """
    tree = tree_of(text, file)
    return build(resolve(tree, file, compat, lambda name, node: parent_of(name, file, node, find)), source=file)


def _load(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise SpecError(f"the file is larger than {MAX_FILE // 1000} kB", place=Place(str(path)))
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError("the file is not UTF-8", place=Place(str(path))) from error
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", place=Place(str(path))) from error


def parent_of(name: str, file: str, node: Scalar, find: Find | None) -> tuple[Map, str]:
    """The model that `extends` names: a file beside this one, or a neuron of the zoo."""
    if name.endswith((".yaml", ".yml")):
        if re.search(r"[/\\]", name):
            raise SpecError(f"extends '{name}' leaves the folder", place=node.place, hint="name a file beside this one")
        path = Path(file).parent / name
        if not path.is_file():
            raise SpecError(f"extends '{name}': no such file beside this one", place=node.place)
    else:
        if find is None:
            raise SpecError(f"extends '{name}': no zoo to look in", place=node.place, hint="name a file: lif.yaml")
        path = _found(name, node, find)
    return tree_of(_load(path), str(path)), str(path)


def _found(name: str, node: Scalar, find: Find) -> Path:
    try:
        return Path(find(name))
    except SpecError as error:
        raise SpecError(f"extends '{name}': {error.what}", place=node.place, hint=error.hint) from error


@lru_cache(maxsize=256)
def tree_of(text: str, file: str = "<model>") -> Map:
    """The mapping that a YAML text is; one that was read is remembered, trees being frozen.

    Raises:
        SpecError: the text is not YAML, uses what neuroode does not allow, or is not a mapping.
    """
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    origin = of_text(text, file)
    check_raw(text, origin)
    tree = _Builder(text, origin).tree()
    if not isinstance(tree, Map):
        hint = "begin with neuron: NAME"
        raise SpecError("the file is not a mapping of keys", place=origin.place(1, 1), hint=hint)
    return tree


class _Builder:
    """Collects YAML events into a tree, without recursion."""

    def __init__(self, text: str, origin: Origin) -> None:
        self.text, self.origin = text, origin
        self.stack: list[tuple[str, Place, list[Tree]]] = [("root", origin.place(1, 1), [])]

    def tree(self) -> Tree | None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        documents = 0
        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                documents += type(event).__name__ == "DocumentStartEvent"
                if documents > 1:
                    raise SpecError("a second document begins", place=self._place(event), hint="one neuron a file")
                self._event(event)
        except YAMLError as error:
            raise self._syntax(error) from error
        except (ValueError, IndexError, AttributeError, AssertionError) as error:  # slips of the scanner on odd texts
            raise SpecError("not readable as YAML", place=self.origin.place(1, 1)) from error
        root = self.stack[0][2]
        return root[0] if root else None

    def _event(self, event: Any) -> None:
        kind = type(event).__name__
        if getattr(event, "anchor", None) or kind == "AliasEvent":
            raise SpecError("an anchor or alias is not allowed", place=self._place(event))
        if getattr(event, "tag", None):
            raise SpecError("a tag is not allowed", place=self._place(event), hint="write it without '!'")
        if kind == "ScalarEvent":
            self.stack[-1][2].append(self._scalar(event))
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self.stack) > MAX_LEVELS:
                raise SpecError(f"more than {MAX_LEVELS} levels", place=self._place(event))
            self.stack.append((kind, self._place(event), []))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            opened, place, content = self.stack.pop()
            made = _mapping(content, place) if opened == "MappingStartEvent" else Seq(tuple(content), place)
            self.stack[-1][2].append(made)

    def _place(self, event: Any) -> Place:
        return self.origin.place(event.start_mark.line + 1, event.start_mark.column + 1)

    def _scalar(self, event: Any) -> Scalar:
        start, stop = event.start_mark.index, event.end_mark.index
        runs = _runs(event.value, self.text, start, stop, event.style, event.start_mark)
        return Scalar(event.value, bool(event.style), Origin(self.origin.file, self.origin.lines, runs))

    def _syntax(self, error: Any) -> SpecError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or "not readable as YAML"
        place = self.origin.place(mark.line + 1, mark.column + 1) if mark else self.origin.place(1, 1)
        hint = "quote texts that hold ': ' or ' #', and balance brackets and quotes"
        return SpecError(f"YAML: {what}", place=place, hint=hint)


def _mapping(content: list[Tree], place: Place) -> Map:
    entries = list(zip(content[::2], content[1::2], strict=True))
    seen: dict[str, Scalar] = {}
    for key, _ in entries:
        if not isinstance(key, Scalar):
            raise SpecError("a key is a list or a mapping", place=key.place, hint="quote texts with brackets")
        if key.text in seen:
            line = seen[key.text].place.line
            raise SpecError(f"the key '{key.text}' stands twice (line {line})", place=key.place, hint="keep one")
        seen[key.text] = key
    return Map(tuple((k, v) for k, v in entries if isinstance(k, Scalar)), place)


def _runs(value: str, text: str, start: int, stop: int, style: str | None, mark: Any) -> Runs:
    """Where the pieces of a scalar's value stand in the file: both texts side by side, blanks apart."""
    row, line_start = mark.line + 1, start - mark.column
    at = start + (1 if style in ("'", '"') else 0)
    if style in ("|", ">"):
        at = text.index("\n", start) + 1 if "\n" in text[start:stop] else stop
        row, line_start = row + 1, at
    runs: list[tuple[int, int, int, int]] = []
    text_row, text_column, expected = 1, 1, -1
    for character in value:
        if character not in " \t\n":
            while at < stop and text[at] in " \t\n":
                if text[at] == "\n":
                    row, line_start = row + 1, at + 1
                at += 1
            if at - text_column != expected:
                runs.append((text_row, text_column, row, at - line_start + 1))
                expected = at - text_column
            at += 1
        text_column += 1
        if character == "\n":
            text_row, text_column, expected = text_row + 1, 1, -(10**9)
    return tuple(runs) or ((1, 1, row, at - line_start + 1),)
