"""The option `recurrent=` of a layer."""

from __future__ import annotations

from dataclasses import dataclass


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
