"""`python -m neuroode.bench [lif] [ecg] [start]`."""

from __future__ import annotations

import sys
from importlib import import_module

PARTS = ("lif", "ecg", "start")

wanted = sys.argv[1:] or PARTS
if set(wanted) - set(PARTS):
    sys.exit(f"unknown part; choose among {', '.join(PARTS)}")
for part in wanted:
    import_module(f"neuroode.bench.{part}_torch").run()
