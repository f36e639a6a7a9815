"""Oracles of the compiler's tests: neurons from text, exact steps in many digits, differences, emitted torch text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import mpmath
import numpy as np
import torch

from neuroode.emit.python_torch import torch_source
from neuroode.neuron import Neuron
from neuroode.program import interpret
from neuroode.program import values as numbers
from neuroode.program.types import Assign, Coefficient, ParamSlot, Program
from neuroode.spec.read_yaml import read_text

Array = np.ndarray


def neuron(text: str) -> Neuron:
    """A neuron from YAML without its first line."""
    return Neuron.from_spec(read_text("neuron: made_up\n" + text))


def slots(n: Neuron, dt: float, size: tuple[int, ...], **given: Any) -> dict[str, Array]:
    """Constrained parameters by slot name, and dt."""
    values = numbers.initial_values(n.spec, dt, size, np.random.default_rng(0), given)
    return numbers.slots(n.spec, values, size) | {"dt": np.asarray(dt)}


# exact steps


def exact_step(A: Any, dt: float, digits: int = 40) -> tuple[Array, Array]:
    """e^(A dt) and dt phi_1(A dt), rounded once: by the exponential of [[A, 1], [0, 0]] dt in many digits."""
    found = _augmented(np.asarray(A), dt, digits)
    n = len(A)
    kind = complex if np.iscomplexobj(np.asarray(A)) else float
    return np.array(found[:n, :n].tolist(), kind), np.array(found[:n, n:].tolist(), kind)


def _augmented(A: Array, dt: Any, digits: int) -> mpmath.matrix:
    n = len(A)
    with mpmath.workdps(digits):
        m = mpmath.zeros(2 * n)
        for i in range(n):
            m[i, n + i] = mpmath.mpf(1)
            for j in range(n):
                m[i, j] = mpmath.mpmathify(A[i, j] if isinstance(A[i, j], mpmath.mpf) else A[i, j].item())
        return mpmath.expm(m * mpmath.mpmathify(dt))


def exact_slope(A: Array, dt: float, weights: Array, entry: tuple[int, int] | None) -> float:
    """Derivative of sum(weights * [Phi Gamma]) in one entry of A, or in dt (None), by many digits."""
    n = len(A)
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -20

        def total(step: mpmath.mpf) -> mpmath.mpf:
            moved = np.array([[mpmath.mpf(float(x)) for x in row] for row in A], dtype=object)
            if entry is not None:
                moved[entry] += step
            found = _augmented(moved, mpmath.mpf(dt) + (step if entry is None else 0), 60)
            return mpmath.fsum(mpmath.mpf(weights[i, j]) * found[i, j] for i in range(n) for j in range(2 * n))

        return float((total(h) - total(-h)) / (2 * h))


def linear_neuron(pattern: Array) -> Neuron:
    """dx_i/dt = sum_j a_ij x_j + u_i with a parameter for every entry of the pattern that is not 0, and inits s_i."""
    n = len(pattern)
    entries = [(i, j) for i in range(n) for j in range(n) if pattern[i][j]]
    rows = [
        f"  dx{i}/dt = " + " + ".join([*(f"a{i}{j}*x{j}" for r, j in entries if r == i), f"u{i}"]) for i in range(n)
    ]
    parameters = [f"a{i}{j}: {{value: 0, per: neuron}}" for i, j in entries] + [
        f"s{i}: {{value: 0, per: neuron}}" for i in range(n)
    ]
    return neuron(
        "inputs: {" + ", ".join(f"u{i}: current" for i in range(n)) + "}\n"
        "states: {" + ", ".join(f"x{i}: s{i}" for i in range(n)) + "}\n"
        "parameters:\n" + "".join(f"  {p}\n" for p in parameters) + "method: exact\n"
        "equations: |\n" + "\n".join(rows) + "\n"
    )  # fmt: skip


@cache
def _linear_program(pattern: tuple[tuple[bool, ...], ...], dt: float) -> Program:
    return linear_neuron(np.array(pattern)).program(dt)


def linear_program(pattern: Array, dt: float) -> Program:
    return _linear_program(tuple(tuple(bool(x) for x in row) for row in pattern), dt)


def probes(n: int, pattern: Array, A: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Parameters and one step of input for 2n lanes: unit states in the first n, unit inputs in the others."""
    values = {f"p.a{i}{j}": np.full(2 * n, A[i][j]) for i in range(n) for j in range(n) if pattern[i][j]}
    values |= {f"p.s{i}": np.eye(2 * n)[i] for i in range(n)}
    return values, {f"u{i}": np.eye(2 * n)[n + i].reshape(1, 1, -1) for i in range(n)}


