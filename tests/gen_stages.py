"""One generated neuron through the whole line: every stage, and every pair that must agree."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gen_reference import Reference
from oracles import (
    Found,
    assert_same,
    by_layer,
    called,
    cotangents,
    elements,
    interpreter_slots,
    stored_gradients,
    whole,
)

from neuroode._errors import ELEMENT
from neuroode.cli.main import main
from neuroode.neuron import Neuron
from neuroode.program import interpret
from neuroode.program.values import initial_values, slots, tables
from neuroode.spec.read_yaml import read_text
from neuroode.spec.write_yaml import to_yaml

F64 = torch.float64
STEPS, BATCH = 14, 2
NEAR = 1e-7  # a run that comes nearer to a tie than this is drawn again: rounding decides there
EQUAL, SLOPES = 1e-12, 1e-11  # targets against the interpreter: values, gradients
SEMANTIC, SEMANTIC_SLOPES = 1e-8, 1e-6  # interpreter against the second implementation, which takes matrix exponentials
TRIES = 20


@dataclass
class Case:
    """A declaration, the file that holds it, and the sizes of its run."""

    text: str
    path: Path
    seed: int
    size: tuple[int, ...] = (3,)

    @cached_property
    def neuron(self) -> Neuron:
        return Neuron.from_spec(read_text(self.text, str(self.path)))

    @cached_property
    def dt(self) -> float:
        return self.neuron.step_length()

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """Inputs that lead to no tie, (T, B, *size*, axes)."""
        for k in range(TRIES):
            found = self.drawn(np.random.default_rng([self.seed, k]))
            self.reference, self.wanted = reference_run(self, found)
            if self.reference.nearest > NEAR:
                return found
        raise AssertionError(f"{TRIES} draws of inputs all came nearer than {NEAR} to a tie")

    def drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        spec, rows = self.neuron.spec, {}
        sizes = {a.name: a.size for a in spec.axes}
        scale = rng.choice([0.7, 1.5, 3.0]) * (10 if spec.dt and spec.dt.unit else 1)
        for stream in spec.noise:
            shape = (STEPS, BATCH, *self.size)
            rows[stream.name] = rng.random(shape) if stream.kind == "uniform" else rng.normal(0, 1, shape)
        for i in spec.inputs:
            shape = (STEPS, BATCH, *self.size, *(sizes[a] for a in i.axes))
            x = scale * rng.normal(0.3, 1, shape)
            rare = rng.random(shape) < 0.3
            rows[i.name] = (
                x if i.kind == "current" else rare * (x if i.kind == "impulse" else 1.0 * rng.integers(1, 3, shape))
            )
        return rows

    @cached_property
    def slots(self) -> dict[str, np.ndarray]:
        return slots(self.neuron.spec, initial(self), self.size) | {"dt": np.asarray(self.dt)}

    @cached_property
    def interpreted(self) -> interpret.Run:
        program = self.neuron.program(self.dt)
        declared = fed(program)
        rows = tables(self.neuron.spec, initial(self), self.size, STEPS)
        return interpret.run(program, self.slots, elements(self.inputs, declared) | rows)

    def layer(self, **options: Any) -> Any:
        torch.manual_seed(self.seed)
        layer = self.neuron.torch(self.size, **{"dtype": F64} | options)
        values = initial(self)
        drawn = [p.name for p in self.neuron.spec.parameters if p.trainable or p.init is not None]
        return layer.set(**{n: torch.as_tensor(values[n]) for n in drawn})

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        return {n: torch.as_tensor(x) for n, x in self.inputs.items()}


def initial(case: Case) -> dict[str, np.ndarray]:
    return initial_values(case.neuron.spec, case.dt, case.size, np.random.default_rng(0))


def reference_run(case: Case, inputs: Mapping[str, np.ndarray]) -> tuple[Reference, dict[str, torch.Tensor]]:
    """The second implementation on these inputs, with leaves for gradients."""
    values = {n: torch.as_tensor(v).requires_grad_() for n, v in initial(case).items()}
    updates = case.neuron.discretize(case.dt).updates
    methods = tuple((tuple(key_of(s) for s in u.states), u.method) for u in updates)
    reference = Reference(case.neuron.spec, case.dt, values, case.size, methods)
    reference.leaves = {n: torch.as_tensor(x).requires_grad_() for n, x in inputs.items()}
    return reference, reference.run(reference.leaves)


def key_of(name: str) -> tuple[str, tuple[int, ...]]:
    """`z__0_1'` as ("z'", (0, 1))."""
    bare, primes = name.rstrip("'"), name.count("'")
    index = ELEMENT.search(bare)  # not the first `__`: a declared name may end in one underscore
    head = bare[: index.start()] if index else bare
    return head + "'" * primes, tuple(map(int, index[1].split("_"))) if index else ()


# stages


def check(case: Case) -> None:
    spec = case.neuron.spec
    assert read_text(to_yaml(spec)) == spec, "YAML round trip"
    assert command("check", str(case.path))[0] in (0, 1)


def show(case: Case) -> None:
    status, text = command("show", str(case.path), "--plan")
    assert status == 0, text
    assert all(e.name in text for e in case.neuron.spec.equations)
    json.loads(command("show", str(case.path), "--json")[1])


def simulate(case: Case) -> None:
    """The interpreter against the second implementation: values, and gradients by autograd of the latter."""
    inputs, wanted = case.inputs, case.wanted
    outputs = case.reference.outputs
    found = whole(case.interpreted.outputs)
    for name, value in outputs.items():
        near(f"output {name}", found[name], value.detach().numpy(), SEMANTIC)
    streams = {n.name for n in case.neuron.spec.noise}
    given, noise = ({n: x for n, x in inputs.items() if (n in streams) == which} for which in (False, True))
    found = case.neuron.simulate(given, noise=noise)
    for name, value in wanted.items():
        got = found.get(name)
        assert got is not None, f"no {name} in the trace"
        assert np.isfinite(got).all(), name
        near(f"value of {name}", got, value.detach().numpy(), SEMANTIC)
    assert max(np.abs(v).max() for v in found.values()) < 1e6, "not tame"


def slopes(case: Case) -> None:
    """Gradients of the interpreter's adjoint against autograd through the second implementation."""
    program = case.neuron.program(case.dt)
    result = case.interpreted
    seeds = {n: np.random.default_rng(7).normal(size=o.shape) for n, o in whole(result.outputs).items()}
    grads = interpret.gradients(program, case.slots, result, elements(seeds, [n for n, _ in program.outputs]))
    inputs, parameters = whole(grads.inputs), whole(grads.parameters)
    leaves = case.reference.leaves | dict(case.reference.values)
    total = sum((case.reference.outputs[n] * torch.as_tensor(g)).sum() for n, g in seeds.items())
    total = total + sum(0 * v.abs().sum() for v in leaves.values())  # outputs may depend on nothing
    rows = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    wanted = {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(leaves.items(), rows, strict=True)}
    largest = max(float(g.abs().max()) for g in wanted.values())
    for n in case.inputs:
        near(f"gradient of input {n}", inputs[n], wanted[n].numpy(), SEMANTIC_SLOPES, largest)
    for p in case.neuron.spec.parameters:
        if p.trainable and "time" not in p.per:  # a table's gradient is one of an input: tests/language
            parts = {"": wanted[p.name]} if p.type != "complex" else {
                ".re": wanted[p.name].real, ".im": wanted[p.name].imag}  # fmt: skip
            for part, g in parts.items():
                got = parameters.get(f"p.{p.name}{part}", np.zeros(g.shape)).reshape(g.shape)
                near(f"gradient of parameter {p.name}{part}", got, g.numpy(), SEMANTIC_SLOPES, largest)


