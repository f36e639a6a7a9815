"""Layers whose flow diffrax moves: `neuron.jax(..., solver="diffrax")`.

Everything that a step means stays what it is (language.md, section 3): inputs are held over the step, impulses come
before the flow; guards, maps, resets and outputs after it. Only the flow itself is no formula but a call of the solver
over the step, with its own steps and its own error control, for each lane by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import jax

from neuroode._errors import RunError, Unsupported
from neuroode.discretize.waves import noise_shape
from neuroode.nn import events_jax
from neuroode.nn.noisy_jax import flowed
from neuroode.nn.pieces_jax import Pieces, signals_of
from neuroode.nn.solved import located_events, refuse_memory
from neuroode.program.hybrid import Hybrid, hybrid
from neuroode.program.types import Program
from neuroode.solvers.on_jax import flow_jax, noisy_jax
from neuroode.solvers.on_jax.flow_jax import Solver
from neuroode.system.types import OdeSystem

Array = jax.Array
Row = tuple[Array, ...]
NUMBERS = ("rtol", "atol", "step_size", "first_step")
COUNTS = ("max_steps", "max_events", "samples")
KNOWN = ("method", *NUMBERS, *COUNTS)


@dataclass(frozen=True, slots=True)
class Choice:
    """How a layer's flow is moved.

    Attributes:
        solver: method, tolerances, adjoint.
        named: whether the call names the method; else it is that of the noise, where there is some.
        max_events: of a lane in a step. samples: times in a step at which guards are looked at.
        shaped: signals of located events have the slope of their surrogate; else they have none.
    """

    solver: Solver
    named: bool = False
    max_events: int = 8
    samples: int = 8
    shaped: bool = True

    def step(self, neuron: Any, dt: float) -> SolverStep:
        """The step of a neuron that is moved so."""
        return SolverStep(neuron, dt, self)


def chosen(options: Mapping[str, Any], layer: Mapping[str, Any], dt: float) -> Choice:
    """The choice that a layer's options make.

    Args:
        options: solver, adjoint, solver_options, gradient. layer: those that a solver layer refuses.

    Raises:
        Unsupported: what a solver layer does not do. RunError: an option of the solver that is not there.
    """
    if options["solver"] != "diffrax":
        raise Unsupported(f"solver={options['solver']!r}: jax layers know diffrax", hint='write solver="diffrax"')
    _refuse(layer)
    adjoint = options["adjoint"] or "none"
    if adjoint not in flow_jax.ADJOINTS:
        raise Unsupported(f"adjoint={adjoint!r}", hint="choose " + ", ".join(flow_jax.ADJOINTS))
    own = dict(options["solver_options"] or {})
    _check(own)
    more = {n: own.pop(n) for n in ("max_events", "samples") if n in own}
    if own.get("step_size") is not None:  # twice: with noise their number is a power of two
        own.setdefault("max_steps", 2 * flow_jax.steps_for(dt, own["step_size"]))
    solver = Solver(adjoint=adjoint, **own)
    return Choice(solver, "method" in own, shaped=options["gradient"] != "event", **more)


def _refuse(layer: Mapping[str, Any]) -> None:
    if layer["recurrent"]:
        raise Unsupported("a solver layer is not recurrent: its lanes know nothing of one another",
                          hint="leave solver= out; recurrent layers run step by step")  # fmt: skip
    if layer["method"] is not None:
        raise Unsupported(f"method={layer['method']!r} is a formula for the step, and solver= is none",
                          hint='solver_options={"method": "Tsit5"} names a method of the solver')  # fmt: skip
    if layer["schedule"] not in ("auto", "eager"):
        raise Unsupported(f"schedule={layer['schedule']!r}: a solver runs step by step", hint="leave schedule= out")


def _check(own: dict[str, Any]) -> None:
    for name in own:
        if name not in KNOWN:
            near = get_close_matches(name, KNOWN, 1)
            hint = f"did you mean {near[0]}?" if near else "options: " + ", ".join(KNOWN)
            raise RunError(f"solver_options has no '{name}'", hint=hint)
    for name in (n for n in NUMBERS if n in own):
        if isinstance(own[name], bool) or not isinstance(own[name], int | float) or not own[name] > 0:
            raise RunError(f"solver_options: {name} is {own[name]!r}, expected a positive number")
    for name in (n for n in COUNTS if n in own):
        if isinstance(own[name], bool) or not isinstance(own[name], int) or own[name] < 1:
            raise RunError(f"solver_options: {name} is {own[name]!r}, expected a whole number of at least 1")
    method = own.get("method", "Tsit5")
    if method not in flow_jax.METHODS and method not in noisy_jax.METHODS:
        names = ", ".join(flow_jax.METHODS)
        raise RunError(f"solver_options: method is {method!r}",
                       hint=f"choose {names}; with noise {', '.join(noisy_jax.METHODS)}")  # fmt: skip
    if own.get("step_size") is None and method in flow_jax.METHODS and method not in flow_jax.ADAPTIVE:
        raise RunError(f"solver_options: {method} takes fixed steps", hint='write {"step_size": 0.1} beside it')


def _for(system: OdeSystem, choice: Choice) -> Choice:
    """The choice with the method for a system.

    Raises:
        Unsupported: what is not there for noise. RunError: a method for noise, and there is none.
    """
    solver = choice.solver
    if not system.diffusion:
        if solver.method not in flow_jax.METHODS:
            raise RunError(f"solver_options: {solver.method} is for noise, and '{system.spec.name}' has none",
                           hint="choose " + ", ".join(flow_jax.METHODS))  # fmt: skip
        return choice
    if solver.adjoint == "backsolve":
        what = "adjoint='backsolve' is for flows without noise: with it the states come back on another path"
        raise Unsupported(what, hint="write adjoint='checkpointed'")
    named = solver.method if choice.named else None
    method = noisy_jax.chosen(named, noise_shape(system), solver.step_size is not None)
    return replace(choice, solver=replace(solver, method=method))


class SolverStep:
    """The step of a neuron whose flow a solver moves: coefficients, carry and inputs to outputs, carry and trace."""

    def __init__(self, neuron: Any, dt: float, choice: Choice) -> None:
        report = neuron.analyse(dt, brief=True)
        refuse_memory(report.system)
        self.choice, self.dt = _for(report.system, choice), dt
        noisy = bool(report.system.diffusion)
        self.hybrid: Hybrid = hybrid(report, noisy_jax.calculus(self.choice.solver.method) if noisy else None)
        self.inside = tuple(e.name for e in located_events(report.system))

    @property
    def program(self) -> Program:
        """What a layer knows of the step: names, parameters, prologue. Its body is empty, the pieces are run."""
        whole = self.hybrid.whole
        any_value = f"c.{whole.carry[0].name}"

        def named(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
            return tuple((n, any_value) for n, _ in rows)

        trace = (*whole.trace, *((f"{n}.time", "") for n in self.hybrid.events if self.inside))
        return replace(
            whole, body=(), outputs=named(whole.outputs), next=named(whole.next), trace=named(trace),
            digest=f"{whole.digest} {'located' if self.inside else 'solved'}",
        )  # fmt: skip

    def __call__(self, coefficients: Row, carry: Row, inputs: Row, dt: Any = None) -> tuple[Row, Row, Row]:
        pieces = Pieces(self.hybrid, self.choice.solver)
        m = pieces.moment(coefficients, carry, inputs, self.dt if dt is None else dt)
        y = pieces.start(m)
        if not self.inside:
            y = flowed(pieces, m, y) if self.hybrid.waves else pieces.flow(m, y, 0.0, m.dt)
            return pieces.finish(m, y, signals_of(pieces.guards(m, y)))
        found = events_jax.located(pieces, m, y, self.inside, self.choice)
        late = signals_of(pieces.guards(m, found.y))
        out, after, seen = pieces.finish(m, found.y, late | found.signals, done=self.inside)
        times = (found.times.get(f"{n}.time", m.dt) for n in self.hybrid.events)
        return out, after, (*seen, *times)
