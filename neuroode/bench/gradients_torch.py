"""Gradients of spike times and of a loss behind them by torch layers, and the memory of their adjoints."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neuroode as no
from neuroode.bench.gradients import ADJOINTS, CURRENT, END, LANES, TARGET, TAU
from neuroode.bench.memory import _kilobytes

F64 = torch.float64
LONG_STEP = 10.0  # of solver layers, which find events inside
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def neuron(within: str = "locate") -> no.Neuron:
    """A LIF that starts anew from 0."""
    lif = no.load("lif").replace(reset="v = 0")
    return lif if within == "saturate" else lif.add(within_step=within)


def _solved() -> Iterator[tuple[str, dict[str, Any]]]:
    for adjoint in ADJOINTS:
        options = {"solver": "torchdiffeq", "adjoint": adjoint, "gradient": "event", "solver_options": TIGHT}
        yield f"torch, dopri5, {adjoint}", options


def spike_time() -> Iterator[tuple[str, tuple[float, ...]]]:
    """First spike and its derivative for I."""
    step = 1e-4

    def at(current: float) -> float:
        trace = neuron().simulate(np.full((40, 1, 1), current), 1.0, parameters={"tau": TAU})
        k = int(trace["s"].ravel().argmax())
        return float(k + trace["s.time"].ravel()[k])

    yield "differences of the interpreter", (at(CURRENT), (at(CURRENT + step) - at(CURRENT - step)) / (2 * step))
    yield "torch, located", _first(gradient="event")
    yield "torch, dopri5", _first(**dict(_solved())["torch, dopri5, none"])


def _first(**options: Any) -> tuple[float, float]:
    layer = neuron().torch(1, dt=1.0, dtype=F64, **options).set(tau=TAU)
    current = torch.tensor(CURRENT, dtype=F64, requires_grad=True)
    times: Any = layer.spike_times(current.expand(40, 1, 1))[0]
    first = times.min()
    return first.item(), torch.autograd.grad(first, current)[0].item()


def end_of_window() -> Iterator[tuple[str, tuple[float, ...]]]:
    """The loss and its derivatives for I and tau, of each way to train."""
    yield "torch, surrogate, spikes at the end of a step", _loss("saturate")
    yield "torch, surrogate, located", _loss("locate")
    yield "torch, event, located", _loss("locate", gradient="event")
    for name, options in _solved():
        yield name, _loss("locate", LONG_STEP, **options)


def _loss(within: str, dt: float = 1.0, **options: Any) -> tuple[float, ...]:
    layer = neuron(within).torch(1, dt=dt, dtype=F64, init={"tau": TAU}, **options)
    current = torch.tensor(CURRENT, dtype=F64, requires_grad=True)
    v = layer(current.expand(round(END / dt), 1, 1))[1]["v"].sum()
    loss = (v - TARGET) ** 2 / 2
    stored = dict(layer.named_parameters())["parameters_of_neuron.raw_tau"]
    by_current, by_raw = torch.autograd.grad(loss, [current, stored])
    slope = torch.autograd.functional.jacobian(torch.nn.functional.softplus, stored.detach()).sum()
    return loss.item(), by_current.item(), (by_raw.sum() / slope).item()


def measure(adjoint: str, steps: int) -> None:
    """Print the peak in MiB of a gradient over so many steps; a short one has loaded everything before."""
    options = {"method": "euler"}
    layer = no.load("li").torch(LANES, dt=1e-3, solver="torchdiffeq", adjoint=adjoint, solver_options=options)

    def gradient(n: int) -> None:
        layer(torch.ones(n, 1, LANES))[0][-1].sum().backward()

    gradient(4)
    gc.collect()
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    gradient(steps)
    print((_kilobytes("VmHWM") - before) / 1024)
