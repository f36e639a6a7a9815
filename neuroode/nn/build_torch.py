"""The kind of layer that options ask for."""

from __future__ import annotations

from typing import Any

from neuroode._errors import Unsupported
from neuroode.nn.history_torch import HistoryLayer
from neuroode.nn.layer_torch import NeuronLayer
from neuroode.program.history import history_method


def layer(neuron: Any, size: Any, dt: float, **options: Any) -> NeuronLayer:
    """A layer that makes steps by formulas, or one whose flow a solver moves."""
    method = options.get("method")
    if options.get("solver") is None and history_method(neuron.spec.method if method is None else method):
        return HistoryLayer(neuron, size, dt, **options)
    if options.get("solver") is None:
        return NeuronLayer(neuron, size, dt, **options)
    try:
        from neuroode.nn.solver_torch import SolverLayer
    except ModuleNotFoundError as error:
        raise Unsupported(f"{error.name} is not installed", hint="pip install 'neuroode[torch]'") from error
    return SolverLayer(neuron, size, dt, **options)
