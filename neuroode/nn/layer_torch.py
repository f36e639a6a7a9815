"""The torch module of a neuron: shapes, parameters, carries; the mathematics is in the emitted programs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from neuroode._errors import RunError, Unsupported
from neuroode.nn import call_torch, eager_torch, kernels_torch, parallel_torch, prologue_torch, prologue_traced_torch
from neuroode.nn.axes import Border
from neuroode.nn.carry import LAST, NOISE_KEY, Carry, check_carry
from neuroode.nn.finite_torch import require_finite
from neuroode.nn.inputs_torch import Sequence
from neuroode.nn.noise_torch import fresh_key, given_of
from neuroode.nn.operators_torch import Operators
from neuroode.nn.options import changed_spec, graded_spec, layer_size, refuse_later, trained_spec, with_axes
from neuroode.nn.parameters import Values
from neuroode.nn.parameters_torch import Parameters, shared_parameters
from neuroode.nn.recurrent import Recurrent, recurrent_names, refuse_parallel
from neuroode.nn.recurrent_torch import RecurrentWeights
from neuroode.nn.sample_torch import sample
from neuroode.nn.spikes_torch import spike_times
from neuroode.nn.stack_torch import OnlyOutput
from neuroode.nn.start_torch import drawn, first
from neuroode.nn.tables_torch import with_tables
from neuroode.nn.times_torch import coefficients_at
from neuroode.program.noise import check_seed
from neuroode.program.schedule import PARALLEL
from neuroode.program.types import Program
from neuroode.program.values import joined

Tensor = torch.Tensor
Found = tuple[list[Tensor], list[Tensor], Tensor | None]  # outputs, carry, a recurrent layer's last output


class NeuronLayer(torch.nn.Module):
    """*size* neurons of one kind.

    Args:
        size: neurons, a number or a tuple (channels first).
        dt, method: the step, in the declared unit of time; None takes the declared method.
        schedule: auto (what the cost model takes for the fastest at the length and lanes of a call, `nn.costs`) |
            sequential (generated C kernel, on CUDA a Triton kernel; without a compiler or triton the eager
            program, said once) | eager | scan, fft, newton (over the whole sequence, `nn.parallel_torch`;
            `program.plan` says what runs how).
        recurrent: True or `Recurrent(...)`: W_rec (N, N) times the output of the step before is added to an input.
        init: name -> expression, replaces the value of named parameters, e.g. {"omega": "uniform(15, 50)"}.
        reset_gradient, surrogate: of all events: through | detached; what replaces their surrogates.
        dtype, device: of the parameters; float32 or float64.
        axes: sizes of axes inside the neuron that replace the declared ones.
        operators: name -> module or function of (B, *size*), of each external operator.
        gradient: surrogate | event (signals have no derivative; times and states after located events have theirs).
        share: a layer whose `per: network` parameters are these, or one dict that all layers of a network are given.

    Shapes: x (T, B, *size*, *axes*); out (T, B, *size*, *axes*) or a dict of them; carry (B, *size*, *axes*).

    Raises:
        Unsupported: an option that does not apply, with the reason.
    """

    def __init__(
        self, neuron: Any, size: int | tuple[int, ...], dt: float, *, method: Any = None, schedule: str = "auto",
        recurrent: bool | Recurrent | Mapping[str, str] | None = None, init: Mapping[str, Any] | None = None,
        reset_gradient: str | None = None, surrogate: Any = None, dtype: torch.dtype | None = None, device: Any = None,
        check_finite: bool = False, axes: Mapping[str, int] | None = None, operators: Mapping[str, Any] | None = None,
        share: Any = None, **later: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        refuse_later(later)
        spec = changed_spec(with_axes(neuron.spec, axes or {}), init or {}, reset_gradient, surrogate)
        spec = graded_spec(spec, later.get("gradient"), surrogate)
        self.neuron = neuron.from_spec(spec)
        self.size = layer_size(size)
        self.dt, self.method, self.schedule, self.check_finite = float(dt), method, schedule, check_finite
        self.iterations: dict[str, int] = {}  # of the last call with schedule="newton", by states
        self._lower()
        dtype = dtype or torch.get_default_dtype()
        if dtype not in (torch.float32, torch.float64):
            raise Unsupported(f"layers compute in float32 or float64, not {dtype}")
        parameters = Parameters(spec, self.dt, self.size, dtype, device, shared_parameters(share))
        self.register_buffer("_like", torch.zeros((), dtype=dtype, device=device), persistent=False)
        self.recurrent = recurrent_names(recurrent, self.program, self.size)
        refuse_parallel(schedule, self.recurrent)
        self.weights = RecurrentWeights(self.recurrent, self.size[0], dtype, device) if self.recurrent else None
        self.operators_of_neuron = Operators(self.program, operators or {}, self.size, dtype, device)
        self.parameters_of_neuron = parameters  # from here on their names are guarded

    def _lower(self) -> None:
        self._take(self.neuron.program(self.dt, method=self.method, schedule=self.schedule))

    def _take(self, program: Program, emitted: Program | None = None) -> None:
        """`emitted` has the prologue of a program whose own step is never run."""
        self.program, self._emitted = program, emitted or program
        kernels_torch.programs[self.program.digest] = self.program
        self._border = Border(self.program, _stack)
        self.__dict__.pop("_call", None)

    # parameters

    @property
    def values(self) -> Values:
        """Every parameter by name in constrained form."""
        return Values(self.parameters_of_neuron, self.operators_of_neuron.matrices())

    @property
    def W_rec(self) -> Tensor:
        """Recurrent weights (N, N), [to, from]."""
        if self.weights is None:
            raise AttributeError("this layer is not recurrent")
        return self.weights.matrix()

    def set(self, /, **values: Any) -> NeuronLayer:
        """Write constrained values in place, all or none: `layer.set(tau=10.0)`.

        Raises:
            RunError, SpecError: no such parameter, a shape that does not fit, a value outside the domain.
        """
        dense = self.operators_of_neuron.dense()
        self.operators_of_neuron.write({n: v for n, v in values.items() if n in dense})
        self.parameters_of_neuron.write({n: v for n, v in values.items() if n not in dense}, self.dt)
        return self

    def project(self) -> None:
        """Move parameters that an update pushed out of their domain to its bound; call it after each update."""
        self.parameters_of_neuron.project(self.dt)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            inner = self.__dict__.get("_modules", {}).get("parameters_of_neuron")
            if inner is not None and any(p.name == name for p in inner.spec.parameters):
                return self.values[name]
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        """Raise RunError where a parameter is meant: its number would stay what it is."""
        inner = self.__dict__.get("_modules", {}).get("parameters_of_neuron")
        is_own = name in self.__dict__ or name in self._modules or hasattr(type(self), name) if inner else True
        if not is_own and any(p.name == name for p in inner.spec.parameters):
            raise RunError(f"'{name}' is a parameter of the neuron", hint=f"write layer.set({name}=...)")
        super().__setattr__(name, value)

    # running

    def forward(
        self, x: Tensor | Mapping[str, Tensor] | None = None, carry: Carry | None = None, *,
        lengths: Tensor | None = None, times: Any = None, steps: int | None = None, batch: int | None = None,
        seed: int | None = None, noise: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor | dict[str, Tensor], Carry]:  # fmt: skip
        """Run over a sequence.

        Args:
            x: (T, B, *size*), or a dict of them by input name; None for a neuron without inputs.
            steps, batch: T and B of a neuron without inputs.
            carry: of an earlier call; None starts from the declared init, drawn for each lane where it draws.
            lengths: (B,) valid steps per sample: afterwards its states rest, its outputs are 0.
            times: (T,) or (T, B), at which the steps end, in the unit of dt: step k runs from times[k-1], or 0, to
                times[k], with x[k] held over it. None: every dt.
            seed: of noise and drawn inits, 0 to 2^32 - 1; None: that of the carry, else drawn from torch's generator.
            noise: stream name -> (T, B, *size*, *axes*), replayed in place of drawn numbers, with gradients.

        Raises:
            RunError: a wrong shape, dtype, device, length, time or carry.
        """
        if torch.compiler.is_compiling():
            kernels_torch.make_ready(self._key())
        given = given_of(self, x, carry, lengths=lengths, times=times, steps=steps, batch=batch, seed=seed, noise=noise)
        outputs, after, last = self._run(given, carry)
        if self.check_finite:
            require_finite(self, given, carry, [*outputs, *after])
        return self._named(outputs, given), self._carry(after, last, given.noise_key)

    def _run(self, given: Sequence, carry: Carry | None) -> Found:
        if given.durations is not None:
            return self._run_parts("eager", None, given, carry)
        kernel = self._kernel()
        schedule = self.schedule if self.schedule != "auto" else kernels_torch.choose(self, kernel, given)
        found = self._run_call(kernel, given, carry) if schedule not in PARALLEL else None
        return found or self._run_parts(schedule, kernel, given, carry)

    def trace(self, x: Any = None, carry: Carry | None = None, **call: Any) -> dict[str, Tensor]:
        """Every state after each step, `NAME.before` where an event assigns it, events, definitions, outputs.

        `call`: lengths, times, steps, batch, seed, noise as those of `forward`.
        """
        return self._traced(given_of(self, x, carry, **call), carry)

    def _traced(self, given: Sequence, carry: Carry | None) -> dict[str, Tensor]:
        coefficients, start, last = self._prepare(given, carry)
        full = with_tables(self, given, None if carry is None else start)
        found = self._run_eager(full, coefficients, start, last, trace=True)
        named = joined(dict(zip([n for n, _ in self.program.trace], found.trace, strict=True)))
        return self._border.join_by_name(named)

    def spike_times(
        self, x: Any = None, carry: Carry | None = None, **call: Any
    ) -> tuple[Tensor | dict[str, Tensor], Carry]:
        """Times (T, B, *size*) of the first event of each step since the start of the call, inf where there is none, a
        dict of them for several events, with exact derivatives; and the carry. Needs within_step: locate."""
        return spike_times(self, x, carry, **call)

    def sample(self, x: Any = None, carry: Carry | None = None, **call: Any) -> tuple[Any, Any, Carry]:
        """A run and the logarithm of the probability of its events: (out, log_prob (T, B, *size*), carry).

        Of events with `gradient: reinforce`; a dict for several. For a reward R of a run, the gradient of
        R.detach()*log_prob.sum() + R is an unbiased one of the expected reward.
        """
        return sample(self, x, carry, **call)

    def init_carry(self, batch: int, *, seed: int | None = None) -> Carry:
        """The carry before the first step, (batch, *size*) each; `seed` of noise and of drawn initial values."""
        if not isinstance(batch, int) or batch < 0:
            raise RunError(f"batch is {batch!r}, expected a number of samples")
        check_seed(self.program, seed)
        key = fresh_key(batch, self._like.device, seed) if self.program.noise or self.program.start else None
        states, last = first(self, self._prologue()[1], batch, key)
        return self._carry(states, last, key if self.program.noise else None)

    def _prologue(self) -> tuple[list[Tensor], list[Tensor]]:
        """Coefficients and inits, computed in float64: a few numbers per neuron, once per call."""
        if (
            self.schedule != "eager"
            and self._like.device.type == "cpu"
            and prologue_torch.fits(self.parameters_of_neuron)
        ):
            return prologue_torch.prologue(self.program, self.parameters_of_neuron, self.dt, self._like.dtype)
        if self._like.device.type == "cpu" and prologue_traced_torch.fits(self.program):
            return prologue_traced_torch.prologue(self.program, self.parameters_of_neuron, self.dt)
        dt = torch.tensor(self.dt, dtype=torch.float64, device=self._like.device)
        prologue = eager_torch.eager_program(self._emitted).prologue
        coefficients, inits = prologue(self.parameters_of_neuron.slots(), dt)
        return list(coefficients), list(inits)

    def _run_call(self, kernel: Any, given: Sequence, carry: Carry | None) -> Found | None:
        """The whole call in one autograd function; None where torch has to see its parts."""
        call = call_torch.call_of(self, kernel)
        if call is None:
            return None
        start = None if carry is None else self._start(given, carry)
        full = with_tables(self, given, start)
        start = drawn(self, given) or start
        weights = [] if self.weights is None else [self.weights.matrix(), self.weights.bias]
        found = call_torch.run(call, full.inputs, start, given.lengths, [w for w in weights if w is not None])
        return found and (*found, found[1].pop() if self.recurrent else None)

    def _run_parts(self, schedule: str, kernel: Any, given: Sequence, carry: Carry | None) -> Found:
        coefficients, start, last = self._prepare(given, carry)
        full = with_tables(self, given, None if carry is None else start)
        if schedule in PARALLEL:
            run = parallel_torch.run_chosen if self.schedule == "auto" else parallel_torch.run
            whole = run(self.program, coefficients, full.inputs, start, lengths=given.lengths, schedule=schedule)
            self.iterations = whole.iterations
            return whole.outputs, whole.carry, last
        if kernel is not None:
            return self._run_native(kernel, full, coefficients, start, last)
        found = self._run_eager(full, coefficients, start, last)
        return found.outputs, found.carry, found.last

    def _start(self, given: Sequence, carry: Carry) -> list[Tensor]:
        """The arrays of a carry, a recurrent layer's last output last."""
        wanted = ((given.batch, *self.size), self._like.dtype, str(self._like.device))
        check_carry(carry, self._digest(), wanted, _described, self._border.axes_of_carry())
        return [*self._border.split(carry, self._border.carry), *([carry[LAST]] if self.recurrent else [])]

    def _prepare(self, given: Sequence, carry: Carry | None) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        coefficients, inits = self._prologue()
        if given.durations is not None:
            coefficients = coefficients_at(self, given.durations)
        wide = [c.to(self._like.dtype) for c in coefficients]
        if carry is None:
            return wide, *first(self, inits, given.batch, given.start_key)
        start = self._start(given, carry)
        last = start.pop() if self.recurrent else None
        return wide, start, last

    def _digest(self) -> str:
        r = self.recurrent
        return self.program.digest + ("" if r is None else f" {r.output}->{r.input}")

    def _carry(self, arrays: list[Tensor], last: Tensor | None, key: Tensor | None) -> Carry:
        beside = {n: x for n, x in ((LAST, last), (NOISE_KEY, key)) if x is not None}
        return Carry(self._border.join(arrays, self._border.carry) | beside, self._digest())

    def _named(self, outputs: list[Tensor], given: Sequence) -> Tensor | dict[str, Tensor]:
        rows = self._border.join([o.to(given.dtype) for o in outputs], self._border.outputs)
        return next(iter(rows.values())) if len(rows) == 1 else rows

    def _run_eager(
        self, given: Sequence, coefficients: list[Tensor], start: list[Tensor], last: Tensor | None, trace: bool = False
    ) -> eager_torch.EagerRun:
        drive = None
        if self.recurrent and self.weights is not None and last is not None:
            names = [n for n, _ in self.program.outputs]
            drive = eager_torch.Drive(
                self.program.inputs.index(self.recurrent.input),
                names.index(str(self.recurrent.output)),
                self.weights.matrix(),
                self.weights.bias,
                last,
            )
        return eager_torch.run(
            self.program, coefficients, given.inputs, start, drive=drive, lengths=given.lengths, trace=trace,
            operators=self.operators_of_neuron.calls(),
        )  # fmt: skip

    def _key(self) -> kernels_torch.Key:
        """Program, dtype of the kernel if one is wanted, (input, output) of its recurrence, where it runs."""
        device = self._like.device.type
        wanted = self.schedule in ("auto", "sequential") and not self.program.operators
        wanted = wanted and kernels_torch.has_kernels(device)
        pair = (str(self.recurrent.input), str(self.recurrent.output)) if self.recurrent else None
        return self.program.digest, self._like.dtype if wanted else None, pair, device

    def _kernel(self) -> Any:
        """The compiled kernel; None, with one warning, where there is none."""
        return kernels_torch.kernel_of(self.program, self._key())

    def _run_native(
        self, kernel: Any, given: Sequence, coefficients: list[Tensor], start: list[Tensor], last: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        steps, lanes = given.inputs[0].shape[0], self._like.new_empty(self.size).numel()
        rows = [
            c if w.level == "layer" else c.expand(self.size).reshape(lanes)
            for c, w in zip(coefficients, self.program.coefficients, strict=True)
        ]
        outputs, after = kernels_torch.run_of(kernel)(
            kernel,
            [x.reshape(steps, given.batch, lanes) for x in given.inputs],
            [r.contiguous() for r in rows],
            [s.reshape(given.batch, lanes) for s in start],
            lengths=given.lengths,
            w_rec=self.weights.matrix() if self.weights else None,
            bias=self.weights.bias if self.weights else None,
            last_output=last,
        )
        last = after.pop() if self.recurrent else None
        return (
            [o.reshape(steps, given.batch, *self.size) for o in outputs],
            [a.reshape(given.batch, *self.size) for a in after],
            last,
        )

    # life

    def at_dt(self, dt: Any) -> NeuronLayer:
        """The same parameters at another step: changing dt changes the discretization, never the model.

        Raises:
            RunError: not a step, or a value lies outside a domain that reads dt.
        """
        other = copy.copy(self)
        other._modules = dict(self._modules)
        other.dt = self.neuron.step_length(dt)
        self.parameters_of_neuron.check(other.dt)
        other._lower()  # delays are counted in steps
        return other

    def to_neuron(self) -> Any:
        """The declaration with the trained values."""
        if self.operators_of_neuron.dense():
            raise Unsupported("a declaration has no place for the matrix of a dense operator", hint="keep state_dict()")
        rows = self.parameters_of_neuron.numbers()
        return self.neuron.from_spec(trained_spec(self.neuron.spec, rows))

    @property
    def only_output(self) -> OnlyOutput:
        """This layer for `torch.nn.Sequential`: returns outputs only, starts afresh in each call."""
        return OnlyOutput(self)

    def __getstate__(self) -> dict[str, Any]:
        made = ("_call", "_timed", "_scored")  # addresses of this process and these tensors
        return {k: v for k, v in self.__dict__.items() if k not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        kernels_torch.programs[self.program.digest] = self.program

    def __deepcopy__(self, memo: dict[int, Any]) -> NeuronLayer:
        other = self.__class__.__new__(self.__class__)
        memo[id(self)] = other
        other.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__getstate__().items()})
        return other

    def extra_repr(self) -> str:
        kind = ", recurrent" if self.recurrent else ""
        return (
            f"{self.neuron.spec.name}, size={self.size if len(self.size) > 1 else self.size[0]}, dt={self.dt:g}{kind}"
        )


def _described(value: Tensor) -> tuple:
    return tuple(value.shape), value.dtype, str(value.device)


def _stack(rows: list[Tensor]) -> Tensor:
    return torch.stack(rows, dim=-1)
