"""Refractory times: a counter in the carry makes a guard false, and rests the states that it holds.

After an event in step t the guard is false in steps t+1 ... t+n (language.md, section 3, rule 7). A held state keeps
what step t left: neither its flow or map nor impulses move it. Resets still assign it, also late ones, which else were
lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroode.discretize.held import groups
from neuroode.program.lower import Value
from neuroode.system.types import Event

if TYPE_CHECKING:
    from neuroode.program.build import _Step


def blocked(step: _Step, event: Event) -> str:
    """1 in the steps in which the guard of `event` is false."""
    return step.builder.emit("gt", step._slot(_counter(event)), step.builder.const(0.0))


def silenced(step: _Step, event: Event, value: str, instead: float) -> str:
    """`value`, but `instead` while the event is refractory."""
    if event.silent is None:
        return value
    return step.builder.emit("where", blocked(step, event), step.builder.const(instead), value)


def next_counters(step: _Step) -> dict[str, str]:
    """Carry name -> value: n after an event, one less in each step, down to 0. No gradient passes."""
    b, rows = step.builder, {}
    for event in step.system.events:
        if event.silent is not None:
            start = step.lowering.real(event.silent)
            less = b.emit("sub", b.emit("detach", step._slot(_counter(event))), b.const(1.0))
            left = b.emit("max", less, b.const(0.0))
            rows[_counter(event)] = b.emit("where", step._value(f"{event.name}[t]").re, start, left)
    return rows


def _counter(event: Event) -> str:
    return f"refractory({event.name})"


def held(step: _Step, name: str, moved: Value) -> Value:
    """`moved` by its flow; where that reads a held state, it moves beside it, as if that one had no flow."""
    for group in groups(e for e in step.system.events if e.hold):
        still = frozenset(s for e in group for s in e.hold if s in step.system.flows)
        beside = step.discretization.beside_held.get(still)
        if beside and name in beside.values:
            moved = choose(step, group, _beside(step, still, name, beside.values[name]), moved)
    return moved


def at_rest(step: _Step, name: str, moved: Value) -> Value:
    """`moved`, or what the last step left while an event holds the state."""
    for event in step.system.events:
        if name in event.hold:
            moved = choose(step, (event,), step._value(f"{name}[t-1]"), moved)
    return moved


def _beside(step: _Step, still: frozenset[str], name: str, e: Any) -> Value:
    """An update in which the running value of each held state is what the last step left, without impulses."""
    saved = dict(step.values)
    step.values |= {s: step._value(f"{s}[t-1]") for s in still if s in step.system.flows}
    step.lowering.forget()
    value = step._whole(name, e)
    step.lowering.forget()
    for s in still & step.system.flows.keys():
        del step.values[s]
    step.values |= {s: v for s, v in saved.items() if s in still}
    return value


def choose(step: _Step, group: tuple[Event, ...], x: Value, y: Value) -> Value:
    """x where every event of the group is refractory, else y."""
    b = step.builder
    condition = blocked(step, group[0])
    for event in group[1:]:
        condition = b.emit("mul", condition, blocked(step, event))
    zero = b.const(0.0)
    re = b.emit("where", condition, x.re, y.re)
    return Value(re, b.emit("where", condition, x.im or zero, y.im or zero)) if x.im or y.im else Value(re)
