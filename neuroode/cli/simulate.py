"""`neuroode simulate`: run a model in the float64 reference interpreter; figures, JSON, CSV and a picture."""

from __future__ import annotations

import argparse
import sys

from neuroode.cli.emit import write_atomically
from neuroode.cli.model import load, model_arguments, picture_path, pictures, step_arguments

HELP = "run a model: traces, spikes; as figures, JSON, CSV or a picture"


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    step_arguments(parser)
    parser.add_argument("--steps", type=int, metavar="N", help="how many; default: by the model's time constants")
    parser.add_argument("--neurons", type=int, metavar="N", help="default: 20 where inits or noise are drawn, else 1")
    parser.add_argument("--input", metavar="SPEC", action="append", default=[],
                        help="'constant(2)', 'step(2, 10)', 'sine(5, 30)', 'poisson(0.1)', 'impulse(1, 10)', "
                        "'noise(0, 1)', 'ramp(0, 3)'; NAME= before it for one of several inputs")  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON")
    how.add_argument("--csv", action="store_true", help="print the traces of the first neuron as CSV")
    parser.add_argument("--plot", metavar="FILE", help="draw inputs, states and spikes; .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    from neuroode.cli import runs

    path = picture_path(args.plot) if args.plot else None
    draw = pictures("plot_trace").draw if path else None
    found = runs.simulated(load(args), args)
    print(runs.as_json(found) if args.json else runs.as_csv(found) if args.csv else runs.text(found))
    if path and draw:
        write_atomically(path, draw(found, path.suffix[1:]))
        print(f"picture: {path}", file=sys.stderr)
    problem = runs.blown_up(found)
    if problem:
        print(f"{problem}\nhint: a shorter --dt, another --method, or a smaller --input", file=sys.stderr)
    return 1 if problem else 0
