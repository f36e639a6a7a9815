"""The ECG task: the waves of a heartbeat at every step, from level-crossing spikes of two leads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuroode._errors import RunError
from neuroode.train.tasks.task import Array, Task

VALIDATION = 61


def ecg(data: Path | None, seed: int) -> Task:
    """QTDB as in the published set-up: 1300 steps, 557/61 of the training sequences, unlabelled steps are class 0."""
    if data is None:
        hint = "--data DIR, the folder with QTDB_train.mat and QTDB_test.mat"
        raise RunError("task 'ecg' needs its data", hint=hint)
    x, y = _read(data / "QTDB_train.mat")
    test_x, test_y = _read(data / "QTDB_test.mat")
    order = np.random.default_rng(seed).permutation(len(x))
    val, train = order[:VALIDATION], order[VALIDATION:]
    return Task(
        name="ecg",
        about="QT Database, level-crossing spikes of two leads, the wave at every step",
        outputs=6,
        train_x=x[train],
        train_y=y[train],
        val_x=x[val],
        val_y=y[val],
        test_x=test_x,
        test_y=test_y,
    )


def _read(path: Path) -> tuple[Array, Array]:
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
    if x.ndim != 3 or x.shape[2] != 4 or one_hot.shape != (*x.shape[:2], 6) or len(x) <= VALIDATION:
        raise RunError(f"{path} is not a QTDB file: x is {x.shape}, y is {one_hot.shape}")
    return np.ascontiguousarray(x[:, :-1], np.float32), one_hot[:, :-1].argmax(2).astype(np.int64)
