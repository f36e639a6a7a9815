"""Expressions with axes, written out for one value of each index: sums become sums, `z[k]` one name an element.

`z` with an axis of 4 becomes `z__0` ... `z__3`, `W[k, l]` becomes `W__0_0` ...: no declared name holds `__`, so these
clash with nothing. `_errors.readable` turns them back into `z[0]`, `W[0, 0]` for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache, reduce
from itertools import product
from typing import Any

import numpy as np

from neuroode._errors import Unsupported
from neuroode.expr.nodes import Binary, Call, Compare, Expr, Logic, Neg, Num, Ref, TimeIndex
from neuroode.spec.names import reduced_axis
from neuroode.spec.types import NeuronSpec, ParameterDecl

Bound = Mapping[str, int]  # axis -> value of its index
OVER = "[]"  # after the name of an operator that is called with all elements of an axis at once


def element_name(name: str, index: Iterable[int]) -> str:
    """The name of one element; a derivative state keeps its primes last."""
    found = "_".join(map(str, index))
    bare = name.rstrip("'")
    return f"{bare}__{found}{name[len(bare) :]}" if found else name


def axes_of(p: ParameterDecl) -> tuple[str, ...]:
    """The axes inside a neuron of a parameter; its level and `time` apart."""
    return tuple(a for a in p.per[1:] if a != "time")


def is_table(p: ParameterDecl) -> bool:
    """Whether it varies with time."""
    return "time" in p.per


def time_axes(spec: NeuronSpec) -> dict[str, int]:
    """Name -> number of steps of every axis that runs over the whole sequence."""
    declared = {a.name: a.size for a in spec.axes}
    whole = {n for n, size in declared.items() if size == "time"}
    return {n: spec.horizon or 0 for n, size in declared.items() if n in whole or size in whole}


def slot_parameters(spec: NeuronSpec) -> tuple[ParameterDecl, ...]:
    """Parameters that are a number of each lane: neither tables over time nor weights over the whole sequence."""
    apart = {p.name for p in (*table_parameters(spec), *weight_parameters(spec))}
    return tuple(p for p in spec.parameters if p.name not in apart)


def table_parameters(spec: NeuronSpec) -> tuple[ParameterDecl, ...]:
    """Tables over time, which a program reads like inputs, one row a step."""
    whole = time_axes(spec).keys()
    return tuple(p for p in spec.parameters if is_table(p) and not whole & set(axes_of(p)))


def weight_parameters(spec: NeuronSpec) -> tuple[ParameterDecl, ...]:
    """Parameters over a whole-sequence axis, which only sums over the sequence read."""
    whole = time_axes(spec).keys()
    return tuple(p for p in spec.parameters if whole & set(axes_of(p)))


def value_sizes(spec: NeuronSpec) -> dict[str, int]:
    """Size of every axis that a value may have: those inside the neuron, and time axes, as long as the horizon."""
    return axis_sizes(spec) | time_axes(spec)


def axis_sizes(spec: NeuronSpec) -> dict[str, int]:
    """Size of every axis inside the neuron; second indices (`l: k`) have that of their axis. Time axes are left out."""
    declared = {a.name: a.size for a in spec.axes}

    def size(name: str) -> int | str:
        found = declared[name]
        return size(found) if isinstance(found, str) and found in declared else found

    return {name: n for name in declared if isinstance(n := size(name), int)}


def indices(axes: Iterable[str], sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    """Every index over the axes, the last one fastest; one empty index without axes."""
    return list(product(*(range(sizes[a]) for a in axes)))


class Elements:
    """Expressions of one declaration for given index values.

    Args:
        arrays: name -> axes, of what has any.
        constants: name -> value, of what a lag may read.
        pairs: complex tables over time, which a program reads as two real inputs.
        over_time: axes over the whole sequence -> their length; an index over one stays where it is.
        operators: names of operators.
    """

    def __init__(
        self, sizes: Mapping[str, int], arrays: Mapping[str, tuple[str, ...]], constants: Mapping[str, Expr],
        pairs: frozenset[str] = frozenset(), over_time: Mapping[str, int] | None = None,
        operators: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.sizes, self.arrays, self.constants, self.pairs = sizes, arrays, constants, pairs
        self.over_time, self.operators = over_time or {}, operators

    def of(self, node: Any, bound: Bound) -> Any:
        """The node with every axis index a number."""
        match node:
            case Ref():
                return self._ref(node, bound)
            case Neg():
                return replace(node, arg=self.of(node.arg, bound))
            case Binary():
                return self._binary(node, bound)
            case Compare():
                return replace(node, left=self.of(node.left, bound), right=self.of(node.right, bound))
            case Logic():
                return replace(node, args=tuple(self.of(a, bound) for a in node.args))
            case Call():
                return self._call(node, bound)
        return node

    def _binary(self, node: Binary, bound: Bound) -> Expr:
        spine: list[Binary] = []
        top: Expr = node
        while isinstance(top, Binary):  # a sum of thousands of terms is a deep tree
            spine.append(top)
            top = top.left
        value = self.of(top, bound)
        for step in reversed(spine):
            value = replace(step, left=value, right=self.of(step.right, bound))
        return value

    def _ref(self, ref: Ref, bound: Bound) -> Expr:
        if ref.name in self.sizes and ref.name in bound:
            return Num(Fraction(bound[ref.name]), mark=ref.mark)
        whole = tuple(i for i in ref.indices if i in self.over_time)
        at = tuple(bound[i] if isinstance(i, str) else i for i in ref.indices if i not in whole)
        time = replace(ref.time, lag=self._lag(ref.time, bound)) if ref.time else None
        found = replace(ref, name=element_name(ref.name, at), indices=whole, time=time)
        if ref.name not in self.pairs:
            return found
        re, im = (replace(found, name=f"{found.name}.{part}") for part in ("re", "im"))
        return Binary("+", re, Binary("*", Num(Fraction(1), imaginary=True), im, ref.mark), ref.mark)

    def _lag(self, time: TimeIndex, bound: Bound) -> Expr:
        """A lag as one number: it may read axes and constants."""
        return Num(Fraction(self._whole(time.lag, bound)), mark=time.mark)

    def _whole(self, lag: Expr, bound: Bound) -> int:
        match lag:
            case Num():
                return int(lag.value)
            case Neg():
                return -self._whole(lag.arg, bound)
            case Binary():
                return _ARITHMETIC[lag.op](self._whole(lag.left, bound), self._whole(lag.right, bound))
            case Ref() if lag.name in bound:
                return bound[lag.name]
            case Ref() if lag.name in self.constants:
                return self._whole(self.constants[lag.name], {})
        raise Unsupported("a lag that is not a constant number is not lowered yet")

    def _call(self, call: Call, bound: Bound) -> Expr:
        axis = reduced_axis(call.name)
        if axis in self.sizes:
            return self._reduced(call, axis, bound)
        first = call.args[0]
        if call.name == "size" and isinstance(first, Ref):
            return Num(Fraction({**self.sizes, **self.over_time}[first.name]), mark=call.mark)
        if call.name == "hippo" and isinstance(first, Ref):
            return Num(Fraction(float(hippo(self.sizes[first.name])[bound[first.name]])), mark=call.mark)
        if call.name in SERIES and isinstance(first, Ref):
            return self._series(call, first, bound)
        if call.name in self.operators and isinstance(first, Ref) and not first.indices and self.arrays.get(first.name):
            return self._over_axis(call, first)
        return replace(call, args=tuple(self.of(a, bound) for a in call.args))

    def _reduced(self, call: Call, axis: str, bound: Bound) -> Expr:
        n = self.sizes[axis]
        terms = [self.of(call.args[0], {**bound, axis: i}) for i in range(n)]
        total = reduce(lambda a, b: Binary("+", a, b, call.mark), terms)
        return Binary("/", total, Num(Fraction(n)), call.mark) if call.name.startswith("mean_") else total

    def _over_axis(self, call: Call, x: Ref) -> Expr:
        """name(x) of all elements of x, which has one axis."""
        (axis,) = self.arrays[x.name]
        each = tuple(self._ref(replace(x, indices=(i,)), {}) for i in range(self.sizes[axis]))
        return replace(call, name=call.name + OVER, args=each)

    def _series(self, call: Call, c: Ref, bound: Bound) -> Expr:
        """poly(c, x) and chebyshev(c, x), lowest degree first."""
        x = self.of(call.args[1], bound)
        (axis,) = self.arrays[c.name]
        coefficients: list[Expr] = [replace(c, name=element_name(c.name, (i,))) for i in range(self.sizes[axis])]
        return SERIES[call.name](coefficients, x)


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def horner(c: list[Expr], x: Expr) -> Expr:
    """c_0 + x*(c_1 + x*(c_2 + ...))."""
    total = c[-1]
    for each in reversed(c[:-1]):
        total = Binary("+", each, Binary("*", x, total))
    return total


def chebyshev(c: list[Expr], x: Expr) -> Expr:
    """The sum of c_n T_n(x).

    T_2n = 2 T_n^2 - 1 and T_(2n+1) = 2 T_n T_(n+1) - x keep the expression of T_n at a size of order n, where the
    three-term recurrence written out doubles with each degree (Abramowitz and Stegun 22.7.24).
    """
    two, one = Num(Fraction(2)), Num(Fraction(1))

    @cache
    def polynomial(n: int) -> Expr:
        half = n // 2
        if n < 2:
            return x if n else one
        if n % 2 == 0:
            return Binary("-", Binary("*", two, Binary("^", polynomial(half), two)), one)
        return Binary("-", Binary("*", Binary("*", two, polynomial(half)), polynomial(half + 1)), x)

    terms = [each if n == 0 else Binary("*", each, polynomial(n)) for n, each in enumerate(c)]
    return reduce(lambda a, b: Binary("+", a, b), terms)


SERIES: dict[str, Callable[[list[Expr], Expr], Expr]] = {"poly": horner, "chebyshev": chebyshev}


@cache
def hippo(n: int) -> np.ndarray:
    """Imaginary parts of the eigenvalues of HiPPO-LegS's normal part, ascending, shape (n,).

    The normal part is -1/2 on the diagonal and -+sqrt((2i+1)(2j+1))/2 above and below it (Gu et al., arXiv:2206.11893).
    """
    root = np.sqrt(2 * np.arange(n) + 1.0)
    skew = np.outer(root, root) / 2 * (np.triu(np.ones((n, n)), 1) - np.tril(np.ones((n, n)), -1))
    return np.linalg.eigvalsh(-1j * skew)


def weight_values(p: ParameterDecl, sizes: Mapping[str, int], value: Any, moveaxis: Any) -> dict[str, Any]:
    """Input name of a weight's program -> (tau, *level*) or (tau, time, *level*), of any array library.

    Args:
        sizes: of the axes inside the neuron; the other axis of `p` runs over the whole sequence.
        moveaxis: numpy's, or what another library calls the same.
    """
    axes, level = axes_of(p), value.ndim - len(p.per) + 1
    inner = tuple(a for a in axes if a in sizes)
    (whole,) = (i for i, a in enumerate(axes) if a not in sizes)
    first = moveaxis(value, level + whole, 0)
    first = moveaxis(first, -1, 1) if is_table(p) else first
    return table_values(replace(p, per=(p.per[0], *inner)), sizes, first)


def element_values(p: ParameterDecl, sizes: Mapping[str, int], value: Any) -> dict[str, Any]:
    """Element name -> its part of a value (*level*, *axes*, time), of any array library."""
    axes = axes_of(p)
    if not axes:
        return {p.name: value}
    time = value.shape[value.ndim - 1 :] if is_table(p) else ()
    level = value.shape[: value.ndim - len(axes) - len(time)]
    rows = value.reshape(*level, -1, *time)
    rest = (slice(None),) * len(time)
    return {element_name(p.name, at): rows[(..., i, *rest)] for i, at in enumerate(indices(axes, sizes))}


def table_values(p: ParameterDecl, sizes: Mapping[str, int], value: Any) -> dict[str, Any]:
    """Input name of a program -> (*level*, time), of a table over time of any array library; complex ones as two."""
    found = element_values(p, sizes, value)
    if p.type != "complex":
        return found
    return {
        f"{n}.{part}": getattr(v, part_of)
        for n, v in found.items()
        for part, part_of in (("re", "real"), ("im", "imag"))
    }
