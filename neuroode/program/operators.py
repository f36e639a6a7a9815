"""Functions across the neurons of a layer: which a declaration wants, and how numpy calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod, sqrt
from types import MappingProxyType
from typing import Any

import numpy as np

from neuroode._errors import RunError
from neuroode.expr.functions import GRADIENT
from neuroode.program.types import Assign, Program

Array = np.ndarray
Functions = dict[str, Callable[[Any], Any]]
NONE: Mapping[str, str] = MappingProxyType({})
FRAMEWORKS = ("torch", "equinox", "flax", "keras")  # whose modules may come as operators, or come by mistake


def framework(given: Any) -> str:
    """The framework that an object's class comes from, if it is one of FRAMEWORKS; else empty. Imports none."""
    roots = {c.__module__.partition(".")[0] for c in type(given).__mro__}
    return next((f for f in FRAMEWORKS if f in roots), "")


def check_operators(
    program: Program, given: Mapping[str, Any], optional: tuple[str, ...] = (), accepted: Mapping[str, str] = NONE
) -> None:
    """Whether every external operator is given, and nothing else; dense ones may be where they are `optional`.

    Args:
        accepted: frameworks whose modules can be called here, and what they are called in an error.

    Raises:
        RunError: a name too many or too few, something that cannot be called, a module of another framework.
    """
    external = [n for n, kind in program.operators if kind == "external"]
    known = ", ".join(external) or "none"
    for name in given:
        if name not in (*external, *optional):
            raise RunError(f"operators names '{name}'; external operators of '{program.name}': {known}")
    for name in external:
        if not callable(given.get(name)):
            what = f"operator '{name}' is a {type(given[name]).__name__}" if name in given else f"no operator '{name}'"
            hint = f"write operators={{'{name}': f}} with f: (B, *size*) -> (B, *size*)"
            raise RunError(f"{what}: '{program.name}' calls it as a function", hint=hint)
        if framework(given[name]) not in ("", *accepted):
            known = ", ".join([*accepted.values(), "functions of (B, *size*)"])
            what = f"operator '{name}' is a module of {framework(given[name])}, which cannot be called here"
            raise RunError(what, hint=f"pass {known}")


def called_operators(declared: Iterable[tuple[str, str]], body: Iterable[Assign]) -> tuple[tuple[str, str], ...]:
    """(name, kind) of what a body calls, and `grad NAME` of the kind `gradient` for gradients of potentials."""
    called = {str(a.value) for a in body if a.op == "operator"}
    rows = [(n, kind) for n, kind in declared if {n, GRADIENT + n} & called]
    return (*rows, *((GRADIENT + n, "gradient") for n, _ in rows if GRADIENT + n in called))


def bound(size: tuple[int, ...]) -> float:
    """A dense matrix starts uniform in -bound..bound (Glorot and Bengio 2010, eq. 16, for N to N)."""
    return sqrt(3 / prod(size))


def functions(program: Program, given: Mapping[str, Any], size: tuple[int, ...], rng: np.random.Generator) -> Functions:
    """What the interpreter calls, by name; `given` has functions of (B, *size*), and (N, N) matrices of dense ones;
    the gradient of the sum of a function as `grad NAME` where it stands in a potential.

    Raises:
        RunError: names, or shapes that do not fit.
    """
    dense = tuple(n for n, kind in program.operators if kind == "dense")
    slopes = tuple(n for n, kind in program.operators if kind == "gradient")
    check_operators(program, given, dense + slopes)
    n, found = prod(size), {k: f for k, f in given.items() if k not in dense}
    for name in dense:
        matrix = np.asarray(given.get(name, rng.uniform(-bound(size), bound(size), (n, n))), float)
        if matrix.shape != (n, n):
            raise RunError(f"operator '{name}' is {matrix.shape}, expected ({n}, {n})")
        found[name] = _product(matrix)
        found[GRADIENT + name] = _column_sums(matrix)
    for name in slopes:
        if name not in found:
            raise RunError(
                f"'{program.name}' needs the gradient of '{name.removeprefix(GRADIENT)}', which numpy cannot derive",
                hint=f"write operators={{..., '{name}': g}} with g(x) the gradient of f(x).sum()",
            )
    return {name: _same_shape(name, f) for name, f in found.items()}


def _product(matrix: Array) -> Callable[[Array], Array]:
    return lambda x: (x.reshape(len(x), -1) @ matrix.T).reshape(x.shape)


def _column_sums(matrix: Array) -> Callable[[Array], Array]:
    return lambda x: np.broadcast_to(matrix.sum(0).reshape(x.shape[1:]), x.shape)


def _same_shape(name: str, f: Callable[[Array], Any]) -> Callable[[Array], Array]:
    def call(x: Array) -> Array:
        y = np.asarray(f(x), float)
        if y.shape != x.shape:
            raise RunError(f"operator '{name}' gave {y.shape} for {x.shape}; it maps (B, *size*) to the same shape")
        return y

    return call
