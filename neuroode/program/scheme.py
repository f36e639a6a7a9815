"""A neuron at one step in numbers: joins the symbolic report, the discretization and the program that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from neuroode._errors import NeuroodeError, RunError
from neuroode.analysis.dynamics import Dynamics
from neuroode.analysis.figures import INSIDE, Figures, Mode, modes
from neuroode.analysis.modes import mode_facts
from neuroode.analysis.numbers import at_silence, evaluate, flow_in_numbers
from neuroode.analysis.response import StateSpace
from neuroode.analysis.types import Fact, Report
from neuroode.discretize.amplification import amplifications, stability_functions, step_boundaries
from neuroode.expr.units import scale_and_dimension
from neuroode.program.probe import LinearStep, linear_step
from neuroode.program.values import bounds, in_base, initial_values, joined, slots

if TYPE_CHECKING:
    from neuroode.analysis.boundary import Amplification
    from neuroode.discretize.types import Discretization
    from neuroode.program.types import Program
    from neuroode.spec.types import NeuronSpec, ParameterDecl

Array = np.ndarray
NEURONS = 1000  # drawn, where an init draws at all
POINTS = 2000  # of the domains


def with_step(report: Report, d: Discretization) -> Report:
    """The report with what is known in symbols of the modes, and of the step's boundaries."""
    if report.system.fractional:
        return replace(report, facts=(*report.facts, *_tied(report), _unbounded(report)))
    facts = (*report.facts, *_left_out(report), *_other_maps(report, d), *_tied(report), *mode_facts(report))
    return replace(report, facts=facts, boundaries=step_boundaries(d), regions=stability_functions(d))


def _unbounded(report: Report) -> Fact:
    claim = "no multipliers of a step, boundaries or responses are given: a step reads the whole past"
    return Fact(claim, ", ".join(report.system.fractional), "proved")


def _left_out(report: Report) -> list[Fact]:
    """States without a linear part, said plainly."""
    names = [s for s, kind in report.classes.items() if kind not in ("linear", "switched")]
    if not names:
        return []
    claim = "no linear part: no multipliers of a step, boundaries or responses are given"
    return [Fact(claim, ", ".join(names), "proved", "their flows are not linear in the states that they read")]


def _other_maps(report: Report, d: Discretization) -> list[Fact]:
    """Maps that are no matrix of one step, said plainly."""
    known = {s for a in amplifications(d) for s in a.states}
    names = [s for s in report.system.maps if s not in known]
    claim = "not one matrix a step: no multipliers, boundaries or responses are given"
    why = "the map is not affine in the states of the step before, or reads further back"
    return [Fact(claim, ", ".join(names), "proved", why)] if names else []


def _tied(report: Report) -> list[Fact]:
    """Flows that read dt: what is said of them as flows holds for one step length."""
    names = [s for s, e in report.system.flows.items() if "dt" in {x.name for x in e.free_symbols}]
    claim = "the flow reads dt: as a flow it is another one for each step length"
    return [Fact(claim, ", ".join(names), "proved")] if names else []


def with_figures(report: Report, d: Discretization, program: Program, dt: float, seed: int) -> Report:
    """The report with numbers at one step; sampled facts where a boundary is not known in symbols, and beside it."""
    if report.system.fractional:
        return report
    spec, rng = report.system.spec, np.random.default_rng(seed)
    declared = initial_values(spec, dt, (NEURONS,), rng)
    drawn = _few(slots(spec, declared, (NEURONS,)))
    count = max((int(np.size(v)) for v in drawn.values()), default=1)
    found = amplifications(d)
    states = tuple(s for a in found for s in a.states)
    length = {"dt": np.asarray(dt)}
    population = linear_step(program, drawn | length, states)
    domain = linear_step(program, slots(spec, _points_of(spec, declared, dt, rng), (POINTS,)) | length, states)
    values = joined({n.removeprefix("p."): v for n, v in drawn.items()}) | length
    rows = tuple(m for a in found for m in _modes(report, a, population, values, dt, count))
    shares = {a.states: (*_inside(report, a, population), *_inside(report, a, domain)) for a in found}
    middle = {n: np.median(v) for n, v in drawn.items()}
    flow = flow_in_numbers(report, by_name(middle) | length)
    step = _state_space(report, linear_step(program, middle | length, states), flow, dt)
    unit = (spec.dt.unit if spec.dt else None) or ""
    seconds = float(scale_and_dimension(unit)[0]) if unit else 1.0
    figures = Figures(dt, unit, seconds, count, values, rows, shares, flow, step)
    return replace(report, figures=figures, facts=(*report.facts, *_sampled(report, figures)))


