"""The generated loops: one step, its replay from stored events, and its reverse, each over a row of lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from neuroode.emit.c_ops import Names, literal, matrix_entry, statement
from neuroode.program.builder import live
from neuroode.program.types import Adjoint, Assign, Program

#: parameter of a loop function -> its declaration
PARAMETERS = {
    "k": "const real *const *k",
    "x": "const real *const *x",
    "carry": "const real *const *carry",
    "event_in": "const real *const *event_in",
    "g_out": "const real *const *g_out",
    "next": "real *const *next",
    "out": "real *const *out",
    "event": "real *const *event",
    "g_carry": "real *const *g_carry",
    "g_input": "real *const *g_input",
    "sums": "real *const *sums",
}


@dataclass(frozen=True, slots=True)
class Store:
    """`array[index][j] = value`, or `+= value`."""

    array: str
    index: int
    value: str
    add: bool = False


@dataclass(slots=True)
class Loop:
    """One function over n lanes.

    Attributes:
        arrays: its parameters, in order (keys of `PARAMETERS`).
        sources: outside name -> (array, index), for what the loop may read.
        scalars: outside names that stand for one number.
    """

    name: str
    about: str
    arrays: Sequence[str]
    assigns: Iterable[Assign]
    stores: Sequence[Store]
    sources: dict[str, tuple[str, int]]
    scalars: frozenset[str]
    dtype: str
    names: Names = field(default_factory=Names)

    def text(self) -> str:
        """The C function."""
        assigns = live(self.assigns, [s.value for s in self.stores])
        constants = {a.name: literal(a.value, self.dtype) for a in assigns if a.op == "const"}
        read = self._read(assigns)
        before, inside = self._loads(read)
        before += [f"real *const to_{s.array}{s.index} = {s.array}[{s.index}];" for s in self.stores]

        def value(name: str) -> str:
            return constants.get(name) or self.names(name)

        matrices: dict[tuple[str, ...], str] = {}
        for a in assigns:
            if a.op == "expm":
                inside += matrix_entry(a, value, self.names(a.name), matrices)
            elif a.op != "const":
                inside += statement(a, value, self.names(a.name), self.dtype)
        inside += [f"to_{s.array}{s.index}[j] {'+=' if s.add else '='} {value(s.value)};" for s in self.stores]
        used = {self.sources[r][0] for r in read} | {s.array for s in self.stores}
        unused = [f"(void){a};" for a in self.arrays if a not in used]
        return self._function([*unused, *before], inside)

    def _read(self, assigns: Sequence[Assign]) -> list[str]:
        wanted = {x for a in assigns for x in a.args} | {s.value for s in self.stores}
        return [name for name in self.sources if name in wanted]

    def _loads(self, read: Sequence[str]) -> tuple[list[str], list[str]]:
        before, inside = [], []
        for name in read:
            array, index = self.sources[name]
            own = self.names(name)
            if name in self.scalars:
                before.append(f"const real {own} = *{array}[{index}];")
            else:
                before.append(f"const real *const {own}_row = {array}[{index}];")
                inside.append(f"const real {own} = {own}_row[j];")
        return before, inside

    def _function(self, before: Sequence[str], inside: Sequence[str]) -> str:
        parameters = ", ".join(PARAMETERS[a] for a in self.arrays)
        head = [f"/* {self.about} */", f"static void {self.name}(long n, {parameters})", "{"]
        loop = ["SIMD", "for (long j = 0; j < n; j++) {", *(f"    {line}" for line in inside), "}"]
        body = [f"    {line}" for line in [*before, *(loop if inside else ["(void)n;"])]]
        return "\n".join([*head, *body, "}"]) + "\n"


def event_output(program: Program, event: str) -> int:
    """Index of the output that is this event, or -1."""
    value = next((a.name for a in program.body if a.op == "event" and a.value == event), None)
    return next((i for i, (_, v) in enumerate(program.outputs) if v == value), -1)


def event_values(program: Program) -> dict[str, str]:
    """Event name -> the value that holds its bit."""
    return {str(a.value): a.name for a in program.body if a.op == "event"}


def step_loop(program: Program, dtype: str) -> str:
    """Carry, inputs and coefficients -> next carry, outputs and events."""
    strict = {e.name: e.strict for e in program.events}
    compared = [
        Assign(a.name, "gt" if strict[str(a.value)] else "ge", (*a.args, "0")) if a.op == "event" else a
        for a in program.body
    ]
    bits = event_values(program)
    stores = [Store("out", i, v) for i, (_, v) in enumerate(program.outputs)]
    stores += [
        Store("event", i, bits[e.name]) for i, e in enumerate(program.events) if event_output(program, e.name) < 0
    ]
    stores += [Store("next", i, v) for i, (_, v) in enumerate(program.next)]
    return _loop(
        program, dtype, "step", "One step of n lanes. `next` may be `carry`.",
        ("k", "x", "carry", "next", "out", "event"), [Assign("0", "const", (), 0.0), *compared], stores,
    )  # fmt: skip


def replay_loop(program: Program, dtype: str, outputs: Sequence[int] | None) -> str:
    """The step again, with the events that were found then: the next carry and, of a recurrent layer, these outputs."""
    rename = {value: f"e.{event}" for event, value in event_values(program).items()}
    assigns = _renamed(program.body, rename)
    graded = [i for i in outputs or () if program.outputs[i][1] not in rename]
    stores = [Store("out", i, program.outputs[i][1]) for i in graded]
    stores += [Store("next", i, rename.get(v, v)) for i, (_, v) in enumerate(program.next)]
    arrays = ("k", "x", "carry", "event_in", "next", *([] if outputs is None else ["out"]))
    return _loop(
        program, dtype, "replay", "The same step with the events that it found: nothing is compared again.",
        arrays, assigns, stores,
    )  # fmt: skip


def reverse_loop(program: Program, adjoint: Adjoint, dtype: str) -> str:
    """Cotangents of what a step gave -> cotangents of what it read."""
    zero = Assign("zero", "const", (), 0.0)
    carry, inputs = dict(adjoint.carry), dict(adjoint.inputs)
    stores = [Store("g_carry", i, carry.get(s.name, "zero")) for i, s in enumerate(program.carry)]
    stores += [Store("g_input", i, inputs.get(name, "zero")) for i, name in enumerate(program.inputs)]
    stores += [Store("sums", i, value, add=True) for i, (_, value) in enumerate(adjoint.coefficients)]
    return _loop(
        program, dtype, "reverse", "The reverse of one step: `g_carry` comes in after the step and goes out before it.",
        ("k", "x", "carry", "event_in", "g_out", "g_carry", "g_input", "sums"), [zero, *adjoint.assigns], stores,
    )  # fmt: skip


def _renamed(body: Iterable[Assign], rename: dict[str, str]) -> list[Assign]:
    return [Assign(a.name, a.op, tuple(rename.get(x, x) for x in a.args), a.value) for a in body if a.op != "event"]


def _numbered(array: str, names: Iterable[str]) -> dict[str, tuple[str, int]]:
    return {name: (array, i) for i, name in enumerate(names)}


def _loop(
    program: Program,
    dtype: str,
    name: str,
    about: str,
    arrays: Sequence[str],
    assigns: Iterable[Assign],
    stores: Sequence[Store],
) -> str:
    sources = _numbered("k", (c.name for c in program.coefficients))
    sources |= _numbered("carry", (f"c.{s.name}" for s in program.carry))
    sources |= _numbered("x", (f"x.{name}" for name in program.inputs))
    sources |= _numbered("event_in", (f"e.{e.name}" for e in program.events))
    sources |= _numbered("g_out", (f"g.out.{name}" for name, _ in program.outputs))
    sources |= _numbered("g_carry", (f"g.next.{s.name}" for s in program.carry))
    scalars = frozenset(c.name for c in program.coefficients if c.level == "layer")
    return Loop(name, about, arrays, assigns, stores, sources, scalars, dtype).text()
