"""`python -m neuroode.bench.gpu_torch [--quick] [--out FILE]`: Triton kernels, checked, then timed.

Every kernel is first compared with the float64 interpreter, with the eager program and with scans in plain torch; one
mismatch ends the run with status 1 and no figure. Without a CUDA device it ends with status 2; with TRITON_INTERPRET=1
it compares in Triton's interpreter, on a CPU, and times nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import neuroode as no
from neuroode.bench import gpu_checks_torch, page
from neuroode.bench.gpu_checks_torch import MODELS, on_triton

Tensor = torch.Tensor
SHAPES = (
    (1024, 1, 64), (1024, 8, 512), (1024, 64, 1024), (4096, 4, 128), (4096, 8, 2048), (32768, 1, 64), (32768, 1, 4096),
)  # fmt: skip
QUICK = ((256, 4, 256),)
EAGER = 1024  # steps up to which the eager program is waited for
METHOD = """\
Every kernel was compared with the float64 interpreter and the eager program before. Milliseconds of forward and
backward in float32, the median by device events; `of the floor`: five arrays (of a scan: what it reads and writes) over
the copy's bandwidth, relative to the time. Layers of neuroode have one time constant for each neuron, and its gradient;
the constants of SpikingJelly's nodes are numbers."""
ARRAYS = 5  # a training step reads input (twice) and cotangent, and writes output and cotangent


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def milliseconds(step: Callable[[], object]) -> float:
    """Median of many calls, by events of the device."""
    import triton.testing

    return float(triton.testing.do_bench(step, warmup=50, rep=200, return_mode="median"))