def by_name(rows: Mapping[str, Array]) -> dict[str, Array]:
    """Parameter name -> number, from slots."""
    return joined({n.removeprefix("p."): v for n, v in rows.items()})


def median_neuron(spec: NeuronSpec, dt: float, seed: int) -> dict[str, complex]:
    """Numbers of the parameters of the neuron with median ones, and dt.

    Raises:
        NeuroodeError: values that have no number at this dt.
    """
    return {n: complex(v) for n, v in by_name(median_slots(spec, dt, seed)).items()} | {"dt": complex(dt)}


def median_slots(spec: NeuronSpec, dt: float, seed: int) -> dict[str, Array]:
    """The same as slots of a program."""
    drawn = slots(spec, initial_values(spec, dt, (NEURONS,), np.random.default_rng(seed)), (NEURONS,))
    return {n: np.median(v) for n, v in drawn.items()}


def with_dynamics(
    report: Report, dt: float | None, seed: int, held: Mapping[str, float] | None, against: str | None, whole: bool
) -> Report:
    """The report with what the flow does while inputs are held; without a step where parameters need none.

    Raises:
        RunError: no such input.
    """
    spec = report.system.spec
    names = [i.name for i in spec.inputs]
    for name in [*(held or {}), *([against] if against is not None else [])]:
        if name not in names:
            raise RunError(f"'{name}' is no input of '{spec.name}'", hint=f"inputs: {', '.join(names) or 'none'}")
    try:
        values = median_neuron(spec, 1.0 if dt is None else dt, seed)
    except NeuroodeError:
        return report
    if dt is None:
        values.pop("dt")
    return replace(report, dynamics=Dynamics(report.system, values, dict(held or {}), against, whole))


def _few(rows: Mapping[str, Array]) -> dict[str, Array]:
    """The first neuron alone where all neurons are equal."""
    equal = all(np.ptp(v) == 0 for v in rows.values() if np.ndim(v))
    return {n: v.ravel()[:1] if np.ndim(v) and equal else v for n, v in rows.items()}


def _points_of(
    spec: NeuronSpec, declared: Mapping[str, Array], dt: float, rng: np.random.Generator
) -> dict[str, Array]:
    """Points of the domains of what is trained: even in bounded ones, over two decades each way elsewhere."""
    middle = {p.name: _middle(p, declared[p.name]) for p in spec.parameters}
    base = in_base(spec, middle | {"dt": np.asarray(dt)})
    return {p.name: _points(p, middle[p.name], base, rng) if p.trainable else middle[p.name] for p in spec.parameters}


def _middle(p: ParameterDecl, value: Array) -> Array:
    """The median over neurons, of each element."""
    value = np.asarray(value)
    if not {"neuron", "channel"} & set(p.per):
        return value
    real = np.median(value.real, axis=0)
    return real + 1j * np.median(value.imag, axis=0) if np.iscomplexobj(value) else real


def _points(p: ParameterDecl, middle: Array, base: Mapping[str, Array], rng: np.random.Generator) -> Array:
    shape = (POINTS, *np.shape(middle))
    if p.type == "complex":
        return middle + (1 + abs(middle)) * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    low, high = bounds(p, base)
    if np.isfinite(low) and np.isfinite(high):
        return low + (high - low) * rng.uniform(1e-9, 1 - 1e-9, shape)
    if low == 0:
        return np.where(middle > 0, middle, 1.0) * 10 ** rng.uniform(-2, 2, shape)
    return np.clip(middle + (1 + abs(middle)) * 3 * rng.normal(size=shape), low, high)


def largest_multipliers(
    report: Report, d: Discretization, program: Program, changes: Mapping[str, Array]
) -> dict[tuple[str, ...], Array]:
    """states -> the largest |multiplier| of the median neuron with some parameters (or dt) moved, one a value."""
    assert report.figures is not None
    found = amplifications(d)
    middle = {n: np.asarray(np.median(v)) for n, v in report.figures.parameters.items() if np.isrealobj(v)}
    values = {n if n == "dt" else f"p.{n}": v for n, v in (middle | dict(changes)).items()}
    for n, v in report.figures.parameters.items():
        if np.iscomplexobj(v):
            values |= {f"p.{n}.re": np.median(v.real), f"p.{n}.im": np.median(v.imag)}
    step = linear_step(program, values, tuple(s for a in found for s in a.states))
    with np.errstate(all="ignore"):
        return {a.states: _largest(_matrix(report, a, step)) for a in found}


