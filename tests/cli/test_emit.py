"""`neuroode emit` writes a whole file or none, and never replaces what is not a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neuroode.cli import emit
from neuroode.cli.main import main


@pytest.mark.parametrize("target", ["torch", "jax", "c"])
def test_the_file_is_what_standard_output_gets(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.txt"
    assert main(["emit", "lif", "--target", target, "-o", str(file)]) == 0
    assert main(["emit", "lif", "--target", target]) == 0
    assert file.read_text(encoding="utf-8") == capsys.readouterr().out
    assert file.stat().st_size > 100
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emit", "lif", "--target", "c", "-o", str(tmp_path / "none" / "out.c")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/none/out.c: No such file or directory\n"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "out.txt"
    file.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        emit.write_atomically(file, "new \ud800")
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_mode_and_link_are_kept(tmp_path: Path) -> None:
    file, link = tmp_path / "out.txt", tmp_path / "link.txt"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o640)
    link.symlink_to(file)
    emit.write_atomically(link, "new")
    assert (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == ("new", 0o640)
    assert link.is_symlink()


def test_a_pipe_is_written_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    emit.write_atomically(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
