"""Figures of many batches together."""

from __future__ import annotations

from neuroode.train.options import Settings
from neuroode.train.tasks import Task
from neuroode.train.tasks.task import Array


class Tally:
    """Sums over batches, and the figures that they make.

    Args:
        task: says what a score is.
        settings: say which steps count.
        targets: of the whole set.
    """

    def __init__(self, task: Task, settings: Settings, targets: Array) -> None:
        counted = targets[:, settings.skip :] if task.per_step else targets
        self.variance = float(counted.var()) if task.numbers else None
        self.terms = task.steps - settings.skip if settings.loss == "every_step" else 1
        self.count, self.total, self.amount, self.fired = 0, 0.0, 0.0, 0.0

    def add(self, count: int, loss: float, amount: float, rate: float = 0.0) -> None:
        """One batch: its sequences, its mean loss, its right predictions or squared errors, its mean activity."""
        self.count += count
        self.total += loss * count
        self.amount += amount
        self.fired += rate * count

    @property
    def loss(self) -> float:
        """Mean over the sequences, per step where every step has a loss."""
        return self.total / self.count / self.terms

    @property
    def score(self) -> float:
        """Accuracy, or explained variance, in per cent."""
        mean = self.amount / self.count
        return 100 * mean if self.variance is None else 100 * (1 - mean / self.variance)

    @property
    def rate(self) -> float:
        """Mean activity of the hidden layer: spikes per neuron and step."""
        return self.fired / self.count
