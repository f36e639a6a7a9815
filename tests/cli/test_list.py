"""`neuroode list` prints the zoo; its quick reading of `about` is the reader's."""

from __future__ import annotations

import json

import pytest

from neuroode.cli.main import main
from neuroode.models import names, path
from neuroode.spec.read_yaml import read


def test_a_line_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *names()]


def test_json_holds_what_the_reader_finds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["name"], r["about"]) for r in rows] == [(n, read(path(n), find=path).about) for n in names()]
