"""What is measured: neurons, their shapes, drives and parameters; and the form of a candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Case:
    """One neuron of the zoo, driven by normal noise of that scale and offset, in shapes (T, B, N)."""

    name: str
    model: str
    shapes: tuple[tuple[int, int, int], ...]
    scale: float
    offset: float
    recurrent: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Input, cotangent of the spikes and parameters, all of one dtype."""

    case: Case
    x: Array
    g: Array
    values: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Run:
    """A candidate: one training step, and what it computes (spikes, gradient of the input)."""

    step: Callable[[], object]
    result: Callable[[], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A candidate for a case as a row of data.

    `package` is what must be installed, `timing` how its neuron was made the same as ours, `options` what our layer is
    built with where the two are compared: surrogate, compat and the like.
    """

    case: str
    name: str
    package: str
    build: Callable[[Problem], Run]
    timing: str
    options: dict[str, object]


WIDE = ((128, 32, 512), (1024, 8, 256), (4096, 4, 128))
CASES = (
    Case("lif", "lif", WIDE, 4.0, 4.0),  # rarely above twice the threshold, where snnTorch resets otherwise
    Case("alif", "alif", WIDE[:2], 10.0, 8.0),
    Case("brf", "brf", WIDE[:2], 60.0, 0.0),
    Case("brf recurrent", "brf", WIDE[1:2], 60.0, 0.0, recurrent=True),
)
QUICK = ((128, 8, 128),)
SMALL = (120, 2, 16)  # where candidates are compared


def problem(case: Case, shape: tuple[int, int, int], dtype: str, seed: int = 0) -> Problem:
    random = np.random.default_rng(seed)
    x = (random.normal(size=shape) * case.scale + case.offset).astype(dtype)
    g = random.normal(size=shape).astype(dtype)
    values = {k: np.asarray(v, dtype) for k, v in _values(case, shape[2], random).items()}
    return Problem(case, x, g, values)


def _values(case: Case, size: int, random: np.random.Generator) -> dict[str, Array]:
    if case.model == "brf":
        values = {"omega": random.uniform(15, 50, size), "b_0": random.uniform(0.1, 1, size)}
        return values | ({"W_rec": random.normal(0, 5 / size**0.5, (size, size))} if case.recurrent else {})
    if case.model == "lif":
        return {"tau": np.full(size, 20.0)}  # LIFNode of SpikingJelly has one
    return {"tau": random.uniform(15, 25, size), "tau_a": random.uniform(100, 300, size)}
