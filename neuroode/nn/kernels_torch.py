"""Which kernel a layer runs: generated C on a CPU, generated Triton on CUDA; compiled once a program."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.nn import call_torch, costs, eager_torch, prologue_traced_torch
from neuroode.program.types import Program

#: digest of the program, dtype of the kernel (None: no kernel is wanted), (input, output) of a recurrence, device type
Key = tuple[str, torch.dtype | None, tuple[str, str] | None, str]

programs: dict[str, Program] = {}  # by digest
kernels: dict[Key, Any] = {}
_warned: set[str] = set()


def has_kernels(device: str) -> bool:
    """Whether there is a kernel target for tensors there; torch.compile traces the eager program on CUDA."""
    return device == "cpu" or (device == "cuda" and not torch.compiler.is_compiling())


def kernel_of(program: Program, key: Key) -> Any:
    """The compiled kernel; None, with one warning, where there is none."""
    if key not in kernels:
        kernels[key] = _compiled(program, *key[1:])
    return kernels[key]


def _compiled(program: Program, dtype: torch.dtype | None, pair: tuple[str, str] | None, device: str) -> Any:
    from neuroode.program.adjoint import adjoint

    if dtype is None:
        return None
    try:
        if device == "cuda":
            from neuroode.nn import native_triton_torch

            return native_triton_torch.compile_program(program, adjoint(program), pair)
        from neuroode.nn import native_torch

        return native_torch.compile_program(program, adjoint(program), dtype, pair)
    except Unsupported as error:
        warn_once(str(error))
        return None


def run_of(kernel: Any) -> Any:
    """The function that runs a kernel."""
    from neuroode.nn import native_torch

    if isinstance(kernel, native_torch.Kernel):
        return native_torch.run
    from neuroode.nn import native_triton_torch

    return native_triton_torch.run


def choose(layer: Any, kernel: Any, given: Any) -> str:
    """The schedule that "auto" takes for a call; transforms of functions and compilers get the loop."""
    loop = "eager" if kernel is None else "sequential"
    mixed = layer.recurrent or layer.program.operators
    if mixed or not call_torch.in_plain_torch():
        return loop
    x = given.inputs[0]
    steps, lanes = x.shape[0], x.numel() // max(1, x.shape[0])
    return costs.choose(
        layer.program, steps, lanes, x.device.type, framework="torch", kernel=kernel is not None,
        cores=torch.get_num_threads(),
    )  # fmt: skip


def make_ready(key: Key) -> bool:
    """Called while torch.compile traces a layer: what makes code is no part of the trace."""
    program = programs[key[0]]
    start = [program.start] if program.start else []
    for each in (program, *start, *(part for s in program.sums for part in (s.weight, s.value))):
        eager_torch.eager_program(each)
    prologue_traced_torch.make_ready(program)
    kernel_of(program, key)
    return True


# what torch.compiler.assume_constant_result does, without importing the compiler: that takes a second of each start
make_ready._dynamo_marked_constant = True  # type: ignore[attr-defined]


def warn_once(reason: str) -> None:
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(f"no fast kernel, running the eager program instead: {reason}", RuntimeWarning, stacklevel=5)
