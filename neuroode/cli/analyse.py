"""`neuroode analyse`: linear parts, stability, boundaries of the step, resonances; as text, JSON and a picture."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from neuroode._errors import RunError
from neuroode.cli.emit import write_atomically
from neuroode.cli.model import assignments, load, model_arguments, picture_path, pictures, step_arguments

if TYPE_CHECKING:
    from neuroode.neuron import Neuron
    from neuroode.program.firing import FiringRates

MOST = 1000  # held inputs of an f-I curve
HELP = "analyse a model: eigenvalues, stability of the step, frequency response, fixed points, bifurcations"


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    step_arguments(parser)
    parser.add_argument("--held", metavar="NAME=X", action="append", default=[],
                        help="what an input is held at for fixed points (default 0)")  # fmt: skip
    parser.add_argument("--against", metavar="NAME", help="the input that bifurcations sweep; default: the first")
    parser.add_argument("--rates", metavar="LOW:HIGH:N", nargs="?", const="",
                        help="print the f-I curve; default: N = 61 around where it begins to fire")  # fmt: skip
    parser.add_argument("--duration", metavar="T", type=float, help="of each run of --rates (default 10,000 steps)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", metavar="FILE", nargs="?", const="",
                        help="draw phase portrait, bifurcations and f-I curve of a nonlinear neuron, eigenvalues, "
                        "responses and boundary of a linear one; .png, .svg or .pdf, default MODEL.png")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    neuron = load(args)
    path = None if args.plot is None else picture_path(args.plot or f"{neuron.spec.name}.png")
    draw = pictures("plot_analysis").draw if path else None
    report = neuron.analyse(
        args.dt, args.method, seed=args.seed, held=_held(args.held), against=args.against, bifurcations=True
    )
    rates = None if args.rates is None else _rates(neuron, args)
    if args.json:
        more = {} if rates is None else {"rates": rates.to_json()}
        print(json.dumps(report.to_json() | more, indent=2, allow_nan=False))
    else:
        print(f"{neuron.spec.name}\n{report}" + (f"\n{rates}" if rates is not None else ""))
    if path and draw:
        write_atomically(path, draw(neuron, report, args.dt, args.method, path.suffix[1:], rates))
        print(f"picture: {path}", file=sys.stderr)
    return 0


def _rates(neuron: Neuron, args: argparse.Namespace) -> FiringRates:
    """The f-I curve that was asked for.

    Raises:
        RunError: a range of another form.
        Unsupported: no event, or no current.
    """
    held = _held(args.held)
    swept = args.against or next((i.name for i in neuron.spec.inputs if i.kind == "current"), None)
    others = {n: x for n, x in held.items() if n != swept}
    return neuron.firing_rates(
        _currents(args.rates), args.dt, method=args.method, input=swept, held=others, duration=args.duration,
        seed=args.seed,
    )  # fmt: skip


def _currents(text: str) -> list[float] | None:
    """`LOW:HIGH:N` as numbers; None of an empty text."""
    if not text:
        return None
    parts = text.split(":")
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError):
        low = high = math.nan
        count = 0
    if len(parts) != 3 or not (math.isfinite(low) and math.isfinite(high) and 1 < count <= MOST):
        raise RunError(f"--rates is '{text}'", hint=f"LOW:HIGH:N, for example 0:2:21, with N from 2 to {MOST}")
    return [low + (high - low) * k / (count - 1) for k in range(count)]


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
