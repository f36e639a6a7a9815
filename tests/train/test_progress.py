"""Progress: a line now and then, a bar on a terminal if there is tqdm."""

from __future__ import annotations

import sys
import types

import pytest

from neuroode.train.progress import LINES, Progress, figures
from neuroode.train.results import Epoch


def epoch(number: int) -> Epoch:
    return Epoch(
        epoch=number, lr=0.1, train_loss=0.5, train_score=70.0, val_loss=0.25, val_score=80.0, rate=0.05, seconds=1.0,
    )  # fmt: skip


def test_one_line_holds_the_figures() -> None:
    assert figures(epoch(1)) == "train loss 0.500 70.0 %  validation 0.250 80.0 %  rate 5.0 %"


def test_a_long_run_prints_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("seed 0", 400) as tell:
        for number in range(401):
            tell(epoch(number))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) <= LINES + 1
    assert lines[-1].startswith("seed 0  epoch 400/400  train loss")


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("seed 0", 1, quiet=True)(epoch(1))
    assert capsys.readouterr() == ("", "")


class Bar:
    """What is used of tqdm."""

    def __init__(self, **options: object) -> None:
        self.options, self.n, self.text, self.closed = options, 0, "", False

    def set_postfix_str(self, text: str) -> None:
        self.text = text

    def close(self) -> None:
        self.closed = True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    with Progress("seed 0", 3) as tell:
        tell(epoch(2))
    assert (tell.bar.n, tell.bar.closed) == (2, True)
    assert "validation 0.250" in tell.bar.text
    assert Progress("seed 0", 3, bar=False).bar is None


def test_without_tqdm_a_terminal_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    Progress("seed 0", 1)(epoch(1))
    assert "epoch   1/1" in capsys.readouterr().err
