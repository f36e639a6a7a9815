"""MNIST from its files: plain, compressed, damaged, of another kind."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from neuroode._errors import RunError
from neuroode.train import tasks
from neuroode.train.tasks import idx

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def encoded(array: np.ndarray) -> bytes:
    """The format, written by hand: magic number, sizes, values."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> dict[str, np.ndarray]:
    """100 and 20 images; two files are compressed, one has a dot in its name, as copies do."""
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (100, 28, 28)),
        "train-labels-idx1-ubyte": np.arange(100) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (20, 28, 28)),
        "t10k-labels-idx1-ubyte": np.arange(20) % 10,
    }
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(encoded(array))
    (tmp_path / LABELS).rename(tmp_path / "train-labels.idx1-ubyte")
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    return arrays


def test_the_files_become_the_task(mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    task = tasks.load("smnist", tmp_path)
    sizes = [getattr(task, f"{part}_x").shape for part in ("train", "val", "test")]
    assert sizes == [(90, 784, 1), (10, 784, 1), (20, 784, 1)]
    assert np.bincount(task.train_y).tolist() == [9] * 10
    assert np.bincount(task.val_y).tolist() == [1] * 10
    assert np.array_equal(task.test_x[:, :, 0] * 255, mnist["t10k-images-idx3-ubyte"].reshape(20, 784))
    assert np.array_equal(task.test_y, mnist["t10k-labels-idx1-ubyte"])
    learned = {row.tobytes(): label for part in ("train", "val") for row, label in _rows(task, part)}
    images = (mnist[IMAGES].reshape(100, 784) / np.float32(255)).astype(np.float32)
    assert [learned[image.tobytes()] for image in images] == mnist[LABELS].tolist()


def test_fashion_has_files_of_the_same_names(mnist: dict[str, np.ndarray], tmp_path: Path) -> None:
    found, same = tasks.load("fashion", tmp_path), tasks.load("smnist", tmp_path)
    assert (found.name, found.about) == ("fashion", "Fashion-MNIST, 90 + 10 images to learn from, one pixel a step")
    assert np.array_equal(found.train_x, same.train_x)
    with pytest.raises(RunError, match="task 'fashion' needs its data"):
        tasks.load("fashion")


def _rows(task: tasks.Task, part: str) -> zip:
    return zip(getattr(task, f"{part}_x"), getattr(task, f"{part}_y"), strict=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, encoded(np.zeros((100, 28, 27))), r"holds an array of shape \(100, 28, 27\), not images of 28 x 28"),
        (IMAGES, encoded(np.zeros((49, 28, 28))), "holds 49 images, .* 100 labels"),
        (IMAGES, encoded(np.zeros((0, 28, 28))), r"of shape \(0, 28, 28\)"),
        (IMAGES, encoded(np.zeros((50, 28, 28)))[:-1], r"is damaged: 39199 values for the sizes \(50, 28, 28\)"),
        (IMAGES, encoded(np.zeros((50, 28, 28))) + b"x", "is damaged: 39201 values"),
        (IMAGES, struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "is damaged: 0 values"),
        (IMAGES, encoded(np.zeros((50, 784))), "is not an idx file of unsigned bytes with 3 axes"),
        (IMAGES, b"<html>", "is not an idx file"),
        (IMAGES, b"", "is not an idx file"),
        (IMAGES, gzip.compress(encoded(np.zeros((50, 28, 28))), mtime=0)[:-9], "cannot be read: "),
        (LABELS, encoded(np.arange(100)), "holds the label 99, not digits from 0 to 9"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, content: bytes, message: str, mnist: dict[str, np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)  # found before its compressed or dotted twin
    with pytest.raises(RunError, match=message):
        tasks.load("smnist", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no file .*train-images-idx3-ubyte, nor .*gz\nhint: --data"):
        tasks.load("smnist", tmp_path)


def test_one_axis(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(encoded(np.array([3, 1, 255])))
    assert idx.read(tmp_path / "labels", axes=1).tolist() == [3, 1, 255]
