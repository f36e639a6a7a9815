"""Differentials as solvers see them: the shape of their noise, their drift in a calculus, the streams of a step."""

from __future__ import annotations

from dataclasses import replace

from neuroode._errors import ELEMENT, Unsupported
from neuroode.analysis.linearity import moving, running
from neuroode.discretize.ito import drift
from neuroode.system.types import OdeSystem


def waves_of(system: OdeSystem) -> tuple[str, ...]:
    """The Wiener increments that flow states read."""
    return tuple(dict.fromkeys(w for row in system.diffusion.values() for w in row))


def bridge(wave: str) -> tuple[str, str]:
    """Two streams of uniform numbers: the key of what an increment does inside its step."""
    stem = f"bridge.{wave}_" if ELEMENT.search(wave) else f"bridge.{wave}__"  # the last axis of the array
    return f"{stem}0", f"{stem}1"


def streams_of(system: OdeSystem) -> dict[str, str]:
    """What a solver draws in each step, by kind."""
    waves = waves_of(system)
    return dict.fromkeys(waves, "wiener") | dict.fromkeys([b for w in waves for b in bridge(w)], "uniform")


def noise_shape(system: OdeSystem) -> str:
    """additive: it reads no state that moves, nor a ramp. scalar: one stream. diagonal: each state has a stream of its
    own and its noise reads no other state. Otherwise general."""
    rows, x = system.diffusion, running(system)
    if not any(g.has(*moving(system)) for row in rows.values() for g in row.values()):
        return "additive"
    if len(waves_of(system)) == 1:
        return "scalar"
    alone = all(len(row) == 1 for row in rows.values()) and len(waves_of(system)) == len(rows)
    apart = not any(g.has(x[j]) for i, row in rows.items() for g in row.values() for j in x if j != i)
    real = not any(system.is_complex(s) for s in rows)
    return "diagonal" if alone and apart and real else "general"


def in_calculus(system: OdeSystem, calculus: str) -> OdeSystem:
    """The same differentials with the drift of another calculus.

    Raises:
        Unsupported: a drift that cannot be converted.
    """
    if calculus == system.calculus:
        return system
    _refuse_held(system, calculus)
    flows = {s: drift(system, s, calculus) for s in system.flows}
    return replace(system, flows=flows, calculus=calculus)


def _refuse_held(system: OdeSystem, calculus: str) -> None:
    """The conversion adds noise times noise: while a refractory time holds one of two states, it would be another."""
    x, rows = running(system), system.diffusion
    held = {s for e in system.events for s in e.hold if s in rows}
    for state, own in rows.items():
        for other in held - {state}:
            if own.keys() & rows[other].keys() and any(g.has(x[other]) for g in own.values()):
                raise Unsupported(
                    f"the {calculus} drift of {state} needs the noise of {other}, which a refractory time holds",
                    hint=f"take a method for {system.calculus}, or leave solver= out",
                )
