"""Neurons for stand-alone files, and the process that runs such a file alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from oracles import INVENTED
from oracles import neuron as invented
from references import neuron

from neuroode.models import names
from neuroode.neuron import Neuron

ODD = """
about: "a title that ends in a quote' and \\"holds\\" a \\\\ and {braces} and three \\"\\"\\" of them"
inputs: {lambda: current, torch: {kind: impulse, at: end}}
states: {N: class}
parameters:
  gamma: {value: 4, domain: positive, per: neuron}
  class: {value: 0.2, domain: "interval(0, 1)"}
  raw: {value: 0.3 + 0.1i, type: complex}
  REFERENCE: {value: 0.7, domain: unit, per: channel}
equations: |
  dN/dt = (-N + lambda)/gamma + torch
  S[t] = 0.5*S[t-1] + math + real(raw*N)*REFERENCE
events: {math: {when: "N > 0.4 + 0.1*S[t-1]", reset: N -= 0.3}}
outputs: {OUTPUTS: math, x: S}
"""
NO_EVENT = """
parameters: {tau: {value: 3, domain: positive}}
equations: |
  dv/dt = (-v + I)/tau
  dw/dt = v - w
outputs: w
"""
NO_PARAMETER = "equations: v[t] = 0.5*v[t-1] + I\nspike: v > 1\nreset: v = 0\n"
MADE = {"odd": ODD, "no event": NO_EVENT, "no parameter": NO_PARAMETER}
ALL = [*(n for n in names() if n != "ce_lif"), *INVENTED, *MADE]  # ce_lif: silent under the inputs that are drawn


def made(name: str) -> Neuron:
    return neuron(MADE[name]) if name in MADE else invented(name)


def run_alone(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process that reads no environment and sees neither this repository nor an installed neuroode."""
    file = folder / "emitted.py"
    file.write_text("import sys\nsys.modules['neuroode'] = None\n" + text, encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run([sys.executable, "-I", str(file)], cwd=folder, env=env, capture_output=True, text=True)
