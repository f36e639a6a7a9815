"""`neuroode claims`: what papers claim, what we get, and the verdict."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from neuroode._errors import RunError, Unsupported

if TYPE_CHECKING:
    from neuroode.papers.claims import Paper
    from neuroode.papers.run import Result

HELP = "recompute what papers claim: their figure, ours, the verdict; status 1 if a claim fails"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", metavar="PAPER", nargs="?", help="a folder of papers/; default: all")
    parser.add_argument("--slow", action="store_true", help="also claims that take longer than a few seconds")
    parser.add_argument(
        "--write", action="store_true", help="write the tables into the papers' README.md; runs all claims"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--speed", action="store_true", help="the paper's experiment on speed instead; takes minutes")
    parser.add_argument("--train", action="store_true", help="neurons trained side by side instead; takes minutes")
    quick = "with --speed: fewer lengths and rounds, a minute or two; with --train: fewer seeds"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--device", metavar="NAME", default="cpu", help="with --speed: cuda for a GPU (default cpu)")


def run(args: argparse.Namespace) -> int:
    from neuroode.papers import claims

    if args.quick and not (args.speed or args.train):
        raise RunError("--quick belongs to --speed or --train", hint="neuroode claims PAPER --speed --quick")
    papers = [claims.read(n) for n in ([args.paper] if args.paper else claims.names())]
    for asked, module in ((args.speed, "speed_torch"), (args.train, "arms_torch")):
        if asked:
            chosen = papers if args.paper else [p for p in papers if (p.page.parent / f"{module}.py").is_file()]
            return max(_experiment(p, module, args) for p in chosen)
    found = {p.name: _results(p, args) for p in papers}
    if args.json:
        print(json.dumps({n: [r.to_json() for r in rows] for n, rows in found.items()}, indent=2, allow_nan=False))
    return int(not all(r.ok for rows in found.values() for r in rows))


def _results(paper: Paper, args: argparse.Namespace) -> list[Result]:
    from neuroode.papers.page import table, write_section
    from neuroode.papers.run import run

    results = []
    for r in run(paper, args.slow or args.write):
        print(f"{paper.name} {r.claim.id}: {r.verdict} ({r.seconds:.1f} s)", file=sys.stderr)
        results.append(r)
    if args.write:
        write_section(paper.page, "claims", table(results))
    if not args.json:
        print(f"{paper.title} ({paper.cite})\n\n{table(results)}\n")
    return results


def _experiment(paper: Paper, module: str, args: argparse.Namespace) -> int:
    """Start an experiment of a paper in a fresh process, where nothing has chosen a number of threads yet."""
    if find_spec("torch") is None:
        raise Unsupported(f"the experiment of '{paper.name}' needs torch", hint="pip install 'neuroode[train]'")
    name = f"neuroode.papers.{paper.name}.{module}"
    if find_spec(name) is None:
        what = "speed" if args.speed else "training"
        raise RunError(f"'{paper.name}' has no experiment on {what}", hint=f"neuroode claims {paper.name}")
    flags = [*(["--device", args.device] if args.speed else []), *["--quick"] * args.quick, *["--write"] * args.write]
    return subprocess.run([sys.executable, "-m", name, *flags], check=False).returncode
