"""Counter-based random numbers: known answers, JAX's own generator, equal words everywhere, statistics."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.stats
import torch
from jax.extend.random import threefry_2x32

from neuroode.nn.native_random_torch import _library
from neuroode.nn.native_random_torch import draw as draw_c
from neuroode.solvers.native import compiler_here
from neuroode.solvers.on_jax import random_jax
from neuroode.solvers.on_numpy import random
from neuroode.solvers.on_torch import random_torch

KEY = np.array([[7, 0], [7, 5], [2**32 - 1, 2**32 - 3]])
SHAPE = (600, 3, 7, 3)
KINDS = ("uniform", "normal")


def drawn(kind: str, name: str = "U", dtype: type = np.float64, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return random.draw(kind, name, KEY[:, 0], KEY[:, 1], shape, dtype)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # Random123, kat_vectors: threefry2x32, 20 rounds
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers(counter: tuple[int, int], key: tuple[int, int], expected: tuple[int, int]) -> None:
    assert tuple(int(w) for w in random.threefry(key, counter)) == expected
    words = [torch.tensor(n) for n in (*key, *counter)]
    assert tuple(int(w) for w in random_torch.threefry((words[0], words[1]), (words[2], words[3]))) == expected
    assert tuple(int(w) for w in random_jax.threefry([np.uint32(k) for k in key], [np.uint32(c) for c in counter])) == (
        expected
    )


def test_words_are_those_of_jax() -> None:
    counter = np.random.default_rng(0).integers(0, 2**32, (2, 50), dtype=np.uint32)
    key = np.array([123, 2**31 + 5], np.uint32)
    x, y = random.threefry((key[0], key[1]), (counter[0], counter[1]))
    np.testing.assert_array_equal(np.concatenate([x, y]), threefry_2x32(key, counter.ravel()))


def test_words_are_equal_in_numpy_torch_and_jax() -> None:
    by_numpy = random.words("U__3", KEY[:, 0], KEY[:, 1], SHAPE)
    by_torch = random_torch.words("U__3", *torch.as_tensor(KEY).T, SHAPE)
    by_jax = random_jax.words("U__3", *jax.numpy.asarray(KEY.T.astype(np.uint32)), SHAPE)
    for a, b, c in zip(by_numpy, by_torch, by_jax, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_equal_to_rounding(kind: str, dtype: str) -> None:
    tolerance = 1e-13 if dtype == "float64" else 3e-6 if kind == "normal" else 0
    expected = drawn(kind, dtype=np.dtype(dtype).type)
    key = torch.as_tensor(KEY)
    torch_dtype = getattr(torch, dtype)
    assert compiler_here() == (_library(torch_dtype) is not None)
    with jax.enable_x64(dtype == "float64"):
        by_jax = random_jax.draw(kind, "U", *KEY.T.astype(np.uint32), SHAPE, np.dtype(dtype).type)
    found = {
        "torch": random_torch.draw(kind, "U", key[:, 0], key[:, 1], SHAPE, torch_dtype).numpy(),
        "C": draw_c(kind, "U", key, SHAPE, torch_dtype).numpy(),
        "jax": np.asarray(by_jax),
    }
    for name, x in found.items():
        assert x.dtype == expected.dtype, name
        np.testing.assert_allclose(x, expected, rtol=0, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(expected, drawn(kind), rtol=0, atol=2.0**-23 if kind == "uniform" else 3e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_tails_keep_their_digits(kind: str) -> None:
    x = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)
    y = np.array([0, 2**32 - 1, 2**30, 3 * 2**30, 2**31, 2**31 - 1], np.uint32)
    short, long = (getattr(random, kind)(x, y, d) for d in (np.float32, np.float64))
    np.testing.assert_allclose(short, long, rtol=1e-6, atol=2e-7)
    assert np.isfinite(long).all()
    if kind == "uniform":
        assert (short > 0).all()
        assert (short < 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_do_not_depend_on_chunks_batch_and_threads(kind: str) -> None:
    key, shape = torch.tensor([[7, 0], [9, 0]]), (90, 2, 800)  # above the work that threads share
    whole = draw_c(kind, "dW", key, shape, torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        assert torch.equal(draw_c(kind, "dW", key, shape, torch.float32), whole)
    finally:
        torch.set_num_threads(threads)
    later = key + torch.tensor([0, 30])
    assert torch.equal(draw_c(kind, "dW", later, (60, 2, 800), torch.float32), whole[30:])
    assert torch.equal(draw_c(kind, "dW", key[:1], (90, 1, 800), torch.float32), whole[:, :1])
    assert not torch.equal(draw_c(kind, "dW", key.flip(0), shape, torch.float32)[:, :1], whole[:, :1])


@pytest.mark.parametrize("kind", KINDS)
def test_statistics(kind: str) -> None:
    shape = (200, 2, 500)
    seeds = np.array([1, 1]), np.zeros(2)
    x = random.draw(kind, "U", *seeds, shape)
    n = x.size
    cdf = scipy.stats.uniform if kind == "uniform" else scipy.stats.norm
    assert abs(x.mean() - cdf.mean()) < 4 * cdf.std() / np.sqrt(n)
    kurtosis = float(cdf.stats(moments="k")) + 3
    assert abs(x.var() - cdf.var()) < 4 * cdf.var() * np.sqrt((kurtosis - 1) / n)
    assert scipy.stats.kstest(x.ravel(), cdf.cdf).pvalue > 1e-3
    other = random.draw(kind, "U__1", *seeds, shape)
    next_seed = random.draw(kind, "U", np.array([2, 2]), seeds[1], shape)
    pairs = {
        "streams": (x, other),
        "seeds": (x, next_seed),
        "lanes": (x[..., 1:], x[..., :-1]),
        "steps": (x[1:], x[:-1]),
        "samples": (x[:, 0], x[:, 1]),
    }
    for name, (a, b) in pairs.items():
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size), name
