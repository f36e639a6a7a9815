"""C text of a step that reads its whole past: the generated loops of any step in a frame with sums over a block."""

from __future__ import annotations

from neuroode.emit.c_loops import event_output, reverse_loop, step_loop
from neuroode.emit.c_ops import sections_of
from neuroode.emit.c_parts import base, maths, table, types
from neuroode.program.history_step import Remembered
from neuroode.program.types import Adjoint
from neuroode.solvers.native import text

BLOCK = 64  # steps whose sums over one another are direct
LANES = 128  # that are worked on together


def emit_history(step: Remembered, adjoint: Adjoint, dtype: str) -> str:
    """C source of `neuron_history_forward` and `neuron_history_backward`, for float32 or float64."""
    program = step.program
    parts = [
        types(dtype), base(("denormals", "lines")), maths(sections_of([*program.body, *adjoint.assigns]), dtype),
        _constants(step, adjoint), step_loop(program, dtype), reverse_loop(program, adjoint, dtype), text("history.h"),
    ]  # fmt: skip
    return "\n".join(p for p in parts if p)


def _constants(step: Remembered, adjoint: Adjoint) -> str:
    program, count = step.program, len(step.states)
    values, plain = step.channels * count, plain_outputs(step)
    per_neuron = {c.name: int(c.level != "layer") for c in program.coefficients}
    counts = {
        "N_GIVEN": len(program.inputs) - values,
        "N_PLAIN": plain,
        "N_EXTRA": len(program.outputs) - plain - values,
        "N_CARRY": len(program.carry),
        "N_EVENTS": len(program.events),
        "N_COEFFICIENTS": len(per_neuron),
        "N_TRAINED": len(adjoint.coefficients),
        "N_PAIRS": len(step.pairs),
        "STATES": count,
        "CHANNELS": step.channels,
        "BLOCK": BLOCK,
        "LANES": LANES,
        "FORGETS": int(step.forgets),
        "KEPT": 0,
        "ITERATES": int(step.iterates),
        "REST": count * step.forgets,
    }
    return "\n".join([
        "enum {",
        *(f"    {name} = {value}," for name, value in counts.items()),
        "};",
        table("PER_NEURON", list(per_neuron.values())),
        table("EVENT_OUTPUT", [event_output(program, e.name) for e in program.events]),
        table("PAIR_OUT", [o for o, _ in step.pairs]),
        table("PAIR_IN", [i for _, i in step.pairs]),
        "",
    ])  # fmt: skip


def plain_outputs(step: Remembered) -> int:
    """How many outputs are those of the neuron."""
    return next(i for i, (n, _) in enumerate(step.program.outputs) if n.startswith("#value."))