def interpreted_step(pattern: Array, A: Array, dt: float) -> Array:
    """[Phi Gamma] by the interpreter."""
    n = len(A)
    program = linear_program(pattern, dt)
    values, x = probes(n, pattern, A)
    trace = interpret.run(program, values | {"dt": np.asarray(dt)}, x).trace
    return np.stack([trace[f"x{i}"][0, 0] for i in range(n)])


def torch_step(
    pattern: Array, A: Array, dt: float, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """[Phi Gamma] by the emitted text, and the leaves it depends on."""
    n = len(A)
    program = linear_program(pattern, dt)
    values, x = probes(n, pattern, A)
    leaves = {k[2:]: torch.tensor(v, dtype=dtype, requires_grad=True) for k, v in values.items()}
    leaves["dt"] = torch.tensor(dt, dtype=dtype, requires_grad=True)
    trace = torch_trace(program, leaves, leaves["dt"], {k: torch.tensor(v[0, 0], dtype=dtype) for k, v in x.items()})
    return torch.stack([trace[f"x{i}"] for i in range(n)]), leaves


# the emitted text


@cache
def functions(program: Program) -> dict[str, Any]:
    """What the emitted text defines."""
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(torch_source(program), "<emitted>", "exec"), space)
    return space


def torch_trace(
    program: Program, values: Mapping[str, torch.Tensor], dt: torch.Tensor, x: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """One step from the init."""
    text = functions(program)
    coefficients, inits = text["prologue"](values, dt)
    _, _, trace = text["step"](coefficients, inits, tuple(x[n] for n in program.inputs))
    return dict(zip([n for n, _ in program.trace], trace, strict=True))


def torch_run(
    program: Program, values: Mapping[str, torch.Tensor], dt: float, x: Mapping[str, torch.Tensor]
) -> tuple[dict, dict, dict]:
    """(outputs, carry, trace) of a run over x (T, B, N) by the emitted text."""
    text = functions(program)
    coefficients, carry = text["prologue"](values, torch.tensor(dt, dtype=torch.float64))
    lanes = next(iter(x.values())).shape[1:]
    carry, rows = tuple(c.expand(lanes) for c in carry), []
    for now in zip(*(x[n].unbind(0) for n in program.inputs), strict=True):
        outputs, carry, trace = text["step"](coefficients, carry, now)
        rows.append([v.expand(lanes) for v in (*outputs, *trace)])
    names = [n for n, _ in (*program.outputs, *program.trace)]
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    count = len(program.outputs)
    outputs, trace = (
        dict(zip(names[:count], columns[:count], strict=True)),
        dict(zip(names[count:], columns[count:], strict=True)),
    )
    return outputs, dict(zip([s.name for s in program.carry], carry, strict=True)), trace


# differences


def slope(f: Callable[[float], Array], x: float, h: float = 1e-3) -> Array:
    """Derivative of a smooth function: central differences, extrapolated twice (error h^6)."""

    def central(step: float) -> Array:
        return (np.asarray(f(x + step)) - np.asarray(f(x - step))) / (2 * step)

    a, b, c = central(h), central(h / 2), central(h / 4)
    first, second = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * second - first) / 15


def distance(found: Any, wanted: Any) -> float:
    """Largest difference relative to the largest number of `wanted`; nan and inf are near nothing."""
    a, b = np.asarray(found), np.asarray(wanted)
    apart = np.abs(a - b).max() if b.size else 0.0
    return (
        float(apart / max(np.abs(b).max(), 1e-300))
        if np.isfinite(apart) and b.size
        else (0.0 if not b.size else float("inf"))
    )


