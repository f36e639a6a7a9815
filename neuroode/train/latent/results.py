"""What the arms of a run leave behind: plain numbers and numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
KEPT = slice(None, None, 4)  # test trials whose rates and features a report reads: one of each condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of the history; epoch 0 is the untrained network.

    `loss` is that of the seen and held-out counts of the training trials in nats a trial, `kl` the divergence, means
    over the epoch while the network changes. Bits per spike are those of the held-out neurons on the validation
    trials, by which the epoch is picked; R^2 of their rates is only looked at.
    """

    epoch: int
    loss: float | None
    kl: float | None
    val_bits: float
    val_r_squared: float
    seconds: float  # of training; evaluation apart
    skipped: int = 0  # updates left out because the gradient was not finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Of the test trials: R^2 of all rates, of the seen and of the held-out neurons, and bits per held-out spike."""

    r_squared: float
    r_squared_seen: float
    r_squared_held: float
    bits: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm and seed. `rates` (n, T, N) and `features` (n, T, F) are of the test trials KEPT; `note` says what was
    chosen."""

    name: str
    seed: int
    scores: Scores
    parameters: int
    seconds: float
    rates: Array
    features: Array | None = None
    epochs: tuple[Epoch, ...] = ()
    picked: int = 0
    note: str = ""


def pick(epochs: list[Epoch]) -> int:
    """The first epoch of the most bits per spike on the validation trials."""
    bits = [e.val_bits for e in epochs]
    return bits.index(max(bits))
