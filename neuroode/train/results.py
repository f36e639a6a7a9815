"""What a run leaves behind: plain numbers and numpy arrays, so that reports need no framework."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of the history. Epoch 0 is the untrained network. Losses are per step, accuracies in per cent."""

    epoch: int
    lr: float | None
    train_loss: float | None
    val_loss: float | None
    val_accuracy: float | None
    test_loss: float
    test_accuracy: float
    rate: float | None  # spikes per neuron and step on the test set; None for graded neurons
    seconds: float  # of training; evaluation apart
    skipped: int = 0  # updates left out because the gradient was not finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """The hidden layer on one test sample: input (T, C), output (T, N); label and prediction are () or (T,)."""

    sample: int
    label: np.ndarray
    prediction: np.ndarray
    spiking: bool
    input: np.ndarray
    output: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Resonators:
    """Frequency and damping of each resonator, before and after training; b is the real part of its eigenvalue."""

    dt: float
    omega_start: np.ndarray
    b_start: np.ndarray
    omega: np.ndarray
    b: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """Everything about one seed. `picked` is the epoch whose accuracy counts."""

    seed: int
    epochs: tuple[Epoch, ...]
    picked: int
    parameters: int
    seconds: float
    raster: Raster | None = None
    resonators: Resonators | None = None

    @property
    def accuracy(self) -> float:
        return self.epochs[self.picked].test_accuracy


def pick(epochs: list[Epoch]) -> int:
    """The epoch of the lowest validation loss; the last one where there is no validation set."""
    losses = [e.val_loss for e in epochs]
    known = [loss for loss in losses if loss is not None]
    return losses.index(min(known)) if known else len(epochs) - 1
