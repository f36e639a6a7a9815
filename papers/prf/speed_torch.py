"""`neuroode claims prf --speed`: a training step of the soft-reset LIF, sequential, decoupled as published, and ours.

The paper's figures (abstract and section on training time) are those of a GPU, against a loop that indexes x[t].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from neuroode.neuron import Neuron
from neuroode.papers import speed
from neuroode.papers.page import markdown
from neuroode.papers.prf import theirs_torch
from neuroode.papers.prf.check_torch import LONG, parted, spikes_in_single_precision
from neuroode.papers.prf.neurons import Array, constant_lif, decoupled_lif, drive, soft_lif
from neuroode.papers.speed import Candidate, Experiment, Ratio, Step

Tensor = torch.Tensor
#: forward pass, and what it trains beside the input
Form = tuple[Callable[[Tensor], Tensor], list[Tensor]]
BATCH, SIZE, BETA = 16, 4, 0.9
INDEXED, UNBOUND, PUBLISHED = "sequential, x[t]", "sequential, unbind", "decoupled, as published"
OURS = "neuroode, sequential kernel"


def sequential(steps: Callable, c: Tensor) -> Tensor:
    return theirs_torch.sequential(steps(c), c.new_tensor(BETA), c.new_tensor(1.0))


def published(c: Tensor) -> Tensor:
    return theirs_torch.decoupled(c, c.new_full((SIZE,), BETA), c.new_tensor(1.0))


def ours(neuron: Neuron, schedule: str, dtype: torch.dtype, device: str) -> Form:
    layer = neuron.torch(SIZE, dt=1.0, dtype=dtype, device=device, schedule=schedule)
    return lambda c: layer(c)[0], list(layer.parameters())


def inputs(shape: tuple[int, ...]) -> Array:
    """Normal noise that makes half of the steps spike or less."""
    return drive(shape, seed=0)


#: name -> (dtype, device) -> forward pass and what it trains: nothing but in the last, as in the released code
FORMS: dict[str, Callable[[torch.dtype, str], Form]] = {
    INDEXED: lambda dtype, device: (partial(sequential, theirs_torch.indexed), []),
    UNBOUND: lambda dtype, device: (partial(sequential, theirs_torch.unbound), []),
    PUBLISHED: lambda dtype, device: (published, []),
    OURS: partial(ours, constant_lif(BETA), "sequential"),
    "neuroode, scan": partial(ours, constant_lif(BETA), "scan"),
    "neuroode, fft": partial(ours, decoupled_lif(BETA), "fft"),
    "neuroode, beta and V trained": partial(ours, soft_lif(), "sequential"),
}


def training(form: str, steps: int, device: str = "cpu") -> Step:
    """Forward, and backward for the input, of (steps, 16, 4) in float32."""
    forward, trained = FORMS[form](torch.float32, device)
    c = torch.tensor(inputs((steps, BATCH, SIZE))).float().to(device).requires_grad_()
    g = torch.randn(c.shape, device=device)

    def step() -> None:
        for leaf in (c, *trained):
            leaf.grad = None
        forward(c).backward(g)
        if device != "cpu":
            torch.cuda.synchronize(device)

    return step


def spike_table(decays: tuple[float, ...] = (0.5, 0.9, 0.99, 0.999, 0.9999), steps: int = LONG) -> str:
    """How many spikes the FFT path gets wrong in float32, by the decay."""
    differ, near = spikes_in_single_precision(decays, steps)
    off, lanes = parted(differ, near), differ.shape[1] // len(decays)
    head = ("beta", "differing spikes", "steps", "near ties", "lanes that part at no near tie")
    rows = []
    for i, beta in enumerate(decays):
        at = slice(i * lanes, (i + 1) * lanes)
        counts = (differ[:, at].sum(), differ[:, at].size, near[:, at].sum(), off[at].sum())
        rows.append((f"{beta:g}", *(f"{n:,}" for n in counts)))
    text = (
        f"Spikes of the published form in float32 beside the sequential neuron, {steps:,} steps of {lanes} lanes each:"
    )
    return f"{text}\n\n{markdown(head, rows)}"


EXPERIMENT = Experiment(
    paper="prf",
    title="Training time of the LIF with soft reset, sequential and decoupled",
    lanes=f"inputs (T, {BATCH}, {SIZE}) in float32, beta = {BETA}, forward and the gradient of the input",
    candidates=[Candidate(name, partial(training, name)) for name in FORMS],
    ratios=[
        Ratio("x[t] / published", INDEXED, PUBLISHED, {1024: 6.57, 16384: 9.35, 32768: 16.50}),
        Ratio("unbind / published", UNBOUND, PUBLISHED, {}),
        Ratio("published / ours", PUBLISHED, OURS, {}),
        Ratio("unbind / ours", UNBOUND, OURS, {}),
    ],
)

if __name__ == "__main__":
    speed.main(EXPERIMENT, spike_table)
