"""Training of one seed in jax: Adam of optax, one compiled update, a checkpoint after each epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from io import BytesIO
from math import isfinite
from time import perf_counter
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuroode._errors import RunError
from neuroode.train import shape
from neuroode.train.epochs import EpochByEpoch
from neuroode.train.loss_jax import measure, predict
from neuroode.train.network_jax import Network, build, scaled
from neuroode.train.options import Settings
from neuroode.train.plan import recipe
from neuroode.train.results import Epoch, Raster, Resonators, SeedResult, Trained, pick
from neuroode.train.tally import Tally
from neuroode.train.tasks import Task

EVALUATE = 64  # sequences at a time
Array = jax.Array
ADAM = optax.scale_by_adam()


class Data:
    """A part of a task on the device: sequences x (T, n, C), targets y (n,) or (n, T)."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = jnp.asarray(np.ascontiguousarray(x.swapaxes(0, 1)))
        self.y = jnp.asarray(y.astype(np.float32 if y.dtype.kind == "f" else np.int32))
        self.targets = y

    def __len__(self) -> int:
        return self.x.shape[1]


class Recipe:
    """Settings as static data of a compiled function: equal content is equal."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.text = settings, json.dumps(settings.to_dict(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@partial(jax.jit, static_argnums=0)
def update(
    known: Recipe, network: Network, adam: Any, lr: Array, x: Array, y: Array, which: Array, seed: Any = 0
) -> tuple:
    """One update, or none where the gradient overflows: (network, adam, loss, right predictions, whether it was)."""
    x, y, settings = jnp.take(x, which, axis=1), jnp.take(y, which, axis=0), known.settings

    noise = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), adam.count)  # of this run and update

    def loss(network: Network) -> tuple[Array, Array]:
        return measure(network(x, noise), y, settings)

    (value, amount), slopes = jax.value_and_grad(loss, has_aux=True)(network)
    done = jnp.asarray(True)
    if settings.clip is not None:
        norm = optax.tree.norm(slopes)
        done = jnp.isfinite(norm)
        slopes = jax.tree.map(lambda g: g * jnp.minimum(1, settings.clip / (norm + 1e-6)), slopes)
    moves, moments = ADAM.update(slopes, adam)
    moved = jax.tree.map(lambda p, m: p - lr * m, network, moves).project()
    keep = partial(jax.tree.map, lambda new, old: jnp.where(done, new, old))
    return keep(moved, network), keep(moments, adam), value, amount, done


@partial(jax.jit, static_argnums=0)
def figures(known: Recipe, network: Network, x: Array, y: Array, which: Array) -> tuple[Array, Array, Array]:
    """Loss, right predictions and mean activity of a batch."""
    x, y = jnp.take(x, which, axis=1), jnp.take(y, which, axis=0)
    out, hidden = network.both(x)
    return *measure(out, y, known.settings), hidden.mean()


class Run(EpochByEpoch[Epoch, SeedResult]):
    """One seed of a recipe.

    Args:
        task: the data.
        neuron: the declaration of the hidden layer.
        leaky: the declaration of the readout's integrator.
        settings: the recipe.
        seed: of initial values and of the order of the data.
    """

    def __init__(self, task: Task, neuron: Any, leaky: Any, settings: Settings, seed: int) -> None:
        self.task, self.neuron, self.settings, self.seed = task, neuron, settings, seed
        self.known, self.spiking = Recipe(settings), shape.spiking(neuron.spec)
        self.data = {n: Data(getattr(task, f"{n}_x"), getattr(task, f"{n}_y")) for n in ("train", "val", "test")}
        network = build(neuron, leaky, task.channels, task.outputs, settings, jax.random.key(seed))
        self.network = scaled(network, settings.gain, self.data["train"].x[:, : settings.batch])
        self.best, self.adam = self.network, ADAM.init(self.network)
        self.start, self.epochs = self.network.values(), list[Epoch]()
        self.recipe = recipe(neuron, task, settings, seed, "jax")

    def _untrained(self) -> Epoch:
        return self._record()

    def _epoch(self, number: int) -> Epoch:
        """One pass over the training set, in an order that seed and number alone decide."""
        settings, data, began = self.settings, self.data["train"], perf_counter()
        lr = settings.lr * (1 - (number - 1) / settings.epochs) if settings.decay else settings.lr
        order = np.random.default_rng([self.seed, number]).permutation(len(data))
        tally, skipped, count = Tally(self.task, settings, data.targets), 0, 0
        for count, which in enumerate(batches(order, settings.batch), 1):
            self.network, self.adam, value, amount, done = update(
                self.known, self.network, self.adam, np.float32(lr), data.x, data.y, which, np.uint32(self.seed)
            )
            if not isfinite(figure := float(value)):
                hint = "lower --lr, or set clip in the settings; a neuron may also diverge at its initial values"
                raise RunError(f"the loss is {figure} in epoch {number}, batch {count} (seed {self.seed})", hint=hint)
            skipped += not done
            tally.add(len(which), figure, float(amount))
        if skipped == count:
            hint = "a smaller --lr, --no-recurrent, or another initial value (--set NAME=EXPR)"
            raise RunError(f"no update of epoch {number} had a finite gradient (seed {self.seed})", hint=hint)
        return self._record(lr, tally, perf_counter() - began, skipped)

    def _record(
        self, lr: float | None = None, tally: Tally | None = None, seconds: float = 0.0, skipped: int = 0
    ) -> Epoch:
        """Add an epoch to the history. The first is the untrained network."""
        val = self.evaluate("val")
        epoch = Epoch(
            epoch=len(self.epochs),
            lr=lr,
            train_loss=tally.loss if tally else None,
            train_score=tally.score if tally else None,
            val_loss=val.loss,
            val_score=val.score,
            rate=self._rate(val),
            seconds=seconds,
            skipped=skipped,
        )
        self.epochs.append(epoch)
        if pick(self.epochs) == epoch.epoch:
            self.best = self.network
        return epoch

    def evaluate(self, part: str, network: Network | None = None) -> Tally:
        """The figures of a part of the task: train, val or test."""
        data = self.data[part]
        tally = Tally(self.task, self.settings, data.targets)
        for which in batches(np.arange(len(data)), EVALUATE):
            found = figures(self.known, network or self.network, data.x, data.y, which)
            tally.add(len(which), *map(float, found))
        if not isfinite(tally.total):
            raise RunError(f"the evaluation after epoch {len(self.epochs)} is not finite (seed {self.seed})")
        return tally

    def _rate(self, tally: Tally) -> float | None:
        return tally.rate if self.spiking else None

    def _state(self) -> tuple[Any, ...]:
        return self.network, self.adam, self.best

    def _content(self) -> bytes:
        """Arrays in the order of the tree, and the history. No pickles."""
        target = BytesIO()
        history = np.frombuffer(json.dumps([asdict(e) for e in self.epochs]).encode(), np.uint8)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self._state())]
        np.savez(target, history, *leaves, allow_pickle=False)
        return target.getvalue()

    def _restore(self, content: bytes) -> None:
        rows = np.load(BytesIO(content), allow_pickle=False)
        history, *leaves = (rows[f"arr_{i}"] for i in range(len(rows.files)))
        self.epochs = [Epoch(**e) for e in json.loads(history.tobytes())]
        form = jax.tree.structure(self._state())
        self.network, self.adam, self.best = jax.tree.unflatten(form, [jnp.asarray(leaf) for leaf in leaves])

    def _result(self) -> SeedResult:
        """Figures and pictures belong to the picked epoch's parameters."""
        test, end = self.evaluate("test", self.best), self.best.values()
        return SeedResult(
            seed=self.seed,
            epochs=tuple(self.epochs),
            picked=pick(self.epochs),
            parameters=self.best.count(),
            test_loss=test.loss,
            test_score=test.score,
            test_rate=self._rate(test),
            seconds=sum(e.seconds for e in self.epochs),
            raster=self._raster(),
            trained=tuple(Trained(name=name, start=self.start[name], end=end[name]) for name in end),
            resonators=self._resonators(),
        )

    def _raster(self, sample: int = 0) -> Raster:
        data = self.data["test"]
        x, y = data.x[:, sample : sample + 1], data.y[sample : sample + 1]
        out, hidden = eqx.filter_jit(Network.both)(self.best, x)
        return Raster(
            sample=sample,
            target=np.asarray(y[0, self.settings.skip :] if y.ndim == 2 else y[0]),
            prediction=np.asarray(predict(out, y, self.settings)[0]),
            spiking=self.spiking,
            input=np.asarray(x[:, 0]),
            output=np.asarray(hidden[:, 0]),
        )

    def _resonators(self) -> Resonators | None:
        spec = self.neuron.spec
        if not shape.resonator(spec):
            return None
        now = {name: np.asarray(self.best.hidden.values[name], float) for name in ("omega", "b_0")}
        dt = self.neuron.step_length(self.settings.dt)
        return shape.resonators(spec, dt, now | {name: self.start[name] for name in now if name in self.start}, now)


def batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Indices of one batch after the other; the last one may be smaller."""
    return (order[i : i + size] for i in range(0, len(order), size))
