"""Generated kernels, loaded: what a framework must know to call them. Arrays are the framework's affair."""

from __future__ import annotations

import hashlib
import os
from ctypes import c_void_p
from dataclasses import dataclass, field
from typing import Any

from neuroode.emit.c import BLOCK, CHUNK, c_name, emit_c, lanes_of_tile
from neuroode.emit.c_stored import graded
from neuroode.program.types import Adjoint, Program
from neuroode.solvers.native import cache_bytes, load

FUNCTIONS = ("forward", "backward", "prologue_forward", "prologue_backward")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A loaded kernel.

    Attributes:
        key: names it in the operators' calls.
        dtype: the framework's own.
        coefficients: (name, one per neuron?) in the order of the program.
        trained: indices of the coefficients that get a gradient.
        lanes: lanes of a tile, which the layout of the kept bits depends on.
        graded: the parameter slots that its prologue gives a gradient to.
        process: the process that loaded it; a fork must not start threads.
    """

    key: str
    dtype: Any
    inputs: tuple[str, ...]
    coefficients: tuple[tuple[str, bool], ...]
    outputs: int
    carry: int
    events: int
    trained: tuple[int, ...]
    recurrent: bool
    lanes: int
    graded: tuple[str, ...]
    process: int
    forward: Any = field(repr=False)
    backward: Any = field(repr=False)
    prologue_forward: Any = field(repr=False)
    prologue_backward: Any = field(repr=False)


def compile_kernel(
    program: Program, adjoint: Adjoint, name: str, dtype: Any, recurrent: tuple[str, str] | None,
    known: dict[str, Kernel],
) -> Kernel:  # fmt: skip
    """The kernel of a program, built, taken from the cache, or from `known` (by key), where it is kept.

    Args:
        name: float32 or float64; `dtype` is the framework's word for it.
        recurrent: (input, output) of a layer whose last output, times a matrix, is added to its input.

    Raises:
        Unsupported: no compiler here, or a compiler that fails.
    """
    source = emit_c(program, adjoint, name, recurrent=recurrent)
    key = hashlib.sha256(source.encode()).hexdigest()[:24]
    if key not in known:
        library = load(source, double=name == "float64")
        functions = [getattr(library, f"{c_name(program.name)}_{which}") for which in FUNCTIONS]
        for function in functions:
            function.argtypes = (c_void_p,)
        known[key] = _described(program, adjoint, name, dtype, recurrent is not None, key, functions)
    return known[key]


def _described(
    program: Program, adjoint: Adjoint, name: str, dtype: Any, recurrent: bool, key: str, functions: list[Any]
) -> Kernel:
    place = {c.name: i for i, c in enumerate(program.coefficients)}
    return Kernel(
        key=key,
        dtype=dtype,
        inputs=program.inputs,
        coefficients=tuple((c.name, c.level != "layer") for c in program.coefficients),
        outputs=len(program.outputs),
        carry=len(program.carry) + recurrent,
        events=len(program.events),
        trained=tuple(place[name] for name, _ in adjoint.coefficients),
        recurrent=recurrent,
        lanes=lanes_of_tile(program, name),
        graded=graded(program, adjoint),
        process=os.getpid(),
        forward=functions[0],
        backward=functions[1],
        prologue_forward=functions[2],
        prologue_backward=functions[3],
    )


def kept_shapes(kernel: Kernel, shape: tuple[int, ...], by_sample: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of checkpoints and of 64-bit words of event bits that a run over (T, B, N) keeps."""
    steps, samples, neurons = shape
    chunks = -(-steps // CHUNK)
    words = bit_words(kernel, samples, neurons, by_sample)
    return (chunks, kernel.carry, samples, neurons), (steps, kernel.events, words)


def bit_words(kernel: Kernel, samples: int, neurons: int, by_sample: bool) -> int:
    """Words in a row of event bits; mirrors the tiles of the C frame, each of which starts a new word."""
    if kernel.recurrent:
        return -(-samples // BLOCK) * -(-BLOCK * neurons // 64)
    if neurons > kernel.lanes:
        tiles = samples * (-(-neurons // kernel.lanes))
    else:
        together = 1 if by_sample else kernel.lanes // max(neurons, 1)
        tiles = -(-samples // together)
    return samples * neurons // 64 + tiles


def streams(kernel: Kernel, numbers: int, itemsize: int) -> bool:
    """Whether the arrays of a training step over so many numbers an array, cotangents included, exceed the caches."""
    return numbers * itemsize * 2 * (len(kernel.inputs) + kernel.outputs) >= cache_bytes()
