"""Triton kernels for the tests: layers that run them in the interpreter, and their compilation for a device."""

from __future__ import annotations

import re
from typing import Any

import oracles

from neuroode.nn import kernels_torch, native_triton_torch
from neuroode.program.adjoint import adjoint
from neuroode.program.types import Program

HOPPER = ("cuda", 90, 32)  # what is compiled for, without a device


def kernels_of(program: Program) -> Any:
    return native_triton_torch.compile_program(program, adjoint(program))


def layer(name: str, size: Any, dtype: Any) -> Any:
    """A layer on the CPU that runs Triton kernels: with TRITON_INTERPRET=1, in Triton's interpreter."""
    made = oracles.scatter(oracles.neuron(name).torch(size=size, dtype=dtype))
    kernels_torch.kernels[made._key()] = kernels_of(made.program)
    return made


def compiled(kernel: Any, dtype: str, **options: Any) -> Any:
    """The machine code of a kernel, no device at hand. `dtype` is fp32 or fp64; `options` are its constexprs."""
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    known = {"REAL": tl.float32 if dtype == "fp32" else tl.float64, "BLOCK": 64, "LENGTHS": False, "KEEP": True}
    known |= {"STAGES": 4, **options}
    signature, constants = {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in known or name.startswith("WANTED"):
            signature[name], constants[(place,)] = "constexpr", known.get(name, True)
        else:
            signature[name] = _type(name, dtype)
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    rules = {"num_warps": 2, "enable_fp_fusion": dtype == "fp32"}
    return triton.compile(source, target=GPUTarget(*HOPPER), options=rules)


def _type(name: str, dtype: str) -> str:
    if name in ("steps", "lanes", "neurons") or re.fullmatch(r"g?stride\d+", name):
        return "i32"
    return {"words": "*i32", "lengths": "*i64", "sums": "*fp64"}.get(name, f"*{dtype}")
