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
    verdicts = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert verdicts == [f"{path(name)}: ok" for name in names()]


def test_statements_are_evaluated_and_the_tie_to_one_step_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "brf"]) == 0
    statement, note = capsys.readouterr().out.splitlines()[1:]
    assert statement == "  abs(1 + dt*(p - b_0 + i*omega)) <= 1: holds for 1000 of 1000 drawn neurons"
    assert note == "  the flow of u reads dt: it belongs to one discretization, method euler"


def test_a_statement_that_does_not_hold_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "stiff.yaml"
    rest = "parameters: {tau: 0.2}\nequations: dv/dt = (-v + I)/tau\nchecks: [dt <= tau, dt > 0]\n"
    file.write_text("neuron: stiff\ndt: 1\nmethod: euler\n" + rest, encoding="utf-8")
    assert main(["check", str(file)]) == 1
    assert capsys.readouterr().out == f"{file}: ok\n  dt <= tau: does not hold\n  dt > 0: holds\n"


def test_statements_about_arrays_hold_at_every_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "arrays.yaml"
    file.write_text(
        "neuron: arrays\ndt: 1\naxes: {k: 3}\n"
        'parameters: {a: {init: "0.2*(k + 1)", per: [k]}, b: {value: [1, 2, 3], per: [k]}}\n'
        "equations: dz[k]/dt = -a[k]*b[k]*z[k] + I\n"
        'checks: ["a[k] < 0.7", "sum_k(b[k]) > 5", "a[0] < b[2]"]\n'
    )
    main(["check", str(file)])
    out = capsys.readouterr().out
    assert out.count("holds") == 3
    file.write_text(file.read_text().replace("0.7", "0.5"))
    assert main(["check", str(file)]) == 1
    assert "a[k] < 0.5: does not hold" in capsys.readouterr().out


def test_a_statement_without_a_step_is_not_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "open.yaml"
    file.write_text("neuron: open\nequations: dv/dt = -v + I\nchecks: [dt <= 1]\n", encoding="utf-8")
    assert main(["check", str(file)]) == 0
    assert "dt <= 1: not evaluated, the model declares no dt" in capsys.readouterr().out


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
