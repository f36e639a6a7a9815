"""One seed of a plan, in this process or in one of its own."""

from __future__ import annotations

import os

from neuroode._errors import RunError
from neuroode.train import tasks
from neuroode.train.plan import Plan, prepare
from neuroode.train.progress import Progress
from neuroode.train.results import SeedResult
from neuroode.train.shape import as_long_as


def train_seed(plan: Plan, quiet: bool, seed: int) -> SeedResult:
    """Train one seed.

    Raises:
        RunError: jax, equinox or optax is not installed.
    """
    from neuroode.neuron import load

    threads = plan.threads or (1 if plan.side_by_side else None)
    if threads:  # read when jax starts; a process that has run jax keeps what it has
        os.environ["NPROC"] = str(threads)
    try:
        from neuroode.train.loop_jax import Run
    except ModuleNotFoundError as error:
        raise RunError("training with jax needs jax, equinox and optax", hint="pip install 'neuroode[jax]'") from error
    neuron, settings = prepare(plan)
    task = tasks.load(plan.task, plan.data, seed)
    run = Run(task, as_long_as(neuron, task.steps), load("li"), settings, seed)
    with Progress(f"seed {seed}", settings.epochs, quiet, bar=not plan.side_by_side) as tell:
        return run.train(tell, plan.checkpoint(seed), plan.resume, tell.say)
