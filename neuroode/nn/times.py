"""Observation times: what of a neuron counts steps and so needs steps of one length."""

from __future__ import annotations

from typing import Any

from neuroode._errors import Unsupported
from neuroode.program.types import Program
from neuroode.system.delays import has_delays


def refuse_counted(neuron: Any, program: Program) -> None:
    """Raise Unsupported where steps of different lengths mean nothing."""
    spec = neuron.spec
    counted = {
        "a delay": has_delays(spec),
        "a refractory time": any(s.name.startswith("refractory(") for s in program.carry),
        "a memory of its whole past": any(s.name.startswith("memory(") for s in program.carry),
        "t, step or a table over time": any(s.name == "step" for s in program.carry),
        "a sum over the sequence": bool(program.sums),
    }
    for what, there in counted.items():
        if there:
            raise Unsupported(
                f"times=: '{spec.name}' has {what}, which counts steps of one length",
                hint="leave times= out, or give the times as an input",
            )
