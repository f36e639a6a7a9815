"""The equinox module of a neuron: shapes, parameters, carries; the mathematics is in the emitted programs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.nn import eager_jax, forward_jax, history_jax, native_jax, sample_jax, spikes_jax, tables_jax
from neuroode.nn.axes import Border
from neuroode.nn.carry import LAST, NOISE_KEY, check_carry
from neuroode.nn.carry_jax import JaxCarry
from neuroode.nn.inputs_jax import Sequence
from neuroode.nn.noise_jax import fresh_key, given_of
from neuroode.nn.operators_jax import Operators
from neuroode.nn.options import OF_SOLVERS, changed_spec, graded_spec, layer_size, refuse_later, trained_spec, with_axes
from neuroode.nn.parameters import Values
from neuroode.nn.parameters_jax import Parameters, widest
from neuroode.nn.recurrent import Recurrent, recurrent_names, refuse_parallel
from neuroode.nn.recurrent_jax import RecurrentWeights
from neuroode.nn.scans_jax import WHOLE, Place, place_of
from neuroode.nn.stack_jax import OnlyOutput
from neuroode.nn.start_jax import drawn, first
from neuroode.program.types import Program
from neuroode.program.values import joined

Array = jax.Array


class Frame:
    """What a layer is besides its numbers: static data of the pytree. Equal content is equal."""

    def __init__(
        self, neuron: Any, size: tuple[int, ...], dt: float, method: Any, schedule: str, recurrent: Any, dtype: Any,
        check_finite: bool, place: Place = WHOLE, solver: Any = None,
    ) -> None:  # fmt: skip
        self.neuron, self.size, self.dt, self.method, self.schedule = neuron, size, float(dt), method, schedule
        self.solver, self.solved = solver, solver and solver.step(neuron, float(dt))  # None: the step is a formula
        self.program: Program = self.solved.program if solver else neuron.program(dt, method=method, schedule=schedule)
        self.recurrent: Recurrent | None = recurrent_names(recurrent, self.program, size)
        refuse_parallel(schedule, self.recurrent)
        self.dtype, self.check_finite, self.place = np.dtype(dtype), check_finite, place
        self.border = Border(self.program, _stack)
        parts = self.program.digest, size, self.dt, self.recurrent, self.dtype, schedule, check_finite, place, solver
        self.key = hashlib.sha256(repr(parts).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        kind = ", recurrent" if self.recurrent else ""
        size = self.size if len(self.size) > 1 else self.size[0]
        return f"Frame({self.neuron.spec.name}, size={size}, dt={self.dt:g}{kind})"

    def at_dt(self, dt: float) -> Frame:
        """The same at another step."""
        return Frame(
            self.neuron, self.size, dt, self.method, self.schedule, self.recurrent, self.dtype, self.check_finite,
            self.place, self.solver,
        )  # fmt: skip

    def with_program(self, program: Program) -> Frame:
        """The same with another program of the same carry."""
        other = copy.copy(self)
        other.program, other.border, other.key = program, Border(program, _stack), f"{self.key} {program.digest}"
        return other

    @property
    def pair(self) -> tuple[str, str] | None:
        """(input, output) of the recurrence."""
        return (str(self.recurrent.input), str(self.recurrent.output)) if self.recurrent else None

    @property
    def digest(self) -> str:
        """Of a carry."""
        r = self.recurrent
        return self.program.digest + ("" if r is None else f" {r.output}->{r.input}")


class NeuronLayer(eqx.Module):
    """*size* neurons of one kind.

    Args:
        size: neurons, a number or a tuple (channels first).
        dt: the step, in the declared unit of time.
        key: of `jax.random`, for drawn inits and recurrent weights.
        method: None takes the declared one.
        schedule: auto takes what the cost model (`nn.costs`) says is fastest at a call's length and lanes; eager is
            a scan over time in checkpointed chunks, with all of jax's derivatives; sequential is the generated C
            kernel: on the CPU; scan, fft and newton run over the whole sequence, `nn.parallel_jax`: `program.plan`
            says what runs how. All but eager are for reverse mode.
        recurrent: True or `Recurrent(...)`: W_rec (N, N) times the output of the step before is added to an input.
        init: name -> expression, replaces the value of named parameters, e.g. {"omega": "uniform(15, 50)"}.
        reset_gradient, surrogate: of all events: through | detached; what replaces their surrogates.
        dtype: of the parameters; float32 or float64; None is jax's own.
        check_finite: outside of jit, raise with step, lane and state; inside, raise without them.
        axes: sizes of axes inside the neuron that replace the declared ones.
        operators: name -> function or flax module of (B, *size*), or equinox module of (*size*): external operators.
        mesh, time: a mesh of devices and the name of that of its axes over which schedule "scan" cuts time.
        solver, adjoint, solver_options: "diffrax" moves the flow (`nn.solver_jax.Choice` has adjoints and options).
        gradient: surrogate | event (signals have no derivative; times and states after located events have theirs).

    Shapes: x (T, B, *size*, *axes*); out (T, B, *size*, *axes*) or a dict of them; carry (B, *size*, *axes*).

    Its leaves are the stored numbers of trained parameters and the recurrent weights; constants are static.

    Raises:
        Unsupported: an option that does not apply, with the reason.
    """

    parameters_of_neuron: Parameters
    weights: RecurrentWeights | None
    operators_of_neuron: Operators
    frame: Frame = eqx.field(static=True)

    def __init__(
        self, neuron: Any, size: int | tuple[int, ...], dt: float, *, key: Any, method: Any = None,
        schedule: str = "auto", recurrent: bool | Recurrent | Mapping[str, str] | None = None,
        init: Mapping[str, Any] | None = None, reset_gradient: str | None = None, surrogate: Any = None,
        dtype: Any = None, check_finite: bool = False, axes: Mapping[str, int] | None = None,
        operators: Mapping[str, Any] | None = None, mesh: Any = None, time: str = "time", solver: str | None = None,
        **later: Any,
    ) -> None:  # fmt: skip
        moved = history_jax.chosen(neuron, method, {"recurrent": recurrent, "schedule": schedule})
        if solver is not None:
            moved, later = _solver(solver, later, dt, recurrent=recurrent, method=method, schedule=schedule)
        refuse_later(later)
        spec = changed_spec(with_axes(neuron.spec, axes or {}), init or {}, reset_gradient, surrogate)
        spec = graded_spec(spec, later.get("gradient"), surrogate)
        neuron, shape, dtype = neuron.from_spec(spec), layer_size(size), _dtype(dtype)
        place = place_of(mesh, time, schedule)
        self.frame = Frame(neuron, shape, dt, method, schedule, recurrent, dtype, check_finite, place, moved)
        if schedule == "sequential":
            if spec.operators:
                raise Unsupported("a layer with operators has no C kernel", hint='schedule="eager"')
            native_jax.kernel_of(self.program, dtype, self.frame.pair)
        self.parameters_of_neuron = Parameters.build(spec, float(dt), shape, dtype, _seed(key))
        chosen, weights_key = self.frame.recurrent, jax.random.fold_in(key, 1)
        self.weights = RecurrentWeights(chosen, shape[0], dtype, weights_key) if chosen else None
        operators_key = jax.random.fold_in(key, 2)
        self.operators_of_neuron = Operators.build(self.program, operators or {}, shape, dtype, operators_key)

    # what it is

    @property
    def neuron(self) -> Any:
        return self.frame.neuron

    @property
    def size(self) -> tuple[int, ...]:
        return self.frame.size

    @property
    def dt(self) -> float:
        return self.frame.dt

    @property
    def program(self) -> Program:
        return self.frame.program

    @property
    def recurrent(self) -> Recurrent | None:
        return self.frame.recurrent

    # parameters

    @property
    def values(self) -> Values:
        """Every parameter by name in constrained form."""
        return Values(self.parameters_of_neuron, self.operators_of_neuron.matrices)

    @property
    def W_rec(self) -> Array:
        """Recurrent weights (N, N), [to, from]."""
        if self.weights is None:
            raise AttributeError("this layer is not recurrent")
        return self.weights.matrix()

    def __getattr__(self, name: str) -> Any:
        frame = self.__dict__.get("frame")
        if frame is not None and any(p.name == name for p in frame.neuron.spec.parameters):
            return self.values[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def set(self) -> Callable[..., NeuronLayer]:
        """A layer with constrained values replaced: `layer = layer.set(tau=10.0)`. Outside of jit.

        Raises:
            RunError, SpecError: no such parameter, a shape that does not fit, a value outside the domain.
        """
        return partial(_written, self)  # a bound method of equinox takes no parameter that is called `self`

    def project(self) -> NeuronLayer:
        """With parameters that an update pushed out of their domain at its bound; call it after each update."""
        return self._with(parameters_of_neuron=self.parameters_of_neuron.projected(self.dt))

    def _with(self, **changes: Any) -> NeuronLayer:
        other = object.__new__(type(self))
        for name in ("parameters_of_neuron", "weights", "operators_of_neuron", "frame"):
            object.__setattr__(other, name, changes.get(name, getattr(self, name)))
        return other

    # running

    def __call__(
        self, x: Any = None, carry: JaxCarry | None = None, *, lengths: Any = None, steps: int | None = None,
        batch: int | None = None, key: Any = None, times: Any = None, seed: Any = None,
        noise: Mapping[str, Any] | None = None,
    ) -> tuple[Any, JaxCarry]:  # fmt: skip
        """Run over a sequence.

        Args:
            x: (T, B, *size*), or a dict of them by input name; None for a neuron without inputs.
            carry: of an earlier call; None starts from the declared init.
            lengths: (B,) valid steps per sample: afterwards its states rest, its outputs are 0.
            steps, batch: T and B of a neuron without inputs.
            key: of `jax.random`, for noise and drawn inits of states; who has none reads none (equinox passes one).
            seed: in place of a key, 0 to 2^32 - 1; a carry goes on with its own where neither is given.
            noise: stream name -> (T, B, *size*, *axes*), replayed in place of drawn numbers, with gradients.
            times: (T,) or (T, B) observation times in the declared unit, increasing from above 0, at which the steps
                end; None: after each dt. Inside of jit wrong ones are an error when it runs.

        Raises:
            RunError: a wrong shape, dtype, length, time or carry.
        """
        how = {"lengths": lengths, "steps": steps, "batch": batch, "times": times}
        given = given_of(self.frame, x, carry, **how, key=key, seed=seed, noise=noise)
        found = self._run(given, carry, trace=False)
        outputs = found.outputs
        if self.frame.check_finite:
            outputs = self._require_finite(given, carry, outputs, found.carry)
        rows = self.frame.border.join([o.astype(given.dtype) for o in outputs], self.frame.border.outputs)
        after = self._carry(found.carry, found.last, given.noise_key, found.beside)
        return next(iter(rows.values())) if len(rows) == 1 else rows, after

    def trace(self, x: Any = None, carry: JaxCarry | None = None, **call: Any) -> dict[str, Array]:
        """Every state after each step, `NAME.before` where an event assigns it, events, definitions, outputs.

        `call`: lengths, steps, batch, times, key, seed, noise as those of a call of the layer.
        """
        return self._traced(given_of(self.frame, x, carry, **call), carry)[0]

    def _traced(self, given: Sequence, carry: JaxCarry | None) -> tuple[dict[str, Array], JaxCarry]:
        found = self._run(given, carry, trace=True)
        named = joined(dict(zip([n for n, _ in self.program.trace], found.trace, strict=True)))
        after = self._carry(found.carry, found.last, given.noise_key, found.beside)
        return self.frame.border.join_by_name(named), after

    def iterations(self, x: Any = None, carry: JaxCarry | None = None, **call: Any) -> dict[str, Array]:
        """How many iterations such a call takes with schedule="newton", by states; empty with another schedule."""
        return dict(self._run(given_of(self.frame, x, carry, **call), carry, trace=False).iterations)

    def spike_times(
        self, x: Any = None, carry: JaxCarry | None = None, **call: Any
    ) -> tuple[Array | dict[str, Array], JaxCarry]:
        """Times (T, B, *size*) of the first event of each step since the start of the call, inf where there is none, a
        dict of them for several events, with exact derivatives; and the carry. Needs within_step: locate."""
        return spikes_jax.spike_times(self, x, carry, **call)

    def sample(self, x: Any = None, carry: JaxCarry | None = None, **call: Any) -> tuple[Any, Any, JaxCarry]:
        """A run and the logarithm of the probability of its events: (out, log_prob (T, B, *size*), carry).

        Of events with `gradient: reinforce`; a dict for several. For a reward R of a run, the gradient of
        stop_gradient(R)*log_prob.sum() + R is an unbiased one of the expected reward.
        """
        return sample_jax.sample(self, x, carry, **call)

    def init_carry(self, batch: int, *, key: Any = None, seed: Any = None) -> JaxCarry:
        """The carry before the first step, (batch, *size*, *axes*) each; `key` or `seed` of noise and drawn inits."""
        if not isinstance(batch, int) or batch < 0:
            raise RunError(f"batch is {batch!r}, expected a number of samples")
        last = jnp.zeros((batch, *self.size), self.frame.dtype) if self.recurrent else None
        at = fresh_key(self.frame, batch, seed, key) if self.program.noise or self.program.start else None
        states = first(self.frame, self.parameters_of_neuron, batch, None if at is None else at[:, 0])
        return self._carry(states, last, at if self.program.noise else None)

    def _run(self, given: Sequence, carry: Any, trace: bool) -> eager_jax.JaxRun:
        frame, start, last = self.frame, None, None
        shape = (given.batch, *self.size)
        if carry is not None:
            states = history_jax.without_past(carry)
            check_carry(states, frame.digest, (shape, frame.dtype), _described, frame.border.axes_of_carry())
            start = frame.border.split(carry, frame.border.carry)
            last = carry[LAST] if self.recurrent else None
        elif self.recurrent:
            last = jnp.zeros(shape, frame.dtype)
        tables_jax.check_reach(frame, given.inputs[0].shape[0], given.lengths, start)
        start = drawn(self, given) or start
        if isinstance(frame.solver, history_jax.Choice):
            return history_jax.run(self, given, carry, start, trace)
        inner = self.parameters_of_neuron, self.weights, self.operators_of_neuron
        forward = forward_jax.forward_with_functions if self.program.operators else forward_jax.forward
        return eager_jax.JaxRun(
            *forward(frame, trace, *inner, given.inputs, start, last, given.lengths, given.durations)
        )

    def _carry(self, arrays: list[Array], last: Any, key: Any, past: Mapping[str, Array] | None = None) -> JaxCarry:
        beside = {n: x for n, x in ((LAST, last), (NOISE_KEY, key)) if x is not None} | dict(past or {})
        return JaxCarry(self.frame.border.join(arrays, self.frame.border.carry) | beside, self.frame.digest)

    def _require_finite(self, given: Sequence, carry: Any, outputs: list[Array], after: list[Array]) -> list[Array]:
        """Raise with the first step, lane and state that is not finite; under a trace: later, without them."""
        bad = jnp.any(jnp.stack([~jnp.isfinite(a).all() for a in (*outputs, *after)]))
        name = self.neuron.spec.name
        if isinstance(bad, jax.core.Tracer):
            where = f"a value of '{name}' is not finite; a call outside of jit, grad, vmap finds step, lane and state"
            return list(eqx.error_if(outputs, bad, where))
        if not bad:
            return outputs
        rows = {n: np.argwhere(~np.isfinite(np.asarray(v))) for n, v in self._traced(given, carry)[0].items()}
        first = {n: b[0].tolist() for n, b in rows.items() if len(b)}
        if not first:
            raise RunError(f"a value of '{name}' is not finite")
        state = min(first, key=lambda n: first[n][0])
        t, *lane = first[state]
        raise RunError(f"'{state}' of '{name}' is not finite from step {t} on, lane {tuple(lane)}")

    # life

    def at_dt(self, dt: Any) -> NeuronLayer:
        """The same parameters at another step: changing dt changes the discretization, never the model.

        Raises:
            RunError: not a step, or a value lies outside a domain that reads dt.
        """
        step = self.neuron.step_length(dt)
        self.parameters_of_neuron.check(step)
        return self._with(frame=self.frame.at_dt(step))

    def to_neuron(self) -> Any:
        """The declaration with the trained values.

        Raises:
            Unsupported: it has dense operators, or inside jit.
        """
        if self.operators_of_neuron.matrices:
            raise Unsupported("a declaration has no place for the matrix of a dense operator", hint="keep the layer")
        return self.neuron.from_spec(trained_spec(self.neuron.spec, self.parameters_of_neuron.numbers()))

    @property
    def only_output(self) -> OnlyOutput:
        """This layer for `equinox.nn.Sequential`: returns outputs only, starts afresh in each call."""
        return OnlyOutput(self)


def _written(layer: NeuronLayer, /, **values: Any) -> NeuronLayer:
    dense = set(layer.operators_of_neuron.matrices)
    operators = layer.operators_of_neuron.written({n: v for n, v in values.items() if n in dense})
    rest = {n: v for n, v in values.items() if n not in dense}
    parameters = layer.parameters_of_neuron.written(rest, layer.dt)
    return layer._with(parameters_of_neuron=parameters, operators_of_neuron=operators)


def _solver(name: str, later: dict[str, Any], dt: float, **layer: Any) -> tuple[Any, dict[str, Any]]:
    """The choice of a solver, and the options that are left."""
    try:
        from neuroode.nn.solver_jax import chosen
    except ModuleNotFoundError as error:
        raise Unsupported(f"{error.name} is not installed", hint="pip install 'neuroode[jax]'") from error
    own = {n: later.get(n) for n in ("adjoint", "solver_options", "gradient")}
    return chosen({"solver": name, **own}, layer, dt), {n: v for n, v in later.items() if n not in OF_SOLVERS}


def _stack(rows: list[Any]) -> Array:
    return jnp.stack(rows, axis=-1)


def _described(value: Any) -> tuple:
    return tuple(value.shape), np.dtype(value.dtype)


def _dtype(dtype: Any) -> Any:
    found = np.dtype(widest() if dtype is None else dtype)
    if found not in (np.float32, np.float64):
        raise Unsupported(f"layers compute in float32 or float64, not {found}")
    if found == np.float64 and widest() != np.float64:
        raise Unsupported("jax computes in float32 here", hint='jax.config.update("jax_enable_x64", True)')
    return found


def _seed(key: Any) -> list[int]:
    if key is None:
        raise RunError("a jax layer needs a key", hint="neuron.jax(size=..., key=jax.random.key(0))")
    data = jax.random.key_data(key)
    if isinstance(data, jax.core.Tracer):
        raise Unsupported("a layer cannot be built inside jit or vmap", hint="build a list, jax.tree.map(stack) it")
    return [int(n) for n in np.ravel(np.asarray(data))]
