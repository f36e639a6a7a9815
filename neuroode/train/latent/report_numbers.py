"""Every number that the report of a comparison shows, as plain data."""

from __future__ import annotations

import platform
import shlex
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from neuroode.train.latent.plan import Comparison, readout_of
from neuroode.train.latent.results import KEPT, Arm
from neuroode.train.latent.scores import bits_per_spike
from neuroode.train.report_numbers import text_of

Figures = dict[str, Any]
SHOWN = 3  # seen neurons, and as many held-out ones, of one test trial
TRIALS = 2  # whose latents are drawn; the map to them is fitted to the others
PACKAGES = ("neuroode", "numpy", "torch")


def collect(found: Comparison) -> Figures:
    """All numbers of the report as plain data."""
    plan, neuron = found.plan, found.neuron
    return {
        "command": command(found),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "task": plan.task,
        "about": found.population.about,
        "neuron": neuron.spec.name,
        "variant": found.recipe.compat,
        "settings": found.recipe.to_dict(),
        "data": {part: len(getattr(found.population, part)) for part in ("train", "val", "test")},
        "seeds": list(plan.seeds),
        "arms": [_arm(found, name) for name in found.names],
        "ceiling": _ceiling(found),
        "rates": _rates(found),
        "latents": _latents(found),
        "model": {"declaration": neuron.to_yaml(), "facts": text_of(neuron.analyse),
                  "discretization": text_of(lambda: neuron.discretize(dt=found.recipe.dt))},
        "seconds": {"training": sum(a.seconds for a in found.arms), "clock": found.wall},
        "pictures": [],
    }  # fmt: skip


def _arm(found: Comparison, name: str) -> Figures:
    rows = found.of(name)
    scores = {key: _mean([asdict(a.scores)[key] for a in rows]) for key in asdict(rows[0].scores)}
    first = rows[0]
    return {
        "name": name,
        "readout": readout_of(name),
        **scores,
        "parameters": first.parameters,
        "note": first.note,
        "seeds": [_seed(a) for a in rows],
    }


def _seed(arm: Arm) -> Figures:
    return {"seed": arm.seed, **asdict(arm.scores), "seconds": arm.seconds, "picked_epoch": arm.picked,
            "epochs": [asdict(e) for e in arm.epochs]}  # fmt: skip


def _mean(values: list[float]) -> Figures:
    """Standard deviation over the seeds (n - 1); None for one seed."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "spread": spread}


def _ceiling(found: Comparison) -> float:
    """Bits per spike of the true rates, which no inference exceeds on the average."""
    p = found.population
    held = slice(p.seen, None)
    mean = p.train.spikes.mean((0, 1))
    return bits_per_spike(p.test.rates[..., held], p.test.spikes[..., held], mean[held])


def _rates(found: Comparison) -> Figures:
    """The first test trial of the first seed: rates in spikes/s of the neurons that vary most, seen and held out."""
    p, trial = found.population, 0
    true = p.test.rates[trial] / p.bin
    order = np.argsort(-true.std(0))
    which = [n for n in order if n < p.seen][:SHOWN] + [n for n in order if n >= p.seen][:SHOWN]
    return {
        "time": rounded((np.arange(p.steps) + 0.5) * p.bin),
        "neurons": [int(n) for n in which],
        "held_out": [bool(n >= p.seen) for n in which],
        "true": rounded(true[:, which].T),
        "spikes": p.test.spikes[trial][:, which].T.astype(int).tolist(),
        "arms": {name: rounded(found.of(name)[0].rates[trial][:, which].T / p.bin) for name in found.names},
    }


def _latents(found: Comparison) -> Figures:
    """The Lorenz trajectories of some test trials beside what is read from the latent of the first seed by an affine
    map that is fitted to other test trials."""
    arm = found.of(found.names[0])[0]
    assert arm.features is not None
    z = found.population.test.latents[KEPT].astype(float)
    x = np.concatenate([arm.features, np.ones((*arm.features.shape[:2], 1))], -1).astype(float)
    rows, target = x[TRIALS:].reshape(-1, x.shape[-1]), z[TRIALS:].reshape(-1, 3)
    ridge = 1e-3 * len(rows) * np.eye(x.shape[-1])
    W = np.linalg.solve(rows.T @ rows + ridge, rows.T @ target)
    fitted = x @ W
    error = ((fitted[:TRIALS] - z[:TRIALS]) ** 2).sum() / ((z[:TRIALS] - z[:TRIALS].mean((0, 1))) ** 2).sum()
    return {"true": rounded(z[:TRIALS]), "found": rounded(fitted[:TRIALS]), "r_squared": float(1 - error),
            "trials": len(z) - TRIALS}  # fmt: skip


def rounded(values: Any) -> list[Any]:
    """Four digits are more than a picture shows."""
    return np.vectorize(lambda v: float(f"{v:.4g}"), otypes=[float])(np.asarray(values, float)).tolist()


def command(found: Comparison) -> str:
    """The line that repeats the run."""
    plan = found.plan
    words = ["neuroode", "train", plan.task, "--neuron", plan.neuron]
    words += ["--compat", plan.compat] if plan.compat else []
    words += ["--seeds", ",".join(map(str, plan.seeds))]
    changed = {k: v for k, v in plan.changes.items() if v is not None and v != {}}
    for name, value in changed.pop("init", {}).items():
        words += ["--set", f"{name}={value}"]
    for name, value in changed.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def table(figures: Figures) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: the neuron, the baselines, the true rates."""
    rates = ("R^2 of rates", "of seen neurons", "of held-out ones")
    head = ("arm", "readout takes", *rates, "bits/spike, held out", "parameters", "training (s)")
    rows = [_row(figures, arm) for arm in figures["arms"]]
    return head, [*rows, ("true rates", "", "1", "1", "1", f"{figures['ceiling']:.4f}", "", "")]


def _row(figures: Figures, arm: Figures) -> tuple[str, ...]:
    cells = [shown(arm[key], 3) for key in ("r_squared", "r_squared_seen", "r_squared_held")]
    seconds = sum(s["seconds"] for s in arm["seeds"]) / len(arm["seeds"])
    last = shown(arm["bits"], 4), f"{arm['parameters']:,}", f"{seconds:.1f}"
    return title(figures, arm["name"]), arm["readout"], *cells, *last


def title(figures: Figures, name: str) -> str:
    """What an arm is called: the neuron with its variant."""
    variant = figures["variant"]
    own, *rest = name.split(" + ")
    return " + ".join([f"{own} ({variant})", *rest]) if own == figures["neuron"] and variant else name


def shown(value: Figures, digits: int) -> str:
    spread = "" if value["spread"] is None else f" ± {value['spread']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"
