"""The arms of a run: the neuron that is asked for, and the three baselines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.train.latent import smoothing
from neuroode.train.latent.affine_torch import full_transition
from neuroode.train.latent.declared_torch import Noise, Own, one_each
from neuroode.train.latent.gru_torch import Generator
from neuroode.train.latent.loop_torch import Run, scores_of
from neuroode.train.latent.network_torch import Network
from neuroode.train.latent.recipe import Recipe
from neuroode.train.latent.results import KEPT, Arm
from neuroode.train.tasks.lorenz import Population


def smoothed(population: Population, seed: int) -> Arm:
    """The baseline without a network."""
    model = smoothing.fit(population)
    rates = model.rates(population.test.spikes[..., : population.seen])
    note = f"length scale {model.length:g} bins, standard deviation {model.signal:g} of the mean, ridge {model.ridge:g}"
    return Arm(
        name="smoothing", seed=seed, scores=scores_of(rates, population), parameters=model.regression.size,
        seconds=0.0, rates=rates[KEPT], note=note,
    )  # fmt: skip


def declared(name: str, neuron: Any, population: Population, recipe: Recipe, seed: int, beside: bool = False) -> Run:
    """A run of a neuron as the latent."""
    neuron = neuron.with_axes(dict(recipe.axes)) if recipe.axes else neuron
    neuron = one_each(neuron) if recipe.each else neuron
    known = {"model": sha256(neuron.to_yaml().encode()).hexdigest()[:16], "beside": beside}
    build = partial(_declared, neuron, population.seen, recipe, beside)
    return Run(name, build, population, recipe, seed, known)


def _declared(neuron: Any, seen: int, recipe: Recipe, beside: bool, mean: Tensor) -> Network:
    return _network(partial(_latent, neuron, recipe), seen, recipe, beside, mean)


def _latent(neuron: Any, recipe: Recipe, width: int) -> Own | Noise:
    options = {"dt": recipe.dt, "init": dict(recipe.init)}
    if recipe.posterior in ("auto", "own"):
        found = Own(neuron, recipe.size, width, options, dict(recipe.own), recipe.exact)
        if full_transition(found.prior) is not None:
            return found
        if recipe.posterior == "own":
            raise Unsupported(
                f"posterior own needs a step of '{neuron.spec.name}' that is affine, lane by lane, with noise in every "
                "state of its own", hint="posterior: noise",
            )  # fmt: skip
    return Noise(neuron, recipe.size, width, options, recipe.posterior == "free")


def gru(population: Population, recipe: Recipe, seed: int) -> Run:
    """A run of the GRU arm."""
    build = partial(_network, partial(_generator, recipe), population.seen, recipe, False)
    return Run("gru", build, population, recipe, seed, {})


def _generator(recipe: Recipe, width: int) -> Generator:
    return Generator(recipe.size, width, recipe.hidden)


def _network(make: Callable[[int], Any], seen: int, recipe: Recipe, beside: bool, mean: Tensor) -> Network:
    width = recipe.hidden * (2 if recipe.both else 1)
    return Network(make(width), seen, mean, recipe.hidden, recipe.both, recipe.lag, beside, recipe.layers)
