"""Training of one seed: Adam, linear decay, evaluation and a checkpoint each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from neuroode._errors import RunError
from neuroode.train import checkpoint, shape
from neuroode.train.data_torch import Data
from neuroode.train.loss_torch import measure, predict
from neuroode.train.network_torch import Network
from neuroode.train.options import Settings
from neuroode.train.plan import recipe
from neuroode.train.results import Epoch, Raster, Resonators, SeedResult, Trained, pick
from neuroode.train.tally import Tally
from neuroode.train.tasks import Task

EVALUATE = 64  # sequences at a time: the arrays of more of them leave the caches


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
        self.network = Network(neuron, leaky, task.channels, task.outputs, settings)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, lr=settings.lr, fused=True)
        self.order = torch.Generator().manual_seed(seed)
        self.train = Data(task.train_x, task.train_y)
        self.test = Data(task.test_x, task.test_y)
        self.val = Data(task.val_x, task.val_y)
        self.network.scale_input(settings.gain, self.train.x[:, : settings.batch])
        self.start = self.network.values()
        self.recipe = recipe(neuron, task, settings, seed, "torch")
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
        if path is not None:
            self._begin(path, resume)
        while len(self.epochs) <= self.settings.epochs:
            tell(self._epoch(len(self.epochs)))
            if path is not None:
                checkpoint.save(path, self.recipe, len(self.epochs) - 1, self._state())
        return self._result()

    def _begin(self, path: Path, resume: bool) -> None:
        if not resume:
            checkpoint.clear(path)
        elif (found := checkpoint.read(path, self.recipe)) is not None:
            self._restore(found.content)

    def _epoch(self, number: int) -> Epoch:
        """Epoch 0 only evaluates."""
        began = perf_counter()
        lr, train = self._train(number) if number else (None, None)
        seconds = perf_counter() - began
        val = self.evaluate(self.val)
        record = Epoch(
            epoch=number,
            lr=lr,
            train_loss=train.loss if train else None,
            train_score=train.score if train else None,
            val_loss=val.loss,
            val_score=val.score,
            rate=self._rate(val),
            seconds=seconds,
            skipped=self.skipped,
        )
        self.epochs.append(record)
        if pick(self.epochs) == number:
            self.best = {k: v.clone() for k, v in self.network.state_dict().items()}
        return record

    def _rate(self, tally: Tally) -> float | None:
        return tally.rate if shape.spiking(self.neuron.spec) else None

    def _train(self, number: int) -> tuple[float, Tally]:
        """One pass over the training set: its learning rate and its figures."""
        settings, tally, self.skipped = self.settings, self.tally(self.train), 0
        lr = settings.lr * (1 - (number - 1) / settings.epochs) if settings.decay else settings.lr
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.network.train()
        order = torch.randperm(len(self.train), generator=self.order)
        for i, (x, y) in enumerate(self.train.batches(order, settings.batch)):
            tally.add(x.shape[1], *self.step(x, y, f"epoch {number}, batch {i + 1}"))
        if self.skipped == i + 1:
            hint = "a smaller --lr, --no-recurrent, or another initial value (--set NAME=EXPR)"
            raise RunError(f"no update of epoch {number} had a finite gradient (seed {self.seed})", hint=hint)
        return lr, tally

    def tally(self, data: Data) -> Tally:
        return Tally(self.task, self.settings, data.targets)

    def step(self, x: Tensor, y: Tensor, where: str = "") -> tuple[float, float]:
        """One update, or none where the gradient overflows; returns the figures of `measure`."""
        self.adam.zero_grad(set_to_none=True)
        value, amount = measure(self.network(x), y, self.settings)
        if not isfinite(figure := value.item()):
            hint = "lower --lr, or set clip in the settings; a neuron may also diverge at its initial values"
            raise RunError(f"the loss is {figure} in {where} (seed {self.seed})", hint=hint)
        value.backward()
        if self._clip():
            self.adam.step()
            self.network.project()
        else:
            self.skipped += 1
        return figure, amount

    def _clip(self) -> bool:
        """Whether the clipped gradient can be used: over many steps it may overflow where the loss is still finite."""
        if self.settings.clip is None:
            return True
        return isfinite(float(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)))

    @torch.no_grad()
    def evaluate(self, data: Data) -> Tally:
        """The figures of a part of the task."""
        self.network.eval()
        tally = self.tally(data)
        for x, y in data.batches(torch.arange(len(data)), EVALUATE):
            out, hidden = self.network.both(x)
            value, amount = measure(out, y, self.settings)
            tally.add(x.shape[1], value.item(), amount, float(hidden.mean()))
        if not isfinite(tally.total):
            raise RunError(f"the evaluation after epoch {len(self.epochs)} is not finite (seed {self.seed})")
        return tally

    def _state(self) -> bytes:
        target = BytesIO()
        content = {
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
            "order": self.order.get_state(),
            "torch": torch.get_rng_state(),
            "epochs": [asdict(e) for e in self.epochs],
            "best": self.best,
        }
        torch.save(content, target)
        return target.getvalue()

    def _restore(self, content: bytes) -> None:
        """Only tensors and plain data are unpickled."""
        state: dict[str, Any] = torch.load(BytesIO(content), weights_only=True)
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["torch"])
        self.epochs = [Epoch(**e) for e in state["epochs"]]
        self.best = state["best"]

    def _result(self) -> SeedResult:
        """Figures and pictures belong to the picked epoch, so its parameters are put back."""
        self.network.load_state_dict(self.best)
        test = self.evaluate(self.test)
        end = self.network.values()
        return SeedResult(
            seed=self.seed,
            epochs=tuple(self.epochs),
            picked=pick(self.epochs),
            parameters=self.network.count(),
            test_loss=test.loss,
            test_score=test.score,
            test_rate=self._rate(test),
            seconds=sum(e.seconds for e in self.epochs),
            raster=self._raster(),
            trained=tuple(Trained(name=name, start=self.start[name], end=end[name]) for name in end),
            resonators=self._resonators(),
        )

    @torch.no_grad()
    def _raster(self, sample: int = 0) -> Raster:
        x, y = next(self.test.batches(torch.tensor([sample]), 1))
        out, hidden = self.network.both(x)
        return Raster(
            sample=sample,
            target=(y[0, self.settings.skip :] if y.ndim == 2 else y[0]).numpy(),
            prediction=predict(out, y, self.settings)[0].numpy(),
            spiking=shape.spiking(self.neuron.spec),
            input=x[:, 0].numpy(),
            output=hidden[:, 0].numpy(),
        )

    def _resonators(self) -> Resonators | None:
        spec = self.neuron.spec
        if not shape.resonator(spec):
            return None
        now = {name: self.network.hidden.values[name].detach().double().numpy() for name in ("omega", "b_0")}
        dt = self.neuron.step_length(self.settings.dt)
        return shape.resonators(spec, dt, now | {name: self.start[name] for name in now if name in self.start}, now)
