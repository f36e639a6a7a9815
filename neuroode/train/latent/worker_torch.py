"""One arm and seed of a plan, in this process or in one of its own."""

from __future__ import annotations

from dataclasses import replace

import torch

from neuroode.train.latent import arms_torch
from neuroode.train.latent.loop_torch import Run
from neuroode.train.latent.plan import ALONE, RELEASED, checkpoint_of, load_population, prepare, readout_of
from neuroode.train.latent.recipe import recommended
from neuroode.train.latent.results import Arm, Epoch
from neuroode.train.plan import Plan
from neuroode.train.progress import Progress
from neuroode.train.tasks.lorenz import Population
from neuroode.train.worker_torch import threads

OF_NEURON = ("axes", "init", "own", "dt", "compat", "size", "posterior")  # what belongs to a declared latent


def train_arm(plan: Plan, quiet: bool, name: str, seed: int) -> Arm:
    """Train one arm; the caller's random numbers and threads stay as they are.

    Raises:
        RunError: as `Run.train`.
    """
    population = load_population(plan, seed)
    with threads(plan.threads or 1), torch.random.fork_rng(devices=[]):
        if name == "smoothing":
            return arms_torch.smoothed(population, seed)
        run = run_of(plan, population, name, seed)
        label = f"{name}, seed {seed}"
        with Progress(label, run.settings.epochs, quiet, bar=plan.jobs == 1, line=line) as tell:
            return run.train(tell, checkpoint_of(plan, name, seed), plan.resume, tell.say)


def run_of(plan: Plan, population: Population, name: str, seed: int) -> Run:
    """An arm with a network, before its training."""
    from neuroode.neuron import load

    neuron, recipe = prepare(plan)
    beside = "encoder" in readout_of(name)
    if name == "gru":
        return arms_torch.gru(population, recipe, seed)
    if name in ("released", ALONE):
        row = recommended(plan.task, name)
        recipe = replace(recipe, **{n: getattr(row, n) for n in OF_NEURON})
        return arms_torch.declared(name, load(RELEASED[0], compat=RELEASED[1]), population, recipe, seed, beside)
    return arms_torch.declared(name, neuron, population, recipe, seed, beside)


def line(epoch: Epoch) -> str:
    """The figures of one epoch in one line."""
    parts = [] if epoch.loss is None else [f"loss {epoch.loss:.1f} + divergence {epoch.kl:.1f} nats a trial"]
    parts.append(f"validation {epoch.val_bits:.4f} bits/spike, R^2 of rates {epoch.val_r_squared:.3f}")
    if epoch.skipped:
        parts.append(f"{epoch.skipped} updates skipped")
    return "  ".join(parts)
