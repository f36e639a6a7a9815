"""Programs written by hand, for tests of the C kernels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

from neuroode.program.types import Assign, CarrySlot, Coefficient, EventSlot, ParamSlot, Program

ZERO = Assign("%0", "const", (), 0.0)


def _with_digest(program: Program) -> Program:
    return dataclasses.replace(program, digest=hashlib.sha256(repr(program).encode()).hexdigest()[:16])


def slot(name: str, level: str = "neuron", trainable: bool = True) -> ParamSlot:
    return ParamSlot(f"p.{name}", name, "", level, trainable)


def lif(*, hard: bool = True, strict: bool = True, graded: bool = False, level: str = "neuron") -> Program:
    """v' = a v + g I, spike where v' passes th, reset to 0 or by th; surrogate 1/(1 + 2|m|)^2.

    Graded: the output is s v'.
    """
    body = [
        Assign("%1", "mul", ("c.v", "p.a")), Assign("%2", "mul", ("x.I", "p.g")), Assign("%3", "add", ("%1", "%2")),
        Assign("%4", "sub", ("%3", "p.th")), Assign("%5", "event", ("%4",), "s"), Assign("%6", "const", (), 0.0),
        Assign("%7", "mul", ("%5", "p.th")), Assign("%8", "sub", ("%3", "%7")),
        Assign("%9", "reset", ("%5", "%6", "%3")), Assign("%10", "mul", ("%5", "%3")),
    ]  # fmt: skip
    slope = (
        Assign("%20", "abs", ("%4",)), Assign("%21", "const", (), 2.0), Assign("%22", "mul", ("%20", "%21")),
        Assign("%23", "const", (), 1.0), Assign("%24", "add", ("%23", "%22")), Assign("%25", "ipow", ("%24",), -2),
    )  # fmt: skip
    return _with_digest(Program(
        name="lif", inputs=("I",), parameters=(slot("a", level), slot("g", "layer"), slot("th")),
        carry=(CarrySlot("v", "%0"),), prologue=(ZERO,), body=tuple(body),
        events=(EventSlot("s", "%4", strict, slope, "%25"),),
        coefficients=(
            Coefficient("p.a", level, True), Coefficient("p.g", "layer", True), Coefficient("p.th", "neuron", True),
        ),
        outputs=(("s", "%10" if graded else "%5"),), next=(("v", "%9" if hard else "%8"),), trace=(),
    ))  # fmt: skip


def maps_of(ops: Sequence[tuple[str, object]], arity: int) -> Program:
    """y0, y1, ... = op(A, B, ...) with its immediate, for each of the ops; no state, no event."""
    inputs = tuple("ABCDE"[:arity])
    args = tuple(f"x.{n}" for n in inputs)
    body = tuple(Assign(f"%{i}", op, args, value) for i, (op, value) in enumerate(ops))
    return _with_digest(Program(
        name="maps", inputs=inputs, parameters=(), carry=(), prologue=(), body=body, events=(), coefficients=(),
        outputs=tuple((f"y{i}", a.name) for i, a in enumerate(body)), next=(), trace=(),
    ))  # fmt: skip


def _gaussian(margin: str, first: int) -> tuple[Assign, ...]:
    """exp(-margin^2), in three values from %first on."""
    square, minus, result = (f"%{first + i}" for i in range(3))
    return Assign(square, "mul", (margin, margin)), Assign(minus, "neg", (square,)), Assign(result, "exp", (minus,))


def two_of_all() -> Program:
    """Two inputs, states, events and outputs; one output is graded, one event is no output."""
    body = [
        Assign("%1", "mul", ("c.u", "p.a")), Assign("%2", "add", ("%1", "x.I")), Assign("%3", "mul", ("x.K", "x.I")),
        Assign("%4", "sigmoid", ("c.w",)), Assign("%5", "add", ("%3", "%4")), Assign("%6", "sub", ("%2", "p.th")),
        Assign("%7", "event", ("%6",), "s"), Assign("%8", "event", ("%5",), "b"), Assign("%9", "mul", ("%8", "%2")),
        Assign("%10", "reset", ("%7", "c.w", "%2")), Assign("%11", "tanh", ("%5",)),
        Assign("%12", "sub", ("%11", "%8")),
    ]  # fmt: skip
    slopes = [_gaussian("%6", 30), _gaussian("%5", 40)]
    return _with_digest(Program(
        name="two", inputs=("I", "K"), parameters=(slot("a"), slot("th", "layer", False)),
        carry=(CarrySlot("u", "%0"), CarrySlot("w", "%0")), prologue=(ZERO,), body=tuple(body),
        events=(EventSlot("s", "%6", True, slopes[0], "%32"), EventSlot("b", "%5", False, slopes[1], "%42")),
        coefficients=(Coefficient("p.a", "neuron", True), Coefficient("p.th", "layer", False)),
        outputs=(("s", "%7"), ("y", "%9")), next=(("u", "%10"), ("w", "%12")), trace=(),
    ))  # fmt: skip


def closeness(found, expected) -> float:
    """Largest difference, relative to the largest expected value."""
    if expected.numel() == 0:
        return 0.0
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))
