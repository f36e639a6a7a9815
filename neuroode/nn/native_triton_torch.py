"""Generated Triton kernels as differentiable torch functions: what a layer on a CUDA device runs.

On a CPU they run in Triton's interpreter alone (TRITON_INTERPRET=1), by `compile_program` and `run`, which tests call.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence as Rows
from dataclasses import asdict
from functools import cache, partial
from hashlib import sha256
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.emit.triton import Kernels, emit_triton
from neuroode.emit.triton_scan import emit_scan
from neuroode.nn.native_torch import refuse_transforms
from neuroode.nn.once_torch import once
from neuroode.nn.vmap_torch import is_mapped, mapped
from neuroode.program.monoid import monoid
from neuroode.program.types import Adjoint, Program

Tensor = torch.Tensor
HEADER = "import triton\nimport triton.language as tl\n\n\n"


def compile_program(program: Program, adjoint: Adjoint, recurrent: tuple[str, str] | None = None) -> Any:
    """The kernels of a program, for float32 and float64; Triton compiles them at their first call.

    Raises:
        Unsupported: no triton, recurrent weights, or an op that its kernels do not compute.
    """
    try:
        from neuroode.solvers.on_triton import triton_sequence
    except ImportError as error:
        raise Unsupported(f"triton cannot be imported ({error})", hint="pip install 'neuroode[triton]'") from None
    if recurrent is not None:
        raise Unsupported("the Triton kernel has no recurrent weights")
    module = load(HEADER + emit_triton(program, adjoint), f"{program.name} {program.digest}")
    shape = asdict(Kernels(program, adjoint).shape())
    return triton_sequence.Kernels(module.forward_kernel, module.backward_kernel, **shape)


def load(source: str, name: str) -> ModuleType:
    """A module made of emitted text. Triton reads the text of a function through `linecache`."""
    file = f"<neuroode triton {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = ModuleType(f"neuroode_triton_{sha256(source.encode()).hexdigest()[:16]}")
    exec(compile(source, file, "exec"), module.__dict__)
    return module


def run(
    kernels: Any,
    inputs: Rows[Tensor],
    coefficients: Rows[Tensor],
    carry: Rows[Tensor],
    *,
    lengths: Tensor | None = None,
    **recurrent: Tensor | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Run over a sequence: inputs (T, B, N), coefficients () or (N,), carry (B, N) -> outputs and carry.

    `recurrent` is what `native_torch.run` takes besides; none of it is there, as `compile_program` refuses recurrence.
    """
    assert all(x is None for x in recurrent.values())
    tensors = [*inputs, *coefficients, *carry]
    counts = (len(inputs), len(coefficients), 0, len(carry))
    if is_mapped(tensors):
        found: Any = mapped(partial(_again, kernels, counts), lengths, counts, *tensors)
    else:
        refuse_transforms(tensors)
        found = _sequence().apply(kernels, lengths, (counts[0], counts[1], counts[3]), *tensors)
    return list(found[: kernels.outputs]), list(found[kernels.outputs :])


def _again(kernels: Any, counts: tuple[int, ...], lengths: Tensor | None, *tensors: Tensor) -> list[Tensor]:
    """The same run with a mapped axis among its samples."""
    ends = counts[0], counts[0] + counts[1]
    groups = tensors[: ends[0]], tensors[ends[0] : ends[1]], tensors[ends[1] :]
    outputs, after = run(kernels, *groups, lengths=lengths)
    return [*outputs, *after]


def _sequence() -> Any:
    """`Sequence` with a second derivative that raises."""
    global _Sequence
    if _Sequence is None:
        from neuroode.solvers.on_triton.triton_sequence import Sequence, cotangents

        class Once(Sequence):
            @staticmethod
            def backward(ctx: Any, *grads: Tensor | None) -> tuple:
                saved = ctx.saved_tensors  # once: a checkpoint computes them anew at each access
                with torch.no_grad():
                    found = list(cotangents(ctx, saved, grads))
                return tuple(once(found, (*saved, *grads)))

        _Sequence = Once
    return _Sequence


_Sequence: Any = None


@cache
def _scan_of(name: str, size: int) -> Any:
    """The kernels of a monoid's scan."""
    from neuroode.solvers.on_triton.triton_scan import Scan

    found = monoid(name, size)
    module = load(HEADER + emit_scan(found), f"scan {found.name}")
    counts = len(found.element), found.matrix, len(found.state)
    return Scan(module.reduce_kernel, module.carry_kernel, module.scan_kernel, *counts)


def scan(form: str, elements: Rows[Tensor], start: Rows[Tensor], steps: int) -> list[Tensor]:
    """The states after each step, (T, *lanes*) each, of affine steps; as on_torch/scan_torch.py, in generated kernels.

    Args:
        form: diagonal, complex, dense (row by row); then the drive.
        elements: (T, *lanes*), or (*lanes*) where an entry is the same in every step.
        start: parts of the state before the first step, (*lanes*).
    """
    from neuroode.solvers.on_triton import triton_scan

    return triton_scan.run(_scan_of(form, len(start)), list(elements), list(start), steps)


def adjoint(form: str, slopes: Rows[Tensor], cotangents: Rows[Tensor]) -> list[Tensor]:
    """lambda[t] = g[t] + J[t+1]' lambda[t+1], (T, *lanes*) for each part of the state."""
    from neuroode.solvers.on_triton import triton_scan

    steps, size = cotangents[0].shape[0], len(cotangents)
    if not steps:
        return list(cotangents)
    start = [torch.zeros_like(g[0]) for g in cotangents]
    return triton_scan.run(_scan_of(form, size), [*slopes, *cotangents], start, steps, adjoint=True)


def can_scan(like: Tensor) -> bool:
    """Whether these scans run where a tensor is."""
    return like.is_cuda and find_spec("triton") is not None
