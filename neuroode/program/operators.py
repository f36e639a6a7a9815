"""Functions across the neurons of a layer: which a declaration wants, and how numpy calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod, sqrt
from types import MappingProxyType
from typing import Any

import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.expr.functions import GRADIENT
from neuroode.program.types import Assign, Program

Array = np.ndarray
Functions = dict[str, Callable[[Any], Any]]
#: kind -> what a function of it maps
SHAPES = {"external": "(B, *size*) -> (B, *size*)", "network": "(B, *size*, axis) -> (B, *size*)"}
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
    external = {n: kind for n, kind in program.operators if kind in ("external", "network")}
    known = ", ".join(external) or "none"
    for name in given:
        if name not in (*external, *optional):
            raise RunError(f"operators names '{name}'; external operators of '{program.name}': {known}")
    for name in external:
        if not callable(given.get(name)):
            what = f"operator '{name}' is a {type(given[name]).__name__}" if name in given else f"no operator '{name}'"
            hint = f"write operators={{'{name}': f}} with f: {SHAPES[external[name]]}"
            raise RunError(f"{what}: '{program.name}' calls it as a function", hint=hint)
        if framework(given[name]) not in ("", *accepted):
            known = ", ".join([*accepted.values(), f"functions {SHAPES[external[name]]}"])
            what = f"operator '{name}' is a module of {framework(given[name])}, which cannot be called here"
            raise RunError(what, hint=f"pass {known}")


def called_operators(declared: Iterable[tuple[str, str]], body: Iterable[Assign]) -> tuple[tuple[str, str], ...]:
    """(name, kind) of what a body calls, and `grad NAME` of the kind `gradient` for gradients of potentials.

    Raises:
        Unsupported: a dense one of all elements of an axis, or an operator of one number here and of an axis there.
    """
    code = tuple(body)
    alone = {str(a.value) for a in code if a.op == "operator"}
    over = {str(a.value[0]) for a in code if a.op == "network" and isinstance(a.value, tuple)}
    rows = [(n, _kind(n, kind, alone, over)) for n, kind in declared if {n, GRADIENT + n} & (alone | over)]
    return (*rows, *((GRADIENT + n, "gradient") for n, _ in rows if GRADIENT + n in alone | over))


def _kind(name: str, kind: str, alone: set[str], over: set[str]) -> str:
    both = {name, GRADIENT + name}
    if not both & over:
        return kind
    if kind == "dense":
        what = f"operator '{name}' is a matrix of the neurons and takes no axis"
        raise Unsupported(what, hint=f"declare it external, or write {name}(q[k]) for each k")
    if both & alone:
        what = f"operator '{name}' is called with one number in one place and with an axis in another"
        raise Unsupported(what, hint="declare two operators")
    return "network"


def check_shape(name: str, found: tuple[int, ...] | None, given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Whether an operator gave what it has to; `found` is None where that is no array.

    Raises:
        RunError: it did not.
    """
    if found != wanted:
        gave = "no array" if found is None else str(found)
        raise RunError(f"operator '{name}' gave {gave} for {given}, expected {wanted}")


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
    over = {n for n, kind in program.operators if kind == "network"}
    return {name: _checked(name, f, name in over) for name, f in found.items()}


def _product(matrix: Array) -> Callable[[Array], Array]:
    return lambda x: (x.reshape(len(x), -1) @ matrix.T).reshape(x.shape)


def _column_sums(matrix: Array) -> Callable[[Array], Array]:
    return lambda x: np.broadcast_to(matrix.sum(0).reshape(x.shape[1:]), x.shape)


def _checked(name: str, f: Callable[[Array], Any], energy: bool) -> Callable[[Array], Array]:
    def call(x: Array) -> Array:
        y = np.asarray(f(x), float)
        wanted = x.shape[:-1] if energy else x.shape
        y = y[..., 0] if energy and y.shape == (*wanted, 1) else y
        check_shape(name, y.shape, x.shape, wanted)
        return y

    return call
