"""The pages are true: their python runs, their console lines print what the page shows, their links lead somewhere."""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuroode.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its first line of code."""

    language: str
    line: int
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1], text[: m.start(2)].count("\n") + 1, m[2]) for m in found]


def given(page: Path, folder: Path) -> None:
    """Write the files of a page: yaml blocks that begin with `# NAME.yaml`."""
    for block in blocks(page):
        if block.language == "yaml" and (name := re.match(r"# (\w+\.yaml)\n", block.code)):
            (folder / name[1]).write_text(block.code[name.end() :], encoding="utf-8")


def _having(language: str) -> list[Path]:
    return [page for page in PAGES if any(b.language == language for b in blocks(page))]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", _having("python"), ids=_name)
def test_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One namespace a page. Blank lines in front make a traceback name the line of the page."""
    monkeypatch.chdir(tmp_path)
    given(page, tmp_path)
    names = {"__name__": page.stem}
    for block in blocks(page):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)


@pytest.mark.parametrize("page", _having("console"), ids=_name)
def test_console(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`$ neuroode ...` prints what stands below it; `...` stands for any lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")  # of --help
    given(page, tmp_path)
    for block in blocks(page):
        if block.language == "console":
            for command, expected in _calls(block.code):
                _run(command)
                printed = "".join(capsys.readouterr())
                assert _fits(expected, printed), f"{page}:{block.line}: {command}\n{printed}"


def _run(command: str) -> None:
    with contextlib.suppress(SystemExit):  # of --help and of wrong usage
        main(shlex.split(command)[1:])


def _calls(code: str) -> list[tuple[str, str]]:
    """Each line `$ command` and the text up to the next."""
    first, *rest = re.split(r"^\$ ", code, flags=re.MULTILINE)
    assert not first
    return [(call.partition("\n")[0], call.partition("\n")[2]) for call in rest]


def _fits(expected: str, printed: str) -> bool:
    parts = (re.escape(part) for part in re.split(r"^\s*\.\.\.\n", expected, flags=re.MULTILINE))
    return re.fullmatch(r"(?:.*\n)*?".join(parts), printed) is not None


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [t for t in targets if "://" not in t]
    assert not [t for t in local if not (page.parent / t).exists()]
