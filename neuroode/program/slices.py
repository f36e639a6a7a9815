"""Slices of a body: the part of a program that some values need, as a program of its own.

Where a slice ends it has inputs. Their names say what a sequence of them holds: `I` an input, `c.v` the carry before a
step, `n.v` the carry after it, `e.s` an event.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from neuroode.program.builder import Builder
from neuroode.program.types import CLOCK, Assign, CarrySlot, EventSlot, Program

KNOWN = 64  # prologues whose digest is kept


@dataclass(frozen=True, slots=True)
class Slice:
    """Assigns in order, and the names of their inputs; `at` gives the name that a value of the whole has here."""

    body: tuple[Assign, ...]
    inputs: tuple[str, ...]
    at: Mapping[str, str]


def cut(body: Iterable[Assign], roots: Iterable[str], border: Callable[[str], str | None]) -> Slice:
    """What `roots` need, up to the values that `border` names as inputs."""
    needed, kept = dict.fromkeys(roots), []
    at: dict[str, str] = {}
    inputs: dict[str, None] = {}
    for value in list(needed):
        _enter(value, border, at, inputs)
    for a in reversed(tuple(body)):
        if a.name in needed and a.name not in at:
            kept.append(a)
            for x in a.args:
                needed[x] = None
                _enter(x, border, at, inputs)
    rows = tuple(Assign(a.name, a.op, tuple(at.get(x, x) for x in a.args), a.value) for a in reversed(kept))
    return Slice(rows, tuple(inputs), at)


def _enter(value: str, border: Callable[[str], str | None], at: dict[str, str], inputs: dict[str, None]) -> None:
    name = border(value)
    if name is not None:
        at[value] = f"x.{name}"
        inputs[name] = None


def program_of(
    whole: Program, found: Slice, outputs: Mapping[str, str], *,
    carry: Mapping[str, str] | None = None, events: tuple[EventSlot, ...] = (),
) -> Program:  # fmt: skip
    """A slice as a program with the prologue and the coefficients of the whole.

    Args:
        outputs, carry: names -> values of the whole; `carry` keeps slots of the whole and their inits.
    """
    inits = {s.name: s.init for s in whole.carry}
    rows = {n: found.at.get(v, v) for n, v in (carry or {}).items()}
    made = replace(
        whole, inputs=found.inputs or (CLOCK,), noise=(), tables=(), sums=(), operators=(), body=found.body,
        events=events, trace=(), carry=tuple(CarrySlot(n, inits[n]) for n in rows), next=tuple(rows.items()),
        outputs=tuple((n, found.at.get(v, v)) for n, v in outputs.items()),
    )  # fmt: skip
    return signed(made)


def signed(program: Program) -> Program:
    """The program with its digest: equal programs have equal ones, in every process and on every machine."""
    rest = repr(replace(program, digest="", prologue=(), coefficients=()))
    text = f"{rest}{_prologue_digest(program)}"
    return replace(program, digest=hashlib.sha256(text.encode()).hexdigest()[:20])


_prologues: OrderedDict[tuple[int, int], tuple[Program, str]] = OrderedDict()  # the program keeps the ids alive


def _prologue_digest(program: Program) -> str:
    """All slices of a program share its prologue, which is the longest part of what has a memory."""
    key = id(program.prologue), id(program.coefficients)
    if key not in _prologues:
        text = repr((program.prologue, program.coefficients))
        _prologues[key] = program, hashlib.sha256(text.encode()).hexdigest()
        if len(_prologues) > KNOWN:
            _prologues.popitem(last=False)
    return _prologues[key][1]


def builder_of(program: Program) -> Builder:
    """A builder that knows the levels of what a body reads: coefficients, and inputs that differ in each step."""
    b = Builder(prefix="&")
    for c in program.coefficients:
        b.declare(c.name, c.level, c.trainable)
    for name in program.inputs:
        b.declare(f"x.{name}", "lane", True)
    return b


def with_outputs(program: Program, b: Builder, outputs: Mapping[str, str]) -> Program:
    """A pointwise program without carry whose body is what `outputs` need of a builder's assigns."""
    inputs = {f"x.{n}" for n in program.inputs}
    found = cut(b.assigns, outputs.values(), lambda v: v[2:] if v in inputs else None)
    return program_of(program, found, outputs)


def renamed(slots: tuple[EventSlot, ...], found: Slice) -> tuple[EventSlot, ...]:
    """Slots of events whose margins or slopes read what is an input of the slice."""
    at = found.at
    rows = []
    for s in slots:
        slope = tuple(Assign(a.name, a.op, tuple(at.get(x, x) for x in a.args), a.value) for a in s.slope)
        margin, last = at.get(s.margin, s.margin), at.get(s.slope_id, s.slope_id)
        rows.append(replace(s, margin=margin, slope=slope, slope_id=last))
    return tuple(rows)