def _largest(M: Array) -> Array:
    """Spectral radii; nan where an entry is not finite."""
    fine = np.all(np.isfinite(M), axis=(1, 2))
    return np.where(fine, np.abs(np.linalg.eigvals(np.where(fine[:, None, None], M, 0))).max(axis=1), np.nan)


def _coordinates(report: Report, a: Amplification) -> tuple[str, ...]:
    system = report.system
    return tuple(s + part for s in a.states for part in ((".re", ".im") if system.is_complex(s) else ("",)))


def _matrix(report: Report, a: Amplification, step: LinearStep) -> Array:
    """M of a set of states; a single complex state is one complex number."""
    M = step.states(_coordinates(report, a))
    if len(a.states) == 1 and M.shape[-1] == 2:
        return (M[:, 0, 0] + 1j * M[:, 1, 0])[:, None, None]
    return M


def _inside(report: Report, a: Amplification, step: LinearStep) -> tuple[int, int]:
    M = _matrix(report, a, step)
    return int((_largest(M) <= INSIDE).sum()), len(M)


def _modes(
    report: Report, a: Amplification, step: LinearStep, drawn: Mapping[str, Array], dt: float, count: int
) -> list[Mode]:
    rate, block = None, None if a.method == "map" else report.block_of(a.states[0])
    if block is not None and block.A is not None and set(a.states) <= set(block.states):
        at = [block.states.index(s) for s in a.states]
        rate = evaluate(at_silence(report.system, block.A.extract(at, at)), drawn)
        rate = np.broadcast_to(rate if np.any(rate.imag) else rate.real, (count, len(at), len(at)))
    M = _matrix(report, a, step)
    if not np.isfinite(M).all() or (rate is not None and not np.isfinite(rate).all()):
        return []  # a coefficient beyond the range of numbers has no modes
    wide = (
        rate is not None and M.shape[-1] != rate.shape[-1]
    )  # coupled complex states: conjugates are no modes of theirs
    return modes(a.states, a.method, None if wide else rate, M, dt)


def _state_space(report: Report, step: LinearStep, flow: StateSpace | None, dt: float) -> StateSpace | None:
    system = report.system
    kinds = {i.name: i.kind for i in system.spec.inputs}
    at = [j for j, n in enumerate(step.inputs) if n in kinds]  # a neuron without inputs has a clock
    if not step.slots or not at:
        return None
    inputs = tuple(step.inputs[j] for j in at)
    scale = np.array([dt if kinds[n] != "current" else 1.0 for n in inputs])
    rows: dict[str, tuple[Array, Array]] = {}
    for s in (s.name for s in system.states if s.name in step.rows and s.name in step.slots):
        rows[s] = _row(step, s)
    for s in (s.name for s in system.states if f"{s.name}.re" in step.slots):
        (c_re, d_re), (c_im, d_im) = _row(step, f"{s}.re"), _row(step, f"{s}.im")
        rows |= {s: (c_re + 1j * c_im, d_re + 1j * d_im), f"real({s})": (c_re, d_re), f"imag({s})": (c_im, d_im)}
    for name in (r.removeprefix("output ") for r in (flow.rows if flow else ()) if r.startswith("output ")):
        if name in step.rows:
            rows[f"output {name}"] = _row(step, name)
    if not rows:
        return None
    C, D = np.array([c for c, _ in rows.values()]), np.array([d for _, d in rows.values()])
    return StateSpace(step.M[0], step.N[0][:, at] * scale, C, D[:, at] * scale, inputs, tuple(rows), dt)


def _row(step: LinearStep, name: str) -> tuple[Array, Array]:
    i = step.rows.index(name)
    return step.C[0, i], step.D[0, i]


def _sampled(report: Report, figures: Figures) -> list[Fact]:
    facts = []
    for states, (good, drawn, points, of) in figures.shares.items():
        who = f"{good} of {drawn} drawn neurons" if drawn > 1 else ("as declared" if good else "not as declared")
        claim = f"multipliers within the unit circle at dt = {figures.dt:g}"
        trained = any(p.trainable for p in report.system.spec.parameters)
        facts.append(Fact(claim, ", ".join(states), "sampled",
                          who + (f", {points} of {of} points of the domains" if trained else "")))  # fmt: skip
    return facts
