"""The numbers of `solvers/on_numpy/random.py` in torch operations, on any device: words are int64 below 2^32."""

from __future__ import annotations

from math import prod, sqrt

import torch

from neuroode.solvers.on_numpy.random import PARITY, ROTATIONS, stream_key

Tensor = torch.Tensor
WORD = 2**32 - 1  # a mask


def threefry(key: tuple[Tensor, Tensor | int], counter: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two random words for each entry; all four are broadcast words."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x, y = (counter[0] + key[0]) & WORD, (counter[1] + key[1]) & WORD
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            x = (x + y) & WORD
            y = (((y << r) & WORD) | (y >> (32 - r))) ^ x
        x = (x + schedule[(group + 1) % 3]) & WORD
        y = (y + schedule[(group + 2) % 3] + (group + 1)) & WORD
    return x, y


def words(name: str, seed: Tensor, first: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The two words of each entry of (T, B, *size*); seed and first step are (B,) int64."""
    steps, batch, *size = shape
    lanes = prod(size)
    at = torch.arange(steps, device=seed.device)[:, None] + first
    number = torch.arange(batch * lanes, device=seed.device).reshape(1, batch, lanes)
    x, y = threefry((seed[None, :, None] & WORD, stream_key(name)), (at[..., None] & WORD, number & WORD))
    return x.reshape(shape), y.reshape(shape)


def uniform(x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in (0, 1) of two words."""
    if dtype == torch.float32:
        return ((x >> 9).to(dtype) + 0.5) * 2.0**-23
    return (((x << 20) | (y >> 12)).to(dtype) + 0.5) * 2.0**-52


def normal(x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers of two words."""
    near_0 = x < 2**31
    tail = (torch.where(near_0, x, WORD - x).to(dtype) + 0.5) * 2.0**-32
    radius = sqrt(2.0) * torch.where(near_0, -tail.log(), -torch.log1p(-tail)).sqrt()
    turn = (torch.where(y < 2**31, y, y - 2**32).to(dtype) + 0.5) * 2.0**-31
    return radius * torch.cos(torch.pi * turn)


def draw(kind: str, name: str, seed: Tensor, first: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """(T, B, *size*) numbers of a stream: uniform in (0, 1), or standard normal."""
    made = words(name, seed, first, shape)
    return uniform(*made, dtype) if kind == "uniform" else normal(*made, dtype)
