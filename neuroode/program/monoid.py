"""Steps that compose: monoids as SSA over real numbers, which every target prints as the two functions of a scan.

An element stands for a step of a neuron; `compose(later, earlier)` is the element of both steps, `apply(element,
state)` the state after the step. Composition is associative, so steps may be joined in any grouping (Blelloch 1990,
"Prefix sums and their applications"; the affine case is its section on recurrences).

Outside names of the formulas: `l.NAME` and `e.NAME` (entries of the later and the earlier element), `s.NAME` (state).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from neuroode._errors import LoweringError
from neuroode.program.builder import Builder, live
from neuroode.program.types import Assign

FORMS = ("diagonal", "complex", "dense")
LARGEST = 4  # of a dense block


@dataclass(frozen=True, slots=True)
class Formula:
    """A function from real numbers to real numbers: groups of outside names, assigns, the names of the results."""

    arguments: tuple[tuple[str, ...], ...]
    assigns: tuple[Assign, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Monoid:
    """What a scan needs to know of a kind of step.

    Attributes:
        name: diagonal, complex, dense2 ... dense4, moebius.
        state: names of the state's parts.
        element: names of an element's entries; for affine steps the matrix first, then the drive.
        matrix: how many of the entries are the matrix.
        identity: the element of no step.
        compose: (later, earlier) -> element.
        apply: (element, state) -> state.
        apply_line: for moebius: the state as the point x : y of the projective line, so that a pole is a point like
            any other and `y` changes its sign where the trajectory passes infinity.
    """

    name: str
    state: tuple[str, ...]
    element: tuple[str, ...]
    matrix: int
    identity: tuple[float, ...]
    compose: Formula
    apply: Formula
    apply_line: Formula | None = None


def monoid(form: str, size: int = 1) -> Monoid:
    """The monoid of an affine form (`diagonal`, `complex`, `dense` of `size` states) or `moebius`."""
    if form == "dense":
        return dense(size)
    known = {"diagonal": diagonal, "complex": complex_diagonal, "moebius": moebius}
    if form not in known:
        raise LoweringError(f"no monoid {form!r}; there are {', '.join([*known, 'dense'])}")
    return known[form]()


@cache
def diagonal() -> Monoid:
    """s' = a s + b."""
    return _matrix_steps("diagonal", 1, ((0, 0),), ("s",), ("a",), ("b",))


def dense(size: int, nonzero: Iterable[tuple[int, int]] | None = None) -> Monoid:
    """s' = A s + b with 2 to 4 states.

    Args:
        size: number of states.
        nonzero: entries (row, column) that may differ from zero; products are closed over what they and the diagonal
            reach, and only those are entries of an element, row by row. None: all.
    """
    if not 2 <= size <= LARGEST:
        raise LoweringError(f"a dense block of {size} states; 2 to {LARGEST} are possible")
    everything = [(i, j) for i in range(size) for j in range(size)]
    return _dense(size, closed(size, everything if nonzero is None else nonzero))


