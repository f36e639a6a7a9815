"""Program -> C: two functions over a whole sequence, its forward pass and the reverse.

The text is three loops over lanes, generated, inside a frame that is the same for every neuron (`solvers/native/*.h`).
"""

from __future__ import annotations

import re

from neuroode._errors import Unsupported
from neuroode.emit.c_loops import event_output, replay_loop, reverse_loop, step_loop
from neuroode.emit.c_ops import REAL, sections_of
from neuroode.emit.c_parts import base, maths, table, types
from neuroode.emit.c_prologue import prologue
from neuroode.emit.c_stored import reverse_assigns, stored
from neuroode.program.types import Adjoint, Program
from neuroode.solvers.native import text

CHUNK = 32  # steps between checkpoints
BLOCK = 8  # samples that a recurrent kernel works on together
HISTORY = 256 * 1024  # bytes of states that the reverse of a chunk may hold: they should stay in the second cache

HELPERS = ("denormals", "prefetch", "lines", "pack", "unpack")


def emit_c(
    program: Program,
    adjoint: Adjoint,
    dtype: str = "float32",
    *,
    recurrent: tuple[str, str] | None = None,
    standalone: bool = False,
) -> str:
    """C source of the program's step over time and of its reverse, and of what comes before the first step.

    Args:
        dtype: float32 or float64.
        recurrent: (input, output): the output of the last step, times a matrix, is added to the input.
        standalone: with a header comment and a prologue that reads parameters as they are, to be compiled alone.

    Raises:
        Unsupported: another dtype, or names that the program does not have.
    """
    if dtype not in REAL:
        raise Unsupported(f"the C target computes in float32 or float64, not {dtype}")
    replayed = (_output_index(program, recurrent[1]),) if recurrent else None
    frame = ["recurrent.h", "recurrent_forward.h", "recurrent_backward.h"] if recurrent else ["forward.h", "backward.h"]
    once = (*program.prologue, *(() if standalone else reverse_assigns(program, adjoint)))
    parts = [
        _header(program, adjoint, recurrent) if standalone else "",
        types(dtype, recurrent is not None),
        base((*HELPERS, "prefetch_to_write") if recurrent else HELPERS),
        maths(sections_of([*program.body, *adjoint.assigns], once), dtype),
        _constants(program, adjoint, dtype, recurrent),
        text("calls.h"),
        prologue(program) if standalone else stored(program, adjoint),
        step_loop(program, dtype),
        replay_loop(program, dtype, replayed),
        reverse_loop(program, adjoint, dtype),
        *map(text, frame),
    ]
    return _own_names("\n".join(p for p in parts if p), c_name(program.name))


def c_name(name: str) -> str:
    """A prefix for the exported names."""
    return re.sub(r"\W", "_", name)


def lanes_of_tile(program: Program, dtype: str) -> int:
    """Lanes that are worked on together: rows fit the first cache, the states of a chunk of steps the second."""
    size = 4 if dtype == "float32" else 8
    lanes = 256
    while lanes > 64 and CHUNK * max(1, len(program.carry)) * lanes * size > HISTORY:
        lanes //= 2
    return lanes


def _header(program: Program, adjoint: Adjoint, recurrent: tuple[str, str] | None) -> str:
    """What the arrays of the calls are, in their order."""
    rows = {
        "parameters": [f"{p.name[2:]} ({p.level})" for p in program.parameters],
        "coefficients": [f"{c.name} ({c.level})" for c in program.coefficients],
        "inputs": list(program.inputs),
        "carry": [s.name for s in program.carry] + (["last output"] if recurrent else []),
        "outputs": [name for name, _ in program.outputs],
        "g_coefficients": [name for name, _ in adjoint.coefficients],
    }
    lines = [f"   {name}: {', '.join(found) or 'none'}" for name, found in rows.items()]
    blocks = f"steps*events*ceil(samples/{BLOCK})*ceil({BLOCK}*neurons/64)"
    words = blocks if recurrent else "steps*events*(samples*neurons/64 + samples*(1 + neurons/64) + 1)"
    back = [f"   The last output {recurrent[1]} comes back to the input {recurrent[0]}."] if recurrent else []
    return "\n".join([
        f"/* {program.name}: its step over a sequence, and the reverse. Made by neuroode; needs C11 and libm only.",
        "",
        "   neuron_prologue(...)        once: parameters -> coefficients and initial carry",
        "   neuron_forward(const neuron_forward_call *)    inputs, carry -> outputs, last carry",
        "   neuron_backward(const neuron_backward_call *)  their cotangents -> those of inputs, carry, coefficients",
        "   Both return 0, or 1 where memory ran out. The arrays of the calls, in order:",
        *lines,
        *back,
        f"   `checkpoints`: (ceil(steps/{CHUNK}), carry, samples, neurons) numbers; `bits`: 64-bit words, this many:",
        f"   {words}.",
        "   Fast with: -O3 -march=native -fno-math-errno -fno-trapping-math -fopenmp. Not with -ffast-math. */",
        "",
    ])  # fmt: skip


def _output_index(program: Program, name: str) -> int:
    names = [n for n, _ in program.outputs]
    if name not in names:
        raise Unsupported(
            f"{program.name} has no output {name!r} to feed back", hint=f"its outputs: {', '.join(names)}"
        )
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


def _tile_constants(program: Program, dtype: str) -> dict[str, int]:
    lanes = lanes_of_tile(program, dtype)
    return {"LANES": lanes, "ROW": lanes + 16, "GROUP": max(1, 65536 // (lanes * max(1, len(program.carry))))}


def _constants(program: Program, adjoint: Adjoint, dtype: str, recurrent: tuple[str, str] | None) -> str:
    per_neuron = {c.name: int(c.level != "layer") for c in program.coefficients}
    read = {x for a in adjoint.assigns for x in a.args}
    counts = {
        "N_INPUTS": len(program.inputs),
        "N_OUTPUTS": len(program.outputs),
        "N_CARRY": len(program.carry),
        "N_STATES": len(program.carry) + (recurrent is not None),
        "N_EVENTS": len(program.events),
        "N_COEFFICIENTS": len(per_neuron),
        "N_TRAINED": len(adjoint.coefficients),
        "CHUNK": CHUNK,
        "REVERSE_READS_EVENTS": int(any(x.startswith("e.") for x in read)),
    }
    counts |= _recurrent_constants(program, adjoint, recurrent) if recurrent else _tile_constants(program, dtype)
    outputs = [event_output(program, e.name) for e in program.events]
    return "\n".join([
        "enum {",
        *(f"    {name} = {value}," for name, value in counts.items()),
        "};",
        table("PER_NEURON", list(per_neuron.values())),
        table("TRAINED_PER_NEURON", [per_neuron[name] for name, _ in adjoint.coefficients]),
        table("EVENT_OUTPUT", outputs) + " /* the output that is this event, or -1 */",
        "",
    ])  # fmt: skip


def _own_names(source: str, name: str) -> str:
    return re.sub(r"\bneuron_(?=forward|backward|prologue)", f"{name}_", source)
