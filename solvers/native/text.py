"""The fixed C texts beside this file. `/*: name needs ... */` starts a section that may be taken on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_MARK = re.compile(r"^/\*: (.*) \*/\n", re.MULTILINE)


@cache
def text(name: str) -> str:
    """The whole file, without the marks of its sections."""
    return _MARK.sub("", _read(name))


@cache
def sections(name: str) -> tuple[str, dict[str, tuple[tuple[str, ...], str]]]:
    """What stands before the first section, and by name: (names of the sections that it needs, its text)."""
    head, *rest = _MARK.split(_read(name))
    marks = [mark.split() for mark in rest[::2]]
    return head, {m[0]: (tuple(m[1:]), body.strip() + "\n") for m, body in zip(marks, rest[1::2], strict=True)}


def select(names: Iterable[str], files: Iterable[str]) -> str:
    """The sections called `names` and what they need, in the order of the files."""
    known = {k: v for f in files for k, v in sections(f)[1].items()}
    wanted: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue += known[name][0]
    return "\n".join(body for name, (_, body) in known.items() if name in wanted)


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
