"""Generated neurons through check, show, simulate, emit and train; see `gen_models.py` for one of them by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from gen_models import failures, main
from gen_neurons import declaration

QUICK = [f"quick/{i}" for i in range(6)]
NIGHTLY = [f"nightly/{i}" for i in range(200)]


@pytest.mark.parametrize("seed", QUICK)
def test_every_stage(seed: str, tmp_path: Path) -> None:
    assert not failures(seed, tmp_path, without=() if seed == "quick/1" else ("jax",))


@pytest.mark.slow
@pytest.mark.parametrize("seed", NIGHTLY)
def test_two_hundred(seed: str, tmp_path: Path) -> None:
    assert not failures(seed, tmp_path)


def test_equal_seeds_give_equal_models() -> None:
    assert declaration("a/1") == declaration("a/1") != declaration("a/2")


def test_the_command_writes_the_models_and_says_how_they_fared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seed", "command", "--count", "1", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "generated_command_0.yaml: check ok, show ok, simulate ok" in said
    assert "again: --seed command/0" in said
    assert list(tmp_path.glob("*.yaml"))
