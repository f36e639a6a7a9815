"""Sums over the whole sequence, `sum_tau(W[tau, t]*x[tau])`, taken out of the step: each becomes an input of it.

A summand is written as a sum of products weight(tau, t) * value(tau) * (what does not depend on tau). Weight and value
are small neurons without states of their own, so that they run through the line like any other; the weight is evaluated
for all pairs (tau, t), the value for all tau, and one matrix product gives the input for all t.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from graphlib import TopologicalSorter
from typing import Any

from neuroode._errors import Unsupported
from neuroode.expr.nodes import Binary, Call, Expr, Neg, Node, Num, Ref, fold, rebuild, walk
from neuroode.expr.show import show
from neuroode.expr.units import NONE, coherent_text
from neuroode.spec.names import reduced_axis
from neuroode.spec.rules_complex import cause
from neuroode.spec.rules_units import dimensions
from neuroode.spec.types import Equation, InputDecl, NeuronSpec

#: names of the inputs of weights and values that are the numbers of the steps; no name of a model holds a #
EARLIER, STEP = "#tau", "#step"
MAX_TERMS = 256
ONE = Num(Fraction(1))


def source_of(name: str) -> tuple[str, int]:
    """An input of a value: whose samples it reads, how many steps before."""
    base, _, lag = name.partition("@")
    return base, int(lag or 0)


@dataclass(frozen=True, slots=True)
class SequenceSum:
    """`name`: the input that is sum over tau of weight*value; both are neurons whose one output is that number.

    Inputs of the weight: `#tau`, `#step`, tables (of step t), parameters over tau, or tau and time. Inputs of the
    value: declared ones (`x@2`: two steps before tau), `#tau`, tables (of step tau), parameters over tau, earlier sums.
    """

    name: str
    weight: NeuronSpec
    value: NeuronSpec

    @property
    def parts(self) -> tuple[NeuronSpec, NeuronSpec]:
        return self.weight, self.value


@dataclass(frozen=True, slots=True)
class Term:
    """A product; `outside` does not depend on tau."""

    outside: tuple[Expr, ...] = ()
    weight: tuple[Expr, ...] = ()
    value: tuple[Expr, ...] = ()

    def __mul__(self, other: Term) -> Term:
        return Term(self.outside + other.outside, self.weight + other.weight, self.value + other.value)


def split_sums(
    spec: NeuronSpec, axes: Collection[str], weights: Collection[str], tables: Collection[str]
) -> tuple[NeuronSpec, tuple[SequenceSum, ...]]:
    """A declaration with its ordinary axes written out -> one without whole-sequence axes, and the sums as inputs.

    Args:
        axes: those over the whole sequence.
        weights: names of its inputs that are parameters over such an axis.
        tables: names of its inputs that are parameters over time alone.

    Raises:
        Unsupported: a summand that is no sum of products of a weight and a value, or an index outside of its sum.
    """
    return _Split(spec, frozenset(axes), frozenset(weights), frozenset(tables)).result() if axes else (spec, ())


class _Split:
    def __init__(self, spec: NeuronSpec, axes: frozenset[str], weights: frozenset[str], tables: frozenset[str]) -> None:
        self.spec, self.axes, self.weights, self.tables = spec, axes, weights, tables
        self.inputs = {i.name: i for i in spec.inputs}
        self.definitions = {e.name: e for e in spec.equations if e.kind == "definition"}
        self.moving = {e.name for e in spec.equations} | {e.name for e in spec.events} | {n.name for n in spec.noise}
        self._lanes: dict[str, bool] = {}
        self.complex = _complex_names(spec)
        self.done: dict[str, Expr] = {}  # text of a sum -> what stands for it
        self.found: list[tuple[InputDecl, Expr, Expr]] = []  # input, weight, value

    def result(self) -> tuple[NeuronSpec, tuple[SequenceSum, ...]]:
        spec = self._rewritten()
        self.definitions = {e.name: e for e in spec.equations if e.kind == "definition"}
        sums = {decl.name: self._made(decl.name, w, v) for decl, w, v in self.found}
        graph = {name: {i.name for i in s.value.inputs} & sums.keys() for name, s in sums.items()}
        order = list(TopologicalSorter(graph).static_order())
        declared = {decl.name: decl for decl, _, _ in self.found}
        kept = tuple(i for i in spec.inputs if i.name not in self.weights)
        spec = replace(spec, inputs=(*kept, *(declared[n] for n in order)))
        return spec, tuple(sums[n] for n in order)

    # the declaration without sums

    def _rewritten(self) -> NeuronSpec:
        s, of = self.spec, self._of
        events = []
        for e in s.events:
            do = tuple(replace(a, value=of(a.value)) for a in (e.reset.do if e.reset else ()))
            events.append(replace(e, when=of(e.when), reset=e.reset and replace(e.reset, do=do)))
        equations = tuple(replace(e, rhs=of(e.rhs)) for e in s.equations)
        outputs = tuple((name, of(value)) for name, value in s.outputs)
        return replace(s, equations=equations, events=tuple(events), outputs=outputs)

    def _of(self, node: Any) -> Any:
        """The expression with each sum over the sequence replaced by what stands for it."""

        def combine(each: Node, below: list[Any]) -> Any:
            made = rebuild(each, below)
            return self._sum(made) if isinstance(made, Call) and reduced_axis(made.name) in self.axes else made

        found = fold(node, combine)
        for each in walk(found):
            if isinstance(each, Ref) and (self.axes & {each.name, *map(str, each.indices)}):
                what = f"'{show(each)}' is read over the whole sequence outside of a sum"
                raise Unsupported(what, hint=f"write sum_{self._axis_of(each)}(...)")
        return found

    def _axis_of(self, ref: Ref) -> str:
        return next(str(i) for i in (*ref.indices, ref.name) if i in self.axes)

    def _sum(self, call: Call) -> Expr:
        if call.name.startswith("mean_"):
            what = f"'{show(call)}': calls differ in length, so a mean over the sequence has no fixed divisor"
            raise Unsupported(what, hint="write sum_tau(...)/n, or a weight of 1/n")
        text = show(call)
        if text not in self.done:
            axis = reduced_axis(call.name)
            terms = _Terms(self, axis, call).of(call.args[0])
            self.done[text] = reduce(lambda a, b: Binary("+", a, b, call.mark), [self._term(axis, t) for t in terms])
        return self.done[text]

    def _term(self, axis: str, term: Term) -> Expr:
        """outside * (the sum of weight*value); of complex ones its four real sums."""
        total: Expr | None = None
        parts = [self._parts(_product(f)) for f in (term.weight, term.value)]
        for weight, turn in parts[0]:
            for value, again in parts[1]:
                each: Expr = self._input(axis, weight, value)
                factor = {0: None, 1: Num(Fraction(1), imaginary=True), 2: Num(Fraction(-1))}[turn + again]
                each = Binary("*", factor, each) if factor else each
                total = each if total is None else Binary("+", total, each)
        assert total is not None
        return reduce(lambda a, b: Binary("*", a, b), [*term.outside, total])

    def _parts(self, node: Expr) -> list[tuple[Expr, int]]:
        """(real part, 0) and, of a complex expression, (imaginary part, 1)."""
        if not cause(node, self.complex):
            return [(node, 0)]
        return [(Call("real", (node,)), 0), (Call("imag", (node,)), 1)]

    def _input(self, axis: str, weight: Expr, value: Expr) -> Ref:
        count = sum(1 for decl, _, _ in self.found if decl.name.partition(".")[0] == f"sum_{axis}")
        name = f"sum_{axis}" + (f".{count + 1}" if count else "")  # sum_ is reserved: no declared name is one
        self.found.append((InputDecl(name=name, unit=self._unit(Binary("*", weight, value))), weight, value))
        return Ref(name)

    def _unit(self, node: Expr) -> str | None:
        """The coherent unit of a sum, where the model has units."""
        s = self.spec
        units = [d.unit for d in s.inputs] + [d.unit for d in s.states] + [d.unit for d in s.parameters]
        if not any(units) and not (s.dt and s.dt.unit):
            return None
        found = dimensions(s)(node)
        return coherent_text(found) if found not in (None, NONE) else None

    # what an expression reads

    def depends(self, ref: Ref, axis: str) -> set[str]:
        """Of `tau` (on the index of the sum), `now` (on t), `lanes` (differs between samples), `definition` at tau."""
        if ref.name == axis:
            return {"tau"}
        if ref.name in ("step", "t"):
            return {"now"}
        at = {"tau"} if axis in ref.indices else set()
        if ref.name in self.weights:
            return at | ({"now"} if ref.time else set())
        if ref.name not in self.inputs and ref.name not in self.moving:
            return at
        kind = {"definition"} if at and ref.name in self.definitions else set()
        return (at or {"now"}) | kind | ({"lanes"} if self._in_lanes(ref.name) else set())

    def _in_lanes(self, name: str) -> bool:
        """Whether it may differ between samples; a table over time and what only reads such does not."""
        if name not in self.definitions:
            return name in self.moving or (name in self.inputs and name not in self.weights | self.tables)
        if name not in self._lanes:
            read = [r.name for r in walk(self.definitions[name].rhs) if isinstance(r, Ref)]
            self._lanes[name] = any(self._in_lanes(n) for n in read)
        return self._lanes[name]

    # weights and values as neurons of their own

    def _made(self, name: str, weight: Expr, value: Expr) -> SequenceSum:
        return SequenceSum(name, self._neuron(f"weight of {name}", weight), self._neuron(f"value of {name}", value))

    def _neuron(self, name: str, node: Expr) -> NeuronSpec:
        """A neuron without states whose output is the expression, in base units."""
        earlier = name.startswith("value")
        found: dict[str, Equation] = {}
        waiting: list[Node] = [node]
        while waiting:  # the definitions that it reads, and those that they read
            names = [r.name for r in walk(waiting.pop()) if isinstance(r, Ref)]
            fresh = {n: self.definitions[n] for n in names if n in self.definitions and n not in found}
            found |= fresh
            waiting += [e.rhs for e in fresh.values()]
        equations = tuple(replace(e, rhs=self._placed(e.rhs, earlier)) for e in found.values())
        output = Binary("*", ONE, self._placed(node, earlier))  # a bare name would keep its unit
        rows = [r.name for each in (*(e.rhs for e in equations), output) for r in walk(each) if isinstance(r, Ref)]
        read = tuple(dict.fromkeys(rows))
        inputs = tuple(self._read(n) for n in read if n in self.inputs or n[0] == "#" or "@" in n or self._is_sum(n))
        parameters = tuple(p for p in self.spec.parameters if p.name in read)
        return NeuronSpec(name=name, dt=self.spec.dt, inputs=inputs, parameters=parameters, equations=equations,
                          outputs=(("value", output),))  # fmt: skip

    def _is_sum(self, name: str) -> bool:
        return any(decl.name == name for decl, _, _ in self.found)

    def _read(self, name: str) -> InputDecl:
        base = name.partition("@")[0]
        known = self.inputs | {decl.name: decl for decl, _, _ in self.found}
        return InputDecl(name=name, unit=known[base].unit if base in known else None)

    def _placed(self, node: Expr, earlier: bool) -> Expr:
        """Reads as the neuron of a weight or a value has them: what is of step tau (or t) is of its one step."""

        def combine(each: Node, below: list[Any]) -> Any:
            if isinstance(each, Call) and each.name in ("delay", "after", "grad", *dict(self.spec.operators)):
                raise Unsupported(f"'{show(each)}' inside a sum over the whole sequence is not lowered yet")
            if not isinstance(each, Ref):
                return rebuild(each, below)
            return self._moved(each, earlier)

        return fold(node, combine)

    def _moved(self, ref: Ref, earlier: bool) -> Expr:
        if ref.name in self.axes:
            return replace(ref, name=EARLIER)
        if ref.name == "step":
            return replace(ref, name=EARLIER if earlier else STEP)
        if ref.name == "t":
            raise Unsupported("the running time t inside a sum over the whole sequence", hint="write (step + 1)*dt")
        lag = _lag(ref)
        if lag and ref.name not in self.inputs:
            what = f"'{show(ref)}', recorded earlier, is read inside a sum over the whole sequence"
            raise Unsupported(what, hint="write it with inputs of the past: x - x[t-1]")
        return replace(ref, name=f"{ref.name}@{lag}" if lag else ref.name, indices=(), time=None)


class _Terms:
    """A summand as products."""

    def __init__(self, split: _Split, axis: str, call: Call) -> None:
        self.split, self.axis, self.call = split, axis, call

    def of(self, node: Any) -> list[Term]:
        whole = self._whole(node)
        if whole is not None:
            return [whole]
        if isinstance(node, Neg):
            return [Term(outside=(Num(Fraction(-1)),)) * t for t in self.of(node.arg)]
        if isinstance(node, Binary) and node.op in "+-":
            return self._chain(node)
        if isinstance(node, Binary) and node.op == "*":
            return self._few([a * b for a in self.of(node.left) for b in self.of(node.right)])
        below = self._whole(Binary("/", ONE, node.right)) if isinstance(node, Binary) and node.op == "/" else None
        if below is None:
            raise self._refusal(node)
        return [a * below for a in self.of(node.left)]

    def _chain(self, node: Any) -> list[Term]:
        """a + b - c ...: a long sum is a deep tree."""
        parts: list[tuple[Any, str]] = []
        while isinstance(node, Binary) and node.op in "+-" and self._whole(node) is None:
            parts.append((node.right, node.op))
            node = node.left
        parts.append((node, "+"))
        signed = [(part, Term(outside=(Num(Fraction(-1)),)) if op == "-" else Term()) for part, op in reversed(parts)]
        return self._few([sign * t for part, sign in signed for t in self.of(part)])

    def _few(self, terms: list[Term]) -> list[Term]:
        if len(terms) > MAX_TERMS:
            what = f"'{show(self.call)[:80]}' has {len(terms)} terms when it is multiplied out, at most {MAX_TERMS}"
            raise Unsupported(what, hint="give parts of the weight a name, or take smaller axes")
        return terms

    def _whole(self, node: Node) -> Term | None:
        """The expression as one factor; None where it mixes tau, t and lanes."""
        found: set[str] = set()
        for each in walk(node):
            if isinstance(each, Ref):
                found |= self.split.depends(each, self.axis)
                self._one_axis(each)
        if "tau" not in found:
            return Term(outside=(node,))  # type: ignore[arg-type]
        if "now" not in found:
            return Term(value=(node,))  # type: ignore[arg-type]
        return None if found & {"lanes", "definition"} else Term(weight=(node,))  # type: ignore[arg-type]

    def _one_axis(self, ref: Ref) -> None:
        other = (self.split.axes & {ref.name, *map(str, ref.indices)}) - {self.axis}
        if other:
            raise Unsupported(
                f"'{show(self.call)[:80]}' sums over {self.axis} and {min(other)} at once",
                hint="give the inner sum a name: h = sum_rho(...), then read h[tau]",
            )

    def _refusal(self, node: Node) -> Unsupported:
        mixed = f"mixes step {self.axis}, step t and what differs between samples"
        return Unsupported(
            f"'{show(node)}' in '{show(self.call)[:80]}' {mixed}",
            hint=f"a summand is a sum of products of a weight (of {self.axis} and t) and a value (of {self.axis})",
        )


def _product(factors: tuple[Expr, ...]) -> Expr:
    return reduce(lambda a, b: Binary("*", a, b), factors) if factors else ONE


def _lag(ref: Ref) -> int:
    """Steps that a read looks back; axes and constants are written out before."""
    if ref.time is None:
        return 0
    lag = ref.time.lag
    assert isinstance(lag, Num)
    return int(lag.value)


def _complex_names(spec: NeuronSpec) -> set[str]:
    """Complex states, parameters, and definitions that become complex through them."""
    known = {s.name for s in spec.states if s.type == "complex"} | {e.name for e in spec.equations if e.complex}
    known |= {p.name for p in spec.parameters if p.type == "complex"}
    rows = {e.name: e.rhs for e in spec.equations if e.kind == "definition"}
    while found := {n for n, rhs in rows.items() if n not in known and cause(rhs, known)}:
        known |= found
    return known
