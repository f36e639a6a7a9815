"""The carry before the first step, where initial values of states are drawn: a function of seed, lane and sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroode._errors import readable
from neuroode.program.interpret import prologue, run
from neuroode.program.types import Program
from neuroode.solvers.on_numpy.random import draw

Array = np.ndarray


def sources(program: Program) -> tuple[int | None, ...]:
    """For each carry slot the output of `program.start` that it begins with; None: its own init, which is not drawn.

    Past values of a state begin like the state.
    """
    at = {name: i for i, (name, _) in enumerate(program.start.outputs)} if program.start else {}
    return tuple(at.get(s.name.partition("[t-")[0]) for s in program.carry)


def filled(program: Program, inits: Sequence[Any], drawn: Sequence[Any]) -> list[Any]:
    """The inits of a carry with what is drawn in its place."""
    return [own if i is None else drawn[i] for own, i in zip(inits, sources(program), strict=True)]


def drawn_names(program: Program) -> tuple[str, ...]:
    """The states whose initial values are drawn, by the names of their arrays."""
    names = [n for n, _ in program.start.outputs] if program.start else []
    return tuple(dict.fromkeys(readable(n).partition("[")[0].removesuffix(".re").removesuffix(".im") for n in names))


def start_of_run(
    program: Program, values: Mapping[str, Array], lanes: tuple[int, ...], seed: int
) -> dict[str, Array] | None:
    """The carry (B, *size*) by slot; None where nothing is drawn, so that a run starts from its inits.

    Args:
        values: `p.NAME` and `dt`, as those of `interpret.run`. lanes: (B, *size*).
    """
    start = program.start
    if start is None:
        return None
    keys, shape = (np.full(lanes[0], seed), np.zeros(lanes[0], int)), (1, *lanes)
    inputs = {n.name: draw(n.kind, n.name, *keys, shape) for n in start.noise}
    found = run(start, values, dict.fromkeys(start.given, np.zeros(shape)) | inputs).outputs
    env = prologue(program, values)
    own = [np.broadcast_to(env[s.init], lanes).astype(float) for s in program.carry]
    rows = filled(program, own, [found[n][0] for n, _ in start.outputs])
    return dict(zip([s.name for s in program.carry], rows, strict=True))
