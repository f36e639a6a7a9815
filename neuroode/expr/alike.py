"""Texts about the elements of arrays, said once: `z[0]: ...; alike: z[1] ... z[31]` instead of 32 lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from neuroode._errors import ELEMENT, readable

MANY = 4
WIDTH = 300  # characters of a line about elements; `--json` has all
_NAMED = re.compile(rf"[A-Za-z](?:(?!__\d)\w)*{ELEMENT.pattern}'*")


def listed(names: Sequence[str]) -> str:
    """Names in a row; many elements of one array as the first and the last."""
    rows: list[list[str]] = []
    for name in names:
        array = _array(name)
        if rows and array != name and _array(rows[-1][0]) == array:
            rows[-1].append(name)
        else:
            rows.append([name])
    return ", ".join(f"{r[0]} ... {r[-1]}" if len(r) > MANY else ", ".join(r) for r in rows)


def said_once(entries: Iterable[str]) -> list[str]:
    """Entries that differ in indices only become one; of many, also those that differ in numbers or in details."""
    groups = [[e] for e in entries]
    for key in (_array, _form, _claim):
        groups = _grouped(groups, key, least=1 if key is _array else MANY)
    return [_merged(rows) for rows in groups]


def _array(text: str) -> str:
    return ELEMENT.sub("[*]", text)


def _form(text: str) -> str:
    return re.sub(r"\d+", "0", _array(text))


def _claim(text: str) -> str:
    """What an entry says of its subject, without the details that follow."""
    return ": ".join(_array(text).split(": ")[:2]) if text.count(": ") > 1 else text


def _grouped(groups: list[list[str]], key: Callable[[str], str], least: int) -> list[list[str]]:
    """Groups about elements whose first entries have one key, joined if there are more than `least`."""
    by_key: dict[str, list[list[str]]] = {}
    for rows in groups:
        named = _NAMED.search(rows[0])
        by_key.setdefault(key(rows[0]) if named else rows[0], []).append(rows)
    found: list[list[str]] = []
    for same in by_key.values():
        found += [[e for rows in same for e in rows]] if len(same) > least or len(same) == 1 else same
    return found


def _merged(rows: list[str]) -> str:
    others = [found[0] for row in rows[1:] if (found := _NAMED.search(row))]
    alike = f"; alike: {listed(list(dict.fromkeys(others)))}" if others else ""
    head, *rest = (_clipped(line) for line in rows[0].split("\n"))
    return "\n".join([readable(head + alike), *rest])


def _clipped(line: str) -> str:
    text = readable(line)
    return text if text == line or len(text) <= WIDTH else text[:WIDTH] + " ..."
