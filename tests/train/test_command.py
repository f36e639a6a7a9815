"""`neuroode train`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuroode.cli.main import main

pytest.importorskip("matplotlib")
QUICK = ["train", "digits", "--neuron", "brf", "--size", "8", "--epochs", "1", "--batch", "200", "--threads", "1"]


def test_a_run_ends_with_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--seeds", "0,1", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("digits, brf: 8 neurons, ")
    assert [line.split(":")[0] for line in lines[1:3]] == ["seed 0", "seed 1"]
    assert lines[-1] == f"report: {tmp_path}/report.html"
    assert "seed 1  epoch   1/1" in err
    assert json.loads((tmp_path / "report.json").read_text())["task"] == "digits"
    assert sorted(f.name for f in (tmp_path / "checkpoints").iterdir()) == ["seed0.ckpt", "seed1.ckpt"]


def test_json_and_a_bar_that_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--json", "--require", "99", "--out", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["settings"]["require"] == 99
    assert err == ""


@pytest.mark.slow
def test_seeds_side_by_side_give_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for name, extra in (("a", []), ("b", ["--jobs", "2"])):
        assert main([*QUICK, "--seeds", "0,1", "--json", "--out", str(tmp_path / name), *extra]) == 0
        found.append([s["test_score"] for s in json.loads(capsys.readouterr().out)["seeds"]])
    assert found[0] == found[1]


def test_no_recurrent_leaves_the_recurrent_weights_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for extra in ([], ["--no-recurrent"]):
        assert main([*QUICK, "--json", "--out", str(tmp_path), *extra]) == 0
        found.append(json.loads(capsys.readouterr().out)["parameters"])
    assert found[0] - found[1] == 8 * 8


def test_set_reaches_the_neuron(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--json", "--set", "omega=uniform(20, 21)", "--out", str(tmp_path)]) == 0
    start = json.loads(capsys.readouterr().out)["resonators"]["seeds"][0]["omega_start"]
    assert 20 <= min(start) < max(start) <= 21


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "mnist", "--neuron", "brf"], "unknown task 'mnist'"),
        (["train", "ecg", "--neuron", "brf"], "task 'ecg' needs its data"),
        (["train", "digits", "--neuron", "brff"], "brff"),
        ([*QUICK, "--seeds", "0,a"], "--seeds is '0,a'"),
        ([*QUICK, "--seeds", "1,1"], "seeds are [1, 1]"),
        ([*QUICK, "--set", "omega"], "--set is 'omega'"),
        ([*QUICK, "--set", "omeg=1"], "omeg"),
        ([*QUICK, "--lr", "-1"], "lr is -1.0, not a positive number"),
        ([*QUICK, "--size", "0"], "size is 0"),
        ([*QUICK, "--jobs", "0"], "jobs is 0"),
        ([*QUICK, "--loss", "mse"], "loss is 'mse'"),
    ],
)
def test_one_error_and_status_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 3


def test_importing_is_light() -> None:
    heavy = "{'torch', 'pytorch_lightning', 'matplotlib', 'sklearn', 'mlxtend'}"
    code = f"import sys, neuroode.train, neuroode.cli.train; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "set()"
