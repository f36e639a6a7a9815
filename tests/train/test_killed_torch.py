"""A run that is killed at any moment and resumed ends with the same bits."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from multiprocessing import Pipe, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import sleep

import killed_torch
import pytest
import torch
from killed_torch import POINTS, make

pytest.importorskip("pytorch_lightning")
EPOCHS, MANY = 3, 60


@pytest.fixture(scope="module")
def processes() -> Iterator[object]:
    """A server that has loaded torch, but has not run it, forks in no time. It does not know our path of imports."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["neuroode.train.loop_torch", "sklearn.datasets", "sympy"])
    yield context
    from multiprocessing import forkserver

    forkserver._forkserver._stop()


def end(path: Path, epochs: int) -> list[torch.Tensor]:
    """Everything that training changes, after going on to the end."""
    run = make(epochs)
    run.train(lambda _: None, path, resume=True, warn=lambda _: None)
    moments = [value for state in run.module.adam.state.values() for value in state.values()]
    scores = torch.tensor([e.val_loss for e in run.module.epochs])
    return [*run.network.state_dict().values(), *run.module.best.values(), *moments, scores]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    return end(tmp_path_factory.mktemp("undisturbed") / "seed0.ckpt", EPOCHS)


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_writes(point: str, undisturbed: list[torch.Tensor], tmp_path: Path, processes) -> None:
    path = tmp_path / "seed0.ckpt"
    child = processes.Process(target=killed_torch.train, args=(path, EPOCHS, None, point, 2))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert same(end(path, EPOCHS), undisturbed)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["seed0.ckpt", "seed0.previous.ckpt"]


def _killed_after(seconds: float, path: Path, processes) -> BaseProcess:
    ours, theirs = Pipe()
    child = processes.Process(target=killed_torch.train, args=(path, MANY, theirs))
    child.start()
    assert ours.poll(60)
    sleep(seconds)
    child.kill()
    child.join()
    return child


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, processes, times: int) -> None:
    path, rng = tmp_path / "seed0.ckpt", random.Random(0)
    codes = [_killed_after(rng.uniform(0, 0.25), path, processes).exitcode for _ in range(times)]
    assert codes.count(-signal.SIGKILL) >= times // 2  # a quick machine may come to the end before
    assert same(end(path, MANY), end(tmp_path / "undisturbed.ckpt", MANY))
