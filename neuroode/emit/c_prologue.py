"""The prologue as C, for sources that stand alone: parameters -> coefficients and initial carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neuroode.emit.c_ops import Names, literal, matrix_entry, statement
from neuroode.program.builder import live
from neuroode.program.start import drawn_names
from neuroode.program.types import Assign, Program


def prologue(program: Program) -> str:
    """The function `neuron_prologue`, in double precision."""
    names = Names()
    roots = [c.name for c in program.coefficients] + [s.init for s in program.carry]
    assigns = live(program.prologue, roots)
    constants = {a.name: literal(a.value, "float64") for a in assigns if a.op == "const"}

    def value(name: str) -> str:
        return constants.get(name) or names(name)

    read = {x for a in assigns for x in a.args} | set(roots)
    body = _parameters(program, names, read)
    body += statements(assigns, value, names)
    body += [f"coefficients[{i}]{_place(c.level)} = (real){value(c.name)};" for i, c in enumerate(program.coefficients)]
    body += [f"carry[{i}][j] = (real){value(s.init)};" for i, s in enumerate(program.carry)]
    unused = [] if "dt" in read else ["(void)dt;"]
    unused += ["(void)parameters;"] if not any(p.name in read for p in program.parameters) else []
    unused += ["(void)coefficients;"] if not program.coefficients else []
    unused += ["(void)carry;"] if not program.carry else []
    return "\n".join([
        *_drawn(program),
        "/* Once per call: coefficients and the carry before the first step. A parameter is one number at level layer,",
        "   else one per neuron; so is a coefficient. Carry rows hold the initial values of one sample. */",
        "void neuron_prologue(int64_t neurons, double dt, const double *const *parameters, real *const *coefficients,",
        "                     real *const *carry)",
        "{",
        *(f"    {line}" for line in unused),
        "    for (int64_t j = 0; j < neurons; j++) {",
        *(f"        {line}" for line in body),
        "    }",
        "}",
        "",
    ])  # fmt: skip


def _drawn(program: Program) -> list[str]:
    """Who calls this code draws what the declaration draws."""
    names = ", ".join(drawn_names(program))
    if not names:
        return []
    return [f"/* The start of {names} is drawn, by the caller: over the rows of neuron_prologue, in which each draw is",
            "   in the middle of its law. */"]  # fmt: skip


def _place(level: str) -> str:
    return "[0]" if level == "layer" else "[j]"


def _parameters(program: Program, names: Names, read: set[str]) -> list[str]:
    names("dt")
    return [
        f"const double {names(p.name)} = parameters[{i}]{_place(p.level)};"
        for i, p in enumerate(program.parameters)
        if p.name in read
    ]


def statements(assigns: Sequence[Assign], value: Callable[[str], str], names: Names) -> list[str]:
    """All entries of one matrix exponential share one call."""
    lines: list[str] = []
    matrices: dict[tuple[str, ...], str] = {}
    for a in assigns:
        if a.op == "expm":
            lines += matrix_entry(a, value, names(a.name), matrices, "double")
        elif a.op != "const":
            lines += statement(a, value, names(a.name), "float64", "double")
    return lines
