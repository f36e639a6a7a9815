"""The syntax tree of the equation language: frozen nodes that compare by meaning, never by place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest
from typing import Any, TypeVar

from neuroode._errors import Place
from neuroode.expr.origin import Origin

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a node starts in its text: line and column from 1, and its width in characters."""

    line: int = 1
    column: int = 1
    width: int = 1
    origin: Origin | None = field(default=None, compare=False, repr=False)

    @property
    def place(self) -> Place:
        """The place in the file; an empty one for nodes that no text made."""
        return self.origin.place(self.line, self.column, self.width) if self.origin else Place()


class _Tree:
    """Equality and hash by one flat pass: a sum of thousands of terms is a tree of that depth."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Tree):
            return NotImplemented
        return all(a == b for a, b in zip_longest(_flat(self), _flat(other)))

    def __hash__(self) -> int:
        return hash(tuple(_flat(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unflatten, (tuple(_flat(self)),)  # without places, and without recursion

    def __repr__(self) -> str:
        from neuroode.expr.show import show  # the printer reads these types

        return f"<{show(self)}>"  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Num(_Tree):
    """A literal. Decimals are exact; `2i` is imaginary; `50 mV` carries its unit."""

    value: Fraction
    imaginary: bool = False
    unit: str | None = None
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TimeIndex(_Tree):
    """`[t - lag]`; lag 0 is `[t]`. A positive lag looks back."""

    lag: Expr = Num(Fraction(0))
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ref(_Tree):
    """A name, its primes (`x'`), its axis indices (names or whole numbers) and, last, its time index."""

    name: str
    primes: int = 0
    indices: tuple[str | int, ...] = ()
    time: TimeIndex | None = None
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(_Tree):
    """A built-in function, an operator of the layer, `sum_k(...)` or `mean_k(...)`."""

    name: str
    args: tuple[Expr | Cond, ...]
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Neg(_Tree):
    arg: Expr
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(_Tree):
    """op is one of + - * / ^."""

    op: str
    left: Expr
    right: Expr
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Compare(_Tree):
    """op is one of > >= < <=."""

    op: str
    left: Expr
    right: Expr
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Logic(_Tree):
    """op is `and`, `or` (two arguments) or `not` (one)."""

    op: str
    args: tuple[Cond, ...]
    mark: Mark = field(default=Mark(), compare=False)


Expr = Num | Ref | Call | Neg | Binary
Cond = Compare | Logic
Node = Num | Ref | Call | Neg | Binary | Compare | Logic | TimeIndex


def children(node: Node) -> list[Node]:
    """The nodes directly below, in the order of the text."""
    match node:
        case Binary() | Compare():
            return [node.left, node.right]
        case Neg():
            return [node.arg]
        case Call() | Logic():
            return list(node.args)
        case Ref():
            return [node.time] if node.time else []
        case TimeIndex():
            return [node.lag]
    return []


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text. Iterative: a long sum is a deep tree."""
    stack: list[Node] = [node]
    while stack:
        top = stack.pop()
        yield top
        stack += reversed(children(top))


def fold(node: Node, combine: Callable[[Any, list[Result]], Result]) -> Result:
    """What `combine(node, results of its children)` gives for the whole tree, bottom up, without recursion."""
    order = list(walk(node))
    done: list[Result] = []
    for each in reversed(order):
        count = len(children(each))
        below = [done.pop() for _ in range(count)]
        done.append(combine(each, below))
    return done.pop()


def rebuild(node: Any, below: list[Any]) -> Any:
    """The node with other children, in the order of `children`."""
    match node:
        case Binary() | Compare():
            return replace(node, left=below[0], right=below[1])
        case Neg():
            return replace(node, arg=below[0])
        case Call() | Logic():
            return replace(node, args=tuple(below))
        case Ref():
            return replace(node, time=below[0]) if below else node
        case TimeIndex():
            return replace(node, lag=below[0])
    return node


def names(node: Node) -> set[str]:
    """Names that the tree reads, functions and axis indices apart."""
    return {n.name for n in walk(node) if isinstance(n, Ref)}


def _flat(node: Any) -> Iterator[tuple[Any, ...]]:
    """The tree as a row of (type, own values, number of children): equal rows, equal trees."""
    for each in walk(node):
        own = tuple(getattr(each, name) for name in _OWN[type(each)])
        yield type(each), own, len(children(each))


def _unflatten(rows: tuple[tuple[Any, ...], ...]) -> Node:
    """The tree of the rows that `_flat` made."""
    done: list[Node] = []
    for kind, own, count in reversed(rows):
        done.append(_made(kind, own, [done.pop() for _ in range(count)]))
    return done.pop()


def _made(kind: Any, own: tuple[Any, ...], below: list[Any]) -> Node:
    if kind is Ref:
        return Ref(*own, *below)
    return kind(*own, tuple(below)) if kind in (Call, Logic) else kind(*own, *below)


_OWN: dict[type, tuple[str, ...]] = {
    Num: ("value", "imaginary", "unit"),
    TimeIndex: (),
    Ref: ("name", "primes", "indices"),
    Call: ("name",),
    Neg: (),
    Binary: ("op",),
    Compare: ("op",),
    Logic: ("op",),
}
