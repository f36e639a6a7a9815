"""Triton kernels for the tests: layers that run them in the interpreter, and their compilation for a device."""

from __future__ import annotations

import re
from typing import Any

import oracles

from neuroode.emit.triton_ops import Part, maths_text
from neuroode.nn import kernels_torch, native_triton_torch
from neuroode.program.adjoint import adjoint
from neuroode.program.types import OPS, Assign, Program

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
    if name in ("steps", "lanes", "neurons", "chunks") or re.fullmatch(r"(g?stride|apart)\d+", name):
        return "i32"
    return {"words": "*i32", "lengths": "*i64", "sums": "*fp64", "aggregates": "*fp64"}.get(name, f"*{dtype}")


UNARY = {op for op, count in OPS.items() if count == 1} - {"ipow", "phi", "operator", "event"}
BINARY = {op for op, count in OPS.items() if count == 2} - {"pair", "cphi_re", "cphi_im"}


def assigns_of_all_ops() -> list[Assign]:
    """Every op that a kernel computes, at the outside values x.a and x.b."""
    rows = [Assign(f"%{op}", op, ("x.a",)) for op in sorted(UNARY)]
    rows += [Assign(f"%{op}", op, ("x.a", "x.b")) for op in sorted(BINARY)]
    rows += [Assign(f"%power{k}", "ipow", ("x.a",), k) for k in (-3, 2, 7)]
    rows += [Assign(f"%phi{k}", "phi", ("x.a",), k) for k in (1, 2, 4)]
    rows += [Assign(f"%{op}{k}", op, ("x.a", "x.b"), k) for op in ("cphi_re", "cphi_im") for k in (1, 3)]
    rows += [Assign(f"%pair{part}", "pair", ("x.a", "x.b"), (0, part)) for part in "CST"]
    rows += [Assign("%third", "const", (), 1 / 3), Assign("%nan", "const", (), float("nan"))]
    return [*rows, *(Assign(f"%{op}", op, ("x.a", "x.b", "%third")) for op in ("where", "reset"))]


def all_ops() -> tuple[list[Assign], Any]:
    """Those assigns, and a kernel (first, second, out) that stores each of them as a row of `out`."""
    rows = assigns_of_all_ops()
    part = Part("ops", "All.", rows, [a.name for a in rows], ["x.a", "x.b"])
    call = part.call([f"r{i}" for i in range(len(rows))], {"x.a": "a", "x.b": "b"})
    stores = [f"    tl.store(out + {i} * BLOCK + at, r{i})" for i in range(len(rows))]
    kernel = [
        "@triton.jit",
        "def kernel(first, second, out, REAL: tl.constexpr, BLOCK: tl.constexpr):",
        "    at = tl.arange(0, BLOCK)",
        "    a = tl.load(first + at)",
        "    b = tl.load(second + at)",
        f"    {call}",
        *stores,
    ]
    text = "\n\n\n".join([part.text(), "\n".join(kernel) + "\n"])
    return rows, native_triton_torch.load(f"{native_triton_torch.HEADER}{maths_text(text)}\n\n\n{text}", "ops").kernel
