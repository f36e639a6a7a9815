"""One torch file: the emitted program, a module around it, and reference values with which it compares itself."""

from __future__ import annotations

import json
from importlib import resources
from textwrap import wrap

import numpy as np

from neuroode._errors import Unsupported
from neuroode.emit.python_torch import TORCH, torch_source
from neuroode.emit.reference import Reference, reference
from neuroode.emit.sums import sums_text
from neuroode.program.domains import kind_over_axes
from neuroode.program.start import drawn_names
from neuroode.program.types import Program
from neuroode.program.values import bounds, transform_name
from neuroode.spec.to_tree import equation_text
from neuroode.spec.types import NeuronSpec, ParameterDecl
from neuroode.system.axes import weights_over_time
from neuroode.system.delays import has_delays
from neuroode.system.indices import (
    axis_sizes,
    element_values,
    slot_parameters,
    table_parameters,
    weight_parameters,
    weight_values,
)

HEADER = '''"""{title}

Written by neuroode from these equations (step {dt:g}):

{equations}

`python THIS_FILE` compares the module with {count} reference values of a float64 interpreter.
"""
'''

MODULE = '''
def stored_name(name):
    """No attribute of a module, and without the dot of complex parts, which torch refuses."""
    return name.replace(".", ":") + ":"


class Neuron(torch.nn.Module):
    """*size* neurons. `values` replaces constrained parameter values; the defaults are those of the declaration.

    forward: x (T, B, size), or a tuple of such, one per input {inputs} -> (outputs, carry).
    """

    def __init__(self, size, values=None, dt=DT, dtype=torch.float32):
        super().__init__()
        if DELAYS and dt != DT:
            raise ValueError("the delays are counted in steps of DT: write the file anew for another step")
        self.size, self.dt, self.raw = size, dt, torch.nn.ParameterDict()
        for name, (default, level, trained, transform, bounds) in PARAMETERS.items():
            value = torch.as_tensor((values or {{}}).get(name, default), dtype=torch.float64)
            if level != "layer":  # one a neuron: the last axis
                value = value.expand(size) if value.dim() == 0 else value[..., torch.arange(size) % value.shape[-1]]
            stored = INVERSE[transform](value, bounds) if trained else value
            self.raw[stored_name(name)] = torch.nn.Parameter(stored.to(dtype), requires_grad=trained)

    def values(self):
        """Every parameter in constrained form, float64."""
        rows = {{}}
        for name, (_, _, trained, transform, bounds) in PARAMETERS.items():
            raw = self.raw[stored_name(name)].double()
            rows[name] = FORWARD[transform](raw, bounds) if trained else raw
        return rows
'''

FORWARD = """
    def forward(self, x, carry=None, trace=False):
        inputs = x if isinstance(x, tuple) else (x,)
        like = inputs[0]
        values, dt = self.values(), torch.tensor(self.dt, dtype=torch.float64)
        coefficients, inits = prologue(values, dt){sums}
        coefficients = tuple(c.to(like.dtype) for c in coefficients)
        if carry is None:
            carry = tuple(v.to(like.dtype).expand(like.shape[1:]) for v in inits)
        rows, traces = [], []
        for now in zip(*(i.unbind(0) for i in inputs)):
            out, carry, seen = step(coefficients, carry, now)
            rows.append(out)
            traces.append(seen)
        outputs = tuple(torch.stack([o.expand(like.shape[1:]) for o in column]) for column in zip(*rows))
        outputs = outputs[0] if len(outputs) == 1 else outputs
        if not trace:
            return outputs, carry
        return outputs, carry, tuple(torch.stack([s.expand(like.shape[1:]) for s in column]) for column in zip(*traces))
"""

CHECK = '''
def compare():
    """Run on the reference inputs in float64: (kind, name, index, expected, found, difference) per reference value.

    The loss is the sum of cos(0, 1, 2, ...) times the outputs; differences are relative to an array's largest value.
    """
    module = Neuron(len(next(iter(INPUTS.values()))[0][0]), dtype=torch.float64)
    values = {n: v.detach().requires_grad_(v.requires_grad) for n, v in module.values().items()}
    module.values = lambda: values  # gradients of the constrained values
    x = tuple(torch.tensor(rows, dtype=torch.float64, requires_grad=True) for rows in INPUTS.values())
    outputs, _, seen = module(x, trace=True)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = sum((torch.cos(torch.arange(o.numel(), dtype=o.dtype)).reshape(o.shape) * o).sum() for o in outputs)
    leaves = {"x." + n: i for n, i in zip(INPUTS, x)} | {"p." + n: v for n, v in values.items() if v.requires_grad}
    unread = [None] * len(leaves)  # what the outputs do not depend on has gradient 0
    slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True) if loss.requires_grad else unread
    found = {("output", n): o for n, o in zip(OUTPUTS, outputs)} | {("state", n): s for n, s in zip(TRACE, seen)}
    found |= {("gradient", n): torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(leaves, slopes)}
    rows = []
    for kind, name, index, expected in REFERENCE:
        array = found[kind, name].detach()
        got = array[index].item()
        rows.append((kind, name, index, expected, got, abs(got - expected) / max(array.abs().max().item(), 1e-300)))
    return rows
'''

REPORT = """
if __name__ == "__main__":
    checked = compare()
    for kind, name, index, expected, got, difference in checked:
        where = name + str(list(index))
        print(f"{kind:8} {where:24} expected {expected: .12g}  found {got: .12g}  difference {difference:.1e}")
    good = sum(row[-1] <= 1e-11 for row in checked)
    print(f"{good} of {len(checked)} reference values agree; largest difference {max(row[-1] for row in checked):.1e}")
    raise SystemExit(0 if good == len(checked) else 1)
"""


