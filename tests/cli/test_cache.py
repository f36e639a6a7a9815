"""`neuroode cache` shows and clears the compiled kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuroode.cli.main import main
from neuroode.solvers.native import cache_dir


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROODE_CACHE", str(tmp_path))
    return cache_dir()


def test_an_empty_cache(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{folder}: 0 kernels, 0 kB\n"


def test_kernels_are_counted_and_cleared_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.txt").write_text("mine", encoding="utf-8")
    (folder / "di").mkdir()
    (folder / "di" / "digest-sum.so").write_bytes(bytes(3000))
    (folder / "di" / "digest.c").write_text("int x;", encoding="utf-8")
    assert main(["cache"]) == 0
    assert main(["cache", "--clear"]) == 0
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]
    assert capsys.readouterr().out == f"{folder}: 1 kernel, 3 kB\nremoved 1 kernel from {folder}\n"
