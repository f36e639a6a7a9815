"""What the experiments on speed time is one neuron, what is too slow stops, and a page says why a figure is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuroode._errors import Unsupported
from neuroode.cli.main import main
from neuroode.papers import claims, page, speed
from neuroode.papers.speed import Candidate, Experiment, Ratio, Step

Form = tuple[Callable, list[torch.Tensor]]
PAPERS = ("drf", "prf")


def _gradients(form: Form, c: torch.Tensor, g: torch.Tensor) -> list[np.ndarray]:
    """Spikes, and the gradient of the input."""
    forward, _ = form
    c = c.clone().requires_grad_()
    spikes = forward(c)
    spikes.backward(g)
    assert c.grad is not None
    return [spikes.detach().numpy(), c.grad.numpy()]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_candidate_computes_the_same_neuron(paper: str) -> None:
    """In float64: the same spikes, and the gradient of the input to 1e-10 of its largest entry."""
    module = import_module(f"neuroode.papers.{paper}.speed_torch")
    c = torch.tensor(module.inputs((200, module.BATCH, module.SIZE)))
    g = torch.tensor(np.random.default_rng(0).normal(size=c.shape))
    (first, *others) = module.FORMS.items()
    spikes, by_c = _gradients(first[1](torch.float64, "cpu"), c, g)
    assert 0.05 < spikes.mean() < 0.7
    for name, form in others:
        s, d = _gradients(form(torch.float64, "cpu"), c, g)
        assert (s == spikes).all(), name
        assert np.abs(d - by_c).max() <= 1e-10 * np.abs(by_c).max(), name


@pytest.mark.parametrize("paper", PAPERS)
def test_a_training_step_runs_and_the_page_has_a_place(paper: str) -> None:
    module = import_module(f"neuroode.papers.{paper}.speed_torch")
    for c in module.EXPERIMENT.candidates:
        c.build(16, "cpu")()
    assert {n for r in module.EXPERIMENT.ratios for n in (r.slow, r.fast)} <= module.FORMS.keys()
    assert "<!-- speed -->" in claims.read(paper).page.read_text(encoding="utf-8")


def _sleeper(steps: int, device: str) -> Step:
    return lambda: np.ones(steps * 500).cumsum()


def _refused(steps: int, device: str) -> Step:
    raise Unsupported("no such schedule")


def test_a_slow_candidate_stops_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroode.bench.measure.SAMPLE", 1e-4)
    rows = [
        Candidate("slow", _sleeper),
        Candidate("fast", lambda steps, device: lambda: None),
        Candidate("none", _refused),
    ]
    ratios = [Ratio("slow / fast", "slow", "fast", {8: 2.5}), Ratio("none / fast", "none", "fast", {})]
    experiment = Experiment("prf", "A title", "4 lanes", rows, ratios)
    cells = list(speed.measure(experiment, (8, 16), rounds=3, budget=0.0, longest=0.0))
    assert list(cells[0].rows) == ["slow", "fast"]
    assert cells[0].ratios["slow / fast"].ratio > 1
    assert not cells[1].rows
    text = speed.section(experiment, cells, "neuroode claims prf --speed")
    assert "- none: does not run: no such schedule" in text
    assert "- slow: not run: 0.0 s a step at 8" in text
    assert "| 16 | – | – | – |" in text
    assert "| 8 | 2.5, " in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module("neuroode.papers.prf.speed_torch")
    with pytest.raises(SystemExit, match="2"):
        speed.main(module.EXPERIMENT, argv=["--device", "cuda"])
    assert "--device is cuda, but torch finds no GPU" in capsys.readouterr().err


def test_the_command_starts_a_fresh_process_for_each_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def run(words: list[str], check: bool) -> subprocess.CompletedProcess:
        started.append(words[1:])
        return subprocess.CompletedProcess(words, 3 if "prf" in words[2] else 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["claims", "--speed", "--quick", "--write"]) == 3
    flags = ["--device", "cpu", "--quick", "--write"]
    assert started == [["-m", f"neuroode.papers.{paper}.speed_torch", *flags] for paper in PAPERS]


def test_the_experiment_writes_its_section(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The whole of --speed on two small lengths, into a copy of a page."""
    target = tmp_path / "README.md"
    target.write_text("<!-- speed -->\nold\n<!-- end of speed -->\n")
    monkeypatch.setattr("neuroode.bench.measure.SAMPLE", 1e-4)
    monkeypatch.setattr(speed, "QUICK", (8, 16))
    monkeypatch.setattr(speed, "_one_core", lambda: None)
    monkeypatch.setattr(speed, "read", lambda name: SimpleNamespace(page=target))
    module = import_module("neuroode.papers.prf.speed_torch")
    table = partial(module.spike_table, (0.5, 0.9), 500)
    speed.main(module.EXPERIMENT, table, ["--quick", "--write"])
    printed, progress = capsys.readouterr()
    assert page.section(target.read_text(), "speed") == printed.strip()
    assert progress.startswith("8 steps: sequential, x[t]")
    assert "| 0.9 | 0 | 1,500 |" in printed
    assert printed.count("\n| 16 |") == 2
