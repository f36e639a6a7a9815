"""The report of a run, a folder: one page, pictures, and `report.json`, strict JSON with every number they show."""

from __future__ import annotations

import json
from pathlib import Path

from neuroode.train._extra import need
from neuroode.train.files import replace_file
from neuroode.train.plan import Outcome
from neuroode.train.report_numbers import Figures, collect


def prepare(out: Path | None) -> None:
    """Fail before the training, not after it: make the folder and look for matplotlib."""
    if out is not None:
        need("matplotlib", "a report")
        out.mkdir(parents=True, exist_ok=True)


def write(outcome: Outcome) -> Figures:
    """Write the report into the plan's folder, if it names one, and return its numbers.

    Each file appears whole or not at all; `report.json` comes last, so that its presence says that all is there.
    """
    figures = collect(outcome)
    if (out := outcome.plan.out) is not None:
        from neuroode.train.report_figures import draw, files
        from neuroode.train.report_page import page

        for name, picture in files(figures).items():
            replace_file(out / name, picture)
            figures["pictures"].append(name)
        replace_file(out / "report.html", page(figures, draw(figures)).encode())
        replace_file(out / "report.json", json.dumps(figures, indent=1, allow_nan=False).encode())
    return figures
