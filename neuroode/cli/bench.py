"""`neuroode bench`: time neurons beside other libraries, or measure the constants of schedule="auto"."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from neuroode._errors import Unsupported

HELP = 'time layers beside other libraries; --calibrate measures what schedule="auto" costs on this machine'


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="*", metavar="PART", help="of the benchmarks; default all")
    parser.add_argument("--calibrate", action="store_true", help='measure the costs that schedule="auto" goes by')
    parser.add_argument("--quick", action="store_true", help="small shapes and few rounds: does it run?")
    parser.add_argument("--out", type=Path, help="write a page")
    parser.add_argument("--plot", type=Path, help="of precision or fractional: a picture")


def run(args: argparse.Namespace) -> int:
    try:
        command = import_module("neuroode.bench.command")
    except ImportError as error:
        raise Unsupported(f"bench needs torch: {error}", hint="pip install 'neuroode[torch]'") from error
    command.one_thread()
    if args.calibrate:
        print(f"kept in {import_module('neuroode.bench.calibrate_torch').calibrate()}")
        return 0
    command.run(args.parts, args.quick, args.out, args.plot)
    return 0
