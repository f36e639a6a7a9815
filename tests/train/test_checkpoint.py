"""Checkpoints: whole or not at all, the right recipe, the one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuroode._errors import RunError
from neuroode.train import checkpoint, files

RECIPE = {"lr": 0.1, "init": {"tau": "1"}, "data": "a" * 60, "sizes": (1, 2)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "seed0.ckpt"


def test_what_was_saved_is_read(path: Path) -> None:
    assert checkpoint.read(path, RECIPE) is None
    for epoch in range(3):
        checkpoint.save(path, RECIPE, epoch, bytes([epoch, 10, 13, 0]))
    assert checkpoint.read(path, RECIPE) == checkpoint.Found(epoch=2, content=b"\x02\n\r\x00")
    assert sorted(f.name for f in path.parent.iterdir()) == ["seed0.ckpt", "seed0.previous.ckpt"]


def test_of_a_cut_or_changed_file_the_one_before_is_taken(path: Path) -> None:
    for epoch in range(2):
        checkpoint.save(path, RECIPE, epoch, bytes(1000) + bytes([epoch]))
    whole = path.read_bytes()
    flipped = whole[:-500] + b"\x01" + whole[-499:]
    for damaged in (*(whole[:n] for n in range(0, len(whole), 97)), flipped, whole + b"x"):
        path.write_bytes(damaged)
        found = checkpoint.read(path, RECIPE)
        assert found is not None
        assert found.epoch == 0
        assert found.damaged is not None
        assert str(path) in found.damaged
    path.unlink()  # a kill between the two renames
    assert checkpoint.read(path, RECIPE) == checkpoint.Found(epoch=0, content=bytes(1001))


def test_without_a_whole_one_the_error_names_both(path: Path) -> None:
    for epoch in range(2):
        checkpoint.save(path, RECIPE, epoch, b"content")
    path.write_bytes(path.read_bytes()[:-1])
    checkpoint.previous(path).write_bytes(b"half a file")
    with pytest.raises(RunError) as caught:
        checkpoint.read(path, RECIPE)
    first, hint = str(caught.value).splitlines()
    assert first.startswith(f"{path} is damaged: its 6 bytes are not those that were written; ")
    assert first.endswith("seed0.previous.ckpt is not a checkpoint of neuroode")
    assert hint == "hint: train without --resume, from the beginning"


def test_another_recipe_is_refused_with_both_values(path: Path) -> None:
    checkpoint.save(path, RECIPE, 0, b"")
    other = {**RECIPE, "lr": 0.2, "data": "b" * 60}
    with pytest.raises(RunError, match=r'of data \("a+ \.\.\. there, "b+ \.\.\. here\), lr \(0.1 there, 0.2 here\)'):
        checkpoint.read(path, other)


def test_a_failing_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(path, RECIPE, 0, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            checkpoint.save(path, RECIPE, 1, b"new")
    assert [f.name for f in path.parent.iterdir()] == ["seed0.ckpt"]
    found = checkpoint.read(path, RECIPE)
    assert found is not None
    assert found.content == b"old"


def test_leftovers_of_a_killed_write_go(path: Path) -> None:
    checkpoint.save(path, RECIPE, 0, b"content")
    left = path.with_name(".seed0.ckpt.abc123")
    left.write_bytes(b"half")
    assert checkpoint.read(path, RECIPE) is not None
    assert not left.exists()
    checkpoint.clear(path)
    assert list(path.parent.iterdir()) == []
