"""`neuroode list`: the models of the zoo."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from neuroode.cli.table import table

HELP = "list the models of the zoo"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from neuroode.models import names, path

    rows = [_row(name, path(name)) for name in names()]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(table(("name", "family", "about"), [(r["name"], r["family"], r["about"]) for r in rows]))
    return 0


def _row(name: str, path: Path) -> dict[str, str]:
    return {"name": name, "family": path.parent.name, "about": _about(path), "path": str(path)}


def _about(path: Path) -> str:
    """The one line `about: ...`: a zoo file always has it, and a YAML reader would take longer than all else here."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("about:").strip() for line in lines if line.startswith("about:")), "")
