"""The report of a run, a folder: pictures, and `report.json`, strict JSON with every number that they show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from neuroode.spec.types import NeuronSpec
from neuroode.train import shape
from neuroode.train._extra import need
from neuroode.train.files import replace_file
from neuroode.train.plan import Outcome
from neuroode.train.results import Raster, Resonators, SeedResult

UNITS_SHOWN = 32  # of graded neurons; spikes are few enough to keep them all
CURVE_POINTS = 201

Figures = dict[str, Any]


def prepare(out: Path | None) -> None:
    """Fail before the training, not after it: make the folder and look for matplotlib."""
    if out is not None:
        need("matplotlib", "a report")
        out.mkdir(parents=True, exist_ok=True)


def write(outcome: Outcome) -> Figures:
    """Write the report into the plan's folder, if it names one, and return its numbers.

    Each file appears whole or not at all; `report.json` comes last, so that its presence says that all is there.
    """
    figures = collect(outcome)
    if (out := outcome.plan.out) is not None:
        from neuroode.train.report_figures import draw

        for name, picture in draw(figures).items():
            replace_file(out / name, picture)
            figures["pictures"].append(name)
        replace_file(out / "report.json", json.dumps(figures, indent=1, allow_nan=False).encode())
    return figures


def collect(outcome: Outcome) -> Figures:
    """All numbers of the report as plain data."""
    results = outcome.results
    scores = np.array([r.test_score for r in results])
    return {
        "neuroode": version("neuroode"),
        "task": outcome.plan.task,
        "about": outcome.task.about,
        "neuron": outcome.neuron.spec.name,
        "settings": outcome.settings.to_dict(),
        "parameters": results[0].parameters,
        "score": {
            "name": outcome.task.score,
            "chance": outcome.task.chance(outcome.settings.skip),
            "mean": float(scores.mean()),
            "least": float(scores.min()),
            "spread": _spread(scores),
        },
        "seconds": {"training": sum(r.seconds for r in results), "clock": outcome.wall},
        "seeds": [_seed(r) for r in results],
        "hidden": _hidden(results[0]),
        "resonators": _resonators(outcome),
        "pictures": [],
    }


def _spread(values: np.ndarray) -> float | None:
    """Standard deviation over the seeds (n - 1); None for one seed."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _seed(result: SeedResult) -> Figures:
    return {
        "seed": result.seed,
        "test_score": result.test_score,
        "test_loss": result.test_loss,
        "test_rate": result.test_rate,
        "picked_epoch": result.epochs[result.picked].epoch,
        "seconds": result.seconds,
        "epochs": [asdict(e) for e in result.epochs],
    }


def _hidden(result: SeedResult) -> Figures | None:
    """The hidden layer of the first seed on one test sample, neurons in order of frequency or of activity."""
    if (raster := result.raster) is None:
        return None
    order, by = _order(raster, result.resonators)
    shown = {
        "seed": result.seed,
        "sample": raster.sample,
        "target": raster.target.tolist(),
        "prediction": raster.prediction.tolist(),
        "input": _numbers(raster.input),
        "neurons": raster.output.shape[1],
        "steps": raster.output.shape[0],
        "order": order.tolist(),
        "ordered_by": by,
    }
    return {**shown, **(_spikes(raster, order) if raster.spiking else _activity(raster, order))}


def _order(raster: Raster, resonators: Resonators | None) -> tuple[np.ndarray, str]:
    if resonators is not None and resonators.omega.shape == raster.output.shape[1:]:
        return np.argsort(resonators.omega), "frequency"
    return np.argsort(np.abs(raster.output).mean(0)), "activity"


def _spikes(raster: Raster, order: np.ndarray) -> Figures:
    """Times and rows of the spikes, and the share of neurons that fire, as a running mean over `window` steps."""
    spikes = raster.output[:, order] > 0
    step, row = np.nonzero(spikes)
    window = max(3, len(spikes) // 40)
    share = np.convolve(spikes.mean(1), np.full(window, 1 / window), mode="same")
    rate = float(spikes.mean())
    return {
        "spikes": {"step": step.tolist(), "row": row.tolist()},
        "rate": rate,
        "share": _numbers(share),
        "window": window,
    }


def _activity(raster: Raster, order: np.ndarray) -> Figures:
    most_active = order[-UNITS_SHOWN:]
    return {"activity": _numbers(raster.output[:, most_active])}


def _resonators(outcome: Outcome) -> Figures | None:
    """Learned frequencies and dampings of all seeds, with the boundary p(omega) over their range."""
    found = [(r.seed, r.resonators) for r in outcome.results if r.resonators is not None]
    if not found:
        return None
    dt = found[0][1].dt
    top = 1.05 * max(max(r.omega.max(), r.omega_start.max()) for _, r in found)
    omega = np.linspace(0, _within(outcome, top, dt), CURVE_POINTS)
    return {
        "dt": dt,
        "boundary": {"omega": _numbers(omega), "b": _numbers(shape.boundary(outcome.neuron.spec, omega, dt))},
        "seeds": [{"seed": seed, **_of_one_seed(outcome.neuron.spec, r)} for seed, r in found],
    }


def _of_one_seed(spec: NeuronSpec, found: Resonators) -> Figures:
    """A distance of 0 cannot be drawn on a logarithmic axis; it becomes null like what is not finite."""
    values = {name: getattr(found, name) for name in ("omega_start", "b_start", "omega", "b")}
    for end in ("", "_start"):
        distance = np.abs(shape.boundary(spec, values[f"omega{end}"], found.dt) - values[f"b{end}"])
        values[f"distance{end}"] = np.where(distance > 0, distance, np.nan)
    return {name: _numbers(v) for name, v in values.items()}


def _within(outcome: Outcome, top: float, dt: float) -> float:
    """The largest frequency up to `top` at which the boundary is a number: sqrt(1 - (dt*omega)^2) ends at 1/dt."""
    with np.errstate(invalid="ignore"):
        ends = np.isfinite(shape.boundary(outcome.neuron.spec, np.array([top, 1 / dt]), dt))
    return top if ends[0] else 1 / dt


def _numbers(values: np.ndarray) -> list[Any]:
    """Six digits are more than a picture shows; what is not finite has no place in JSON and becomes null."""
    flat: Callable[[Any], Any] = lambda v: [flat(i) for i in v] if isinstance(v, list) else _number(v)  # noqa: E731
    return flat(np.asarray(values, np.float64).tolist())


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
