"""Data sets as arrays, drawn from a seed. No framework, no downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neuroode._errors import RunError
from neuroode.train.tasks.generated import adding, copy, sine, xor
from neuroode.train.tasks.images import digits, fashion, smnist
from neuroode.train.tasks.images import whole_images as whole_images
from neuroode.train.tasks.lorenz import Population, lorenz_population
from neuroode.train.tasks.qtdb import ecg
from neuroode.train.tasks.task import Task as Task
from neuroode.train.tasks.task import stratified as stratified

Loader = Callable[[Path | None, int], Task]

LOADERS: dict[str, Loader] = {
    "digits": digits,
    "smnist": smnist,
    "fashion": fashion,
    "ecg": ecg,
    "adding": adding,
    "copy": copy,
    "sine": sine,
    "xor": xor,
}
#: tasks whose data are spike counts with their true rates, for latents (`neuroode.train.latent`)
POPULATIONS: dict[str, Callable[[int], Population]] = {"lorenz": lorenz_population}
READ_FILES = ("ecg", "smnist", "fashion")


def load(name: str, data: str | Path | None = None, seed: int = 0) -> Task:
    """Load a task.

    Args:
        name: digits, smnist, fashion, ecg, adding, copy, sine or xor.
        data: the folder with the files of `ecg`, or with the whole MNIST for `smnist`, with
            Fashion-MNIST for `fashion`.
        seed: draws the validation set and, where data are generated, the training set. The test set is always the
            same.

    Raises:
        RunError: an unknown name, a missing folder or package, or files that hold something else.
    """
    if name not in LOADERS:
        raise RunError(f"unknown task '{name}'", hint=f"the tasks are {', '.join(LOADERS)}")
    if name not in READ_FILES and data is not None:
        raise RunError(f"task '{name}' takes no data folder", hint="leave out --data")
    return LOADERS[name](None if data is None else Path(data), seed)
