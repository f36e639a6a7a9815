"""The loop: parameter counts, learning, resuming, refusals."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode._errors import NeuroodeError, RunError, Unsupported
from neuroode.train import Plan, Settings
from neuroode.train.data_torch import Batches, Data
from neuroode.train.loop_torch import Run
from neuroode.train.network_torch import Network
from neuroode.train.options import recommended
from neuroode.train.results import Epoch, SeedResult, pick
from neuroode.train.tasks import Task
from neuroode.train.worker_torch import train_seed

SMALL = replace(recommended("digits", "brf"), size=12, epochs=3)


def run(task: Task, settings: Settings = SMALL, neuron: str = "brf", seed: int = 0) -> Run:
    return Run(task, no.load(neuron), no.load("li"), settings, seed)


def silent(_: Epoch) -> None:
    pass


@pytest.mark.parametrize(
    ("task", "channels", "classes", "size", "expected"),
    [("ecg", 4, 6, 36, 1734), ("smnist", 1, 10, 256, 68874), ("smnist", 700, 20, 128, 108820)],
)
def test_parameter_counts_of_the_brf_paper(task: str, channels: int, classes: int, size: int, expected: int) -> None:
    recipe = replace(recommended(task, "brf"), size=size)
    assert Network(no.load("brf"), no.load("li"), channels, classes, recipe).count() == expected


def test_initial_weights_are_xavier_of_one_matrix() -> None:
    torch.manual_seed(0)
    network = Network(no.load("brf"), no.load("li"), 4, 6, recommended("ecg", "brf"))
    bound = (6 / (4 + 36 + 36)) ** 0.5
    for weight in (network.into.weight, network.hidden.W_rec):
        assert 0.9 * bound < weight.abs().max() <= bound
    omega = network.hidden.values["omega"]
    assert 3 <= omega.min() < omega.max() <= 5
    assert not any(linear.bias is not None for linear in (network.into, network.out))


def test_two_epochs_learn(digits: Task) -> None:
    recipe = replace(recommended("digits", "brf"), size=32, epochs=2)
    result = run(digits, recipe).train(silent)
    assert [e.epoch for e in result.epochs] == [0, 1, 2]
    assert result.epochs[2].val_score > result.epochs[0].val_score + 10
    assert result.picked == 2
    assert result.test_score > 30
    assert result.epochs[1].lr == recipe.lr
    assert result.epochs[2].lr == recipe.lr / 2


def test_a_seed_gives_the_same_run_again(few: Task) -> None:
    first, again, other = (run(few, seed=seed).train(silent) for seed in (0, 0, 1))
    assert [replace(e, seconds=0) for e in first.epochs] == [replace(e, seconds=0) for e in again.epochs]
    assert first.test_loss != other.test_loss


class Stop(Exception):
    pass


def stop_at(number: int) -> object:
    def tell(epoch: Epoch) -> None:
        if epoch.epoch == number:
            raise Stop

    return tell


def test_a_resumed_run_is_the_same_to_the_last_bit(few: Task, tmp_path: Path) -> None:
    path = tmp_path / "seed0.ckpt"
    whole = run(few)
    whole_result = whole.train(silent)
    with pytest.raises(Stop):
        run(few).train(stop_at(2), path)
    torch.manual_seed(99)  # where the interrupted process stood does not matter
    rest = run(few)
    told: list[int] = []
    result = rest.train(lambda e: told.append(e.epoch), path, resume=True)
    assert told == [3]
    for (name, a), b in zip(whole.network.state_dict().items(), rest.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert _moments(whole) == _moments(rest)
    assert result.test_score == whole_result.test_score
    assert np.array_equal(result.raster.output, whole_result.raster.output)
    assert np.array_equal(result.resonators.omega_start, whole_result.resonators.omega_start)


def _moments(one: Run) -> list[list[float]]:
    return [state["exp_avg_sq"].flatten().tolist() for state in one.module.adam.state.values()]


def test_a_finished_run_is_only_read(few: Task, tmp_path: Path) -> None:
    path = tmp_path / "seed0.ckpt"
    first = run(few).train(silent, path)
    again = run(few).train(stop_at(0), path, resume=True)
    assert isinstance(again, SeedResult)
    assert again.epochs == first.epochs
    assert sorted(f.name for f in tmp_path.iterdir()) == ["seed0.ckpt", "seed0.previous.ckpt"]


def test_a_checkpoint_of_another_recipe_is_refused(few: Task, tmp_path: Path) -> None:
    path = tmp_path / "seed0.ckpt"
    run(few, replace(SMALL, epochs=1)).train(silent, path)
    with pytest.raises(RunError, match=r"other values of epochs \(1 there, 3 here\), lr \(0.1 there, 0.05 here\)"):
        run(few, replace(SMALL, lr=0.05)).train(silent, path, resume=True)
    path.write_bytes(b"half a file")
    with pytest.raises(RunError, match="is not a checkpoint of neuroode"):
        run(few).train(silent, path, resume=True)


def test_from_a_damaged_checkpoint_the_one_before_goes_on(few: Task, tmp_path: Path) -> None:
    path, said = tmp_path / "seed0.ckpt", []
    whole = run(few)
    whole.train(silent, path)
    path.write_bytes(path.read_bytes()[:-100])
    rest, told = run(few), []
    rest.train(lambda e: told.append(e.epoch), path, resume=True, warn=said.append)
    assert told == [3]
    assert len(said) == 1
    assert "seed0.ckpt is damaged: " in said[0]
    assert said[0].endswith(f"going on after epoch 2, from {tmp_path / 'seed0.previous.ckpt'}")
    assert _same(whole, rest)


def _same(one: Run, other: Run) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_no_epochs_only_evaluate(few: Task) -> None:
    result = run(few, replace(SMALL, epochs=0)).train(silent)
    assert [e.epoch for e in result.epochs] == [0]
    assert all(np.array_equal(t.start, t.end) for t in result.trained)


def test_a_missing_trainer_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(RunError, match=r"training needs the package 'pytorch_lightning'\nhint: pip install 'neuroode"):
        train_seed(Plan(task="digits", neuron="brf"), quiet=True, seed=0)


def test_the_trainer_is_silent(few: Task, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    run(few, replace(SMALL, epochs=1)).train(silent)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_ctrl_c_is_an_interrupt(few: Task) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(few).train(interrupt)
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_order_depends_on_seed_and_epoch_alone(few: Task) -> None:
    batches = Batches(Data(few.train_x, few.train_y), 32, seed=5)
    generator = torch.Generator().manual_seed(5)
    expected = [torch.randperm(96, generator=generator) for _ in range(4)]
    for number in (0, 1, 3, 2, 2, 0):
        batches.set_epoch(number)
        assert torch.equal(torch.cat([y for _, y in batches]), batches.data.y[expected[number]])
    assert len(batches) == 3


def test_a_loss_that_is_not_finite_stops_the_run(few: Task) -> None:
    one = run(few)
    with torch.no_grad():
        one.network.out.weight[0, 0] = torch.inf
    with pytest.raises(RunError, match=r"the evaluation after epoch 0 is not finite \(seed 0\)"):
        one.train(silent)
    one.module.epochs.append(EVALUATED)
    with pytest.raises(RunError, match=r"the loss is nan in epoch 1, batch 1 \(seed 0\)\nhint: lower --lr"):
        one._fit(silent, None, None)


def test_a_state_that_is_no_number_behind_a_finite_loss_stops_the_run(few: Task) -> None:
    one = run(few)

    def spoilt(_: object, __: object, found: tuple) -> tuple:
        out, carry = found
        return out, type(carry)({n: torch.full_like(v, torch.nan) for n, v in carry.items()}, carry.digest)

    one.network.hidden.register_forward_hook(spoilt)
    with pytest.raises(RunError, match=r"of 'brf' is no number after epoch 1, batch 1 \(seed 0\), though its output"):
        one.train(silent)


def test_updates_whose_gradient_overflows_are_left_out(few: Task) -> None:
    one = run(few)
    one.network.into.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = {k: v.clone() for k, v in one.network.state_dict().items()}
    with pytest.raises(RunError, match=r"no update of epoch 1 had a finite gradient \(seed 0\)"):
        one.train(silent)
    assert one.module.skipped == 3
    assert all(torch.equal(v, before[k]) for k, v in one.network.state_dict().items())


def test_an_update_that_is_left_out_is_counted(few: Task) -> None:
    one, calls = run(few, replace(SMALL, epochs=1)), []

    def sometimes(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * (torch.inf if len(calls) == 2 else 1)

    one.network.into.weight.register_hook(sometimes)
    assert one.train(silent).epochs[1].skipped == 1


def test_the_gradient_is_clipped(few: Task) -> None:
    one = run(few, replace(SMALL, clip=1e-3, epochs=1))
    one.train(silent)
    norm = torch.stack([p.grad.norm() for p in one.module.trained]).norm()
    assert 0 < norm <= 1.001e-3


def test_a_graded_neuron_is_not_recurrent_and_has_no_rate(few: Task) -> None:
    recipe = replace(recommended("digits", "li"), size=8, epochs=1)
    one = run(few, recipe, "li")
    result = one.train(silent)
    assert not one.network.recurrent
    assert result.epochs[-1].rate is None
    assert result.resonators is None


def epoch(number: int, val: float) -> Epoch:
    return Epoch(
        epoch=number, lr=None, train_loss=None, train_score=None, val_loss=val, val_score=50, rate=None, seconds=0,
    )  # fmt: skip


EVALUATED = epoch(0, 1.0)


def test_the_epoch_of_least_validation_loss_counts() -> None:
    assert pick([epoch(0, 3), epoch(1, 1), epoch(2, 2)]) == 1
    assert pick([epoch(0, 1), epoch(1, 1)]) == 0


def test_the_test_set_is_measured_once_with_the_picked_parameters(few: Task) -> None:
    one = run(few)
    result = one.train(silent)
    losses = [e.val_loss for e in result.epochs]
    assert result.picked == int(np.argmin(losses))
    again = one.module.evaluate(one.module.val_data)
    assert again.loss == losses[result.picked]
    assert result.test_loss == one.module.evaluate(one.test_data).loss


def test_a_neuron_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    two = tmp_path / "two.yaml"
    two.write_text("neuron: two\ndt: 1\ninputs: {a: current, b: current}\nequations: dv/dt = -v + a + b\n")
    with pytest.raises(Unsupported, match="one input of one number; 'two' has a, b"):
        Network(no.load(str(two)), no.load("li"), 1, 2, SMALL)
    pair = tmp_path / "pair.yaml"
    pair.write_text("neuron: pair\ndt: 1\nequations: dv/dt = -v + I\noutputs: {v: v, w: 2*v}\n")
    with pytest.raises(Unsupported, match="one output; 'pair' has v, w"):
        Network(no.load(str(pair)), no.load("li"), 1, 2, SMALL)
    with pytest.raises(NeuroodeError, match="omeg"):
        Network(no.load("brf"), no.load("li"), 1, 2, replace(SMALL, init={"omeg": "1"}))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_input_is_scaled_to_what_the_neurons_answer_to(few: Task, scale: float) -> None:
    loud = replace(few, train_x=few.train_x * np.float32(scale))
    network = run(loud, replace(recommended("digits", "default"), size=20), "lif").network
    x = torch.from_numpy(loud.train_x[:32].swapaxes(0, 1).copy())
    with torch.no_grad():
        rate = float(network.both(x)[1].mean())
    assert 0.02 < rate < 0.5
