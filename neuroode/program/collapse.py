"""Branches of which only weighted sums are read: one real kernel each, instead of all their states.

A stage of equal linear branches z_i[t] = A_i z_i[t-1] + g_i u[t] that the rest of a step reads as h = sum_i C_i z_i
alone is the convolution of u with the kernel K[k] = sum_i C_i g_i A_i^k. Source: D-RF (arXiv:2509.17186), eq. 13; S4D
(Gu et al. 2022, arXiv:2206.11893), eq. 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from neuroode.program.builder import Builder
from neuroode.program.slices import builder_of, cut, program_of, with_outputs
from neuroode.program.types import Assign, Program

Linear = dict[str, str]  # slot -> its coefficient


@dataclass(frozen=True, slots=True)
class Collapse:
    """What one convolution needs.

    Attributes:
        readings: value of the whole program -> the name of its sequence, `h.slot.number`.
        weights: coefficients `C.number.slot` of each reading, the same in every step.
        gains: `g.slot`, what the signal is multiplied by.
        signal: `u`, the one sequence that drives all branches.
    """

    readings: Mapping[str, str]
    weights: Program
    gains: Program
    signal: Program


def collapse(
    program: Program, slots: tuple[str, ...], drive: Program, others: Iterable[str]
) -> Collapse | None:  # fmt: skip
    """The readings of a linear stage; None where its states are read otherwise, or by as many values as it has states.

    Args:
        drive: the stage's `b.slot`.
        others: what else the program computes: outputs, other next values, margins and slopes of events.
    """
    found = _gains(drive, slots)
    readings = _readings(program, slots, tuple(others))
    if found is None or readings is None:
        return None
    gains, signal = found
    names, weights = readings
    return Collapse(names, weights, gains, signal)


def _gains(drive: Program, slots: tuple[str, ...]) -> tuple[Program, Program] | None:
    """Drives as numbers times one signal."""
    b = builder_of(drive)
    rename: dict[str, str] = {}
    b.adopt(drive.body, rename)
    made = {a.name: a for a in b.assigns}
    rows, signals = {}, set()
    for (_, value), slot in zip(drive.outputs, slots, strict=True):
        gain, signal = _factor(b, made, rename.get(value, value))
        rows[f"g.{slot}"] = gain
        if b.constant(gain) != 0:
            signals.add(signal)
    if len(signals) != 1 or "" in signals:
        return None
    return with_outputs(drive, b, rows), with_outputs(drive, b, {"u": signals.pop()})


def _factor(b: Builder, made: Mapping[str, Assign], value: str) -> tuple[str, str]:
    """(gain, signal) whose product is the value; a signal '' is the constant 1."""
    if _fixed(b, value):
        return value, ""
    a = made.get(value)
    if a is not None and a.op in ("add", "sub"):
        (first, one), (second, other) = (_factor(b, made, x) for x in a.args)
        return (b.emit(a.op, first, second), one) if one == other else (b.const(1.0), value)
    if a is None or a.op not in ("mul", "div", "neg"):
        return b.const(1.0), value
    if a.op == "neg":
        gain, signal = _factor(b, made, a.args[0])
        return b.emit("neg", gain), signal
    first, second = a.args
    if a.op == "mul" and _fixed(b, first):
        first, second = second, first
    if not _fixed(b, second):
        return b.const(1.0), value
    gain, signal = _factor(b, made, first)
    return b.emit(a.op, gain, second), signal


def _fixed(b: Builder, value: str) -> bool:
    return b.levels.get(value, "lane") != "lane"


def _readings(
    program: Program, slots: tuple[str, ...], others: tuple[str, ...]
) -> tuple[dict[str, str], Program] | None:
    """Values that the rest reads, each a weighted sum of states, and their weights."""
    states = dict(program.next)
    at = {states[s]: s for s in slots}
    own = {f"c.{s}" for s in slots}
    found = cut(program.body, others, lambda v: f"n.{at[v]}" if v in at else v if v[:2] in ("c.", "x.") else None)
    if own & set(found.inputs) or len(at) < len(slots):
        return None
    b = builder_of(program)
    sums: dict[str, Linear] = {f"x.n.{s}": {s: b.const(1.0)} for s in slots}
    fixed: dict[str, str] = {c.name: c.name for c in program.coefficients}
    read: dict[str, None] = {}
    for a in found.body:
        if a.op == "const":
            fixed[a.name] = b.const(float(a.value))  # type: ignore[arg-type]
        elif (made := _sum(b, a, sums, fixed)) is not None:
            sums[a.name] = made
        else:
            read |= {x: None for x in a.args if x in sums}
    back = {v: k for k, v in found.at.items()}
    read |= {found.at.get(v, v): None for v in others if found.at.get(v, v) in sums}
    if not read or len(read) >= len(slots):
        return None
    names = {back.get(v, v): f"h.{slots[0]}.{i}" for i, v in enumerate(read)}
    zero = b.const(0.0)
    rows = {f"C.{i}.{s}": sums[v].get(s, zero) for i, v in enumerate(read) for s in slots}
    return names, with_outputs(program_of(program, found, {}), b, rows)


def _sum(b: Builder, a: Assign, sums: Mapping[str, Linear], fixed: Mapping[str, str]) -> Linear | None:
    """The weights of a value that is a weighted sum of states, None where it is not, or reads none."""
    parts = [sums.get(x) for x in a.args]
    if a.op in ("add", "sub") and all(p is not None for p in parts):
        first, second = (p or {} for p in parts)
        return _joined(b, a.op, first, second)
    if a.op == "neg" and parts[0] is not None:
        return {s: b.emit("neg", w) for s, w in parts[0].items()}
    if a.op not in ("mul", "div"):
        return None
    (x, y), (p, q) = a.args, parts
    if a.op == "mul" and p is None and q is not None:
        x, y, p = y, x, q
    if p is None or y not in fixed:
        return None
    return {s: b.emit(a.op, w, fixed[y]) for s, w in p.items()}


def _joined(b: Builder, op: str, first: Linear, second: Linear) -> Linear:
    rows = dict(first)
    for s, w in second.items():
        rows[s] = b.emit(op, rows[s], w) if s in rows else b.emit("neg", w) if op == "sub" else w
    return rows
