"""The syntax tree of the equation language: frozen nodes that compare by meaning, never by place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a node starts in its text: line and column from 1, and its width in characters."""

    line: int = 1
    column: int = 1
    width: int = 1


@dataclass(frozen=True, slots=True)
class Num:
    """A literal. Decimals are exact; `2i` is imaginary; `50 mV` carries its unit."""

    value: Fraction
    imaginary: bool = False
    unit: str | None = None
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class TimeIndex:
    """`[t - lag]`; lag 0 is `[t]`. A positive lag looks back."""

    lag: Expr = Num(Fraction(0))
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Ref:
    """A name, its primes (`x'`), its axis indices (names or whole numbers) and, last, its time index."""

    name: str
    primes: int = 0
    indices: tuple[str | int, ...] = ()
    time: TimeIndex | None = None
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A built-in function, an operator of the layer, `sum_k(...)` or `mean_k(...)`."""

    name: str
    args: tuple[Expr | Cond, ...]
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Neg:
    arg: Expr
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """op is one of + - * / ^."""

    op: str
    left: Expr
    right: Expr
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """op is one of > >= < <=."""

    op: str
    left: Expr
    right: Expr
    mark: Mark = field(default=Mark(), compare=False)


@dataclass(frozen=True, slots=True)
class Logic:
    """op is `and`, `or` (two arguments) or `not` (one)."""

    op: str
    args: tuple[Cond, ...]
    mark: Mark = field(default=Mark(), compare=False)


Expr = Num | Ref | Call | Neg | Binary
Cond = Compare | Logic
Node = Num | Ref | Call | Neg | Binary | Compare | Logic | TimeIndex


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text. Iterative: depth is bounded only by the parser."""
    stack: list[Node] = [node]
    while stack:
        top = stack.pop()
        yield top
        below: list[Node] = []
        for item in fields(top):
            value = getattr(top, item.name)
            if isinstance(value, tuple):
                below += [v for v in value if not isinstance(v, str | int)]
            elif item.name != "mark" and isinstance(value, Node):
                below.append(value)
        stack += reversed(below)


def names(node: Node) -> set[str]:
    """Names that the tree reads, functions and axis indices apart."""
    return {n.name for n in walk(node) if isinstance(n, Ref)}
