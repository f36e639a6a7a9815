"""A run that trains epoch by epoch and keeps a checkpoint after each, whatever the framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from neuroode.train import checkpoint

E = TypeVar("E")  # the figures of an epoch
R = TypeVar("R")  # what a run comes to


class EpochByEpoch(ABC, Generic[E, R]):
    """One run. It has `settings` with a number of epochs, the figures `epochs` so far, of which those of epoch 0 belong
    to the untrained network, and `recipe`, what a checkpoint must agree on."""

    settings: Any
    epochs: list[E]
    recipe: dict[str, Any]

    def train(
        self, tell: Callable[[E], None], path: Path | None = None, resume: bool = False,
        warn: Callable[[str], None] = print,
    ) -> R:  # fmt: skip
        """Train to the last epoch, and say what it came to.

        Args:
            tell: called with each epoch's figures, when its checkpoint is written.
            path: where the checkpoint is kept; None: nowhere.
            resume: go on from that file, if it is there.
            warn: called with a line about a damaged checkpoint.

        Raises:
            RunError: a loss that is not finite, or a checkpoint of another recipe.
        """
        self.fit(tell, path, resume, warn)
        return self._result()

    def fit(
        self, tell: Callable[[E], None], path: Path | None = None, resume: bool = False,
        warn: Callable[[str], None] = print,
    ) -> None:  # fmt: skip
        """`train` without a result: the test data are not looked at."""
        found = None if path is None else checkpoint.begin(path, self.recipe, resume, warn)
        if found is None:
            tell(self._untrained())
        else:
            self._restore(found.content)
        while len(self.epochs) <= self.settings.epochs:
            number = len(self.epochs)
            epoch = self._epoch(number)
            if path is not None:
                checkpoint.save(path, self.recipe, number, self._content())
            tell(epoch)

    @abstractmethod
    def _untrained(self) -> E:
        """Record epoch 0."""

    @abstractmethod
    def _epoch(self, number: int) -> E:
        """Train one epoch and record it."""

    @abstractmethod
    def _content(self) -> bytes:
        """All that a checkpoint holds."""

    @abstractmethod
    def _restore(self, content: bytes) -> None: ...

    @abstractmethod
    def _result(self) -> R: ...
