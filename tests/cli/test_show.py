"""`neuroode show` prints the declaration, the timing and what the compiler finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuroode.cli.main import main
from neuroode.models import names, path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["show", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", names())
def test_every_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, name, "--plan")
    assert text.startswith(f"{name}: ")
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")][1:]
    shown = [t for t in titles if t not in ("events", "parameters", "checks")]
    assert shown == ["equations", "timing of one step", "analysis", "discretization", "plan", "predicted"]


def test_json_is_the_same_in_data(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, "brf", "--json", "--plan"))
    assert data["name"] == "brf"
    assert data["equations"][2] == "du/dt = (b + i*omega)*u + I : complex"
    assert data["parameters"][0]["domain"] == "interval(0, 1/dt)"
    assert [stage["title"] for stage in data["timing"]["stages"]][1] == "flow"
    assert data["analysis"]["blocks"][0]["states"] == ["u"]
    assert data["discretization"][0]["method"] == "euler"
    assert data["plan"]


def test_a_path_and_a_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    assert "late resets" in printed(capsys, str(path("tc_lif")), "--compat", "paper")


def test_an_unknown_deviation_is_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tc_lif", "--compat", "papre"]) == 2
    assert "paper" in capsys.readouterr().err


def test_what_is_not_compiled_yet_is_shown_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f_lif.yaml"
    lines = (
        "neuron: f_lif\nparameters: {alpha: {value: 0.7, domain: 'interval(0.05, 1)'}}\nequations: D^alpha v = -v + I"
    )
    file.write_text(lines, encoding="utf-8")
    text = printed(capsys, str(file))
    assert "D^alpha v = -v + I" in text
    assert "carry in" in text


def test_predicted_times_of_the_schedules(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "drf", "--plan", "--steps", "4096", "--lanes", "7")
    assert "4,096 steps, 7 lanes, forward and backward on one core: " in text
    data = json.loads(printed(capsys, "prf", "--plan", "--json", "--steps", "2048"))
    assert data["predicted"]["steps"] == 2048
    assert set(data["predicted"]["milliseconds"]) >= {"scan", "fft"}
    assert main(["show", "prf", "--plan", "--lanes", "0"]) == 2
    assert "--lanes is 0" in capsys.readouterr().err
