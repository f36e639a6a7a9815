"""The same code at several orders: a graph like Cora, a linear map and one layer of f_lif; five seeds.

The network and its recipe are those of the released SGCN at a smaller scale: rates of words as Bernoulli spikes, one
linear map, seven neurons, the softmax of their spike counts; tau learned from 2. alpha = 1 is a LIF neuron, and every
arm gets the same learning rates to choose from, by validation.

`neuroode claims fspikede --train` prints the table; `--write` puts it into the page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuroode.bench.page import machine
from neuroode.neuron import load
from neuroode.papers.claims import read
from neuroode.papers.fspikede.graph import SUBJECTS, WORDS, Graph, draw
from neuroode.papers.page import markdown, write_section

STEPS, BATCH, EPOCHS = 32, 140, 20
RATES = (0.01, 0.03)
SEEDS, QUICK = 5, 2
HOME = Path("runs") / "claims" / "fspikede"
ARMS: Mapping[str, Any] = {"alpha = 0.3": 0.3, "alpha = 1": 1.0}


@dataclass(frozen=True, slots=True)
class Run:
    """Accuracies in per cent at the epoch of highest validation accuracy; `spikes` a neuron in 32 steps; alpha and tau
    at the end; seconds of CPU time."""

    validation: float
    test: float
    spikes: float
    alpha: float
    tau: float
    seconds: float


class Network(nn.Module):
    """Spikes (T, B, words) -> counts (B, subjects)."""

    def __init__(self, alpha: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(WORDS, SUBJECTS)
        neuron = load("f_lif").replace(parameters={"alpha": alpha, "tau": {"value": 2, "domain": "positive"}})
        self.neurons = neuron.torch(SUBJECTS, dt=1.0, method=f"soe(steps={STEPS})")

    def forward(self, x: Tensor) -> Tensor:
        counts: Tensor = self.neurons(self.linear(x))[0].sum(0)
        return counts


def kept(arm: str, rate: float, seed: int) -> Run:
    """Train, or read what an earlier call left under runs/claims; the name of a file holds the recipe."""
    path = HOME / f"{arm}-{rate:g}-{STEPS}-{BATCH}-{EPOCHS}-{seed}.json"
    if path.is_file():
        return Run(**json.loads(path.read_text()))
    run = train(ARMS[arm], rate, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(run)))
    print(f"{arm}, rate {rate:g}, seed {seed}: {run.test:.2f} %, {run.seconds:.1f} s of training", file=sys.stderr)
    return run


def train(alpha: Any, rate: float, seed: int) -> Run:
    """One run."""
    torch.manual_seed(seed)
    graph, start = _graph(seed), process_time()
    net = Network(alpha)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    best = (-1.0, 0.0, 0.0)
    for _ in range(EPOCHS):
        for papers in np.array_split(np.random.default_rng(seed).permutation(graph.train), len(graph.train) // BATCH):
            counts = net(_spikes(graph, papers))
            loss = nn.functional.cross_entropy(counts, torch.as_tensor(graph.subjects[papers]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        best = max(best, (*_scores(net, graph, graph.validation)[:1], *_scores(net, graph, graph.test)))
    values = {n: float(net.neurons.values[n]) if n in net.neurons.values else float(alpha) for n in ("alpha", "tau")}
    return Run(*best, **values, seconds=process_time() - start)


@cache
def _graph(seed: int) -> Graph:
    return draw(seed)


def _spikes(graph: Graph, papers: np.ndarray) -> Tensor:
    rates = torch.as_tensor(graph.rates[papers], dtype=torch.float32)
    return torch.bernoulli(rates.expand(STEPS, *rates.shape))


@torch.no_grad()
def _scores(net: Network, graph: Graph, papers: np.ndarray) -> tuple[float, float]:
    """Accuracy in per cent, and spikes a neuron."""
    counts = net(_spikes(graph, papers))
    right = counts.argmax(1).numpy() == graph.subjects[papers]
    return 100 * float(right.mean()), float(counts.mean())


@cache
def results(seeds: int = SEEDS) -> dict[str, tuple[float, list[Run]]]:
    """Arms by name: the rate that validates best on average, and its runs."""
    found = {}
    for arm in ARMS:
        tried = {rate: [kept(arm, rate, seed) for seed in range(seeds)] for rate in RATES}
        best = max(RATES, key=lambda r: float(np.mean([run.validation for run in tried[r]])))
        found[arm] = (best, tried[best])
    return found


def table(found: Mapping[str, tuple[float, list[Run]]]) -> str:
    head = ("arm", "test accuracy (%)", "seeds", "learning rate", "spikes a neuron", "alpha", "tau", "s of training")
    return markdown(head, [_row(arm, rate, runs) for arm, (rate, runs) in found.items()])


def _row(arm: str, rate: float, runs: list[Run]) -> tuple[str, ...]:
    spread = lambda name: _spread([getattr(r, name) for r in runs])  # noqa: E731
    seconds = np.mean([r.seconds for r in runs])
    return (arm, spread("test"), str(len(runs)), f"{rate:g}", spread("spikes"), spread("alpha"), spread("tau"),
            f"{seconds:.1f}")  # fmt: skip


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def section(found: Mapping[str, tuple[float, list[Run]]], command: str) -> str:
    return "\n\n".join(
        [
            f"Measured by `{command}` on {date.today()}; mean ± standard deviation (n - 1) over seeds.",
            machine(),
            table(found),
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="f_lif at several orders on a graph like Cora")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seeds")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    text = section(
        results(QUICK if given.quick else SEEDS), "neuroode claims fspikede --train" + " --quick" * given.quick
    )
    print(text)
    if given.write:
        write_section(read("fspikede").page, "arms", text)


if __name__ == "__main__":
    main()
