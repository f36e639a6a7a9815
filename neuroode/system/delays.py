"""Delays by whole steps: `delay(x, d)` with a constant d is x as it was round(d/dt) steps ago (language.md, 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from neuroode._errors import RunError, SpecError, Unsupported
from neuroode.expr.evaluate import evaluate
from neuroode.expr.nodes import Call, Node, Num, Ref, fold, names, rebuild, walk
from neuroode.expr.show import show
from neuroode.expr.units import scale_and_dimension
from neuroode.spec.lengths import expressions
from neuroode.spec.rules_order import no_circles
from neuroode.spec.rules_units import is_bare
from neuroode.spec.scope import Scope
from neuroode.spec.types import NeuronSpec, ParameterDecl

MAX_STEPS = 1024  # of one delay: every step of a buffer is a number of each lane


def has_delays(spec: NeuronSpec) -> bool:
    """Whether the program of a neuron depends on its step, through the length of a buffer."""
    called = any(isinstance(n, Call) and n.name == "delay" for e in expressions(spec) for n in walk(e))
    lasting = [e.reset.duration for e in spec.events if e.reset and e.reset.duration is not None]
    return called or any(names(d) != {"dt"} for d in lasting)


def in_steps(spec: NeuronSpec) -> NeuronSpec:
    """The declaration (without axes) with each delay counted in steps of its `dt`; one of no step is a plain read.

    Raises:
        RunError: no step is declared.
        Unsupported: a delay that is no one constant number, or more than 1024 steps.
        SpecError: a negative delay, or a circle within a step that a delay of no step closes.
    """
    if not has_delays(spec):
        return spec
    found: list[int] = []

    def counted(node: Node, below: list[Any]) -> Any:
        if not (isinstance(node, Call) and node.name == "delay"):
            return rebuild(node, below)
        found.append(_steps(spec, node))
        return replace(node, args=(below[0], Num(Fraction(found[-1])))) if found[-1] else below[0]

    other = _mapped(spec, lambda node: fold(node, counted))
    if 0 in found:
        no_circles(Scope(other))
    return other


def _mapped(spec: NeuronSpec, f: Callable[[Any], Any]) -> NeuronSpec:
    events = []
    for e in spec.events:
        do = tuple(replace(a, value=f(a.value)) for a in (e.reset.do if e.reset else ()))
        events.append(replace(e, when=f(e.when), reset=e.reset and replace(e.reset, do=do)))
    return replace(
        spec,
        equations=tuple(replace(e, rhs=f(e.rhs)) for e in spec.equations),
        events=tuple(events),
        outputs=tuple((name, f(value)) for name, value in spec.outputs),
    )


def _steps(spec: NeuronSpec, call: Call) -> int:
    """round(d/dt), halves up."""
    if spec.dt is None:
        raise RunError(f"'{show(call)}' needs the step", hint="pass dt=..., or declare the key dt")
    dt = float(spec.dt.value) * _scale(spec.dt.unit)
    duration = _number(spec, call.args[1], {"dt": np.asarray(dt)}, call)
    if duration < 0:
        raise SpecError(f"'{show(call)}' looks ahead by {-duration:g}", place=call.mark.place, hint="a delay is >= 0")
    steps = int(np.floor(duration / dt + 0.5 + 1e-9))
    if steps > MAX_STEPS:
        raise Unsupported(f"'{show(call)}' is {steps} steps; at most {MAX_STEPS} are lowered", hint="take a larger dt")
    return steps


def _number(spec: NeuronSpec, node: Any, base: dict[str, Any], call: Call) -> float:
    """One constant, in base units."""
    parameters = {p.name: p for p in spec.parameters}
    values = dict(base)
    for name in sorted(names(node) & parameters.keys()):
        values[name] = np.asarray(_constant(spec, parameters[name], base, call))
    return float(np.real(evaluate(node, values)))


def _constant(spec: NeuronSpec, p: ParameterDecl, base: dict[str, Any], call: Call) -> float:
    node: Any = p.value if p.value is not None else p.init
    if isinstance(node, tuple):
        what = f"'{show(call)}': '{p.name}' lists a value for each neuron or channel"
        raise Unsupported(f"{what}, which is not lowered yet", hint="give it one value, or one along an axis")
    drawn = any(isinstance(n, Call) and n.name.removeprefix("log_") in ("uniform", "normal") for n in walk(node))
    if drawn:
        raise Unsupported(f"'{show(call)}': '{p.name}' is drawn when the module is built; a delay is one constant")
    return _number(spec, node, base, call) * (_scale(p.unit) if is_bare(node) else 1.0)


def _scale(unit: str | None) -> float:
    return float(scale_and_dimension(unit)[0]) if unit else 1.0


def trained(spec: NeuronSpec) -> list[str]:
    """Parameters that are trained and read by a delay."""
    calls = [n for e in expressions(spec) for n in walk(e) if isinstance(n, Call) and n.name == "delay"]
    read = {r.name for c in calls for r in walk(c.args[1]) if isinstance(r, Ref)}
    return [p.name for p in spec.parameters if p.trainable and p.name in read]
