"""Whole reverse passes of smooth programs against differences: inputs, parameters, inits, with every discretization."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import neuron as invented
from references import neuron, slope, slots

from neuroode.expr.nodes import names as read
from neuroode.models import names
from neuroode.neuron import Neuron
from neuroode.program import interpret
from neuroode.program.types import Program

T, DT = 12, 0.3
RNG = np.random.default_rng(8)

SMOOTH = {
    "one state": (
        "parameters: {tau: {value: 3, domain: positive}, E: {value: 0.5}}\nequations: dv/dt = (E - v + I)/tau\n",
        ("exact", "euler", "exp_euler"),
    ),
    "a state with the init of another": (
        "parameters: {a: {value: 0.4}, k: {value: 2}}\nstates: {v: a, w: a, x: k*v - a}\n"
        "equations: |\n  dv/dt = -k*v + w + I\n  dw/dt = -w\n  x[t] = 0.5*x[t-1] + v*w[t-1] + x[t-2]*0.1\n",
        ("exact", "euler"),
    ),
    "oscillator": (
        "parameters: {b: {value: 0.3}, w: {value: 4}, s: {value: 1}}\nstates: {x: s}\n"
        "equations: |\n  dx/dt = -b*x - w*y + I\n  dy/dt = w*x - b*y\n",
        ("exact", "euler", "semi_implicit(y, x)", "exp_euler"),
    ),
    "chain of three": (
        "parameters: {a: {value: 0.3}, b: {value: 0.3}, c: {value: 0.30001}}\nequations: |\n"
        "  dx/dt = -a*x + I\n  dy/dt = x - b*y\n  dz/dt = y + 0.5*x - c*z\n",
        ("exact",),
    ),
    "full three": (
        "parameters: {a: {value: 0.3}, b: {value: 1.3}, c: {value: 2}}\nequations: |\n"
        "  dx/dt = -a*x + I + b*z\n  dy/dt = c*x - b*y\n  dz/dt = y - c*x - z\n",
        ("exact",),
    ),
    "complex": (
        "parameters: {b: {value: 0.3}, w: {value: 4}, c: {value: 0.5 + 0.2i, type: complex}}\nstates: {u: c}\n"
        "equations: |\n  du/dt = (-b + i*w)*u + c*I : complex\n  m = abs(u)^2 + arg(u + 3)\n"
        "outputs: {m: m, r: real(u*c), i: imag(u/c), j: real(exp(u)*conj(u)^3)}\n",
        ("exact", "euler"),
    ),
    "switched": (
        """
parameters: {g: {value: 0.7}, E: {value: 2}}
equations: |
  dv/dt = -(g + J^2)*v + E*I
inputs: {I: current, J: current}
""",
        ("exact", "euler"),
    ),
    "pendulum": (
        """
parameters: {k: {value: 0.7}, d: {value: 0.1}}
states: {x: 1}
equations: |
  dx/dt = y
  dy/dt = -k*sin(x) - d*y + I
""",
        ("euler", "semi_implicit(y, x)"),
    ),
    "gate": (
        "parameters: {k: {value: 0.7}}\nstates: {m: 0.5}\nequations: |\n  dv/dt = -m^3*(v - 2) + I\n"
        "  dm/dt = (1 - m)*(v + k)/(1 - exp(-(v + k))) - m*exp(-v)\n",
        ("exp_euler", "euler"),
    ),
    "impulses": (
        """
inputs: {x: impulse, y: {kind: impulse, at: end}}
parameters: {tau: {value: 3, domain: positive}, g: {value: 0.4}}
"""
        "equations: |\n  dj/dt = -j/tau + g*x\n  dv/dt = (-v + j)/tau + y\n  h = v*j\n  q[t] = h[t-1] + h[t-3]*y\n",
        ("exact",),
    ),
    "functions": (
        """
parameters: {p: {value: 1.3, domain: positive}}
equations: |
  v[t] = tanh(v[t-1]) + softplus(I)^p*0.1 + erf(I)*sigmoid(v[t-1])
