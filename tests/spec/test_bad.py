"""Wrong declarations, each with the whole message that it must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuroode import SpecError
from neuroode.spec.read_yaml import read_text

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("file", BAD, ids=[f.stem for f in BAD])
def test_message(file: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(file.read_text(encoding="utf-8"), file.name)
    assert str(caught.value) + "\n" == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_wrong_input_has_its_message() -> None:
    assert len(BAD) >= 40
    assert {f.stem for f in BAD} == {f.stem for f in (Path(__file__).parent / "bad").glob("*.txt")}
