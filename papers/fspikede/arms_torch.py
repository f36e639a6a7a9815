"""The same code at several orders: a graph like Cora, a linear map and one layer of f_lif; five seeds.

The network and its recipe are those of the released SGCN at a smaller scale: rates of words as Bernoulli spikes, one
linear map, seven neurons, the softmax of their spike counts; tau learned from 2. alpha = 1 is a LIF neuron. Every arm
gets the same graphs, the same papers in the same order and the same learning rates to choose from; rate and epoch are
chosen on validation papers (of equals the smaller rate, the earlier epoch), never on test papers.

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

STEPS, BATCH, EPOCHS = 32, 140, 30
RATES = (0.01, 0.03, 0.1)
SEEDS, QUICK = 5, 2
HOME = Path("runs") / "claims" / "fspikede"
ORDER = {"domain": "interval(0.05, 1)", "transform": "project"}
BASE = "alpha = 1"
ARMS: Mapping[str, Any] = {f"alpha = {a:g}": a for a in (0.3, 0.5, 0.7, 1.0)} | {
    f"alpha learned from {a:g}": ORDER | {"value": a} for a in (0.7, 1.0)
}


@dataclass(frozen=True, slots=True)
class Run:
    """At the epoch of highest validation accuracy: accuracies in per cent, `spikes` a neuron in 32 steps, alpha, tau;
    seconds of CPU time."""

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
    best = (-1.0, 0.0, 0.0, 0.0, 0.0)
    for _ in range(EPOCHS):
        for papers in np.array_split(np.random.default_rng(seed).permutation(graph.train), len(graph.train) // BATCH):
            counts = net(_spikes(graph, papers))
            loss = nn.functional.cross_entropy(counts, torch.as_tensor(graph.subjects[papers]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            net.neurons.project()
        score = _scores(net, graph, graph.validation)[0]
        if score > best[0]:  # at equality the earlier epoch: test papers choose nothing
            best = (score, *_scores(net, graph, graph.test), *_values(net, alpha))
    return Run(*best, seconds=process_time() - start)


@torch.no_grad()
def _values(net: Network, alpha: Any) -> tuple[float, float]:
    """alpha and tau as they are now."""
    now = net.neurons.values
    return float(now["alpha"]) if "alpha" in now else float(alpha), float(now["tau"])


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


def gap(found: Mapping[str, tuple[float, list[Run]]], arm: str) -> tuple[float, float]:
    """Test accuracy of an arm less that of alpha = 1 on the same graph: mean, standard error over seeds."""
    pairs = zip(found[arm][1], found[BASE][1], strict=True)
    off = np.array([run.test - base.test for run, base in pairs])
    return float(off.mean()), float(off.std(ddof=1) / len(off) ** 0.5)


def table(found: Mapping[str, tuple[float, list[Run]]]) -> str:
    head = ("arm", "test accuracy (%)", "less alpha = 1, same graph", "seeds", "learning rate", "spikes a neuron",
            "alpha", "tau", "s of training")  # fmt: skip
    return markdown(head, [_row(found, arm) for arm in found])


def _row(found: Mapping[str, tuple[float, list[Run]]], arm: str) -> tuple[str, ...]:
    (rate, runs), (off, error) = found[arm], gap(found, arm)
    spread = lambda name: _spread([getattr(r, name) for r in runs])  # noqa: E731
    less = "–" if arm == BASE else f"{off:+.2f}, standard error {error:.2f}"
    seconds = np.mean([r.seconds for r in runs])
    return (arm, spread("test"), less, str(len(runs)), f"{rate:g} of {', '.join(f'{r:g}' for r in RATES)}",
            spread("spikes"), spread("alpha"), spread("tau"), f"{seconds:.1f}")  # fmt: skip


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
