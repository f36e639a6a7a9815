"""Recipes: recommended ones, overrides, refusals."""

from __future__ import annotations

from importlib.resources import files

import pytest
from ruamel.yaml import YAML

import neuroode as no
from neuroode._errors import RunError
from neuroode.train import Settings, shape
from neuroode.train.options import override, recommended
from neuroode.train.tasks import LOADERS


@pytest.mark.parametrize("task", LOADERS)
def test_every_recommended_recipe_is_right(task: str) -> None:
    text = files("neuroode.train").joinpath("settings", f"{task}.yaml").read_text(encoding="utf-8")
    table = YAML(typ="safe", pure=True).load(text)
    assert all(isinstance(recommended(task, neuron), Settings) for neuron in table)


def test_an_unknown_neuron_takes_the_default() -> None:
    assert recommended("digits", "somebody's") == recommended("digits", "default")
    assert recommended("digits", "brf") != recommended("digits", "default")


def test_the_published_ecg_recipe() -> None:
    recipe = recommended("ecg", "brf")
    assert (recipe.lr, recipe.batch, recipe.epochs, recipe.size, recipe.clip) == (0.1, 16, 400, 36, None)
    assert recipe.loss == "every_step"
    assert recipe.init["omega"] == "uniform(3, 5)"


def test_overrides_merge_inits_and_drop_the_bar() -> None:
    recipe = recommended("smnist", "brf")
    assert recipe.require == 88
    assert override(recipe, {"epochs": None, "init": {}}) == recipe
    changed = override(recipe, {"epochs": 2, "init": {"omega": "uniform(1, 2)"}})
    assert changed.epochs == 2
    assert changed.init == {**recipe.init, "omega": "uniform(1, 2)"}
    assert changed.require is None
    assert override(recipe, {"epochs": 2, "require": 50.0}).require == 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch is 0, not a whole number of at least 1"),
        ({"epochs": -1}, "epochs is -1"),
        ({"lr": float("nan")}, "lr is nan, not a positive number"),
        ({"clip": -1.0}, "clip is -1.0"),
        ({"loss": "mse"}, "loss is 'mse'\nhint: one of every_step, last_step, mean_output"),
        ({"rate": 3}, "unknown name 'rate' in the settings"),
    ],
)
def test_bad_values_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RunError) as caught:
        override(Settings(), changes)
    assert str(caught.value).startswith(message)


def test_a_neuron_over_whole_sequences_is_as_long_as_the_task_and_feeds_nothing_back() -> None:
    psn = no.load("psn")
    assert shape.as_long_as(psn, 64).spec.horizon == 64
    assert shape.as_long_as(psn, 64).torch(2).W.shape == (64, 64)
    assert not shape.feeds_back(psn.spec)
    alif = no.load("alif")
    assert shape.as_long_as(alif, 64) is alif
    assert shape.feeds_back(alif.spec)
