"""One seed of a plan, in this process or in one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from neuroode.train._extra import need
from neuroode.train.plan import Plan, load_task, prepare
from neuroode.train.progress import Progress
from neuroode.train.results import SeedResult
from neuroode.train.shape import as_long_as

PARALLEL_WORK = 2**21  # neuron steps of a batch: on a busy machine, threads that wait cost more than they give below it


def train_seed(plan: Plan, quiet: bool, seed: int) -> SeedResult:
    """Train one seed; the caller's random numbers and threads stay as they are.

    Raises:
        RunError: pytorch-lightning is not installed, or as `Run.train`.
    """
    from neuroode.neuron import load

    need("pytorch_lightning", "training")
    from neuroode.train.loop_torch import Run

    neuron, settings = prepare(plan)
    task = load_task(plan, settings, seed)
    steps = settings.steps if settings.net == "conv" else task.steps
    work = settings.batch * steps * settings.size
    with (
        threads(plan.threads or (1 if plan.side_by_side or work < PARALLEL_WORK else None)),
        torch.random.fork_rng(devices=[]),
    ):
        run = Run(task, as_long_as(neuron, steps), load("li"), settings, seed)
        with Progress(f"seed {seed}", settings.epochs, quiet, bar=not plan.side_by_side) as tell:
            return run.train(tell, plan.checkpoint(seed), plan.resume, tell.say)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
