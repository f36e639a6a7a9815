"""Plain tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Align columns by spaces; a column without entries is left out."""
    body = [tuple(row) for row in rows]
    kept = [j for j in range(len(head)) if any(row[j] for row in body)]
    lines = [[head[j] for j in kept], *([row[j] for j in kept] for row in body)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(kept))]
    padded = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    return "\n".join((indent + line).rstrip() for line in padded)
