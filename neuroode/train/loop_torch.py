"""Training of one seed: Adam, linear decay, evaluation and a checkpoint each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroode._errors import RunError
from neuroode.train import checkpoint_torch as checkpoint
from neuroode.train import shape
from neuroode.train.loss_torch import correct, loss, predict, terms
from neuroode.train.network_torch import Network
from neuroode.train.options import Settings
from neuroode.train.results import Epoch, Raster, Resonators, SeedResult, pick
from neuroode.train.tasks import Task

EVALUATE = 64  # sequences at a time: the arrays of more of them leave the caches


class Data:
    """Sequences x (T, n, C), labels y (n,) or (n, T): a batch is one gather each."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1)))
        self.y = torch.from_numpy(y)

    def __len__(self) -> int:
        return self.x.shape[1]

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for which in order.split(size):
            yield self.x.index_select(1, which), self.y[which]


class Trainer:
    """The network of one seed, its optimiser, and the order in which it sees the data.

    Args:
        task: the data.
        neuron: the declaration of the hidden layer.
        leaky: the declaration of the readout's integrator.
        settings: the recipe.
        seed: of initial values and of the order of the data.
    """

    def __init__(self, task: Task, neuron: Any, leaky: Any, settings: Settings, seed: int) -> None:
        self.task, self.neuron, self.settings, self.seed = task, neuron, settings, seed
        torch.manual_seed(seed)
        self.network = Network(neuron, leaky, task.channels, task.classes, settings)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, lr=settings.lr, fused=True)
        self.order = torch.Generator().manual_seed(seed)
        self.train = Data(task.train_x, task.train_y)
        self.test = Data(task.test_x, task.test_y)
        self.val = Data(task.val_x, task.val_y) if task.val_x is not None and task.val_y is not None else None
        self.network.scale_input(settings.gain, self.train.x[:, : settings.batch])
        self.start = self._resonators()
        self.epochs: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.skipped = 0  # updates of this epoch whose gradient was not finite

    def run(self, tell: Callable[[Epoch], None], path: Path | None = None, resume: bool = False) -> SeedResult:
        """Train to the last epoch.

        Args:
            tell: called with each epoch's figures.
            path: where the checkpoint is kept; None: nowhere.
            resume: go on from that file, if it is there.

        Raises:
            RunError: a loss that is not finite, or a checkpoint of another recipe.
        """
        if resume and path is not None and path.exists():
            self._restore(checkpoint.read(path, self._recipe()))
        while len(self.epochs) <= self.settings.epochs:
            tell(self._epoch(len(self.epochs)))
            if path is not None:
                checkpoint.save(path, self._state())
        return self._result()

    def _epoch(self, number: int) -> Epoch:
        """Epoch 0 only evaluates."""
        began = perf_counter()
        lr, train_loss = self._train(number) if number else (None, None)
        seconds = perf_counter() - began
        val = self.evaluate(self.val) if self.val else (None, None, None)
        test = self.evaluate(self.test)
        record = Epoch(
            epoch=number,
            lr=lr,
            train_loss=train_loss,
            val_loss=val[0],
            val_accuracy=val[1],
            test_loss=test[0],
            test_accuracy=test[1],
            rate=test[2],
            seconds=seconds,
            skipped=self.skipped,
        )
        self.epochs.append(record)
        if pick(self.epochs) == number:
            self.best = {k: v.clone() for k, v in self.network.state_dict().items()}
        return record

    def _train(self, number: int) -> tuple[float, float]:
        """One pass over the training set: its learning rate and its mean loss per step."""
        settings, total, self.skipped = self.settings, 0.0, 0
        lr = settings.lr * (1 - (number - 1) / settings.epochs) if settings.decay else settings.lr
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.network.train()
        order = torch.randperm(len(self.train), generator=self.order)
        for i, (x, y) in enumerate(self.train.batches(order, settings.batch)):
            total += self.step(x, y, f"epoch {number}, batch {i + 1}") * x.shape[1]
        if self.skipped == i + 1:
            hint = "a smaller --lr, --no-recurrent, or another initial value (--set NAME=EXPR)"
            raise RunError(f"no update of epoch {number} had a finite gradient (seed {self.seed})", hint=hint)
        return lr, total / len(self.train) / terms(settings, self.task.steps)

    def step(self, x: Tensor, y: Tensor, where: str = "") -> float:
        """One update, or none where the gradient overflows; returns the loss."""
        self.adam.zero_grad(set_to_none=True)
        value = loss(self.network(x), y, self.settings)
        if not isfinite(figure := value.item()):
            hint = "lower --lr, or set clip in the settings; a neuron may also diverge at its initial values"
            raise RunError(f"the loss is {figure} in {where} (seed {self.seed})", hint=hint)
        value.backward()
        if self._clip():
            self.adam.step()
            self.network.project()
        else:
            self.skipped += 1
        return figure

    def _clip(self) -> bool:
        """Whether the clipped gradient can be used: over many steps it may overflow where the loss is still finite."""
        if self.settings.clip is None:
            return True
        return isfinite(float(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)))

    @torch.no_grad()
    def evaluate(self, data: Data) -> tuple[float, float, float | None]:
        """Loss per step, accuracy in per cent, and spikes per neuron and step."""
        self.network.eval()
        total, right, fired = 0.0, 0.0, 0.0
        for x, y in data.batches(torch.arange(len(data)), EVALUATE):
            out, hidden = self.network.both(x)
            total += loss(out, y, self.settings).item() * x.shape[1]
            right += correct(out, y, self.settings)
            fired += float(hidden.mean()) * x.shape[1]
        if not isfinite(total):
            raise RunError(f"the evaluation after epoch {len(self.epochs)} is not finite (seed {self.seed})")
        n = len(data)
        rate = fired / n if shape.spiking(self.neuron.spec) else None
        return total / n / terms(self.settings, self.task.steps), 100 * right / n, rate

    def _recipe(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        recipe = self.settings.to_dict()
        recipe.pop("require")
        return {**recipe, "task": self.task.name, "neuron": self.neuron.spec.name, "seed": self.seed}

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": self._recipe(),
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
            "order": self.order.get_state(),
            "torch": torch.get_rng_state(),
            "epochs": [asdict(e) for e in self.epochs],
            "best": self.best,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["torch"])
        self.epochs = [Epoch(**e) for e in state["epochs"]]
        self.best = state["best"]

    def _result(self) -> SeedResult:
        """Figures and pictures belong to the picked epoch, so its parameters are put back."""
        self.network.load_state_dict(self.best)
        return SeedResult(
            seed=self.seed,
            epochs=tuple(self.epochs),
            picked=pick(self.epochs),
            parameters=self.network.count(),
            seconds=sum(e.seconds for e in self.epochs),
            raster=self._raster(),
            resonators=self._resonators(),
        )

    @torch.no_grad()
    def _raster(self, sample: int = 0) -> Raster:
        x, y = next(self.test.batches(torch.tensor([sample]), 1))
        out, hidden = self.network.both(x)
        return Raster(
            sample=sample,
            label=y[0].numpy(),
            prediction=predict(out, y.ndim, self.settings)[0].numpy(),
            spiking=shape.spiking(self.neuron.spec),
            input=x[:, 0].numpy(),
            output=hidden[:, 0].numpy(),
        )

    def _resonators(self) -> Resonators | None:
        """The frequencies and dampings now, beside those at the start."""
        spec, layer = self.neuron.spec, self.network.hidden
        if not shape.resonator(spec):
            return None
        values = [np.atleast_1d(layer.values[name].detach().double().numpy()) for name in ("omega", "b_0")]
        omega, b_0 = (v.ravel().copy() for v in np.broadcast_arrays(*values))
        dt = self.neuron.step_length(self.settings.dt)
        b = shape.damping(spec, omega, b_0, dt)
        start = getattr(self, "start", None)
        first = (start.omega, start.b) if start else (omega, b)
        return Resonators(dt=dt, omega_start=first[0], b_start=first[1], omega=omega, b=b)
