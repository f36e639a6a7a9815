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
BLOCK = 8  # samples that a recurrent kernel works on together
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
    del standalone
    replayed = (_output_index(program, recurrent[1]),) if recurrent else None
    loops = [step_loop(program, dtype), replay_loop(program, dtype, replayed), reverse_loop(program, adjoint, dtype)]
    frame = ["recurrent.h", "recurrent_forward.h", "recurrent_backward.h"] if recurrent else ["forward.h", "backward.h"]
    parts = [
        _types(dtype, recurrent), _base(), _maths([*program.body, *adjoint.assigns], dtype),
        _constants(program, adjoint, dtype, recurrent), text("calls.h"), *loops, *map(text, frame),
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


def _types(dtype: str, recurrent: tuple[str, str] | None) -> str:
    return (
        f"typedef {REAL[dtype]} real;\n"
        f"#define REAL_IS_DOUBLE {int(dtype == 'float64')}\n"
        f"#define RECURRENT {int(recurrent is not None)}\n"
    )


def _output_index(program: Program, name: str) -> int:
    names = [n for n, _ in program.outputs]
    if name not in names:
        raise Unsupported(f"{program.name} has no output {name!r} to feed back", hint=f"its outputs: {', '.join(names)}")
    return names.index(name)


def _recurrent_constants(program: Program, adjoint: Adjoint, recurrent: tuple[str, str]) -> dict[str, int]:
    source, output = recurrent
    if source not in program.inputs:
        raise Unsupported(f"{program.name} has no input {source!r}", hint=f"its inputs: {', '.join(program.inputs)}")
    index = _output_index(program, output)
    events = [event_output(program, e.name) for e in program.events]
    return {
        "BLOCK": BLOCK,
        "RECURRENT_INPUT": program.inputs.index(source),
        "RECURRENT_OUTPUT": index,
        "RECURRENT_EVENT": events.index(index) if index in events else -1,
        "KEEP_DRIVE": int(any(f"x.{source}" in a.args for a in adjoint.assigns)),
    }


def _base() -> str:
    return text("base.h")


def _maths(assigns: list[Assign], dtype: str) -> str:
    own = "maths_float.h" if dtype == "float32" else "maths_double.h"
    return select(sections_of(assigns), (own, "maths.h"))


def _constants(program: Program, adjoint: Adjoint, dtype: str, recurrent: tuple[str, str] | None) -> str:
    lanes = lanes_of_tile(program, dtype)
    per_neuron = [int(c.level != "layer") for c in program.coefficients]
    level = {c.name: int(c.level != "layer") for c in program.coefficients}
    counts = {
        "N_INPUTS": len(program.inputs), "N_OUTPUTS": len(program.outputs), "N_CARRY": len(program.carry),
        "N_EVENTS": len(program.events), "N_COEFFICIENTS": len(per_neuron), "N_TRAINED": len(adjoint.coefficients),
        "N_STATES": len(program.carry) + (recurrent is not None), "CHUNK": CHUNK,
    }  # fmt: skip
    read = {x for a in adjoint.assigns for x in a.args}
    counts["REVERSE_READS_EVENTS"] = int(any(x.startswith("e.") for x in read))
    if recurrent:
        counts |= _recurrent_constants(program, adjoint, recurrent)
    else:
        counts |= {"LANES": lanes, "ROW": lanes + 16, "GROUP": max(1, 65536 // (lanes * max(1, len(program.carry))))}
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
