"""`neuroode check`: ok or the one error of each file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuroode.cli.main import main
from neuroode.models import names, path
from neuroode.system.support import CONSTRUCTS

GOOD = "neuron: good\nequations: dv/dt = -v + I\n"
BAD = "neuron: bad\nparameters: {tau: {value: 2}}\nequations: dv/dt = (-v + I)/tua\n"


def test_the_zoo_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *map(str, map(path, names()))]) == 0
    assert capsys.readouterr().out == "".join(f"{path(name)}: ok\n" for name in names())


def test_each_file_gets_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD, encoding="utf-8")
    bad.write_text(BAD, encoding="utf-8")
    assert main(["check", str(bad), str(good)]) == 2
    out, err = capsys.readouterr()
    assert out == f"{good}: ok\n"
    assert err.startswith(f"{bad}:3:")
    assert "unknown name 'tua'" in err
    assert "did you mean 'tau'?" in err


def test_a_wrong_deviation_is_an_error_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD + "compat: {odd: {replace: {spike: v > w}}}\n", encoding="utf-8")
    assert main(["check", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_what_is_not_text_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bytes.yaml"
    file.write_bytes(b"\xff\xfe\x00neuron")
    assert main(["check", str(file), str(tmp_path) + "/"]) == 2
    err = capsys.readouterr().err
    assert "not UTF-8" in err
    assert "Traceback" not in err


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD, encoding="utf-8")
    assert main(["check", "--json", str(file), "lif"]) == 2
    bad, good = json.loads(capsys.readouterr().out)
    assert (bad["ok"], good["ok"], good["error"]) == (False, True, None)
    assert "tua" in bad["error"]


def test_no_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "which files?" in capsys.readouterr().err


def test_schema_names_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {key}: " in text for key in ("neuron", "equations", "parameters", "surrogate", "compat"))


def test_support_names_every_construct(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--support"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name, _ in CONSTRUCTS)
