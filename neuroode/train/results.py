"""What a run leaves behind: plain numbers and numpy arrays, so that reports need no framework."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroode._errors import RunError


class Diverged(RunError):
    """A loss or every gradient of an epoch was not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of the history. Epoch 0 is the untrained network.

    Losses are per step. Scores are in per cent (`Task.score` says of what). Those of training are means over the
    epoch, while the network changes; the test set is not looked at.
    """

    epoch: int
    lr: float | None
    train_loss: float | None
    train_score: float | None
    val_loss: float
    val_score: float
    rate: float | None  # spikes per neuron and step on the validation set; None for graded neurons
    seconds: float  # of training; evaluation apart
    skipped: int = 0  # updates left out because the gradient was not finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """The hidden layer on one test sample: input (T, C), output (T, N); target and prediction are (), or of the
    last steps, those that count."""

    sample: int
    target: np.ndarray
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
class Trained:
    """One trained parameter, flat and in constrained form, before and after."""

    name: str
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """Everything about one seed. `picked` is the epoch of least validation loss; the test figures are of its
    parameters, measured once."""

    seed: int
    epochs: tuple[Epoch, ...]
    picked: int
    parameters: int
    test_loss: float
    test_score: float
    test_rate: float | None
    seconds: float
    raster: Raster
    trained: tuple[Trained, ...]
    resonators: Resonators | None = None


def pick(epochs: list[Epoch]) -> int:
    """The first epoch of the lowest validation loss."""
    losses = [e.val_loss for e in epochs]
    return losses.index(min(losses))
