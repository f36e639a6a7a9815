"""The stand-alone torch file: it runs alone, agrees with its reference values, and notices when they are not met."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import INVENTED
from oracles import neuron as invented
from references import distance, neuron

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
ALL = [*names(), *INVENTED, *MADE]


def made(name: str) -> Neuron:
    return neuron(MADE[name]) if name in MADE else invented(name)


def text_of(name: str) -> str:
    n = made(name)
    return n.emit("torch", None if n.spec.dt else 0.5)


def run_alone(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process that reads no environment and sees neither this repository nor an installed neuroode."""
    file = folder / "emitted.py"
    file.write_text("import sys\nsys.modules['neuroode'] = None\n" + text, encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run([sys.executable, "-I", str(file)], cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["brf", "odd"])
def test_it_runs_alone_and_agrees(name: str, tmp_path: Path) -> None:
    done = run_alone(text_of(name), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "20" in done.stdout


def test_a_changed_reference_value_is_noticed(tmp_path: Path) -> None:
    text = text_of("alif")
    rows = re.findall(r"^    \('(?:output|state|gradient)', .*\),$", text, flags=re.M)
    assert len(rows) == 20
    kind, key, index, value = ast.literal_eval(rows[9].strip().rstrip(","))
    changed = text.replace(rows[9], f"    {(kind, key, index, value + 1e-6)!r},")
    done = run_alone(changed, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr


def space_of(name: str) -> dict:
    space: dict = {"__name__": "emitted"}
    exec(compile(text_of(name), "<emitted>", "exec"), space)
    return space


@pytest.mark.parametrize("name", ALL)
def test_every_neuron_meets_its_reference_values(name: str) -> None:
    rows = space_of(name)["compare"]()
    assert len(rows) >= 13
    assert max(row[5] for row in rows) <= 1e-11
    assert {row[0] for row in rows} >= {"output", "gradient"}
    assert any(row[3] != 0 for row in rows if row[0] == "output")
    assert any(row[3] != 0 for row in rows if row[0] == "gradient")


@pytest.mark.parametrize("name", ALL)
def test_the_text_holds_nothing_of_neuroode(name: str) -> None:
    tree = ast.parse(text_of(name))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"math", "torch"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert text_of(name) == text_of(name)


def test_the_module_trains_and_takes_values_of_any_size() -> None:
    space = space_of("lif")
    module = space["Neuron"](7, values={"tau": 5.0}, dtype=torch.float64)
    x = torch.randn(30, 2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    out, carry = module(x)
    first, held = module(x[:11])
    second, _ = module(x[11:], held)
    assert torch.equal(out, torch.cat([first, second]))
    assert out.shape == x.shape
    out.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters() if p.requires_grad)
    assert len(carry) == 1
    wanted = invented("lif").simulate(x.numpy(), parameters={"tau": 5.0})["s"]
    assert distance(out.detach().numpy(), wanted) == 0


def test_float32_is_kept_and_near() -> None:
    space = space_of("cuba_lif")
    x = torch.randint(0, 2, (40, 2, 3), generator=torch.Generator().manual_seed(0)).float()
    out, (i_s, *_) = space["Neuron"](3)(x)
    assert out.dtype == i_s.dtype == torch.float32
    wanted = invented("cuba_lif").simulate(x.double().numpy())
    assert np.mean(out.detach().numpy() != wanted["s"]) < 0.02


def test_state_dicts_load() -> None:
    space = space_of("odd")
    one, two = space["Neuron"](4), space["Neuron"](4, values={"gamma": 9.0})
    two.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