def standalone_torch(spec: NeuronSpec, program: Program, dt: float) -> str:
    """The text of the file."""
    found = reference(spec, program, dt)
    module = module_text(program) + FORWARD.format(sums=sums_line(program)).rstrip()
    return (
        "\n\n".join(
            part.strip("\n")
            for part in filter(
                None,
                (
                    header(spec, program, dt, found),
                    torch_source(program),
                    sums_text(program, TORCH, weights_over_time(spec)),
                    transforms_text(),
                    data(spec, program, dt, found),
                    module,
                    CHECK,
                    REPORT,
                ),
            )
        )
        + "\n"
    )


def header(spec: NeuronSpec, program: Program, dt: float, found: Reference) -> str:
    """The docstring of a file."""
    title = f"{spec.name}: {spec.about}" if spec.about else spec.name
    text = "\n".join(f"    {equation_text(e)}" for e in spec.equations)
    if spec.axes:
        sizes = ", ".join(f"{name} of {n}" for name, n in axis_sizes(spec).items())
        text += f"\n\nAxes: {sizes}. Every element is an array of its own: x__0_1 is x[0, 1]."
    if table_parameters(spec):
        text += "\n\nTables over time are inputs here: one row a step."
    if spec.noise or any(e.kind == "differential" for e in spec.equations):
        text += "\n\nNoise is an input here, fresh numbers of its kind for each step, sample and neuron."
    text += drawn_note(program)
    return HEADER.format(title=_plain(title), dt=dt, equations=_plain(text), count=len(found.rows))


def drawn_note(program: Program) -> str:
    """Where a file says that the start is drawn, which it does not do itself; empty where nothing is."""
    names = ", ".join(drawn_names(program))
    note = (
        f"The start of {names} is drawn, by who runs this file: pass `carry`, a tuple of (B, size) for "
        f"{', '.join(s.name for s in program.carry)}. Without one each draw is in the middle of its law."
    )
    return "\n\n" + "\n".join(wrap(note, 110)) if names else ""


def _plain(text: str) -> str:
    """A text of the model inside our docstring: no quotes or escapes that could end it."""
    return text.replace("\\", "/").replace('"""', "'''")


def module_text(program: Program) -> str:
    """The class up to its forward."""
    return MODULE.format(inputs=", ".join(program.fed)).rstrip() + "\n"


def sums_line(program: Program) -> str:
    """Of a forward: its inputs, and the sums over the whole sequence behind them."""
    return "\n        inputs = with_sums(values, dt, inputs)" if program.sums else ""


def transforms_text() -> str:
    """Functions between stored and constrained parameters."""
    text = resources.files("neuroode.solvers.on_torch").joinpath("transforms_torch.py").read_text("utf-8")
    return text.partition("import torch\n")[2]


def data(spec: NeuronSpec, program: Program, dt: float, found: Reference) -> str:
    """Names, parameters, inputs and reference values as literals."""
    stored = (*slot_parameters(spec), *weight_parameters(spec))
    parameters = {k: v for p in stored for k, v in _parameter(spec, p, found, dt)}
    lines = [f"    {json.dumps(k)}: {v!r}," for k, v in parameters.items()]
    rows = [f"    {row!r}," for row in found.rows]
    inputs = [f"    {json.dumps(n)}: {x.tolist()!r}," for n, x in found.inputs.items()]
    return "\n".join(
        [
            f"DT = {dt!r}",
            f"DELAYS = {has_delays(spec)}  # counted in steps of DT",
            f"OUTPUTS = {[n for n, _ in program.outputs]!r}",
            f"TRACE = {[n for n, _ in program.trace]!r}",
            "", "# name: (value, one per what, trained, transform, bounds)", "PARAMETERS = {", *lines, "}",
            "", "# inputs of the comparison, (T, B, N)", "INPUTS = {", *inputs, "}",
            "", "# kind, name, index, value by the interpreter", "REFERENCE = [", *rows, "]",
        ]
    )  # fmt: skip


def _parameter(spec: NeuronSpec, p: ParameterDecl, found: Reference, dt: float) -> list[tuple[str, tuple]]:
    """One row an element and part: (name, (value, level, trained, transform, bounds))."""
    level = next((x for x in p.per if x in ("channel", "neuron")), "layer")
    is_complex = p.type == "complex"
    limits = (0.0, 0.0) if is_complex else bounds(p, found.values | {"dt": np.asarray(dt)})
    finite = tuple(
        x if np.isfinite(x) else 0.0 for x in limits
    )  # only sigmoid and tanh read them, and theirs are finite
    if p.trainable and kind_over_axes(p):
        what = f"parameter '{p.name}': an emitted file stores single numbers, and the domain {p.domain} has none"
        raise Unsupported(what, hint="neuron.torch(...) trains it; trainable: false can be emitted")
    rest = (level, p.trainable, "none" if is_complex else transform_name(p), finite)
    if p in weight_parameters(spec):
        arrays = weight_values(p, axis_sizes(spec), found.values[p.name], np.moveaxis)
        return [(name, (value.tolist(), *rest)) for name, value in arrays.items()]
    rows = []
    for name, value in element_values(p, axis_sizes(spec), found.values[p.name]).items():
        parts = {f"{name}.re": value.real, f"{name}.im": value.imag} if is_complex else {name: value}
        rows += [(key, (np.asarray(v).tolist(), *rest)) for key, v in parts.items()]
    return rows
