"""Noise streams by a C function, where torch's own operations take many times as long; the same words."""

from __future__ import annotations

import os
from array import array
from ctypes import CDLL, c_void_p
from functools import cache
from math import prod

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.emit.c_random import emit_random
from neuroode.nn.call_torch import in_plain_torch
from neuroode.solvers.native import load
from neuroode.solvers.on_numpy.random import stream_key
from neuroode.solvers.on_torch import random_torch

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
PARALLEL_WORK = 2**16  # numbers below which a second thread costs more than it gives


def draw(kind: str, name: str, key: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """(T, B, *size*) numbers of a stream: uniform in (0, 1), or standard normal.

    Args:
        key: (B, 2) seed and number of the first step of each sample.
    """
    if torch.compiler.is_compiling() and key.device.type == "cpu":
        return draw_in_a_graph(kind, name, key, list(shape), dtype)
    library = _library(dtype) if key.device.type == "cpu" and in_plain_torch() else None
    if library is None:
        return random_torch.draw(kind, name, key[:, 0], key[:, 1], shape, dtype)
    found, key = torch.empty(shape, dtype=dtype), key.contiguous()
    steps, batch, *size = shape
    threads = torch.get_num_threads() if found.numel() >= PARALLEL_WORK and os.getpid() == _process else 1
    at = key.data_ptr()
    numbers = array("q", (
        kind != "uniform", stream_key(name), steps, batch, prod(size), threads, at, at + key.element_size(), 2,
        found.data_ptr(),
    ))  # fmt: skip
    if found.numel():
        library.draw(numbers.buffer_info()[0])
    return found


@torch.library.custom_op("neuroode::draw", mutates_args=(), device_types="cpu")
def draw_in_a_graph(kind: str, name: str, key: Tensor, shape: list[int], dtype: torch.dtype) -> Tensor:
    """The same for a compiler, which would trace every round of the generator otherwise."""
    return draw(kind, name, key, tuple(shape), dtype)


@draw_in_a_graph.register_fake
def _shape_of_draw(_kind: str, _name: str, key: Tensor, shape: list[int], dtype: torch.dtype) -> Tensor:
    return key.new_empty(shape, dtype=dtype)


_process = os.getpid()  # a fork must not start threads


@cache
def _library(dtype: torch.dtype) -> CDLL | None:
    try:
        library = load(emit_random(DTYPES[dtype]), double=dtype == torch.float64)
    except Unsupported:  # no compiler: torch's operations give the same numbers
        return None
    library.draw.argtypes = (c_void_p,)
    return library
