"""Python source from a program, whatever the framework: `prologue` and `step`, printed by the table of a `Dialect`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from neuroode._errors import LoweringError
from neuroode.program.builder import live
from neuroode.program.monoid import Formula
from neuroode.program.types import Assign, EventSlot, Program

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
SPECIAL_OPS = ("phi", "cphi_re", "cphi_im", "pair", "edd", "expm")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a framework writes an op.

    Attributes:
        ops: op -> text, from the op's immediate and the texts of its arguments as arrays.
        event: the lines of an event: (target, margin, slot, lines of its slope, text of the slope).
        operator: the call of a function across neurons: (name, argument, an array of the lanes' shape).
        network: the same of several arguments, as the last axis of one array.
    """

    framework: str
    ops: Mapping[str, Callable[[object, list[str]], str]]
    event: Callable[[str, str, EventSlot, list[str], str], list[str]]
    operator: Callable[[str, str, str], str]
    network: Callable[[str, list[str], str], str]


def uses_special(program: Program) -> bool:
    """Whether phi functions and their like are called."""
    return any(a.op in SPECIAL_OPS for a in _all(program))


def joined_parts(parts: list[str]) -> str:
    """Parts of a file with two blank lines between them."""
    return "\n".join(p.strip("\n") + "\n\n" for p in parts if p).rstrip() + "\n"


def _all(program: Program) -> tuple[Assign, ...]:
    return (*program.prologue, *program.body, *(a for s in program.events for a in s.slope))


def prologue_text(program: Program, dialect: Dialect) -> str:
    """The function `prologue(p, dt)`: constrained parameters by slot name without `p.` -> (coefficients, inits)."""
    name = _Names({p.name: f"p[{p.name[2:]!r}]" for p in program.parameters} | {"dt": "dt"})
    rows = [_assign(a, name, "dt", dialect) for a in program.prologue]
    coefficients = _tuple(name.tensor(c.name, "dt") for c in program.coefficients)
    inits = _tuple(name.tensor(s.init, "dt") for s in program.carry)
    doc = '"""Once per call: what the step reads of the parameters, and the first carry."""'
    return _function("prologue(p, dt)", doc, [*rows, f"return {coefficients}, {inits}"])


def step_text(program: Program, dialect: Dialect) -> str:
    """The function `step(coefficients, carry, inputs)` -> (outputs, next carry, trace)."""
    name = _Names({})
    coefficients = [name.local(c.name, "k", c.name.removeprefix("p.")) for c in program.coefficients]
    carry = [name.local(f"c.{s.name}", "c", s.name) for s in program.carry]
    inputs = [name.local(f"x.{n}", "x", n) for n in program.inputs]
    rows = [
        f"{_targets(names)} = {source}"
        for names, source in ((coefficients, "coefficients"), (carry, "carry"), (inputs, "inputs"))
        if names
    ]
    like = (inputs or carry)[0]
    slots = {s.name: s for s in program.events}
    for a in program.body:
        rows += _event(a, slots, name, like, dialect) if a.op == "event" else [_assign(a, name, like, dialect)]
    results = [
        _tuple(name.tensor(v, like) for _, v in group) for group in (program.outputs, program.next, program.trace)
    ]
    doc = '"""One step: (outputs, next carry, trace)."""'
    more = ", operators" if program.operators else ""
    return _function(f"step(coefficients, carry, inputs{more})", doc, [*rows, f"return {', '.join(results)}"])


def formula_text(name: str, arguments: tuple[str, ...], formula: Formula, doc: str, dialect: Dialect) -> str:
    """A function of tuples of arrays, one argument per group of the formula's names, that returns a tuple."""
    names = _Names({})
    rows = []
    for letter, (argument, group) in zip("xyz", zip(arguments, formula.arguments, strict=True), strict=False):
        rows.append(f"{_targets([names.local(n, letter, n.partition('.')[2]) for n in group])} = {argument}")
    like = names[formula.arguments[0][0]]
    rows += [_assign(a, names, like, dialect) for a in formula.assigns]
    results = _tuple(names.tensor(r, like) for r in formula.results)
    return _function(f"{name}({', '.join(arguments)})", f'"""{doc}"""', [*rows, f"return {results}"])


