"""The linear flows of a neuron in numbers: real coordinates, complex states as real and imaginary part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import scipy.special
import sympy as sp

from neuroode.analysis.modes import input_column
from neuroode.analysis.response import StateSpace
from neuroode.analysis.symbols import HELD
from neuroode.analysis.types import Report
from neuroode.system.types import OdeSystem

Array = np.ndarray


def _phi(k: int, z: Array) -> Array:
    z = np.asarray(z) + 0.0
    with np.errstate(all="ignore"):
        value = np.where(np.abs(z) < 1e-5, 1 + z / 2, np.expm1(z) / np.where(z == 0, 1, z))
    for j in range(1, k):
        value = (value - 1 / scipy.special.factorial(j)) / z
    return value


def _pick(c: Array, a: Array, b: Array) -> Array:
    return np.where(c != 0, a, b)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "phi": _phi, "sigmoid": scipy.special.expit, "softplus": lambda x: np.logaddexp(0, x), "maximum": np.maximum,
    "minimum": np.minimum, "gate": lambda m, strict: np.where(m > 0 if strict else m >= 0, 1.0, 0.0),
    "pick": _pick, "rounded": np.round, "detach": lambda x: x,
}  # fmt: skip


def evaluate(M: sp.Matrix, values: Mapping[str, Array | float]) -> Array:
    """A matrix of expressions at numbers by symbol name: (*shape of the numbers*, rows, columns), complex."""
    shape = np.broadcast_shapes(*(np.shape(v) for v in values.values()), ())
    found = np.empty((*shape, *M.shape), complex)
    for i in range(M.rows):
        for j in range(M.cols):
            found[..., i, j] = _number(M[i, j], values)
    return found


MOST = 2**53  # beyond, numpy takes a whole number for an object


def _number(e: sp.Expr, values: Mapping[str, Array | float]) -> Array:
    symbols = sorted(e.free_symbols, key=str)
    e = e.xreplace({n: sp.Float(n) for n in e.atoms(sp.Integer) if abs(n) > MOST})
    with np.errstate(all="ignore"):
        return sp.lambdify(symbols, e, [FUNCTIONS, "scipy", "numpy"])(*(values[s.name] for s in symbols))


def at_silence(system: OdeSystem, e: sp.Matrix) -> sp.Matrix:
    """Without events, past states at their inits, inputs 0."""
    left = {}
    for s in e.free_symbols:
        if match := HELD.match(s.name):
            known = {x.name: x.init for x in system.states}
            left[s] = known.get(match["name"], sp.S.Zero)
    return e.subs(left)


def linear_states(report: Report) -> tuple[str, ...]:
    """Flow states that move linearly."""
    return tuple(s for b in report.blocks if b.A is not None for s in b.states)


def flow_in_numbers(report: Report, values: Mapping[str, Array | float]) -> StateSpace | None:
    """The linear flows of one neuron: x' = A x + B u, rows: states, parts of complex states, affine outputs.

    None without linear flows.
    """
    states = linear_states(report)
    if not states:
        return None
    system, parts = report.system, _parts(report.system, states)
    A, B = np.zeros((len(parts), len(parts))), np.zeros((len(parts), len(system.inputs)))
    for block in (b for b in report.blocks if b.A is not None):
        at = np.array([i for i, (s, _) in enumerate(parts) if s in block.states])
        A[np.ix_(at, at)] = _real(system, block.states, evaluate(at_silence(system, block.A), values))
        for j, name in enumerate(system.inputs):
            c = input_column(system, block, name)
            if c is not None:
                B[at, j] = _real_column(system, block.states, evaluate(at_silence(system, c), values)[:, 0])
    rows = dict(_rows(system, parts, values))
    names = tuple(rows)
    return StateSpace(A, B, np.array(list(rows.values())), np.zeros((len(rows), B.shape[1])), system.inputs, names)


def _parts(system: OdeSystem, states: tuple[str, ...]) -> list[tuple[str, str]]:
    """(state, '' | 're' | 'im') for each real coordinate."""
    return [(s, p) for s in states for p in (("re", "im") if system.is_complex(s) else ("",))]


def _real(system: OdeSystem, states: tuple[str, ...], A: Array) -> Array:
    """Each entry as what it does to real parts: a complex number as [[a, -b], [b, a]]."""
    rows = []
    for i, s in enumerate(states):
        entries = [_entry(A[i, j], system.is_complex(s), system.is_complex(r)) for j, r in enumerate(states)]
        rows.append(np.concatenate(entries, axis=1))
    return np.concatenate(rows)


def _entry(a: complex, tall: bool, wide: bool) -> Array:
    full = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return full[: 2 if tall else 1, : 2 if wide else 1]


def _real_column(system: OdeSystem, states: tuple[str, ...], c: Array) -> list[float]:
    found: list[float] = []
    for s, value in zip(states, c, strict=True):
        found += [value.real, value.imag] if system.is_complex(s) else [value.real]
    return found


def _rows(
    system: OdeSystem, parts: list[tuple[str, str]], values: Mapping[str, Array | float]
) -> Iterator[tuple[str, Array]]:
    """Name -> row of C: every state, parts of complex ones, and outputs that are affine in them."""
    unit = np.eye(len(parts), dtype=complex)
    for i, (s, part) in enumerate(parts):
        if part == "re":
            yield from ((s, unit[i] + 1j * unit[i + 1]), (f"real({s})", unit[i]), (f"imag({s})", unit[i + 1]))
        elif not part:
            yield s, unit[i]
    for name, e in system.outputs:
        row = output_row(system, parts, e, values)
        if row is not None and not any(np.array_equal(row, known) for known in unit):
            yield f"output {name}", row


def output_row(
    system: OdeSystem, parts: list[tuple[str, str]], e: sp.Expr, values: Mapping[str, Array | float]
) -> Array | None:
    """The row of an output in the coordinates, where it is affine in them and reads nothing else but parameters."""
    coordinates = [sp.Dummy(s + part, real=True) for s, part in parts]
    left: dict[sp.Symbol, sp.Expr] = {}
    for i, (s, part) in enumerate(parts):
        if part != "im" and (symbol := system.symbols.get(f"{s}[t]")) is not None:
            left[symbol] = coordinates[i] + (sp.I * coordinates[i + 1] if part else 0)
    e = sp.expand(e.subs(left))
    slopes = sp.Matrix([[sp.diff(e, c) for c in coordinates]])
    known = {system.symbols[n] for n in values if n in system.symbols}
    if slopes.is_zero_matrix or (e.free_symbols - known - set(coordinates)) or slopes.has(*coordinates):
        return None
    return evaluate(slopes, values)[0]
