"""Ops as C expressions, and values as C names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from neuroode._errors import LoweringError
from neuroode.program.types import Assign

REAL = {"float32": "float", "float64": "double"}

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
#: functions of libm, which has them with the suffix f for float
LIBM = {
    "log": "log", "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan", "atan2": "atan2",
    "sinh": "sinh", "cosh": "cosh", "erf": "erf", "abs": "fabs", "floor": "floor", "ceil": "ceil", "round": "rint",
    "pow": "pow",
}  # fmt: skip
#: our own functions: sections of the maths texts
OWN = {
    "exp": "real_exp", "expm1": "real_expm1", "tanh": "real_tanh", "sigmoid": "real_sigmoid",
    "softplus": "real_softplus", "min": "real_min", "max": "real_max", "sign": "real_sign",
}  # fmt: skip
#: the same for the prologue, which needs no vectors but every digit
PLAIN = {
    "exp": "exp({})", "expm1": "expm1({})", "tanh": "tanh({})", "sigmoid": "1 / (1 + exp(-({})))",
    "softplus": "fmax({0}, 0) + log1p(exp(-fabs({0})))", "min": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "max": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "sign": "({0} > 0) - ({0} < 0)",
}  # fmt: skip
#: functions in double precision that do not vectorise
SPECIAL = {"phi": "phi", "cphi_re": "cphi_re", "cphi_im": "cphi_im", "edd": "edd", "pair": "pair"}


def sections_of(assigns: Iterable[Assign], prologue: Iterable[Assign] = ()) -> list[str]:
    """The sections of the maths texts that the assigns of loops and of a prologue call."""
    once = SPECIAL | {"expm": "matrix_exp"}
    loops = OWN | once
    found = {loops[a.op] for a in assigns if a.op in loops} | {once[a.op] for a in prologue if a.op in once}
    return sorted(found)


class Names:
    """C identifiers for values: `c.v` is c_v, `%7` is t7, `&7` is d7; always the same and never the same twice."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._used: set[str] = set()

    def __call__(self, name: str) -> str:
        if name not in self._given:
            plain = re.sub(r"\W+", "_", name.replace("%", "t").replace("&", "d")).strip("_")
            unique, n = plain, 2
            while unique in self._used:
                unique, n = f"{plain}_{n}", n + 1
            self._used.add(unique)
            self._given[name] = unique
        return self._given[name]


def literal(value: object, dtype: str) -> str:
    """A number as a C constant of the dtype."""
    x = float(value)  # type: ignore[arg-type]
    if np.isnan(x):
        return "NAN"
    if np.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    if dtype == "float64":
        return repr(x)
    with np.errstate(over="ignore"):
        single = np.float32(x)
    return f"{single!s}f" if np.isfinite(single) else literal(float(single), dtype)


def statement(a: Assign, value: Callable[[str], str], name: str, dtype: str, kind: str = "real") -> list[str]:
    """The lines that compute one assign.

    Args:
        value: writes an argument.
        kind: the C type: `real` in the loops, `double` in the prologue.
    """
    args = [value(x) for x in a.args]
    if a.op == "ipow":
        return _powers(name, args[0], a.value, kind)
    if kind == "double" and a.op in PLAIN:
        return [f"const double {name} = {PLAIN[a.op].format(*args)};"]
    return [f"const {kind} {name} = {_expression(a, args, dtype)};"]


def matrix_entry(
    a: Assign, value: Callable[[str], str], name: str, matrices: dict[tuple[str, ...], str], kind: str = "real"
) -> list[str]:
    """The lines of one entry of a matrix exponential; all entries of one share its call, `matrices` knows its name."""
    n, i, j = cast("tuple[int, int, int]", a.value)
    lines = []
    if a.args not in matrices:
        matrices[a.args] = matrix = f"matrix{len(matrices)}"
        entries = ", ".join(value(x) for x in a.args)
        lines += [f"double {matrix}[{n * n}];", f"matrix_exp({n}, (const double[]){{{entries}}}, {matrix});"]
    return [*lines, f"const {kind} {name} = ({kind}){matrices[a.args]}[{n * i + j}];"]


def _expression(a: Assign, args: list[str], dtype: str) -> str:
    if a.op in INFIX:
        return f"{args[0]} {INFIX[a.op]} {args[1]}"
    if a.op in LIBM:
        return f"{LIBM[a.op]}{'f' if dtype == 'float32' else ''}({', '.join(args)})"
    if a.op in OWN:
        return f"{OWN[a.op]}({', '.join(args)})"
    cast_to = "(float)" if dtype == "float32" else ""
    if a.op == "edd":
        return f"{cast_to}edd({len(args)}, (const double[]){{{', '.join(args)}}})"
    if a.op == "pair":
        k, part = cast("tuple[int, str]", a.value)
        return f"{cast_to}pair({k}, {'CSTUV'.index(part)}, {', '.join(args)})"
    if a.op in SPECIAL:
        return f"{cast_to}{SPECIAL[a.op]}({a.value}, {', '.join(args)})"
    one, zero = literal(1, dtype), literal(0, dtype)
    match a.op:
        case "neg":
            return f"-{args[0]}" if not args[0].startswith("-") else f"-({args[0]})"
        case "detach":
            return args[0]
        case "gt" | "ge":
            return f"{args[0]} {'>' if a.op == 'gt' else '>='} {args[1]} ? {one} : {zero}"
        case "where" | "reset":
            return f"{args[0]} != 0 ? {args[1]} : {args[2]}"
    raise LoweringError(f"the C target has no op {a.op!r} here")


def _powers(name: str, base: str, exponent: object, kind: str) -> list[str]:
    """x^k by squaring."""
    assert isinstance(exponent, int)
    lines, factors, square, size = [], [], base, 1
    while size <= abs(exponent):
        if abs(exponent) & size:
            factors.append(square)
        size *= 2
        if size <= abs(exponent):
            lines.append(f"const {kind} {name}_{size} = {square} * {square};")
            square = f"{name}_{size}"
    product = " * ".join(factors) or "1"
    return [*lines, f"const {kind} {name} = {product if exponent >= 0 else f'1 / ({product})'};"]