def _function(signature: str, doc: str, rows: list[str]) -> str:
    return "\n".join([f"def {signature}:", f"    {doc}", *(f"    {r}" for r in rows if r)])


def _event(a: Assign, slots: Mapping[str, EventSlot], name: _Names, like: str, dialect: Dialect) -> list[str]:
    slot = slots[str(a.value)]
    inner = [r for x in live(slot.slope, [slot.slope_id]) if (r := _assign(x, name, like, dialect))]
    target = name.assign(a.name)
    return dialect.event(target, name.tensor(a.args[0], like), slot, inner, name.tensor(slot.slope_id, like))


def _assign(a: Assign, name: _Names, like: str, dialect: Dialect) -> str:
    if a.op == "const":
        name.literal(a.name, float(a.value))  # type: ignore[arg-type]
        return ""
    text = _text(a, name, like, dialect)
    if a.op == "expm" or (a.op == "network" and text.endswith("]")):
        return _entry(a, text, name)
    return f"{name.assign(a.name)} = {text}"


def _entry(a: Assign, text: str, name: _Names) -> str:
    """An entry `expm(...)[..., i, j]`: all entries of one array share its call, which stands before the first."""
    call, _, index = text.rpartition("[")
    matrix, known = name.matrix((a.op, str(a.value[0]), *a.args))  # type: ignore[index]
    return f"{'' if known else f'{matrix} = {call}; '}{name.assign(a.name)} = {matrix}[{index}"


def _text(a: Assign, name: _Names, like: str, dialect: Dialect) -> str:
    literal = name.all_literals(a.args)  # then arrays too: the result is one, and 1/0 is infinite
    args = [name.tensor(x, like) if literal else name[x] for x in a.args]
    if a.op in INFIX:
        return f"{args[0]} {INFIX[a.op]} {args[1]}"
    if a.op == "neg":
        return f"-{args[0]}"
    if a.op == "operator":
        return dialect.operator(str(a.value), name.tensor(a.args[0], like), like)
    if a.op == "network":
        function, entry = cast("tuple[str, int | None]", a.value)
        call = dialect.network(function, [name.tensor(x, like) for x in a.args], like)
        return call if entry is None else f"{call}[..., {entry}]"
    if a.op == "ipow":
        return f"{args[0]} ** {a.value}"
    if a.op in dialect.ops:
        return dialect.ops[a.op](a.value, [name.tensor(x, like) for x in a.args])
    raise LoweringError(f"no {dialect.framework} text for op {a.op!r}")


class _Names(dict[str, str]):
    """Value name -> text. Every local is a letter, digits and what it stands for, so no declared name can clash."""

    def __init__(self, start: dict[str, str]) -> None:
        super().__init__(start)
        self._literals: set[str] = set()
        self._matrices: dict[tuple[str, ...], str] = {}
        self._count = 0

    def matrix(self, entries: tuple[str, ...]) -> tuple[str, bool]:
        """The local of a matrix exponential, and whether it is there already."""
        known = entries in self._matrices
        return self._matrices.setdefault(entries, f"m{len(self._matrices)}"), known

    def assign(self, value: str) -> str:
        self[value] = f"v{self._count}"
        self._count += 1
        return self[value]

    def local(self, value: str, letter: str, readable: str) -> str:
        tail = re.sub(r"[^A-Za-z0-9]+", "_", readable).strip("_")
        self[value] = f"{letter}{len(self)}_{tail}"
        return self[value]

    def literal(self, value: str, number: float) -> None:
        text = repr(number).replace("inf", "math.inf").replace("nan", "math.nan")
        self[value] = text if number >= 0 else f"({text})"
        self._literals.add(value)

    def all_literals(self, values: tuple[str, ...]) -> bool:
        return self._literals.issuperset(values)

    def tensor(self, value: str, like: str) -> str:
        return f"number({self[value]}, {like})" if value in self._literals else self[value]


def _tuple(items) -> str:
    listed = list(items)
    return f"({', '.join(listed)}{',' if len(listed) == 1 else ''})"


def _targets(names: list[str]) -> str:
    return ", ".join(names) + ("," if len(names) == 1 else "")
