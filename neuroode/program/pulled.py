"""A field and its vector-Jacobian products as one program: what an adjoint that runs back in time evaluates."""

from __future__ import annotations

from dataclasses import replace

from neuroode.program.adjoint import reverse_rows
from neuroode.program.hybrid import Hybrid
from neuroode.program.slices import builder_of, with_outputs
from neuroode.program.types import Program


def pulled(hybrid: Hybrid, wanted: tuple[str, ...]) -> Program:
    """Inputs of the field and cotangents `g.v`; outputs `d.v`, `by.y.v` and `by.NAME` for each of `wanted`.

    Args:
        wanted: inputs of the field (`x.I`, `x.c.q`) and coefficients whose cotangents are asked for.
    """
    field = hybrid.field
    seeds = tuple(f"g.{s}" for s in hybrid.states)
    whole = replace(field, inputs=(*field.inputs, *(n for n in seeds if n not in field.inputs)))
    b = builder_of(whole)
    rename: dict[str, str] = {}
    b.adopt(field.body, rename)
    rates = {n: rename.get(v, v) for n, v in field.outputs}
    total = b.const(0.0)
    for s in hybrid.states:
        total = b.emit("add", total, b.emit("mul", f"x.g.{s}", rates[f"d.{s}"]))
    names = [*(f"x.y.{s}" for s in hybrid.states), *wanted]
    rows = reverse_rows(b, list(b.assigns), total, names)
    products = {f"by.{n.removeprefix('x.')}": v for n, v in zip(names, rows, strict=True)}
    return with_outputs(whole, b, rates | products)
