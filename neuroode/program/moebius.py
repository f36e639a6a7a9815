"""Steps that are Moebius maps of one state, x' = (a x + b)/(c x + d): found by structure, whatever they came from.

Every value that depends on the state is kept as a quotient of two polynomials of first degree. Sums, products and
quotients with values that do not depend on it stay so, and so do quotients of two values over one denominator; anything
else is no Moebius map. Two such steps are one again, with the product of their matrices (program/monoid.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from neuroode.program.builder import Builder
from neuroode.program.slices import builder_of, with_outputs
from neuroode.program.types import Assign, Program

ENTRIES = ("a", "b", "c", "d")
REASON = "a Moebius map of itself, another one in each step, known beforehand"
BROKEN = "a Moebius map that stops at a peak, and such maps do not compose"


@dataclass(frozen=True, slots=True)
class Form:
    """(a x + b)/(c x + d), by the names of the coefficients."""

    a: str
    b: str
    c: str
    d: str

    @property
    def above(self) -> tuple[str, str]:
        return self.a, self.b

    @property
    def below(self) -> tuple[str, str]:
        return self.c, self.d


def element(step: Program, slots: tuple[str, ...]) -> Program | None:
    """The entries `M.a` ... `M.d` of a pointwise step as a program; None where it is no Moebius map of one state.

    Args:
        step: without events of its own, its input `c.SLOT` the state before the step, its output `n.SLOT` that after.
    """
    b = builder_of(step)
    found = _form(b, step, slots, stops=False)
    if found is None:
        return None
    made = with_outputs(step, b, {f"M.{e}": getattr(found, e) for e in ENTRIES})
    return made if f"c.{slots[0]}" not in made.inputs else None


def broken(step: Program, slots: tuple[str, ...]) -> str:
    """In words, if the step is a Moebius map but for a choice by the state itself, such as a peak; else empty."""
    b = builder_of(step)
    if _form(b, step, slots, stops=False) is None and _form(b, step, slots, stops=True) is not None:
        return BROKEN
    return ""


def _form(b: Builder, step: Program, slots: tuple[str, ...], *, stops: bool) -> Form | None:
    if len(slots) != 1:
        return None
    tracked = _Tracked(b, stops)
    for own in (f"x.c.{slots[0]}", f"c.{slots[0]}"):
        tracked.forms[own] = Form(tracked.one, tracked.zero, tracked.zero, tracked.one)
    for a in step.body:
        tracked.visit(a)
    return tracked.form(dict(step.outputs)[f"n.{slots[0]}"])


class _Tracked:
    """Forms of the values that depend on the state, by their names in the step; None: no quotient of that degree."""

    def __init__(self, b: Builder, stops: bool) -> None:
        self.b, self.stops = b, stops
        self.zero, self.one = b.const(0.0), b.const(1.0)
        self.forms: dict[str, Form | None] = {}
        self.rename: dict[str, str] = {}

    def form(self, name: str) -> Form | None:
        """The form of any value; one that does not depend on the state is a constant."""
        if name in self.forms:
            return self.forms[name]
        return Form(self.zero, self.rename.get(name, name), self.zero, self.one)

    def visit(self, a: Assign) -> None:
        if not any(x in self.forms for x in a.args):
            self.b.adopt([a], self.rename)
            return
        rule = getattr(self, f"_{a.op}", None)
        args = [self.form(x) for x in a.args]
        if a.op in ("where", "reset"):
            self.forms[a.name] = self._choice(a, args)
        else:
            self.forms[a.name] = rule(*args) if rule and all(x is not None for x in args) else None

    def _neg(self, x: Form) -> Form:
        a, b = self._times(x.above, self.b.const(-1.0))
        return replace(x, a=a, b=b)

    def _add(self, x: Form, y: Form) -> Form | None:
        return self._sum("add", x, y)

    def _sub(self, x: Form, y: Form) -> Form | None:
        return self._sum("sub", x, y)

    def _sum(self, op: str, x: Form, y: Form) -> Form | None:
        """Over one denominator, or where one of the two is constant."""
        if x.below == y.below:
            left, right, below = x.above, y.above, x.below
        elif self._constant(y):
            left, right, below = x.above, self._times(x.below, y.b), x.below
        elif self._constant(x):
            left, right, below = self._times(y.below, x.b), y.above, y.below
        else:
            return None
        first, second = (self.b.emit(op, p, q) for p, q in zip(left, right, strict=True))
        return Form(first, second, *below)

    def _mul(self, x: Form, y: Form) -> Form | None:
        if not self._constant(y):
            x, y = y, x
        return Form(*self._times(x.above, y.b), *x.below) if self._constant(y) else None

    def _div(self, x: Form, y: Form) -> Form | None:
        if self._constant(y):
            first, second = (self.b.emit("div", n, y.b) for n in x.above)
            return Form(first, second, *x.below)
        if self._constant(x):
            return Form(*self._times(y.below, x.b), *y.above)
        return Form(*x.above, *y.above) if x.below == y.below else None

    def _choice(self, a: Assign, args: list[Form | None]) -> Form | None:
        """By something that does not depend on the state: entry by entry. By the state: where it `stops`, one side."""
        _, x, y = args
        if a.args[0] in self.forms:
            moving = [f for f, n in zip((x, y), a.args[1:], strict=True) if n in self.forms]
            return next((f for f in moving if f is not None), None) if self.stops else None
        if x is None or y is None:
            return None
        chosen = self.rename.get(a.args[0], a.args[0])
        rows = zip((*x.above, *x.below), (*y.above, *y.below), strict=True)
        return Form(*(p if p == q else self.b.emit("where", chosen, p, q) for p, q in rows))

    def _constant(self, x: Form) -> bool:
        return x.a == self.zero and x.below == (self.zero, self.one)

    def _times(self, row: tuple[str, str], k: str) -> tuple[str, str]:
        first, last = (self.b.emit("mul", n, k) for n in row)
        return first, last