def eager(case: Case) -> None:
    """The torch program, outputs, carry and all gradients against the interpreter."""
    layer = case.layer(schedule="eager")
    case.found_eager = by_layer(layer, case.tensors)
    assert_same(case.found_eager, interpreted(case, layer), EQUAL * 10, SLOPES)


def interpreted(case: Case, layer: Any) -> Found:
    """The interpreter's numbers for the layer's parameters. Gradients of tables are left to the other comparisons."""
    program, values = layer.program, interpreter_slots(layer)
    spec = case.neuron.spec
    numbers = {p.name: layer.values[p.name].detach().numpy() for p in spec.parameters}
    declared = fed(program)
    rows = elements(case.inputs, declared) | tables(spec, numbers, case.size, STEPS)
    run = interpret.run(program, values, rows)
    seeds = [{n: g.numpy() for n, g in group.items()} for group in cotangents(layer, STEPS, BATCH)]
    grads = interpret.gradients(program, values, run, *seeds)
    inputs = {n: g for n, g in grads.inputs.items() if n in declared}
    parameters = stored_gradients(layer, grads.parameters)
    for p in spec.parameters:
        if "time" in p.per:
            name = f"parameters_of_neuron.raw_{p.name}"
            parameters[name] = case.found_eager.parameters[name]
    return Found(whole(run.outputs), whole(run.carry), whole(inputs), {}, parameters)


