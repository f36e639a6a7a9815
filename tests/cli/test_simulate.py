"""`neuroode simulate` runs every model with a drive that shows something, and with drives that are asked for."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from cli_pictures import size

import neuroode as no
from neuroode._errors import RunError
from neuroode.cli import drive, simulate
from neuroode.cli.main import main
from neuroode.cli.runs import simulated
from neuroode.models import names


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["simulate", *words]) == 0
    return capsys.readouterr().out


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulate.arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", names())
def test_every_model_does_something(name: str) -> None:
    """Spiking ones spike, between 3 times and in half of the steps; others leave their resting state.

    A spike that resets nothing is an upward crossing in an oscillation, whose period may be the length of the run.
    """
    args = arguments(name, "--neurons", "1")
    found = simulated(no.load(name), args)
    assert all(np.isfinite(x).all() for x in found.trace.values())
    if found.events:
        counts = found.trace[found.events[-1]].reshape(found.steps, -1).sum(axis=0).max()
        least = 3 if any(e.reset for e in no.load(name).spec.events) else 1
        assert least <= counts <= found.steps / 2
    else:
        assert max(np.ptp(np.abs(x)) for x in found.trace.values()) > 1e-3
    assert found.steps <= 1000


def test_json_is_the_interpreter_s(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("alif", "--steps", "60", "--input", "step(3, 10, 40)", "--dt", "0.5", "--json")
    data = json.loads(printed(capsys, *words))
    x = np.zeros((60, 1, 1))
    x[20:80] = 3.0
    wanted = no.load("alif").simulate(x[:60], 0.5)
    assert np.array_equal(np.array(data["inputs"]["I"])[:, 0], x[:60, 0, 0])
    for state in ("v", "a", "s"):
        assert np.array_equal(np.array(data["trace"][state]), wanted[state][:, 0])
    assert data["events"] == {"s": int(wanted["s"].sum())}
    assert data["unit"] == "ms"


def test_csv_has_a_column_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "drf", "--steps", "5", "--neurons", "2", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 5
    assert {"time", "I", "real(z)[0]", "imag(z)[3]", "s"} <= set(rows[0])
    assert [float(r["time"]) for r in rows] == [1, 2, 3, 4, 5]


def test_the_summary_counts(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "lif", "--input", "constant(2)", "--steps", "100")
    counts = no.load("lif").simulate(np.full((100, 1, 1), 2.0))["s"].ravel()
    assert f"event s: {counts.sum():g}, the first at {np.flatnonzero(counts)[0] + 1} ms" in text
    assert "input I: constant(2)" in text


def test_several_inputs_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "neuron: two\ndt: 0.1\ninputs: {I: current, K: spike}\nequations: dv/dt = -v + I + K\noutputs: v\n",
        encoding="utf-8",
    )
    words = (str(file), "--steps", "20", "--input", "K=impulse(2, 0.5)", "--input", "I = ramp(0, 1)", "--json")
    data = json.loads(printed(capsys, *words))
    K, I = (np.array(data["inputs"][n]).ravel() for n in "KI")
    assert K.tolist() == [0, 0, 0, 0, 0, 2] + [0] * 14
    assert pytest.approx(np.linspace(0, 1, 20), rel=1e-14) == I
    assert main(["simulate", str(file), "--input", "K=constant(0.5)"]) == 2
    assert "whole numbers" in capsys.readouterr().err


WRONG = {
    "sin(1, 2)": "one of constant(value)", "sine(1)": "takes 2 to 3 numbers", "constant(a)": "takes 1 number",
    "constant 2": "one of constant(value)", "J=constant(1)": "'J' is no input of 'lif'",
    "constant(inf)": "takes 1 number",
    "impulse(1, 900)": "the run covers 0 to 50",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_wrong_drives_are_one_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "lif", "--steps", "50", "--input", text]) == 2
    err = capsys.readouterr().err
    assert WRONG[text] in err
    assert "Traceback" not in err


def test_counts_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--steps", "--neurons"):
        assert main(["simulate", "lif", option, "0"]) == 2
        assert f"{option} is 0" in capsys.readouterr().err
    with pytest.raises(RunError, match="two signals"):
        drive.by_input(no.load("lif").spec, [drive.parse("constant(1)"), drive.parse("I=constant(2)")])


def test_signals() -> None:
    clock = drive.Clock(2000, 0.1, 3, np.random.default_rng(0))
    assert np.allclose(drive.parse("sine(2, 3, 1)")(clock)[:, 0], 1 + 2 * np.sin(3 * (np.arange(2000) + 0.5) * 0.1))
    train = drive.parse("poisson(0.5, 2)")(clock)
    assert train.mean() == pytest.approx(0.5 * 2, rel=0.15)  # area per time
    assert set(np.unique(train * 0.1)) <= {0.0, 2.0, 4.0, 6.0}
    noise = drive.parse("noise(1, 2)")(clock)
    assert (noise.mean(), noise.std()) == (pytest.approx(1, abs=0.1), pytest.approx(2, rel=0.05))
    assert drive.parse("impulse(3, 10)")(clock)[:, 0].sum() * 0.1 == pytest.approx(3)
    assert str(drive.parse(" I = step( 2,10 ) ")) == "step(2, 10)"


@pytest.mark.parametrize("name", ["lif", "drf"])
def test_pictures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.png"
    printed(capsys, name, "--steps", "120", "--plot", str(file))
    assert size(file)[0] > 1000
    svg = tmp_path / "run.svg"
    printed(capsys, name, "--steps", "50", "--plot", str(svg))
    assert svg.read_text(encoding="utf-8").startswith("<?xml")


CUBIC = """
neuron: cubic
dt: 1
method: rk4
equations: dv/dt = v^3 + I
spike: v > 100
reset: v -= 0
"""


def test_a_neuron_that_blows_up_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first step, the lane and the state; a reset to -inf is none of that."""
    (tmp_path / "cubic.yaml").write_text(CUBIC, encoding="utf-8")
    found = no.load(str(tmp_path / "cubic.yaml")).simulate(np.full((20, 1, 1), 2.0))["v"][:, 0, 0]
    step = int(np.argmax(~np.isfinite(found)))
    assert main(["simulate", str(tmp_path / "cubic.yaml"), "--input", "constant(2)", "--steps", "20"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"'v' of 'cubic' is not finite from step {step} on, lane (0,)\nhint: ")
    assert main(["simulate", "qif", "--compat", "theta", "--input", "constant(9)", "--steps", "50"]) == 0
    assert not capsys.readouterr().err
