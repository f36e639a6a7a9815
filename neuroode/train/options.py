"""The recipe of a run: recommended settings per task and neuron (`settings/*.yaml`), overridden by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from neuroode._errors import RunError

LOSSES = ("every_step", "last_step", "mean_output")
READOUTS = ("li", "linear")
NETS = ("dense", "conv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One recipe.

    Args:
        lr: learning rate of Adam in the first epoch.
        decay: whether it falls linearly to 0 over the epochs.
        clip: largest norm of the gradient; None: no clipping.
        neuron_lr: factor on the learning rate of the neurons' own parameters.
        net: dense (one hidden layer, images pixel by pixel) or conv (images whole, network_conv_torch.py).
        steps: with conv, for how long an image is shown.
        size: neurons of the hidden layer; with conv, channels of the first convolution.
        loss: where the outputs are read: every_step (summed over time), last_step, or mean_output (their mean over
            time). Classes have the negative log-likelihood, numbers the squared error.
        skip: steps at the start that no loss and no prediction reads.
        readout: li (a leaky integrator a class) or linear.
        gain: factor on the initial input weights, with conv on the normalised input of each layer; None: a power of
            two at which the neurons are neither silent nor saturated on the first sequences.
        bias: of both linear maps.
        tau_out: initial time constants of the leaky readout, in steps.
        recurrent: None: where the neuron spikes and reads no whole sequence.
        dt: None: the model's own.
        reset_gradient: through or detached; None: the model's own.
        init: expressions that replace initial values of the neuron's parameters.
        require: test score in per cent that every seed must reach.
    """

    epochs: int = 20
    batch: int = 32
    lr: float = 0.01
    decay: bool = True
    clip: float | None = 1.0
    neuron_lr: float = 1.0
    net: str = "dense"
    steps: int = 4
    size: int = 64
    loss: str = "mean_output"
    skip: int = 0
    readout: str = "li"
    gain: float | None = None
    bias: bool = True
    tau_out: str = "normal(20, 5)"
    recurrent: bool | None = None
    dt: float | None = None
    reset_gradient: str | None = None
    init: Mapping[str, str] = field(default_factory=dict)
    require: float | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "size", "steps"):
            _check_whole(name, getattr(self, name), 1)
        for name in ("epochs", "skip"):
            _check_whole(name, getattr(self, name), 0)
        _check_positive("lr", self.lr)
        _check_positive("neuron_lr", self.neuron_lr)
        for name in ("gain", "clip", "dt", "require"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))
        _check_choice("loss", self.loss, LOSSES)
        _check_choice("readout", self.readout, READOUTS)
        _check_choice("net", self.net, NETS)
        if self.net == "conv" and self.recurrent:
            raise RunError("the convolutional network has no recurrent weights", hint="leave out --recurrent")

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for reports and checkpoints."""
        return asdict(self)


def recommended(task: str, neuron: str, net: str | None = None) -> Settings:
    """What the task's file says about this neuron, or its default.

    Args:
        net: the network that is asked for; where the neuron's own recipe has the other one, that network's default.

    Raises:
        RunError: `conv` on a task that has no recipe for it, because it has no images.
    """
    table = _table(task)
    found = table.get(neuron, table["default"])
    if net is not None and net != found.get("net", "dense"):
        _check_choice("net", net, NETS)
        found = table.get("default" if net == "dense" else net)
        if found is None or found.get("net", "dense") != net:
            raise RunError(f"task '{task}' has no recipe for net {net}", hint="leave out --net")
    return _build(found, f"settings of {task} for {neuron}")


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Change what is not None. `init` is merged; a required accuracy belongs to the recipe and goes with it."""
    given = {name: value for name, value in changes.items() if value is not None and value != {}}
    _check_names(given, "the settings")
    if "init" in given:
        given["init"] = {**settings.init, **given["init"]}
    return replace(settings, **{"require": None, **given}) if given else settings


@cache
def _table(task: str) -> dict[str, Any]:
    text = files(__package__).joinpath("settings", f"{task}.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def _build(values: Mapping[str, Any], where: str) -> Settings:
    _check_names(values, where)
    return Settings(**values)


def _check_names(values: Mapping[str, Any], where: str) -> None:
    known = [f.name for f in fields(Settings)]
    for name in values:
        if name not in known:
            raise RunError(f"unknown name '{name}' in {where}", hint=f"the names are {', '.join(known)}")


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RunError(f"{name} is {value!r}, not a whole number of at least {least}")


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise RunError(f"{name} is {value!r}, not a positive number")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RunError(f"{name} is {value!r}", hint=f"one of {', '.join(choices)}")
