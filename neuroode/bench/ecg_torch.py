"""A training step of the BRF paper's ECG network (4-36-6, T = 1300, batch 16) against a fair torch loop."""

from __future__ import annotations

from collections.abc import Callable

import torch

import neuroode as no
from neuroode.bench.measure import Row, interleaved
from neuroode.train.linear_torch import Linear

STEPS, BATCH, CHANNELS, SIZE, CLASSES = 1300, 16, 4, 36, 6


TITLE = f"A step of the BRF paper's ECG network, 4-36-6, T = {STEPS}, batch {BATCH}: forward, loss, backward, Adam"


def step_rows(rounds: int = 7) -> list[Row]:
    """Forward, loss, backward and Adam, with our kernels and with the same network as a torch loop."""
    torch.set_num_threads(1)
    fast, slow = (_training_step(schedule) for schedule in ("auto", "loop"))
    return interleaved({"neuroode": fast, "torch loop over x.unbind(0)": slow}, "neuroode", rounds=rounds)


def _training_step(schedule: str) -> Callable[[], None]:
    from neuroode.train.loss_torch import nll_sum

    torch.manual_seed(0)
    x = (torch.rand(STEPS, BATCH, CHANNELS) < 0.1).float()
    y = torch.randint(CLASSES, (BATCH, STEPS))
    net = _Network() if schedule == "auto" else _Loop()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        nll_sum(net(x), y, skip=0).backward()
        optimiser.step()

    return step


class _Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = Linear(CHANNELS, SIZE, bias=False)
        self.hidden = no.load("brf").torch(SIZE, recurrent=True, init={"omega": "uniform(3, 5)"})
        self.out = Linear(SIZE, CLASSES, bias=False)
        self.leaky = no.load("li").torch(CLASSES, dt=1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leaky(self.out(self.hidden(self.into(x))[0]))[0]


class _Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, m):
        ctx.save_for_backward(m)
        return (m > 0).to(m.dtype)

    @staticmethod
    def backward(ctx, g):
        (m,) = ctx.saved_tensors
        return g * (0.45878362 * torch.exp(-2 * m * m) - 0.019947114 * torch.exp(-m * m / 18))


class _Loop(torch.nn.Module):
    """The network as its authors' code computes it, with the loop over unbound steps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Linear(CHANNELS + SIZE, SIZE, bias=False)
        self.omega = torch.nn.Parameter(torch.empty(SIZE).uniform_(3, 5))
        self.b_0 = torch.nn.Parameter(torch.empty(SIZE).uniform_(0.1, 1))
        self.out = torch.nn.Linear(SIZE, CLASSES, bias=False)
        self.tau = torch.nn.Parameter(torch.empty(CLASSES).normal_(20, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dt, omega = 0.01, self.omega.abs()
        p = (-1 + torch.sqrt(1 - (dt * omega) ** 2)) / dt - self.b_0.abs()
        keep = torch.exp(-1 / self.tau.abs())
        u = v = q = z = x.new_zeros(x.shape[1], SIZE)
        o, rows = x.new_zeros(x.shape[1], CLASSES), []
        for now in x.unbind(0):
            drive, b = self.weight(torch.cat([now, z], 1)), p - q
            u, v = u + dt * (b * u - omega * v + drive), v + dt * (omega * u + b * v)
            z = _Surrogate.apply(u - 1 - q)
            q = 0.9 * q + z
            o = keep * o + (1 - keep) * self.out(z)
            rows.append(o)
        return torch.stack(rows)
