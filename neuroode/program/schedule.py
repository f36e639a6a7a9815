"""How each part of a step is run over time, and why."""

from __future__ import annotations

from neuroode._errors import Unsupported, readable
from neuroode.expr.alike import listed
from neuroode.program.monoid import monoid
from neuroode.program.partition import STEPWISE, Parts, Stage, partition
from neuroode.program.types import Plan, PlanRow, Program

SCHEDULES = ("auto", "eager", "sequential", "scan", "fft", "newton")
#: those that run over the whole sequence, stage by stage
PARALLEL = ("scan", "fft", "newton")
WHOLE = (
    "chosen at each call by predicted time for its steps and lanes: one fused loop over all states, or the parts above"
)


def plan(program: Program, schedule: str = "auto") -> Plan:
    """One row per stage: what it is, how it runs, why, what it costs; then how they run together.

    Raises:
        Unsupported: an unknown schedule, or one that does not apply to this neuron, with the reason.
    """
    if schedule not in SCHEDULES:
        raise Unsupported(f"unknown schedule '{schedule}'", hint="choose among " + ", ".join(SCHEDULES))
    operators = ", ".join(name for name, _ in program.operators)
    if operators:
        if schedule not in ("auto", "eager"):
            what = f"schedule '{schedule}' runs each neuron by itself, but operators mix them ({operators})"
            raise Unsupported(what, hint="choose eager, or auto, which takes it")
        return Plan((PlanRow("whole", (), "eager", f"operators mix the neurons ({operators})", ""),))
    if program.located:
        return _of_located(program, schedule)
    parts = partition(program, collapsed=True)
    _check(program, parts, schedule)
    why = "reads inputs only, also later ones, so it is known before the first step (not causal)"
    sums = tuple(PlanRow("sum", (s.name,), "one matrix product", why, "T*T products a lane") for s in program.sums)
    rows = tuple(_row(s, schedule) for s in parts.stages)
    return Plan(sums + rows + _together(parts, schedule))


def _of_located(program: Program, schedule: str) -> Plan:
    """Events inside the step: each neuron runs on from times of its own."""
    what = f"{listed(program.located)} at times inside the step (within_step: locate)"
    if schedule in PARALLEL:
        reason = f"schedule '{schedule}' composes whole steps, but '{program.name}' has {what}"
        raise Unsupported(reason, hint="choose sequential or eager, or within_step: saturate")
    states = tuple(dict.fromkeys(s.name.removesuffix(".re").removesuffix(".im") for s in program.carry))
    return Plan((PlanRow("whole", states, schedule if schedule != "auto" else "sequential", what, ""),))


def _check(program: Program, parts: Parts, schedule: str) -> None:
    """Raise where a schedule has nothing to do."""
    stages = [s for s in parts.stages if s.slots and s.slots != ("step",)]
    loops = [s for s in stages if s.kind == "loop"]
    if schedule == "scan" and loops and len(loops) == len(stages):
        why = "; ".join(f"{_states(s)}: {s.reason}" for s in loops)
        what = f"no part of '{program.name}' composes over time, so there is nothing to scan ({why})"
        raise Unsupported(what, hint="choose sequential, or newton, which iterates scans")
    if schedule == "fft" and not any(s.invariant for s in stages):
        why = "; ".join(f"{_states(s)}: {s.reason}" for s in stages) or "it has no states"
        raise Unsupported(f"no part of '{program.name}' is a convolution ({why})", hint="choose sequential or scan")
    if schedule == "newton" and not any(s.kind in STEPWISE for s in stages):
        what = f"every part of '{program.name}' has a closed form over time, so there is nothing to iterate"
        raise Unsupported(what, hint="choose scan")


def _row(stage: Stage, schedule: str) -> PlanRow:
    how = _how(stage, schedule)
    return PlanRow(_kind(stage), _names(stage), how, _reason(stage), _cost(stage))


def _kind(stage: Stage) -> str:
    kinds = {
        "event": "event",
        "delay": "window",
        "affine": "linear",
        "moebius": "Moebius",
        "spiking": "spiking",
        "loop": "nonlinear",
    }
    return kinds[stage.kind]


def _how(stage: Stage, schedule: str) -> str:
    if stage.kind in ("event", "delay"):
        return "pointwise"
    if stage.kind == "moebius":
        return "scan of 2 x 2 matrices"
    if stage.kind == "affine":
        return f"fft{_kernels(stage)}" if stage.invariant and schedule == "fft" else "scan"
    if schedule == "newton":
        return "newton, each iteration a scan"
    return "loop without gradient, then a reverse scan"


def _reason(stage: Stage) -> str:
    better = {
        "event": "a comparison at each step by itself",
        "delay": "past values: the sequence, shifted",
        "spiking": f"{stage.reason}; with them known the rest composes, part after part, and its gradient is a scan",
        "loop": f"{stage.reason}; steps do not compose in closed form; its Jacobians do, so its gradient is a scan",
    }
    if stage.kind == "affine" and stage.invariant:
        return f"{stage.reason}: also an FFT convolution{_kernels(stage)}"
    return better.get(stage.kind, stage.reason)


def _kernels(stage: Stage) -> str:
    """What is left of its states where only sums of them are read."""
    if stage.collapse is None:
        return ""
    count = len(stage.collapse.readings)
    what = f"{len(stage.blocks)} branches" if len(stage.blocks) > 1 else "its state"
    return f" with {what} collapsed into {count} real kernel{'s' if count > 1 else ''}"


def _cost(stage: Stage) -> str:
    """Operations of a step on one lane, and of joining two steps."""
    ops = sum(a.op != "const" for a in stage.once.body)
    text = f"{ops} operations a step and lane" if ops else "memory only"
    if stage.kind not in ("affine", "moebius"):
        return text
    joined = len(monoid(stage.form or stage.kind, stage.size).compose.assigns) * len(stage.blocks)
    return f"{text}, {joined} to join two steps"


def _together(parts: Parts, schedule: str) -> tuple[PlanRow, ...]:
    if schedule in PARALLEL:
        return ()
    if not parts.stages:
        return ()
    if schedule == "auto":
        return (PlanRow("whole", (), "auto", WHOLE, ""),)
    return (PlanRow("whole", (), schedule, "as asked for", ""),)


def _names(stage: Stage) -> tuple[str, ...]:
    """Its states, or its events; a complex one once."""
    return stage.states or stage.events


def _states(stage: Stage) -> str:
    return readable(listed(_names(stage)))