# one operation


def one_op(op: str, count: int, value: object = None) -> Program:
    """A program whose one output is op of its inputs; `expm` stands in the prologue and takes parameters."""
    names = [f"x{i}" for i in range(count)]
    still = op == "expm"
    args = tuple(f"{'p' if still else 'x'}.{n}" for n in names)
    code = (Assign("%0", op, args, value),)
    return Program(
        name="one_op", inputs=("x",) if still else tuple(names), carry=(), events=(), next=(), trace=(("y", "%0"),),
        parameters=tuple(ParamSlot(f"p.{n}", n, "", "neuron", True) for n in names) if still else (),
        prologue=code if still else (), body=() if still else code, outputs=(("y", "%0"),),
        coefficients=(Coefficient("%0", "neuron", True),) if still else (),
    )  # fmt: skip


def interpreted(program: Program, args: list[Array]) -> tuple[Array, list[Array]]:
    """Value, and gradients of the sum in every argument."""
    names = [p.name for p in program.parameters]
    lanes = np.ones((1, 1, len(args[0])))
    parameters = dict(zip(names, args, strict=True)) if names else {}
    inputs = {"x": 0 * lanes} if names else {n: a * lanes for n, a in zip(program.inputs, args, strict=True)}
    result = interpret.run(program, parameters, inputs)
    found = interpret.gradients(program, parameters, result, {"y": lanes})
    rows = [found.parameters.get(n, 0 * args[0]) for n in names] or [found.inputs[n].ravel() for n in program.inputs]
    return result.outputs["y"].ravel(), rows


#: op, immediate -> arguments (one row an argument) away from kinks, with signs and sizes that its branches tell apart
X = np.array([-2.7, -0.8, -0.09, 0.11, 0.6, 1.9, 3.3])
Y = np.array([0.9, -1.7, 0.4, -0.3, 2.2, -0.6, 1.1])
POSITIVE = np.array([0.1, 0.3, 0.9, 1.0, 2.5, 7.0, 40.0])
BIT = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
Z = np.array([-30.0, -2.2, -1.9, -0.1, 1e-9, 0.4, 2.1])
NODES = np.random.default_rng(4).normal(size=(5, 7)) * np.array([1, 1e-1, 1e-4, 1e-8, 0, 3, 10])
MATRIX = np.random.default_rng(5).normal(size=(9, 7)) * np.array([1, 0.1, 1e-3, 0.3, 2, 0.5, 0.8])
OPS_AT: list[tuple[str, object, list[Array]]] = [
    *[(op, None, [X, Y]) for op in ("add", "sub", "mul", "div", "atan2", "min", "max", "gt", "ge")],
    *[(op, None, [X]) for op in ("neg", "exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid")],
    *[(op, None, [X]) for op in ("softplus", "erf", "abs", "sign", "floor", "ceil", "round", "detach")],
    *[(op, None, [POSITIVE]) for op in ("log", "log1p", "sqrt")],
    ("pow", None, [POSITIVE, Y]),
    *[("ipow", k, [X]) for k in (-3, -1, 2, 3, 5)],
    ("where", None, [BIT, X, Y]),
    ("reset", None, [BIT, X, Y]),
    *[("phi", k, [Z]) for k in (1, 2, 3, 4)],
    *[(f"cphi_{part}", k, [Z, Y]) for part in ("re", "im") for k in (1, 2, 3)],
    *[(f"cphi_{part}", k, [Z * 0, X]) for part in ("re", "im") for k in (1, 2)],
    *[("pair", (k, part), [Y, m]) for part in "CS" for k in (0, 1, 2) for m in (X, Y - 1, 1e-7 * X, 0 * X)],
    *[("edd", None, list(NODES[:k])) for k in (2, 3, 4, 5)],
    *[("expm", (2, i, j), list(MATRIX[:4])) for i in (0, 1) for j in (0, 1)],
    ("expm", (3, 0, 2), list(MATRIX)),
]  # fmt: skip
