"""`neuroode claims drf --speed`: a training step of D-RF, step by step, as one convolution as published, and ours.

The paper's figures (section on training speed) are those of a GPU at batch 128.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from neuroode.neuron import load
from neuroode.papers import speed
from neuroode.papers.drf import theirs_torch
from neuroode.papers.drf.check import Array
from neuroode.papers.speed import Candidate, Experiment, Ratio, Step

Tensor = torch.Tensor
#: forward pass, and what it trains beside the input
Form = tuple[Callable[[Tensor], Tensor], list[Tensor]]
BATCH, SIZE, BRANCHES = 16, 4, 4
INDEXED, UNBOUND, PUBLISHED = "step by step, x[t]", "step by step, unbind", "FFT, as published"
OURS = "neuroode, sequential kernel"


def inputs(shape: tuple[int, ...]) -> Array:
    """Noise that makes a tenth of the steps spike or more."""
    return 8 * np.random.default_rng(0).normal(size=shape)


def parameters(dtype: torch.dtype, device: str = "cpu") -> dict[str, Tensor]:
    """The same numbers for every form."""
    random = np.random.default_rng(1)
    found = {
        "delta": np.exp(random.uniform(np.log(1e-2), np.log(0.1), SIZE)),
        "tau": random.uniform(0.5, 4, (SIZE, BRANCHES)),
        "omega": random.uniform(0, 20, (SIZE, BRANCHES)),
        "C": random.normal(size=(SIZE, BRANCHES)) + 1j * random.normal(size=(SIZE, BRANCHES)),
        "alpha": random.uniform(0, 0.5, 4),
    }
    complex_ = torch.complex128 if dtype == torch.float64 else torch.complex64
    return {
        n: torch.tensor(v, dtype=complex_ if np.iscomplexobj(v) else dtype, device=device) for n, v in found.items()
    }


def plain(run: Callable[[Tensor, dict[str, Tensor]], Tensor], dtype: torch.dtype, device: str) -> Form:
    p = {n: v.requires_grad_() for n, v in parameters(dtype, device).items()}
    return lambda x: run(x, p), list(p.values())


def ours(schedule: str, dtype: torch.dtype, device: str) -> Form:
    layer = load("drf").torch(SIZE, dtype=dtype, device=device, schedule=schedule).set(**parameters(dtype))
    return lambda x: layer(x)[0], list(layer.parameters())


#: name -> (dtype, device) -> forward pass and what it trains
FORMS: dict[str, Callable[[torch.dtype, str], Form]] = {
    INDEXED: partial(plain, lambda x, p: theirs_torch.sequential((x[t] for t in range(len(x))), p)),
    UNBOUND: partial(plain, lambda x, p: theirs_torch.sequential(x.unbind(0), p)),
    PUBLISHED: partial(plain, theirs_torch.parallel),
    OURS: partial(ours, "sequential"),
    "neuroode, scan": partial(ours, "scan"),
    "neuroode, fft": partial(ours, "fft"),
}


def training(form: str, steps: int, device: str = "cpu") -> Step:
    """Forward, and backward for the input and every parameter, of (steps, 16, 4) in float32."""
    forward, trained = FORMS[form](torch.float32, device)
    x = torch.tensor(inputs((steps, BATCH, SIZE))).float().to(device).requires_grad_()
    g = torch.randn(x.shape, device=device)

    def step() -> None:
        for leaf in (x, *trained):
            leaf.grad = None
        forward(x).backward(g)
        if device != "cpu":
            torch.cuda.synchronize(device)

    return step


EXPERIMENT = Experiment(
    paper="drf",
    title="Training time of D-RF, step by step and parallel in time",
    lanes=f"inputs (T, {BATCH}, {SIZE}) in float32, {BRANCHES} branches, gradients of input and parameters",
    candidates=[Candidate(name, partial(training, name)) for name in FORMS],
    ratios=[
        Ratio("x[t] / published", INDEXED, PUBLISHED, {32768: 581.0}),
        Ratio("unbind / published", UNBOUND, PUBLISHED, {}),
        Ratio("published / ours", PUBLISHED, OURS, {}),
        Ratio("unbind / ours", UNBOUND, OURS, {}),
    ],
)

if __name__ == "__main__":
    speed.main(EXPERIMENT)
