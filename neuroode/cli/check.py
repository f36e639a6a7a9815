"""`neuroode check`: are these declarations right?"""

from __future__ import annotations

import argparse
import json
import sys

from neuroode._errors import NeuroodeError

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
    results = [(file, _errors(file)) for file in args.files]
    if args.json:
        print(json.dumps([{"file": f, "ok": not e, "error": e or None} for f, e in results], indent=2))
    else:
        _report(results)
    return 2 if any(error for _, error in results) else 0


def _errors(file: str) -> str:
    """The first error of a file or of one of its deviations; empty if there is none."""
    from neuroode.neuron import load

    try:
        spec = load(file).spec
        for name, _ in spec.compat:
            load(file, compat=name)
    except NeuroodeError as error:
        return str(error)
    return ""


def _report(results: list[tuple[str, str]]) -> None:
    """Right ones on stdout, wrong ones on stderr, in the order given."""
    for file, error in results:
        if error:
            sys.stdout.flush()
            print(error, file=sys.stderr)
        else:
            print(f"{file}: ok")


def _schema() -> int:
    from neuroode.spec.schema import describe

    print(describe())
    return 0


def _support() -> int:
    from neuroode.system.support import CONSTRUCTS, METHODS

    print("not compiled yet; a declaration that uses one is read, checked and shown, then refused:")
    print("\n".join(f"  {name}" for name, _ in CONSTRUCTS))
    print("  methods: " + ", ".join(METHODS))
    return 0
