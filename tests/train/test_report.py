"""The report: strict JSON, the numbers behind each picture, pictures that are pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neuroode as no
from neuroode.train import Outcome, Plan, report, shape
from neuroode.train.loop_torch import Run
from neuroode.train.options import recommended
from neuroode.train.results import SeedResult
from neuroode.train.tasks import Task

pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


def outcome(task: Task, neuron: str, out: Path | None, seeds: tuple[int, ...] = (0,)) -> Outcome:
    settings = replace(recommended("digits", neuron), size=10, epochs=1)
    declared = no.load(neuron)
    results = tuple(Run(task, declared, no.load("li"), settings, s).train(lambda _: None) for s in seeds)
    plan = Plan(task="digits", neuron=neuron, seeds=seeds, out=out)
    return Outcome(plan=plan, neuron=declared, settings=settings, task=task, results=results, wall=1.0)


@pytest.fixture(scope="module")
def spiking(few: Task, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return outcome(few, "brf", tmp_path_factory.mktemp("report"), (0, 1))


def strict(text: str) -> dict:
    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def test_files(spiking: Outcome) -> None:
    out = spiking.plan.out
    assert out is not None
    figures = report.write(spiking)
    assert strict((out / "report.json").read_text()) == json.loads(json.dumps(figures))
    assert sorted(f.name for f in out.iterdir()) == [
        "hidden.png",
        "report.html",
        "report.json",
        "resonators.png",
        "training.png",
    ]
    assert all((out / name).read_bytes().startswith(PNG) for name in figures["pictures"])


def test_numbers_of_the_history(spiking: Outcome) -> None:
    figures = report.collect(spiking)
    assert [s["seed"] for s in figures["seeds"]] == [0, 1]
    accuracy = [s["test_score"] for s in figures["seeds"]]
    assert figures["score"]["mean"] == pytest.approx(np.mean(accuracy))
    assert figures["score"]["least"] == min(accuracy)


def test_numbers_of_the_raster(spiking: Outcome) -> None:
    shown, raster = report.collect(spiking)["hidden"], spiking.results[0].raster
    assert raster is not None
    rebuilt = np.zeros_like(raster.output)
    rebuilt[shown["spikes"]["step"], np.array(shown["order"])[shown["spikes"]["row"]]] = 1
    assert np.array_equal(rebuilt, raster.output)
    assert shown["rate"] == pytest.approx(raster.output.mean())
    assert shown["ordered_by"] == "frequency"


def test_numbers_of_the_resonators(spiking: Outcome) -> None:
    found, dt = report.collect(spiking)["resonators"], 0.01
    omega, b = (np.array(found["boundary"][name]) for name in ("omega", "b"))
    assert np.allclose(b, (-1 + np.sqrt(1 - (dt * omega) ** 2)) / dt, rtol=1e-5, atol=1e-5)
    for seed in found["seeds"]:
        start = np.array(seed["omega_start"])
        assert ((start >= 5) & (start <= 95)).all()
        distance = (-1 + np.sqrt(1 - (dt * start) ** 2)) / dt - np.array(seed["b_start"])
        assert ((distance > 0.09) & (distance < 1.01)).all()
        assert seed["distance_start"] == pytest.approx(distance, abs=1e-3)


def test_a_graded_layer_is_drawn_too(few: Task, tmp_path: Path) -> None:
    figures = report.write(outcome(few, "li", tmp_path))
    assert figures["pictures"] == ["training.png", "hidden.png"]
    assert np.array(figures["hidden"]["activity"]).shape == (64, 10)
    strict((tmp_path / "report.json").read_text())


def test_labels_at_every_step_are_drawn(spiking: Outcome, tmp_path: Path) -> None:
    result = spiking.results[0]
    assert result.raster is not None
    raster = replace(result.raster, target=np.arange(64) % 3, prediction=np.arange(64) % 2)
    plan = replace(spiking.plan, out=tmp_path)
    report.write(replace(spiking, plan=plan, results=(replace(result, raster=raster),)))
    assert (tmp_path / "hidden.png").read_bytes().startswith(PNG)


def test_what_is_not_finite_becomes_null(spiking: Outcome) -> None:
    result: SeedResult = spiking.results[0]
    assert result.resonators is not None
    broken = replace(result.resonators, b=result.resonators.b * np.nan)
    figures = report.collect(replace(spiking, results=(replace(result, resonators=broken),)))
    assert set(figures["resonators"]["seeds"][0]["b"]) == {None}
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize(
    ("neuron", "b", "edge"), [("brf", -2.0 - 0.50126, -0.50126), ("rf", -2.0, 0.0), ("bhrf", 2.5, 0.5)]
)
def test_damping_follows_the_models_own_definitions(neuron: str, b: float, edge: float) -> None:
    spec, omega = no.load(neuron).spec, np.array([10.0])
    assert shape.damping(spec, omega, np.array([2.0]), 0.01) == pytest.approx(b, abs=1e-4)
    assert shape.boundary(spec, omega, 0.01) == pytest.approx(edge, abs=1e-4)
