"""The jax loop: the losses and updates of the torch loop, learning, resuming to the same bits, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax_oracles import as_jax, with_numbers_of
from oracles import distance

import neuroode as no
from neuroode._errors import RunError
from neuroode.cli.main import main
from neuroode.train import loss_torch
from neuroode.train.loop_jax import ADAM, Recipe, Run, update
from neuroode.train.loss_jax import measure
from neuroode.train.module_torch import Training
from neuroode.train.network_jax import build
from neuroode.train.options import LOSSES, Settings, recommended
from neuroode.train.results import Epoch, SeedResult
from neuroode.train.tasks import Task

SMALL = replace(recommended("digits", "brf"), size=8, epochs=3)
TINY = replace(SMALL, size=6, lr=0.05)
FIRST = np.arange(16)


def run(task: Task, settings: Settings = SMALL, neuron: str = "brf", seed: int = 0) -> Run:
    return Run(task, no.load(neuron), no.load("li"), settings, seed)


def silent(_: Epoch) -> None:
    pass


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("targets", ["classes", "classes at each step", "numbers", "numbers at each step"])
def test_a_loss_is_torchs(kind: str, targets: str) -> None:
    rng, numbers = np.random.default_rng(0), targets.startswith("numbers")
    out = rng.normal(size=(7, 5, 1 if numbers else 4)).astype(np.float32)
    shape = (5, 7) if "step" in targets else (5,)
    y = rng.normal(size=shape).astype(np.float32) if numbers else rng.integers(0, 4, shape)
    settings = Settings(loss=kind, skip=2)
    value, amount = measure(jnp.asarray(out), jnp.asarray(y), settings)
    wanted, right = loss_torch.measure(torch.from_numpy(out), torch.from_numpy(y), settings)
    assert float(value) == pytest.approx(float(wanted), rel=1e-5)
    assert float(amount) == pytest.approx(right, rel=1e-5)


def test_an_update_is_torchs(few: Task) -> None:
    """From equal numbers: clipped gradient, Adam, projection."""
    settings = TINY
    ours = Training(few, no.load("brf"), no.load("li"), settings, 0)
    network = build(no.load("brf"), no.load("li"), few.channels, few.outputs, settings, jax.random.key(0))
    theirs = ours.network
    network = eqx.tree_at(lambda n: (n.into.weight, n.out.weight, n.hidden, n.leaky), network, (
        as_jax(theirs.into.weight), as_jax(theirs.out.weight),
        with_numbers_of(theirs.hidden, network.hidden), with_numbers_of(theirs.leaky, network.leaky),
    ))  # fmt: skip
    x, y = np.ascontiguousarray(few.train_x[:16].swapaxes(0, 1)), few.train_y[:16]
    adam = ADAM.init(network)
    for group in ours.adam.param_groups:
        group["lr"] = settings.lr
    for _ in range(2):
        network, adam, *_ = update(Recipe(settings), network, adam, np.float32(settings.lr), x, y, FIRST)
        ours.adam.zero_grad()
        loss_torch.measure(theirs(torch.from_numpy(x)), torch.from_numpy(y), settings)[0].backward()
        assert ours._clip()
        ours.adam.step()
        theirs.project()
    found, wanted = network.values(), theirs.values()
    assert set(found) == set(wanted)
    for name in wanted:
        assert distance(found[name], wanted[name]) <= 1e-3, name  # Adam divides small gradients by their size


@pytest.fixture(scope="module")
def whole(few: Task) -> Run:
    trained = run(few)
    trained.train(silent)
    return trained


def test_it_learns_and_reports(few: Task, whole: Run) -> None:
    result = whole._result()
    assert isinstance(result, SeedResult)
    assert [e.epoch for e in result.epochs] == [0, 1, 2, 3]
    assert result.epochs[-1].train_loss < result.epochs[1].train_loss
    assert result.epochs[1].lr == SMALL.lr
    assert result.parameters == 8 + 64 + 16 + 80 + 10
    assert result.resonators is not None
    assert np.abs(result.resonators.omega - result.resonators.omega_start).max() > 1e-3
    assert result.raster.output.shape == (64, 8)
    assert {t.name for t in result.trained} >= {"input weights", "recurrent weights", "omega", "tau of the readout"}


class Stop(Exception):
    pass


def test_a_stopped_run_goes_on_to_the_same_bits(few: Task, whole: Run, tmp_path: Path) -> None:
    path = tmp_path / "seed0.ckpt"

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        run(few).train(stop, path)
    again = run(few)
    again.train(silent, path, resume=True)
    pairs = zip(jax.tree.leaves(again._state()), jax.tree.leaves(whole._state()), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert [replace(e, seconds=0) for e in again.epochs] == [replace(e, seconds=0) for e in whole.epochs]
    with pytest.raises(RunError, match="lr"):
        run(few, replace(SMALL, lr=0.2)).train(silent, path, resume=True)


def test_an_update_with_an_overflowing_gradient_is_left_out(few: Task) -> None:
    network = build(no.load("brf"), no.load("li"), few.channels, few.outputs, TINY, jax.random.key(0))
    broken = eqx.tree_at(lambda n: n.out.weight, network, network.out.weight.at[0, 0].set(jnp.inf))
    x, y = np.ascontiguousarray(few.train_x[:16].swapaxes(0, 1)), few.train_y[:16]
    after, _, _, _, done = update(Recipe(TINY), broken, ADAM.init(broken), np.float32(TINY.lr), x, y, FIRST)
    assert not done
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(broken), strict=True))


def test_an_unknown_backend_is_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--neuron", "brf", "--backend", "none"]) == 2
    assert "one of torch, jax" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "report"
    options = ["--epochs", "0", "--size", "4", "--out", str(folder), "--backend", "jax"]
    assert main(["train", "digits", "--neuron", "brf", *options]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_noise_belongs_to_the_seed_of_the_run(few: Task) -> None:
    plain = replace(TINY, init={}, recurrent=False)
    noisy = no.Neuron("noisy", dt=1, inputs={"I": "current"}, noise={"U": "uniform"},
                      parameters={"w": no.Parameter(1.0)}, equations="v[t] = 0.5*v[t-1] + w*I",
                      spike="sigmoid(v) > U")  # fmt: skip
    network = build(noisy, no.load("li"), few.channels, few.outputs, plain, jax.random.key(0))
    x, y = np.ascontiguousarray(few.train_x[:16].swapaxes(0, 1)), few.train_y[:16]
    losses = [
        float(update(Recipe(plain), network, ADAM.init(network), np.float32(0), x, y, FIRST, np.uint32(seed))[2])
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]
