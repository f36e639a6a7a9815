"""Tasks that are drawn from a seed: what a neuron remembers, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from neuroode.train.tasks.task import TEST_SEED, Array, Task

Draw = Callable[[int, np.random.Generator], tuple[Array, Array]]
TRAIN, VALIDATION, TEST = 2000, 200, 1000

ADDING_STEPS = 50
SYMBOLS, WORD, COPY_DELAY = 8, 5, 10
SINE_STEPS, PERIODS = 100, (20.0, 50.0)
BURST, XOR_DELAY, HIGH, LOW = 10, 20, 0.5, 0.05


def adding(data: Path | None, seed: int) -> Task:  # noqa: ARG001
    """The adding problem (Hochreiter and Schmidhuber 1997, experiment 4; one mark a half: arXiv:1511.06464)."""
    about = f"the adding problem over {ADDING_STEPS} steps: the sum of the two numbers that are marked"
    return _drawn("adding", about, 1, draw_adding, seed)


def draw_adding(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x: numbers in [0, 1), and marks, one in each half; y: the sum of the marked ones, with variance 1/6."""
    rows, half = np.arange(n), ADDING_STEPS // 2
    x = np.zeros((n, ADDING_STEPS, 2), np.float32)
    x[:, :, 0] = rng.random((n, ADDING_STEPS))
    for start in (0, half):
        x[rows, start + rng.integers(0, half, n), 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(1)


def copy(data: Path | None, seed: int) -> Task:  # noqa: ARG001
    """Copy memory (Hochreiter and Schmidhuber 1997; as in arXiv:1511.06464, shorter)."""
    about = f"copy memory: repeat {WORD} symbols out of {SYMBOLS}, {COPY_DELAY} steps after the last one"
    return _drawn("copy", about, SYMBOLS, draw_copy, seed)


def draw_copy(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x: one channel a symbol, and one that asks for the answer; y: the word at the last steps, before them 0.

    Only the last `WORD` steps ask for anything: the recipe skips the others.
    """
    word = rng.integers(0, SYMBOLS, (n, WORD))
    x = np.zeros((n, 2 * WORD + COPY_DELAY, SYMBOLS + 1), np.float32)
    x[np.arange(n)[:, None], np.arange(WORD), word] = 1
    x[:, -WORD - 1, SYMBOLS] = 1
    y = np.zeros(x.shape[:2], np.int64)
    y[:, -WORD:] = word
    return x, y


def sine(data: Path | None, seed: int) -> Task:  # noqa: ARG001
    """Our own: generate a sine whose period the input tells."""
    about = f"generate a sine of {PERIODS[0]:g} to {PERIODS[1]:g} steps a period, as a constant input asks"
    return _drawn("sine", about, 1, draw_sine, seed)


def draw_sine(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x: a start signal at step 0, and a constant in [0, 1] linear in the frequency; y: the sine at every step."""
    asked = rng.random((n, 1))
    low, high = 1 / PERIODS[1], 1 / PERIODS[0]
    time = np.arange(SINE_STEPS)
    x = np.zeros((n, SINE_STEPS, 2), np.float32)
    x[:, 0, 0], x[:, :, 1] = 1, asked
    return x, np.sin(2 * np.pi * (low + (high - low) * asked) * time).astype(np.float32)


def xor(data: Path | None, seed: int) -> Task:  # noqa: ARG001
    """Delayed exclusive or of two bursts of spikes."""
    about = f"exclusive or of two bursts of {BURST} steps, strong or weak, {XOR_DELAY} steps apart"
    return _drawn("xor", about, 2, draw_xor, seed)


def draw_xor(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x: a burst in channel 0, a pause, a burst in channel 1, each of random spikes at one of two rates; y: whether
    the rates differ."""
    bits = rng.integers(0, 2, (n, 2))
    x = np.zeros((n, 2 * BURST + XOR_DELAY, 2), np.float32)
    for channel, start in enumerate((0, BURST + XOR_DELAY)):
        rate = np.where(bits[:, channel], HIGH, LOW)[:, None]
        x[:, start : start + BURST, channel] = rng.random((n, BURST)) < rate
    return x, (bits[:, 0] ^ bits[:, 1]).astype(np.int64)


def _drawn(name: str, about: str, outputs: int, draw: Draw, seed: int) -> Task:
    """The test set comes from a generator of its own."""
    rng = np.random.default_rng((seed, 1))
    train_x, train_y = draw(TRAIN, rng)
    val_x, val_y = draw(VALIDATION, rng)
    test_x, test_y = draw(TEST, np.random.default_rng((TEST_SEED, 0)))
    return Task(
        name=name,
        about=about,
        outputs=outputs,
        train_x=train_x,
        train_y=train_y,
        val_x=val_x,
        val_y=val_y,
        test_x=test_x,
        test_y=test_y,
    )
