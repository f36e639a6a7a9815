"""Neurons with events inside the step, for tests, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import references

import neuroode as no
from neuroode.program import interpret
from neuroode.program.types import Program
from neuroode.spec.read_yaml import read_text

Array = np.ndarray

NEURONS = {
    "lif": """
neuron: located_lif
dt: 1
within_step: locate
parameters: {tau: {value: 20, domain: positive}, v_th: {value: 1}}
equations: dv/dt = (-v + I)/tau
spike: v >= v_th
reset: v = 0
""",
    "soft": """
neuron: located_soft
dt: 1
within_step: locate
inputs: {I: current, x: impulse}
parameters: {tau: {value: 20, domain: positive}, v_th: {value: 1}}
equations: dv/dt = (-v + I)/tau + x
spike: v > v_th
reset: v -= v_th
""",
    "qif": """
neuron: located_qif
dt: 1
within_step: locate
parameters: {a: {value: 1, domain: positive}, b: {value: 0.3}, v_th: {value: 4}, v_r: {value: -1}}
states: {v: v_r}
equations: dv/dt = a*v^2 + b*v + I
spike: v >= v_th
reset: v = v_r
""",
    "theta": """
neuron: located_theta
dt: 0.1
within_step: locate
parameters: {a: {value: 1, domain: positive}}
equations: dv/dt = a*v^2 + I
spike: v >= inf
reset: v = -inf
""",
    "cuba": """
neuron: located_cuba
dt: 1
within_step: locate
inputs: {x: impulse}
parameters: {tau: {value: 10, domain: positive}, tau_s: {value: 4, domain: positive}, v_th: {value: 0.5}}
equations: |
  dv/dt = (-v + i_s)/tau
  di_s/dt = -i_s/tau_s + x
spike: v > v_th
reset: v -= v_th
""",
    "adex": """
neuron: located_adex
dt: 0.1
within_step: locate
method: rk4
states: {v: -70.6}
parameters: {v_t: {value: -50.4}, d: {value: 2, domain: positive}, b: {value: 80.5}, v_r: {value: -70.6}}
equations: |
  dv/dt = (-30*(v + 70.6) + 30*d*exp((v - v_t)/d) - w + I)/281
  dw/dt = (4*(v + 70.6) - w)/144
spike: v > -40
reset: v = v_r; w += b
""",
}


def neuron(name: str, **changes: Any) -> no.Neuron:
    """One of them, with keys replaced."""
    found = no.Neuron.from_spec(read_text(NEURONS[name]))
    return found.replace(**changes) if changes else found


def with_times(n: no.Neuron, dt: float, **options: Any) -> Program:
    """Its program with the trace as outputs, so that any gradient can be asked for."""
    program = n.program(dt, **options)
    return replace(program, outputs=program.trace)


def slots(n: no.Neuron, dt: float) -> dict[str, Array]:
    """Parameters by slot, numbers."""
    return {k: np.asarray(float(np.ravel(v)[0])) for k, v in references.slots(n, dt, (1,)).items()}


def spikes(n: no.Neuron, currents: list[float], steps: int, dt: float, **parameters: Any) -> list[Array]:
    """Times of the first event of each step, for each constant current."""
    drive = np.broadcast_to(currents, (steps, 1, len(currents)))
    found = n.simulate(drive, dt=dt, size=len(currents), parameters=parameters or None)
    at = dt * np.arange(steps)[:, None] + found["s.time"][:, 0]
    return [at[fired, i] for i, fired in enumerate((found["s"][:, 0] > 0).T)]


def differences(f: Callable[[float], float], x: float, by: float = 1e-6) -> float:
    return (f(x + by) - f(x - by)) / (2 * by)


def worst_gradient(
    n: no.Neuron, dt: float, drive: Mapping[str, Array], seed: int = 0, **options: Any
) -> tuple[float, int]:
    """The largest relative error of the adjoint against central differences, of a loss on all event times and the last
    states, over all parameters and inputs; and the number of events."""
    program, rng = with_times(n, dt, **options), np.random.default_rng(seed)
    values = slots(n, dt)
    first = interpret.run(program, values, drive)
    shape = next(iter(drive.values())).shape
    names = [name for name, _ in program.trace if name.endswith(".time")]
    weights = {name: rng.normal(size=shape) for name in names}
    last = {s.name: rng.normal(size=shape[1:]) for s in program.carry}

    def loss(values: Mapping[str, Array], drive: Mapping[str, Array]) -> float:
        run = interpret.run(program, values, drive)
        times = sum((w * run.outputs[name]).sum() for name, w in weights.items())
        return float(times + sum((w * run.carry[name]).sum() for name, w in last.items()))

    found = interpret.gradients(program, values, first, weights, last)
    errors = []
    for name, slope in found.parameters.items():
        wanted = differences(lambda x, name=name: loss({**values, name: np.asarray(x)}, drive), float(values[name]))
        errors.append(abs(slope - wanted) / (1 + abs(wanted)))
    for name, x in drive.items():
        way = rng.normal(size=x.shape)
        wanted = differences(lambda e, x=x, way=way, name=name: loss(values, {**drive, name: x + e * way}), 0.0)
        errors.append(abs((found.inputs[name] * way).sum() - wanted) / (1 + abs(wanted)))
    return float(max(errors)), int(sum(first.outputs[n.removesuffix(".time")].sum() for n in names))
