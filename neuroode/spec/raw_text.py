"""What is refused in a file before any YAML reader sees it: tags, anchors, aliases, merge keys, size, depth."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from neuroode._errors import NeuroodeError, SpecError
from neuroode.expr.origin import Origin

MAX_FILE = 256_000
MAX_LEVELS = 32
_BLOCK_HEADER = re.compile(r"(?:^|[:\-?]\s+)[|>][+\-0-9]*\s*(?:#.*)?$")
_MERGE = re.compile(r"(\"<<\"|'<<'|<<)\s*:")
_REFUSED = {"&": "an anchor", "*": "an alias", "!": "a tag"}
_STRANGE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ufeff]")


@dataclass(slots=True)
class _Scan:
    """Where the scan stands: the quote and the brackets that are open, and the indents of open blocks."""

    origin: Origin
    quote: str = ""
    brackets: int = 0
    indents: list[int] = field(default_factory=list)

    def refuse(self, row: int, column: int, what: str, hint: str = "") -> NeuroodeError:
        return SpecError(what, place=self.origin.place(row, column), hint=hint)


def check_raw(text: str, origin: Origin) -> None:
    """Check a file's text by reading its characters only.

    Raises:
        SpecError: the file is too large or too deep, or holds a tag, anchor, alias, merge key or directive.
    """
    if len(text.encode("utf-8", "replace")) > MAX_FILE:
        raise SpecError(f"the file is larger than {MAX_FILE // 1000} kB", place=origin.place(1, 1))
    scan, block = _Scan(origin), -1
    for row, line in enumerate(text.split("\n"), 1):
        strange = _STRANGE.search(line)
        if strange:
            raise scan.refuse(row, strange.start() + 1, f"unexpected character {strange[0]!r}")
        indent = len(line) - len(line.lstrip(" "))
        if block >= 0 and (not line.strip() or indent > block):
            continue
        block = -1
        if not line.strip():
            continue
        _check_line(scan, row, line, indent)
        if not scan.quote and not scan.brackets and _BLOCK_HEADER.search(line):
            block = indent


def _check_line(scan: _Scan, row: int, line: str, indent: int) -> None:
    """One line outside block texts."""
    if line.startswith("%") and not scan.quote:
        raise scan.refuse(row, 1, "a YAML directive is not allowed")
    if not scan.quote and not scan.brackets:
        scan.indents = [i for i in scan.indents if i < indent] + [indent]
        if len(scan.indents) > MAX_LEVELS:
            raise scan.refuse(row, indent + 1, f"more than {MAX_LEVELS} levels")
    at, starts = indent, True
    while at < len(line):
        character = line[at]
        if scan.quote:
            at += _inside_quote(scan, line, at)
            starts = False
            continue
        if character == "#" and (at == 0 or line[at - 1] in " \t"):
            return
        if starts and character not in " \t":
            _check_start(scan, row, line, at)
        starts = _track(scan, row, line, at, starts)
        at += 1


def _inside_quote(scan: _Scan, line: str, at: int) -> int:
    """How many characters to pass; closes the quote at its end."""
    if scan.quote == '"' and line[at] == "\\":
        return 2
    if line[at] == scan.quote:
        if scan.quote == "'" and line[at + 1 : at + 2] == "'":
            return 2
        scan.quote = ""
    return 1


def _check_start(scan: _Scan, row: int, line: str, at: int) -> None:
    """A character that begins a value or a key."""
    found = _REFUSED.get(line[at])
    if found:
        hint = "write the value out" if line[at] != "!" else "write it without '!'"
        raise scan.refuse(row, at + 1, f"'{line[at : at + 12].split()[0]}' is {found}, which is not allowed", hint)
    if _MERGE.match(line, at):
        raise scan.refuse(row, at + 1, "the merge key '<<' is not allowed", "use extends:")


def _track(scan: _Scan, row: int, line: str, at: int, starts: bool) -> bool:
    """Follow quotes and brackets; returns whether the next character begins something."""
    character, after = line[at], line[at + 1 : at + 2]
    if starts and character in "'\"":
        scan.quote = character
        return False
    if (starts and character in "[{") or (scan.brackets and character in "[{"):
        scan.brackets += 1
        if scan.brackets + len(scan.indents) > MAX_LEVELS:
            raise scan.refuse(row, at + 1, f"more than {MAX_LEVELS} levels")
        return True
    if scan.brackets and character in "]}":
        scan.brackets -= 1
        return False
    if character == "," and scan.brackets:
        return True
    if character in ":-?" and after in ("", " ", "\t") and (character == ":" or starts):
        return True
    return starts and character in " \t"