def training(layer: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Callable[[], object]:
    """Forward and backward to the input."""

    def step() -> None:
        x.grad = None
        layer(x).backward(g)

    return step


def candidates(model: str, shape: tuple[int, int, int]) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Name and forward of each; a library that cannot be loaded is no candidate."""
    steps, _, size = shape
    neuron = no.load(model)
    fused = on_triton(neuron, size, torch.float32, "cuda")
    yield "neuroode, fused Triton kernel", lambda x: fused(x)[0]
    if model == "prf":
        scan = neuron.torch(size, device="cuda", schedule="scan")
        yield "neuroode, Triton scan", lambda x: scan(x)[0]
    if steps <= EAGER:
        eager = neuron.torch(size, device="cuda", schedule="eager")
        yield "neuroode, eager program", lambda x: eager(x)[0]
    if model in ("lif", "alif"):
        yield from _spikingjelly(model)


def _spikingjelly(model: str) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    try:
        from spikingjelly.activation_based import functional, neuron, surrogate
    except ImportError:
        return
    from neuroode.bench.ours_torch import fast_sigmoid

    def lif(x: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        v = 0.95 * v + 0.05 * x
        s = fast_sigmoid(v - 1)
        return s, v - s

    def alif(x: Tensor, v: Tensor, a: Tensor) -> tuple[Tensor, ...]:
        v, a = 0.95 * v + 0.05 * x, 0.995 * a
        s = fast_sigmoid(v - 1 - 1.8 * a)
        return s, v - s, a + s

    flexible = neuron.FlexSN(*((lif, 1) if model == "lif" else (alif, 2)))
    nodes: list[tuple[str, Any]] = [("SpikingJelly FlexSN", flexible)]
    if model == "lif":
        node = neuron.LIFNode(tau=20.0, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m")
        nodes.append(("SpikingJelly LIFNode", node))
    for name, node in nodes:
        node = node.to("cuda")

        def run(x: Tensor, node: Any = node) -> Tensor:
            functional.reset_net(node)
            return node(x)

        yield name, run


def rows(model: str, shape: tuple[int, int, int], bandwidth: float) -> Iterator[str]:
    """Lines of a table: milliseconds, and the share of the floor that five arrays over the copy's bandwidth are."""
    x = (8 * torch.randn(shape, device="cuda")).requires_grad_()
    g = torch.randn(shape, device="cuda")
    floor = ARRAYS * x.numel() * x.element_size() / bandwidth * 1e3
    for name, forward in candidates(model, shape):
        try:
            took = milliseconds(training(forward, x, g))
        except Exception as error:  # of a library: said in its row
            if name.startswith("neuroode"):
                raise
            yield f"| {model} | {shape} | {name} | | does not run: {str(error).splitlines()[0][:80]} |"
            continue
        yield f"| {model} | {shape} | {name} | {took:.3f} | {100 * floor / took:.0f} % |"


def scan_rows(bandwidth: float, shapes: tuple[tuple[int, int, int], ...]) -> Iterator[str]:
    """The scan alone, beside what it must read and write: a drive and a state for each part of the state."""
    from neuroode.nn import native_triton_torch

    for form, entries, parts in (("diagonal", 1, 1), ("complex", 2, 2)):
        for shape in shapes:
            matrix = [torch.rand(shape[1:], device="cuda") * 0.7 for _ in range(entries)]
            drive = [torch.randn(shape, device="cuda") for _ in range(parts)]
            start = [torch.zeros(shape[1:], device="cuda") for _ in range(parts)]
            took = milliseconds(partial(native_triton_torch.scan, form, [*matrix, *drive], start, shape[0]))
            floor = 2 * parts * drive[0].numel() * 4 / bandwidth * 1e3
            yield f"| scan, {form} | {shape} | neuroode, Triton scan | {took:.3f} | {100 * floor / took:.0f} % |"


def block_rows(shape: tuple[int, int, int]) -> Iterator[str]:
    """The fused kernel by lanes of a block: what `lanes_of_block` should choose here."""
    from neuroode.solvers.on_triton import triton_sequence

    chosen = triton_sequence.lanes_of_block
    layer = on_triton(no.load("lif"), shape[2], torch.float32, "cuda")
    x, g = torch.randn(shape, device="cuda").requires_grad_(), torch.randn(shape, device="cuda")
    step = training(lambda x: layer(x)[0], x, g)
    try:
        for block in (32, 64, 128, 256):
            triton_sequence.lanes_of_block = partial(_always, block)
            took = milliseconds(step)
            yield f"| lif | {shape} | fused kernel, blocks of {block} lanes | {took:.3f} | |"
    finally:
        triton_sequence.lanes_of_block = chosen


def _always(block: int, _lanes: int) -> int:
    return block


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a copy that no cache holds."""
    a = torch.randn(2**27, device="cuda")
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / (milliseconds(lambda: b.copy_(a)) / 1e3)


def section(quick: bool) -> str:
    """The text for docs/benchmarks.md."""
    import triton

    bandwidth, shapes = copy_bandwidth(), QUICK if quick else SHAPES
    versions = f"torch {torch.__version__}, triton {triton.__version__}"
    machine = f"{torch.cuda.get_device_name()}, {versions}; a copy moves {bandwidth / 1e9:.0f} GB/s"
    written = f"Written by `python -m neuroode.bench.gpu_torch` on {time.strftime('%Y-%m-%d')}: {machine}."
    head = [
        page.ON_A_GPU,
        "",
        written,
        METHOD,
        "",
        "| neuron | (T, B, N) | candidate | ms | of the floor |",
        "|---|---|---|---|---|",
    ]
    body = [line for shape in shapes for model in MODELS for line in _said(rows(model, shape, bandwidth))]
    body += _said(scan_rows(bandwidth, shapes))
    body += [line for shape in shapes for line in _said(block_rows(shape))]
    return "\n".join([*head, *body])


def _said(lines: Iterator[str]) -> list[str]:
    found = []
    for line in lines:
        print(line, flush=True)
        found.append(line)
    return found


def check(device: str, quick: bool) -> bool:
    """Compare every kernel; says each figure."""
    good = True
    for row in gpu_checks_torch.rows(device, tiny=interpreted() or quick):
        good = good and row.ok
        print(row, flush=True)
    return good


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m neuroode.bench.gpu_torch", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small shape: does it run?")
    parser.add_argument("--out", type=Path, help="put the section into this page")
    given = parser.parse_args(words)
    if not interpreted() and not torch.cuda.is_available():
        print("no CUDA device here; TRITON_INTERPRET=1 checks the kernels in Triton's interpreter")
        return 2
    warnings.simplefilter("ignore")  # of the libraries
    if not check("cpu" if interpreted() else "cuda", given.quick):
        print("a kernel is wrong: nothing was timed")
        return 1
    if interpreted():
        print("every kernel agrees, in the interpreter; nothing was timed")
        return 0
    text = section(given.quick)
    if given.out:
        page.put_section(page.ON_A_GPU, text, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
