"""The arguments that name a model, shared by the commands that take one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroode._errors import RunError

if TYPE_CHECKING:
    from neuroode.neuron import Neuron


def model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name that `neuroode list` prints, or a path to a YAML file")
    parser.add_argument("--compat", metavar="NAME", help="a named deviation that the model declares")


def step_arguments(parser: argparse.ArgumentParser) -> None:
    """What commands that run a step take: its length, its method, other inits."""
    parser.add_argument("--dt", metavar="X", type=step, help="length of a step, 0.5 or '0.5 ms'; default: the model's")
    parser.add_argument("--method", metavar="NAME", help="euler, exact, heun, ...; default: the model's")
    parser.add_argument("--set", metavar="NAME=EXPR", action="append", default=[], help='omega="uniform(15, 50)"')
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of random inits and inputs (default 0)")


def step(text: str) -> float | str:
    """A number, or the text of a quantity."""
    try:
        return float(text)
    except ValueError:
        return text


def load(args: argparse.Namespace) -> Neuron:
    """The neuron that the arguments name, with what --set changes."""
    from neuroode.neuron import load as load_neuron

    neuron = load_neuron(args.model, compat=args.compat)
    changes = assignments(getattr(args, "set", []))
    if not changes:
        return neuron
    from neuroode.neuron import Neuron
    from neuroode.nn.options import changed_spec

    return Neuron.from_spec(changed_spec(neuron.spec, changes, None, None))


def assignments(texts: list[str], option: str = "set") -> dict[str, str]:
    """`NAME=EXPR` of each --set, or of another option.

    Raises:
        RunError: another form.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (sign and name.strip() and value.strip()):
            example = 'NAME=EXPR, for example --set omega="uniform(15, 50)"' if option == "set" else "NAME=NUMBER"
            raise RunError(f"--{option} is '{text}'", hint=f"--{option} {example}")
        found[name.strip()] = value.strip()
    return found


def picture_path(text: str) -> Path:
    """The file of a --plot.

    Raises:
        RunError: a suffix that is no picture's.
    """
    path = Path(text)
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise RunError(f"--plot is '{text}'", hint="a file that ends in .png, .svg or .pdf")
    return path


def pictures(module: str) -> Any:
    """A module that draws.

    Raises:
        RunError: matplotlib is not installed.
    """
    import importlib

    try:
        return importlib.import_module(f"neuroode.cli.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise RunError("--plot needs the package 'matplotlib'", hint="pip install 'neuroode[plot]'") from None
