"""Events inside a step, lane by lane: each at its own time, after which that lane runs on (`within_step: locate`).

The flow is sampled within the step, so that a margin that passes and comes back is seen; a hump between two samples is
looked for at the top of the cubic through them. The time of a crossing is found on the flow itself, without gradient;
one more correction, whose rate is held, carries the gradient of the implicit function theorem. The lane goes on from
behind the reset for what is left of its step, a length that has a gradient: so states after the event and times of
later ones have their exact gradients (saltation).
Sources: Chen, Amos and Nickel, Learning neural event functions for ordinary differential equations, ICLR 2021, for the
gradient of an event's time; Hiskens and Pai, IEEE Trans. Circuits Syst. I 47 (2000), for that of the states after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from neuroode._errors import RunError
from neuroode.nn.pieces_torch import Moment, Row, signals_of
from neuroode.solvers.on_torch import root_torch

if TYPE_CHECKING:
    from neuroode.nn.steps_torch import Step

Tensor = torch.Tensor
SAMPLES, EVENTS = 8, 100
CLOSE = {torch.float32: 1e-6, torch.float64: 1e-13}  # of a step: how well a time is found before the correction
TOUCH = 1e-9  # of the margin's span over a step: a rate below it is none, the margin only touches its threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Locating:
    """How events are located.

    Attributes:
        events: those that have a time inside the step.
        detached: those whose resets pass no gradient.
        samples: parts of a step between which margins are looked at.
        most: events of a lane in one step.
        gradient: surrogate keeps the surrogate's slope on a signal, event has none there.
    """

    events: tuple[str, ...]
    detached: frozenset[str] = frozenset()
    samples: int = SAMPLES
    most: int = EVENTS
    gradient: str = "surrogate"

    def graded(self, signals: Row) -> Row:
        """Signals with the gradient that they have."""
        return signals if self.gradient == "surrogate" else {n: x.detach() for n, x in signals.items()}


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Where lanes stand: y (states, B, *size*), the time since the start of the step and the time left, (B, *size*)."""

    y: Tensor
    since: Tensor
    left: Tensor


@dataclass(frozen=True, slots=True)
class _Found:
    """Of each lane: the time to its next event, whether there is one, whether the flow crosses there (else it acts at
    once); by event, whether it acts, and a time at which its margin has passed."""

    time: Tensor
    hit: Tensor
    crossed: Tensor
    acts: Row
    passed: Row


def located(step: Step, m: Moment, known: Row, y: Tensor) -> tuple[Tensor, Row, Row, Tensor]:
    """y at the end of the step, behind the resets; signals; times of first events, inf where none; which lanes had one.

    Raises:
        RunError: more events in a step than are allowed.
    """
    locating = step.locating
    assert locating is not None
    h = m.step_length.expand(m.lanes)
    left = h if m.live is None else torch.where(m.live, h, 0.0)
    now = _Lanes(y, torch.zeros_like(left), left)
    times = dict.fromkeys(locating.events, torch.full_like(h, torch.inf))
    happened = {e: torch.zeros_like(h, dtype=torch.bool) for e in locating.events}
    early: Row = {}
    for _ in range(locating.most + 1):
        found = _next(step, m, known, now, happened)
        if found is None:
            end = _moved(step, m, known, now, now.left)
            signals = _signals(step, m, known, end, early, happened)
            return end, signals, times, torch.stack(list(happened.values())).any(0)
        early = _early(step, m, known, now, found, happened, early)
        now, at = _through(step, m, known, now, found)
        for e in locating.events:
            fresh = found.acts[e] & ~happened[e]
            times[e] = torch.where(fresh, at, times[e])
            happened[e] = happened[e] | fresh
    what = f"more than {locating.most} events of one neuron in a step"
    raise RunError(what, hint="does the reset leave its guard true? solver_options={'max_events': ...} allows more")


def _moved(step: Step, m: Moment, known: Row, now: _Lanes, length: Tensor, at: Tensor | None = None) -> Tensor:
    """y after `length` of each lane, or at parts of it."""
    longest = float(length.detach().amax()) if length.numel() else 0.0
    h = m.step_length

    def slope(s: Tensor, y: Tensor) -> Tensor:
        return length * step.pieces.slope(m, known, y, (now.since + s * length) / h)

    return step.solver(slope, now.y, longest, at)


# the next event of each lane, without gradient


