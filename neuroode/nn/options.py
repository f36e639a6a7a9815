"""Options of a module that change the declaration before it is lowered, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from neuroode._errors import RunError, Unsupported
from neuroode.expr.nodes import Binary, Expr, Num
from neuroode.expr.parse import parse_expr
from neuroode.spec.types import EventDecl, NeuronSpec, ParameterDecl, Surrogate

LATER = {
    "gradient": "event gradients",
    "solver": "solvers of continuous time",
    "adjoint": "solvers of continuous time",
    "axes": "axes inside a neuron",
    "operators": "operators",
    "share": "parameters shared by a network",
}


def refuse_later(options: Mapping[str, Any]) -> None:
    """Raise for options that are not there yet, or unknown."""
    for name, value in options.items():
        if name not in LATER:
            raise TypeError(f"unknown option '{name}'")
        if value is not None and (name, value) != ("gradient", "surrogate"):
            raise Unsupported(f"{name}={value!r}: {LATER[name]} are not available yet")


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
    parameters = tuple(_with_init(p, init[p.name]) if p.name in init else p for p in spec.parameters)
    events = tuple(_with_options(e, reset_gradient, surrogate) for e in spec.events)
    return replace(spec, parameters=parameters, events=events)


def _with_init(p: ParameterDecl, value: Any) -> ParameterDecl:
    text = value if isinstance(value, str) else repr(float(value))
    return replace(p, value=None, init=parse_expr(text))


def _with_options(e: EventDecl, reset_gradient: str | None, surrogate: Any) -> EventDecl:
    if reset_gradient not in (None, "through", "detached"):
        raise RunError(f"reset_gradient is {reset_gradient!r}", hint="write through or detached")
    e = replace(e, reset_gradient=reset_gradient) if reset_gradient else e
    if surrogate is None:
        return e
    return replace(e, surrogate=surrogate if isinstance(surrogate, Surrogate) else Surrogate(kind=str(surrogate)))


def trained_spec(spec: NeuronSpec, values: Mapping[str, np.ndarray]) -> NeuronSpec:
    """The declaration with the value of each trainable parameter written out."""
    rows = tuple(replace(p, init=None, value=_literal(values[p.name])) if p.trainable else p for p in spec.parameters)
    return replace(spec, parameters=rows)


def _literal(value: np.ndarray) -> Any:
    if np.ndim(value):
        return tuple(_literal(v) for v in value)
    number = complex(value)
    if not np.iscomplexobj(value):
        return _real(number.real)
    return Binary("+", _real(number.real), Num(Fraction(repr(number.imag)), imaginary=True))


def _real(x: float) -> Expr:
    return Num(Fraction(repr(x)))
