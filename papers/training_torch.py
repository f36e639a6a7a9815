"""One network, several neurons, several seeds: what the papers' claims on training are about.

The network is that of `neuroode train digits --net conv`. Runs are kept under `runs/claims`, so that what was trained
once is read the next time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroode._errors import RunError
from neuroode.neuron import Neuron, load
from neuroode.train import checkpoint, tasks
from neuroode.train.options import Settings, override, recommended
from neuroode.train.plan import recipe
from neuroode.train.results import Diverged, Epoch
from neuroode.train.shape import as_long_as

STEPS = 4
HOME = Path("runs") / "claims"


@dataclass(frozen=True, slots=True)
class Run:
    """One seed. `score` is None where a loss was not finite; `left_out`: updates whose gradient was not; `values`: the
    trained numbers at the end by name, of the epoch of least validation loss."""

    arm: str
    seed: int
    score: float | None
    rate: float
    left_out: int
    seconds: float
    values: Mapping[str, np.ndarray]


def settings(**changes: Any) -> Settings:
    """What all arms share: unit variance at a threshold of 1, the recipe of `lnm`."""
    return override(recommended("digits", "lnm"), changes)


def train(paper: str, arm: str, neuron: Neuron, seed: int, recipe_: Settings) -> Run:
    """Train one seed, or read what an earlier call of the same recipe left."""
    from neuroode.train.loop_torch import Run as Loop

    task = _task(seed)
    with _alone():
        loop = Loop(task, as_long_as(neuron, STEPS), load("li"), recipe_, seed)
        path = HOME / paper / f"{arm}-{seed}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = loop.train(lambda _: None, path, _known(path, neuron, task, recipe_, seed), lambda _: None)
        except Diverged:
            return _told(Run(arm, seed, None, float("nan"), loop.module.skipped, _seconds(loop.module.epochs), {}))
    left_out = sum(e.skipped for e in found.epochs)
    values = {t.name: t.end for t in found.trained}
    return _told(Run(arm, seed, found.test_score, found.test_rate or 0.0, left_out, found.seconds, values))


@cache
def _task(seed: int) -> tasks.Task:
    return tasks.whole_images(tasks.load("digits", seed=seed), STEPS)


def _known(path: Path, neuron: Neuron, task: tasks.Task, recipe_: Settings, seed: int) -> bool:
    """Whether a run of this recipe is there to go on with."""
    try:
        return checkpoint.read(path, recipe(neuron, task, recipe_, seed, "torch")) is not None
    except RunError:
        return False


def _seconds(epochs: list[Epoch]) -> float:
    return sum(e.seconds for e in epochs)


def _told(run: Run) -> Run:
    score = "not finite" if run.score is None else f"{run.score:.2f} %"
    print(f"{run.arm}, seed {run.seed}: {score}, {run.seconds:.1f} s of training", file=sys.stderr)
    return run


@contextmanager
def _alone() -> Iterator[None]:
    """One thread; the caller's random numbers stay as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def scores(runs: list[Run]) -> np.ndarray:
    """Test scores of the runs that have one, in per cent."""
    return np.array([r.score for r in runs if r.score is not None])
