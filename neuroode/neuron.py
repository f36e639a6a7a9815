"""The facade: one neuron, and every stage of the line from its declaration to a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.spec.types import NeuronSpec

if TYPE_CHECKING:
    from neuroode.analysis.types import Report
    from neuroode.discretize.types import Discretization
    from neuroode.nn.layer_torch import NeuronLayer
    from neuroode.program.firing import FiringRates
    from neuroode.program.types import Program
    from neuroode.system.types import OdeSystem


class Neuron:
    """A neuron. Build it from keywords (language.md, section 11), or with `load` from YAML.

    Raises:
        SpecError: the declaration is wrong.
    """

    def __init__(self, name: str, **keys: Any) -> None:
        from neuroode.spec.dsl import declare

        self.spec: NeuronSpec = declare(name, **keys)

    @classmethod
    def from_spec(cls, spec: NeuronSpec) -> Neuron:
        """The neuron of a checked declaration."""
        neuron = cls.__new__(cls)
        neuron.spec = spec
        return neuron

    def __repr__(self) -> str:
        from neuroode.expr.show import show

        lines = [f"{e.name}: {show(e.rhs)}" for e in self.spec.equations]
        return f"Neuron({self.spec.name!r}: {'; '.join(lines)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Neuron) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def system(self, dt: Any = None) -> OdeSystem:
        """The symbolic system: flows, maps, events with every read resolved in time.

        Args:
            dt: only neurons with delays need a step, which counts them; None takes the declared one.
        """
        return self._at_step(dt)._system

    def _at_step(self, dt: Any) -> Neuron:
        """This neuron, or where delays are counted in steps, one whose declared step is `dt`."""
        from neuroode.spec.types import Quantity
        from neuroode.system.delays import has_delays

        if not has_delays(self.spec) or (dt is None and self.spec.dt is not None):
            return self
        unit = self.spec.dt.unit if self.spec.dt else None
        wanted = Quantity(value=Fraction(self.step_length(dt)), unit=unit)
        return self if self.spec.dt == wanted else Neuron.from_spec(replace(self.spec, dt=wanted))

    def analyse(
        self,
        dt: Any = None,
        method: str | Mapping[str, str] | None = None,
        *,
        brief: bool = False,
        seed: int = 0,
        held: Mapping[str, float] | None = None,
        against: str | None = None,
        bifurcations: bool = False,
    ) -> Report:
        """What is linear, coupled, stable, resonant: facts with their evidence, boundaries of the step, figures.

        Args:
            dt: length of a step; None takes the declared one, and leaves figures out where none is declared.
            method: of the step whose stability is examined; None takes the declared one.
            brief: only what the flow alone tells: classes, blocks, degenerate sets.
            seed: of the neurons that are drawn where inits are random.
            held: what inputs are held at for fixed points, in their units; 0 where nothing is said.
            against: the input that bifurcations sweep; None takes the first current that a flow reads.
            bifurcations: text and JSON hold them too; `report.dynamics` computes each part when it is asked for.

        Raises:
            Unsupported: a method that was asked for does not apply.
            RunError: no such input.
        """
        from neuroode.program.scheme import with_dynamics, with_figures, with_step

        here = self._at_step(dt)
        if here is not self:
            return here.analyse(
                dt, method, brief=brief, seed=seed, held=held, against=against, bifurcations=bifurcations
            )
        if brief:
            return self._report
        d = self.discretize(dt, method)
        report = with_step(self._report, d)
        if not (dt is None and self.spec.dt is None and self.system().flows):
            report = with_figures(report, d, self.program(dt, method=method), self.step_length(dt), seed)
        step = report.figures.dt if report.figures else None
        return with_dynamics(report, step, seed, held, against, bifurcations)

    def firing_rates(self, currents: Any = None, dt: Any = None, **options: Any) -> FiringRates:
        """Firing rate against a held input, by simulation (`neuroode.program.firing.firing_rates` lists the options).

        Raises:
            Unsupported: no event, no current to hold, or operators and tables that a run would need.
        """
        from neuroode.program.firing import firing_rates

        method = options.pop("method", None)
        report = self.analyse(dt, brief=True)
        return firing_rates(report, self.program(dt, method=method), self.step_length(dt), currents, **options)

    def discretize(self, dt: Any = None, method: str | Mapping[str, str] | None = None) -> Discretization:
        """The step of each block, with exactness, convergence order and the reason of the choice.

        Args:
            dt: a step must exist (here or declared); the formulas hold for any.
            method: None takes the declared one.

        Raises:
            Unsupported: the method does not apply.
        """
        from neuroode.discretize.choose import discretize
        from neuroode.system.axes import unrolled_method

        if dt is not None:
            self.step_length(dt)
        chosen = dict(method) if isinstance(method, Mapping) else method
        return discretize(self._at_step(dt)._report, unrolled_method(self.spec, chosen))

    def program(
        self, dt: Any = None, *, method: str | Mapping[str, str] | None = None, schedule: str = "auto",
        axes: Mapping[str, int] | None = None,
    ) -> Program:  # fmt: skip
        """The language-neutral program of one step; `.plan` says how each component is scheduled and why.

        Args:
            axes: sizes of axes that replace the declared ones; each element is a number of its own (`z__0`, `z__1`).

        Raises:
            Unsupported: the method or the schedule does not apply.
        """
        from neuroode.nn.store import stored_program

        if axes:
            return self.with_axes(axes).program(dt, method=method, schedule=schedule)
        if dt is not None or self.spec.dt is not None:
            self.step_length(dt)
        here = self._at_step(dt)
        if method is not None and not isinstance(method, str | Mapping):
            raise Unsupported(f"method is {method!r}", hint="write its name, or a mapping from states to names")
        chosen = tuple(sorted(method.items())) if isinstance(method, Mapping) else method
        return stored_program(here.spec, (chosen, schedule), lambda: here._lowered(method, schedule))

    def _lowered(self, method: str | Mapping[str, str] | None, schedule: str) -> Program:
        from neuroode.program.build import build_program
        from neuroode.program.schedule import plan

        program = build_program(self.discretize(method=method))
        return replace(program, plan=plan(program, schedule))

    def emit(
        self, target: str, dt: Any = None, *, method: str | None = None, axes: Mapping[str, int] | None = None
    ) -> str:
        """Source text that runs without neuroode; target is torch, jax or c.

        Raises:
            Unsupported: no such target.
        """
        from neuroode.emit.export import export

        if axes:
            return self.with_axes(axes).emit(target, dt, method=method)
        return export(self.spec, self.program(dt, method=method), target, self.step_length(dt))

    def torch(self, size: int | tuple[int, ...] = 1, dt: Any = None, **options: Any) -> NeuronLayer:
        """A `torch.nn.Module` of *size* neurons (`neuroode.nn.layer_torch.NeuronLayer` lists the options).

        With `solver="torchdiffeq"` a solver moves the flow (`neuroode.nn.solver_torch.SolverLayer`).
        """
        try:
            from neuroode.nn.build_torch import layer
        except ModuleNotFoundError as error:
            raise Unsupported("torch is not installed", hint="pip install 'neuroode[torch]'") from error
        return layer(self, size, self.step_length(dt), **options)

    def jax(self, size: int | tuple[int, ...] = 1, dt: Any = None, *, key: Any = None, **options: Any) -> Any:
        """An `equinox.Module` of *size* neurons (`neuroode.nn.layer_jax.NeuronLayer` lists the options)."""
        try:
            from neuroode.nn.layer_jax import NeuronLayer
        except ModuleNotFoundError as error:
            raise Unsupported("jax or equinox is not installed", hint="pip install 'neuroode[jax]'") from error
        return NeuronLayer(self, size, self.step_length(dt), key=key, **options)

    def simulate(
        self,
        x: Any = None,
        dt: Any = None,
        *,
        steps: int | None = None,
        batch: int | None = None,
        size: int | tuple[int, ...] = 1,
        method: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        noise: Mapping[str, Any] | None = None,
        axes: Mapping[str, int] | None = None,
        operators: Mapping[str, Any] | None = None,
        check_finite: bool = False,
    ) -> dict[str, np.ndarray]:
        """Run in numpy float64 by the reference interpreter.

        Args:
            x: (T, B, *size*, *axes of the input*), or a mapping of such by input name; None without inputs.
            steps, batch, size: T, B and *size* of a neuron without inputs.
            parameters: constrained values that replace the declared ones; each broadcasts against *size*.
            seed: of random inits (of parameters and of states) and noise streams, 0 to 2^32 - 1.
            noise: stream name -> (T, B, *size*, *axes*), replayed in place of drawn numbers.
            axes: sizes of axes that replace the declared ones.
            operators: functions of (B, *size*) of the external operators; (N, N) matrices of dense ones, else drawn.
            check_finite: raise with the first step, lane and state where a number is not finite.

        Returns:
            name -> (T, B, *size*, *axes*): states after each step and its resets, events, definitions, outputs. What
            an output reads as `v`, its value before resets, is `v.before` where a reset may change v.

        Raises:
            RunError: inputs that are not numbers of that shape.
        """
        from neuroode.program.arrays import lanes_of, sequence
        from neuroode.program.finite import require_finite
        from neuroode.program.history_run import with_past
        from neuroode.program.interpret import run
        from neuroode.program.noise import checked_seed, noise_of_run
        from neuroode.program.operators import functions
        from neuroode.program.pack import groups, packed_by_name, unpacked
        from neuroode.program.start import start_of_run
        from neuroode.program.values import initial_values, joined, slots, tables

        if axes:
            other = self.with_axes(axes)
            return other.simulate(
                x, dt, steps=steps, batch=batch, size=size, method=method, parameters=parameters, seed=seed,
                noise=noise, operators=operators, check_finite=check_finite,
            )  # fmt: skip
        past = with_past(self._at_step(dt), dt, method)
        program = past.program if past else self.program(dt, method=method)
        declared = program.given
        found = groups(declared)
        x = self._clocked(program, x, steps, batch, size)
        given = x if isinstance(x, Mapping) else {found[0].name: x}
        names = ", ".join(g.name for g in found)
        if {g.name for g in found} != set(given):
            raise RunError(f"inputs of '{self.spec.name}' are {names}; found {', '.join(given)}")
        arrays = {g.name: sequence(g, given[g.name]) for g in found}
        shape = lanes_of(found[0], arrays[found[0].name])
        for g in found:
            if lanes_of(g, arrays[g.name]) != shape:
                raise RunError(
                    f"input '{g.name}' is {arrays[g.name].shape}, '{found[0].name}' is "
                    f"{arrays[found[0].name].shape}; they must agree"
                )
        step, rng = self.step_length(dt), np.random.default_rng(checked_seed(seed))
        start = initial_values(self.spec, step, shape[2:], rng, parameters or {})
        values = slots(self.spec, start, shape[2:]) | {"dt": np.asarray(step)}
        inputs = dict(zip(declared, unpacked(arrays, found), strict=True))
        inputs |= noise_of_run(program, shape, step, seed, noise)
        inputs |= tables(self.spec, start, shape[2:], shape[0])
        calls = functions(program, operators or {}, shape[2:], rng)
        begin = start_of_run(program, values, shape[1:], seed)
        trace = past.run(values, inputs) if past else run(program, values, inputs, begin, calls).trace
        rows = packed_by_name(joined(trace), partial(np.stack, axis=-1))
        if check_finite:
            require_finite(self.spec.name, rows)
        return rows

    def _clocked(self, program: Program, x: Any, steps: Any, batch: Any, size: Any) -> Any:
        """The inputs of a call; of a neuron without any, zeros that nothing reads."""
        from neuroode.nn.inputs import clock_shape, refuse_clock
        from neuroode.nn.options import layer_size
        from neuroode.program.types import CLOCK

        name = self.spec.name
        if CLOCK not in program.inputs:
            refuse_clock(name, [i.name for i in self.spec.inputs], x, steps, batch)
            return x
        return np.zeros(clock_shape(name, x, steps, 1 if batch is None else batch, layer_size(size)))

    def with_axes(self, sizes: Mapping[str, int]) -> Neuron:
        """The same neuron with other sizes of its axes.

        Raises:
            RunError, SpecError: no such axis, or a size that does not fit.
        """
        from neuroode.nn.options import with_axes

        return Neuron.from_spec(with_axes(self.spec, sizes))

    def verify(self, dt: Any = None) -> Any:
        """Not there yet."""
        raise Unsupported(
            "certificates are not available yet", hint="the tests of neuroode compare every target with the interpreter"
        )

    def step_length(self, dt: Any = None) -> float:
        """The step as a number in the declared unit of time.

        Raises:
            RunError: no step is given and none is declared, or it is not a positive number.
        """
        if dt is None:
            if self.spec.dt is None and not any(
                e.kind in ("flow", "fractional", "differential") for e in self.spec.equations
            ):
                return 1.0  # maps count steps
            if self.spec.dt is None:
                raise RunError(f"neuron '{self.spec.name}' declares no dt", hint="pass dt=..., or declare the key dt")
            return float(self.spec.dt.value)
        from neuroode.program.values import as_step

        return as_step(self.spec, dt)

    def replace(self, **sections: Any) -> Neuron:
        """A new neuron with parts replaced (language.md, section 10)."""
        return self._changed("replace", sections)

    def add(self, **sections: Any) -> Neuron:
        """A new neuron with parts added."""
        return self._changed("add", sections)

    def remove(self, *names: str) -> Neuron:
        """A new neuron without the named parts."""
        return self._changed("remove", list(names))

    def _changed(self, key: str, change: Any) -> Neuron:
        from neuroode.spec.dsl import changed

        return Neuron.from_spec(changed(self.spec, key, change))

    def to_yaml(self) -> str:
        """The declaration as YAML text; reading it gives an equal spec."""
        from neuroode.spec.write_yaml import to_yaml

        return to_yaml(self.spec)

    @cached_property
    def _system(self) -> OdeSystem:
        from neuroode.system.build import build

        return build(self.spec)

    @cached_property
    def _report(self) -> Report:
        from neuroode.analysis.report import analyse

        return analyse(self._system)

    def __getstate__(self) -> NeuronSpec:
        return self.spec

    def __setstate__(self, spec: NeuronSpec) -> None:
        self.spec = spec


def load(model: str, *, compat: str | None = None) -> Neuron:
    """A neuron by zoo name, or from a file: a text that ends in .yaml/.yml or holds a separator is a path.

    Raises:
        SpecError: no such neuron or file, or a wrong declaration.
    """
    from neuroode import models
    from neuroode.spec.read_yaml import read

    text = str(model)
    is_path = text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text
    path = text if is_path else models.path(text)
    return Neuron.from_spec(read(path, compat=compat, find=models.path))


def detach_carry(carry: Any) -> Any:
    """The same carry without gradient, for truncated backpropagation through time; also a tuple of carries."""
    if isinstance(carry, tuple):
        return tuple(detach_carry(c) for c in carry)
    return carry if carry is None else carry.detach()
