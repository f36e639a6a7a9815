"""Parameters of a layer, whatever the framework: which exist, what a write changes, whether a step suits them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from neuroode._errors import RunError, SaturatedWarning
from neuroode.expr.nodes import names
from neuroode.program import values as numbers
from neuroode.spec.lengths import fixed_names
from neuroode.spec.types import NeuronSpec, ParameterDecl


def declaration(spec: NeuronSpec, name: str) -> ParameterDecl:
    """The parameter of that name.

    Raises:
        RunError: there is none.
    """
    found = next((p for p in spec.parameters if p.name == name), None)
    if found is None:
        known = ", ".join(p.name for p in spec.parameters)
        raise RunError(f"'{name}' is not a parameter of '{spec.name}'", hint=f"parameters: {known}")
    return found


def read_by_bounds(p: ParameterDecl) -> set[str]:
    """Names that the bounds of its domain read."""
    return set().union(*(names(b) for b in p.bounds))


def bounds(
    spec: NeuronSpec, p: ParameterDecl, number: Callable[[ParameterDecl], Any], dt: float
) -> tuple[float, float]:
    """Bounds of the domain at a step; they may read constants, whose values `number` gives."""
    read = read_by_bounds(p)
    constants = {q.name: number(q) for q in spec.parameters if q.name in read}
    return numbers.bounds(p, numbers.in_base(spec, constants | {"dt": dt}))


def written(
    spec: NeuronSpec, now: Mapping[str, Any], given: Mapping[str, Any], size: tuple[int, ...], dt: float
) -> dict[str, Any]:
    """Every value after a write: all of `given` or an error; what is not named keeps its value.

    Raises:
        RunError: no such parameter, or a shape that does not fit.
        SpecError: a value outside the domain at that step.
    """
    values = dict(now)
    for name, value in given.items():
        p = declaration(spec, name)
        found = numbers.fit(spec, p, numbers.numeric(p, value), size)
        if name in fixed_names(spec):
            numbers.refuse_change(p, values[name], found)
        values[name] = found
    base = numbers.in_base(spec, values | {"dt": dt})
    for p in spec.parameters:
        if touched(p, given):
            numbers.check_domain(p, values[p.name], base)
    return values


NEAR_AN_END = 1e-6  # of the span of a domain


def warn_saturated(p: ParameterDecl, value: np.ndarray, bounds: tuple[float, float]) -> None:
    """SaturatedWarning where a trained number starts so near an end of its domain that sigmoid or tanh is flat.

    The stored number of an end would be infinite; a finite one has a slope of about its distance from the end, and an
    optimiser never leaves. `transform: project` has the slope 1 up to the ends.
    """
    transform = numbers.transform_name(p) if p.trainable and p.type == "real" else ""
    if transform not in ("sigmoid", "tanh"):
        return
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    flat = np.minimum(share, 1 - share) < NEAR_AN_END
    if flat.any():
        what = (f"parameter '{p.name}' starts at {value[flat].flat[0]:g}, an end of its domain {p.domain}, where "
                f"{transform} is flat: it gets no gradient")  # fmt: skip
        hint = "write transform: project (and call layer.project() after each update), or a value inside"
        warnings.warn(f"{what}; {hint}", SaturatedWarning, stacklevel=2)


def touched(p: ParameterDecl, given: Mapping[str, Any]) -> bool:
    """Whether a write of `given` stores this parameter anew: it is named, or its bounds move."""
    return p.name in given or bool(read_by_bounds(p) & set(given))


def check_step(spec: NeuronSpec, now: Mapping[str, Any], moved: Callable[[ParameterDecl], bool], dt: float) -> None:
    """Whether every value whose bounds move lies in its domain at another step.

    Raises:
        RunError: one does not.
    """
    base = numbers.in_base(spec, dict(now) | {"dt": dt})
    for p in spec.parameters:
        if moved(p) and not numbers.inside(p, np.asarray(now[p.name]), base).all():
            raise RunError(f"at dt={dt:g} parameter '{p.name}' lies outside its domain {p.domain}")


class Values(Mapping[str, Any]):
    """`layer.values[name]`: any parameter in constrained form, in the layer's dtype.

    Args:
        parameters: has `spec` and `value(name)`.
        matrices: of dense operators.
    """

    def __init__(self, parameters: Any, matrices: Mapping[str, Any] | None = None) -> None:
        self._parameters, self._matrices = parameters, dict(matrices or {})

    def _names(self) -> list[str]:
        return [*(p.name for p in self._parameters.spec.parameters), *self._matrices]

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __getitem__(self, name: str) -> Any:
        return self._matrices[name] if name in self._matrices else self._parameters.value(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        return "Values(" + ", ".join(f"{n}: {tuple(self[n].shape)}" for n in self) + ")"
