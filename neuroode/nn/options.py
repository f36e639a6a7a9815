"""Options of a module that change the declaration before it is lowered, and back."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.expr.from_sympy import decimal
from neuroode.expr.nodes import Binary, Num
from neuroode.spec.build import build
from neuroode.spec.declare import changed
from neuroode.spec.declare import surrogate as surrogate_of
from neuroode.spec.to_tree import to_tree
from neuroode.spec.types import EventDecl, NeuronSpec, ParameterDecl, Surrogate

LATER = {
    "solver": "solvers of continuous time",
    "operators": "operators",
    "share": "parameters shared by a network",
}

OF_SOLVERS = ("adjoint", "solver_options")


def refuse_later(options: Mapping[str, Any]) -> None:
    """Raise for options that are not there yet, or unknown."""
    for name, value in options.items():
        if name in OF_SOLVERS:
            if value is not None:
                raise Unsupported(f"{name}={value!r} belongs to solver=", hint="name a solver too, or leave it out")
            continue
        if name == "gradient":
            if value not in (None, "surrogate", "event"):
                raise RunError(f"gradient is {value!r}", hint="write surrogate or event")
            continue
        if name not in LATER:
            raise TypeError(f"unknown option '{name}'")
        if value is not None:
            raise Unsupported(f"{name}={value!r}: {LATER[name]} are not available yet")


def with_axes(spec: NeuronSpec, sizes: Mapping[str, int]) -> NeuronSpec:
    """The declaration with other sizes of its axes; the size of a whole-sequence axis is the horizon.

    Raises:
        RunError: no such axis, one that runs over another, or a size that is no whole number of at least 1.
        SpecError: a list of values or a constant index does not fit the new size.
    """
    declared = {a.name: a for a in spec.axes}
    for name, n in sizes.items():
        found = declared.get(name)
        if found is None:
            raise RunError(f"'{name}' is not an axis of '{spec.name}'", hint=f"axes: {', '.join(declared) or 'none'}")
        if isinstance(found.size, str) and found.size != "time":
            raise RunError(f"axis '{name}' runs over '{found.size}' and has its size")
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise RunError(f"axes={{'{name}': {n!r}}} is not a whole number of at least 1")
    if not sizes:
        return spec
    over_time = {sizes[a.name] for a in spec.axes if a.size == "time" and a.name in sizes}
    if len(over_time) > 1:
        raise RunError(f"axes over the whole sequence have one length, found {sorted(over_time)}")
    axes = tuple(replace(a, size=a.size if a.size == "time" else sizes.get(a.name, a.size)) for a in spec.axes)
    spec = replace(spec, axes=axes, horizon=max(over_time, default=spec.horizon))
    return build(to_tree(spec), spec.source)


def changed_spec(spec: NeuronSpec, init: Mapping[str, Any], reset_gradient: str | None, surrogate: Any) -> NeuronSpec:
    """The declaration with inits, reset gradients and surrogates replaced.

    Raises:
        RunError: an init for something that is no parameter.
    """
    known = {p.name for p in spec.parameters}
    wrong = sorted(set(init) - known)
    if wrong:
        raise RunError(
            f"init names '{wrong[0]}', which is no parameter of '{spec.name}'",
            hint="parameters: " + ", ".join(sorted(known)),
        )
    if init:
        written = {p.name: _with_init(p, init[p.name]) for p in spec.parameters if p.name in init}
        spec = changed(spec, "replace", {"parameters": written})
    if reset_gradient is None and surrogate is None:
        return spec
    events = tuple(_with_options(e, reset_gradient, surrogate) for e in spec.events)
    return build(to_tree(replace(spec, events=events)), spec.source)


def graded_spec(spec: NeuronSpec, gradient: str | None, surrogate: Any) -> NeuronSpec:
    """The declaration with events as `gradient` asks: event takes the derivative of every signal as 0.

    Raises:
        Unsupported: events have no times inside the step. RunError: a surrogate is given too.
    """
    if gradient != "event":
        return spec
    if spec.within_step != "locate":
        what = f"gradient=\"event\" is that of times inside a step, and '{spec.name}' takes events at its end"
        raise Unsupported(what, hint="declare within_step: locate")
    if surrogate is not None:
        raise RunError('gradient="event" takes no surrogate: signals have no derivative', hint="leave surrogate= out")
    return build(to_tree(replace(spec, events=tuple(_with_options(e, None, "none") for e in spec.events))), spec.source)


def _with_init(p: ParameterDecl, value: Any) -> dict[str, Any]:
    """The parameter's mapping with its value or init replaced."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    row = {"init" if isinstance(value, str) else "value": value}
    row |= {"per": list(p.per), "domain": p.domain, "type": p.type, "trainable": p.trainable}
    return row | {k: v for k, v in (("transform", p.transform), ("unit", p.unit), ("about", p.about)) if v}


def _with_options(e: EventDecl, reset_gradient: str | None, surrogate: Any) -> EventDecl:
    if reset_gradient not in (None, "through", "detached"):
        raise RunError(f"reset_gradient is {reset_gradient!r}", hint="write through or detached")
    e = replace(e, reset_gradient=reset_gradient) if reset_gradient else e
    if surrogate is None:
        return e
    return replace(e, surrogate=surrogate if isinstance(surrogate, Surrogate) else surrogate_of(surrogate))


def trained_spec(spec: NeuronSpec, values: Mapping[str, np.ndarray]) -> NeuronSpec:
    """The declaration with the present value of each parameter written out."""
    rows = tuple(replace(p, init=None, value=_literal(values[p.name])) for p in spec.parameters)
    return replace(spec, parameters=rows)


def _literal(value: np.ndarray) -> Any:
    if np.ndim(value):
        return tuple(_literal(v) for v in value)
    if not np.iscomplexobj(value):
        return decimal(float(value))
    number = complex(value)
    sign = "-" if number.imag < 0 else "+"
    size = decimal(abs(number.imag))
    if not isinstance(size, Num):
        raise RunError(f"the imaginary part {number.imag} of a parameter cannot be written out")
    return Binary(sign, decimal(number.real), replace(size, imaginary=True))


def layer_size(size: Any) -> tuple[int, ...]:
    """*size* as a tuple.

    Raises:
        RunError: not whole numbers of at least 1.
    """
    try:
        found = tuple(operator.index(n) for n in (size if isinstance(size, tuple | list) else (size,)))
    except TypeError as error:
        raise RunError(f"size is {size!r}, expected a whole number or a tuple of them") from error
    if not found or min(found) < 1:
        raise RunError(f"size is {size}; every entry is at least 1")
    return found
