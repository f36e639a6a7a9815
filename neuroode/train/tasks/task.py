"""One data set as arrays: sequences with a target each, or a target at every step."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np

Array = np.ndarray
TEST_SEED = 0  # who is in the test set never depends on the seed of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One data set, cut into training, validation and test.

    Targets are classes (int64, counted from 0) or numbers (float32); their type says what is learned.

    Args:
        outputs: what the network computes at a step: one logit a class, or one number.
        images: whether the sequences are the pixels of square images, row by row.
        train_x: (n, T, C) float32; `val_x`, `test_x` likewise.
        train_y: (n,) for one target a sequence or (n, T) for one a step; `val_y`, `test_y` likewise.
    """

    name: str
    about: str
    outputs: int
    train_x: Array
    train_y: Array
    val_x: Array
    val_y: Array
    test_x: Array
    test_y: Array
    images: bool = False

    @property
    def steps(self) -> int:
        return int(self.train_x.shape[1])

    @property
    def channels(self) -> int:
        return int(self.train_x.shape[2])

    @property
    def per_step(self) -> bool:
        """Whether there is a target at every step."""
        return self.train_y.ndim == 2

    @property
    def numbers(self) -> bool:
        """Whether the targets are numbers, not classes."""
        return self.train_y.dtype.kind == "f"

    @property
    def score(self) -> str:
        """What the score, always in per cent, is called: 0 % of explained variance is the best constant's."""
        return "explained variance" if self.numbers else "accuracy"

    def chance(self, skip: int = 0) -> float:
        """The score of the best constant answer on the test set, in per cent.

        Args:
            skip: steps at the start that do not count.
        """
        if self.numbers:
            return 0.0
        counted = self.test_y[:, skip:] if self.per_step else self.test_y
        return 100 * float(np.bincount(counted.ravel()).max()) / counted.size

    def digest(self) -> str:
        """Of all arrays: equal for the same data only."""
        found = sha256()
        for part in ("train", "val", "test"):
            for array in (getattr(self, f"{part}_x"), getattr(self, f"{part}_y")):
                found.update(f"{array.shape} {array.dtype}".encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def stratified(labels: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Indices of two parts; the second holds `share` of every class. Both come in random order."""
    first, second = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cut = round(share * len(members))
        second.append(members[:cut])
        first.append(members[cut:])
    return rng.permutation(np.concatenate(first)), rng.permutation(np.concatenate(second))
