"""The border guard of programs: a wrong one fails where it was made, not in a compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from neuroode._errors import LoweringError
from neuroode.program.types import NOISES, OPS, Assign, Program


def verify_program(program: Program) -> None:
    """Check single assignment, order of definition, arity, stages and slots.

    Raises:
        LoweringError: with the name of the value that is wrong.
    """
    outside = {p.name for p in program.parameters} | {"dt"}
    done = _check_code(program.name, program.prologue, outside, "prologue")
    coefficients = {c.name for c in program.coefficients}
    _require(program.name, coefficients, done, "coefficient")
    _require(program.name, (s.init for s in program.carry), done, "init")
    start = coefficients | {f"c.{s.name}" for s in program.carry} | {f"x.{n}" for n in program.inputs}
    values = _check_code(program.name, program.body, start, "body")
    _require(program.name, (v for _, v in (*program.outputs, *program.next, *program.trace)), values, "result")
    _check_inputs(program)
    _check_events(program)
    for slot in program.events:
        _require(program.name, [slot.margin], values, f"margin of {slot.name}")
        slope = _check_code(program.name, slot.slope, values, f"slope of {slot.name}")
        _require(program.name, [slot.slope_id], slope, f"slope of {slot.name}")
    if tuple(n for n, _ in program.next) != tuple(s.name for s in program.carry):
        raise LoweringError(f"{program.name}: `next` does not match the carry")


def _is_order(a: Assign) -> bool:
    return isinstance(a.value, int) and a.value >= 1


def _is_entry(a: Assign) -> bool:
    """(n, i, j) of an n x n matrix."""
    v = a.value
    return isinstance(v, tuple) and len(v) == 3 and len(a.args) == v[0] ** 2 and all(0 <= i < v[0] for i in v[1:])


def _is_network(a: Assign) -> bool:
    """(name, entry), the entry one of the arguments, or None."""
    v = a.value
    return isinstance(v, tuple) and isinstance(v[0], str) and (v[1] is None or 0 <= v[1] < len(a.args))


#: op -> whether its immediate (and number of arguments) is right
IMMEDIATES: dict[str, Callable[[Assign], bool]] = {
    "const": lambda a: isinstance(a.value, float),
    "ipow": lambda a: isinstance(a.value, int),
    **dict.fromkeys(("phi", "cphi_re", "cphi_im"), _is_order),
    "pair": lambda a: isinstance(a.value, tuple) and len(a.value) == 2 and a.value[0] >= 0 and a.value[1] in "CSTUV",
    "edd": lambda a: len(a.args) >= 2,
    "expm": _is_entry,
    "network": _is_network,
    **dict.fromkeys(("event", "operator"), lambda a: isinstance(a.value, str)),
}


def _check_inputs(program: Program) -> None:
    """Noise, tables and sums are the last of the inputs, in this order; noise is of a kind that there is."""
    made = (*(n.name for n in program.noise), *program.tables, *(s.name for s in program.sums))
    if made and program.inputs[-len(made) :] != made:
        raise LoweringError(f"{program.name}: the inputs do not end in noise, tables and sums: {', '.join(made)}")
    for n in program.noise:
        if n.kind not in NOISES:
            raise LoweringError(f"{program.name}: noise {n.name} of the kind {n.kind!r}")


def _check_events(program: Program) -> None:
    """Each event of the body has one slot with its margin, and each slot an event."""
    found = sorted((str(a.value), *a.args) for a in program.body if a.op == "event")
    if found != sorted((s.name, s.margin) for s in program.events):
        raise LoweringError(f"{program.name}: the events of the body are not those of the slots")


def _check_code(name: str, code: Iterable[Assign], known: set[str], where: str) -> set[str]:
    known = set(known)
    for a in code:
        if a.op not in OPS or OPS[a.op] not in (None, len(a.args)):
            raise LoweringError(f"{name}: {where}: illegal {a.op}({', '.join(a.args)})")
        if not IMMEDIATES.get(a.op, lambda a: True)(a):
            raise LoweringError(f"{name}: {where}: {a.op} of {len(a.args)} arguments with the immediate {a.value!r}")
        if a.name in known:
            raise LoweringError(f"{name}: {where}: {a.name} is assigned twice")
        _require(name, a.args, known, where)
        known.add(a.name)
    return known


def _require(name: str, names: Iterable[str], known: set[str], where: str) -> None:
    missing = [n for n in names if n not in known]
    if missing:
        raise LoweringError(f"{name}: {where} reads {', '.join(missing)}, which nothing defines")
