"""The living definition of the ops: any program, step by step, in numpy float64. Every target is compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.special

from neuroode._errors import RunError
from neuroode.program.adjoint import adjoint, pullback
from neuroode.program.monoid import Formula
from neuroode.program.types import Assign, Program
from neuroode.solvers.on_numpy import special

Array = np.ndarray
Env = dict[str, Array]
Functions = Mapping[str, Callable[[Array], Array]]


@dataclass(frozen=True, slots=True)
class Run:
    """What a run left: outputs and trace (T, B, *size*), the carry (B, *size*), and the tape for `gradients`; of sums
    over the sequence, how they were made; whether the carry was given, so that inits had no part in it."""

    outputs: dict[str, Array]
    trace: dict[str, Array]
    carry: dict[str, Array]
    tape: tuple[Env, ...]
    prologue: Env
    sums: tuple[Any, Any] | None = None
    given: bool = False


@dataclass(frozen=True, slots=True)
class Gradients:
    """Cotangents by name; those of parameters are summed over lanes to the parameter's own shape."""

    inputs: dict[str, Array]
    carry: dict[str, Array]
    parameters: dict[str, Array]


def run(
    program: Program,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    carry: Mapping[str, Array] | None = None,
    operators: Functions | None = None,
) -> Run:
    """Run over T steps.

    Args:
        parameters: `p.NAME` and `dt` -> numbers or arrays that broadcast against *size*.
        inputs: input name -> (T, B, *size*); at least one, it fixes T and B. Sums over the sequence are made of them
            where they are not given, and of the parameters over the sequence by name (`program/sums.py`).
        carry: name -> (B, *size*); None starts from the init, a drawn one in the middle of its law:
            `program/start.py` draws.
        operators: functions across neurons by name, (B, *size*) -> (B, *size*), where the program calls some.
    """
    sums: list[Any] = []
    if any(s.name not in inputs for s in program.sums):
        from neuroode.program.sums import completed

        inputs, sums = completed(program, parameters, inputs)
    env = prologue(program, parameters)
    shape = np.broadcast_shapes(*[np.shape(inputs[n]) for n in program.inputs])
    lanes = shape[1:]
    over = {a.value[0] for a in program.body if a.op == "network" and isinstance(a.value, tuple)}
    calls = {n: _of_lanes(f, lanes, n in over) for n, f in (operators or {}).items()}
    state = {s.name: np.broadcast_to(env[s.init] if carry is None else carry[s.name], lanes) for s in program.carry}
    tape, outputs, trace = (
        [],
        {n: np.zeros(shape) for n, _ in program.outputs},
        {n: np.zeros(shape) for n, _ in program.trace},
    )
    for t in range(shape[0]):
        start = {f"c.{k}": v for k, v in state.items()} | {
            f"x.{n}": np.asarray(inputs[n][t], float) for n in program.inputs
        }
        now = evaluate(program.body, env | start, program, calls)
        for record, rows in ((outputs, program.outputs), (trace, program.trace)):
            for name, value in rows:
                record[name][t] = now[value]
        bits = {f"e.{a.value}": now[a.name] for a in program.body if a.op == "event"}
        tape.append(start | bits)
        state = {name: np.broadcast_to(now[value], lanes) for name, value in program.next}
    return Run(
        outputs, trace, {k: np.array(v) for k, v in state.items()}, tuple(tape), env, (sums, inputs) if sums else None,
        carry is not None,
    )  # fmt: skip


def prologue(program: Program, parameters: Mapping[str, Array]) -> Env:
    """Values of the prologue, parameters included."""
    return evaluate(program.prologue, {k: np.asarray(v, float) for k, v in parameters.items()}, program)