@torch.no_grad()
def _next(step: Step, m: Moment, known: Row, now: _Lanes, happened: Row) -> _Found | None:
    """None where no lane has one in what is left of its step."""
    locating = step.locating
    assert locating is not None
    known = {n: x.detach() for n, x in known.items()}
    now = _Lanes(now.y.detach(), now.since.detach(), now.left.detach())
    if not bool((now.left > 0).any()):
        return None
    at = torch.linspace(0, 1, locating.samples + 1, dtype=torch.float64, device=now.y.device)
    path = _moved(step, m, known, now, now.left, at).movedim(0, 1)
    rows = step.pieces.guards(m, known, path)
    parts = at.to(path.dtype).reshape(-1, *([1] * now.left.dim()))
    speeds = rates(step, m, known, path, now.since + parts * now.left)
    times, passed = {}, {}
    for e in locating.events:
        open_ = now.left > 0 if step.pieces.moves(e) else (now.left > 0) & ~happened[e]
        times[e], passed[e] = _first(step, m, known, now, e, (rows[f"e.{e}"] > 0, rows[f"m.{e}"], speeds[e]), open_)
    first = torch.stack(list(times.values())).amin(0)
    hit = first.isfinite()
    if not bool(hit.any()):
        return None
    acts = {e: hit & (t <= first) for e, t in times.items()}
    return _Found(torch.where(hit, first, now.left), hit, hit & (first > 0), acts, passed)


