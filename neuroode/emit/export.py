"""Stand-alone sources: what `neuroode emit` writes."""

from __future__ import annotations

from neuroode._errors import Unsupported
from neuroode.emit.standalone import standalone_torch
from neuroode.emit.standalone_jax import standalone_jax
from neuroode.emit.standalone_triton import standalone_triton
from neuroode.program.adjoint import adjoint
from neuroode.program.types import Program
from neuroode.spec.types import NeuronSpec

TARGETS = ("torch", "jax", "c", "triton")


def export(spec: NeuronSpec, program: Program, target: str, dt: float) -> str:
    """Source text that runs without neuroode.

    Raises:
        Unsupported: an unknown target, or one that lacks something of this program.
    """
    if program.operators:
        names = ", ".join(f"{n}: {kind}" for n, kind in program.operators)
        what = f"operators are parts of a layer and not of an emitted file ({names})"
        raise Unsupported(what, hint="neuron.torch(..., operators=...) runs them")
    if target == "torch":
        return standalone_torch(spec, program, dt)
    if target == "jax":
        return standalone_jax(spec, program, dt)
    if target == "triton":
        return standalone_triton(spec, program, dt)
    if program.sums and target in TARGETS:
        what = f"'{spec.name}' sums over the whole sequence, but {target} code runs step by step"
        raise Unsupported(what, hint="the targets torch, jax and triton do both")
    if target == "c":
        from neuroode.emit.c import emit_c

        return emit_c(program, adjoint(program), "float64", standalone=True)
    raise Unsupported(f"target '{target}' is unknown", hint="choose among " + ", ".join(TARGETS))