def closed(size: int, nonzero: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The entries that products of matrices with these entries, and the identity, may have; row by row."""
    reached = set(nonzero) | {(i, i) for i in range(size)}
    for k, i, j in product(range(size), repeat=3):
        if (i, k) in reached and (k, j) in reached:
            reached.add((i, j))
    return tuple(sorted(reached))


@cache
def _dense(size: int, nonzero: tuple[tuple[int, int], ...]) -> Monoid:
    numbers = range(size)
    matrix = tuple(f"a_{i}_{j}" for i, j in nonzero)
    return _matrix_steps(
        f"dense{size}", size, nonzero, tuple(f"s_{i}" for i in numbers), matrix, tuple(f"b_{i}" for i in numbers)
    )


def _matrix_steps(
    name: str,
    size: int,
    nonzero: tuple[tuple[int, int], ...],
    state: tuple[str, ...],
    matrix: tuple[str, ...],
    drive: tuple[str, ...],
) -> Monoid:
    """Affine steps of the matrices whose entries `nonzero` are named `matrix`."""
    element, numbers = (*matrix, *drive), range(size)
    names = dict(zip(nonzero, matrix, strict=True))

    def terms(b: Builder, row: int, column: Sequence[str]) -> list[str]:
        return [b.emit("mul", f"l.{names[row, k]}", column[k]) for k in numbers if (row, k) in names and column[k]]

    def compose(b: Builder) -> list[str]:
        columns = [[f"e.{names[k, j]}" if (k, j) in names else "" for k in numbers] for j in numbers]
        moved = [f"e.{d}" for d in drive]
        products = [b.sum(terms(b, i, columns[j])) for i, j in nonzero]
        return [*products, *(b.sum([*terms(b, i, moved), f"l.{drive[i]}"]) for i in numbers)]

    def apply(b: Builder) -> list[str]:
        return [b.sum([*terms(b, i, [f"s.{s}" for s in state]), f"l.{drive[i]}"]) for i in numbers]

    ones = tuple(float(i == j) for i, j in nonzero)
    return _monoid(name, state, element, (*ones, *(0.0,) * size), len(matrix), compose, apply)


@cache
def complex_diagonal() -> Monoid:
    """z' = a z + b over complex numbers, each as two real ones."""

    def moved(b: Builder, z: str, other: str) -> list[str]:
        """a z + b, with a and b of the later element."""
        return [b.emit("add", part, f"l.b_{p}") for part, p in zip(_times(b, z, other), ("re", "im"), strict=True)]

    element = ("a_re", "a_im", "b_re", "b_im")
    return _monoid(
        "complex",
        ("re", "im"),
        element,
        (1.0, 0.0, 0.0, 0.0),
        2,
        lambda b: [*_times(b, "e.a_re", "e.a_im"), *moved(b, "e.b_re", "e.b_im")],
        lambda b: moved(b, "s.re", "s.im"),
    )


def _times(b: Builder, re: str, im: str) -> list[str]:
    """The later element's factor times a complex number."""
    direct = b.emit("sub", b.emit("mul", "l.a_re", re), b.emit("mul", "l.a_im", im))
    return [direct, b.emit("add", b.emit("mul", "l.a_re", im), b.emit("mul", "l.a_im", re))]


@cache
def moebius() -> Monoid:
    """x' = (a x + b)/(c x + d): steps of a Riccati equation; composition is the product of [[a, b], [c, d]].

    A matrix stands for its direction only: products are divided by their largest entry (in magnitude, so no sign
    changes), and neither 2^15 expansions nor as many contractions leave the range of numbers.
    """

    def compose(b: Builder) -> list[str]:
        entries = [
            _combination(b, row, f"e.{x}", f"e.{y}") for row in ("ab", "cd") for x, y in (("a", "c"), ("b", "d"))
        ]
        return _normalised(b, entries)

    def apply(b: Builder) -> list[str]:
        above, below = (b.emit("add", b.emit("mul", f"l.{x}", "s.x"), f"l.{y}") for x, y in ("ab", "cd"))
        return [b.emit("div", above, below)]

    entries, identity = ("a", "b", "c", "d"), (1.0, 0.0, 0.0, 1.0)
    line = _formula((_prefixed("l", entries), ("s.x", "s.y")), _on_the_line)
    return _monoid("moebius", ("x",), entries, identity, 4, compose, apply, line)


def _on_the_line(b: Builder) -> list[str]:
    return _normalised(b, [_combination(b, row, "s.x", "s.y") for row in ("ab", "cd")])


def _combination(b: Builder, row: str, x: str, y: str) -> str:
    return b.emit("add", b.emit("mul", f"l.{row[0]}", x), b.emit("mul", f"l.{row[1]}", y))


def _normalised(b: Builder, entries: list[str]) -> list[str]:
    """Entries over the largest magnitude; zeros stay zeros."""
    largest = b.emit("abs", entries[0])
    for e in entries[1:]:
        largest = b.emit("max", largest, b.emit("abs", e))
    scale = b.emit("where", b.emit("gt", largest, b.const(0.0)), largest, b.const(1.0))
    return [b.emit("div", e, scale) for e in entries]


def _monoid(
    name: str,
    state: tuple[str, ...],
    element: tuple[str, ...],
    identity: tuple[float, ...],
    matrix: int,
    compose: Callable[[Builder], list[str]],
    apply: Callable[[Builder], list[str]],
    apply_line: Formula | None = None,
) -> Monoid:
    later, earlier, before = _prefixed("l", element), _prefixed("e", element), _prefixed("s", state)
    return Monoid(
        name=name,
        state=state,
        element=element,
        matrix=matrix,
        identity=identity,
        compose=_formula((later, earlier), compose),
        apply=_formula((later, before), apply),
        apply_line=apply_line,
    )


def _formula(arguments: tuple[tuple[str, ...], ...], results: Callable[[Builder], list[str]]) -> Formula:
    b = Builder()
    for name in (n for group in arguments for n in group):
        b.declare(name, "lane")
    found = results(b)
    return Formula(arguments, live(b.assigns, found), tuple(found))


def _prefixed(letter: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{letter}.{n}" for n in names)
