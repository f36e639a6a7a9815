"""The stand-alone jax file: it runs alone, agrees with its reference values, and notices when they are not met."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import distance
from standalone_cases import ALL, made, run_alone

jax.config.update("jax_enable_x64", True)
QUICK = {"two_inputs", "odd"}


def text_of(name: str) -> str:
    n = made(name)
    return n.emit("jax", None if n.spec.dt else 0.5)


def space_of(name: str) -> dict:
    space: dict = {"__name__": "emitted"}
    exec(compile(text_of(name), "<emitted>", "exec"), space)
    return space


def test_it_runs_alone_and_agrees(tmp_path: Path) -> None:
    done = run_alone(text_of("brf"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "20 of 20 reference values agree" in done.stdout


def test_a_changed_reference_value_is_noticed(tmp_path: Path) -> None:
    text = text_of("lif")
    rows = re.findall(r"^    \('(?:output|state|gradient)', .*\),$", text, flags=re.M)
    kind, key, index, value = ast.literal_eval(rows[9].strip().rstrip(","))
    done = run_alone(text.replace(rows[9], f"    {(kind, key, index, value + 1e-6)!r},"), tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "19 of 20" in done.stdout


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ALL])
def test_a_neuron_meets_its_reference_values(name: str) -> None:
    rows = space_of(name)["compare"]()
    assert len(rows) >= 13
    assert max(row[5] for row in rows) <= 1e-11
    assert {row[0] for row in rows} >= {"output", "gradient"}


@pytest.mark.parametrize("name", ALL)
def test_the_text_holds_nothing_of_neuroode(name: str) -> None:
    tree = ast.parse(text_of(name))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"functools", "math", "jax", "jax.numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_chunks_and_values_of_any_size() -> None:
    """150 steps are cut into checkpointed chunks; two calls with a carry are one call."""
    space = space_of("lif")
    stored = space["init"](7, values={"tau": 5.0}, dtype=float)
    x = np.random.default_rng(0).normal(1, 1, (150, 2, 7))
    out, carry = space["apply"](stored, jnp.asarray(x))
    first, held = space["apply"](stored, jnp.asarray(x[:60]))
    second, _ = space["apply"](stored, jnp.asarray(x[60:]), held)
    assert np.array_equal(out, jnp.concatenate([first, second]))
    assert len(carry) == 1
    wanted = made("lif").simulate(x, parameters={"tau": 5.0})["s"]
    assert 0 < wanted.mean() < 1
    assert distance(np.asarray(out), wanted) == 0


def test_float32_is_kept_and_near() -> None:
    space = space_of("cuba_lif")
    x = np.random.default_rng(0).integers(0, 2, (40, 2, 3)).astype(np.float32)
    out, (i_s, *_) = space["apply"](space["init"](3), jnp.asarray(x))
    assert out.dtype == i_s.dtype == jnp.float32
    wanted = made("cuba_lif").simulate(x.astype(float))
    assert np.mean(np.asarray(out) != wanted["s"]) < 0.02
