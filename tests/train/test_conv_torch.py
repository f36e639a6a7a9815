"""The convolutional network: what it computes, that its images are whole, its recipes, a run that is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.cli.main import main
from neuroode.train import tasks
from neuroode.train.loop_torch import Run
from neuroode.train.module_torch import Training
from neuroode.train.network_conv_torch import ConvNetwork
from neuroode.train.options import Settings, override, recommended
from neuroode.train.plan import Plan, prepare
from neuroode.train.results import Diverged

SMALL = Settings(net="conv", size=2, epochs=2, batch=32, readout="linear", gain=1.0)


def network(**changes: object) -> ConvNetwork:
    torch.manual_seed(0)
    return ConvNetwork(no.load("lnm"), no.load("li"), 64, 10, replace(SMALL, **changes))


def whole(few: tasks.Task) -> tasks.Task:
    return tasks.whole_images(few, 4)


def plain(net: ConvNetwork, x: torch.Tensor) -> torch.Tensor:
    """Another way: the image given again at each step, statistics of all steps together, spikes step by step."""
    images = x[0].reshape(-1, 1, 8, 8)
    stream = images.expand(4, *images.shape)
    for number, block in enumerate(net.blocks):
        if number:
            stream = F.avg_pool2d(stream.flatten(0, 1), 2).unflatten(0, stream.shape[:2])
        weight = block.linear.weight
        rows = stream.flatten(0, 1)
        made = rows.flatten(1) @ weight.T if number == 2 else F.conv2d(rows, weight, padding=1)
        over = (0,) if number == 2 else (0, 2, 3)
        made = (made - made.mean(over, keepdim=True)) / (made.var(over, correction=0, keepdim=True) + 1e-5).sqrt()
        u, spikes = torch.zeros_like(made[: len(images)]), []
        for each in made.unflatten(0, (4, -1)):
            u = 0.5 * u + each
            spikes.append((u >= 1).float())
            u = u * (1 - spikes[-1])
        stream = torch.stack(spikes)
    return stream @ net.out.weight.T + net.out.bias


def test_it_computes_what_it_says(few: tasks.Task) -> None:
    net = network()
    x = torch.from_numpy(whole(few).train_x[:16].swapaxes(0, 1).copy())
    out, spikes = net.both(x)
    assert out.shape == (4, 16, 10)
    assert spikes.shape == (4, 16, 2 * 64 + 4 * 16 + 8)
    assert 0.05 < spikes.mean() < 0.4
    assert (out - plain(net, x)).abs().max() <= 1e-4


def test_images_are_the_sequences_row_by_row(digits: tasks.Task) -> None:
    shown = whole(digits)
    assert shown.train_x.shape == (len(digits.train_x), 1, 64)
    assert np.array_equal(shown.train_x[:, 0], digits.train_x[:, :, 0])
    assert shown.about == "scikit-learn's 8x8 digits, each shown for 4 steps"
    with pytest.raises(RunError, match="task 'xor' has no square images"):
        whole(tasks.load("xor"))


def test_without_a_gain_every_layer_is_made_active(few: tasks.Task) -> None:
    """A LIF of the zoo scales its input by 1/20: silent at unit variance."""
    x = torch.from_numpy(whole(few).train_x[:32].swapaxes(0, 1).copy())
    torch.manual_seed(0)
    net = ConvNetwork(no.load("lif"), no.load("li"), 64, 10, replace(SMALL, gain=None))
    assert net.both(x)[1].detach().mean() < 0.01
    net.scale_input(None, x)
    rates = [float(layer.detach().mean()) for layer in net.layers(x)]
    assert min(rates) >= 0.09
    assert max(rates) < 0.5
    gains = [block.norm.weight for block in net.blocks]
    assert all((g == g[0]).all() and float(g[0].detach()).hex().startswith("0x1.0000") for g in gains)


def test_training_teaches_and_evaluation_leaves_statistics_alone(few: tasks.Task) -> None:
    run = Run(whole(few), no.load("lnm"), no.load("li"), replace(SMALL, epochs=12, size=4, batch=8), 0)
    before = run.network.blocks[0].norm.running_mean.clone()
    run.module.evaluate(run.test_data)
    assert torch.equal(before, run.network.blocks[0].norm.running_mean)
    result = run.train(lambda _: None)
    assert result.test_score > 60
    theta = {t.name: t for t in result.trained}
    assert [theta[f"theta of layer {n}"].start.tolist() for n in (1, 2, 3)] == [[0, 0.5, 0, 0]] * 3
    assert all(np.ptp(theta[f"theta of layer {n}"].end - theta[f"theta of layer {n}"].start) > 0 for n in (1, 2, 3))
    again = run.network.blocks[0].norm.running_mean.clone()
    run._raster()
    assert torch.equal(again, run.network.blocks[0].norm.running_mean)


def test_neurons_learn_at_their_own_rate(few: tasks.Task) -> None:
    module = Training(whole(few), no.load("lnm"), no.load("li"), replace(SMALL, neuron_lr=0.1), 0)
    module.adam.param_groups[0]["lr"] = 0  # what the first epoch sets
    groups = module.adam.param_groups
    assert [group["factor"] for group in groups] == [1.0, 0.1]
    assert [tuple(p.shape) for p in groups[1]["params"]] == [(4,)] * 3


def test_a_loss_that_is_not_finite_has_its_own_error(few: tasks.Task) -> None:
    with pytest.raises(Diverged, match="the loss is"):
        Run(whole(few), no.load("lnm"), no.load("li"), replace(SMALL, lr=1e38), 0).train(lambda _: None)


def test_an_update_whose_gradient_overflows_is_left_out(few: tasks.Task) -> None:
    """A steep cubic map leaves the numbers of float32 in four steps; a spike is 0 or 1 all the same, so the loss is
    finite."""
    steep = no.load("lnm").replace(parameters={"theta": {"init": "1e15*max(0, power - 2)", "per": ["power"]}})
    with pytest.raises(Diverged, match="no update of epoch 1 had a finite gradient"):
        Run(whole(few), steep, no.load("li"), SMALL, 0).train(lambda _: None)


def test_a_resumed_run_ends_with_the_same_numbers(few: tasks.Task, tmp_path: Path) -> None:
    """Statistics and moments of both rates of learning come back."""

    def made(epochs: int) -> Run:
        return Run(whole(few), no.load("lnm"), no.load("li"), replace(SMALL, epochs=2, neuron_lr=0.5), 0)

    through = made(2).train(lambda _: None)

    class Stop(Exception):
        pass

    def stop(epoch: object) -> None:
        if getattr(epoch, "epoch", 0) == 1:
            raise Stop

    with pytest.raises(Stop):
        made(2).train(stop, tmp_path / "a.ckpt")
    resumed = made(2).train(lambda _: None, tmp_path / "a.ckpt", resume=True)
    assert [e.val_loss for e in resumed.epochs] == [e.val_loss for e in through.epochs]
    for a, b in zip(resumed.trained, through.trained, strict=True):
        assert np.array_equal(a.end, b.end), a.name


def test_recipes() -> None:
    assert recommended("digits", "lnm").net == "conv"
    assert recommended("digits", "lif").net == "dense"
    assert recommended("digits", "lif", "conv") == recommended("digits", "plif", "conv")
    assert recommended("digits", "lnm", "dense") == recommended("digits", "lif")
    assert recommended("digits", "lnm", "conv") == recommended("digits", "lnm")
    with pytest.raises(RunError, match="task 'xor' has no recipe for net conv"):
        recommended("xor", "lif", "conv")
    with pytest.raises(RunError, match="net is 'deep'"):
        recommended("digits", "lif", "deep")
    with pytest.raises(RunError, match="no recurrent weights"):
        override(recommended("digits", "lnm"), {"recurrent": True})
    with pytest.raises(Unsupported, match="not there for jax"):
        prepare(Plan(task="digits", neuron="lnm", backend="jax"))
    with pytest.raises(Unsupported, match="neuron_lr is not there for jax"):
        prepare(Plan(task="digits", neuron="lif", backend="jax", changes={"neuron_lr": 0.1}))
    with pytest.raises(RunError, match="steps are those of an image"):
        prepare(Plan(task="digits", neuron="lif", changes={"steps": 8}))


def test_the_command_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    words = ["train", "digits", "--neuron", "lnm", "--size", "2", "--epochs", "1", "--batch", "300"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "digits, lnm: 200 neurons, " in capsys.readouterr().out
    figures = json.loads((tmp_path / "report.json").read_text())
    assert (figures["settings"]["net"], figures["data"]["steps"], figures["data"]["side"]) == ("conv", 4, 8)
    assert figures["hidden"]["ordered_by"] == "layer"
    page = (tmp_path / "report.html").read_text()
    assert "8 x 8 pixels, " in page
    assert "each shown for 4 steps" in page
    assert (tmp_path / "hidden.png").stat().st_size > 10_000
