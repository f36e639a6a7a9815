"""Neurons made up for the tests, and a layer against the float64 interpreter: values and every gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import neuroode as no
from neuroode.models import names
from neuroode.nn.carry import NOISE_KEY
from neuroode.program import interpret
from neuroode.program.pack import groups, packed_by_name, unpacked
from neuroode.program.values import slots as slots_of
from neuroode.spec.read_yaml import read_text

INVENTED = {
    # two coupled states; the reset acts at the beginning of the next step
    "pair": """
neuron: pair
dt: 1
parameters:
  a: {value: 0.1, domain: positive, per: neuron}
  w: {value: 0.3}
  v_th: {value: 0.5, domain: positive}
equations: |
  dv/dt = -a*v - w*u + I
  du/dt = w*v - u/20
spike: v > v_th
reset: {do: v -= v_th; u += 0.1, when: next_step}
""",
    # several events, some with two comparisons; graded outputs and spikes as a dict
    "levels": """
neuron: levels
dt: 0.5
method: euler
parameters:
  tau: {value: 4, domain: "interval(1, 10)", per: neuron}
  v_th: {value: 0.6, domain: nonnegative}
  kappa: {value: 1.5, transform: none}
equations: |
  dv/dt = (-v + I)/tau
  q[t] = 0.8*q[t-1] + up - 0.5*down
events:
  up: {when: "v > v_th + 0.1*q[t-1] and v[t-1] <= v_th", reset: v -= 0.3*v_th, surrogate: {kind: atan, width: 0.4}}
  down:
    {when: "v < -v_th or q[t-1] > 2", reset: "v = 0.1*I; q *= 0.5", reset_gradient: detached, surrogate: triangle}
  burst: {when: "not (v > v_th) and up[t-1] >= 0.5"}
outputs: {graded: tanh(kappa*v) + q, s: up + (kappa - 1)*burst, low: down}
""",
    # complex state with a complex parameter, and a reset that assigns it as a whole
    "spiral": """
neuron: spiral
dt: 0.1
inputs: {I: impulse}
states: {z: {init: c, type: complex}}
parameters:
  b: {value: 0.4, domain: positive, transform: exp, per: neuron}
  omega: {value: 3, per: neuron}
  c: {value: 0.2 + 0.1i, type: complex, per: neuron}
equations: |
  dz/dt = (-b + i*omega)*z + c*I
spike: imag(z) > 0.15
reset: z = 0.5*real(z) + 0.05i
surrogate: {kind: gaussian, width: 0.2}
outputs: {s: s, x: abs(z)}
""",
    # two inputs, one of them impulses at the end of the step, lagged reads, inits that are trained
    "two_inputs": """
neuron: two_inputs
dt: 2
inputs: {I: current, K: {kind: impulse, at: end}}
states: {v: v_0, a: 2*v_0}
parameters:
  tau: {value: 7, domain: positive, per: neuron}
  v_0: {value: 0.25, per: neuron}
  g: {value: 0.7, domain: unit}
  v_th: 1
equations: |
  dv/dt = (-v + I + 0.3*I[t-2])/tau + K
  a[t] = g*a[t-1] + s[t-1] - 0.1*K[t-1]
spike: v > v_th + 0.2*a
reset: v = 0
outputs: {s: s, a: a}
""",
    # nonlinear, one parameter per channel, one for all neurons
    "channels": """
neuron: channels
dt: 0.5
parameters:
  tau: {init: "uniform(2, 6)", domain: positive, per: channel}
  k: {init: "log_normal(0, 0.1)", domain: positive, transform: relu, per: neuron}
  v_th: {value: 0.8, domain: positive, transform: abs}
equations: |
  dv/dt = (-k*sin(v) + I - w)/tau
  dw/dt = (0.5*v - w)/(3*tau)
spike: v >= v_th
reset: v = v_th*exp(-v); w += 0.2
surrogate: {kind: sigmoid, width: 0.3}
""",
    # peak and reset at infinity: v passes, and nothing assigns it
    "passing": """
neuron: passing
dt: 0.4
inputs: {I: current, x: impulse}
parameters:
  a: {value: 0.6, domain: positive, per: neuron}
  b: {value: -0.2}
equations: |
  dv/dt = a*v^2 + b*v*I + I/(1 + q[t-1]) + 0.3*x
  q[t] = 0.5*q[t-1] + s
