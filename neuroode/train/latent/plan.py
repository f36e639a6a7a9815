"""A run on a population: which neurons fit, and what comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuroode._errors import RunError, Unsupported
from neuroode.train.latent.recipe import Recipe, override, recommended
from neuroode.train.latent.results import Arm
from neuroode.train.plan import Plan
from neuroode.train.tasks import POPULATIONS
from neuroode.train.tasks.lorenz import Population

RELEASED = ("langevin", "langevinflow_ccn")  # the affine recursion of LangevinFlow's released code
ALONE = "released, latents only"
BASELINES = ("smoothing", "gru", "released", ALONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every arm and seed of a plan. `wall` is the time from the first start to the last end."""

    plan: Plan
    neuron: Any
    recipe: Recipe
    population: Population
    arms: tuple[Arm, ...]
    wall: float

    @property
    def failed(self) -> tuple[Arm, ...]:
        """Seeds of the neuron below the required R^2, where the recipe requires one."""
        least, own = self.recipe.require, self.names[0]
        rows = (a for a in self.arms if a.name == own)
        return () if least is None else tuple(a for a in rows if 100 * a.scores.r_squared < least)

    @property
    def names(self) -> tuple[str, ...]:
        """The neuron, with its latents alone and with its encoder beside them, then the baselines."""
        return arm_names(self.neuron)

    def of(self, name: str) -> list[Arm]:
        return [a for a in self.arms if a.name == name]


def arm_names(neuron: Any) -> tuple[str, ...]:
    return neuron.spec.name, beside_of(neuron), *BASELINES


def beside_of(neuron: Any) -> str:
    """The arm of the neuron whose readout takes the encoder's state too, as that of `released` does."""
    return f"{neuron.spec.name} + encoder"


def readout_of(name: str) -> str:
    """What the readout of an arm takes."""
    if name == "smoothing":
        return "smoothed spikes"
    return "latents, encoder" if name == "released" or name.endswith(" + encoder") else "latents"


def prepare(plan: Plan) -> tuple[Any, Recipe]:
    """The declaration and the recipe, checked before anything is trained.

    Raises:
        Unsupported: a neuron that is no latent, or a backend that is not there, with the reason.
    """
    from neuroode.neuron import load

    if plan.backend != "torch":
        raise Unsupported(f"task '{plan.task}' trains in torch, not in {plan.backend}", hint="leave out --backend")
    if plan.data is not None:
        raise RunError(f"task '{plan.task}' takes no data folder", hint="leave out --data")
    neuron = load(plan.neuron, compat=plan.compat)
    recipe = override(recommended(plan.task, neuron.spec.name), plan.changes)
    if plan.compat is None and recipe.compat is not None and plan.neuron == neuron.spec.name:
        neuron = load(plan.neuron, compat=recipe.compat)
    else:
        recipe = replace(recipe, compat=plan.compat)
    check(neuron, plan.task)
    return neuron, recipe


def check(neuron: Any, task: str) -> None:
    """Raise Unsupported unless the neuron is a latent: graded, stochastic, with one input at most."""
    spec = neuron.spec
    if spec.events:
        raise Unsupported(
            f"'{spec.name}' has events: a latent of task '{task}' is a path without resets, which a linear readout "
            "turns into rates", hint="take langevin or ou, or a task for spiking neurons such as digits",
        )  # fmt: skip
    if not neuron.system().noise:
        raise Unsupported(
            f"'{spec.name}' has no noise: its path is certain once its start is known, and a posterior of it has "
            "nothing to infer", hint="declare a differential with dW, such as dx = -x/tau*dt + sigma*dW",
        )  # fmt: skip
    if len(spec.inputs) > 1:
        raise Unsupported(f"a latent is driven by one input; '{spec.name}' has {len(spec.inputs)}")
    if spec.name in BASELINES:
        raise Unsupported(f"'{spec.name}' is the name of a baseline", hint="give the neuron another name")


def load_population(plan: Plan, seed: int) -> Population:
    return POPULATIONS[plan.task](seed)


def checkpoint_of(plan: Plan, arm: str, seed: int) -> Path | None:
    if plan.out is None:
        return None
    return plan.out / "checkpoints" / f"{re.sub('[^A-Za-z0-9_]+', '-', arm)}-seed{seed}.ckpt"
