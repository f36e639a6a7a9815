"""A program whose outputs are also the times of its events."""

from __future__ import annotations

from dataclasses import replace

from neuroode._errors import Unsupported
from neuroode.program.pack import groups
from neuroode.program.slices import signed
from neuroode.program.types import Program

TIME, SIGNAL = ".time", ".signal"
HINT = "declare within_step: locate"
_known: dict[str, Program] = {}  # by the digest of the program without times


def timed(program: Program) -> Program:
    """The same step with outputs `NAME.signal` and `NAME.time` of each event inside it."""
    if program.digest not in _known:
        rows = dict(program.trace)
        extra = [row for n in program.located for row in ((n + SIGNAL, rows[n]), (n + TIME, rows[n + TIME]))]
        _known[program.digest] = signed(replace(program, outputs=(*program.outputs, *extra)))
    return _known[program.digest]


def timed_events(program: Program) -> list[str]:
    """Names of the events that have a time inside the step.

    Raises:
        Unsupported: none has.
    """
    known = [g.name for g in groups(n.removesuffix(TIME) for n, _ in program.trace if n.endswith(TIME))]
    if not known:
        raise Unsupported(f"'{program.name}' takes events at the end of the step: they have no times", hint=HINT)
    return known
