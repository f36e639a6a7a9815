"""Products of long sequences with a narrow matrix, where BLAS libraries take several times as long."""

from __future__ import annotations

from array import array
from ctypes import CDLL, c_void_p
from functools import cache

import torch
from torch import Tensor

from neuroode._errors import Unsupported
from neuroode.emit.c_linear import emit_linear
from neuroode.solvers.native import load

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
PARALLEL_WORK = 2**22  # multiplications below which a second thread costs more than it gives


def applies(x: Tensor) -> bool:
    """Whether the kernels know this kind of number and place, and a compiler is here."""
    return x.dtype in DTYPES and x.device.type == "cpu" and _library(x.dtype) is not None


def product(x: Tensor, matrix: Tensor) -> Tensor:
    """x (R, I) times matrix (I, J) -> (R, J); the matrix may be a transposed view.

    Raises:
        MemoryError: no memory for a padded copy of the matrix.
    """
    inner, columns = matrix.shape
    transposed = not matrix.is_contiguous()
    x, matrix = x.contiguous(), (matrix.t() if transposed else matrix).contiguous()
    y = x.new_empty(len(x), columns)
    threads = _threads(x, columns)
    _call(x.dtype, "product", (
        len(x), inner, columns, threads, x.data_ptr(), matrix.data_ptr(), transposed, y.data_ptr(),
    ))  # fmt: skip
    return y


def outer(x: Tensor, y: Tensor) -> Tensor:
    """x' y (I, J) for x (R, I) and y (R, J), summed in chunks, the chunks in double precision.

    Raises:
        MemoryError: no memory for the sums.
    """
    transposed = x.shape[1] > y.shape[1]
    x, y = x.contiguous(), y.contiguous()
    total = x.new_empty(x.shape[1], y.shape[1])
    short, long = (y, x) if transposed else (x, y)
    _call(x.dtype, "outer", (
        len(x), short.shape[1], long.shape[1], _threads(x, y.shape[1]), short.data_ptr(), long.data_ptr(),
        total.data_ptr(), transposed,
    ))  # fmt: skip
    return total


def _threads(x: Tensor, columns: int) -> int:
    return torch.get_num_threads() if x.numel() * columns >= PARALLEL_WORK else 1


def _call(dtype: torch.dtype, name: str, fields: tuple[int, ...]) -> None:
    library = _library(dtype)
    assert library is not None, "the caller asks `applies` first"
    numbers = array("q", fields)
    if getattr(library, name)(numbers.buffer_info()[0]):
        raise MemoryError("a product found no memory for its work space")


@cache
def _library(dtype: torch.dtype) -> CDLL | None:
    try:
        library = load(emit_linear(DTYPES[dtype]), double=dtype == torch.float64)
    except Unsupported:  # no compiler: torch's own product gives the same numbers
        return None
    for name in ("product", "outer"):
        getattr(library, name).argtypes = (c_void_p,)
    return library
