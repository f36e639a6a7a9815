"""`python -m neuroode.bench`: the same as `neuroode bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from neuroode._errors import NeuroodeError
from neuroode.bench import command


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m neuroode.bench", description=command.__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(command.PARTS) + "; default all")
    parser.add_argument("--quick", action="store_true", help="one small shape and three rounds: does it run?")
    parser.add_argument("--out", type=Path, help="write a page")
    parser.add_argument("--plot", type=Path, help="of precision or fractional: a picture")
    given = parser.parse_args()
    command.one_thread()
    try:
        command.run(given.parts, given.quick, given.out, given.plot)
    except NeuroodeError as error:
        sys.exit(str(error))


main()
