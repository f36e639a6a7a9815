"""Guards that read a noise stream: the probability with which they hold, given everything else that they read.

`gradient: expected` is the derivative of that probability, `gradient: reinforce` uses its logarithm (Williams 1992,
Machine Learning 8: 229). A guard a*U + b > 0 with U uniform holds with probability clip(-b/a, 0, 1) for a < 0 and one
minus that for a > 0; with a standard normal stream with probability Phi(b/|a|).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy as sp

from neuroode._errors import Unsupported, readable
from neuroode.expr import functions as fn
from neuroode.system.types import Combined, Condition, Event, OdeSystem, Test

STRAIGHT = sp.S.One  # the slope of a comparison whose margin has the gradient of a probability
HINT = "write the guard as p > U with p free of noise, or leave gradient: surrogate"


def with_chances(system: OdeSystem) -> OdeSystem:
    """The system with `Test.chance` in each event whose gradient is that of a probability.

    Raises:
        Unsupported: the probability is not known.
    """
    if all(e.gradient == "surrogate" for e in system.events):
        return system
    if system.spec.within_step == "locate":
        raise Unsupported("gradient: expected and reinforce are for events at the end of the step",
                          hint="remove within_step: locate")  # fmt: skip
    return replace(system, events=tuple(_event(system, e) for e in system.events))


def _event(system: OdeSystem, e: Event) -> Event:
    if e.gradient == "surrogate":
        return e
    if e.gradient == "reinforce" and not isinstance(e.condition, Test):
        raise Unsupported(f"gradient: reinforce of {e.name}: its guard combines comparisons", hint=HINT)
    read = [s for test in tests(e.condition) for s in _streams(system, test.margin)]
    for s in read:
        others = list(_readers(system, e, s))
        if others or read.count(s) > 1:
            where = others[0] if others else "another comparison of the guard"
            what = f"gradient: {e.gradient} of {readable(e.name)}: {_name(s)} is read by {where} too"
            raise Unsupported(f"{what}, so the guard's probability is not its own", hint="give each its own stream")
    return replace(e, condition=_with_chance(system, e, e.condition))


def tests(c: Condition) -> Iterator[Test]:
    """The comparisons of a condition."""
    if isinstance(c, Test):
        yield c
    else:
        for item in c.items:
            yield from tests(item)


def _with_chance(system: OdeSystem, e: Event, c: Condition) -> Condition:
    if isinstance(c, Combined):
        return replace(c, items=tuple(_with_chance(system, e, i) for i in c.items))
    return replace(c, chance=_chance(system, e, c.margin)) if _streams(system, c.margin) else c


def _streams(system: OdeSystem, value: sp.Expr) -> list[sp.Symbol]:
    names = {f"{n}[t]" for n in system.noise}
    return sorted((s for s in value.free_symbols if s.name in names), key=str)


def _name(s: sp.Symbol) -> str:
    return readable(s.name.removesuffix("[t]"))


def _readers(system: OdeSystem, e: Event, s: sp.Symbol) -> Iterator[str]:
    """What else reads the stream in a way that the guard's probability does not know of."""
    rows = [*system.flows.items(), *system.maps.items(), *((i.state, i.coefficient) for i in system.impulses)]
    rows += [(state, value) for state, by_name in system.diffusion.items() for value in by_name.values()]
    if e.gradient == "reinforce":  # what is chosen must not tell of the number otherwise either
        rows += [(j.state, j.value) for o in system.events for j in o.jumps]
        rows += system.outputs
    yield from (f"the equation of {readable(name)}" for name, value in rows if value.has(s))
    others = [o for o in system.events if o.name != e.name and any(t.margin.has(s) for t in tests(o.condition))]
    known = {x.name for t in tests(e.condition) for x in t.margin.free_symbols}
    yield from (
        f"the guard of {readable(o.name)}" for o in others if e.gradient == "reinforce" or f"{o.name}[t]" in known
    )


def _chance(system: OdeSystem, e: Event, margin: sp.Expr) -> sp.Expr:
    streams = _streams(system, margin)
    where = f"gradient: {e.gradient} of {readable(e.name)}"
    if len(streams) > 1:
        raise Unsupported(f"{where}: the comparison reads {len(streams)} streams", hint=HINT)
    (u,) = streams
    slope = sp.diff(margin, u)
    if slope.has(u) or slope.has(sp.Derivative, sp.Subs):
        raise Unsupported(f"{where}: its guard is not linear in {_name(u)}", hint=HINT)
    rest, kind = margin.xreplace({u: sp.S.Zero}), system.noise[u.name.removesuffix("[t]")]
    if kind != "uniform":
        deviation = sp.Abs(slope) * (sp.sqrt(system.symbols["dt"]) if kind == "wiener" else 1)
        return (1 + sp.erf(rest / deviation / sp.sqrt(2))) / 2
    if not (slope.is_positive or slope.is_negative):
        raise Unsupported(f"{where}: whether {_name(u)} raises or lowers the margin is not known", hint=HINT)
    inside = fn.minimum(fn.maximum(-rest / slope, 0), 1)
    return inside if slope.is_negative else 1 - inside
