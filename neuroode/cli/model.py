"""The arguments that name a model, shared by the commands that take one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuroode.neuron import Neuron


def model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name that `neuroode list` prints, or a path to a YAML file")
    parser.add_argument("--compat", metavar="NAME", help="a named deviation that the model declares")


def load(args: argparse.Namespace) -> Neuron:
    from neuroode.neuron import load as load_neuron

    return load_neuron(args.model, compat=args.compat)