spike: v >= inf
reset: v = -inf
surrogate: {kind: atan, width: 0.4}
outputs: {s: s, level: tanh(q)}
""",
}

#: scale and offset of a normal drive with which each neuron spikes now and then
DRIVE = {
    "lif": (8.0, 1.0), "alif": (10.0, 2.0), "cuba_lif": (1.0, 0.3), "li": (1.0, 0.0), "rf": (40.0, 0.0),
    "brf": (40.0, 0.0), "bhrf": (60.0, 0.0), "tc_lif": (0.6, 0.3), "pair": (0.7, 0.1), "levels": (3.0, 0.0),
    "spiral": (0.6, 0.0), "two_inputs": (1.5, 0.4), "channels": (3.0, 1.0), "passing": (1.5, 1.0), "plif": (1.5, 0.5),
    "theta": (3.0, 0.5), "lnm": (0.8, 0.3),
    "lif_refractory": (8.0, 2.0), "glif": (0.6, 0.3), "ce_lif": (0.6, 0.2), "da_lif": (1.5, 0.5),
    "synaptic": (0.5, 0.1), "alpha": (0.6, 0.2), "perfect": (0.6, 0.2), "glif_5": (3000.0, 5000.0),
    "prf": (20.0, 5.0), "s5_rf": (20.0, 5.0), "harmonic_rf": (300.0, 60.0), "izhikevich": (20.0, 100.0),
    "adex": (3000.0, 10000.0), "eif": (20.0, 60.0), "hodgkin_huxley": (300.0, 600.0),
    "fitzhugh_nagumo": (4.0, 4.0), "morris_lecar": (2000.0, 4000.0),
    "ts_lif": (1.5, 0.6), "rc_ladder": (1.0, 0.0), "alpha_synapse": (1.0, 0.0),
    "qif": (0.6, 0.2), "drf": (60.0, 0.0), "sliding_psn": (0.8, 0.4), "mul_free_psn": (2.0, 1.0),
    "prf_decoupled_lif": (0.6, 0.2), "p_spikessm": (1.0, 0.0), "cfc": (1.0, 0.0), "ltc": (1.0, 0.0), "elm": (1.0, 0.5),
    "double_exponential": (1.0, 0.0), "damped_oscillator": (1.0, 0.0), "resonant_membrane": (1.0, 0.0),
}  # fmt: skip


def runs_on_inputs(spec: Any) -> bool:
    """Whether inputs are all that a step reads, no tables over time, no noise; and no memory of 45 modes."""
    apart = any(e.kind in ("differential", "fractional") for e in spec.equations)
    return spec.horizon is None and not spec.noise and not apart


#: of the zoo, what `by_interpreter` can run: tables over time and noise have tests in tests/models
ZOO = [name for name in names() if runs_on_inputs(no.load(name).spec)]
#: gradients through torch's numeric exponential of a block of 4, in pA and mV, cancel: 1e-11 becomes this
GRADIENT = {"glif_5": 1e-7}


def neuron(name: str) -> no.Neuron:
    """An invented neuron, or one of the zoo."""
    return no.Neuron.from_spec(read_text(INVENTED[name])) if name in INVENTED else no.load(name)


def drive(layer: Any, steps: int, batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random inputs by name that make the neuron spike."""
    random = torch.Generator().manual_seed(seed)
    scale, offset = DRIVE[layer.neuron.spec.name]
    shape, like = (steps, batch, *layer.size), layer._like
    rows = [torch.randn(shape, generator=random, dtype=torch.float64) for _ in layer.program.inputs]
    return whole({n: (scale * r + offset).to(like) for n, r in zip(layer.program.inputs, rows, strict=True)})


