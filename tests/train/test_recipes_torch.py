"""Recommended recipes: each runs, and whole runs reach what they are there for."""

from __future__ import annotations

from dataclasses import replace

import pytest

import neuroode as no
from neuroode.train import tasks
from neuroode.train.loop_torch import Run
from neuroode.train.options import recommended

pytest.importorskip("pytorch_lightning")
FEW = 32


@pytest.mark.parametrize("task", ["adding", "copy", "sine", "xor"])
@pytest.mark.parametrize("neuron", ["lif", "brf"])
def test_a_few_sequences_are_learned_by_heart(task: str, neuron: str) -> None:
    """32 sequences, and a small network."""
    whole = tasks.load(task)
    few = {f"{part}_{k}": getattr(whole, f"{part}_{k}")[:FEW] for part in ("train", "val", "test") for k in "xy"}
    settings = replace(recommended(task, neuron), epochs=30, batch=8, lr=0.05, decay=False, size=32)
    result = Run(replace(whole, **few), no.load(neuron), no.load("li"), settings, seed=0).train(lambda _: None)
    assert result.epochs[-1].train_loss < 0.95 * result.epochs[1].train_loss
    assert result.epochs[-1].train_score > replace(whole, **few).chance(settings.skip) + 3