def gradients(
    program: Program,
    parameters: Mapping[str, Array],
    result: Run,
    outputs: Mapping[str, Array],
    carry: Mapping[str, Array] | None = None,
) -> Gradients:
    """Pull cotangents of outputs (T, B, *size*) and of the last carry back through a run, surrogates included."""
    reverse = adjoint(program)
    lanes = np.shape(next(iter(result.carry.values()))) if result.carry else np.shape(next(iter(outputs.values())))[1:]
    ahead = {s.name: np.zeros(lanes) for s in program.carry} | {
        k: np.asarray(v, float) for k, v in (carry or {}).items()
    }
    totals: dict[str, Array] = {}
    steps: dict[str, list[Array]] = {n: [] for n in program.inputs}
    for t in reversed(range(len(result.tape))):
        seeds = {f"g.out.{n}": np.asarray(g[t], float) for n, g in outputs.items()}
        seeds |= {f"g.out.{n}": np.zeros(lanes) for n, _ in program.outputs if n not in outputs}
        seeds |= {f"g.next.{k}": v for k, v in ahead.items()}
        now = evaluate(reverse.assigns, result.prologue | result.tape[t] | seeds, program)
        by_name = dict(reverse.carry)
        ahead = {
            s.name: np.broadcast_to(now[by_name[s.name]], lanes) if s.name in by_name else np.zeros(lanes)
            for s in program.carry
        }
        for name, value in reverse.coefficients:
            totals[name] = totals.get(name, 0.0) + np.broadcast_to(now[value], lanes)
        found = dict(reverse.inputs)
        for n in program.inputs:
            steps[n].append(np.broadcast_to(now[found[n]], lanes) if n in found else np.zeros(lanes))
    by_input = {n: np.stack(rows[::-1]) if rows else np.zeros((0, *lanes)) for n, rows in steps.items()}
    for s in () if result.given else program.carry:  # several slots may start from one value
        totals[s.init] = totals.get(s.init, 0.0) + ahead[s.name]
    all_found = Gradients(by_input, ahead, _parameter_gradients(program, parameters, result.prologue, totals))
    if not result.sums:
        return all_found
    from neuroode.program.sums import pull_back

    return pull_back(program, parameters, *result.sums, all_found)


def _parameter_gradients(program: Program, parameters: Mapping[str, Array], env: Env, seeds: Env) -> Env:
    trained = [p.name for p in program.parameters if p.trainable]
    code, found = pullback(program.prologue, {k: f"g.{k}" for k in seeds}, trained)
    now = evaluate(code, env | {f"g.{k}": v for k, v in seeds.items()}, program)
    return {p: sum_to(now[found[p]], np.shape(parameters[p])) for p in trained if p in found}


def sum_to(value: Array, shape: tuple[int, ...]) -> Array:
    """Sum what was broadcast, so that the result has `shape`."""
    value = np.asarray(value, float)
    value = value.sum(axis=tuple(range(value.ndim - len(shape)))) if value.ndim > len(shape) else value
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and value.ndim and value.shape[i] != 1)
    return np.broadcast_to(value.sum(axis=axes, keepdims=True), shape)


def _of_lanes(f: Callable[[Array], Array], lanes: tuple[int, ...], over: bool) -> Callable[..., Array]:
    if over:
        return lambda *xs: f(np.stack([np.broadcast_to(x, lanes) for x in xs], axis=-1))
    return lambda x: f(np.broadcast_to(x, lanes))


def _called(a: Assign, values: Env, operators: Functions | None) -> Array:
    """A function across neurons; the entries of a gradient over an axis share one call."""
    function, entry = a.value if isinstance(a.value, tuple) else (str(a.value), None)
    if function not in (operators or {}):
        raise RunError(f"operator '{function}' is not given", hint="pass operators={name: function}")
    key = f"{function}({', '.join(a.args)})"
    if key not in values:
        values[key] = (operators or {})[function](*[values[x] for x in a.args])
    return values[key] if entry is None else values[key][..., entry]


