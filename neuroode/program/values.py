"""Numbers for a program: declared values and inits, per element, with their domains checked. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroode._errors import RunError, SpecError, Unsupported
from neuroode.expr.evaluate import evaluate
from neuroode.expr.nodes import Call, Expr, walk
from neuroode.expr.units import scale_and_dimension
from neuroode.program.domains import kind_over_axes, lies_inside, settled
from neuroode.spec.lengths import fixed_names
from neuroode.spec.quantities import literal
from neuroode.spec.rules_units import is_bare
from neuroode.spec.types import NeuronSpec, ParameterDecl, Quantity
from neuroode.system.axes import unrolled_parameters
from neuroode.system.indices import (
    axes_of,
    axis_sizes,
    element_values,
    is_table,
    slot_parameters,
    table_parameters,
    table_values,
    value_sizes,
    weight_parameters,
    weight_values,
)

Array = np.ndarray
DRAWS = ("uniform", "normal", "log_uniform", "log_normal")
RETRIES = 1000
Shapes = tuple[tuple[int, ...], tuple[int, ...]]  # *size*, and what one element of a parameter has


#: domain -> transform, where none is declared
BY_DOMAIN = {
    "positive": "softplus",
    "nonnegative": "abs",
    "unit": "sigmoid",
    "interval": "sigmoid",
    "real": "none",
    "simplex": "softmax",
}
TRANSFORMS = ("softplus", "abs", "sigmoid", "none", "exp", "relu", "tanh", "project")


def transform_name(p: ParameterDecl) -> str:
    """The transform of a parameter, by its domain if it declares none.

    Raises:
        Unsupported: a domain over axes of a parameter without any.
    """
    domain = p.domain.partition("(")[0]
    name = p.transform or BY_DOMAIN.get(domain, domain)
    if kind_over_axes(p):
        return name
    if domain not in BY_DOMAIN or name not in TRANSFORMS:
        raise Unsupported(f"parameter '{p.name}': the domain {p.domain} is not lowered yet")
    return name


def as_step(spec: NeuronSpec, dt: Any) -> float:
    """A step from the caller: a bare number is in the declared unit, a Quantity or text like "1 ms" is converted.

    Raises:
        RunError: not a positive finite number, or not a time.
    """
    unit = spec.dt.unit if spec.dt else None
    if isinstance(dt, str):
        from neuroode.spec.dsl import quantity

        dt = quantity(dt)
    if isinstance(dt, Quantity):
        value = float(dt.value)
        if dt.unit != unit:
            value *= float(_ratio(dt.unit, unit))
    else:
        try:
            value = float(dt)
        except (TypeError, ValueError) as error:
            raise RunError(f"dt is {dt!r}, not a number", hint="write dt=1.0 or dt='1 ms'") from error
    if not (value > 0 and np.isfinite(value)):
        raise RunError(f"dt is {value:g}, not a positive number")
    return value


def _ratio(given: str | None, wanted: str | None) -> Any:
    if given is None or wanted is None:
        raise RunError(
            f"dt is in {given or 'no unit'}, the model counts in {wanted or 'no unit'}", hint="use the model's unit"
        )
    (a, dim_a), (b, dim_b) = scale_and_dimension(given), scale_and_dimension(wanted)
    if dim_a != dim_b:
        raise RunError(f"dt is in {given}, which is not a time")
    return a / b


def level_shape(decl: ParameterDecl, size: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a parameter for lanes of *size*: () for layer, (size[0],) for channel, size for neuron."""
    if "neuron" in decl.per:
        return size
    return size[:1] if "channel" in decl.per else ()


