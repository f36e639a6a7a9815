"""What a caller asks for, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from neuroode._errors import RunError, Unsupported
from neuroode.train import tasks
from neuroode.train.options import Settings, override, recommended
from neuroode.train.results import SeedResult
from neuroode.train.shape import check
from neuroode.train.tasks import Task

#: framework -> the module whose `train_seed(plan, quiet, seed)` trains one seed
BACKENDS = {"torch": "neuroode.train.worker_torch", "jax": "neuroode.train.worker_jax"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to train.

    Args:
        task: a name in `tasks.LOADERS`.
        neuron: a zoo name or a path to a YAML file.
        data: the folder with the files of `ecg`, or with the whole MNIST for `smnist`, Fashion-MNIST for `fashion`.
        backend: the framework that trains, a name in `BACKENDS`.
        changes: settings that differ from the recommended ones.
        threads: of one seed; None: torch's own number for big batches, 1 for small ones and for seeds side by side.
        jobs: seeds that run at the same time, each in its process.
        out: the folder of the report and the checkpoints; None: neither is written.
        resume: go on from the checkpoints in `out`.
    """

    task: str
    neuron: str
    compat: str | None = None
    data: str | None = None
    backend: str = "torch"
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    threads: int | None = None
    jobs: int = 1
    out: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise RunError(f"backend is '{self.backend}'", hint=f"one of {', '.join(BACKENDS)}")
        for name in ("jobs", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise RunError(f"{name} is {value}, not a whole number of at least 1")
        if (
            not self.seeds
            or len(set(self.seeds)) != len(self.seeds)
            or not 0 <= min(self.seeds) <= max(self.seeds) < 2**63
        ):
            raise RunError(f"seeds are {list(self.seeds)}, not different whole numbers from 0")
        if self.resume and self.out is None:
            raise RunError("resume needs the folder of the checkpoints", hint="--out DIR")

    @property
    def side_by_side(self) -> bool:
        return min(self.jobs, len(self.seeds)) > 1

    def checkpoint(self, seed: int) -> Path | None:
        return None if self.out is None else self.out / "checkpoints" / f"seed{seed}.ckpt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All seeds of a plan. `wall` is the time from the first seed's start to the last one's end."""

    plan: Plan
    neuron: Any
    settings: Settings
    task: Task
    results: tuple[SeedResult, ...]
    wall: float

    @property
    def failed(self) -> tuple[SeedResult, ...]:
        """Seeds below the required test score, where the recipe requires one."""
        least = self.settings.require
        return () if least is None else tuple(r for r in self.results if r.test_score < least)


def recipe(neuron: Any, task: Task, settings: Settings, seed: int, backend: str) -> dict[str, Any]:
    """What a checkpoint must agree on: all that the result depends on. Plain data."""
    known = settings.to_dict()
    known.pop("require")
    model = sha256(neuron.to_yaml().encode()).hexdigest()[:16]
    found = {"task": task.name, "data": task.digest()[:16], "neuron": neuron.spec.name, "model": model}
    return {**known, **found, "seed": seed, "backend": backend}


def prepare(plan: Plan) -> tuple[Any, Settings]:
    """The declaration and the recipe, checked before anything is trained."""
    from neuroode.neuron import load

    if plan.task not in tasks.LOADERS:
        known = ", ".join((*tasks.LOADERS, *tasks.POPULATIONS))
        raise RunError(f"unknown task '{plan.task}'", hint=f"the tasks are {known}")
    neuron = load(plan.neuron, compat=plan.compat)
    check(neuron.spec)
    settings = override(recommended(plan.task, neuron.spec.name, plan.changes.get("net")), plan.changes)
    _check_fit(plan, settings)
    return neuron, settings


def _check_fit(plan: Plan, settings: Settings) -> None:
    """Raise where a setting would have no effect."""
    if plan.backend != "torch" and settings.net == "conv":
        raise Unsupported(f"the convolutional network is not there for {plan.backend}", hint="--net dense, or torch")
    if plan.backend != "torch" and settings.neuron_lr != 1:
        raise Unsupported(f"neuron_lr is not there for {plan.backend}", hint="leave out --neuron-lr, or take torch")
    if settings.net != "conv" and plan.changes.get("steps") is not None:
        raise RunError("steps are those of an image that is shown whole", hint="--net conv, or leave out --steps")


def load_task(plan: Plan, settings: Settings, seed: int) -> Task:
    """The data as the network reads them: sequences, or whole images for convolutions."""
    task = tasks.load(plan.task, plan.data, seed)
    return tasks.whole_images(task, settings.steps) if settings.net == "conv" else task
