"""neuroode compiles neuron equations into trainable modules, and proves what it compiled.

Importing this package loads neither torch nor jax, nor sympy: each comes when it is first needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neuroode._errors import (
    AnalysisError,
    LoweringError,
    NeuroodeError,
    Place,
    RunError,
    SaturatedWarning,
    SpecError,
    UnitError,
    Unsupported,
)

if TYPE_CHECKING:
    from neuroode.neuron import Neuron as Neuron
    from neuroode.neuron import load as load
    from neuroode.nn.recurrent import Recurrent as Recurrent

__version__ = "0.1.0"

#: public name -> module that has it
_LAZY = {
    **dict.fromkeys(("Neuron", "load", "detach_carry"), "neuroode.neuron"),
    "Recurrent": "neuroode.nn.recurrent",
    **dict.fromkeys(
        (
            "symbols", "symbol", "quantity", "Parameter", "State", "Input", "Event", "Reset", "Surrogate", "at",
            "index", "sum", "detach", "straight_through", "grad", "dW", "where", "t", "dt", "step",
        ),
        "neuroode.spec.dsl",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in ("nn", "models", "solvers"):
        return import_module(f"neuroode.{name}")
    raise AttributeError(f"module 'neuroode' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, "nn"])


__all__ = [
    "AnalysisError", "LoweringError", "NeuroodeError", "Place", "RunError", "SaturatedWarning", "SpecError",
    "UnitError", "Unsupported",
    "__version__", *_LAZY,
]  # fmt: skip
