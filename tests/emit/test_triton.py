"""The Triton target: its kernels in the interpreter, and compiled for a device that is not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import oracles
import pytest
import triton_kernels

pytest.importorskip("triton", reason="triton cannot be imported here")
HERE = Path(__file__).parent


def interpret(file: str, marks: str) -> None:
    """Run a file of tests where Triton interprets: it must know before it is imported."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marks, str(HERE / file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"TRITON_INTERPRET": "1"}
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_in_the_interpreter() -> None:
    interpret("interpreted_triton.py", "not slow")


@pytest.mark.slow
def test_all_in_the_interpreter() -> None:
    interpret("interpreted_triton.py", "slow")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize(("name", "dtype"), [("lif", "fp32"), ("spiral", "fp64")])
def test_kernels_compile_to_machine_code_of_a_device(name: str, dtype: str) -> None:
    kernels = triton_kernels.kernels_of(oracles.neuron(name).program())
    for kernel in (kernels.forward, kernels.backward):
        found = triton_kernels.compiled(kernel, dtype, LENGTHS=name == "lif")
        assert found.asm["cubin"]
        assert "cp.async" in found.asm["ptx"]  # rows of later steps are under way while one is computed


@pytest.mark.slow
@pytest.mark.parametrize("name", [*oracles.ZOO, *oracles.INVENTED])
def test_every_neuron_compiles(name: str) -> None:
    kernels = triton_kernels.kernels_of(oracles.neuron(name).program())
    for kernel in (kernels.forward, kernels.backward):
        for dtype in ("fp32", "fp64"):
            assert triton_kernels.compiled(kernel, dtype, STAGES=kernels.stages).asm["cubin"]
