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
