"""Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"), so that a number depends on nothing but where it stands.

A stream of a call has the key (seed, crc32 of its name) and at each entry the counter (step, sample*lanes + lane). Both
words of a block make one number:

    float32 uniform   (top 23 bits of the first + 1/2) * 2^-23                 in (0, 1), exactly
    float64 uniform   (all of the first and the top 20 of the second + 1/2) * 2^-52
    normal            sqrt(-2 log u) cos(pi h), u = (first + 1/2)/2^32, h = (signed second + 1/2)/2^31  (Box-Muller)

`log u` is log1p(-(1 - u)) above 1/2, where u itself would lose digits in float32. The numbers of the two precisions
agree to rounding, and so do those of numpy, torch, JAX and C; the words are the same everywhere.
"""

from __future__ import annotations

from math import prod
from zlib import crc32

import numpy as np

Array = np.ndarray
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
SEEDS = 2**32  # a seed is a whole number below this


def stream_key(name: str) -> int:
    """The second word of the key of a stream: of its name as the program has it, such as `U__0`."""
    return crc32(name.encode())


def threefry(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Two random words for each entry; all four are broadcast arrays of uint32."""
    k0, k1 = (np.asarray(k, np.uint32) for k in key)
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(PARITY))
    with np.errstate(over="ignore"):
        x, y = np.asarray(counter[0], np.uint32) + k0, np.asarray(counter[1], np.uint32) + k1
        for group in range(5):
            for r in ROTATIONS[group % 2]:
                x = x + y
                y = ((y << np.uint32(r)) | (y >> np.uint32(32 - r))) ^ x
            x = x + schedule[(group + 1) % 3]
            y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def seed_of(seed: int, place: int) -> int:
    """The seed of the layer at this place of a stack that is given one seed."""
    x, _ = threefry((np.asarray(seed), np.asarray(stream_key("stack"))), (np.asarray(place), np.asarray(0)))
    return int(x)


def words(name: str, seed: Array, first: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The two words of each entry of (T, B, *size*).

    Args:
        seed, first: (B,) seed and number of the first step of each sample.
    """
    steps, batch, *size = shape
    lanes = prod(size)
    at = np.arange(steps)[:, None] + np.asarray(first).reshape(1, -1)
    number = np.arange(batch * lanes).reshape(1, batch, lanes)
    key = (np.asarray(seed).reshape(1, -1, 1) % SEEDS, stream_key(name))
    x, y = threefry((key[0], np.asarray(key[1])), (at[..., None] % SEEDS, number % SEEDS))
    return x.reshape(shape), y.reshape(shape)


def uniform(x: Array, y: Array, dtype: np.dtype | type = np.float64) -> Array:
    """Numbers in (0, 1) of two words."""
    if np.dtype(dtype) == np.float32:
        return ((x >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    return (x * 2.0**20 + (y >> np.uint32(12)) + 0.5) * 2.0**-52


def normal(x: Array, y: Array, dtype: np.dtype | type = np.float64) -> Array:
    """Standard normal numbers of two words."""
    kind = np.dtype(dtype).type
    near_0 = x < np.uint32(2**31)
    tail = (np.where(near_0, x, ~x).astype(dtype) + kind(0.5)) * kind(2.0**-32)
    radius = np.sqrt(kind(-2.0) * np.where(near_0, np.log(tail), np.log1p(-tail)))
    turn = (y.astype(np.int32).astype(dtype) + kind(0.5)) * kind(2.0**-31)
    return radius * np.cos(kind(np.pi) * turn)


def draw(
    kind: str, name: str, seed: Array, first: Array, shape: tuple[int, ...], dtype: np.dtype | type = np.float64
) -> Array:
    """(T, B, *size*) numbers of a stream: uniform in (0, 1), or standard normal.

    Args:
        kind: uniform, or normal; a Wiener increment is a normal number times the root of the step.
        seed, first: (B,) seed, below 2^32, and number of the first step of each sample.
    """
    made = words(name, seed, first, shape)
    return uniform(*made, dtype) if kind == "uniform" else normal(*made, dtype)
