"""How each component of a step is run over time, and why."""

from __future__ import annotations

from neuroode._errors import Unsupported
from neuroode.analysis.types import Report
from neuroode.expr.alike import listed
from neuroode.program.types import Plan, PlanRow

SCHEDULES = ("auto", "eager", "sequential")
LATER = ("scan", "fft", "newton")


def plan(report: Report, schedule: str = "auto") -> Plan:
    """One row per component.

    Raises:
        Unsupported: an unknown schedule, or one that is not there yet.
    """
    if schedule not in SCHEDULES:
        known = schedule in LATER
        raise Unsupported(
            f"schedule '{schedule}' is not there yet" if known else f"unknown schedule '{schedule}'",
            hint="choose among " + ", ".join(SCHEDULES),
        )
    operators = ", ".join(name for name, _ in report.system.spec.operators)
    if operators and schedule == "sequential":
        what = f"schedule 'sequential' runs each neuron by itself, but operators mix them ({operators})"
        raise Unsupported(what, hint="choose eager, or auto, which takes it")
    chosen = ("eager" if operators else "sequential") if schedule == "auto" else schedule
    return Plan(tuple(_rows(report, chosen)))


def _rows(report: Report, schedule: str) -> list[PlanRow]:
    system = report.system
    resets = {j.state for e in system.events for j in e.jumps} | {s for e in system.events for s in e.hold}
    rows = []
    for block in report.blocks:
        hit = [s for s in block.states if s in resets]
        if hit:
            reason = f"events assign or hold {listed(hit)}, so steps cannot be composed before the spikes are known"
        elif block.is_linear:
            reason = "linear: could be a scan; on a CPU the fused loop was faster in every cell measured"
        else:
            reason = f"{block.kind}: steps do not compose in closed form"
        rows.append(PlanRow("flow", block.states, schedule, reason, f"{len(block.states)} states a lane and step"))
    maps = tuple(system.maps)
    if maps:
        rows.append(
            PlanRow("map", maps, schedule, "reads events or its own past", f"{len(maps)} states a lane and step")
        )
    return rows
