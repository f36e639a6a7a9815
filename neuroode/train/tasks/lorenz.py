"""A population of Poisson neurons driven by the Lorenz system, after the recipe of LFADS (Pandarinath et al. 2018).

From the recipe: sigma = 10, rho = 28, beta = 8/3; three standardised latents; 30 neurons with log-rates C z + b and a
base rate of 5 spikes/s; 65 conditions, each an initial state on the attractor, of 20 trials; trials of 1 s; 80 % to
learn from. Our own choices, as its text was not read: bins of 20 ms, the speed, the weights, and who is held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from neuroode.train.tasks.task import TEST_SEED, Array

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
CONDITIONS, TRIALS, NEURONS = 65, 20, 30
TEST_TRIALS, VALIDATION_TRIALS = 4, 2  # of each condition
STEPS, BIN = 50, 0.02  # bins of a trial; s
SPEED = 3.0  # units of the Lorenz system's time a second: an oscillation lasts about 0.25 s
BURN_IN = 10.0  # units of time, after which a random point is on the attractor
LARGEST_STEP = 0.002
BASE_RATE = 5.0  # spikes/s at the mean of the latents
GAIN = 1.0  # length of each neuron's weights
HELD_OUT = 6  # the last neurons; nothing that infers rates sees their spikes


@dataclass(frozen=True, slots=True)
class Part:
    """Trials of one part: counts (n, T, N) float32, true rates (n, T, N) in spikes a bin, latents (n, T, 3), the
    condition of each trial (n,)."""

    spikes: Array
    rates: Array
    latents: Array
    condition: Array

    def __len__(self) -> int:
        return len(self.spikes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Spike counts with the rates that they were drawn from.

    Args:
        seen: neurons whose spikes an encoder reads: the first ones. The others are held out.
        bin: its length in s.
    """

    name: str
    about: str
    seen: int
    bin: float
    train: Part
    val: Part
    test: Part

    @property
    def neurons(self) -> int:
        return int(self.train.spikes.shape[2])

    @property
    def steps(self) -> int:
        return int(self.train.spikes.shape[1])

    def digest(self) -> str:
        """Of all arrays: equal for the same data only."""
        found = sha256()
        for part in (self.train, self.val, self.test):
            for array in (part.spikes, part.rates, part.latents, part.condition):
                found.update(f"{array.shape} {array.dtype}".encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def lorenz_population(seed: int) -> Population:
    """The population, its rates and the test trials are always the same; `seed` draws the validation trials out of
    those to learn from."""
    rng = np.random.default_rng((TEST_SEED, 63))
    z = latents(rng, CONDITIONS, STEPS)
    rates = np.exp(log_rates(z, *weights(rng, NEURONS))) * BIN
    counts = rng.poisson(rates[:, None], (CONDITIONS, TRIALS, STEPS, NEURONS)).astype(np.float32)
    order = np.random.default_rng((seed, 1)).permuted(np.tile(np.arange(TEST_TRIALS, TRIALS), (CONDITIONS, 1)), axis=1)
    test = np.tile(np.arange(TEST_TRIALS), (CONDITIONS, 1))
    pick = {"test": test, "val": order[:, :VALIDATION_TRIALS], "train": order[:, VALIDATION_TRIALS:]}
    parts = {name: _part(counts, rates, z, which) for name, which in pick.items()}
    about = (
        f"{NEURONS} Poisson neurons driven by the Lorenz system, {CONDITIONS} conditions of {TRIALS} trials, "
        f"{STEPS} bins of {1000 * BIN:g} ms, {HELD_OUT} neurons held out"
    )
    return Population(name="lorenz", about=about, seen=NEURONS - HELD_OUT, bin=BIN, **parts)


def _part(counts: Array, rates: Array, z: Array, which: Array) -> Part:
    """The trials `which` (conditions, n), condition by condition."""
    condition = np.repeat(np.arange(len(which)), which.shape[1])
    spikes = counts[condition, which.ravel()]
    return Part(spikes, rates[condition].astype(np.float32), z[condition].astype(np.float32), condition)


def latents(rng: np.random.Generator, conditions: int, steps: int) -> Array:
    """Trajectories (conditions, steps, 3) from random points of the attractor, at the middles of the bins, each
    coordinate with mean 0 and variance 1 over all of them."""
    start = rng.normal(size=(conditions, 3)) * 5 + (0, 0, 25)
    start = trajectory(start, np.array([0.0, BURN_IN]))[-1]
    z = trajectory(start, SPEED * BIN * (np.arange(steps) + 0.5)).swapaxes(0, 1)
    return (z - z.mean((0, 1))) / z.std((0, 1))


def weights(rng: np.random.Generator, neurons: int) -> tuple[Array, Array]:
    """C (neurons, 3) and b (neurons,): rows of length GAIN in random directions, around the base rate."""
    C = rng.normal(size=(neurons, 3))
    return GAIN * C / np.linalg.norm(C, axis=1, keepdims=True), np.full(neurons, np.log(BASE_RATE))


def log_rates(z: Array, C: Array, b: Array) -> Array:
    """(..., 3) -> (..., neurons), natural logarithm of spikes/s."""
    return z @ C.T + b


def trajectory(start: Array, times: Array) -> Array:
    """The Lorenz system from `start` (..., 3) at time 0, at the given times: (times, ..., 3).

    Classical Runge-Kutta of order 4 with steps of at most LARGEST_STEP: over three units of time, in which the system
    stretches errors fifteenfold, it is off by less than 2e-6 (tests/train/test_lorenz.py compares it with scipy).
    """
    found, x, now = [], start, 0.0
    for time in times:
        number = max(1, int(np.ceil((time - now) / LARGEST_STEP)))
        for _ in range(number):
            x = _step(x, (time - now) / number)
        found.append(x)
        now = time
    return np.array(found)


def _step(x: Array, h: float) -> Array:
    k1 = field(x)
    k2 = field(x + h / 2 * k1)
    k3 = field(x + h / 2 * k2)
    k4 = field(x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def field(x: Array) -> Array:
    """dx/dt (..., 3) of the Lorenz system (Lorenz 1963, eq. 25-27)."""
    x1, x2, x3 = np.moveaxis(x, -1, 0)
    return np.stack([SIGMA * (x2 - x1), x1 * (RHO - x3) - x2, x1 * x2 - BETA * x3], -1)
