"""Generated C kernels as differentiable jax functions: one XLA handler calls each of them (`native/jax_shim.c`)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import Unsupported
from neuroode.nn.native import Kernel, compile_kernel, kept_shapes, streams
from neuroode.program.adjoint import adjoint
from neuroode.program.types import Program
from neuroode.solvers.native import load, text

Array = jax.Array
TARGET = "neuroode_kernel"
PARALLEL_WORK = 2**18  # lane steps below which a second thread costs more than it gives
CONSTANT, ARGUMENT, RESULT = 0, 1, 2  # kinds of words of a call

_kernels: dict[str, Kernel] = {}
_numbers: dict[tuple[str, str], int] = {}  # (key, direction) -> number in the handler's table
_compiled: dict[tuple[str, str, tuple[str, str] | None], Kernel] = {}


def kernel_of(program: Program, dtype: Any, recurrent: tuple[str, str] | None) -> Kernel:
    """The kernel of a program, built or taken from the cache, and known to the handler.

    Raises:
        Unsupported: jax does not run on the CPU, or there is no compiler, or one that fails.
    """
    name = str(np.dtype(dtype))
    key = program.digest, name, recurrent
    if key not in _compiled:
        if jax.default_backend() != "cpu":
            hint = 'schedule="eager"'
            raise Unsupported(f"the C kernel runs on the CPU, jax on {jax.default_backend()}", hint=hint)
        found = compile_kernel(program, adjoint(program), name, np.dtype(dtype), recurrent, _kernels)
        for direction in ("forward", "backward"):
            _enter(found, direction)
        _compiled[key] = found
    return _compiled[key]


def _enter(kernel: Kernel, direction: str) -> None:
    number = int.from_bytes(bytes.fromhex(kernel.key)[:7]) * 2 + (direction == "backward")
    address = ctypes.cast(getattr(kernel, direction), ctypes.c_void_p)
    if (kernel.key, direction) not in _numbers:
        if _shim().neuroode_enter(ctypes.c_int64(number), address):
            raise Unsupported("more kernels than a process can hold", hint='schedule="eager"')
        _numbers[kernel.key, direction] = number


@cache
def _shim() -> ctypes.CDLL:
    """The handler, built for this version of jax and registered."""
    header = os.path.join(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h")
    library = load(f'#define XLA_FFI_HEADER "{header}"\n{text("jax_shim.c")}')
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(library.neuroode_kernel), platform="cpu")
    return library


@dataclass(frozen=True, slots=True)
class Call:
    """What a call is besides its arrays; static. `counts`: inputs, coefficients, weights, carry, lengths (0 or 1)."""

    key: str
    counts: tuple[int, int, int, int, int]

    @property
    def kernel(self) -> Kernel:
        return _kernels[self.key]

    def parts(self, arrays: Sequence[Array]) -> list[list[Array]]:
        """Inputs, coefficients, weights, carry, lengths."""
        rows, start = [], 0
        for count in self.counts:
            rows.append(list(arrays[start : start + count]))
            start += count
        return rows


def run(
    kernel: Kernel, inputs: Sequence[Array], coefficients: Sequence[Array], carry: Sequence[Array], *,
    lengths: Array | None = None, weights: Sequence[Array] = (),
) -> tuple[list[Array], list[Array]]:  # fmt: skip
    """Run a kernel over a sequence.

    Args:
        inputs: (T, B, N) each.
        coefficients: in the order of the program: 0-dim for level `layer`, else (N,).
        carry: (B, N) each; that of a recurrent kernel ends with its last output.
        lengths: (B,) steps that each sample runs; afterwards its carry rests and its outputs are 0.
        weights: of a recurrent kernel, (N, N) [after, before] and perhaps a bias (N,).

    Returns:
        Outputs (T, B, N) and carry (B, N).
    """
    limits = [] if lengths is None else [_words(lengths)]
    groups = (list(inputs), list(coefficients), list(weights), list(carry), limits)
    call = Call(kernel.key, tuple(map(len, groups)))  # type: ignore[arg-type]
    found = _sequence(call, *(x for group in groups for x in group))
    return list(found[: kernel.outputs]), list(found[kernel.outputs :])


def _words(lengths: Array) -> Array:
    """(B, 2) halves of 64-bit numbers: jax has no such type unless x64 is enabled."""
    low = lengths.astype(jnp.int32)
    return jnp.stack([low, jnp.zeros_like(low)] if np.little_endian else [jnp.zeros_like(low), low], axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sequence(call: Call, *arrays: Array) -> tuple[Array, ...]:
    return _once("run", call, *arrays)


def _sequence_forward(call: Call, *arrays: Array) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
    found = _once("kept run", call, *arrays)
    return found[:-2], (arrays, found[-2:])


def _sequence_backward(call: Call, kept: tuple[Any, ...], grads: Sequence[Array]) -> tuple[Any, ...]:
    arrays, tape = kept
    return (*_once("reverse", call, *arrays, *tape, *grads), *([None] * call.counts[-1]))


_sequence.defvjp(_sequence_forward, _sequence_backward)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _once(what: str, call: Call, *arrays: Array) -> tuple[Array, ...]:
    """A call of the kernel; nothing differentiates it but the rule above."""
    if what == "reverse":
        return _backward(call, arrays)
    return tuple(_forward(call, arrays, keep=what == "kept run"))


@_once.defjvp
def _no_second(*_: Any) -> Any:
    raise Unsupported("a kernel has no second derivative", hint='build the layer with schedule="eager"')


def _forward(call: Call, arrays: Sequence[Array], keep: bool) -> list[Array]:
    """Outputs, the carry after the last step, and, to keep: checkpoints and event bits."""
    kernel, (inputs, _, weights, _, lengths) = call.kernel, call.parts(arrays)
    shape = inputs[0].shape
    results = [_like(kernel, shape)] * kernel.outputs + [_like(kernel, shape[1:])] * kernel.carry
    if keep:
        checkpoints, bits = kept_shapes(kernel, shape, bool(lengths))
        results += [_like(kernel, checkpoints), jax.ShapeDtypeStruct((*bits, 2), np.uint32)]
    at = iter(range(len(results)))
    out, last = [[next(at) for _ in range(n)] for n in (kernel.outputs, kernel.carry)]
    words = _Words(kernel, call, shape, "forward")
    words.arguments("coefficients").arguments("inputs").steps(len(inputs)).arguments("carry")
    words.results(out).results(last)
    words.results([next(at), next(at)]) if keep else words.constants(0, 0)
    if kernel.recurrent:
        words.arguments("weights").constants(*[0] * (2 - len(weights)))
    return list(words.call(results, arrays))


def _backward(call: Call, arrays: Sequence[Array]) -> tuple[Array, ...]:
    kernel, (inputs, coefficients, weights, _, _) = call.kernel, call.parts(arrays)
    shape, base = inputs[0].shape, sum(call.counts)
    results = [_like(kernel, shape)] * len(inputs) + [_like(kernel, coefficients[i].shape) for i in kernel.trained]
    results += [_like(kernel, w.shape) for w in weights] + [_like(kernel, shape[1:])] * kernel.carry
    at = iter(range(len(results)))
    sizes = (len(inputs), len(kernel.trained), len(weights), kernel.carry)
    g_inputs, g_trained, g_weights, g_carry = [[next(at) for _ in range(n)] for n in sizes]
    words = _Words(kernel, call, shape, "backward")
    words.arguments("coefficients").arguments("inputs").steps(len(inputs))
    words.of(ARGUMENT, range(base, base + 2 + kernel.outputs)).steps(kernel.outputs)
    words.of(ARGUMENT, range(base + 2 + kernel.outputs, base + 2 + kernel.outputs + kernel.carry))
    words.results(g_inputs).results(g_carry).results(g_trained)
    if kernel.recurrent:
        missing = [0] * (2 - len(weights))
        words.arguments("weights").constants(*missing).results(g_weights).constants(*missing)
    found = words.call(results, arrays)
    slopes = [jnp.zeros_like(c) for c in coefficients]
    for i, j in zip(kernel.trained, g_trained, strict=True):
        slopes[i] = found[j]
    return (*(found[j] for j in g_inputs), *slopes, *(found[j] for j in (*g_weights, *g_carry)))


def _like(kernel: Kernel, shape: Sequence[int]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(shape), kernel.dtype)


class _Words:
    """The fields of a call, in their order: constants, addresses of arguments, addresses of results."""

    def __init__(self, kernel: Kernel, call: Call, shape: tuple[int, ...], direction: str) -> None:
        self.row = shape[1] * shape[2]
        self.rows = [_numbers[kernel.key, direction]]
        starts = np.cumsum((0, *call.counts))
        names = ("inputs", "coefficients", "weights", "carry", "lengths")
        self.places = {n: range(a, b) for n, a, b in zip(names, starts, starts[1:], strict=False)}
        size = shape[0] * self.row
        self.constants(*shape, _threads() if size >= PARALLEL_WORK else 1)
        self.constants(int(streams(kernel, size, kernel.dtype.itemsize)))
        self.arguments("lengths") if call.counts[-1] else self.constants(0)

    def of(self, kind: int, values: Sequence[int]) -> _Words:
        for value in values:
            self.rows += [kind, int(value)]
        return self

    def constants(self, *values: int) -> _Words:
        return self.of(CONSTANT, values)

    def arguments(self, name: str) -> _Words:
        return self.of(ARGUMENT, self.places[name])

    def results(self, places: Sequence[int]) -> _Words:
        return self.of(RESULT, places)

    def steps(self, count: int) -> _Words:
        """Distance between two time steps of so many arrays."""
        return self.constants(*[self.row] * count)

    def call(self, results: Sequence[Any], arrays: Sequence[Array]) -> Sequence[Array]:
        function = jax.ffi.ffi_call(TARGET, tuple(results), vmap_method="sequential")
        return function(*arrays, words=np.array(self.rows, np.int64))


def _threads() -> int:
    """What $NPROC allows, which jax reads too, or the cores of this process."""
    wanted = os.environ.get("NPROC", "")
    return int(wanted) if wanted.isdigit() and int(wanted) else len(os.sched_getaffinity(0))
