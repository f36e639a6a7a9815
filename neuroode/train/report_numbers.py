"""Every number that a report shows, as plain data."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from math import isqrt
from typing import Any

import numpy as np

from neuroode._errors import NeuroodeError
from neuroode.spec.types import NeuronSpec
from neuroode.train import shape
from neuroode.train.plan import Outcome
from neuroode.train.results import Raster, Resonators, SeedResult

UNITS_SHOWN = 32  # of graded neurons; spikes are few enough to keep them all
CURVE_POINTS = 201
BINS, FEWEST_BINS = 40, 8
PACKAGES = {"torch": ("torch", "pytorch-lightning"), "jax": ("jax", "equinox", "optax")}

Figures = dict[str, Any]


def collect(outcome: Outcome) -> Figures:
    """All numbers of the report as plain data."""
    results = outcome.results
    scores = np.array([r.test_score for r in results])
    return {
        "neuroode": version("neuroode"),
        "versions": _versions(outcome.plan.backend),
        "command": _command(outcome),
        "task": outcome.plan.task,
        "about": outcome.task.about,
        "neuron": outcome.neuron.spec.name,
        "model": _model(outcome),
        "data": _data(outcome),
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
        "hidden": _hidden(results[0], outcome.settings.net == "conv"),
        "resonators": _resonators(outcome),
        "parameters_by_name": _histograms(outcome.results),
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


def _versions(backend: str) -> dict[str, str]:
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in ("neuroode", "numpy", *PACKAGES[backend]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _command(outcome: Outcome) -> str:
    """The line that repeats the run."""
    plan = outcome.plan
    changed = {k: v for k, v in plan.changes.items() if v is not None and v != {}}
    words = ["neuroode", "train", plan.task, "--neuron", plan.neuron]
    named = {"compat": plan.compat, "data": plan.data, "backend": plan.backend if plan.backend != "torch" else None}
    words += [word for name, value in named.items() if value for word in (f"--{name}", str(value))]
    words += ["--seeds", ",".join(map(str, plan.seeds))]
    for name, value in changed.pop("init", {}).items():
        words += ["--set", f"{name}={value}"]
    for name, value in changed.items():
        option = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]
    return shlex.join(words)


def _data(outcome: Outcome) -> Figures:
    """How much there is of what."""
    task = outcome.task
    sizes = {part: len(getattr(task, f"{part}_x")) for part in ("train", "val", "test")}
    whole = outcome.settings.net == "conv"
    steps = outcome.settings.steps if whole else task.steps
    side = isqrt(task.channels) if whole else None
    return {**sizes, "steps": steps, "channels": task.channels, "outputs": task.outputs, "side": side}


def _model(outcome: Outcome) -> Figures:
    """What was declared, and what is known of it."""
    neuron, settings = outcome.neuron, outcome.settings
    return {
        "about": neuron.spec.about or "",
        "cite": list(neuron.spec.cite),
        "declaration": neuron.to_yaml(),
        "facts": text_of(lambda: neuron.analyse()),
        "discretization": text_of(lambda: neuron.discretize(dt=settings.dt)),
    }


def text_of(stage: Callable[[], Any]) -> str:
    """What a stage says of a model, or why it says nothing."""
    try:
        return str(stage())
    except NeuroodeError as error:
        return str(error)


def _histograms(results: tuple[SeedResult, ...]) -> list[Figures]:
    """How often which value occurs before and after training, all seeds together."""
    found = []
    for number, first in enumerate(results[0].trained):
        start, end = (
            np.concatenate([np.atleast_1d(getattr(r.trained[number], at)) for r in results]) for at in ("start", "end")
        )
        parts = [("", np.real)] if not np.iscomplexobj(start) else [(", real", np.real), (", imaginary", np.imag)]
        found += [_histogram(first.name + suffix, of(start), of(end)) for suffix, of in parts]
    return found


def _histogram(name: str, start: np.ndarray, end: np.ndarray) -> Figures:
    finite = np.concatenate([start, end]).astype(np.float64)
    edges = np.histogram_bin_edges(finite[np.isfinite(finite)], min(BINS, max(FEWEST_BINS, round(2 * start.size**0.5))))
    return {
        "name": name,
        "count": start.size,
        "edges": _numbers(edges),
        "start": np.histogram(start, edges)[0].tolist(),
        "end": np.histogram(end, edges)[0].tolist(),
        "mean_start": _number(float(start.mean())),
        "mean_end": _number(float(end.mean())),
    }


def _hidden(result: SeedResult, whole: bool) -> Figures:
    """The hidden layer of the first seed on one test sample, neurons in order of frequency or of activity; where images
    are shown `whole`, of their layers."""
    raster = result.raster
    order, by = _order(raster, result.resonators) if not whole else (np.arange(raster.output.shape[1]), "layer")
    shown = {
        "seed": result.seed,
        "sample": raster.sample,
        "target": raster.target.tolist(),
        "prediction": raster.prediction.tolist(),
        "input": _numbers(raster.input),
        "side": isqrt(raster.input.shape[1]) if whole else None,
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
