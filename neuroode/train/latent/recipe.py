"""The recipe of a sequential autoencoder: recommended settings per neuron (`settings/lorenz.yaml`), overridden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from neuroode._errors import RunError

POSTERIORS = ("auto", "own", "noise", "free")
#: options of `neuroode train` that a sequential autoencoder has no use for -> why
NOT_HERE = {
    "net": "its network is an encoder, a latent and a readout",
    "steps": "its data are sequences already",
    "loss": "its loss is the evidence lower bound",
    "reset_gradient": "a latent has no resets",
    "recurrent": "lanes of a latent do not feed each other",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all arms of a run share.

    Args:
        epochs, batch: passes over the trials, trials of an update.
        lr: learning rate of Adam at first; it falls linearly to 0.
        neuron_lr: factor on it for the neuron's own parameters, of the prior and of the posterior.
        clip: largest norm of the gradient.
        hidden: size of the encoder's GRU, and of the GRU arm's.
        layers: GRUs of the encoder, one on the other.
        size: neurons of the latent, inputs and factors of the GRU arm.
        keep: coordinated dropout (Keshtkaran and Pandarinath 2019): the share of the seen counts that the encoder is
            shown in training, scaled by 1/keep; the others are what the loss reads of the seen neurons. 1: none.
        beta: weight of the divergence in the loss; 1 makes it the evidence lower bound.
        ramp: epochs over which the weight of the divergence rises to beta.
        both: whether the encoder reads both ways.
        lag: bins by which a forward encoder's input is late.
        posterior: own, noise or free (declared_torch.py); auto: own where it applies, else noise.
        exact: whether own takes expectations in closed form instead of at a sample.
        samples: of the path, for rates of validation and test trials; where expectations are exact, none is drawn.
        dt: step of the latent in its unit of time, one a bin; None: the model's own.
        axes: sizes of the neuron's own axes.
        each: whether every lane has parameters of its own, also where the declaration shares them in a layer.
        compat: the variant of the neuron that is taken where none is asked for.
        init: expressions that replace initial values of the neuron's parameters.
        own: the same for the posterior's.
        require: R^2 of the neuron's rates on the test trials, in per cent, that every seed must reach.
    """

    epochs: int = 60
    batch: int = 65
    lr: float = 0.01
    neuron_lr: float = 3.0
    clip: float = 50.0
    hidden: int = 48
    layers: int = 1
    size: int = 8
    keep: float = 0.7
    beta: float = 1.0
    ramp: int = 5
    both: bool = True
    lag: int = 0
    posterior: str = "auto"
    exact: bool = True
    samples: int = 8
    dt: float | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    each: bool = True
    compat: str | None = None
    init: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    require: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "ramp"):
            _require(name, getattr(self, name), lambda v: v >= 0, "a whole number of at least 0")
        for name in ("batch", "hidden", "layers", "size", "samples"):
            _require(name, getattr(self, name), lambda v: v >= 1, "a whole number of at least 1")
        for name in ("lr", "neuron_lr", "clip", "beta"):
            _require(name, getattr(self, name), lambda v: 0 < v < float("inf"), "a positive number")
        _require("keep", self.keep, lambda v: 0 < v <= 1, "a share of at most 1")
        if self.posterior not in POSTERIORS:
            raise RunError(f"posterior is {self.posterior!r}", hint=f"one of {', '.join(POSTERIORS)}")
        if self.lag and self.both:
            raise RunError("an encoder that reads both ways sees every bin: lag has no effect", hint="both: false")

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for reports and checkpoints."""
        return asdict(self)


def _require(name: str, value: Any, fits: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
        raise RunError(f"{name} is {value!r}, not {what}")


def recommended(task: str, neuron: str) -> Recipe:
    """What the task's file says about this neuron, or its default."""
    text = files("neuroode.train").joinpath("settings", f"{task}.yaml").read_text(encoding="utf-8")
    table = YAML(typ="safe", pure=True).load(text)
    return Recipe(**table.get(neuron, table["default"]))


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Change what is not None; `init` is merged, and a required R^2 belongs to the recipe and goes with it.

    Raises:
        RunError: an option that means nothing here, with the reason.
    """
    given = {name: value for name, value in changes.items() if value is not None and value != {}}
    known = {f.name for f in fields(Recipe)}
    for name in given:
        if name not in known:
            why = NOT_HERE.get(name, "a latent has no such setting")
            raise RunError(f"--{name.replace('_', '-')} is not there for this task: {why}")
    if "init" in given:
        given["init"] = {**recipe.init, **given["init"]}
    return replace(recipe, **{"require": None, **given}) if given else recipe
