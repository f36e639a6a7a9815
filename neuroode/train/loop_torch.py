"""Training of one seed: pytorch-lightning runs the epochs, each ends with a checkpoint, the picked one is tested."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytorch_lightning
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import CheckpointIO

from neuroode.train import checkpoint, shape
from neuroode.train.data_torch import Data
from neuroode.train.loss_torch import predict
from neuroode.train.module_torch import Training
from neuroode.train.options import Settings
from neuroode.train.plan import recipe
from neuroode.train.results import Epoch, Raster, Resonators, SeedResult, Trained, pick
from neuroode.train.tasks import Task

Tell = Callable[[Epoch], None]
Warn = Callable[[str], None]


class Run:
    """One seed of a recipe; the arguments are those of `Training`."""

    def __init__(self, task: Task, neuron: Any, leaky: Any, settings: Settings, seed: int) -> None:
        self.neuron, self.settings, self.seed = neuron, settings, seed
        self.module = Training(task, neuron, leaky, settings, seed)
        self.network = self.module.network
        self.test_data = Data(task.test_x, task.test_y)
        self.start = self.network.values()
        self.recipe = recipe(neuron, task, settings, seed, "torch")

    def train(self, tell: Tell, path: Path | None = None, resume: bool = False, warn: Warn = print) -> SeedResult:
        """Train to the last epoch.

        Args:
            tell: called with each epoch's figures, when its checkpoint is written.
            path: where the checkpoint is kept; None: nowhere.
            resume: go on from that file, if it is there.
            warn: called with a line about a damaged checkpoint.

        Raises:
            RunError: a loss that is not finite, or a checkpoint of another recipe.
        """
        found = None if path is None else checkpoint.begin(path, self.recipe, resume, warn)
        if found is None:
            tell(self.module.record())
        self._fit(tell, path, found)
        return self._result()

    def _fit(self, tell: Tell, path: Path | None, found: checkpoint.Found | None) -> None:
        files = _Files(self.recipe, found)
        with _quiet():
            trainer = pytorch_lightning.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=self.settings.epochs,
                plugins=[files, LightningEnvironment()],
                default_root_dir=path.parent if path else None,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )

            def after_epoch(epoch: Epoch) -> None:
                if path is not None:
                    trainer.save_checkpoint(path)
                tell(epoch)

            self.module.after_epoch = after_epoch
            with _interruptible():
                trainer.fit(self.module, ckpt_path=path if found else None)

    def _result(self) -> SeedResult:
        """Figures and pictures belong to the picked epoch, so its parameters are put back."""
        module, network = self.module, self.network
        network.load_state_dict(module.best)
        test = module.evaluate(self.test_data)
        end = network.values()
        return SeedResult(
            seed=self.seed,
            epochs=tuple(module.epochs),
            picked=pick(module.epochs),
            parameters=network.count(),
            test_loss=test.loss,
            test_score=test.score,
            test_rate=module.rate(test),
            seconds=sum(e.seconds for e in module.epochs),
            raster=self._raster(),
            trained=tuple(Trained(name=name, start=self.start[name], end=end[name]) for name in end),
            resonators=self._resonators(),
        )

    @torch.no_grad()
    def _raster(self, sample: int = 0) -> Raster:
        x, y = next(self.test_data.batches(torch.tensor([sample]), 1))
        self.network.eval()
        out, hidden = self.network.both(x)
        return Raster(
            sample=sample,
            target=(y[0, self.settings.skip :] if y.ndim == 2 else y[0]).numpy(),
            prediction=predict(out, y, self.settings)[0].numpy(),
            spiking=self.module.spiking,
            input=x[:, 0].numpy(),
            output=hidden[:, 0].numpy(),
        )

    def _resonators(self) -> Resonators | None:
        spec = self.neuron.spec
        if self.settings.net == "conv" or not shape.resonator(spec):
            return None
        now = {name: self.network.hidden.values[name].detach().double().numpy() for name in ("omega", "b_0")}
        dt = self.neuron.step_length(self.settings.dt)
        return shape.resonators(spec, dt, now | {name: self.start[name] for name in now if name in self.start}, now)


class _Files(CheckpointIO):
    """The trainer's checkpoints in our files: atomic, with a digest, the one before kept."""

    def __init__(self, recipe: dict[str, Any], found: checkpoint.Found | None) -> None:
        self.recipe, self.found = recipe, found

    def save_checkpoint(self, checkpoint_: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        target = BytesIO()
        torch.save(checkpoint_, target)
        checkpoint.save(Path(path), self.recipe, len(checkpoint_["epochs"]) - 1, target.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """What was read and checked before. Only tensors and plain data are unpickled."""
        assert self.found is not None
        content: dict[str, Any] = torch.load(BytesIO(self.found.content), weights_only=True)
        return content

    def remove_checkpoint(self, path: Any) -> None:
        checkpoint.clear(Path(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """What the trainer says of itself (devices, hints, the end of the last epoch) is no news to ours."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for module in ("pytorch_lightning", "lightning_fabric"):
                warnings.filterwarnings("ignore", module=module)
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """The trainer answers Ctrl-C with an exit status of 1 and with deaf ears to the next one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
