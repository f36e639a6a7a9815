"""Program -> C: two functions over a whole sequence, its forward pass and the reverse.

The text is three loops over lanes, generated, inside a frame that is the same for every neuron (`solvers/native/*.h`).
"""

from __future__ import annotations

import re

from neuroode._errors import Unsupported
from neuroode.emit.c_loops import event_output, replay_loop, reverse_loop, step_loop
from neuroode.emit.c_ops import REAL, sections_of
from neuroode.program.types import Adjoint, Assign, Program
from neuroode.solvers.native import select, text

CHUNK = 32  # steps between checkpoints
HISTORY = 256 * 1024  # bytes of states that the reverse of a chunk may hold: they should stay in the second cache


def emit_c(
    program: Program,
    adjoint: Adjoint,
    dtype: str = "float32",
    *,
    recurrent: tuple[str, str] | None = None,
    standalone: bool = False,
) -> str:
    """C source of the program's step over time and of its reverse.

    Args:
        dtype: float32 or float64.
        recurrent: (input, output): the output of the last step, times a matrix, is added to the input.
        standalone: with a header comment and the prologue, to be compiled alone.
    """
    if dtype not in REAL:
        raise Unsupported(f"the C target computes in float32 or float64, not {dtype}")
    del recurrent, standalone
    loops = [step_loop(program, dtype), replay_loop(program, dtype), reverse_loop(program, adjoint, dtype)]
    parts = [
        _types(dtype), _base(), _maths([*program.body, *adjoint.assigns], dtype), _constants(program, adjoint, dtype),
        text("calls.h"), *loops, text("forward.h"), text("backward.h"),
    ]  # fmt: skip
    return _own_names("\n".join(p for p in parts if p), c_name(program.name))


def c_name(name: str) -> str:
    """A prefix for the exported names."""
    return re.sub(r"\W", "_", name)


def lanes_of_tile(program: Program, dtype: str) -> int:
    """Lanes that are worked on together: the states of a chunk of steps should fit the second cache."""
    size = 4 if dtype == "float32" else 8
    lanes = 512
    while lanes > 64 and CHUNK * max(1, len(program.carry)) * lanes * size > HISTORY:
        lanes //= 2
    return lanes


def _types(dtype: str) -> str:
    return f"typedef {REAL[dtype]} real;\n#define REAL_IS_DOUBLE {int(dtype == 'float64')}\n#define RECURRENT 0\n"


def _base() -> str:
    return text("base.h")


def _maths(assigns: list[Assign], dtype: str) -> str:
    own = "maths_float.h" if dtype == "float32" else "maths_double.h"
    return select(sections_of(assigns), (own, "maths.h"))


def _constants(program: Program, adjoint: Adjoint, dtype: str) -> str:
    lanes = lanes_of_tile(program, dtype)
    per_neuron = [int(c.level != "layer") for c in program.coefficients]
    level = {c.name: int(c.level != "layer") for c in program.coefficients}
    counts = {
        "N_INPUTS": len(program.inputs), "N_OUTPUTS": len(program.outputs), "N_CARRY": len(program.carry),
        "N_EVENTS": len(program.events), "N_COEFFICIENTS": len(per_neuron), "N_TRAINED": len(adjoint.coefficients),
        "N_STATES": len(program.carry), "CHUNK": CHUNK, "LANES": lanes, "ROW": lanes + 16, "GROUP": max(1, 65536 // (lanes * max(1, len(program.carry)))),
    }  # fmt: skip
    outputs = [event_output(program, e.name) for e in program.events]
    return "\n".join([
        f"enum {{ {', '.join(f'{k} = {v}' for k, v in counts.items())} }};",
        _table("PER_NEURON", per_neuron),
        _table("TRAINED_PER_NEURON", [level[name] for name, _ in adjoint.coefficients]),
        _table("EVENT_OUTPUT", outputs) + " /* the output that is this event, or -1 */",
        "",
    ])  # fmt: skip


def _table(name: str, values: list[int]) -> str:
    return f"static const int {name}[] = {{{', '.join(map(str, values)) or '0'}}};"


def _own_names(source: str, name: str) -> str:
    return re.sub(r"\bneuron_(?=forward|backward)", f"{name}_", source)
