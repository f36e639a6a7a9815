"""Triton kernels against the float64 interpreter, the eager program and the scans in plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import neuroode as no
from neuroode.nn import kernels_torch, native_triton_torch
from neuroode.program import interpret
from neuroode.program.adjoint import adjoint
from neuroode.program.values import slots
from neuroode.solvers.on_torch import scan_torch

Tensor = torch.Tensor
#: scale and offset of a normal input with which each neuron spikes now and then
MODELS = {"lif": (8.0, 1.0), "alif": (10.0, 2.0), "brf": (40.0, 0.0), "prf": (20.0, 5.0)}
FORMS = (("diagonal", 1, 1), ("complex", 2, 2), ("dense", 4, 2), ("dense", 9, 3), ("dense", 16, 4))
DOUBLE, SINGLE = 1e-11, 1e-3  # relative to the largest number of an array
SPARE = 3e-5  # how far from a tie a run in float32 has to stay, so that its spikes are those of float64


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: the largest difference, relative to the largest number of the array, and its bound."""

    what: str
    found: float
    bound: float

    @property
    def ok(self) -> bool:
        return self.found <= self.bound  # a nan is not

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'WRONG'} {self.what}: {self.found:.1e}, bound {self.bound:.0e}"


def on_triton(neuron: Any, size: int, dtype: torch.dtype, device: str) -> Any:
    """A layer that runs the Triton kernel and nothing else, wherever it is."""
    layer = neuron.torch(size, dtype=dtype, device=device)
    kernels_torch.kernels[layer._key()] = native_triton_torch.compile_program(layer.program, adjoint(layer.program))
    return layer


def rows(device: str, tiny: bool) -> Iterator[Check]:
    """Every comparison. `tiny` for the interpreter, where a step takes milliseconds."""
    steps, samples, size = (35, 2, 3) if tiny else (129, 2, 37)
    for name in MODELS:
        yield from model_rows(name, (steps, samples, size), device)
    for form, entries, parts in FORMS:
        yield from scan_rows(form, entries, parts, (steps, samples, size), device)


def model_rows(name: str, shape: tuple[int, int, int], device: str) -> Iterator[Check]:
    """Outputs and input gradients against the interpreter, and every gradient against the eager program."""
    neuron, size = no.load(name), shape[2]
    single = on_triton(neuron, size, torch.float32, device)
    fused = on_triton(neuron, size, torch.float64, device)
    fused.load_state_dict(single.state_dict())
    x, g = draws(fused, shape)
    out, grads = pulled(fused, x, g, torch.float64, device)
    wanted, wanted_x = by_interpreter(fused, x, g)
    yield Check(f"{name}, outputs, float64", distance(out, wanted), 0.0)  # spikes
    yield Check(f"{name}, gradient of the input, float64", distance(grads[0], wanted_x), DOUBLE)
    eager = neuron.torch(size, dtype=torch.float64, device=device, schedule="eager")
    eager.load_state_dict(fused.state_dict())
    for i, (a, b) in enumerate(zip(grads, pulled(eager, x, g, torch.float64, device)[1], strict=True)):
        yield Check(f"{name}, gradient {i}, against the eager program", distance(a, b), DOUBLE)
    out, grads = pulled(single, x, g, torch.float32, device)
    yield Check(f"{name}, outputs, float32", distance(out, wanted), 0.0)
    yield Check(f"{name}, gradient of the input, float32", distance(grads[0], wanted_x), SINGLE)


def draws(layer: Any, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An input far from ties, and a cotangent of the output."""
    scale, offset = MODELS[layer.neuron.spec.name]
    for seed in range(50):
        random = np.random.default_rng(seed)
        x = scale * random.normal(size=shape).astype(np.float32).astype(float) + offset
        if smallest_margin(layer, x) > SPARE:
            return x, random.normal(size=shape).astype(np.float32).astype(float)
    raise RuntimeError("every draw of inputs comes near a tie")


def parameters_of(layer: Any) -> dict[str, np.ndarray]:
    values = {
        p.name: layer.parameters_of_neuron.constrained(p).detach().cpu().numpy() for p in layer.neuron.spec.parameters
    }
    return slots(layer.neuron.spec, values, layer.size) | {"dt": np.asarray(layer.dt)}


def smallest_margin(layer: Any, x: np.ndarray) -> float:
    """How near a run comes to a tie of an event."""
    program = layer.program
    result = interpret.run(program, parameters_of(layer), {program.inputs[0]: x})
    found = [1.0]
    for start in result.tape:
        now = interpret.evaluate(program.body, {**result.prologue, **start}, program)
        found += [float(np.abs(now[e.margin]).min()) for e in program.events]
    return min(found)


def by_interpreter(layer: Any, x: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    program, values = layer.program, parameters_of(layer)
    result = interpret.run(program, values, {program.inputs[0]: x})
    (output,) = result.outputs
    slopes = interpret.gradients(program, values, result, {output: g})
    return result.outputs[output], slopes.inputs[program.inputs[0]]


def pulled(
    layer: Any, x: np.ndarray, g: np.ndarray, dtype: torch.dtype, device: str
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Output, and gradients of the input and of what is trained."""
    given = torch.tensor(x, dtype=dtype, device=device, requires_grad=True)
    out, _ = layer(given)
    found = torch.autograd.grad(out, [given, *layer.parameters()], torch.tensor(g, dtype=dtype, device=device))
    return out.detach().double().cpu().numpy(), [v.double().cpu().numpy() for v in found]


def scan_rows(form: str, entries: int, parts: int, shape: tuple[int, int, int], device: str) -> Iterator[Check]:
    """A scan there and back against the sequential float64 one, with a matrix that changes and one that does not."""
    if device == "cpu":
        shape = (min(shape[0], 9), *shape[1:])  # the interpreter composes elements one by one
    random = np.random.default_rng(entries)
    matrix = [random.uniform(-0.5, 0.5, shape if i else shape[1:]) for i in range(entries)]
    drive = [random.normal(size=shape) for _ in range(parts)]
    start = [random.normal(size=shape[1:]) for _ in range(parts)]
    for dtype, bound in ((torch.float64, DOUBLE), (torch.float32, 1e-4)):
        m, d, s = ([torch.tensor(v, dtype=dtype, device=device) for v in group] for group in (matrix, drive, start))
        wide = [[torch.tensor(v) for v in group] for group in (matrix, drive, start)]
        found = native_triton_torch.scan(form, [*m, *d], s, shape[0])
        wanted = scan_torch.scan(*scan_torch.affine(form), [*wide[0], *wide[1]], wide[2], steps=shape[0])
        yield Check(f"scan, {form} {parts}, {dtype}", _largest(found, wanted), bound)
        back = native_triton_torch.adjoint(form, m, d)
        yield Check(f"adjoint, {form} {parts}, {dtype}", _largest(back, scan_torch.adjoint(form, *wide[:2])), bound)


def _largest(found: Any, wanted: Any) -> float:
    return max(distance(a.double().cpu().numpy(), b.numpy()) for a, b in zip(found, wanted, strict=True))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the largest number of `b`; infinite where one is not finite."""
    apart = float(np.abs(a - b).max())
    return apart / max(float(np.abs(b).max()), 1e-30) if np.isfinite(apart) else float("inf")
