"""`neuroode check`: are these declarations right?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from neuroode._errors import NeuroodeError

if TYPE_CHECKING:
    from neuroode.spec.types import NeuronSpec

HELP = "check declarations: `ok` or the one error of each"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="*", help="a path to a YAML file, or a name of the zoo")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--schema", action="store_true", help="print the keys of a declaration")
    parser.add_argument("--support", action="store_true", help="print what this version does not compile yet")


def run(args: argparse.Namespace) -> int:
    if args.schema:
        return _schema()
    if args.support:
        return _support()
    if not args.files:
        print("neuroode check: which files?\nhint: neuroode check --help", file=sys.stderr)
        return 2
    results = [_check(file) for file in args.files]
    if args.json:
        print(json.dumps([asdict(r) | {"ok": not r.error, "error": r.error or None} for r in results], indent=2))
    else:
        _report(results)
    return 2 if any(r.error for r in results) else int(any(not r.holds for r in results))


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on one file: its error, or what else there is to say; `holds`: every statement of `checks` does."""

    file: str
    error: str = ""
    lines: tuple[str, ...] = ()
    holds: bool = True


def _check(file: str) -> Result:
    """Read a file and each of its deviations; the first error is the verdict."""
    from neuroode.neuron import load

    try:
        spec = load(file).spec
        for name, _ in spec.compat:
            load(file, compat=name)
    except NeuroodeError as error:
        return Result(file, error=str(error))
    return _remarks(file, spec)


def _remarks(file: str, spec: NeuronSpec) -> Result:
    from neuroode.cli.statements import notes, verdicts

    found = verdicts(spec)
    return Result(file, lines=(*map(str, found), *notes(spec)), holds=all(v.ok for v in found))


def _report(results: list[Result]) -> None:
    """Right ones on stdout, wrong ones on stderr, in the order given."""
    for result in results:
        if result.error:
            sys.stdout.flush()
            print(result.error, file=sys.stderr)
        else:
            print("\n".join((f"{result.file}: ok", *(f"  {line}" for line in result.lines))))


def _schema() -> int:
    from neuroode.spec.schema import describe

    print(describe())
    return 0


def _support() -> int:
    from neuroode.system.support import CONSTRUCTS

    print("not compiled yet; a declaration that uses one is read, checked and shown, then refused:")
    print("\n".join(f"  {name}" for name, _ in CONSTRUCTS))
    print(
        "methods of the whole past (mittag_leffler, flmm2, abm, l1, gl) run in layers and simulate, not in one step's"
    )
    print("  program, so emit, kernels, scans, recurrent=True and times= refuse them; flmm2 refuses memory: restart")
    return 0
