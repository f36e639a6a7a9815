"""Linear recurrences of stages by the solvers: which blocks, which monoid, which entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from neuroode._errors import RunError, Unsupported
from neuroode.emit.monoid import monoid_text
from neuroode.emit.python_jax import JAX, SUPPORT
from neuroode.program.monoid import LARGEST, Monoid, dense, monoid
from neuroode.program.partition import Stage
from neuroode.program.types import Program
from neuroode.solvers.on_jax import convolution_jax, parallel_jax

Array = jax.Array
Row = tuple[Array, ...]
Pair = tuple[int, int]
HEADER = "import functools\nimport math\n\nimport jax\nimport jax.numpy as jnp\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scan runs: cut over time along an axis of a mesh, or as one piece."""

    mesh: Mesh | None = None
    axis: str = "time"

    def cut(self, x: Array) -> Array:
        """A sequence (T, ...) with its steps on the devices that scan them; other axes stay where they are."""
        if self.mesh is None or x.shape[0] % self.mesh.shape[self.axis]:
            return x
        others = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, PartitionSpec(self.axis, *others)))


WHOLE = Place()
AUTO = 'write jax.make_mesh((8,), ("time",), axis_types=(jax.sharding.AxisType.Auto,))'
_PLAIN = ("diagonal", "dense")  # forms of one number and of a matrix


def place_of(mesh: Any, axis: str, schedule: str) -> Place:
    """Of a layer's options.

    Raises:
        RunError: no mesh of jax, one with explicit axes, or no such axis.
        Unsupported: another schedule than scan.
    """
    if mesh is None:
        return WHOLE
    if not isinstance(mesh, Mesh):
        raise RunError(f"mesh is a {type(mesh).__name__}", hint=AUTO)
    if axis not in mesh.shape:
        raise RunError(f"the mesh has no axis '{axis}'", hint=f"time= one of {', '.join(map(str, mesh.axis_names))}")
    if schedule != "scan":
        raise Unsupported(f"schedule '{schedule}' does not run on a mesh", hint='schedule="scan"')
    if set(mesh.axis_types) != {AxisType.Auto}:
        hint = f"{AUTO}, or jax.sharding.Mesh(devices, names)"
        raise RunError("a layer cuts time over a mesh whose axes are automatic; these are explicit", hint=hint)
    return Place(mesh, axis)


@cache
def functions(kind: Monoid) -> tuple[Callable[[Row, Row], Row], Callable[[Row, Row], Row]]:
    """`compose` and `apply`, printed; of Moebius maps the one that moves points of the line."""
    space = ModuleType(f"neuroode_{kind.name}_jax").__dict__
    exec(compile(HEADER + SUPPORT + "\n\n" + monoid_text(kind, JAX), f"<neuroode scan {kind.name}>", "exec"), space)
    return space["compose"], space["apply_line" if kind.apply_line else "apply"]


def solve(stage: Stage, matrix: Sequence[Array], drive: Sequence[Array], start: Sequence[Array], place: Place) -> Row:
    """Slots of an affine stage after each step, (T, B, *size*).

    Args:
        matrix: entries of each block row by row; they broadcast against (T, B, *size*).
        drive: (T, B, *size*) each. start: (B, *size*) each.
    """
    shape = drive[0].shape
    entries, form = _Entries(stage, matrix, len(shape)), stage.form or _PLAIN[stage.size > 1]
    kind, rows = entries.elements(form, _nonzero(stage.matrix))
    found = _scan(kind, (*rows, *_blocks(stage, drive, 1)), _blocks(stage, start, 0), shape[0], place)
    return _slots(stage, found)


def moebius(entries: Sequence[Array], start: Array, shape: tuple[int, ...], place: Place) -> Array:
    """The state (T, B, *size*) after each step of x' = (a x + b)/(c x + d).

    Scanned as a point of the projective line, of which infinity is one; at infinity itself the state is the largest
    that a step leaves (discretize/riccati.py).
    """
    rank, x = len(shape), jnp.broadcast_to(start, shape[1:])
    rows = tuple(jnp.reshape(e, (1,) * (rank - e.ndim) + e.shape) for e in entries)
    above, below = _scan(monoid("moebius"), rows, (x, jnp.ones_like(x)), shape[0], place)
    return above / jnp.where(below == 0, 1e-16, below)


def convolve(stage: Stage, matrix: Sequence[Array], drive: Sequence[Array], start: Sequence[Array]) -> Row:
    """The same by FFT, for a matrix that never changes."""
    rows = _Entries(stage, matrix, drive[0].ndim).invariant(stage.form)
    return _slots(stage, _convolution(stage.form, rows, _blocks(stage, drive, 1), _blocks(stage, start, 0)))


def adjoint(stage: Stage, slopes: Sequence[Array], grads: Sequence[Array], place: Place, *, fft: bool = False) -> Row:
    """lambda[t] = g[t] + J[t+1]' lambda[t+1], from the entries of J and the cotangents g, (T, B, *size*) each."""
    steps, last = grads[0].shape[0], [g[-1] for g in grads]
    later = [j[1:] if j.ndim == grads[0].ndim and j.shape[0] > 1 else j for j in slopes]
    entries, form = _Entries(stage, later, grads[0].ndim, transposed=True), _form_of_slopes(stage)
    drive, start = _blocks(stage, [g[:-1] for g in grads], 1), _blocks(stage, last, 0)
    if fft and stage.invariant and stage.kind == "affine":
        found = _convolution(form, entries.invariant(form), drive, start, reverse=True)
    elif stage.size > LARGEST:
        found = _step_by_step(entries, drive, start)
    else:
        kind, rows = entries.elements(form, {(j, i) for i, j in _nonzero(stage.jacobian)})
        found = _scan(kind, (*rows, *drive), start, steps - 1, place, reverse=True)
    return tuple(jnp.concatenate([f, e[None]]) for f, e in zip(_slots(stage, found), last, strict=True))


