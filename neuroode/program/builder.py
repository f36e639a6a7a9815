"""Building SSA: one table of values, shared subexpressions, folded constants, each value in its earliest stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from neuroode._errors import LoweringError
from neuroode.program.types import LEVELS, OPS, Assign, EventSlot

COMMUTATIVE = {"add", "mul"}  # not min and max: at a tie the second argument takes the gradient


class Builder:
    """Appends assigns, one per distinct value.

    `levels` holds the level of every name: outside names are declared with `declare`, a value takes the largest level
    of what it reads. Values below `lane` belong to the prologue.
    """

    def __init__(self, start: int = 0, prefix: str = "%") -> None:
        self.assigns: list[Assign] = []
        self.levels: dict[str, str] = {}
        self.trainable: dict[str, bool] = {}
        self._known: dict[tuple, str] = {}
        self._constants: dict[str, float] = {}
        self._negated: dict[str, str] = {}
        self._past: set[str] = set()
        self._count, self._prefix = start, prefix

    def declare(self, name: str, level: str, trainable: bool = False) -> str:
        self.levels[name], self.trainable[name] = level, trainable
        return name

    def const(self, value: float) -> str:
        name = self._append("const", (), float(value))
        self._constants[name] = float(value)
        return name

    def constant(self, name: str) -> float | None:
        """The number that `name` stands for, if it is a literal."""
        return self._constants.get(name)

    def reads_past(self, name: str) -> bool:
        """Whether a value depends on the carry."""
        return name.startswith("c.") or name in self._past

    def emit(self, op: str, *args: str, value: object = None) -> str:
        """The name of op(args); folds literals, and sums and products with 0 and 1."""
        if OPS.get(op, -1) not in (None, len(args)):
            raise LoweringError(f"op {op!r} with {len(args)} arguments")
        folded = self._fold(op, args, value)
        if folded is not None:
            return folded
        key = tuple(sorted(args)) if op in COMMUTATIVE else args
        return self._append(op, key, value)

    def adopt(self, assigns: Iterable[Assign], rename: dict[str, str]) -> None:
        """Append existing assigns; `rename` maps their outside names and is extended by theirs."""
        for a in assigns:
            args = tuple(rename.get(x, x) for x in a.args)
            if a.op == "const" and isinstance(a.value, float):
                rename[a.name] = self.const(a.value)
            else:
                rename[a.name] = self.emit(a.op, *args, value=a.value)

    def sum(self, names: Iterable[str]) -> str:
        total = None
        for name in names:
            total = name if total is None else self.emit("add", total, name)
        return self.const(0.0) if total is None else total

    def _append(self, op: str, args: tuple[str, ...], value: object) -> str:
        # repr tells -0.0 from 0.0, which compare equal
        key = (op, args, repr(value))
        if key not in self._known:
            name = f"{self._prefix}{self._count}"
            self._count += 1
            level = max((self.levels.get(a, "lane") for a in args), key=LEVELS.index, default="layer")
            # events and operators belong to the body, whatever they read
            self.levels[name] = "lane" if op in ("event", "operator", "network") else level
            self.trainable[name] = any(self.trainable.get(a, False) for a in args)
            self._past.update([name] if any(map(self.reads_past, args)) else [])
            self._known[key] = name
            if op == "neg":
                self._negated[name] = args[0]
            self.assigns.append(Assign(name, op, args, value))
        return self._known[key]

    def _fold(self, op: str, args: tuple[str, ...], value: object) -> str | None:
        numbers = [self._constants.get(a) for a in args]
        known = [n for n in numbers if n is not None]
        if len(known) == len(args) and op in _LITERAL:
            try:
                return self.const(_LITERAL[op](*known))
            except (ArithmeticError, ValueError):
                return None
        if op == "ipow":
            return self._fold_power(args[0], value)
        if op in ("add", "sub", "mul", "div"):
            return self._fold_binary(op, args, numbers)
        if op == "neg":
            return self._negated.get(args[0])
        return None

    def _fold_power(self, base: str, exponent: object) -> str | None:
        return {0: self.const(1.0), 1: base}.get(exponent) if isinstance(exponent, int) and exponent in (0, 1) else None

    def _fold_binary(self, op: str, args: tuple[str, ...], numbers: list[float | None]) -> str | None:
        (a, b), (x, y) = args, numbers
        if op == "add":
            return b if x == 0 else a if y == 0 else None
        if op == "sub":
            return a if y == 0 else self.emit("neg", b) if x == 0 else None
        if op == "mul":
            if x == 0 or y == 0:
                return self.const(0.0)
            if -1 in (x, y):
                return self.emit("neg", b if x == -1 else a)
            return b if x == 1 else a if y == 1 else None
        return a if y == 1 else self.const(0.0) if x == 0 else None


_LITERAL: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "abs": abs,
}


def live(assigns: Iterable[Assign], roots: Iterable[str]) -> tuple[Assign, ...]:
    """The assigns that the roots need, in order."""
    needed, kept = set(roots), []
    for a in reversed(list(assigns)):
        if a.name in needed:
            kept.append(a)
            needed.update(a.args)
    return tuple(reversed(kept))


def reads_of(body: tuple[Assign, ...], events: tuple[EventSlot, ...], roots: list[str]) -> list[str]:
    """Names that a body, the slopes of its events and its results read."""
    inside = [x for a in body for x in a.args]
    slopes = [x for s in events for a in s.slope for x in a.args] + [s.slope_id for s in events]
    return inside + slopes + roots
