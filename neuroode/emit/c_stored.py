"""From the stored numbers of parameters to coefficients and initial carry, and the reverse, as C for compiled layers.

Each function is a nest of loops: what holds for the layer is computed once, then once a channel, then once a neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from neuroode.emit.c_ops import Names, literal
from neuroode.emit.c_parts import table
from neuroode.emit.c_prologue import statements
from neuroode.program.adjoint import pullback
from neuroode.program.builder import live
from neuroode.program.types import LEVELS, Adjoint, Assign, Program
from neuroode.solvers.native import text

#: maps into a domain, as `constrained` in prologue.h counts them
KINDS = {"none": 0, "project": 0, "softplus": 1, "abs": 2, "relu": 3, "exp": 4, "sigmoid": 5, "tanh": 6}
LAYER, CHANNEL, NEURON = range(3)
#: number of a slot at a level, and the lanes that one number of the level stands for
NUMBER = ("0", "c", "j")
LANES = (("0", "lanes"), ("c * inner", "inner"), ("j", "1"))
Value = Callable[[str], str]
#: lines from which on a function that runs once a call is compiled quickly: half of the time went there
LONG = 1000


def graded(program: Program, adjoint: Adjoint) -> tuple[str, ...]:
    """The parameter slots that coefficients or initial values give a gradient to."""
    return tuple(_reverse(program, adjoint)[1])


def reverse_assigns(program: Program, adjoint: Adjoint) -> tuple[Assign, ...]:
    """The straight-line code of the reverse."""
    return _reverse(program, adjoint)[0]


def stored(program: Program, adjoint: Adjoint) -> str:
    """`neuron_prologue_forward` and `neuron_prologue_backward`."""
    known = graded(program, adjoint)
    tables = [
        f"enum {{ N_PARAMETERS = {len(program.parameters)} }};",
        table("LEVEL", [_level(p.level) for p in program.parameters]),
        table("GRADED", [int(p.name in known) for p in program.parameters]),
    ]
    return "\n".join([*tables, text("prologue.h"), _forward_text(program), _backward_text(program, adjoint)])


def _level(name: str) -> int:
    return min(LEVELS.index(name), NEURON)


def _reverse(program: Program, adjoint: Adjoint) -> tuple[tuple[Assign, ...], dict[str, str]]:
    wanted = [p.name for p in program.parameters if p.trainable]
    names = dict.fromkeys([*(name for name, _ in adjoint.coefficients), *(s.init for s in program.carry)])
    return pullback(program.prologue, {name: f"g.{name}" for name in names}, wanted)


@dataclass(slots=True)
class _Nest:
    """Statements sorted by level: the loops that they stand in."""

    levels: dict[str, int]
    value: Value
    names: Names

    def lines(self, level: int, assigns: Iterable[Assign]) -> list[str]:
        return statements([a for a in assigns if self.levels[a.name] == level], self.value, self.names)


def _nest(assigns: Sequence[Assign], levels: dict[str, int]) -> _Nest:
    names, constants = Names(), {a.name: literal(a.value, "float64") for a in assigns if a.op == "const"}
    for a in assigns:
        levels[a.name] = max((levels.get(x, LAYER) for x in a.args), default=LAYER)

    def value(name: str) -> str:
        return constants.get(name) or names(name)

    names("dt")
    return _Nest(levels, value, names)


def _slot_levels(program: Program) -> dict[str, int]:
    return {p.name: _level(p.level) for p in program.parameters} | {"dt": LAYER}


def _loads(program: Program, nest: _Nest, level: int, read: set[str]) -> list[str]:
    rows = [(i, p) for i, p in enumerate(program.parameters) if p.name in read and _level(p.level) == level]
    at = NUMBER[level]
    return [
        f"const double {nest.names(p.name)} = value_of(call->numbers, call->kinds, {i}, stored[{i}][{at}]);"
        for i, p in rows
    ]


def _function(name: str, kind: str, head: list[str], rows: list[list[str]], after: list[list[str]]) -> str:
    """`rows` of each level; `after`: what stands behind the loops inside it."""
    layer, channel, neuron = rows
    quickly = "BUILT_QUICKLY " if sum(map(len, rows)) > LONG else ""
    lines = [
        f"{quickly}int {name}(const {kind} *call)", "{",
        "    const int64_t lanes = call->lanes, channels = call->channels;",
        "    const int64_t inner = channels ? lanes / channels : 0;",
        "    const double dt = call->numbers[0], *stored[N_PARAMETERS + 1];",
        "    (void)dt, (void)inner;",
        *(f"    {line}" for line in [*head, *layer]),
    ]  # fmt: skip
    if channel or neuron or after[CHANNEL]:
        lines += ["    for (int64_t c = 0; c < channels; c++) {", *(f"        {line}" for line in channel)]
        if neuron:
            lines += ["        for (int64_t j = c * inner; j < (c + 1) * inner; j++) {"]
            lines += [*(f"            {line}" for line in neuron), "        }"]
        lines += [*(f"        {line}" for line in after[CHANNEL]), "    }"]
    return "\n".join([*lines, *(f"    {line}" for line in after[LAYER]), "    return 0;", "}", ""])


def _forward_text(program: Program) -> str:
    roots = [c.name for c in program.coefficients] + [s.init for s in program.carry]
    assigns = live(program.prologue, roots)
    nest = _nest(assigns, _slot_levels(program))
    read = {x for a in assigns for x in a.args} | set(roots)
    rows = [[*_loads(program, nest, level, read), *nest.lines(level, assigns)] for level in range(3)]
    for i, c in enumerate(program.coefficients):
        at, place = (LAYER, "0") if c.level == "layer" else (NEURON, "j")
        rows[at].append(f"call->coefficients[{i}][{place}] = (real){nest.value(c.name)};")
    for i, s in enumerate(program.carry):
        rows[NEURON].append(f"if (call->carry[{i}])")
        rows[NEURON].append(f"    call->carry[{i}][j] = (real){nest.value(s.init)};")
    head = ["copy_stored(call);", "stored_rows(call->stored, channels, lanes, stored);"]
    about = "/* Once a call: coefficients and the carry before the first step. */\n"
    return about + _function(
        "neuron_prologue_forward", "neuron_prologue_forward_call", head, rows, [["repeat_carry(call);"], []]
    )


def _backward_text(program: Program, adjoint: Adjoint) -> str:
    assigns, found = _reverse(program, adjoint)
    levels = _slot_levels(program)
    _nest(program.prologue, levels)  # names the level of each initial value
    seeds = _seeds(program, adjoint, levels)
    read = {x for a in assigns for x in a.args} | set(found.values())
    seeds = {g: row for g, row in seeds.items() if g in read}
    top = max((level for level, _ in seeds.values()), default=LAYER)
    nest = _nest(assigns, levels | dict.fromkeys(seeds, top))
    rows = [[*_loads(program, nest, level, read), *_given(nest, seeds, level, top)] for level in range(3)]
    for level in range(3):
        rows[level] += nest.lines(level, assigns)
    slots = {p.name: (i, _level(p.level)) for i, p in enumerate(program.parameters)}
    after: tuple[list[str], list[str], list[str]] = ([], [], [])  # of the layer, a channel, a neuron
    for name, value in found.items():
        index, level = slots[name]
        if level < top:
            rows[level].insert(0, f"double sum{index} = 0;")
            rows[top].append(f"sum{index} += {nest.value(value)};")
        given = f"sum{index}" if level < top else nest.value(value)
        after[level].append(f"give(call, stored, {index}, {NUMBER[level]}, {given});")
    rows[NEURON] += after[NEURON]
    head = ["give_zero(call);", "stored_rows(call->stored, channels, lanes, stored);"]
    about = "/* Its reverse: cotangents of coefficients and initial carry -> gradients of stored numbers. */\n"
    return about + _function("neuron_prologue_backward", "neuron_prologue_backward_call", head, rows, [*after])


def _seeds(program: Program, adjoint: Adjoint, levels: dict[str, int]) -> dict[str, tuple[int, list[str]]]:
    """Name of a cotangent -> its level, and what it sums up, each with places for the first lane and their number."""
    own = {c.name: _level(c.level) for c in program.coefficients}
    found: dict[str, tuple[int, list[str]]] = {}
    for i, (name, _) in enumerate(adjoint.coefficients):
        one = own[name] == LAYER
        source = f"summed(call->g_coefficients[{i}], 1, {'1, 0, 1' if one else 'lanes, {}, {}'})"
        found[f"g.{name}"] = own[name], [source]
    for i, s in enumerate(program.carry):
        source = f"summed(call->g_carry[{i}], call->samples, lanes, {{}}, {{}})"
        found.setdefault(f"g.{s.init}", (levels[s.init], []))[1].append(source)
    return found


def _given(nest: _Nest, seeds: dict[str, tuple[int, list[str]]], level: int, top: int) -> list[str]:
    """The cotangents, all at the top level, so that a sum over its numbers counts each once: one of a lower level
    stands with the first of them."""
    lines = []
    first = {LAYER: "", CHANNEL: "c == 0", NEURON: "j == 0"}
    for g, (own, sources) in seeds.items() if level == top else ():
        name = nest.names(g)
        at = LANES[own]
        whole = " + ".join(s.format(*at) if "{}" in s else s for s in sources)
        if own == CHANNEL and top == NEURON:
            whole = " + ".join(s.format(*LANES[NEURON]) for s in sources)
        elif own < top:
            whole = f"{first[top]} ? {whole} : 0"
        lines.append(f"const double {name} = {whole};")
    return lines
