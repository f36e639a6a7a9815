"""Work against precision: our steps and solver layers, and torchdiffeq on fields written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torchdiffeq import odeint

import neuroode as no
from neuroode._errors import RunError, Unsupported
from neuroode.bench.measure import least_seconds
from neuroode.bench.problems import CHECKED, LANES, Problem, Run, distance, reference

METHODS = ("exact", "strang", "exp_euler", "euler", "heun", "rk4", "implicit_midpoint")
LARGEST = 10000  # operations of a step; a C compiler takes half a minute for as many
F64 = torch.float64


@dataclass(frozen=True, slots=True)
class Point:
    """One run: error against the reference, CPU milliseconds of all lanes, and what is to be said about it."""

    problem: str
    spiking: bool
    method: str
    at: float  # dt in ms, or rtol
    error: float
    milliseconds: float
    note: str = ""


def ours(problem: Problem, spiking: bool, steps: tuple[float, ...]) -> Iterator[Point]:
    """Each method that applies, at each dt; spikes at their time inside the step."""
    exact = no.load(problem.name).discretize(1.0).exact
    for method in METHODS:
        if exact and method == "strang":  # one part: the same step
            continue
        try:
            neuron, note = _neuron(problem, method, spiking)
        except Unsupported:
            continue
        for dt in steps:
            yield _of_layer(
                problem, spiking, neuron.torch(LANES, dt=dt, method=method, dtype=F64), dt, method, dt, note
            )


def _neuron(problem: Problem, method: str, spiking: bool) -> tuple[no.Neuron, str]:
    """The neuron of the zoo from the start of the problem, located where its step stays small enough to compile.

    Raises:
        Unsupported: the method does not apply.
    """
    plain = no.load(problem.name)
    plain.discretize(1.0, method)
    if not spiking:
        return plain, ""
    located = _located(problem)
    if len(located.torch(1, dt=1.0, method=method).program.body) <= LARGEST:
        return located, ""
    return plain, "spikes at the end of a step"


def _located(problem: Problem) -> no.Neuron:
    """With events inside the step; without a reset the guard is the crossing alone."""
    neuron = no.load(problem.name)
    return (neuron if problem.reset else neuron.replace(spike="v > 0 mV")).add(within_step="locate")


def _of_layer(problem: Problem, spiking: bool, layer: Any, dt: float, method: str, at: float, note: str = "") -> Point:
    x = torch.as_tensor(problem.currents(spiking)).expand(round(problem.length(spiking) / dt), 1, -1).contiguous()
    try:
        with torch.no_grad():
            error, word = distance(_found(layer, x, dt, problem, spiking), reference(problem, spiking), spiking)
            seconds = least_seconds(lambda: layer(x), least=0.005, enough=0.02)
    except RunError as failure:  # a solver that does not get through
        return Point(problem.name, spiking, method, at, np.inf, np.nan, str(failure).splitlines()[0])
    return Point(problem.name, spiking, method, at, error, 1e3 * seconds, "; ".join(w for w in (note, word) if w))


def _found(layer: Any, x: torch.Tensor, dt: float, problem: Problem, spiking: bool) -> Run:
    if not spiking:
        end = layer(x)[1]["v"]
        return Run(end[0, list(CHECKED)].numpy(), ())
    if layer.neuron.spec.within_step == "locate":
        times = layer.spike_times(x)[0]
    else:
        late = dt * torch.arange(1, len(x) + 1, dtype=F64)[:, None, None]
        times = torch.where(layer(x)[0] > 0, late, torch.inf)
    if problem.reset is None:  # above its peak for several steps
        times[1:][torch.isfinite(times[:-1])] = torch.inf
    lanes = [times[:, 0, k].numpy() for k in CHECKED]
    return Run(np.zeros(0), tuple(t[np.isfinite(t)] for t in lanes))


def solved(problem: Problem, spiking: bool, tolerances: tuple[float, ...], dt: float) -> Iterator[Point]:
    """Our solver layer, one step of `dt` after the other."""
    neuron = _located(problem) if spiking else no.load(problem.name)
    for rtol in tolerances:
        options = {"method": "dopri5", "rtol": rtol, "atol": 1e-2 * rtol}
        layer = neuron.torch(LANES, dt=dt, solver="torchdiffeq", solver_options=options, dtype=F64)
        yield _of_layer(problem, spiking, layer, dt, "solver layer, dopri5", rtol)


def peer(problem: Problem, tolerances: tuple[float, ...]) -> Iterator[Point]:
    """torchdiffeq's dopri5 over a window without spikes, all lanes as one system."""
    current = torch.as_tensor(problem.currents(False))
    start = tuple(torch.full((LANES,), v, dtype=F64) for v in problem.start)
    ends = torch.tensor([0.0, problem.length(False)], dtype=F64)
    for rtol in tolerances:
        yield timed(problem, "torchdiffeq dopri5", rtol, partial(_integrate, problem, current, start, ends, rtol))


@torch.no_grad()
def _integrate(problem: Problem, current: Any, start: Any, ends: Any, rtol: float) -> np.ndarray:
    run = odeint(lambda _, y: problem.field(y, current, torch.exp), start, ends, rtol=rtol, atol=1e-2 * rtol)
    return run[0][-1].numpy()


def timed(problem: Problem, name: str, at: float, run: Callable[[], np.ndarray]) -> Point:
    """A peer that gives the first state of all lanes at the end of the window without spikes."""
    error, _ = distance(Run(run()[list(CHECKED)], ()), reference(problem, False), False)
    return Point(problem.name, False, name, at, error, 1e3 * least_seconds(run, least=0.005, enough=0.02))
