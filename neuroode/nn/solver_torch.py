"""Layers whose flow a solver moves: `neuron.torch(..., solver="torchdiffeq")`.

Everything that a step means stays what it is (language.md, section 3): inputs are held over the step, impulses come
before the flow; guards, maps, resets and outputs after it. Only the flow itself is no formula but a call of the solver
over [0, dt], with its own steps and its own error control.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.nn import adjoints_torch
from neuroode.nn.carry import Carry
from neuroode.nn.inputs_torch import Sequence
from neuroode.nn.layer_torch import Found, NeuronLayer
from neuroode.nn.parallel_torch import held
from neuroode.nn.pieces_torch import Pieces
from neuroode.nn.steps_torch import Call, Step, traced
from neuroode.nn.tables_torch import with_tables
from neuroode.program.hybrid import hybrid
from neuroode.program.values import joined
from neuroode.solvers.on_torch import flow_torch

Tensor = torch.Tensor
ADJOINTS = ("none", "checkpointed")


class SolverLayer(NeuronLayer):
    """*size* neurons whose flow torchdiffeq moves.

    Args:
        solver: "torchdiffeq".
        adjoint: how gradients are found. none: autograd through every step of the solver, memory grows with all of
            them. checkpointed: states are stored every `segment` steps (default sqrt(T)), the steps between are
            computed again.
        solver_options: method (default dopri5); rtol, atol, first_step, min_step, max_step, max_num_steps of adaptive
            methods (default rtol 1e-7, atol 1e-9 in float64, 1e-5 and 1e-7 in float32; the error is that of the worst
            lane, in each step of the layer); step_size of fixed ones (rk4, ...; default one step a dt); segment.
        others: as for `NeuronLayer`.

    Raises:
        Unsupported: what a solver does not do, with the reason.
        RunError: an option of the solver that is not there, or has no such value.
    """

    def __init__(
        self, neuron: Any, size: int | tuple[int, ...], dt: float, *, solver: str, adjoint: str | None = None,
        solver_options: Mapping[str, Any] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        _check(solver, adjoint, options)
        own = dict(solver_options or {})
        self.adjoint, self.counts = adjoint or "none", _counts(adjoint or "none", own)
        self.flow = flow_torch.solver(own)
        super().__init__(neuron, size, dt, **options)

    def _lower(self) -> None:
        self.hybrid = hybrid(self.neuron.analyse(self.dt, brief=True))
        self._take(self.hybrid.whole, self.hybrid.start)

    @property
    def _step(self) -> Step:
        return Step(Pieces(self.hybrid), self.flow)

    def _run(self, given: Sequence, carry: Carry | None) -> Found:
        call, start = self._call_of(given, carry)
        if not call.inputs[0].numel():  # no step, or no sample
            return [torch.zeros_like(call.inputs[0]) for _ in self.program.outputs], start, None
        with torch.autocast(self._like.device.type, enabled=False):
            run = adjoints_torch.checkpointed if self.adjoint == "checkpointed" else adjoints_torch.plain
            outputs, after = run(self._step, call, start, **self.counts)
        return outputs, after, None

    def _traced(self, given: Sequence, carry: Carry | None) -> dict[str, Tensor]:
        call, start = self._call_of(given, carry)
        names = [n for n, _ in self.program.trace]
        return self._border.join_by_name(joined(traced(self._step, call, start, names)))

    def _call_of(self, given: Sequence, carry: Carry | None) -> tuple[Call, list[Tensor]]:
        coefficients, start, _ = self._prepare(given, carry)
        full = with_tables(self, given, None if carry is None else start)
        inputs = held(full.inputs, given.lengths)
        return Call(coefficients=coefficients, inputs=inputs, h=self.dt, lengths=given.lengths), start


def _check(solver: Any, adjoint: Any, options: dict[str, Any]) -> None:
    """Refuse what a solver layer does not do, and drop from the options what means nothing beside it."""
    if solver != "torchdiffeq":
        raise Unsupported(f"solver={solver!r}: torch layers know torchdiffeq", hint='write solver="torchdiffeq"')
    if adjoint not in (None, *ADJOINTS):
        raise Unsupported(f"adjoint={adjoint!r}", hint="choose " + " or ".join(ADJOINTS))
    if options.get("recurrent"):
        raise Unsupported("a solver layer is not recurrent: its lanes know nothing of one another",
                          hint="leave solver= out; recurrent layers run step by step")  # fmt: skip
    if options.get("method") is not None:
        raise Unsupported(f"method={options['method']!r} is a formula for the step, and solver= is none",
                          hint='solver_options={"method": "rk4"} names a method of the solver')  # fmt: skip
    if options.get("schedule", "auto") not in ("auto", "eager"):
        raise Unsupported(f"schedule={options['schedule']!r}: a solver runs step by step", hint="leave schedule= out")


def _counts(adjoint: str, own: dict[str, Any]) -> dict[str, int]:
    """Options that are whole numbers and ours, taken out of those of the solver."""
    wanted = {"segment": "checkpointed"}
    found = {n: own.pop(n) for n in wanted if n in own}
    for name, value in found.items():
        if adjoint != wanted[name]:
            raise RunError(f"solver_options: '{name}' belongs to adjoint='{wanted[name]}'")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RunError(f"solver_options: {name} is {value!r}, expected a whole number of at least 1")
    return found