def kernel(case: Case) -> None:
    """The C kernel against the interpreter and the eager program."""
    layer = case.layer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_layer(layer, case.tensors)
    assert_same(found, interpreted(case, layer), EQUAL * 10, SLOPES)
    assert_same(found, case.found_eager, EQUAL * 10, SLOPES)


def jax(case: Case) -> None:
    """The jax layer, with the same stored numbers, against the eager program."""
    from jax_oracles import KEY, by_jax, with_numbers_of

    one = case.layer(schedule="eager")
    other = with_numbers_of(one, case.neuron.jax(case.size, key=KEY, dtype="float64"))
    assert_same(by_jax(other, case.tensors), case.found_eager, EQUAL * 10, SLOPES * 10)


def recurrent(case: Case) -> None:
    """W_rec inside the kernel's loop against the eager program, where there is one output and one size."""
    program = case.neuron.program(case.dt)
    if len(program.outputs) > 1 or len(case.size) > 1 or len(program.inputs) > 1:
        return
    found = []
    for schedule in ("auto", "eager"):
        layer = case.layer(schedule=schedule, recurrent=True)
        torch.nn.init.normal_(layer.weights.weight, std=0.2, generator=torch.Generator().manual_seed(1))
        found.append(by_layer(layer, case.tensors, lengths=torch.tensor([STEPS, STEPS - 5])))
    assert_same(*found, EQUAL * 100, SLOPES * 10)


def lengths(case: Case) -> None:
    """Samples that end early: kernel and eager program rest alike, gradients included."""
    found = [
        by_layer(case.layer(schedule=s), case.tensors, lengths=torch.tensor([STEPS - 6, STEPS]))
        for s in ("auto", "eager")
    ]
    assert_same(*found, EQUAL * 10, SLOPES)


def parallel(case: Case) -> None:
    """Stage by stage over the whole sequence, for every model that has no operators: the same values and gradients."""
    if case.neuron.program(case.dt).operators:
        return
    short = torch.tensor([STEPS - 6, STEPS])
    for call in ({}, {"lengths": short}):
        layer = case.layer()
        wanted = by_layer(case.layer(schedule="eager"), case.tensors, **call)
        layer.schedule = "scan"  # also where users are told that it has no use
        assert_same(by_layer(layer, case.tensors, **call), wanted, EQUAL * 100, SLOPES * 10)


