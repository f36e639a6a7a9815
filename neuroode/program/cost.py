"""What a training step of a program costs under each schedule: counts of work times constants of a machine.

The model is linear: seconds = sum over kinds of work of constant * amount. Amounts follow from the stages of the
program, the number of steps and of lanes; constants are measured (`neuroode bench --calibrate`), and the package has
some that were measured once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

from neuroode._errors import Unsupported
from neuroode.program.partition import STEPWISE, Stage, partition
from neuroode.program.schedule import plan
from neuroode.program.types import Program

#: schedules that "auto" chooses among; newton iterates an unknown number of times
KNOWN = ("sequential", "eager", "scan", "fft")
#: schedule -> constant of each kind of work, in seconds
Constants = Mapping[str, Mapping[str, float]]
#: kinds of work of each schedule
KINDS = {
    "sequential": ("call", "steps", "step ops", "lane steps", "lane ops"),
    "eager": ("call", "steps", "step ops", "lane steps", "lane ops"),
    "scan": ("stages", "ops", "levels", "steps", "step ops", "lane ops", "scanned", "looped"),
    "fft": ("stages", "ops", "levels", "steps", "step ops", "lane ops", "scanned", "looped", "transformed"),
}
ROUNDS = 200  # of the fit
PARALLEL_LANE_STEPS = 2**18  # below, one core does all


@dataclass(frozen=True, slots=True)
class Choice:
    """A schedule that applies, and the milliseconds that a training step (forward, backward) is predicted to take."""

    schedule: str
    milliseconds: float


def applicable(program: Program, *, kernel: bool, mixed: bool = False) -> tuple[str, ...]:
    """Schedules that "auto" may take.

    Args:
        kernel: whether there is a compiled kernel, which is then better than the eager loop everywhere.
        mixed: whether recurrent weights or operators mix the neurons.
    """
    loop = "sequential" if kernel else "eager"
    if mixed or program.operators:
        return (loop,)
    return (loop, *(s for s in ("scan", "fft") if not refusal(program, s)))


def refusal(program: Program, schedule: str) -> str:
    """Why a program does not take a schedule; empty if it does."""
    try:
        plan(program, schedule)
    except Unsupported as error:
        return str(error)
    return ""


def ranked(
    program: Program, steps: int, lanes: int, constants: Constants, schedules: Iterable[str], cores: int = 1
) -> tuple[Choice, ...]:
    """Every schedule with its prediction, best first."""
    found = [
        Choice(s, 1e3 * seconds(program, s, steps, lanes, constants[s], cores)) for s in schedules if s in constants
    ]
    return tuple(sorted(found, key=lambda c: c.milliseconds))


def seconds(
    program: Program, schedule: str, steps: int, lanes: int, constants: Mapping[str, float], cores: int = 1
) -> float:
    """The prediction for one schedule; what grows with lanes is divided among the cores where there is enough of it."""
    share = min(cores, max(1, lanes)) if steps * lanes >= PARALLEL_LANE_STEPS else 1
    total = 0.0
    for kind, amount in amounts(program, schedule, steps, lanes).items():
        wide = kind in ("lane steps", "lane ops", "scanned", "looped", "transformed")
        total += constants.get(kind, 0.0) * amount / (share if wide else 1)
    return total


def amounts(program: Program, schedule: str, steps: int, lanes: int) -> dict[str, float]:
    """How much of each kind of work a schedule does: forward and backward together, up to a constant factor."""
    if schedule in ("sequential", "eager"):
        return _stepwise(program, steps, lanes)
    return _staged(program, schedule == "fft", steps, lanes)


def _stepwise(program: Program, steps: int, lanes: int) -> dict[str, float]:
    ops = _weight(program)
    wide = steps * lanes
    return {"call": 1.0, "steps": steps, "step ops": steps * ops, "lane steps": wide, "lane ops": wide * ops}


def _staged(program: Program, transforms: bool, steps: int, lanes: int) -> dict[str, float]:
    parts = partition(program, transforms)
    scans = [s for s in parts.stages if s.slots and s.kind not in ("delay", "event")]
    moved = [s for s in scans if transforms and s.invariant]
    loops = [s for s in scans if s.kind in STEPWISE]
    depth = log2(max(steps, 2))
    pointwise = sum(_pointwise(s) for s in parts.stages) + _weight(parts.outputs)
    # a scan visits all steps once a level of its tree; both the solution and its adjoint are scans
    scanned = sum(_numbers(s) for s in scans if s not in moved)
    found = {
        "stages": len(parts.stages),
        "ops": pointwise,
        "levels": depth * sum(_numbers(s) / len(s.blocks) for s in scans if s not in moved),
        "steps": steps * len(scans),
        "step ops": steps * sum(_weight(s.once) for s in loops),
        "lane ops": steps * lanes * pointwise,
        "scanned": steps * lanes * scanned,
        "looped": steps * lanes * sum(_weight(s.once) for s in loops),
        "transformed": steps * lanes * depth * sum(_sequences(s) for s in moved),
    }
    return {kind: found[kind] for kind in KINDS["fft" if transforms else "scan"]}


def _weight(program: Program) -> float:
    """Operations of a step, and what moves: inputs, outputs and states."""
    return len(program.body) + len(program.inputs) + len(program.outputs) + 2 * len(program.carry)


def _pointwise(stage: Stage) -> float:
    pieces = (stage.step, stage.matrix, stage.jacobian, stage.drive)
    return sum(_weight(p) for p in pieces if p is not None) + len(stage.slots)


def _numbers(stage: Stage) -> float:
    """Products that composing two steps of all blocks takes."""
    n = stage.size
    return len(stage.blocks) * {"diagonal": 2, "complex": 8}.get(stage.form, n**3 + n**2)


def _sequences(stage: Stage) -> float:
    """Sequences that are transformed."""
    if stage.collapse is not None:
        return 1.0 + len(stage.collapse.readings)
    return len(stage.slots) * (stage.size if stage.form == "dense" else 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured training step."""

    program: Program
    schedule: str
    steps: int
    lanes: int
    seconds: float


def fitted(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Constants from measurements: least squares of the logarithms of predicted over measured times.

    A schedule without measurements is absent, and so is a constant that no measurement feels.
    """
    return {s: _fit(rows) for s in KNOWN if (rows := [x for x in samples if x.schedule == s])}


def _fit(samples: Sequence[Sample]) -> dict[str, float]:
    """Levenberg and Marquardt in the logarithms of the constants, so that none is negative."""
    import numpy as np

    kinds = KINDS[samples[0].schedule]
    table = np.array([[amounts(x.program, x.schedule, x.steps, x.lanes)[k] for k in kinds] for x in samples], float)
    kept = [i for i in range(len(kinds)) if table[:, i].any()]
    table, wanted = table[:, kept], np.log([x.seconds for x in samples])
    z = np.log(np.exp(wanted).mean() / len(kept) / table.mean(axis=0))

    def loss(z: np.ndarray) -> float:
        return float(((np.log(table @ np.exp(z)) - wanted) ** 2).sum())

    damping = 1.0
    for _ in range(ROUNDS):
        parts = table * np.exp(z)
        slopes = parts / parts.sum(axis=1, keepdims=True)
        off = np.log(parts.sum(axis=1)) - wanted
        step = np.linalg.solve(slopes.T @ slopes + damping * np.eye(len(z)), slopes.T @ off)
        better = loss(z - step) < loss(z)
        z, damping = (z - step, damping / 3) if better else (z, damping * 3)
        damping = min(max(damping, 1e-9), 1e9)
    return {kinds[i]: float(v) for i, v in zip(kept, np.exp(z), strict=True)}