def _scan(kind: Monoid, elements: Row, start: Row, steps: int, place: Place, *, reverse: bool = False) -> Row:
    compose, apply = functions(kind)
    return parallel_jax.scan(
        compose, apply, kind.identity, elements, start,
        reverse=reverse, steps=steps, mesh=place.mesh, axis=place.axis,
    )  # fmt: skip


def _convolution(form: str, matrix: Row, drive: Row, start: Row, *, reverse: bool = False) -> Row:
    once = tuple(m[0] for m in matrix)
    return convolution_jax.affine_invariant(form, once, drive, start, reverse=reverse)


def _form_of_slopes(stage: Stage) -> str:
    """A matrix in complex form may have a Jacobian without it, where something is detached."""
    same = stage.jacobian is not None and stage.jacobian.outputs == stage.matrix.outputs  # type: ignore[union-attr]
    return stage.form if same and stage.form else _PLAIN[stage.size > 1]


def _nonzero(program: Program | None) -> set[Pair]:
    """Entries that are not zero in every block by what the program says."""
    assert program is not None
    zeros = {a.name for a in program.body if a.op == "const" and a.value == 0.0}
    named = [(n.split(".")[2:], v) for n, v in program.outputs]
    return {(int(i), int(j)) for (i, j), v in named if v not in zeros}


class _Entries:
    """Entries of the blocks of a stage, side by side along a new axis 1."""

    def __init__(self, stage: Stage, rows: Sequence[Array], rank: int, *, transposed: bool = False) -> None:
        n = self.size = stage.size
        wide = [jnp.reshape(r, (1,) * (rank - r.ndim) + r.shape) for r in rows]
        blocks = range(len(stage.slots) // n)
        self.transposed = transposed
        self.at = {(i, j): _stacked([wide[(k * n + i) * n + j] for k in blocks]) for i in range(n) for j in range(n)}

    def __getitem__(self, at: Pair) -> Array:
        return self.at[at[::-1] if self.transposed else at]

    def elements(self, form: str, nonzero: set[Pair]) -> tuple[Monoid, Row]:
        """The monoid and the matrix part of its elements."""
        if form != "dense":
            return monoid(form), self.invariant(form)
        kind = dense(self.size, tuple(sorted(nonzero)))
        places = [(int(i), int(j)) for _, i, j in (name.split("_") for name in kind.element[: kind.matrix])]
        return kind, tuple(self[p] for p in places)

    def invariant(self, form: str) -> Row:
        """(a), (a, b) of a + i b, or all entries row by row."""
        if form == "diagonal":
            return (self[0, 0],)
        if form == "complex":
            return self[0, 0], self[1, 0]
        return tuple(self[i, j] for i in range(self.size) for j in range(self.size))


def _step_by_step(entries: _Entries, drive: Row, start: Row) -> Row:
    """Reverse, for blocks larger than a scan is written for."""
    n, shape = entries.size, drive[0].shape
    matrix = {p: jnp.broadcast_to(entries[p], (shape[0], *entries[p].shape[1:])) for p in entries.at}

    def step(after: Row, now: tuple[dict[Pair, Array], Row]) -> tuple[Row, Row]:
        a, b = now
        before = tuple(b[i] + sum(a[i, j] * after[j] for j in range(n)) for i in range(n))
        return before, before

    return jax.lax.scan(step, start, (matrix, drive), reverse=True)[1]


def _stacked(rows: Sequence[Array]) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*rows), axis=1)


def _blocks(stage: Stage, rows: Sequence[Array], axis: int) -> Row:
    """One array for each state of a block, with the blocks along `axis`."""
    n = stage.size
    return tuple(jnp.stack(rows[i::n], axis=axis) for i in range(n))


def _slots(stage: Stage, found: Row) -> Row:
    n = stage.size
    return tuple(found[i % n][:, i // n] for i in range(len(stage.slots)))


class Branches:
    """The blocks of a diagonal or complex stage as numbers along a last axis."""

    def __init__(self, stage: Stage, size: tuple[int, ...]) -> None:
        self.stage, self.size = stage, size

    def numbers(self, rows: Mapping[str, Array], prefix: str) -> Array:
        """(*size*, n) from a row for each slot; of complex blocks real and imaginary part."""
        return self.together([jnp.broadcast_to(rows[f"{prefix}{s}"], self.size) for s in self.stage.slots])

    def factors(self, entries: Sequence[Array]) -> Array:
        """(*size*, n) from the entries of all blocks."""
        n = self.stage.size
        wanted = [entries[k * n * n + i * n] for k in range(len(self.stage.blocks)) for i in range(n)]
        return self.together([jnp.broadcast_to(e, self.size) for e in wanted])

    def together(self, rows: Sequence[Array]) -> Array:
        """(..., n) from a row for each slot."""
        if self.stage.form == "diagonal":
            return jnp.stack(rows, -1)
        return jax.lax.complex(jnp.stack(rows[::2], -1), jnp.stack(rows[1::2], -1))

    def apart(self, numbers: Array, dtype: Any) -> list[Array]:
        """A row for each slot again."""
        each = [numbers[..., k] for k in range(numbers.shape[-1])]
        if self.stage.form == "diagonal":
            return [x.astype(dtype) for x in each]
        return [part.astype(dtype) for z in each for part in (jnp.real(z), jnp.imag(z))]
