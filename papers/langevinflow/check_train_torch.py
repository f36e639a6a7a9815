"""Small trainings on the Lorenz population, kept under `runs/claims`: what the potential and the encoder's lag do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroode.neuron import load
from neuroode.train.latent import arms_torch
from neuroode.train.latent.recipe import Recipe, recommended
from neuroode.train.latent.results import Scores
from neuroode.train.tasks.lorenz import lorenz_population

#: the evidence lower bound, behind an encoder of one layer: a small weight of the divergence leaves more to the encoder
SHORT: dict[str, Any] = {"epochs": 12, "layers": 1, "beta": 1.0}
SEEDS = 2
HOME = Path("runs") / "claims" / "langevinflow"


def _trained(name: str, neuron: Any, recipe: Recipe, beside: bool) -> list[Scores]:
    """Test scores of each seed; a run that is there already is read."""
    found = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in range(SEEDS):
            with torch.random.fork_rng(devices=[]):
                run = arms_torch.declared(name, neuron, lorenz_population(seed), recipe, seed, beside)
                path = HOME / f"{name}-{seed}.ckpt"
                found.append(run.train(lambda _: None, path, resume=True, warn=lambda _: None).scores)
    finally:
        torch.set_num_threads(before)
    return found


def _mean(scores: list[Scores], key: str) -> float:
    return float(np.mean([getattr(s, key) for s in scores]))


def _released() -> tuple[Any, Recipe]:
    recipe = replace(recommended("lorenz", "released"), **SHORT)
    return load("langevin", compat="langevinflow_ccn"), recipe


def ablation() -> Mapping[str, float]:
    """R^2 of all rates with the potential and without: of the released recursion, whose readout also takes the
    encoder's state; and of ours, scaled to a bin, whose readout does not. Means over seeds."""
    released, recipe = _released()
    flat = released.replace(parameters={"H": {"init": "0", "per": ["layer", "k", "l"], "trainable": False}})
    own = replace(recommended("lorenz", "langevin"), **SHORT)
    ours = load("langevin", compat="harmonic")
    free = ours.replace(
        parameters={"a": {"value": 1e-6, "domain": "positive", "per": ["layer", "k"], "trainable": False}}
    )
    bare = replace(own, init={k: v for k, v in own.init.items() if k != "a"}, own={"gamma": own.own["gamma"]})
    rows = {
        "released": _trained("released", released, recipe, True),
        "released, U = 0": _trained("released-flat", flat, replace(recipe, init={}), True),
        "ours": _trained("ours", ours, own, False),
        "ours, U = 0": _trained("ours-flat", free, bare, False),
    }
    found = {name: _mean(scores, "r_squared") for name, scores in rows.items()}
    found["released: lost without U"] = found["released"] - found["released, U = 0"]
    found["ours: lost without U"] = found["ours"] - found["ours, U = 0"]
    return found


def lag() -> Mapping[str, float]:
    """Bits per held-out spike of the released recursion: a forward encoder reads the current bin, or one bin late."""
    neuron, recipe = _released()
    bits = {
        name: _mean(_trained(f"lag-{late}", neuron, replace(recipe, both=False, lag=late), True), "bits")
        for name, late in (("current bin", 0), ("one bin late", 1))
    }
    return {**bits, "gained by the current bin": bits["current bin"] - bits["one bin late"]}
