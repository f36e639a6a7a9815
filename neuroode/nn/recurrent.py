"""The option `recurrent=` of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from neuroode._errors import RunError, Unsupported
from neuroode.program.schedule import PARALLEL
from neuroode.program.types import CLOCK, Program
from neuroode.system.sequences import source_of


@dataclass(frozen=True, slots=True)
class Recurrent:
    """Recurrent weights: W_rec times `output` of the step before is added to `input`.

    Args:
        input, output: names; None takes the first input and the only output.
        init: xavier_uniform | orthogonal | zeros.
        bias: a trained bias per neuron.
        self_connections: False keeps the diagonal of W_rec at 0.
    """

    input: str | None = None
    output: str | None = None
    init: str = "xavier_uniform"
    bias: bool = False
    self_connections: bool = True


def recurrent_names(option: Any, program: Program, size: tuple[int, ...]) -> Recurrent | None:
    """The option with its input and output filled in.

    Raises:
        Unsupported: *size* is not one number, or the names do not fit.
    """
    if option is None or option is False:
        return None
    chosen = _as_recurrent(option)
    if CLOCK in program.inputs:
        raise Unsupported(f"neuron '{program.name}' has no input that recurrent weights could feed")
    if len(size) != 1:
        raise Unsupported(f"recurrent weights need size to be one number, found {size}")
    outputs = [n for n, _ in program.outputs]
    if chosen.output is None and len(outputs) != 1:
        raise Unsupported(
            f"recurrent=True needs a single output, found {', '.join(outputs)}", hint='name both: recurrent={"I": "s"}'
        )
    filled = replace(chosen, input=chosen.input or program.inputs[0], output=chosen.output or outputs[0])
    if any(source_of(n)[0] == filled.input for s in program.sums for n in s.value.inputs):
        what = f"'{program.name}' sums '{filled.input}' over the whole sequence, before recurrent weights add to it"
        raise Unsupported(what, hint="recurrent weights need an input that each step reads for itself")
    if filled.input not in program.given or filled.output not in outputs:
        raise Unsupported(
            f"recurrent from '{filled.output}' to '{filled.input}' does not fit",
            hint=f"inputs: {', '.join(program.given)}; outputs: {', '.join(outputs)}",
        )
    return filled


def refuse_parallel(schedule: str, recurrent: Recurrent | None) -> None:
    """Raise where recurrent weights meet a schedule over whole sequences.

    Raises:
        Unsupported: with the reason.
    """
    if recurrent and schedule in PARALLEL:
        what = f"schedule '{schedule}' runs each neuron by itself, but recurrent weights mix them in every step"
        raise Unsupported(what, hint="choose auto, sequential or eager")


def _as_recurrent(option: Any) -> Recurrent:
    if option is True:
        return Recurrent()
    if isinstance(option, Mapping) and len(option) == 1:
        ((target, source),) = option.items()
        return Recurrent(input=target, output=source)
    if isinstance(option, Recurrent):
        return option
    raise RunError(f"recurrent is {option!r}", hint='write True, Recurrent(...) or {"I": "s"}')
