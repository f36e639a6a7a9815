"""Layers whose flow a solver moves: `neuron.torch(..., solver="torchdiffeq")`, or with noise `solver="torchsde"`.

Everything that a step means stays what it is (language.md, section 3): inputs are held over the step, impulses come
before the flow; guards, maps, resets and outputs after it. Only the flow itself is no formula but a call of the solver
over [0, dt], with its own steps and its own error control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.discretize.waves import noise_shape
from neuroode.nn import adjoints_torch, backsolve_torch
from neuroode.nn.carry import Carry
from neuroode.nn.events_torch import EVENTS, SAMPLES, Locating
from neuroode.nn.inputs_torch import Sequence
from neuroode.nn.layer_torch import Found, NeuronLayer
from neuroode.nn.noise_torch import given_of
from neuroode.nn.noisy_torch import Waves
from neuroode.nn.parallel_torch import held
from neuroode.nn.pieces_torch import Pieces
from neuroode.nn.solved import located_events, refuse_memory
from neuroode.nn.steps_torch import Call, Step, traced
from neuroode.nn.tables_torch import with_tables
from neuroode.nn.times_torch import begins
from neuroode.program.hybrid import hybrid
from neuroode.program.values import joined
from neuroode.solvers.on_torch import flow_torch, noisy_torch
from neuroode.system.types import OdeSystem

Tensor = torch.Tensor
RESTART = 64  # steps: of a leak of 20 steps, errors grow 25 times in between
ADJOINTS = ("none", "checkpointed", "backsolve")
COUNTS = {"segment": "checkpointed", "restart": "backsolve", "samples": "", "max_events": ""}  # of which adjoint
SOLVERS = ("torchdiffeq", "torchsde")


class SolverLayer(NeuronLayer):
    """*size* neurons whose flow torchdiffeq moves, or torchsde where it has noise.

    Args:
        solver: "torchdiffeq" or "torchsde".
        adjoint: how gradients are found. none: autograd through every step of the solver, memory grows with all of
            them. checkpointed: states are stored every `segment` steps (default sqrt(T)), the steps between are
            computed again. backsolve: states are integrated back in time together with their cotangents
            (`nn.backsolve_torch`, which says what is stored); from states stored every `restart` steps (default 64;
            None: never), because running back multiplies errors where the flow contracts. A gradient whose states did
            not come back to where they were (`layer.gap`, relative) is an error. With torchsde it is the exact adjoint
            of reversible_heun in fixed steps, within each step of the layer; replayed noise has no gradient then.
        gradient: surrogate (default): a signal has the slope of its event's surrogate. event: none, what is exact is
            left, that through the times of events inside the step (`within_step: locate`).
        solver_options: method (default dopri5); rtol, atol, first_step, min_step, max_step, max_num_steps of adaptive
            methods (default rtol 1e-7, atol 1e-9 in float64, 1e-5 and 1e-7 in float32; the error is that of the worst
            lane, in each step of the layer); step_size of fixed ones (rk4, ...; default one step a dt). segment,
            restart: of the adjoints. samples (default 8), max_events (100): of events inside the step, the parts of a
            step between which margins are looked at, and the most events of a lane in one. Of torchsde: method (default
            srk, heun for general noise; `solvers.on_torch.noisy_torch`), rtol, atol (1e-3, 1e-4), first_step,
            step_size (fixed steps).
        others: as for `NeuronLayer`.

    Raises:
        Unsupported: what a solver does not do, with the reason.
        RunError: an option of the solver that is not there, or has no such value.
    """

    moved = True  # by more than the formulas of its program

    def __init__(
        self, neuron: Any, size: int | tuple[int, ...], dt: float, *, solver: str, adjoint: str | None = None,
        solver_options: Mapping[str, Any] | None = None, gradient: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        _check(solver, adjoint, options)
        own, noisy = dict(solver_options or {}), solver == "torchsde"
        self.adjoint = adjoint or "none"
        self.counts = _counts(self.adjoint, own, ("segment",) if noisy else tuple(COUNTS))
        self.gradient = gradient or "surrogate"
        self.noisy = noisy_torch.solver(own, adjoint == "backsolve") if noisy else None
        self.flow = flow_torch.solver({} if noisy else own)
        super().__init__(neuron, size, dt, gradient=gradient, **options)

    def _lower(self) -> None:
        report = self.neuron.analyse(self.dt, brief=True)
        refuse_memory(report.system)
        self.waves = None if self.noisy is None else _waves(report.system, self.noisy)
        self.hybrid = hybrid(report, None if self.waves is None else self.waves.calculus)
        self.locating = _locating(report.system, self.gradient, self.counts)
        self._take(self.hybrid.whole, self.hybrid.still)

    @property
    def _step(self) -> Step:
        return Step(Pieces(self.hybrid), self.flow, self.locating, waves=self.waves)

    def _run(self, given: Sequence, carry: Carry | None, step: Step | None = None) -> Found:
        call, start = self._call_of(given, carry)
        if not call.inputs[0].numel():  # no step, or no sample
            count = len(self.program.outputs) + (len(self.locating.events) if self.locating and step else 0)
            return [torch.zeros_like(call.inputs[0]) for _ in range(count)], start, None
        with torch.autocast(self._like.device.type, enabled=False):
            outputs, after = self._run_by_adjoint(step or self._step, call, start)
        return outputs, after, None

    def _run_by_adjoint(self, step: Step, call: Call, start: list[Tensor]) -> adjoints_torch.Run:
        if self.adjoint == "none" or (self.adjoint == "backsolve" and self.waves is not None):
            return adjoints_torch.plain(step, call, start)
        if self.adjoint == "checkpointed":
            return adjoints_torch.checkpointed(step, call, start, self.counts.get("segment"))
        return backsolve_torch.backsolve(step, call, start, self.counts.get("restart", RESTART), self._report)

    def _report(self, gap: float) -> None:
        self.gap = gap

    def spike_times(
        self, x: Any = None, carry: Carry | None = None, **call: Any
    ) -> tuple[Tensor | dict[str, Tensor], Carry]:
        """As of a `NeuronLayer`."""
        if self.locating is None:
            raise Unsupported(f"'{self.neuron.spec.name}' takes events at the end of the step: they have no times",
                              hint="declare within_step: locate")  # fmt: skip
        given = given_of(self, x, carry, **call)
        outputs, after, _ = self._run(given, carry, replace(self._step, timed=True))
        rows = outputs[len(self.program.outputs) :]
        found = {e: begins(self, call.get("times"), x) + x for e, x in zip(self.locating.events, rows, strict=True)}
        return next(iter(found.values())) if len(found) == 1 else found, self._carry(after, None, given.noise_key)

    def _traced(self, given: Sequence, carry: Carry | None) -> dict[str, Tensor]:
        call, start = self._call_of(given, carry)
        names = [n for n, _ in self.program.trace]
        return self._border.join_by_name(joined(traced(self._step, call, start, names)))

    def _call_of(self, given: Sequence, carry: Carry | None) -> tuple[Call, list[Tensor]]:
        coefficients, start, _ = self._prepare(given, carry)
        full = with_tables(self, given, None if carry is None else start)
        inputs = held(full.inputs, given.lengths)
        h = self.dt if given.durations is None else given.durations.to(self._like.dtype)
        return Call(coefficients=coefficients, inputs=inputs, h=h, lengths=given.lengths), start


def _locating(system: OdeSystem, gradient: str, counts: Mapping[str, int]) -> Locating | None:
    """How events inside the step are found; None where they act at its end.

    Raises:
        Unsupported: what has no time inside the step. RunError: options of it where no event is located.
    """
    names = {n: counts[n] for n in ("samples", "max_events") if n in counts}
    events = located_events(system)
    if not events:
        if names:
            raise RunError(f"solver_options: '{next(iter(names))}' belongs to within_step: locate")
        return None
    return Locating(
        events=tuple(e.name for e in events), detached=frozenset(e.name for e in events if e.detached),
        samples=names.get("samples", SAMPLES), most=names.get("max_events", EVENTS), gradient=gradient,
    )  # fmt: skip


def _check(solver: Any, adjoint: Any, options: dict[str, Any]) -> None:
    """Refuse what a solver layer does not do."""
    if solver not in SOLVERS:
        raise Unsupported(f"solver={solver!r}: torch layers know torchdiffeq, and torchsde for noise",
                          hint='write solver="torchdiffeq" or solver="torchsde"')  # fmt: skip
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


def _waves(system: OdeSystem, noisy: noisy_torch.Noisy) -> Waves:
    """How torchsde moves a system.

    Raises:
        Unsupported: there is no noise, or none that the method takes.
    """
    if not system.diffusion:
        raise Unsupported(f"'{system.spec.name}' has no differential with dW, which torchsde is for",
                          hint='write solver="torchdiffeq"')  # fmt: skip
    shape = noise_shape(system)
    return Waves(replace(noisy, method=noisy_torch.chosen(noisy, shape)), shape)


def _counts(adjoint: str, own: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Options that are whole numbers and ours, taken out of those of the solver."""
    found = {n: own.pop(n) for n in names if n in own}
    for name, value in found.items():
        if adjoint != (COUNTS[name] or adjoint):
            raise RunError(f"solver_options: '{name}' belongs to adjoint='{COUNTS[name]}'")
        if name == "restart" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RunError(f"solver_options: {name} is {value!r}, expected a whole number of at least 1")
    return found
