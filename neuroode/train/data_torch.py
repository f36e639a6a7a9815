"""The arrays of a task as tensors: sequences x (T, n, C), targets y (n,) or (n, T)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class Data:
    """A part of a task. A batch is one gather of each tensor."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1)))
        self.y = torch.from_numpy(y)
        self.targets = y

    def __len__(self) -> int:
        return self.x.shape[1]

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for which in order.split(size):
            yield self.x.index_select(1, which), self.y[which]


class Batches:
    """The training set in an order of its own each epoch.

    The order depends on the seed and the number of the epoch alone, so that a resumed run sees the same one.
    """

    def __init__(self, data: Data, size: int, seed: int) -> None:
        self.data, self.size, self.seed, self.epoch = data, size, seed, 0
        self.sampler = self  # where the trainer looks for `set_epoch`
        self._restart()

    def _restart(self) -> None:
        self._generator, self._drawn = torch.Generator().manual_seed(self.seed), 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch; they count from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.data) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self.data.batches(self.order(self.epoch), self.size)

    def order(self, epoch: int) -> Tensor:
        """The permutation of an epoch: the one after `epoch` others."""
        if epoch < self._drawn:
            self._restart()
        while self._drawn < epoch:
            self._permutation()
        return self._permutation()

    def _permutation(self) -> Tensor:
        self._drawn += 1
        return torch.randperm(len(self.data), generator=self._generator)
