"""Layers that keep the whole past: `neuron.torch(..., method="gl" | "l1" | "abm" | "flmm2" | "mittag_leffler")`.

Everything that a step means stays what it is (language.md, section 3); the right sides of D^alpha lines, and of
ordinary flows beside them (order 1), are summed over all steps since the start by the online convolution, O(T log^2 T).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.nn.carry import Carry, check_carry
from neuroode.nn.eager_torch import eager_program
from neuroode.nn.history_kernel_torch import native_of
from neuroode.nn.history_native_torch import native
from neuroode.nn.history_run_torch import Found as Ran
from neuroode.nn.history_run_torch import Weights, fast, plain
from neuroode.nn.history_step_torch import HistoryStep, Memory
from neuroode.nn.history_weights_torch import propagated, sums_of_past, weights_of
from neuroode.nn.inputs_torch import Sequence
from neuroode.nn.layer_torch import Found, NeuronLayer, _described
from neuroode.nn.parallel_torch import held
from neuroode.nn.steps_torch import Call
from neuroode.nn.tables_torch import with_tables
from neuroode.program.history import history, history_method
from neuroode.program.values import joined

Tensor = torch.Tensor
PAST, MEMORY = "past", "memory"
ENDED = " with samples that ended"  # in the digest of a carry from which flmm2 cannot go on


class HistoryLayer(NeuronLayer):
    """*size* neurons with fractional derivatives, by a method of the whole past.

    Args:
        method: gl, gl(implicit), l1, l1(explicit), abm, flmm2, flmm2(trapezoidal) or mittag_leffler.
        schedule: auto (online convolution, its gradient by the transpose; steps in native code on a CPU with a
            compiler) | eager (direct sums, O(T^2), and autograd through all of it: second derivatives, forward mode).
        others: as for `NeuronLayer`.

    The carry holds the past itself: `past` (B, *size*, states, channels, steps so far) and `memory` (bases, right sides
    that are due) beside the states, so it grows with every step; `method="soe"` has one of fixed size. Chunks equal the
    whole to rounding. A lane that has ended (`lengths`) keeps its own past.

    Raises:
        Unsupported: what such a method does not do, with the reason.
    """

    moved = True  # by more than the formulas of its program

    def __init__(self, neuron: Any, size: int | tuple[int, ...], dt: float, **options: Any) -> None:
        _check(options)
        super().__init__(neuron, size, dt, **options)

    def _lower(self) -> None:
        declared = self.neuron.spec.method if self.method is None else self.method
        found = history_method(declared)
        assert found is not None
        self.rule = found
        self.history = history(self.neuron.analyse(self.dt, brief=True), found)
        self._take(self.history.hybrid.whole, self.history.hybrid.still)

    def _digest(self) -> str:
        return f"{self.program.digest} {self.rule} {self.dt!r}"

    # running

    def forward(self, *given: Any, **call: Any) -> Any:
        """As `NeuronLayer.forward`; torch.compile leaves such a layer out of its graph."""
        if torch.compiler.is_compiling():
            return _left_out(self, *given, **call)
        return super().forward(*given, **call)

    def _run(self, given: Sequence, carry: Carry | None) -> Found:
        ran, past = self._ran(given, carry, trace=False)
        self._past = past, self.rule.name == "flmm2" and _differ(given.lengths)
        return ran.outputs, ran.carry, None

    def _carry(self, arrays: list[Tensor], last: Tensor | None, key: Tensor | None) -> Carry:
        made = super()._carry(arrays, last, key)
        past, ended = self.__dict__.pop("_past", (None, False))
        return Carry(dict(made) | (self._origin(arrays) if past is None else past), made.digest + ENDED * ended)

    def _origin(self, arrays: list[Tensor]) -> dict[str, Tensor]:
        """Past and memory before the first step."""
        step = self._step_of(self._orders())
        start = torch.stack([arrays[i] for i in step.pieces.flow_slots])
        empty = start.new_zeros(0, step.channels, *start.shape)
        return _packed(empty, step.fresh(start).rows())

    def _ran(self, given: Sequence, carry: Carry | None, *, trace: bool) -> tuple[Ran, dict[str, Tensor]]:
        if given.durations is not None:
            raise Unsupported(f"method {self.rule} needs steps of one length: its past lies on a grid",
                              hint="leave times= out, or method: soe")  # fmt: skip
        full, coefficients, start = self._given(given, carry)
        orders = self._orders()
        step = self._step_of(orders)
        past, memory = self._past_of(carry, step, start)
        inputs = held(full.inputs, given.lengths)
        call = Call(coefficients=coefficients, inputs=inputs, h=self.dt, lengths=given.lengths)
        if not inputs[0].shape[0] or not inputs[0].numel():
            silent = [torch.zeros_like(inputs[0]) for _ in self.program.outputs]
            return Ran(silent, start, memory.rows(), past[:0], []), _packed(past, memory.rows())
        with torch.autocast(self._like.device.type, enabled=False):
            ran = self._by_method(step, call, start, past, memory, orders, trace)
        known = past if ran.alive is None else past * ran.alive
        return ran, _packed(_aligned(known, ran.values, given.lengths), ran.memory)

    def _by_method(self, step: HistoryStep, call: Call, start: list[Tensor], past: Tensor, memory: Memory,
                   orders: dict[str, Tensor], trace: bool) -> Ran:  # fmt: skip
        before = len(past)
        if self.rule.name == "mittag_leffler":
            return propagated(step, call, start, past, memory, orders, self.dt)
        if self.rule.name == "flmm2" and before and call.lengths is not None:
            raise _one_origin("pass lengths= in the first call, or method: gl, l1, abm")
        weights = weights_of(step, orders, self.dt, before, call.steps, self._like.dtype)
        tail = sums_of_past(weights, past, call.steps)
        return self._way(step, weights, trace)(step, call, weights, start, memory, tail)

    def _way(self, step: HistoryStep, weights: Weights, trace: bool) -> Any:
        """Native code where there is some; direct sums where autograd has to see through what the others hide."""
        mapped = _is_transformed()
        if mapped and self.rule.implicit:
            raise Unsupported(f"method {self.rule} solves its steps, and torch.func does not see through that",
                              hint="method: soe, gl or abm, with schedule=\"eager\"")  # fmt: skip
        graded, eager = torch.is_grad_enabled(), trace or self.schedule == "eager" or mapped
        kernel = None if eager else native_of(step, weights, self._like)
        if kernel is not None:
            return partial(native, kernel)
        forgets = {e for e, _ in self.history.restarts} - self.history.detached
        return plain if mapped or (graded and (eager or forgets)) else fast

    def _given(self, given: Sequence, carry: Carry | None) -> tuple[Sequence, list[Tensor], list[Tensor]]:
        coefficients, start, _ = self._prepare(given, carry)
        return with_tables(self, given, None if carry is None else start), coefficients, start

    def _orders(self) -> dict[str, Tensor]:
        """Orders, coefficients, durations and rates in float64, by name."""
        coefficients, _ = self._prologue()
        wide = [c.double() for c in coefficients]
        clock = torch.zeros((), dtype=torch.float64, device=self._like.device)
        found: dict[str, Tensor] = {}
        for program in (self.history.orders, self.history.leaks):
            if program is not None:
                rows, _, _ = eager_program(program).step(tuple(wide), (), (clock,))
                found |= {n: self._wide(x) for (n, _), x in zip(program.outputs, rows, strict=True)}
        return found

    def _wide(self, x: Any) -> Tensor:
        """A number of some level with the axes of *size*."""
        made = torch.as_tensor(x, dtype=torch.float64, device=self._like.device)
        return made.reshape(*([1] * (len(self.size) - made.dim())), *made.shape)

    def _step_of(self, orders: dict[str, Tensor]) -> HistoryStep:
        durations = {}
        for event, slot in self.history.currents:
            steps = orders[f"t.{event}.{slot}"].detach() / self.dt
            if bool((steps != steps.flatten()[0]).any()):
                raise Unsupported(f"method {self.rule}: the current of {event} lasts differently long in each neuron",
                                  hint="method: soe")  # fmt: skip
            durations[event, slot] = float(steps.flatten()[0])
        return HistoryStep(self.history, self.rule, durations)

    def _traced(self, given: Sequence, carry: Carry | None) -> dict[str, Tensor]:
        ran, _ = self._ran(given, carry, trace=True)
        names = [n for n, _ in self.program.trace]
        rows = [dict(zip(names, row, strict=True)) for row in ran.trace]
        found = {n: torch.stack([r[n] for r in rows]) for n in names} if rows else {}
        return self._border.join_by_name(joined(found))

    # the carry

    def _start(self, given: Sequence, carry: Carry) -> list[Tensor]:
        if isinstance(carry, Carry) and carry.digest == self._digest() + ENDED:
            raise _one_origin("samples of one length before this call, or method: gl, l1, abm")
        wanted = ((given.batch, *self.size), self._like.dtype, str(self._like.device))
        own = {n: x for n, x in carry.items() if n not in (PAST, MEMORY)} if isinstance(carry, Carry) else carry
        check_carry(Carry(own, carry.digest) if isinstance(carry, Carry) else carry, self._digest(), wanted, _described,
                    self._border.axes_of_carry())  # fmt: skip
        return self._border.split(carry, self._border.carry)

    def _past_of(self, carry: Carry | None, step: HistoryStep, start: list[Tensor]) -> tuple[Tensor, Memory]:
        found = self._origin(start) if carry is None else carry
        past, memory = _unpacked(found[PAST]), found[MEMORY]
        lanes = (len(step.states), *start[0].shape)
        rows = [x.movedim(-1, 0) for x in memory.unbind(-1)]
        if (
            past.shape[1:] != (step.channels, *lanes)
            or any(r.shape != lanes for r in rows)
            or len(rows) != 2 + step.due
        ):
            raise RunError("the carry's past does not fit", hint="the batch changed? pass carry=None to start afresh")
        return past, Memory.of(rows)


_left_out = torch._disable_dynamo(NeuronLayer.forward)  # imports the compiler when it is called first


def _is_transformed() -> bool:
    """Whether torch.func (vmap, grad, jvp) runs the call."""
    return bool(getattr(torch._C, "_are_functorch_transforms_active", lambda: False)())


def _differ(lengths: Tensor | None) -> bool:
    return lengths is not None and bool((lengths != lengths[:1]).any())


def _one_origin(hint: str) -> Unsupported:
    return Unsupported("method flmm2: starting weights count from one origin for all samples", hint=hint)


def _packed(past: Tensor, memory: list[Tensor]) -> dict[str, Tensor]:
    """Lanes first: (B, *size*, states, channels, steps) and (B, *size*, states, rows)."""
    rows = torch.stack([x.movedim(0, -1) for x in memory], -1)
    return {PAST: past.movedim((2, 1, 0), (-3, -2, -1)), MEMORY: rows}


def _unpacked(past: Tensor) -> Tensor:
    return past.movedim((-3, -2, -1), (2, 1, 0))


def _aligned(past: Tensor, new: Tensor, lengths: Tensor | None) -> Tensor:
    """The past with a call's values (T, channels, states, B, *size*); that of a sample that has ended ends with it."""
    whole = torch.cat([past, new])
    if lengths is None:
        return whole
    steps = torch.arange(len(whole), device=whole.device).reshape(-1, 1)
    at = steps - (len(new) - lengths)
    shape = (len(whole), 1, 1, len(lengths), *(1 for _ in whole.shape[4:]))
    found = whole.gather(0, at.clamp_min(0).reshape(shape).expand_as(whole))
    return torch.where((at >= 0).reshape(shape), found, 0.0)


def _check(options: dict[str, Any]) -> None:
    """Refuse what a layer of the whole past does not do."""
    method = options.get("method")
    if options.get("recurrent"):
        raise Unsupported(f"method {method or 'of the whole past'} is not recurrent: its lanes step by themselves",
                          hint="method: soe")  # fmt: skip
    if options.get("solver") is not None:
        raise Unsupported("a solver of ordinary equations does not know D^alpha", hint="leave solver= out")
    if options.get("schedule", "auto") not in ("auto", "eager"):
        raise Unsupported(f"schedule={options['schedule']!r}: the whole past is summed step by step",
                          hint="leave schedule= out, or method: soe")  # fmt: skip
