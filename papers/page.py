"""The table of a paper's results as Markdown, and its place in README.md."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from neuroode._errors import RunError
from neuroode.papers.claims import Relation
from neuroode.papers.run import NOT_RUN, Result

HEAD = ("claim", "source", "paper", "ours", "verdict")
SMALL = 1e-3  # a bound below it is one of rounding, which is another number on each machine: the bound is printed


def table(results: Iterable[Result]) -> str:
    """One row a claim."""
    return markdown(HEAD, [_cells(r) for r in results])


def markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(result: Result) -> tuple[str, ...]:
    c = result.claim
    bounds = {r.figure: r for r in (c.instead if result.verdict == "erratum" else c.holds)}
    ours = "; ".join(f"{name}: {_figure(value, bounds.get(name))}" for name, value in result.figures.items())
    claim = f"{c.id}: {c.claim}" + (f". Right: {c.right}" if c.right and result.verdict == "erratum" else "")
    source = c.source if c.mark == "seen" else f"{c.source} (derived)"
    return claim, source, c.paper, "run with --slow" if result.verdict == NOT_RUN else ours, result.verdict


def _figure(value: float, relation: Relation | None) -> str:
    if (
        relation
        and relation.operator in ("<=", "<")
        and 0 < relation.bound <= SMALL
        and relation.met({relation.figure: value})
    ):
        return f"at most {relation.bound:g}" if relation.operator == "<=" else f"below {relation.bound:g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def section(page: str, name: str) -> str:
    """The text between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        RunError: the page has no such section.
    """
    start, end = _marks(page, name)
    return page[start:end].strip("\n")


def with_section(page: str, name: str, text: str) -> str:
    """The page with that section replaced."""
    start, end = _marks(page, name)
    return f"{page[:start]}\n{text}\n\n{page[end:]}"


def _marks(page: str, name: str) -> tuple[int, int]:
    opening, closing = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if opening not in page or closing not in page:
        raise RunError(f"the page has no section '{name}'", hint=f"write {opening.strip()} and {closing} around it")
    return page.index(opening) + len(opening), page.index(closing)


def write_section(target: Path, name: str, text: str) -> None:
    """Replace a section of a file; a reader sees the old page or the new one."""
    page = with_section(target.read_text(encoding="utf-8"), name, text)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, target)
