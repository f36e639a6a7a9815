"""The command line. One file a command; each has HELP, `arguments(parser)` and `run(args) -> exit status`.

Exit status: 0 fine, 1 a check failed, 2 bad input or usage (one error on stderr, no traceback).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from neuroode._errors import NeuroodeError
from neuroode.cli import analyse, bench, cache, check, claims, emit, show, simulate, train
from neuroode.cli import list as list_

COMMANDS = {
    "list": list_,
    "show": show,
    "analyse": analyse,
    "simulate": simulate,
    "check": check,
    "emit": emit,
    "train": train,
    "claims": claims,
    "bench": bench,
    "cache": cache,
}
LATER = ("verify", "compare")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is one `--help` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nhint: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; imports nothing heavy."""
    top = _Parser(prog="neuroode", description="Compile neuron equations into trainable modules.")
    top.add_argument("--version", action="store_true", help="print the version")
    below = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, module in COMMANDS.items():
        one = below.add_parser(name, help=module.HELP, description=module.HELP)
        module.arguments(one)
        one.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        status = _run([*(sys.argv[1:] if argv is None else argv)])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough (`| head`); nothing more can be written, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except NeuroodeError as error:
        return _fail(str(error), 2)
    except RecursionError:  # a bound of the stages that recurse; the reader itself has none
        return _fail("the model nests its definitions or sums too deeply", 2)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    return status


def _run(words: list[str]) -> int:
    if words and words[0] in LATER:
        return _fail(f"neuroode {words[0]}: not available yet", 2)
    top = parser()
    args = top.parse_args(words)
    if args.version:
        print("neuroode", _version())
        return 0
    if args.command is None:
        top.error("which command? " + ", ".join(COMMANDS))
    return args.run(args)


def _version() -> str:
    from importlib.metadata import version

    return version("neuroode")


def _fail(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status
