"""A training step of the LIF neuron against the memory floor, a fair torch loop and SpikingJelly."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

import torch

import neuroode as no
from neuroode.bench.measure import Row, interleaved

SHAPES = ((128, 32, 512), (1024, 8, 256), (4096, 4, 128))
MEGABYTES = 64


def run() -> None:
    """Print a table for each shape, then the peak memory of a step."""
    for shape in SHAPES:
        print(f"LIF training step, (T, B, N) = {shape}, float32, one thread; ratios to neuroode")
        for row in step_rows(shape):
            print("  ", row)
    print(f"peak memory of a step beyond its input and output cotangent: {peak_arrays():.2f} arrays of {MEGABYTES} MiB")


def step_rows(shape: tuple[int, int, int], rounds: int = 11) -> list[Row]:
    """Rows for one shape; the base is our layer with one trained tau a neuron."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = (torch.randn(shape) * 10 + 5).requires_grad_()
    g = torch.randn(shape)
    rows = {"neuroode lif": _ours(x, g), "floor: five passes, warm": _floor(shape)}
    rows["torch loop over x.unbind(0)"] = _loop(x, g)
    if importlib.util.find_spec("spikingjelly"):
        rows["SpikingJelly LIFNode"] = _spikingjelly(x, g)
    else:
        print("   (SpikingJelly is not installed: pip install spikingjelly)")
    return interleaved(rows, "neuroode lif", rounds=rounds)


def _ours(x: torch.Tensor, g: torch.Tensor) -> Callable[[], None]:
    layer = no.load("lif").torch(size=x.shape[2])

    def step() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x)[0].backward(g)

    return step


def _floor(shape: tuple[int, ...]) -> Callable[[], None]:
    """Forward reads x and writes s; backward reads x and the cotangent and writes one: five arrays pass the memory."""
    a, b, c, d, e = (torch.randn(shape) for _ in range(5))

    def step() -> None:
        torch.add(a, b, out=c)
        d.copy_(e)

    return step


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, margin):
        ctx.save_for_backward(margin)
        return (margin > 0).to(margin.dtype)

    @staticmethod
    def backward(ctx, g):
        (margin,) = ctx.saved_tensors
        return g / (1 + 2 * margin.abs()) ** 2


def _loop(x: torch.Tensor, g: torch.Tensor) -> Callable[[], None]:
    """The same neuron as a torch user would write it: four operations a step."""
    tau = torch.full((x.shape[2],), 20.0, requires_grad=True)

    def step() -> None:
        x.grad = tau.grad = None
        alpha, v, rows = torch.exp(-1 / tau), torch.zeros_like(x[0]), []
        for now in x.unbind(0):
            v = alpha * v + (1 - alpha) * now
            s = _Spike.apply(v - 1)
            v = v - s
            rows.append(s)
        torch.stack(rows).backward(g)

    return step


def _spikingjelly(x: torch.Tensor, g: torch.Tensor) -> Callable[[], None]:
    from spikingjelly.activation_based import functional, neuron, surrogate

    node = neuron.LIFNode(tau=20.0, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m")

    def step() -> None:
        x.grad = None
        functional.reset_net(node)
        node(x).backward(g)

    return step


def peak_arrays() -> float:
    """Peak memory of one training step in a process of its own, in input arrays, beyond input and cotangent."""
    out = subprocess.run([sys.executable, "-c", _MEMORY], capture_output=True, text=True, check=True)
    return float(out.stdout.split()[-1])


_MEMORY = f"""
import resource, torch, neuroode as no
def now():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
torch.set_num_threads(1)
layer = no.load("lif").torch(size=512)
layer(torch.randn(4, 2, 512, requires_grad=True))[0].sum().backward()
x = torch.randn({MEGABYTES * 2**20 // 4 // 32 // 512}, 32, 512).requires_grad_()
g = torch.randn(x.shape)
before = now()
layer(x)[0].backward(g)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / {MEGABYTES})
"""