"""
        """
  w[t] = sqrt(1 + v^2) + log(2 + cos(v)) + exprel(I) + min(v, 5, w[t-1] + 9) + clip(v, -9, 9) + where(p > 1, v, 0)
""",
        ("auto",),
    ),
    "step length": ("parameters: {a: {value: 0.4}}\nequations: |\n  v[t] = exp(-dt/a)*v[t-1] + dt*I\n", ("auto",)),
}  # fmt: skip
CASES = [(name, method) for name, (_, methods) in SMOOTH.items() for method in methods]


def inputs_of(program: Program, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: RNG.normal(size=shape) * 0.7 for name in program.inputs}


@pytest.mark.parametrize(("name", "method"), CASES)
def test_smooth_programs(name: str, method: str) -> None:
    n = neuron(SMOOTH[name][0])
    program, values = n.program(DT, method=method), slots(n, DT, (1,))
    x = inputs_of(program, (T, 2, 1))
    result = interpret.run(program, values, x)
    seeds = {k: RNG.normal(size=v.shape) for k, v in result.outputs.items()}
    ends = {k: RNG.normal(size=v.shape) for k, v in result.carry.items()}
    found = interpret.gradients(program, values, result, seeds, ends)

    def total(values: dict, x: dict, carry: dict | None = None) -> float:
        r = interpret.run(program, values, x, carry)
        return float(
            sum((r.outputs[k] * g).sum() for k, g in seeds.items())
            + sum((r.carry[k] * g).sum() for k, g in ends.items())
        )

    for p in (p.name for p in program.parameters if p.trainable):
        wanted = slope(lambda h, p=p: total(values | {p: values[p] + h}, x), 0.0)
        assert abs(found.parameters.get(p, 0.0) - wanted) <= 1e-7 * max(1, abs(wanted)), p
    for k, v in x.items():
        e = RNG.normal(size=v.shape)
        wanted = slope(lambda h, k=k, v=v, e=e: total(values, x | {k: v + h * e}), 0.0)
        assert abs((found.inputs[k] * e).sum() - wanted) <= 1e-7 * max(1, abs(wanted)), k
    start = {
        k: np.broadcast_to(interpret.prologue(program, values)[s.init], (2, 1))
        for k, s in ((s.name, s) for s in program.carry)
    }
    for k in start:
        e = RNG.normal(size=(2, 1))
        wanted = slope(lambda h, k=k, e=e: total(values, x, start | {k: start[k] + h * e}), 0.0)
        assert abs((found.carry[k] * e).sum() - wanted) <= 1e-7 * max(1, abs(wanted)), k


def is_open(n: Neuron) -> bool:
    """Neither a state nor a definition sees an event; nothing reads tables (tests/language has theirs)."""
    maps = n.spec.horizon is not None or any(e.kind == "map" for e in n.spec.equations)
    events = {e.name for e in n.spec.events}
    maps = maps or any(read(e.rhs) & events for e in n.spec.equations)
    return not maps and not any(e.reset for e in n.spec.events)


@pytest.mark.parametrize("name", [n for n in names() if is_open(invented(n))])
def test_zoo_neurons_whose_states_see_no_event(name: str) -> None:
    n = invented(name)
    dt = n.step_length(None)
    program, values = n.program(dt), slots(n, dt, (2,))
    x = {k: 1e-3 * v for k, v in inputs_of(program, (T, 1, 2)).items()}
    result = interpret.run(program, values, x)
    ends = {k: RNG.normal(size=v.shape) for k, v in result.carry.items()}
    found = interpret.gradients(program, values, result, {}, ends)
    for k, v in x.items():
        e = RNG.normal(size=v.shape)

        def total(h: float, k: str = k, v: np.ndarray = v, e: np.ndarray = e) -> float:
            carry = interpret.run(program, values, x | {k: v + h * e}).carry
            return float(sum((carry[c] * g).sum() for c, g in ends.items()))

        wanted = slope(total, 0.0, 1e-4)
        assert abs((found.inputs[k] * e).sum() - wanted) <= 1e-6 * abs(wanted)