def chunks(case: Case) -> None:
    """Two calls that pass the carry on equal one, where no sum reads the whole sequence."""
    if case.neuron.program(case.dt).sums:
        return
    for options in ({}, {"schedule": "eager"}):
        layer = case.layer(**options)
        seed = 0 if layer.program.noise else None
        whole, end = called(layer, case.tensors, seed=seed)
        first, carry = called(layer, {n: x[:5] for n, x in case.tensors.items()}, seed=seed)
        second, last = called(layer, {n: x[5:] for n, x in case.tensors.items()}, carry)
        for name, value in named(layer, whole).items():
            joined = torch.cat([named(layer, first)[name], named(layer, second)[name]])
            near(f"{name} in chunks", joined.detach(), value.detach(), EQUAL)
        for name, value in end.items():
            near(f"carry {name} in chunks", last[name].detach(), value.detach(), EQUAL)


def single(case: Case) -> None:
    """float32: kernel and eager program are finite and of one shape."""
    x = {n: v.float() for n, v in case.tensors.items()}
    for schedule in ("auto", "eager"):
        layer = case.layer(schedule=schedule, dtype=torch.float32)
        for name, out in named(layer, called(layer, x)[0]).items():
            assert out.dtype == torch.float32, name
            assert bool(out.isfinite().all()), name


def emit(case: Case) -> None:
    """The torch text compares itself with its reference values; the C text compiles without a warning."""
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(case.neuron.emit("torch"), "<emitted>", "exec"), space)
    rows = space["compare"]()
    worst = max(rows, key=lambda r: r[-1])
    assert worst[-1] <= 1e-9, f"standalone text: {worst}"
    if case.neuron.program(case.dt).sums:
        return
    source = case.neuron.emit("c")
    compiler = shutil.which("cc")
    if compiler:
        flags = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-"]
        done = subprocess.run([compiler, *flags], input=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:2000]


def train(case: Case) -> None:
    """Two steps of Adam on a loss of all outputs, in the kernel and eagerly: the same parameters, in their domains."""
    ends = []
    for schedule in ("auto", "eager"):
        layer = case.layer(schedule=schedule)
        optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3) if list(layer.parameters()) else None
        for _ in range(2):
            out = named(layer, called(layer, case.tensors)[0])
            loss = sum(((o - 0.3) ** 2).mean() for o in out.values())
            if optimizer is None or not loss.requires_grad:
                continue
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            layer.project()
        layer.parameters_of_neuron.check(layer.dt)
        ends.append({n: v.detach().numpy() for n, v in layer.named_parameters()})
        assert layer.to_neuron().spec.name == case.neuron.spec.name
    for name, value in ends[0].items():
        assert np.isfinite(value).all(), name
        near(f"trained {name}", value, ends[1][name], 1e-9)


STAGES: tuple[Callable[[Case], None], ...] = (
    check, show, simulate, slopes, eager, kernel, recurrent, lengths, parallel, chunks, single, emit, train, jax,
)  # fmt: skip


def run_all(case: Case, without: tuple[str, ...] = ()) -> Iterator[tuple[str, BaseException | None]]:
    """(stage, what went wrong) for each stage; those after a failed one run too."""
    for stage in (s for s in STAGES if s.__name__ not in without):
        try:
            stage(case)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            yield stage.__name__, error
        else:
            yield stage.__name__, None


# help


def command(*words: str) -> tuple[int, str]:
    """Status and standard output of the command line, in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(sys.stderr):
        status = main(list(words))
    return status, out.getvalue()


def fed(program: Any) -> tuple[str, ...]:
    """Inputs and noise, elements in the program's order."""
    return (*program.given, *(n.name for n in program.noise))


def named(layer: Any, out: Any) -> dict[str, torch.Tensor]:
    return out if isinstance(out, dict) else {layer.program.outputs[0][0]: out}


def near(what: str, found: Any, wanted: Any, bound: float, largest: float | None = None) -> None:
    """Equal relative to the largest number of `wanted`, or to `largest`, and never by less than the bound itself."""
    a, b = np.asarray(found), np.asarray(wanted)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, wanted {b.shape}"
    if b.size:
        apart = float(np.abs(a - b).max())
        size = max(float(np.abs(b).max()), 1e-3 if largest is None else largest)
        assert apart <= bound * size, f"{what}: {apart / size:.2e} apart, allowed {bound:.0e}"
