"""The emitted torch program, step by step in Python: any device, double backward, traces, no compiler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import torch

from neuroode.emit.python_torch import torch_source
from neuroode.program.builder import live, reads_of
from neuroode.program.chances import LOG_PROB
from neuroode.program.types import Program

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class EagerProgram:
    """The functions of the emitted text."""

    prologue: Callable[[dict[str, Tensor], Tensor], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
    step: Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]]


_programs: dict[str, EagerProgram] = {}


def eager_program(program: Program) -> EagerProgram:
    """The functions of the text that `emit("torch")` prints: our own, no name of a model file stands in it unmangled.

    Made once; keyed by digest, as hashing a whole program takes time.
    """
    if program.digest not in _programs:
        name = f"neuroode_emitted_{program.digest}"
        module = ModuleType(name)
        exec(compile(torch_source(program), f"<neuroode {program.name} {program.digest}>", "exec"), module.__dict__)
        sys.modules[name] = module  # where torch.compile looks its names up
        _programs[program.digest] = EagerProgram(module.prologue, module.step)
    return _programs[program.digest]


@dataclass(frozen=True, slots=True)
class Drive:
    """Recurrent weights of a run: from which output to which input; `last` is that output before the first step."""

    input: int
    output: int
    weight: Tensor
    bias: Tensor | None
    last: Tensor


@dataclass(frozen=True, slots=True)
class EagerRun:
    """Outputs (T, B, *size*) each, carry (B, *size*) each, the last recurrent output, traces if they were asked for."""

    outputs: list[Tensor]
    carry: list[Tensor]
    last: Tensor | None
    trace: list[Tensor]


def run(
    program: Program, coefficients: list[Tensor], inputs: list[Tensor], carry: list[Tensor],
    *, drive: Drive | None = None, lengths: Tensor | None = None, trace: bool = False,
    operators: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> EagerRun:  # fmt: skip
    """Run over T steps. `coefficients` broadcast against *size*, those that differ from step to step are (T, B or 1,
    *size*); `operators`: functions of (B, *size*) by name."""
    program = program if trace or not program.operators else _untraced(program)
    step = eager_program(program).step
    if program.operators:
        step = partial(step, operators=operators)
    state, last = tuple(carry), drive.last if drive else None
    rows: list[tuple[Tensor, ...]] = []
    traced: list[tuple[Tensor, ...]] = []
    silent = torch.zeros(inputs[0].shape[1:], dtype=inputs[0].dtype, device=inputs[0].device)
    held = (silent,) * len(inputs)
    rests, shown = _shown(program, carry, silent)
    for t, now in enumerate(zip(*[x.unbind(0) for x in inputs], strict=True)):
        if lengths is not None:  # nothing of the padding enters, not even 0*nan
            live = _live(lengths, t, silent)
            now = held = tuple(torch.where(live, x, h) for x, h in zip(now, held, strict=True))
        now = _driven(now, drive, last)
        out, new, seen = step(at_step(coefficients, t, inputs[0]), state, now)
        out, new, seen = (tuple(_wide(v, now[0]) for v in group) for group in (out, new, seen))
        if lengths is not None:
            new = tuple(torch.where(live, n, o) for n, o in zip(new, state, strict=True))
            out = tuple(torch.where(live, o, silent) for o in out)
            rest = (h if r else silent for h, r in zip(shown, rests, strict=True))
            seen = shown = tuple(torch.where(live, s, r) for s, r in zip(seen, rest, strict=True))
        if drive and last is not None:
            last = out[drive.output] if lengths is None else torch.where(live, out[drive.output], last)
        state = new
        rows.append(out)
        if trace:
            traced.append(seen)
    empty = inputs[0].new_zeros(inputs[0].shape)
    outputs = [torch.stack(column) for column in zip(*rows, strict=True)] if rows else [empty for _ in program.outputs]
    traces = (
        [torch.stack(column) for column in zip(*traced, strict=True)]
        if traced
        else [empty for _ in program.trace]
        if trace
        else []
    )
    return EagerRun(outputs, list(state), last, traces)


def _untraced(program: Program) -> Program:
    """Without what only a trace shows: a potential itself, a network's forward pass, is not needed for its force."""
    margins = [s.margin for s in program.events]
    roots = [v for _, v in (*program.outputs, *program.next)]
    body = live(program.body, reads_of((), program.events, [*roots, *margins]))
    return replace(program, body=body, trace=(), digest=f"{program.digest}_untraced")


def at_step(coefficients: Sequence[Tensor], t: int, like: Tensor) -> tuple[Tensor, ...]:
    """Those of one step; `like` is (T, B, *size*)."""
    return tuple(c[t] if c.dim() == like.dim() else c for c in coefficients)


def _shown(program: Program, carry: list[Tensor], silent: Tensor) -> tuple[list[bool], tuple[Tensor, ...]]:
    """What a trace shows after a sample's end: does it rest, or is it 0 (events, outputs); and where it starts."""
    states = {s.name: v for s, v in zip(program.carry, carry, strict=True)}
    signals = {n for n, _ in program.outputs} | {
        e.name.partition(".")[0] + end for end in ("", LOG_PROB) for e in program.events
    }
    names = [n for n, _ in program.trace]
    return [n in states or n not in signals for n in names], tuple(states.get(n, silent) for n in names)


def _wide(value: Tensor, like: Tensor) -> Tensor:
    return value if value.shape == like.shape else value.expand(like.shape)


def _driven(now: tuple[Tensor, ...], drive: Drive | None, last: Tensor | None) -> tuple[Tensor, ...]:
    if drive is None or last is None:
        return now
    with torch.autocast(last.device.type, enabled=False):
        extra = last @ drive.weight.T
    extra = extra if drive.bias is None else extra + drive.bias
    return tuple(x + extra if i == drive.input else x for i, x in enumerate(now))


def _live(lengths: Tensor, t: int, like: Tensor) -> Tensor:
    return (lengths > t).reshape(-1, *([1] * (like.dim() - 1))).expand(like.shape)
