"""One file with Triton kernels: a torch module around them, and reference values with which it compares itself."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib import resources

from neuroode.emit.python_torch import TORCH, prologue_source
from neuroode.emit.reference import Reference, reference
from neuroode.emit.standalone import REPORT, data, header, module_text, sums_line, transforms_text
from neuroode.emit.sums import sums_text
from neuroode.emit.triton import Kernels, emit_triton
from neuroode.program.adjoint import adjoint
from neuroode.program.types import Program
from neuroode.spec.types import NeuronSpec
from neuroode.system.axes import weights_over_time

IMPORTS = """
import contextlib
import math
import os

import torch
import triton
import triton.language as tl
"""

NOTE = """
The kernels run on a CUDA device, or with TRITON_INTERPRET=1 in Triton's interpreter on a CPU, which is slow and is for
tests. They were compiled for a device and compared in the interpreter, and never run on a GPU by their makers.
"""

FORWARD = """
    def forward(self, x, carry=None):
        inputs = x if isinstance(x, tuple) else (x,)
        like = inputs[0]
        values, dt = self.values(), torch.tensor(self.dt, dtype=torch.float64, device=like.device)
        coefficients, inits = prologue(values, dt){sums}
        rows = [c.to(like.dtype) for c in coefficients]
        rows = [c.expand(self.size) if wide else c for c, wide in zip(rows, KERNELS.coefficients)]
        if carry is None:
            carry = tuple(v.to(like.dtype).expand(like.shape[1:]) for v in inits)
        found = Sequence.apply(KERNELS, None, (len(inputs), len(rows), len(carry)), *inputs, *rows, *carry)
        outputs, carry = found[: KERNELS.outputs], found[KERNELS.outputs :]
        return outputs[0] if len(outputs) == 1 else outputs, carry
"""

CHECK = '''
def compare(device=None):
    """Run on the reference inputs in float64: (kind, name, index, expected, found, difference) per reference value.

    The loss is the sum of cos(0, 1, 2, ...) times the outputs; differences are relative to an array's largest value.
    A state after step t is the carry of a run of t + 1 steps.
    """
    device = device or ("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
    module = Neuron(len(next(iter(INPUTS.values()))[0][0]), dtype=torch.float64).to(device)
    values = {n: v.detach().requires_grad_(v.requires_grad) for n, v in module.values().items()}
    module.values = lambda: values  # gradients of the constrained values
    x = tuple(torch.tensor(i, dtype=torch.float64, device=device, requires_grad=True) for i in INPUTS.values())
    outputs, _ = module(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = [torch.cos(torch.arange(o.numel(), dtype=o.dtype, device=device)).reshape(o.shape) for o in outputs]
    loss = sum((w * o).sum() for w, o in zip(weights, outputs))
    leaves = {"x." + n: i for n, i in zip(INPUTS, x)} | {"p." + n: v for n, v in values.items() if v.requires_grad}
    slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    found = {("output", n): o.detach() for n, o in zip(OUTPUTS, outputs)}
    found |= {("gradient", n): torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(leaves, slopes)}
    steps = sorted({row[2][0] for row in REFERENCE if row[0] == "state"})
    with torch.no_grad():
        carries = {t: dict(zip(CARRY, module(tuple(i[: t + 1] for i in x))[1])) for t in steps}
    rows = []
    for kind, name, index, expected in REFERENCE:
        array = carries[index[0]][name] if kind == "state" else found[kind, name]
        got = (array[index[1:]] if kind == "state" else array[index]).item()
        rows.append((kind, name, index, expected, got, abs(got - expected) / max(array.abs().max().item(), 1e-300)))
    return rows
'''

NEEDS = """
if __name__ == "__main__" and os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
    print("no CUDA device here; TRITON_INTERPRET=1 compares in Triton's interpreter")
    raise SystemExit(2)
"""


def _comparable(program: Program, found: Reference) -> Reference:
    """A state in the middle is found by a shorter run, which is another input to sums over the whole sequence."""
    if not program.sums:
        return found
    return replace(found, rows=tuple(row for row in found.rows if row[0] != "state"))


def standalone_triton(spec: NeuronSpec, program: Program, dt: float) -> str:
    """The text of the file.

    Raises:
        Unsupported: an op that no kernel of this target computes.
    """
    found, reverse = _comparable(program, reference(spec, program, dt)), adjoint(program)
    shape = asdict(Kernels(program, reverse).shape())
    rows = ", ".join(f"{name}={value!r}" for name, value in shape.items())
    title, _, rest = header(spec, program, dt, found).rpartition('"""')
    parts = [
        f'{title.rstrip()}\n{NOTE.rstrip()}\n"""{rest}',
        IMPORTS,
        prologue_source(program).partition("import torch\n")[2],
        sums_text(program, TORCH, weights_over_time(spec)),
        emit_triton(program, reverse),
        _launches(),
        f"KERNELS = Kernels(forward_kernel, backward_kernel, {rows})",
        transforms_text(),
        data(spec, program, dt, found) + f"\n\nCARRY = {[s.name for s in program.carry]!r}",
        module_text(program) + FORWARD.format(sums=sums_line(program)).rstrip(),
        CHECK,
        NEEDS + REPORT,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _launches() -> str:
    text = resources.files("neuroode.solvers.on_triton").joinpath("triton_sequence.py").read_text("utf-8")
    return text.partition("import triton.language as tl\n")[2]
