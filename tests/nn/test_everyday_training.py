"""Everyday training: truncated backpropagation, DistributedDataParallel, a layer inside Sequential, another device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import drive, neuron, scatter

import neuroode as no

F64 = torch.float64
BOTH = pytest.mark.parametrize("schedule", ["auto", "eager"])


def network(schedule: str = "auto", dtype: torch.dtype = F64) -> torch.nn.Sequential:
    torch.manual_seed(0)
    hidden = no.load("brf").torch(6, dtype=dtype, schedule=schedule, recurrent=True)
    readout = no.load("li").torch(2, dtype=dtype, schedule=schedule)
    first, last = torch.nn.Linear(3, 6, dtype=dtype), torch.nn.Linear(6, 2, dtype=dtype)
    return torch.nn.Sequential(first, hidden.only_output, last, readout.only_output)


def samples(count: int = 8, steps: int = 40) -> torch.Tensor:
    return 60 * torch.randn(steps, count, 3, dtype=F64, generator=torch.Generator().manual_seed(1))


def loss_of(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The mean over samples."""
    return (net(x).mean(0) - 0.3).square().mean()


@BOTH
def test_a_sequential_trains(schedule: str) -> None:
    net = network(schedule)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = loss_of(net, samples())
        loss.backward()
        assert all(p.grad is not None for p in net.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@BOTH
def test_truncated_backpropagation(schedule: str) -> None:
    """Chunks with detached carries: outputs are those of the whole, and what was cut is missing from the gradient."""
    torch.manual_seed(0)
    layer = scatter(neuron("alif").torch(5, dtype=F64, schedule=schedule, recurrent=True))
    x, carry, outputs, total = drive(layer, 30, 2)["I"], None, [], None
    for chunk in x.split(10):
        given = chunk.clone().requires_grad_()
        out, carry = layer(given, no.detach_carry(carry))
        (g,) = torch.autograd.grad(out.sum(), given, retain_graph=True)
        assert g.shape == chunk.shape
        grads = torch.autograd.grad(out.sum(), list(layer.parameters()))
        total = grads if total is None else [a + b for a, b in zip(total, grads, strict=True)]
        outputs.append(out.detach())
    whole, _ = layer(x)
    assert torch.equal(torch.cat(outputs), whole.detach())
    full = torch.autograd.grad(whole.sum(), list(layer.parameters()))
    assert total is not None
    assert any((a - b).abs().max() > 1e-6 for a, b in zip(total, full, strict=True))  # what was cut is missing
    out, joined = [], None
    for chunk in x.split(10):
        part, joined = layer(chunk, joined)
        out.append(part)
    kept = torch.autograd.grad(torch.cat(out).sum(), list(layer.parameters()))
    assert all((a - b).abs().max() <= 1e-11 * max(1, float(b.abs().max())) for a, b in zip(kept, full, strict=True))


def trained(net: torch.nn.Module, x: torch.Tensor, steps: int = 3) -> list[torch.Tensor]:
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        loss_of(net, x).backward()
        optimiser.step()
    return [p.detach().clone() for p in net.parameters()]


def worker(rank: int, folder: str) -> None:
    """One of two processes, each with half of the samples."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    net = torch.nn.parallel.DistributedDataParallel(network())
    found = trained(net, samples()[:, rank::2])
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_are_one(tmp_path: Path) -> None:
    """DDP over gloo with half of the batch each: the parameters of one process with the whole, to 1e-12."""
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    alone = trained(network(), samples())
    for a, b, c in zip(*both, alone, strict=True):
        assert torch.equal(a, b)
        assert (a - c).abs().max() <= 1e-12 * max(1.0, float(c.abs().max()))
    assert any(not torch.equal(c, d) for c, d in zip(alone, network().parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["lif", "alif", "cuba_lif", "brf", "bhrf", "tc_lif"])
def test_on_a_gpu(name: str) -> None:
    """The eager program on the device: values and gradients of the CPU's, in float64 to 1e-11."""
    torch.manual_seed(0)
    layer = scatter(neuron(name).torch(5, dtype=F64, schedule="eager"))
    x = drive(layer, 40, 3)
    key = next(iter(x))
    rows: dict[str, Any] = {}
    for device in ("cpu", "cuda"):
        layer = layer.to(device)
        given = x[key].to(device).requires_grad_()
        out, carry = layer(given)
        assert out.device.type == device
        grads = torch.autograd.grad(out.sum() + sum(v.sum() for v in carry.values()), [given, *layer.parameters()],
                                    allow_unused=True)  # fmt: skip
        rows[device] = [out, *carry.values(), *(g for g in grads if g is not None)]
    for a, b in zip(rows["cpu"], rows["cuda"], strict=True):
        assert (a - b.cpu()).abs().max() <= 1e-11 * max(1.0, float(a.detach().abs().max()))