def shape_of(spec: NeuronSpec, decl: ParameterDecl, size: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a parameter: (*level*, *axes*, time)."""
    sizes = value_sizes(spec)
    return (*level_shape(decl, size), *(sizes[a] for a in axes_of(decl)), *_time(spec, decl))


def _time(spec: NeuronSpec, decl: ParameterDecl) -> tuple[int, ...]:
    return (spec.horizon,) if is_table(decl) and spec.horizon is not None else ()


def spread(value: Array, decl: ParameterDecl, size: tuple[int, ...]) -> Array:
    """A value in a form that broadcasts against *size*: a channel's axis comes first."""
    if "channel" in decl.per and np.ndim(value) == 1:
        return np.reshape(value, (-1, *([1] * (len(size) - 1))))
    return value


def initial_values(
    spec: NeuronSpec, dt: float, size: tuple[int, ...], rng: np.random.Generator, given: Mapping[str, Any] | None = None
) -> dict[str, Array]:
    """Constrained value of every parameter at build time, of its own shape.

    Args:
        given: numbers or arrays that replace the declared value.

    Raises:
        SpecError, RunError: a value outside its domain, or of a shape that does not fit.
    """
    values: dict[str, Array] = {"dt": np.asarray(dt)}
    given = dict(given or {})
    sizes, lanes = value_sizes(spec), {p.name for p in slot_parameters(spec)}
    unknown = sorted(set(given) - {p.name for p in spec.parameters})
    if unknown:
        raise RunError(
            f"'{unknown[0]}' is not a parameter of '{spec.name}'",
            hint="parameters: " + ", ".join(p.name for p in spec.parameters),
        )
    elements, fixed = unrolled_parameters(spec), fixed_names(spec)
    base = in_base(spec, values)
    waiting = list(spec.parameters)
    while waiting:  # an init may read other parameters, in any order
        ready = [p for p in waiting if p.name in given or not (_reads(p) - set(values) - sizes.keys())]
        if not ready:
            raise SpecError(
                f"the inits of {', '.join(p.name for p in waiting)} read each other", place=waiting[0].place
            )
        for p in ready:
            found = (
                fit(spec, p, numeric(p, given[p.name]), size)
                if p.name in given
                else _declared(spec, p, elements, base, size, rng)
            )
            check_domain(p, found, base)
            if p.name in given and p.name in fixed:
                refuse_change(p, _declared(spec, p, elements, base, size, rng), found)
            values[p.name] = found
            parts = element_values(p, sizes, found) if p.name in lanes else {}  # nothing else reads a table
            base |= in_base(spec, {p.name: found}) | {n: v * _scale(p.unit) if p.unit else v for n, v in parts.items()}
        waiting = [p for p in waiting if p not in ready]
    return {k: v for k, v in values.items() if k != "dt"}


def _reads(p: ParameterDecl) -> set[str]:
    from neuroode.expr.nodes import names

    trees = [p.init, *_leaves(p.value), *p.bounds]
    return set().union(*(names(t) for t in trees if t is not None)) - {"pi", "i", "inf"}


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None else [value]


def in_base(spec: NeuronSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in declared units as those that expressions are evaluated with: in base units."""
    units = {p.name: p.unit for p in spec.parameters} | {"dt": spec.dt.unit if spec.dt else None}
    return {n: v * _scale(units[n]) if units.get(n) else v for n, v in values.items()}


def _scale(unit: str | None) -> float:
    return float(scale_and_dimension(unit)[0]) if unit else 1.0


def _evaluated(
    p: ParameterDecl,
    node: Expr,
    base: Mapping[str, Any],
    rng: np.random.Generator | None = None,
    shape: tuple[int, ...] = (),
) -> Array:
    """An expression in the declared unit of the parameter; where no unit stands in it, its numbers are in that unit."""
    alone = literal(node)
    if alone is not None and alone.unit and p.unit:  # exactly
        return np.asarray(float(alone.value * scale_and_dimension(alone.unit)[0] / scale_and_dimension(p.unit)[0]))
    found = evaluate(node, base, rng, shape)
    return found if p.unit is None or is_bare(node) else found / _scale(p.unit)


def numeric(p: ParameterDecl, value: Any) -> Array:
    """A caller's value as an array of numbers.

    Raises:
        RunError: it is not one.
    """
    try:
        return np.asarray(value, complex if p.type == "complex" else float)
    except (TypeError, ValueError) as error:
        kind = "numbers" if p.type == "complex" else "real numbers"
        hint = f"write {kind}" + (f" in {p.unit}, the unit that '{p.name}' declares" if p.unit else ", without a unit")
        raise RunError(f"parameter '{p.name}': {value!r} is not made of {kind}", hint=hint) from error


def fit(spec: NeuronSpec, p: ParameterDecl, value: Array, size: tuple[int, ...]) -> Array:
    """Broadcast a value to the parameter's shape.

    Raises:
        RunError: it does not fit.
    """
    shape = shape_of(spec, p, size)
    try:
        return np.array(np.broadcast_to(value, shape))
    except ValueError as error:
        raise RunError(f"parameter '{p.name}' has shape {shape}, found {np.shape(value)}") from error


def _declared(
    spec: NeuronSpec, p: ParameterDecl, elements: Mapping[str, tuple[ParameterDecl, ...]], base: Mapping[str, Any],
    size: tuple[int, ...], rng: np.random.Generator,
) -> Array:  # fmt: skip
    if p.init is None and isinstance(p.value, tuple):
        return fit(spec, p, np.asarray(_literal(p, p.value, base), complex if p.type == "complex" else float), size)
    levels = [q for rows in elements.values() for q in rows if q.name in base]
    lanes, time = level_shape(p, size), _time(spec, p)
    if time:
        base = {n: v[..., None] if np.ndim(v) else v for n, v in base.items()}
    rows = [_element(p, each, base, levels, (size, (*lanes, *time)), rng) for each in elements[p.name]]
    found = np.stack(rows, axis=len(lanes)).reshape(shape_of(spec, p, size))
    return settled(p, found) if _is_drawn(p.init) else found


def _is_drawn(init: Expr | None) -> bool:
    return init is not None and any(isinstance(n, Call) and n.name in DRAWS for n in walk(init))


def _element(
    p: ParameterDecl, each: ParameterDecl, base: Mapping[str, Any], levels: list[ParameterDecl], shapes: Shapes,
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    """One element of `p`; draws outside the domain are drawn again."""
    drawn = _drawn(p, each, base, levels, shapes, rng)
    if not _is_drawn(each.init):
        return drawn
    for _ in range(RETRIES):
        bad = ~inside(each, drawn, base)
        if not bad.any():
            return drawn
        drawn = np.where(bad, _drawn(p, each, base, levels, shapes, rng), drawn)
    raise SpecError(f"parameter '{p.name}': {RETRIES} draws in a row fall outside its domain {p.domain}", place=p.place)


def _drawn(
    p: ParameterDecl, each: ParameterDecl, base: Mapping[str, Any], levels: list[ParameterDecl], shapes: Shapes,
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    """The value or init of one element for every lane of its level."""
    node = each.value if each.init is None else each.init
    size, shape = shapes
    if "neuron" in p.per:  # what varies by channel lies along the first axis of the lanes
        base = {**base, **{q.name: spread(base[q.name], q, size) for q in levels}}
    try:
        with np.errstate(all="ignore"):
            found = np.broadcast_to(_evaluated(each, node, base, rng, shape), shape)  # type: ignore[arg-type]
    except ValueError as error:
        varied = f"the init of parameter '{p.name}' varies with more than the parameter itself"
        raise SpecError(varied, place=p.place, hint=f"it has shape {shape}: declare per: neuron") from error
    return np.array(found, complex if p.type == "complex" else float)


def _literal(p: ParameterDecl, value: Any, base: Mapping[str, Any]) -> Any:
    if isinstance(value, tuple):
        return [_literal(p, v, base) for v in value]
    return _evaluated(p, value, base)[()]


def bounds(p: ParameterDecl, base: Mapping[str, Any]) -> tuple[float, float]:
    """Lower and upper bound of a real domain; `base` holds constants and dt in base units."""
    kind = p.domain.partition("(")[0]
    if kind == "interval":
        low, high = (float(np.real(_evaluated(p, b, base))) for b in p.bounds)
        return low, high
    fixed = {"positive": (0.0, np.inf), "nonnegative": (0.0, np.inf), "unit": (0.0, 1.0)}
    return fixed.get(kind, (-np.inf, np.inf))


def inside(p: ParameterDecl, value: Array, base: Mapping[str, Any]) -> Array:
    """Where finite values lie in the domain."""
    if p.type == "complex":
        return np.isfinite(value)
    if kind_over_axes(p):
        return np.isfinite(value) & lies_inside(p, np.where(np.isfinite(value), value, 0.0))
    low, high = bounds(p, base)
    above = value > low if p.domain == "positive" else value >= low
    above &= (value == np.round(value)) | (p.type != "integer")
    return above & (value <= high) & np.isfinite(value)


def check_domain(p: ParameterDecl, value: Array, base: Mapping[str, Any]) -> None:
    """Raise SpecError with the first value outside the domain, or not finite."""
    bad = ~inside(p, value, base)
    if bad.any():
        first = np.asarray(value)[bad][0] if np.ndim(value) else np.asarray(value)[()]
        kind = p.domain if p.domain in ("positive", "nonnegative") else f"in {p.domain}"
        if kind_over_axes(p) and np.isfinite(first):
            hint = "a row sums to 1, a matrix equals its transpose, and a psd one has no negative eigenvalue"
            raise SpecError(f"parameter '{p.name}' is not in {p.domain}", place=p.place, hint=hint)
        kind = "a whole number" if p.type == "integer" and first != np.round(first) else kind
        kind = kind if np.isfinite(first) else "finite"
        raise SpecError(f"parameter '{p.name}': {first:g} is not {kind}", place=p.place)


def refuse_change(p: ParameterDecl, built: Array, wanted: Array) -> None:
    """Raise where a value would change that a lag or a delay reads: buffers have the length that it gave them.

    Raises:
        Unsupported: the values differ.
    """
    if not np.array_equal(built, wanted):
        what = f"parameter '{p.name}' is read by a lag or a delay and fixed when the layer is built"
        raise Unsupported(what, hint=f"build with init={{'{p.name}': ...}}, or replace it in the declaration")


def slots(spec: NeuronSpec, values: Mapping[str, Any], size: tuple[int, ...]) -> dict[str, Any]:
    """Constrained values by slot name of a program, in a form that broadcasts against *size*."""
    rows: dict[str, Any] = {}
    sizes = axis_sizes(spec)
    for p in slot_parameters(spec):
        for name, part in element_values(p, sizes, np.asarray(values[p.name])).items():
            value = spread(part, p, size)
            rows |= (
                {f"p.{name}.re": value.real, f"p.{name}.im": value.imag}
                if p.type == "complex"
                else {f"p.{name}": value}
            )
    return rows


def tables(spec: NeuronSpec, values: Mapping[str, Any], size: tuple[int, ...], steps: int) -> dict[str, Array]:
    """The first rows of the tables over time by input name of a program, (T, 1, *size*); of parameters over the whole
    sequence, which its sums read, the first of both: (tau, *size*) or (tau, T, *size*).

    Raises:
        RunError: more steps than the horizon.
    """
    check_horizon(spec, steps)
    sizes, rows = axis_sizes(spec), {}
    for p in table_parameters(spec):
        for name, value in table_values(p, sizes, np.asarray(values[p.name])).items():
            rows[name] = np.moveaxis(value, -1, 0)[:steps].reshape((steps, 1, *_beside(p, size)))
    for p in weight_parameters(spec):
        for name, value in weight_values(p, sizes, np.asarray(values[p.name]), np.moveaxis).items():
            over_time = (steps, steps) if is_table(p) else (steps,)
            rows[name] = value[tuple(map(slice, over_time))].reshape((*over_time, *_beside(p, size)))
    return rows


def _beside(p: ParameterDecl, size: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts against *size*."""
    if "neuron" in p.per:
        return size
    return (*(size[:1] if "channel" in p.per else (1,)), *([1] * (len(size) - 1)))


def check_horizon(spec: NeuronSpec, steps: int) -> None:
    """Raise RunError where a run reaches beyond the tables over time."""
    if spec.horizon is not None and steps > spec.horizon:
        raise RunError(
            f"the run reaches step {steps}, beyond the horizon {spec.horizon} of '{spec.name}'",
            hint="declare a longer horizon, or give a time axis that size; a carry counts steps too",
        )


def joined(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Parts `z.re`, `z.im` as one complex array `z`."""
    rows: dict[str, Any] = {}
    for name, value in trace.items():
        if name.endswith(".re"):
            rows[name[:-3]] = value + 1j * trace[name[:-3] + ".im"]
        elif not name.endswith(".im"):
            rows[name] = value
    return rows
