"""`neuroode analyse` prints facts, boundaries and figures, and draws them."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
from cli_pictures import size
from dynamics_models import WILSON_COWAN

import neuroode as no
from neuroode.cli.main import main


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["analyse", *words]) == 0
    return capsys.readouterr().out


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["analyse", *words]) == 2
    return capsys.readouterr().err


def test_text_and_json_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "lif", "--method", "euler", "--dt", "0.5 ms")
    assert text.startswith("lif\nblock v: affine; A = [[-1/tau]]")
    assert "    dt <= 2*tau\n" in text
    assert "figures at dt = 0.5 ms" in text
    data = json.loads(printed(capsys, "lif", "--method", "euler", "--dt", "0.5", "--json"))
    (boundary,) = data["boundaries"]
    assert boundary["solved"]["dt"] == "dt <= 2*tau"
    assert boundary["evidence"] == "proved"
    (mode,) = data["figures"]["modes"]
    assert mode["multiplier"] == pytest.approx(1 - 0.5 / 20, rel=1e-14)
    assert mode["time constant"] == pytest.approx(20, rel=1e-14)


def test_set_changes_what_is_analysed(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, "rf", "--set", "omega=30", "--set", "b_0=2", "--json"))
    (mode,) = data["figures"]["modes"]
    assert mode["eigenvalue"] == {"real": -2.0, "imag": 30.0}
    assert data["figures"]["drawn"] == 1
    err = failed(capsys, "rf", "--set", "omgea=30")
    assert "omgea" in err
    assert "omega" in err


def test_the_seed_draws_other_neurons(capsys: pytest.CaptureFixture[str]) -> None:
    by_seed = [json.loads(printed(capsys, "rf", "--seed", s, "--json"))["figures"] for s in ("0", "1", "0")]
    assert by_seed[0] == by_seed[2]
    assert by_seed[0] != by_seed[1]


def test_a_neuron_without_dt_is_analysed_in_symbols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "free.yaml"
    file.write_text("neuron: free\nmethod: euler\nequations: dv/dt = -3*v + I\noutputs: v\n", encoding="utf-8")
    text = printed(capsys, str(file))
    assert "dt <= 2/3" in text
    assert "figures" not in text
    assert "declares no dt" in failed(capsys, str(file), "--plot", str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    "words",
    [
        ("lif", "--method", "euler"),
        ("brf",),
        ("tc_lif",),
        pytest.param(("qif",), marks=pytest.mark.slow),
        pytest.param(("izhikevich", "--held", "I=5"), marks=pytest.mark.slow),
    ],
)
def test_pictures(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.png"
    printed(capsys, *words, "--plot", str(file))
    width, height = size(file)
    assert width > 1000
    assert height > 500
    assert [f.name for f in tmp_path.iterdir()] == ["found.png"]


def test_what_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ".png, .svg or .pdf" in failed(capsys, "lif", "--plot", str(tmp_path / "a.jpg"))
    err = failed(capsys, "izhikevich", "--compat", "script", "--plot", str(tmp_path / "a.png"))
    assert "no linear part: there is nothing to draw ('izhikevich' has no flow" in err
    assert not list(tmp_path.iterdir())


def test_a_picture_without_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["analyse", "li", "--plot"]) == 0
    assert "picture: li.png" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["li.png"]


@pytest.mark.slow
def test_three_states_and_a_flow_that_is_linear_in_neither(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A projection, and nullclines and branches in numbers alone; states with an axis are their elements."""
    three = (
        "neuron: three\ndt: 0.1\nequations: dv/dt = v - v^3 - w - z + I; dw/dt = 0.1*(v - w); dz/dt = 0.05*(v - z)\n"
    )
    rows = "neuron: rows\naxes: {k: 2}\ndt: 0.1\nequations: dv/dt = v - v^3 + sum_k(u[k]) + I; du[k]/dt = v^2 - u[k]\n"
    rows += "spike: v > 1\nreset: v = 0\n"
    for name, text in {"three": three + "spike: v > 0\n", "rows": rows, "two": "neuron: two\n" + WILSON_COWAN}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        printed(capsys, str(tmp_path / f"{name}.yaml"), "--plot", str(tmp_path / f"{name}.png"))
        assert size(tmp_path / f"{name}.png")[0] > 1000


def test_held_inputs_and_bifurcations(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "izhikevich", "--held", "I=3.9")
    assert "fixed points at I = 3.9 (proved: real roots of a polynomial, isolated)\n" in text
    assert "unstable focus" in text
    data = json.loads(printed(capsys, "izhikevich", "--json"))["dynamics"]
    assert [b["kind"] for b in data["bifurcations"]] == ["Hopf", "saddle-node"]
    assert "no number" in failed(capsys, "izhikevich", "--held", "I=x")
    assert "finite" in failed(capsys, "izhikevich", "--held", "I=inf")
    assert "--held NAME=NUMBER" in failed(capsys, "izhikevich", "--held", "I")
    assert "'J' is no input" in failed(capsys, "izhikevich", "--against", "J")


def test_rates(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("lif", "--rates", "1.5:3:2", "--duration", "300")
    text = printed(capsys, *words)
    assert "rate of s (Hz) against I, of runs of 240 after 60 at dt = 1 (sampled)\n" in text
    assert "by quadrature 45.512" in text
    data = json.loads(printed(capsys, *words, "--json"))["rates"]
    assert data["currents"] == [1.5, 3.0]
    for wrong in ("1", "1:2", "a:b:3", "0:1:1", "0:inf:3", "0:1:5000"):
        assert "LOW:HIGH:N" in failed(capsys, "lif", "--rates", wrong)
    assert "there is no event" in failed(capsys, "li", "--rates")


def test_without_matplotlib_there_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [m for m in sys.modules if m.startswith(("matplotlib", "neuroode.cli.plot"))]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def missing(name: str, *rest: object, **more: object) -> object:
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    err = failed(capsys, "lif", "--plot", str(tmp_path / "a.png"))
    assert err == "--plot needs the package 'matplotlib'\nhint: pip install 'neuroode[plot]'\n"


def test_the_boundary_of_the_picture_is_the_one_that_is_printed() -> None:
    """The grid's multipliers against the closed form of the Euler step, and the neuron's place in it."""
    from neuroode.cli.boundary_map import boundary_map

    neuron = no.load("rf")
    report = neuron.analyse(method="euler")
    found = boundary_map(neuron, report, None, "euler")
    assert found is not None
    assert (found.x_label, found.y_label) == ("omega", "b_0")
    wanted = np.hypot(1 - 0.01 * found.y, 0.01 * found.x)
    assert np.abs(found.radius - wanted).max() <= 1e-12 * wanted.max()
    assert 15 <= found.drawn[0].min() < found.drawn[0].max() <= 50