def evaluate(
    assigns: Iterable[Assign],
    env: Mapping[str, Array],
    program: Program | None = None,
    operators: Functions | None = None,
) -> Env:
    """Extend `env` by every assign."""
    values = dict(env)
    strict = {s.name: s.strict for s in program.events} if program else {}
    with np.errstate(all="ignore"):
        for a in assigns:
            if a.op in ("operator", "network"):
                values[a.name] = _called(a, values, operators)
                continue
            part = SHARED.get(a.op)
            values[a.name] = part(a, values) if part else _apply(a, [values[x] for x in a.args], strict)
    return values


def function(formula: Formula) -> Callable[..., tuple[Array, ...]]:
    """A formula as a function: a tuple of arrays for each group of its names -> the tuple of its results."""

    def call(*groups: tuple[Array, ...]) -> tuple[Array, ...]:
        env = {n: v for names, g in zip(formula.arguments, groups, strict=True) for n, v in zip(names, g, strict=True)}
        now = evaluate(formula.assigns, env)
        return tuple(now[r] for r in formula.results)

    return call


def matrix_name(a: Assign) -> str:
    """A key for the matrix whose entries are `expm` ops with these arguments: it is computed once for all of them."""
    return f"expm({', '.join(a.args)})"


def _entry(a: Assign, values: Env) -> Array:
    n, i, j = cast("tuple[int, int, int]", a.value)
    name = matrix_name(a)
    if name not in values:
        values[name] = special.expm(n, [values[x] for x in a.args])
    return values[name][..., i, j]


def _part(a: Assign, values: Env) -> Array:
    """C, S, T (or the slopes U, V) of one argument are found together."""
    k, part = cast("tuple[int, str]", a.value)
    letters = "CST" if part in "CST" else "UV"
    name = f"{letters}({k}, {', '.join(a.args)})"
    if name not in values:
        of = special.pair if letters == "CST" else special.pair_slopes
        values[name] = np.stack(of(k, *[values[x] for x in a.args]))
    return values[name][letters.index(part)]


#: ops whose results are parts of one thing, which is found once
SHARED: dict[str, Callable[[Assign, Env], Array]] = {"expm": _entry, "pair": _part}


def _apply(a: Assign, args: list[Array], strict: Mapping[str, bool]) -> Array:
    if a.op == "event":
        return np.asarray(args[0] > 0 if strict[str(a.value)] else args[0] >= 0).astype(float)
    if a.op in IMMEDIATE:
        return IMMEDIATE[a.op](a.value, *args)
    return np.asarray(NUMPY[a.op](*args), dtype=float)


def _expm(value: tuple[int, int, int], *entries: Array) -> Array:
    n, i, j = value
    return special.expm(n, list(entries))[..., i, j]


def _pair(value: tuple[int, str], m: Array, d: Array) -> Array:
    k, part = value
    found = special.pair(k, m, d) if part in "CST" else special.pair_slopes(k, m, d)
    return found["CST".index(part) if part in "CST" else "UV".index(part)]


def _where(condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition != 0, x, y)


NUMPY: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "pow": np.power,
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0.0, x), "erf": scipy.special.erf, "abs": np.abs, "sign": np.sign,
    "floor": np.floor, "ceil": np.ceil, "round": np.round, "min": np.minimum, "max": np.maximum,
    "gt": np.greater, "ge": np.greater_equal, "where": _where,
    "reset": _where, "edd": special.edd, "detach": lambda x: x,
}  # fmt: skip

IMMEDIATE: dict[str, Callable[..., Array]] = {
    "const": lambda value: np.asarray(value, float),
    "ipow": lambda k, x: np.asarray(x, float) ** k,
    "phi": special.phi,
    "cphi_re": lambda k, a, b: special.phi(k, a + 1j * np.asarray(b)).real,
    "cphi_im": lambda k, a, b: special.phi(k, a + 1j * np.asarray(b)).imag,
    "pair": _pair,
    "expm": _expm,
}
