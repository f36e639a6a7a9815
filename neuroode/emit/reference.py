"""Reference values for an emitted source: a short run of the interpreter, and a few of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from neuroode._errors import ELEMENT, Unsupported
from neuroode.program.interpret import gradients, run
from neuroode.program.noise import noise_of_run
from neuroode.program.types import CLOCK, Program
from neuroode.program.values import initial_values, slots, tables
from neuroode.spec.types import NeuronSpec, ParameterDecl
from neuroode.system.indices import axis_sizes, weight_parameters, weight_values

STEPS, NEURONS = 40, 3
COUNTS = (("output", 6), ("state", 7), ("gradient", 7))  # 20 in all
SCALES = 4.0 ** np.arange(-2, 7)


@dataclass(frozen=True, slots=True)
class Reference:
    """Constrained parameter values, inputs (T, 1, N) by name, and (kind, name, index, value) rows."""

    values: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    rows: tuple[tuple[str, str, tuple[int, ...], float], ...]


def reference(spec: NeuronSpec, program: Program, dt: float) -> Reference:
    """Run the interpreter on seeded inputs that make the neuron fire if it can; the loss is sum(weight * outputs)."""
    values = initial_values(spec, dt, (NEURONS,), np.random.default_rng(0))
    parameters = slots(spec, values, (NEURONS,)) | {"dt": np.asarray(dt)}
    weights_of_sums = _weights(spec, program, values)
    inputs = _lively_inputs(spec, program, parameters, weights_of_sums)
    result = run(program, parameters, inputs | weights_of_sums)
    seeds = {n: weights(o.shape) for n, o in result.outputs.items()}
    found = gradients(program, parameters, result, seeds)
    arrays = {
        "output": result.outputs,
        "state": {s.name: result.trace[s.name] for s in program.carry if s.name in result.trace},
        "gradient": {f"x.{n}": g for n, g in found.inputs.items() if n != CLOCK and n in inputs} | found.parameters,
    }
    trained = {n for p in weight_parameters(spec) if p.trainable for n in _elements(p, spec, values)}
    arrays["gradient"] |= {f"p.{n}": _flat(found.inputs[n]) for n in weights_of_sums if n in trained}
    rows = tuple(row for kind, count in COUNTS for row in _sample(kind, arrays[kind], count))
    return Reference(values, inputs, rows)


def _weights(spec: NeuronSpec, program: Program, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters over the whole sequence, as the sums of a run read them."""
    rows = tables(spec, values, (NEURONS,), _steps(spec, program)) if program.sums else {}
    return {n: x for n, x in rows.items() if n not in program.tables}


def _elements(p: ParameterDecl, spec: NeuronSpec, values: Mapping[str, np.ndarray]) -> Iterable[str]:
    return weight_values(p, axis_sizes(spec), values[p.name], np.moveaxis)


def _flat(g: np.ndarray) -> np.ndarray:
    """A cotangent as its parameter is stored: one for all neurons has no axis of lanes."""
    return g[..., 0] if g.shape[-1] == 1 else g


def _steps(spec: NeuronSpec, program: Program) -> int:
    return min(STEPS, spec.horizon or STEPS) if program.sums else STEPS


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Weights of the loss: cos(0, 1, 2, ...) in the order of memory."""
    return np.cos(np.arange(np.prod(shape))).reshape(shape)


def _lively_inputs(
    spec: NeuronSpec, program: Program, parameters: Mapping[str, np.ndarray], beside: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Uniform draws, scaled so that between 5 and 50 % of the steps have an event, or the largest scale below.

    Raises:
        Unsupported: no scale gives a run of finite numbers.
    """
    shape, noise = (_steps(spec, program), 1, NEURONS), {n.name for n in program.noise}
    names = [n for n in program.fed if n not in noise]
    draws = {n: np.random.default_rng(i + 1).uniform(-0.5, 1.5, shape) for i, n in enumerate(names)}
    fresh = noise_of_run(program, shape, float(parameters["dt"]), seed=0)
    declared = {e.name for e in spec.events}
    events = {n for n, _ in program.trace if ELEMENT.sub("", n) in declared}
    best, distance = draws | fresh, np.inf
    for scale in SCALES if events else (1.0,):
        scaled = {n: np.round(scale * x, 3) for n, x in draws.items()} | fresh
        trace = run(program, parameters, scaled | beside).trace
        if not all(np.isfinite(v).all() for v in trace.values()):
            continue  # a step that large blows this neuron up: nothing to compare
        rates = [float(np.mean(trace[e])) for e in events]
        off = max((abs(r - 0.25) for r in rates), default=0.0)
        if off < distance:
            best, distance = scaled, off
    if np.isinf(distance):
        what = f"neuron '{spec.name}': no run on reference inputs stays finite, so there is nothing to compare with"
        raise Unsupported(what, hint="emit it at a smaller dt, or with another method")
    return {n: best[n] for n in program.fed}


def _sample(kind: str, arrays: Mapping[str, np.ndarray], count: int) -> list[tuple[str, str, tuple[int, ...], float]]:
    """`count` entries spread over the arrays, nonzero ones first."""
    rows = []
    for k in range(count):
        name = list(arrays)[k % len(arrays)] if arrays else ""
        if not name:
            return []
        flat = np.ravel(arrays[name])
        lively = np.flatnonzero(flat) if np.any(flat) else np.arange(flat.size)
        if kind == "output" and k % 2:  # silent steps are worth a check too
            lively = np.arange(flat.size)
        at = int(lively[(2 * k + 1) * len(lively) // (2 * count)])
        index = tuple(int(i) for i in np.unravel_index(at, arrays[name].shape))
        rows.append((kind, name, index, float(flat[at])))
    return rows
