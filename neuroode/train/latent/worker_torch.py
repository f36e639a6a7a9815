"""One arm and seed of a plan, in this process or in one of its own."""

from __future__ import annotations

from dataclasses import replace

import torch

from neuroode.train.latent import arms_torch
from neuroode.train.latent.loop_torch import Run
from neuroode.train.latent.plan import RELEASED, checkpoint_of, load_population, prepare
from neuroode.train.latent.recipe import recommended
from neuroode.train.latent.results import Arm, Epoch
from neuroode.train.plan import Plan
from neuroode.train.progress import Progress
from neuroode.train.tasks.lorenz import Population
from neuroode.train.worker_torch import threads


def train_arm(plan: Plan, quiet: bool, name: str, seed: int) -> Arm:
    """Train one arm; the caller's random numbers and threads stay as they are.

    Raises:
        RunError: as `Run.train`.
    """
    population = load_population(plan, seed)
    with threads(plan.threads or 1), torch.random.fork_rng(devices=[]):
        if name == "smoothing":
            return arms_torch.smoothed(population, seed)
        run = _run(plan, population, name, seed)
        label = f"{name}, seed {seed}"
        with Progress(label, run.settings.epochs, quiet, bar=plan.jobs == 1, line=line) as tell:
            return run.train(tell, checkpoint_of(plan, name, seed), plan.resume, tell.say)


def _run(plan: Plan, population: Population, name: str, seed: int) -> Run:
    from neuroode.neuron import load

    neuron, recipe = prepare(plan)
    if name == "gru":
        return arms_torch.gru(population, recipe, seed)
    if name == "released":
        row = recommended(plan.task, "released")
        changes = {n: getattr(row, n) for n in ("axes", "init", "own", "dt", "compat", "size", "posterior")}
        released = load(RELEASED[0], compat=RELEASED[1])
        return arms_torch.declared(name, released, population, replace(recipe, **changes), seed, beside=True)
    return arms_torch.declared(name, neuron, population, recipe, seed)


def line(epoch: Epoch) -> str:
    """The figures of one epoch in one line."""
    parts = [] if epoch.loss is None else [f"loss {epoch.loss:.1f} + divergence {epoch.kl:.1f} nats a trial"]
    parts.append(f"validation {epoch.val_bits:.4f} bits/spike, R^2 of rates {epoch.val_r_squared:.3f}")
    if epoch.skipped:
        parts.append(f"{epoch.skipped} updates skipped")
    return "  ".join(parts)
