"""The stand-alone torch file: it runs alone, agrees with its reference values, and notices when they are not met."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import neuron as invented
from references import distance
from standalone_cases import ALL, made, run_alone

import neuroode as no


def text_of(name: str) -> str:
    n = made(name)
    return n.emit("torch", None if n.spec.dt else 0.5)


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


CUBIC = "dv/dt = I - v^3"


def test_reference_values_are_finite_where_large_inputs_blow_the_neuron_up():
    neuron = no.Neuron("cubic", dt=0.5, method="rk4", equations=CUBIC, spike="v > 0.2")
    assert "nan" not in neuron.emit("torch").partition("REFERENCE")[2].partition("]\n")[0]


def test_a_neuron_that_always_blows_up_is_refused():
    neuron = no.Neuron("steep", dt=1.0, method="euler", equations="dv/dt = I + 1e40*v^3", spike="v > 0.2")
    with pytest.raises(no.Unsupported, match="no run on reference inputs stays finite"):
        neuron.emit("torch")