def whole(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Elements `z__0`, `z__1` as one array with its axes last."""
    return packed_by_name(rows, lambda found: (torch if torch.is_tensor(found[0]) else np).stack(found, -1))


def elements(rows: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The way back, for the names of a program."""
    return dict(zip(names, unpacked(rows, groups(names)), strict=True))


def scatter(layer: Any, seed: int = 1, by: float = 0.05) -> Any:
    """Move each stored parameter a little, so that neurons differ and no number is special."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for raw in layer.parameters():
            raw += (by * torch.randn(raw.shape, generator=random, dtype=torch.float64) * (0.2 + raw.abs())).to(raw)
    return layer


@dataclass
class Found:
    """Outputs, last carry and gradients by name, as float64 arrays."""

    outputs: dict[str, np.ndarray]
    carry: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    start: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]


def cotangents(
    layer: Any, steps: int, batch: int, seed: int = 2
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random ones of outputs and of the last carry, an array per element."""
    random = torch.Generator().manual_seed(seed)
    shape = (batch, *layer.size)
    outputs = {n: torch.randn((steps, *shape), generator=random, dtype=torch.float64) for n, _ in layer.program.outputs}
    return outputs, {s.name: torch.randn(shape, generator=random, dtype=torch.float64) for s in layer.program.carry}


def by_layer(
    layer: Any, x: Mapping[str, torch.Tensor], carry: Mapping[str, torch.Tensor] | None = None, **call: Any
) -> Found:
    """Run the layer and pull random cotangents back; gradients of parameters are those of the stored numbers."""
    start = None
    if carry is not None:
        start = type(carry)({k: v.detach().clone().requires_grad_() for k, v in carry.items()}, carry.digest)
    inputs = {n: v if v.requires_grad else v.detach().requires_grad_() for n, v in x.items()}
    steps, batch = next(iter(x.values())).shape[:2]
    out, after = called(layer, inputs, start, **call)
    after = {n: v for n, v in after.items() if n != NOISE_KEY}
    g_out, g_end = map(whole, cotangents(layer, steps, batch))
    outputs = out if isinstance(out, dict) else {next(iter(g_out)): out}
    total = sum((outputs[n] * g.to(layer._like)).sum() for n, g in g_out.items())
    total = total + sum((after[n] * g.to(layer._like)).sum() for n, g in g_end.items())
    stored = dict(layer.named_parameters())
    total = total + sum(0.0 * v.sum() for v in stored.values())  # a run of no steps reads nothing
    leaves = [*inputs.values(), *(start.values() if start else ()), *stored.values()]
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    arrays = [np.zeros(v.shape) if g is None else g.double().numpy() for v, g in zip(leaves, grads, strict=True)]
    n, m = len(inputs), len(inputs) + len(start or ())
    return Found(
        _arrays(outputs), _arrays(after), dict(zip(inputs, arrays[:n], strict=True)),
        dict(zip(start or (), arrays[n:m], strict=True)), dict(zip(stored, arrays[m:], strict=True)),
    )  # fmt: skip


def called(layer: Any, x: Mapping[str, Any], carry: Any = None, **call: Any) -> tuple[Any, Any]:
    """The layer on inputs by name, those that are noise replayed."""
    streams = {g.name for g in groups(n.name for n in layer.program.noise)} & set(x)
    given = {n: v for n, v in x.items() if n not in streams}
    replayed = {"noise": {n: x[n] for n in streams}} if streams else {}
    return layer(given if len(given) > 1 else next(iter(given.values())), carry, **replayed, **call)


def by_interpreter(layer: Any, x: Mapping[str, torch.Tensor], carry: Mapping[str, torch.Tensor] | None = None) -> Found:
    """The same by the interpreter, from the layer's parameters in constrained form."""
    steps, batch = next(iter(x.values())).shape[:2]
    slots = interpreter_slots(layer)
    program = layer.program
    at_start = None if carry is None else elements(_arrays(carry), [s.name for s in program.carry])
    result = interpret.run(program, slots, elements(_arrays(x), program.inputs), at_start)
    g_out, g_end = cotangents(layer, steps, batch)
    grads = interpret.gradients(program, slots, result, _arrays(g_out), _arrays(g_end))
    start = {} if carry is None else whole(grads.carry)
    rows = (whole(r) for r in (result.outputs, result.carry, grads.inputs))
    return Found(*rows, start, stored_gradients(layer, grads.parameters))


def interpreter_slots(layer: Any) -> dict[str, np.ndarray]:
    """Parameters by slot name, and dt, from the float64 values that the layer computes with."""
    values = {p.name: layer.parameters_of_neuron.constrained(p).detach().numpy() for p in layer.neuron.spec.parameters}
    return slots_of(layer.neuron.spec, values, layer.size) | {"dt": np.asarray(layer.dt)}


def stored_gradients(layer: Any, grads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients of stored numbers from those of the constrained ones."""
    rows, grads = {}, whole(grads)
    for p in layer.neuron.spec.parameters:
        if not p.trainable:
            continue
        raw = layer.parameters_of_neuron.stored(p)
        value = layer.parameters_of_neuron.constrained(p)
        parts = [value.real, value.imag] if p.type == "complex" else [value]
        names = [f"p.{p.name}.re", f"p.{p.name}.im"] if p.type == "complex" else [f"p.{p.name}"]
        seeds = [
            torch.as_tensor(np.array(grads[n])).reshape(v.shape) if n in grads else torch.zeros(())
            for n, v in zip(names, parts, strict=True)
        ]
        total = sum((v * g).sum() for v, g in zip(parts, seeds, strict=True))
        rows[f"parameters_of_neuron.raw_{p.name}"] = torch.autograd.grad(total, raw)[0].double().numpy()
    return rows


def _arrays(rows: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {k: v.detach().double().numpy() for k, v in rows.items()}


def assert_same(found: Found, wanted: Found, values: float = 1e-12, grads: float = 1e-11) -> None:
    """Equal relative to the largest number of each array."""
    for kind, bound in (
        ("outputs", values),
        ("carry", values),
        ("inputs", grads),
        ("start", grads),
        ("parameters", grads),
    ):
        a, b = getattr(found, kind), getattr(wanted, kind)
        assert set(a) == set(b), kind
        for name in a:
            assert a[name].shape == b[name].shape, (kind, name)
            assert distance(a[name], b[name]) <= bound, (kind, name, distance(a[name], b[name]))


def distance(a: Any, b: Any) -> float:
    """Largest difference, relative to the largest number of `b`; nan and inf are never near anything."""
    a, b = np.asarray(a), np.asarray(b)
    if a.size == 0:
        return 0.0
    apart = np.abs(a - b).max()
    return float(apart / max(np.abs(b).max(), 1e-30)) if np.isfinite(apart) else float("inf")


def smallest_margin(layer: Any, x: Mapping[str, torch.Tensor]) -> float:
    """How near the run comes to a tie, the smallest margin of all events: within rounding of it, spikes may differ."""
    result = interpret.run(layer.program, interpreter_slots(layer), elements(_arrays(x), layer.program.inputs))
    smallest = 1.0
    for start in result.tape:
        now = interpret.evaluate(layer.program.body, {**result.prologue, **start}, layer.program)
        for slot in layer.program.events:
            smallest = min(smallest, float(np.abs(now[slot.margin]).min()))
    return smallest
