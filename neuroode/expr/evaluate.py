"""Numbers from expressions of parameters: values, inits with their draws, bounds, checks. In numpy, double."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neuroode._errors import SpecError
from neuroode.expr.nodes import Binary, Call, Compare, Cond, Expr, Logic, Neg, Num, Ref
from neuroode.expr.units import scale_and_dimension

Array = np.ndarray

OPERATORS: dict[str, Callable] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power,
    ">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal,
}  # fmt: skip


def _exprel(x: Array) -> Array:
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, np.expm1(safe) / safe)


FUNCTIONS: dict[str, Callable] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh,
    "cosh": np.cosh, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "relu": lambda x: np.maximum(x, 0), "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil,
    "round": np.round, "real": np.real, "imag": np.imag, "conj": np.conj, "arg": np.angle, "exprel": _exprel,
    "clip": np.clip, "where": np.where, "detach": lambda x: x, "straight_through": lambda a, b: a,
}  # fmt: skip

DRAWS: dict[str, Callable] = {
    "uniform": lambda rng, shape, a, b: rng.uniform(a, b, shape),
    "normal": lambda rng, shape, mean, std: rng.normal(mean, std, shape),
    "log_uniform": lambda rng, shape, a, b: np.exp(rng.uniform(np.log(a), np.log(b), shape)),
    "log_normal": lambda rng, shape, mean, std: np.exp(rng.normal(mean, std, shape)),
}


def evaluate(
    node: Expr | Cond,
    values: Mapping[str, Array | float],
    rng: np.random.Generator | None = None,
    shape: tuple[int, ...] = (),
) -> Array:
    """The number(s) an expression stands for.

    Args:
        values: every name that may be read, `dt` included; in base units where the model has units.
        rng, shape: for draws; each occurrence draws an array of `shape`.

    Raises:
        SpecError: a name or function that has no value here.
    """
    match node:
        case Num():
            scale = scale_and_dimension(node.unit)[0] if node.unit else 1
            return np.asarray(float(node.value * scale) * (1j if node.imaginary else 1))
        case Neg():
            return -evaluate(node.arg, values, rng, shape)
        case Ref():
            return _read(node, values)
        case Binary() | Compare():
            left, right = evaluate(node.left, values, rng, shape), evaluate(node.right, values, rng, shape)
            return OPERATORS[node.op](np.asarray(left) + 0.0, right)
        case Logic():
            parts = [evaluate(a, values, rng, shape) for a in node.args]
            if node.op == "not":
                return np.logical_not(parts[0])
            return (np.logical_and if node.op == "and" else np.logical_or).reduce(parts)
        case Call():
            args = [evaluate(a, values, rng, shape) for a in node.args]
            return _call(node.name, args, rng, shape)
    raise SpecError(f"{node!r} has no value here")


def _read(node: Ref, values: Mapping[str, Array | float]) -> Array:
    if node.name in values:
        return np.asarray(values[node.name])
    fixed = {"pi": np.pi, "i": 1j, "inf": np.inf}
    if node.name in fixed:
        return np.asarray(fixed[node.name])
    raise SpecError(
        f"'{node.name}' has no value here", hint="only parameters, dt and numbers can be read in an init or bound"
    )


def _call(name: str, args: list[Array], rng: np.random.Generator | None, shape: tuple[int, ...]) -> Array:
    if name in DRAWS:
        if rng is None:
            raise SpecError(f"'{name}' draws a random number, which is only possible in an init")
        return DRAWS[name](rng, shape, *args)
    if name in ("min", "max"):
        return (np.minimum if name == "min" else np.maximum).reduce(np.broadcast_arrays(*args))
    if name not in FUNCTIONS:
        raise SpecError(f"function '{name}' has no value here")
    return np.asarray(FUNCTIONS[name](*args))
