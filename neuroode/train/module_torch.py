"""The network of one seed as a module that a trainer of pytorch-lightning runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from neuroode.nn.finite_torch import watched
from neuroode.train import shape
from neuroode.train.data_torch import Batches, Data
from neuroode.train.loss_torch import measure
from neuroode.train.network_conv_torch import ConvNetwork
from neuroode.train.network_torch import Network
from neuroode.train.options import Settings
from neuroode.train.results import Diverged, Epoch, pick
from neuroode.train.tally import Tally
from neuroode.train.tasks import Task

EVALUATE = 64  # sequences at a time: the arrays of more of them leave the caches


class Training(LightningModule):
    """The network, its optimiser, the order in which it sees the data, and the history.

    Optimisation is manual: an update may be left out, and the trainer's closures would cost more than our step saves.

    Args:
        task: the data.
        neuron: the declaration of the hidden layer.
        leaky: the declaration of the readout's integrator.
        settings: the recipe.
        seed: of initial values and of the order of the data.
    """

    def __init__(self, task: Task, neuron: Any, leaky: Any, settings: Settings, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.task, self.settings, self.seed = task, settings, seed
        self.spiking = shape.spiking(neuron.spec)
        torch.manual_seed(seed)
        kind = ConvNetwork if settings.net == "conv" else Network
        self.network: Any = kind(neuron, leaky, task.channels, task.outputs, settings)
        self.trained = [p for p in self.network.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self._groups(), lr=settings.lr, fused=True)
        self.train_data = Data(task.train_x, task.train_y)
        self.val_data = Data(task.val_x, task.val_y)
        self.network.scale_input(settings.gain, self.train_data.x[:, : settings.batch])
        self.after_epoch: Callable[[Epoch], None] = lambda _: None
        self.epochs: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.random: Tensor | None = None  # torch's state to go on from
        self.skipped = 0  # updates of this epoch whose gradient was not finite
        self.tally = self._tally(self.train_data)
        self.lr, self.began = settings.lr, 0.0

    def _groups(self) -> list[dict[str, Any]]:
        """The neurons' own parameters may learn at another rate: few numbers see the gradients of a whole layer."""
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        of_neurons = [p for n, p in named if "parameters_of_neuron" in n]
        others = [p for n, p in named if "parameters_of_neuron" not in n]
        rows = [{"params": others, "factor": 1.0}, {"params": of_neurons, "factor": self.settings.neuron_lr}]
        return [row for row in rows if row["params"]]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.adam

    def train_dataloader(self) -> Batches:
        return Batches(self.train_data, self.settings.batch, self.seed)

    def on_train_start(self) -> None:
        if self.random is not None:
            torch.set_rng_state(self.random)

    def on_train_epoch_start(self) -> None:
        settings, self.began = self.settings, perf_counter()
        self.lr = settings.lr * (1 - self.current_epoch / settings.epochs) if settings.decay else settings.lr
        for group in self.adam.param_groups:
            group["lr"] = self.lr * group["factor"]
        self.skipped, self.tally = 0, self._tally(self.train_data)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        """One update, or none where the gradient overflows."""
        x, y = batch
        self.adam.zero_grad(set_to_none=True)
        lost: list[tuple[str, list[str]]] = []
        with watched(self.network, lambda *found: lost.append(found)) if number == 0 else nullcontext():
            value, amount = measure(self.network(x), y, self.settings)
        if not isfinite(figure := value.item()):
            where = f"epoch {self.current_epoch + 1}, batch {number + 1} (seed {self.seed})"
            hint = "lower --lr, or set clip in the settings; a neuron may also diverge at its initial values"
            raise Diverged(f"the loss is {figure} in {where}", hint=hint)
        if lost:
            self._lost(*lost[0])
        self.manual_backward(value)
        if self._clip():
            self.adam.step()
            self.network.project()
        else:
            self.skipped += 1
        self.tally.add(x.shape[1], figure, amount)

    def _lost(self, name: str, states: list[str]) -> None:
        where = f"epoch {self.current_epoch + 1}, batch 1 (seed {self.seed})"
        what = f"{', '.join(states)} of '{name}' is no number after {where}, though its output may be"
        raise Diverged(what, hint="take a smaller step, another method than euler or euler_maruyama, or a lower --lr")

    def _clip(self) -> bool:
        """Whether the clipped gradient can be used: over many steps it may overflow where the loss is still finite."""
        if self.settings.clip is None:
            return True
        return isfinite(float(torch.nn.utils.clip_grad_norm_(self.trained, self.settings.clip)))

    def on_train_epoch_end(self) -> None:
        seconds = perf_counter() - self.began
        if self.skipped == len(self.train_dataloader()):
            hint = "a smaller --lr, --no-recurrent, or another initial value (--set NAME=EXPR)"
            raise Diverged(f"no update of epoch {len(self.epochs)} had a finite gradient (seed {self.seed})", hint=hint)
        self.record(seconds)
        self.after_epoch(self.epochs[-1])

    def record(self, seconds: float = 0.0) -> Epoch:
        """Add an epoch to the history. The first is the untrained network."""
        tally, first = self.evaluate(self.val_data), not self.epochs
        found = Epoch(
            epoch=len(self.epochs),
            lr=None if first else self.lr,
            train_loss=None if first else self.tally.loss,
            train_score=None if first else self.tally.score,
            val_loss=tally.loss,
            val_score=tally.score,
            rate=self.rate(tally),
            seconds=seconds,
            skipped=self.skipped,
        )
        self.epochs.append(found)
        if pick(self.epochs) == found.epoch:
            self.best = {k: v.clone() for k, v in self.network.state_dict().items()}
        return found

    def rate(self, tally: Tally) -> float | None:
        """Spikes per neuron and step; None for graded neurons."""
        return tally.rate if self.spiking else None

    @torch.no_grad()
    def evaluate(self, data: Data) -> Tally:
        """The figures of a part of the task."""
        self.network.eval()
        tally = self._tally(data)
        for x, y in data.batches(torch.arange(len(data)), EVALUATE):
            out, hidden = self.network.both(x)
            value, amount = measure(out, y, self.settings)
            tally.add(x.shape[1], value.item(), amount, float(hidden.mean()))
        if not isfinite(tally.total):
            raise Diverged(f"the evaluation after epoch {len(self.epochs)} is not finite (seed {self.seed})")
        self.network.train()
        return tally

    def _tally(self, data: Data) -> Tally:
        return Tally(self.task, self.settings, data.targets)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {
            "epochs": [asdict(e) for e in self.epochs],
            "best": self.best,
            "random": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.epochs = [Epoch(**e) for e in checkpoint["epochs"]]
        self.best, self.random = checkpoint["best"], checkpoint["random"]
