"""Gradients of a solver layer over a sequence: through every step of the solver, or from states stored now and then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from neuroode._errors import Unsupported
from neuroode.nn.native_torch import refuse_transforms
from neuroode.nn.once_torch import once
from neuroode.nn.steps_torch import Call, Step, run

Tensor = torch.Tensor
Run = tuple[list[Tensor], list[Tensor]]  # outputs (T, B, *size*), the carry (B, *size*) after the last step


def plain(step: Step, call: Call, carry: Sequence[Tensor]) -> Run:
    """Autograd through every step of the solver; memory grows with all of them."""
    return run(step, call, carry, 0, call.steps)


def checkpointed(step: Step, call: Call, carry: Sequence[Tensor], segment: int | None = None) -> Run:
    """States stored every `segment` steps, by default sqrt(T); in between they are computed again.

    Source: Chen et al., Training deep nets with sublinear memory cost (2016).
    """
    return in_one(_Segments(step, segment or max(1, math.isqrt(call.steps))), call, carry)


def in_one(way: Any, call: Call, carry: Sequence[Tensor]) -> Run:
    """A whole sequence as one function of autograd. `way.forward` gives (outputs, carry, what it keeps), and
    `way.backward` adds what it finds to `Gradients`."""
    tensors = [*call.coefficients, *call.inputs, *carry]
    refuse_transforms(tensors)
    if isinstance(call.h, Tensor) and call.h.requires_grad:
        raise Unsupported("times with a gradient need the one through the solver", hint='write adjoint="none"')
    found = _Sequence.apply(way, call, len(carry), *tensors)
    count = len(found) - len(carry)
    return list(found[:count]), list(found[count:])


class Gradients:
    """Cotangents of coefficients, inputs and the carry before the steps that have been walked back."""

    def __init__(self, call: Call, carry: list[Tensor], wanted: Sequence[bool]) -> None:
        leaves = [*call.coefficients, *call.inputs]
        self.call, self.carry = call, carry
        self.leaves = [torch.zeros_like(x) if w else None for x, w in zip(leaves, wanted, strict=False)]
        self.many = [x.dim() == call.inputs[0].dim() for x in call.coefficients] + [True] * len(call.inputs)

    def add(self, found: Iterable[Tensor | None], first: int, last: int) -> None:
        """Cotangents of coefficients and inputs of some steps, in the form of `Call.part`."""
        for total, g, many in zip(self.leaves, found, self.many, strict=True):
            if total is not None and g is not None:
                (total[first:last] if many else total).add_(g)


def pulled_back(step: Step, call: Call, carry: Sequence[Tensor], g_outputs: Sequence[Tensor],
                into: Gradients, span: tuple[int, int]) -> None:  # fmt: skip
    """Walk some steps back through autograd, from the carry before them; `into.carry` is that after them."""
    part = call.part(*span)
    leaves = [x.detach().requires_grad_() for x in (*part.coefficients, *part.inputs, *carry)]
    n, k = len(part.coefficients), len(leaves) - len(carry)
    with torch.enable_grad():
        again = part.replaced(leaves[:n], leaves[n:k])
        outputs, after = run(step, again, leaves[k:], 0, part.steps)
    pairs = zip([*outputs, *after], [*(g[span[0] : span[1]] for g in g_outputs), *into.carry], strict=True)
    rows = [(x, g) for x, g in pairs if x.requires_grad]
    found = torch.autograd.grad([x for x, _ in rows], leaves, [g for _, g in rows], allow_unused=True)
    into.add(found[:k], *span)
    into.carry = [torch.zeros_like(x) if g is None else g for x, g in zip(carry, found[k:], strict=True)]


@dataclass(frozen=True, slots=True)
class _Segments:
    step: Step
    every: int

    def forward(self, call: Call, carry: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Any]:
        parts, kept = [], []
        for first in range(0, call.steps, self.every):
            kept.append((first, carry))
            found, carry = run(self.step, call, carry, first, min(first + self.every, call.steps))
            parts.append(found)
        return [torch.cat(column) for column in zip(*parts, strict=True)], carry, kept

    def backward(self, call: Call, kept: Any, ends: Any, g_outputs: Sequence[Tensor], into: Gradients) -> None:
        for first, carry in reversed(kept):
            pulled_back(self.step, call, carry, g_outputs, into, (first, min(first + self.every, call.steps)))


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, way: Any, call: Call, states: int, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        carry = list(tensors[len(tensors) - states :])
        outputs, after, ctx.kept = way.forward(call, carry)
        given = {id(x) for x in tensors}
        after = [x.clone() if id(x) in given else x for x in after]
        ctx.way, ctx.states, ctx.count = way, states, len(call.coefficients)
        ctx.call = call.replaced((), ())  # its tensors are kept as autograd keeps them
        ctx.save_for_backward(*tensors, *after)
        return (*outputs, *after)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        saved, n = ctx.saved_tensors, ctx.states
        tensors, after = [x.detach() for x in saved[:-n]], [x.detach() for x in saved[-n:]]
        count = ctx.count
        call = ctx.call.replaced(tensors[:count], tensors[count:-n])
        with torch.no_grad():
            into = Gradients(call, list(grads[-n:]), ctx.needs_input_grad[3:])
            ctx.way.backward(call, ctx.kept, (tensors[-n:], after), grads[:-n], into)
        return None, None, None, *once([*into.leaves, *into.carry], (*saved, *grads))
