"""What the training network must know of a declaration: does it fit, does it spike, how does it resonate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroode._errors import NeuroodeError, Unsupported
from neuroode.expr.evaluate import evaluate
from neuroode.expr.nodes import Expr, Num, Ref, names
from neuroode.spec.types import NeuronSpec
from neuroode.system.indices import time_axes
from neuroode.train.results import Resonators

Array = np.ndarray


def check(spec: NeuronSpec) -> None:
    """The network feeds one number a lane and reads one.

    Raises:
        Unsupported: several inputs or outputs, or inputs with axes.
    """
    if len(spec.inputs) != 1 or spec.inputs[0].axes:
        found = ", ".join(i.name + "".join(f"[{a}]" for a in i.axes) for i in spec.inputs) or "none"
        raise Unsupported(f"training needs a neuron with one input of one number; '{spec.name}' has {found}")
    if len(spec.outputs) != 1:
        found = ", ".join(name for name, _ in spec.outputs)
        hint = "declare one under outputs, for example outputs: s"
        raise Unsupported(f"training needs a neuron with one output; '{spec.name}' has {found}", hint=hint)


def spiking(spec: NeuronSpec) -> bool:
    """Whether the output is an event, so 0 or 1."""
    events = {event.name for event in spec.events}
    return len(spec.outputs) == 1 and _name(spec.outputs[0][1]) in events


def feeds_back(spec: NeuronSpec) -> bool:
    """Whether recurrent weights are the default: where the neuron spikes, and does not read the sequence as a whole."""
    return spiking(spec) and not time_axes(spec)


def as_long_as(neuron: Any, steps: int) -> Any:
    """The neuron with axes over the whole sequence as long as the task's sequences."""
    axes = [a.name for a in neuron.spec.axes if a.size == "time"]
    return neuron.with_axes(dict.fromkeys(axes, steps)) if axes else neuron


def resonator(spec: NeuronSpec) -> bool:
    """Whether there are a frequency omega and a damping b_0, and the model's p and b are plain functions of them."""
    if not {"omega", "b_0"} <= {p.name for p in spec.parameters}:
        return False
    try:
        damping(spec, np.ones(1), np.ones(1), 1e-3)
        boundary(spec, np.ones(1), 1e-3)
    except NeuroodeError:
        return False
    return True


def damping(spec: NeuronSpec, omega: Array, b_0: Array, dt: float) -> Array:
    """Real part b of the eigenvalues at rest: the model's own definition of b, with all states 0, or -b_0."""
    if _definition(spec, "b") is None:
        return -b_0
    return _at_rest(spec, "b", {"omega": omega, "b_0": b_0, "dt": dt})


def boundary(spec: NeuronSpec, omega: Array, dt: float) -> Array:
    """Where the step neither grows nor decays: the model's p(omega); 0 where none is declared, as for an exact step."""
    if _definition(spec, "p") is None:
        return np.zeros_like(omega)
    return _at_rest(spec, "p", {"omega": omega, "dt": dt})


def resonators(spec: NeuronSpec, dt: float, start: Mapping[str, Array], end: Mapping[str, Array]) -> Resonators:
    """Frequency and damping before and after training, from the values of omega and b_0 then."""
    (omega_start, b_0_start), (omega, b_0) = (
        [v.ravel().astype(float) for v in np.broadcast_arrays(values["omega"], values["b_0"])]
        for values in (start, end)
    )
    return Resonators(
        dt=dt,
        omega_start=omega_start,
        b_start=damping(spec, omega_start, b_0_start, dt),
        omega=omega,
        b=damping(spec, omega, b_0, dt),
    )


def _at_rest(spec: NeuronSpec, name: str, known: Mapping[str, Array | float]) -> Array:
    """What a name stands for at rest: a number that is known, a definition, a constant, or the 0 of a state."""
    if name in known:
        return np.asarray(known[name])
    rhs = _definition(spec, name) or _constant(spec, name)
    if rhs is None:
        return np.asarray(0.0)
    return evaluate(rhs, {n: _at_rest(spec, n, known) for n in names(rhs)})


def _definition(spec: NeuronSpec, name: str) -> Expr | None:
    return next((e.rhs for e in spec.equations if e.kind == "definition" and e.name == name), None)


def _constant(spec: NeuronSpec, name: str) -> Num | None:
    return next((p.value for p in spec.parameters if p.name == name and isinstance(p.value, Num)), None)


def _name(node: Expr) -> str | None:
    return node.name if isinstance(node, Ref) and not node.indices and node.time is None else None
