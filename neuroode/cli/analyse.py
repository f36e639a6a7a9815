"""`neuroode analyse`: linear parts, stability, boundaries of the step, resonances; as text, JSON and a picture."""

from __future__ import annotations

import argparse
import json
import math
import sys

from neuroode._errors import RunError
from neuroode.cli.emit import write_atomically
from neuroode.cli.model import assignments, load, model_arguments, picture_path, pictures, step_arguments

HELP = "analyse a model: eigenvalues, stability of the step, frequency response, fixed points, bifurcations"


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    step_arguments(parser)
    parser.add_argument("--held", metavar="NAME=X", action="append", default=[],
                        help="what an input is held at for fixed points (default 0)")  # fmt: skip
    parser.add_argument("--against", metavar="NAME", help="the input that bifurcations sweep; default: the first")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", metavar="FILE", help="draw eigenvalues, responses and boundary; .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    neuron = load(args)
    path = picture_path(args.plot) if args.plot else None
    draw = pictures("plot_analysis").draw if path else None
    report = neuron.analyse(
        args.dt, args.method, seed=args.seed, held=_held(args.held), against=args.against, bifurcations=True
    )
    print(json.dumps(report.to_json(), indent=2, allow_nan=False) if args.json else f"{neuron.spec.name}\n{report}")
    if path and draw:
        write_atomically(path, draw(neuron, report, args.dt, args.method, path.suffix[1:]))
        print(f"picture: {path}", file=sys.stderr)
    return 0


def _held(texts: list[str]) -> dict[str, float]:
    """`NAME=X` of each --held.

    Raises:
        RunError: another form, or no number.
    """
    found = {}
    for name, value in assignments(texts, "held").items():
        try:
            found[name] = float(value)
        except ValueError:
            raise RunError(
                f"--held {name} is '{value}', no number", hint="--held I=0.5, in the unit of the input"
            ) from None
        if not math.isfinite(found[name]):
            raise RunError(f"--held {name} is {value}", hint="a finite number")
    return found
