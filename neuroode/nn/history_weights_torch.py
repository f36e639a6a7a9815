"""Weights of a layer that keeps the whole past, from the orders of its states; sums over a past that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from neuroode._errors import RunError
from neuroode.nn.history_run_torch import Found, Weights
from neuroode.nn.history_step_torch import HistoryStep, Memory
from neuroode.nn.pieces_torch import Moment, signals_of
from neuroode.nn.steps_torch import Call
from neuroode.solvers.on_torch import fractional_torch as formulas
from neuroode.solvers.on_torch.online_torch import convolved

Tensor = torch.Tensor


def weights_of(
    step: HistoryStep, orders: Mapping[str, Tensor], h: float, before: int, steps: int, dtype: torch.dtype
) -> Weights:
    """Of a call of so many steps after `before` others."""
    terms, n = _terms(step, orders), before + steps + 2
    kernel, newest, starts = _made(step, terms, h, n)
    kernel = [[None if w is None else w[: n - 1].to(dtype) for w in row] for row in kernel]
    return Weights(kernel, newest.to(dtype), None if starts is None else starts.to(dtype), before)


Made = tuple[list[list[Tensor | None]], Tensor, Tensor | None]


def _made(step: HistoryStep, terms: list[tuple[Tensor, Tensor]], h: float, n: int) -> Made:
    """Kernel, weights of the newest right side, starting weights."""
    method, (c, a) = step.method, terms[0]
    if method.name in ("gl", "l1"):
        found = formulas.gl_weights(terms, h, n) if method.name == "gl" else formulas.l1_weights(a, h, n) / c
        return [[found[1:] if method.implicit else found]], found[:1], None
    scale = h**a / c
    if method.name == "abm":
        far, near = (w * scale for w in formulas.trapezoid_weights(a, n))
        return [[formulas.rectangle_weights(a, n) * scale, None], [far, near[1:]]], near[:1], None
    found = formulas.flmm2_series(a, n, method.variant) * scale
    starts = formulas.starting_weights(a, n, method.variant) * scale
    first = [found[0] + starts[m, m] for m in range(1, min(starts.shape[1], n + 1))]
    return [[found[1:]]], torch.stack([*first, found[0]]), starts


def _terms(step: HistoryStep, orders: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(coefficient, order) of each term, (states, 1, *level*); a state with fewer terms has zeros."""
    history, found = step.history, []
    for k in range(max(history.terms)):
        own = [(f"c.{s}.{k}", f"a.{s}.{k}") if k < n else None
               for s, n in zip(step.states, history.terms, strict=True)]  # fmt: skip
        like = next(iter(orders.values()))
        pairs = [(orders[p[0]], orders[p[1]]) if p else (like.new_zeros(()), like.new_ones(())) for p in own]
        found.append((_lanes([c for c, _ in pairs]), _lanes([a for _, a in pairs])))
    return found


def _lanes(rows: Sequence[Tensor]) -> Tensor:
    """(states, 1, *level*)"""
    return torch.stack(list(torch.broadcast_tensors(*rows)))[:, None]


def sums_of_past(weights: Weights, past: Tensor, steps: int) -> Tensor:
    """(T, channels, states, B, *size*): what the sums of a call's steps owe to the calls before it; differentiable."""
    before = len(past)
    if not before:
        return past.new_zeros(steps, *past.shape[1:])
    sums = []
    for row in weights.kernel:
        parts = [convolved(w[: before + steps], past[:, i], before) for i, w in enumerate(row) if w is not None]
        sums.append(torch.stack(parts).sum(0))
    found = torch.stack(sums, 1)
    if weights.starts is None:
        return found
    count = min(before, weights.starts.shape[1])
    rows = weights.starts[before + 1 : before + steps + 1, :count]
    return found + (rows * past[:count, 0]).sum(1)[:, None]


def propagated(
    step: HistoryStep, call: Call, start: Sequence[Tensor], past: Tensor, memory: Memory, orders: Mapping[str, Tensor],
    h: float,
) -> Found:  # fmt: skip
    """All steps at once, exact for inputs that are held: v - v(0) = response * (drive - rate*v(0)), by one FFT.

    What the past takes in is 0 before a sample began, so samples of different lengths go on side by side.

    Raises:
        RunError: a right side grows with its own state.
    """
    pieces, (t, lanes) = step.pieces, (call.steps, memory.base.shape)
    rates = _lanes([orders[f"l.{s}"] for s in step.states])
    if bool((rates < 0).any()):
        raise RunError("method mittag_leffler: a right side grows with its own state", hint="method: flmm2 or abm")
    order = _terms(step, orders)[0][1]
    response = formulas.unit_response(order, rates, h, len(past) + t + 1)
    wide = [x.reshape(t * lanes[1], *lanes[2:]) for x in call.inputs]
    rest = [torch.zeros_like(wide[0]) for _ in start]
    m = Moment(coefficients=call.coefficients, carry=rest, inputs=wide, h=h)
    drive = pieces.slope(m, pieces.known(m), torch.stack([rest[i] for i in pieces.flow_slots]), 0.0)
    drive = drive.reshape(lanes[0], t, *lanes[1:]).movedim(1, 0) - rates.to(memory.base) * memory.base
    whole, dtype = torch.cat([past[:, 0], drive]), memory.base.dtype
    forced = convolved((response[1:] - response[:-1]).to(dtype), whole, len(past))[:t]
    return _finished(step, call, start, memory.base + forced, memory, drive)


def _finished(
    step: HistoryStep, call: Call, start: Sequence[Tensor], v: Tensor, memory: Memory, drive: Tensor
) -> Found:
    """Guards, maps and outputs of every step, whose states are known."""
    rows, traces, carry = [], [], list(start)
    for t in range(call.steps):
        m = call.at(t, carry)
        known = step.pieces.known(m)
        after = step.pieces.finish(m, known, v[t], signals_of(step.pieces.guards(m, known, v[t])))
        carry = after.carry
        rows.append(after.outputs)
        traces.append(after.trace)
    out = [torch.stack(column) for column in zip(*rows, strict=True)]
    return Found(out, carry, memory.rows(), drive[:, None], traces)
