"""A small training run in a process of its own, which may be killed at any moment or kills itself at a given one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

import neuroode as no
from neuroode.train import checkpoint, files, tasks
from neuroode.train.loop_torch import Run
from neuroode.train.options import recommended


def make(epochs: int) -> Run:
    whole = tasks.load("digits")
    few = {f"{part}_{k}": getattr(whole, f"{part}_{k}")[:64] for part in ("train", "val", "test") for k in "xy"}
    settings = replace(recommended("digits", "brf"), size=12, epochs=epochs)
    return Run(replace(whole, **few), no.load("brf"), no.load("li"), settings, seed=0)


def train(path: Path, epochs: int, started: Connection | None = None, point: str = "", epoch: int = 0) -> None:
    """Train, going on from `path` if it is there. Dies at `point` of writing the checkpoint of `epoch`, if given."""
    torch.set_num_threads(1)
    run = make(epochs)
    if point:
        _die_at(point, epoch)
    if started is not None:
        started.send(None)
    run.train(lambda _: None, path, resume=True, warn=lambda _: None)


def _die_at(point: str, epoch: int) -> None:
    save, replace_file = checkpoint.save, checkpoint.replace_file

    def deadly(path: Path, *parts: bytes, before: Callable[[], None]) -> None:
        if point == "half written":
            whole = b"".join(parts)
            path.with_name(f".{path.name}.half").write_bytes(whole[: len(whole) // 2])
            _die()
        elif point == "between the renames":
            before()
            _die()
        else:
            setattr(*CALLS[point], _die)
            replace_file(path, *parts, before=before)

    def counted(path: Path, recipe: Any, number: int, content: bytes) -> None:
        if number == epoch:
            checkpoint.replace_file = deadly
        save(path, recipe, number, content)

    checkpoint.save = counted


#: the call at which a process dies there
CALLS: dict[str, tuple[Any, str]] = {
    "before writing": (files.tempfile, "mkstemp"),
    "before fsync": (files.os, "fsync"),
    "before the last rename": (files.os, "replace"),
    "after it": (files, "_sync_folder"),
}
#: points of writing a checkpoint at which a process may die
POINTS = (*CALLS, "half written", "between the renames")


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
