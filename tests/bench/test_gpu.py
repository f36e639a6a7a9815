"""`make bench-gpu` without a GPU: what it says, what it checks in the interpreter, where it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neuroode.bench import page

pytest.importorskip("triton", reason="triton cannot be imported here")
gpu_checks_torch = pytest.importorskip("neuroode.bench.gpu_checks_torch")


def run(code: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", f"import sys; from neuroode.bench import gpu_torch; {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | env)


def test_without_a_device_it_says_so_in_one_line() -> None:
    done = run("sys.exit(gpu_torch.main([]))", CUDA_VISIBLE_DEVICES="", TRITON_INTERPRET="0")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (2, 1, "")
    assert "no CUDA device here" in done.stdout


@pytest.mark.slow
def test_in_the_interpreter_it_only_checks() -> None:
    done = run("sys.exit(gpu_torch.main([]))", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") >= 40
    assert "nothing was timed" in done.stdout


@pytest.mark.slow
def test_a_wrong_kernel_ends_it() -> None:
    wrong = (
        "from neuroode.nn import native_triton_torch as n; load = n.load;"
        "n.load = lambda text, name: load(text.replace('sum0 += ', 'sum0 += 2 * '), name); sys.exit(gpu_torch.main([]))"
    )
    done = run(wrong, TRITON_INTERPRET="1")
    assert done.returncode == 1
    assert "WRONG" in done.stdout
    assert done.stdout.endswith("a kernel is wrong: nothing was timed\n")


def test_a_section_is_replaced_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    page.put_section("## b", "## b\n\nfirst", target)
    assert target.read_text() == "# Benchmarks\n\n\n## b\n\nfirst\n"
    target.write_text("# Benchmarks\n\n## a\n\none\n\n## b\n\ntwo\n\n## c\n\nthree\n")
    assert page.section("## b", target) == "## b\n\ntwo"
    page.put_section("## b", "## b\n\nnew", target)
    assert target.read_text() == "# Benchmarks\n\n## a\n\none\n\n\n## b\n\nnew\n\n\n## c\n\nthree\n"
    assert page.section("## d", target) == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_every_kernel_on_the_device() -> None:
    wrong = [str(row) for row in gpu_checks_torch.rows("cuda", tiny=False) if not row.ok]
    assert not wrong
