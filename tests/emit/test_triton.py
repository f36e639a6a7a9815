"""The Triton target: its kernels in the interpreter, and compiled for a device that is not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import oracles
import pytest
import torch
import triton_kernels

import neuroode as no
from neuroode import Unsupported
from neuroode.emit.triton_ops import expression
from neuroode.nn import kernels_torch, native_triton_torch
from neuroode.program.types import Assign
from neuroode.spec.read_yaml import read_text

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


def run_alone(path: Path, **env: str) -> subprocess.CompletedProcess:
    """Run an emitted file where neuroode cannot be imported."""
    code = "import sys, runpy; sys.modules['neuroode'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | env)


def emitted(name: str, folder: Path) -> Path:
    path = folder / f"{name}_alone.py"
    path.write_text(oracles.neuron(name).emit("triton"), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["prf", "two_inputs"])
def test_an_emitted_file_runs_alone_and_compares_itself(name: str, tmp_path: Path) -> None:
    done = run_alone(emitted(name, tmp_path), TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 reference values agree" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", [*oracles.ZOO, *oracles.INVENTED])
def test_every_emitted_file_compares_itself(name: str, tmp_path: Path) -> None:
    done = run_alone(emitted(name, tmp_path), TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_emitted_file_sees_what_is_wrong_and_what_is_missing(tmp_path: Path) -> None:
    path = emitted("lif", tmp_path)
    text = path.read_text("utf-8")
    path.write_text(text.replace(" * x_I", " * x_I * 2", 1), encoding="utf-8")
    assert path.read_text("utf-8") != text
    assert run_alone(path, TRITON_INTERPRET="1").returncode == 1
    without = run_alone(path, TRITON_INTERPRET="0", CUDA_VISIBLE_DEVICES="")
    assert (without.returncode, without.stdout.count("\n")) == (2, 1)
    assert "no CUDA device here" in without.stdout


@pytest.mark.parametrize("op", ["pair", "edd", "expm", "operator"])
def test_ops_that_no_kernel_computes_are_refused_by_name(op: str) -> None:
    with pytest.raises(Unsupported, match=f"no op '{op}'"):
        expression(Assign("%0", op, ("%1", "%2"), (1, "C")), ["t1", "t2"])


def kernel_on_cuda(monkeypatch: pytest.MonkeyPatch, name: str, pair: tuple[str, str] | None = None):
    """What a layer on a CUDA device would run."""
    monkeypatch.setattr(kernels_torch, "kernels", {})
    monkeypatch.setattr(kernels_torch, "_warned", set())
    program = oracles.neuron(name).program()
    return kernels_torch.kernel_of(program, (program.digest, torch.float32, pair, "cuda"))


def test_layers_on_cuda_take_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_on_cuda(monkeypatch, "lif")
    assert (kernel.inputs, kernel.outputs, kernel.carry, kernel.chunk) == (1, 1, 1, 32)
    assert kernels_torch.run_of(kernel) is native_triton_torch.run


def test_without_triton_or_with_recurrent_weights_they_say_so_and_run_the_eager_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.warns(RuntimeWarning, match="eager program instead: the Triton kernel has no recurrent weights"):
        assert kernel_on_cuda(monkeypatch, "lif", ("I", "s")) is None
    for name in [n for n in sys.modules if n.startswith(("triton", "neuroode.solvers.on_triton"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.warns(RuntimeWarning, match="eager program instead: triton cannot be imported"):
        assert kernel_on_cuda(monkeypatch, "lif") is None


def test_a_layer_on_a_cpu_never_loads_triton() -> None:
    code = (
        "import sys, torch, neuroode as no\n"
        "for schedule in ('auto', 'eager', 'scan'):\n"
        "    no.load('li').torch(2, schedule=schedule)(torch.zeros(3, 1, 2))\n"
        "assert 'triton' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_every_op_compiles(dtype: str) -> None:
    _, kernel = triton_kernels.all_ops()
    assert triton_kernels.compiled(kernel, dtype).asm["cubin"]


def scans_compile(form: str, size: int, dtype: str) -> None:
    scan = native_triton_torch._scan_of(form, size)
    chunk, lanes = triton_scan_launch().tile_of(scan, 4096)
    for kernel in (scan.reduce, scan.carry, scan.scan):
        found = triton_kernels.compiled(kernel, dtype, ADJOINT=True, CHUNK=chunk, LANES=lanes)
        assert found.asm["cubin"]
        assert found.metadata.shared <= 48 * 1024 * (2 if dtype == "fp64" else 1)  # several blocks on a processor


def triton_scan_launch():
    from neuroode.solvers.on_triton import triton_scan

    return triton_scan


@pytest.mark.parametrize(("form", "size", "dtype"), [("diagonal", 1, "fp32"), ("complex", 1, "fp64")])
def test_scans_compile(form: str, size: int, dtype: str) -> None:
    scans_compile(form, size, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
@pytest.mark.parametrize(("form", "size"), [("diagonal", 1), ("complex", 1), ("dense", 2), ("dense", 3), ("dense", 4)])
def test_every_scan_compiles(form: str, size: int, dtype: str) -> None:
    scans_compile(form, size, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*oracles.ZOO, *oracles.INVENTED])
def test_every_neuron_compiles(name: str) -> None:
    kernels = triton_kernels.kernels_of(oracles.neuron(name).program())
    for kernel in (kernels.forward, kernels.backward):
        for dtype in ("fp32", "fp64"):
            assert triton_kernels.compiled(kernel, dtype, STAGES=kernels.stages).asm["cubin"]


def test_sums_over_the_sequence_have_no_states_in_the_middle() -> None:
    """A file finds a state by a shorter run, whose sums are others."""
    text = """
neuron: later
dt: 1
horizon: 64
axes: {tau: time}
parameters: {W: {init: "normal(0, 0.3)", per: [tau, time]}}
equations: |
  h = sum_tau(W[tau, t]*I[tau])
  dv/dt = (-v + h)/5
spike: v > 0.3
reset: v = 0
"""
    source = no.Neuron.from_spec(read_text(text)).emit("triton")
    rows = source.partition("REFERENCE")[2].partition("]\n")[0]
    assert "'output'" in rows
    assert "'gradient'" in rows
    assert "'state'" not in rows
