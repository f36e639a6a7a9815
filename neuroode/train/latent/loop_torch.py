"""Training of one arm and seed: Adam, the evidence lower bound, a checkpoint after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from math import isfinite
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroode.nn.layer_torch import NeuronLayer
from neuroode.train.epochs import EpochByEpoch
from neuroode.train.latent.network_torch import Network, count, poisson_loss
from neuroode.train.latent.recipe import Recipe
from neuroode.train.latent.results import KEPT, Arm, Epoch, Scores, pick
from neuroode.train.latent.scores import bits_per_spike, r_squared
from neuroode.train.results import Diverged
from neuroode.train.tasks.lorenz import Part, Population


class Run(EpochByEpoch[Epoch, Arm]):
    """One arm.

    Args:
        name: of the arm.
        build: makes the network; called after torch's generator was seeded.
        known: what a checkpoint must agree on beside the recipe.
    """

    def __init__(
        self, name: str, build: Callable[[Tensor], Network], population: Population, recipe: Recipe, seed: int,
        known: dict[str, Any],
    ) -> None:  # fmt: skip
        self.name, self.population, self.settings, self.seed = name, population, recipe, seed
        torch.manual_seed(seed)
        self.mean = population.train.spikes.mean((0, 1))
        self.network = build(torch.from_numpy(self.mean))
        self.counts = {n: _counts(getattr(population, n)) for n in ("train", "val", "test")}
        self.adam = torch.optim.Adam(_groups(self.network, recipe.neuron_lr), lr=recipe.lr)
        self.epochs: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        shared = recipe.to_dict()
        shared.pop("require")
        self.recipe = {**shared, **known, "arm": name, "data": population.digest()[:16], "seed": seed}

    def _untrained(self) -> Epoch:
        return self._record(Epoch(epoch=0, loss=None, kl=None, val_bits=0, val_r_squared=0, seconds=0))

    def _epoch(self, number: int) -> Epoch:
        settings, began, skipped = self.settings, perf_counter(), 0
        for group in self.adam.param_groups:
            group["lr"] = settings.lr * group["factor"] * (1 - (number - 1) / settings.epochs)
        weight, rows = settings.beta * min(1.0, number / max(1, settings.ramp)), []
        for which in torch.randperm(self.counts["train"].shape[1]).split(settings.batch):
            loss, kl = self.losses(self.counts["train"][:, which])
            rows.append((loss.item(), kl.item()))
            if not all(map(isfinite, rows[-1])):
                raise Diverged(f"the loss is {sum(rows[-1])} in epoch {number} of {self.name} (seed {self.seed})",
                               hint="lower --lr or --neuron-lr")  # fmt: skip
            skipped += not self._update(loss + weight * kl)
        loss, kl = np.mean(rows, 0).tolist()
        seconds = perf_counter() - began
        return self._record(
            Epoch(epoch=number, loss=loss, kl=kl, val_bits=0, val_r_squared=0, seconds=seconds, skipped=skipped)
        )

    def losses(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the counts under coordinated dropout, and the divergence; means over the trials, in nats."""
        seen, keep = counts[..., : self.population.seen], self.settings.keep
        if keep == 1:
            found = self.network(seen)
            return poisson_loss(found, counts).mean(), found.kl.mean()
        shown = (torch.rand_like(seen) < keep).to(seen.dtype)
        found = self.network(seen * shown / keep)
        weight = torch.ones_like(counts)
        weight[..., : self.population.seen] = (1 - shown) / (1 - keep)
        return poisson_loss(found, counts, weight).mean(), found.kl.mean()

    def _update(self, loss: Tensor) -> bool:
        """One step of Adam, or none where the gradient overflows."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        done = isfinite(float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)))
        if done:
            self.adam.step()
            for module in self.network.modules():
                if isinstance(module, NeuronLayer):
                    module.project()
        return done

    def _record(self, epoch: Epoch) -> Epoch:
        """Add an epoch with its validation figures, and keep the parameters of the best."""
        rates, seen = self.rates("val"), self.population.seen
        val = self.population.val
        bits = bits_per_spike(rates[..., seen:], val.spikes[..., seen:], self.mean[seen:])
        found = {"val_bits": bits, "val_r_squared": r_squared(rates, val.rates)}
        self.epochs.append(Epoch(**{**asdict(epoch), **found}))
        if pick(self.epochs) == epoch.epoch:
            self.best = {k: v.clone() for k, v in self.network.state_dict().items()}
        return self.epochs[-1]

    @torch.no_grad()
    def rates(self, part: str) -> np.ndarray:
        """Posterior means of all rates (n, T, N) in spikes a bin, from the counts of the seen neurons."""
        x = self.counts[part][..., : self.population.seen]
        drawn = []
        for _ in range(self.settings.samples):
            found = self.network(x)
            drawn.append(found.log_mean.exp())
            if found.log_mean is not found.log_rate:
                break  # expectations are exact
        return torch.stack(drawn).mean(0).movedim(1, 0).numpy()

    def _content(self) -> bytes:
        target = BytesIO()
        content = {"network": self.network.state_dict(), "best": self.best, "adam": self.adam.state_dict(),
                   "random": torch.get_rng_state(), "epochs": [asdict(e) for e in self.epochs]}  # fmt: skip
        torch.save(content, target)
        return target.getvalue()

    def _restore(self, content: bytes) -> None:
        found = torch.load(BytesIO(content), weights_only=True)
        self.network.load_state_dict(found["network"])
        self.adam.load_state_dict(found["adam"])
        self.best, self.epochs = found["best"], [Epoch(**e) for e in found["epochs"]]
        torch.set_rng_state(found["random"])

    def _result(self) -> Arm:
        """Figures belong to the picked epoch, so its parameters are put back."""
        self.network.load_state_dict(self.best)
        torch.manual_seed(self.seed)  # a resumed run draws the samples that a whole one draws
        rates = self.rates("test")
        return Arm(
            name=self.name, seed=self.seed, scores=scores_of(rates, self.population), parameters=count(self.network),
            seconds=sum(e.seconds for e in self.epochs), rates=rates[KEPT], features=self._features(),
            epochs=tuple(self.epochs), picked=pick(self.epochs),
        )  # fmt: skip

    @torch.no_grad()
    def _features(self) -> np.ndarray:
        """Features of the latent on the first test trials: means, or one sample."""
        x = self.counts["test"][:, KEPT, : self.population.seen]
        return self.network.path(x).features.movedim(1, 0).numpy()


def scores_of(rates: np.ndarray, population: Population) -> Scores:
    test, seen = population.test, population.seen
    mean = population.train.spikes.mean((0, 1))
    return Scores(
        r_squared=r_squared(rates, test.rates),
        r_squared_seen=r_squared(rates[..., :seen], test.rates[..., :seen]),
        r_squared_held=r_squared(rates[..., seen:], test.rates[..., seen:]),
        bits=bits_per_spike(rates[..., seen:], test.spikes[..., seen:], mean[seen:]),
    )


def _counts(part: Part) -> Tensor:
    """(T, n, N)."""
    return torch.from_numpy(np.ascontiguousarray(part.spikes.swapaxes(0, 1)))


def _groups(network: Network, factor: float) -> list[dict[str, Any]]:
    """The neuron's own parameters learn at another rate."""
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    of_neurons = [p for n, p in named if "parameters_of_neuron" in n]
    others = [p for n, p in named if "parameters_of_neuron" not in n]
    rows = [{"params": others, "factor": 1.0}, {"params": of_neurons, "factor": factor}]
    return [row for row in rows if row["params"]]
