"""The words of the Python form: mappings as objects, and sympy symbols that stand for reads.

`at(q, -1)` is the symbol `q[t-1]`. Sympy is imported when the first symbol is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroode._errors import SpecError
from neuroode.expr.from_sympy import node_of, reference
from neuroode.expr.nodes import Binary, Neg, Num, Ref, TimeIndex
from neuroode.expr.show import show
from neuroode.spec.quantities import literal, parse_value
from neuroode.spec.types import Quantity

if TYPE_CHECKING:
    import sympy

Text = Any  # a string, a number, or a sympy object


@dataclass(frozen=True, slots=True)
class Parameter:
    """A mapping under `parameters`: `value` is the same each time, `init` is drawn or computed at build time."""

    value: Any = None
    init: Text | None = None
    per: str | list[str] | None = None
    domain: str | None = None
    transform: str | None = None
    type: str | None = None
    unit: str | None = None
    trainable: bool | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A mapping under `states`."""

    init: Text | None = None
    type: str | None = None
    unit: str | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A mapping under `inputs`."""

    kind: str | None = None
    axes: list[str] | None = None
    unit: str | None = None
    hold: str | None = None
    at: str | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """A mapping under `reset`; `do` is a text or {state: new value}."""

    do: Any = None
    when: str | None = None
    memory: str | None = None


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A mapping under `surrogate`."""

    kind: str | None = None
    width: Text | None = None
    height: Text | None = None
    h: Text | None = None
    ratio: Text | None = None
    normalised: bool | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A mapping under `events`."""

    when: Text | None = None
    reset: Any = None
    reset_gradient: str | None = None
    refractory: Any = None
    surrogate: Any = None
    gradient: str | None = None
    axes: list[str] | None = None
    about: str | None = None


def quantity(text: str) -> Quantity:
    """The quantity that a text such as `20 ms` or `0.02 1/ms` is.

    Raises:
        SpecError: the text is not a number with an optional unit.
    """
    found = literal(parse_value(text))
    if found is None:
        raise SpecError(f"'{text}' is not a quantity", hint="write a number and a unit: 20 ms")
    return found


def symbol(name: str) -> sympy.Symbol:
    """The sympy symbol that stands for a read of the name, which may carry primes and indices.

    Raises:
        SpecError: the text is not a name.
    """
    import sympy

    return sympy.Symbol(show(reference(name)))


def symbols(names: str) -> tuple[sympy.Symbol, ...]:
    """The symbols of several names, apart by blanks or commas."""
    return tuple(symbol(name) for name in names.replace(",", " ").split())


def at(what: sympy.Symbol | str, offset: int | sympy.Expr) -> sympy.Symbol:
    """The read of a name `offset` steps from now: `at(q, -1)` is q[t-1].

    Raises:
        SpecError: the first argument is not a name, or has a time index already.
    """
    ref = reference(str(what))
    if ref.time:
        raise SpecError(f"{show(ref)} has a time index already")
    back = node_of(offset)
    lag = back.arg if isinstance(back, Neg) else Neg(back)  # type: ignore[arg-type]
    if isinstance(back, Num) and not back.value:
        lag = back
    if isinstance(back, Binary):
        lag = node_of(-offset)  # type: ignore[assignment]
    return symbol(show(Ref(ref.name, ref.primes, ref.indices, TimeIndex(lag))))  # type: ignore[arg-type]


def index(what: sympy.Symbol | str, *indices: str | int) -> sympy.Symbol:
    """The read of an array's entry: `index("z", "k")` is z[k]."""
    ref = reference(str(what))
    inside = [*map(str, ref.indices), *map(str, indices)]
    return symbol(f"{ref.name}{chr(39) * ref.primes}[{', '.join(inside)}]")


def _call(name: str, *args: Any) -> sympy.Expr:
    import sympy

    return sympy.Function(name)(*args)


def sum(axis: str, expr: Text) -> sympy.Expr:  # the word of the language
    """`sum_k(expr)`."""
    return _call(f"sum_{reference(axis).name}", _value(expr))


def detach(expr: Text) -> sympy.Expr:
    """Value of `expr`, gradient 0."""
    return _call("detach", _value(expr))


def straight_through(value: Text, gradient: Text) -> sympy.Expr:
    """Value of the first argument, gradient of the second."""
    return _call("straight_through", _value(value), _value(gradient))


def grad(potential: sympy.Symbol | str, by: sympy.Symbol | str) -> sympy.Expr:
    """The symbolic derivative of a definition."""
    return _call("grad", _value(potential), _value(by))


def where(cond: Text, a: Text, b: Text) -> sympy.Expr:
    """`a` where the condition holds, else `b`."""
    return _call("where", cond, _value(a), _value(b))


def dW(name: str = "") -> sympy.Symbol:
    """The Wiener increment `dW` or `dW_name`."""
    return symbol(f"dW_{name}" if name else "dW")


def _value(value: Any) -> Any:
    """A string is a name here; anything else is sympy's."""
    return symbol(value) if isinstance(value, str) else value
