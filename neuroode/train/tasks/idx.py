"""The idx format of MNIST's files: two zero bytes, a type, the number of axes, the sizes, the values (big-endian)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from neuroode._errors import RunError
from neuroode.train.tasks.task import Array

UNSIGNED_BYTE = 8
NAMES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def read_mnist(folder: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Training and test set: images (n, 28, 28) uint8 and labels (n,) int64.

    Raises:
        RunError: a file that is missing, no idx file, or holds something else than digits.
    """
    first, second = (_pair(folder, *names) for names in NAMES)
    return first, second


def _pair(folder: Path, images: str, labels: str) -> tuple[Array, Array]:
    at, of = _find(folder, images), _find(folder, labels)
    x, y = read(at, axes=3), read(of, axes=1)
    if x.shape[1:] != (28, 28) or not len(x):
        raise RunError(f"{at} holds an array of shape {x.shape}, not images of 28 x 28")
    if len(x) != len(y):
        raise RunError(f"{at} holds {len(x)} images, {of} {len(y)} labels")
    if y.max() > 9:
        raise RunError(f"{of} holds the label {y.max()}, not digits from 0 to 9")
    return x, y.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    """The file as such or compressed, with its usual name or with the dot that some copies have."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise RunError(f"there is no file {folder / name}, nor {name}.gz", hint="--data names the folder that holds it")


def read(path: Path, axes: int) -> Array:
    """The array of unsigned bytes in an idx file, which may be compressed.

    Raises:
        RunError: no idx file, another type or number of axes, or a length that does not fit the sizes.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    start = 4 + 4 * axes
    if content[:4] != bytes((0, 0, UNSIGNED_BYTE, axes)) or len(content) < start:
        raise RunError(f"{path} is not an idx file of unsigned bytes with {axes} axes")
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist())
    if (expected := int(np.prod(shape, dtype=object))) != len(content) - start:
        raise RunError(f"{path} is damaged: {len(content) - start} values for the sizes {shape}, not {expected}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