def _first(
    step: Step, m: Moment, known: Row, now: _Lanes, e: str, seen: tuple[Tensor, Tensor, Tensor], open_: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """When an event acts, inf where it does not, and a time at which its margin has passed."""
    bits, margins, speeds = seen
    never = torch.full_like(now.left, float("inf"))
    width = now.left / (len(bits) - 1)
    at_once = bits[0] & open_
    rises = bits[1:] & open_ & ~at_once
    k = rises.to(torch.int64).argmax(0)  # the first part of the step at whose end it has passed
    k = torch.where(rises.any(0), k, len(rises))
    k, part = _hump(step, m, known, now, e, (margins, speeds), k, open_ & ~at_once)
    crosses = (k < len(rises)) & ~at_once
    if not bool(crosses.any()):
        return torch.where(at_once, 0.0, never), torch.zeros_like(never)
    k = torch.where(crosses, k, 0)
    low, high = (torch.where(crosses, (k + by) * width, 0.0) for by in (0, part))
    found = _time(step, m, known, now, e, (low, high), crosses)
    return torch.where(crosses, found, torch.where(at_once, 0.0, never)), high


def _hump(
    step: Step, m: Moment, known: Row, now: _Lanes, e: str, seen: tuple[Tensor, Tensor], k: Tensor, open_: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The part of the step in which a margin passes first, and how much of that part it takes to see it: all of it, or
    up to the top of a hump between two samples below the threshold."""
    margins, speeds = seen
    one = torch.ones_like(now.left)
    width = now.left / (len(margins) - 1)
    u, value = root_torch.top(margins[:-1], margins[1:], speeds[:-1] * width, speeds[1:] * width)
    rounds = (speeds[:-1] > 0) & (speeds[1:] < 0) & open_
    number = torch.arange(len(u), device=k.device).reshape(-1, *([1] * k.dim()))
    near = value > -0.1 * (value - torch.minimum(margins[:-1], margins[1:]))  # a cubic is not the margin
    maybe = rounds & near & (number < k)
    while bool(maybe.any()):
        first = torch.where(maybe.any(0), maybe.to(torch.int64).argmax(0), 0)
        part = _picked(u[None], first)[0]
        there = maybe.any(0)
        peak = _moved(step, m, known, now, torch.where(there, (first + part) * width, 0.0))
        over = there & (step.pieces.guards(m, known, peak)[f"e.{e}"] > 0)
        if bool(over.any()):
            k, one = torch.where(over, first, k), torch.where(over, part, one)
        maybe = maybe & (number > first) & ~over
    return k, one


def _time(
    step: Step, m: Moment, known: Row, now: _Lanes, e: str, bracket: tuple[Tensor, Tensor], crosses: Tensor
) -> Tensor:
    """When a margin passes on the flow itself, between two times."""
    low, high = bracket
    tolerance = CLOSE[high.dtype] * m.step_length

    def along(t: Tensor) -> tuple[Tensor, Tensor]:
        y = _moved(step, m, known, now, t)
        margin = step.pieces.guards(m, known, y)[f"m.{e}"]
        rate = rates(step, m, known, y, now.since + t)[e]
        return torch.where(crosses, margin, 0.0), torch.where(crosses, rate, 1.0)

    return root_torch.root(along, low, high, tolerance)


def _picked(path: Tensor, k: Tensor) -> Tensor:
    """(states, samples, lanes...) at the sample k (lanes...)."""
    return path.gather(1, k.expand(path.shape[0], 1, *k.shape)).squeeze(1)


def rates(step: Step, m: Moment, known: Row, y: Tensor, since: Tensor) -> Row:
    """How fast each margin grows along the flow, by event; no gradient.

    Args:
        y: (states, B, *size*), or a path of them, (states, samples, B, *size*).
        since: the time since the start of the step, of the form of y[0].
    """
    with torch.no_grad():
        known = {n: x.detach() for n, x in known.items()}
        still = m.detached()
        flow = step.pieces.slope(still, known, y.detach(), since.detach() / m.step_length)
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        rows = step.pieces.guards(still, known, y)
        events = step.locating.events if step.locating else ()
        slopes = {e: torch.autograd.grad(rows[f"m.{e}"].sum(), y, retain_graph=True)[0] for e in events}
    return {e: (g * flow).sum(0) for e, g in slopes.items()}


# what follows it, with gradient


def _through(step: Step, m: Moment, known: Row, now: _Lanes, found: _Found) -> tuple[_Lanes, Tensor]:
    """Lanes behind their next event, the others at the end of the step; and the times of the events."""
    length = torch.where(found.hit, found.time, now.left)
    y = _moved(step, m, known, now, length)
    at = now.since + length
    ahead = torch.zeros_like(length)
    if torch.is_grad_enabled():
        late = _correction(step, m, known, y, at, found)
        at = at + late
        ahead = torch.where(_any(found.acts, step.locating.detached), late.detach(), late)  # type: ignore[union-attr]
        y = y + step.pieces.slope(m, known, y, (at / m.step_length).detach()) * ahead
    acts = {f"j.{e}": x.to(y.dtype) for e, x in found.acts.items()}
    behind = torch.where(found.hit, step.pieces.jump(m, known, y, acts), y)
    left = torch.where(found.hit, (now.left - length - ahead).clamp_min(0.0), 0.0)
    return _Lanes(behind, torch.where(found.hit, now.since + length + ahead, at), left), at


def _any(acts: Row, names: frozenset[str]) -> Tensor:
    rows = [x for e, x in acts.items() if e in names]
    return torch.stack(rows).any(0) if rows else torch.zeros_like(next(iter(acts.values())))


def _correction(step: Step, m: Moment, known: Row, y: Tensor, at: Tensor, found: _Found) -> Tensor:
    """-margin/rate with the rate held: next to 0, with the gradient of the time of what was crossed.

    Where a margin only touches its threshold its time has no gradient, and gets none.
    """
    total, free = torch.zeros_like(at), found.crossed
    margins, speeds = step.pieces.guards(m, known, y), rates(step, m, known, y, at)
    for e, acts in found.acts.items():
        margin, rate = margins[f"m.{e}"], speeds[e]
        counts = free & acts & (rate * m.step_length > TOUCH * y.detach().abs().amax(0))
        late = -margin / torch.where(counts, rate, 1.0)
        total = torch.where(counts, late, total)
        free = free & ~acts
    return total


# signals


def _early(
    step: Step, m: Moment, known: Row, now: _Lanes, found: _Found, happened: Row, early: Row
) -> Row:  # fmt: skip
    """Signals of the events that act for the first time: the surrogate's slope is that where the margin has passed."""
    locating = step.locating
    assert locating is not None
    made = dict(early)
    for e, acts in found.acts.items():
        fresh = acts & ~happened[e]
        if not bool(fresh.any()):
            continue
        signal = torch.ones_like(now.left)
        if locating.gradient == "surrogate" and torch.is_grad_enabled():
            y = _moved(step, m, known, now, torch.where(fresh, found.passed[e], 0.0))
            shaped = step.pieces.guards(m, known, y)[f"e.{e}"]
            signal = signal + torch.where(fresh, shaped - shaped.detach(), 0.0)
        made[f"e.{e}"] = torch.where(fresh, signal, made.get(f"e.{e}", torch.zeros_like(signal)))
    return made


def _signals(step: Step, m: Moment, known: Row, end: Tensor, early: Row, happened: Row) -> Row:
    """Of every event; one that did not act has the surrogate's slope at the end of the step."""
    locating = step.locating
    assert locating is not None
    rows = signals_of(step.pieces.guards(m, known, end))
    for e in locating.events:
        shaped = rows[f"e.{e}"] - rows[f"e.{e}"].detach()  # a guard that is true at the very end acts in the next step
        rows[f"e.{e}"] = torch.where(happened[e], early.get(f"e.{e}", shaped), shaped)
    return locating.graded(rows)
