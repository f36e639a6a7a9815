"""The value of a guard: a comparison, or comparisons combined by and, or, not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from neuroode.program import refractory
from neuroode.system.types import Condition, Event, Test

if TYPE_CHECKING:
    from neuroode.program.build import _Step


def guard(step: _Step, event: Event) -> str:
    """1 where the event's condition holds."""
    if isinstance(event.condition, Test):
        return step.tested(event, event.condition, event.name)
    found = _condition(step, event, event.condition, iter(range(_count(event.condition))))
    return refractory.silenced(step, event, found, 0.0)


def _condition(step: _Step, event: Event, c: Condition, numbers: Iterator[int]) -> str:
    if isinstance(c, Test):
        return step.tested(event, c, f"{event.name}.{next(numbers)}")
    return _combine(step, c.op, [_condition(step, event, i, numbers) for i in c.items])


def _combine(step: _Step, op: str, parts: list[str]) -> str:
    b, one = step.builder, step.builder.const(1.0)
    if op == "not":
        return b.emit("sub", one, parts[0])
    inverted = [b.emit("sub", one, p) for p in parts] if op == "or" else parts
    total = inverted[0]
    for p in inverted[1:]:
        total = b.emit("mul", total, p)
    return b.emit("sub", one, total) if op == "or" else total


def _count(c: Condition) -> int:
    return 1 if isinstance(c, Test) else sum(_count(i) for i in c.items)
