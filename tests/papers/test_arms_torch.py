"""The arms of papers/lnm: weights at the start, maps as they are declared, tables and a picture of a small run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuroode.neuron import load
from neuroode.papers import page, training_torch
from neuroode.papers.lnm import arms_torch
from neuroode.papers.training_torch import Run
from neuroode.train.module_torch import Training
from neuroode.train.results import Diverged

pytest.importorskip("sklearn")


def test_all_arms_start_from_the_same_weights_and_all_but_qif_from_the_same_map() -> None:
    task, starts = training_torch._task(0), {}
    for arm, (make, _) in arms_torch.ARMS.items():
        with torch.random.fork_rng(devices=[]):
            module = Training(task, make(), load("li"), training_torch.settings(size=4), 0)
        values = module.network.values()
        starts[arm] = values
        run = Run(arm, 0, 0.0, 0.0, 0, 0.0, values)
        wanted = [0, 0.875, 0.25, 0] if arm == "QIF" else [0, 0.5, 0, 0]
        for f in arms_torch.learned(run):
            assert np.abs(np.pad(f.coef, (0, 4 - len(f.coef))) - wanted).max() <= 1e-7
    for name in ("weights of layer 1", "weights of layer 2", "weights of layer 3", "output weights"):
        assert all(np.array_equal(v[name], starts["LIF"][name]) for v in starts.values())


@pytest.mark.parametrize("arm", arms_torch.ARMS)
def test_the_map_that_is_drawn_is_that_of_the_neuron(arm: str) -> None:
    """One step from some potentials below the threshold, without input."""
    make, form = arms_torch.ARMS[arm]
    neuron, u = make(), np.linspace(-1.9, 0.9, 8)
    changed = {"LNM, degree 2": {"theta": [0.1, 0.4, -0.2]}, "LNM, degree 3": {"theta": [0.1, 0.4, -0.2, 0.1]},
               "contractive, degree 3": {"c": [0.1, 0.9, 0.5, -0.3]}, "PLIF": {"k": 0.3}}.get(arm, {})  # fmt: skip
    f = form(lambda name: np.atleast_1d(changed[name]))
    state = neuron.spec.states[0].name if neuron.spec.states else "u" if "LNM" in arm or arm[0] in "Lc" else "v"
    x = np.zeros((2, 1, 8))
    x[0, 0] = u  # from rest at 0 the input is the potential
    rest = {name: value for name, value in changed.items() if name != "k"}
    offset = neuron.simulate(np.zeros((1, 1, 8)), size=8, parameters=changed)[f"{state}.before"][0, 0]
    x[0, 0] -= offset
    rows = neuron.simulate(x, size=8, parameters=rest | changed)[f"{state}.before"][:, 0]
    assert np.abs(rows[0] - u).max() <= 1e-12
    assert np.abs(rows[1] - f(u)).max() <= 1e-12


def test_a_run_is_read_the_next_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training_torch, "HOME", tmp_path)
    small = training_torch.settings(epochs=1, size=2, batch=300)
    first = training_torch.train("x", "LIF", arms_torch.ARMS["LIF"][0](), 0, small)
    calls: list[int] = []
    monkeypatch.setattr(Training, "training_step", lambda *_: calls.append(1))
    again = training_torch.train("x", "LIF", arms_torch.ARMS["LIF"][0](), 0, small)
    assert (calls, again.score) == ([], first.score)
    assert all(np.array_equal(again.values[n], v) for n, v in first.values.items())


def test_a_loss_that_is_not_finite_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from neuroode.train.loop_torch import Run as Loop

    def diverge(*_: object) -> None:
        raise Diverged("the loss is nan")

    monkeypatch.setattr(training_torch, "HOME", tmp_path)
    monkeypatch.setattr(Loop, "train", diverge)
    found = training_torch.train("x", "LIF", arms_torch.ARMS["LIF"][0](), 0, training_torch.settings(size=2))
    assert found.score is None
    assert "| LIF | – | 1 | 1 | 0 | – | – |" in arms_torch.table({"LIF": [found]})


def test_a_page_and_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "README.md"
    target.write_text("<!-- arms -->\nold\n<!-- end of arms -->\n")
    made = {"theta": np.array([0, 0.4, -0.1, 0.05]), "c": np.array([-0.2, 0.7, 0.1, 0.0]), "k": np.array([0.4])}

    def results(seeds: int) -> dict[str, list[Run]]:
        values = {f"{name} of layer {n}": v for name, v in made.items() for n in (1, 2, 3)}
        return {arm: [Run(arm, s, 97.0 + s, 0.2, 0, 8.0, values) for s in range(seeds)] for arm in arms_torch.ARMS}

    monkeypatch.setattr(arms_torch, "results", results)
    monkeypatch.setattr(arms_torch, "read", lambda name: SimpleNamespace(page=target))
    arms_torch.main(["--quick", "--write"])
    printed, _ = capsys.readouterr()
    assert page.section(target.read_text(), "arms") == printed.strip()
    assert "| LNM, degree 3 | 97.50 ± 0.71 | 2 | 0 | 0 | 20.0 | 1.40 | 8.0 |" in printed
    assert (tmp_path / "arms.png").stat().st_size > 20_000
