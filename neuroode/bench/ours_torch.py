"""Our layers, the memory floor, and the same neurons as a torch user would write them, as candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

import neuroode as no
from neuroode.bench.cases import Array, Problem, Run

Tensor = torch.Tensor
Forward = Callable[[Tensor], Tensor]


def leaf(value: Array) -> Tensor:
    return torch.tensor(value, requires_grad=True)


def training(forward: Forward, p: Problem, leaves: Iterable[Tensor], gain: Tensor | float = 1.0) -> Run:
    """Forward and backward of a module that takes gain*x; the product is made before, as a user's weights do."""
    x, g, leaves = (torch.tensor(p.x) * gain).detach().requires_grad_(), torch.tensor(p.g), list(leaves)

    def step() -> Tensor:
        for tensor in (x, *leaves):
            tensor.grad = None
        spikes = forward(x)
        spikes.backward(g)
        return spikes

    def result() -> tuple[Array, Array]:
        spikes = step()
        assert x.grad is not None
        return spikes.detach().numpy(), (x.grad * gain).detach().numpy()

    return Run(step, result)


def neuroode(p: Problem, compat: str | None = None, spike: str = "", **options: Any) -> Run:
    """Our layer; `spike` replaces the guard where a library's gradient takes another way."""
    model, size, dtype = no.load(p.case.model, compat=compat), p.x.shape[2], torch.tensor(p.x).dtype
    model = model.replace(spike=spike) if spike else model
    layer = model.torch(size, dtype=dtype, recurrent=p.case.recurrent, **options)
    values = {k: torch.tensor(v) for k, v in p.values.items()}
    if p.case.recurrent:
        with torch.no_grad():
            layer.W_rec.copy_(values.pop("W_rec"))
    layer.set(**values)
    return training(lambda x: layer(x)[0], p, layer.parameters())


def floor(p: Problem) -> Run:
    """Forward reads x and writes s; backward reads x and the cotangent and writes one: five arrays pass the memory."""
    a, b, c, d, e = (torch.randn(p.x.shape) for _ in range(5))

    def step() -> None:
        torch.add(a, b, out=c)
        d.copy_(e)

    return Run(step, lambda: (p.x, p.x))


def heaviside(backward: Callable[[Tensor, Tensor], Tensor], at_zero: bool = False) -> Callable[[Tensor], Tensor]:
    """A step function with a surrogate, as users write it; `backward` takes the cotangent and the margin."""

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, margin: Tensor) -> Tensor:
            ctx.save_for_backward(margin)
            return (margin >= 0 if at_zero else margin > 0).to(margin.dtype)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return backward(g, *ctx.saved_tensors)

    return Spike.apply


fast_sigmoid = heaviside(lambda g, m: g / (1 + 2 * m.abs()) ** 2)
#: of the BRF paper's code
double_gaussian = heaviside(
    lambda g, m: g * (0.45878361744 * torch.exp(-2 * m * m) - 0.019947114020 * torch.exp(-m * m / 18))
)


def loop_lif(p: Problem) -> Run:
    tau = leaf(p.values["tau"])

    def forward(x: Tensor) -> Tensor:
        alpha, v, rows = torch.exp(-1 / tau), torch.zeros_like(x[0]), []
        for now in x.unbind(0):
            v = alpha * v + (1 - alpha) * now
            s = fast_sigmoid(v - 1)
            v = v - s
            rows.append(s)
        return torch.stack(rows)

    return training(forward, p, [tau])


def loop_alif(p: Problem) -> Run:
    tau, tau_a = leaf(p.values["tau"]), leaf(p.values["tau_a"])

    def forward(x: Tensor) -> Tensor:
        alpha, rho, rows = torch.exp(-1 / tau), torch.exp(-1 / tau_a), []
        v = a = torch.zeros_like(x[0])
        for now in x.unbind(0):
            v, a = alpha * v + (1 - alpha) * now, rho * a
            s = fast_sigmoid(v - 1 - 1.8 * a)
            v, a = v - s, a + s
            rows.append(s)
        return torch.stack(rows)

    return training(forward, p, [tau, tau_a])


def loop_brf(p: Problem) -> Run:
    """The step of the paper's code with the real and the imaginary part apart, over unbound steps."""
    omega, b_0 = leaf(p.values["omega"]), leaf(p.values["b_0"])
    weights = [leaf(p.values["W_rec"])] if p.case.recurrent else []

    def forward(x: Tensor) -> Tensor:
        dt, rows = 0.01, []
        rest = (-1 + torch.sqrt(1 - (dt * omega.abs()) ** 2)) / dt - b_0.abs()
        u = v = q = z = torch.zeros_like(x[0])
        for now in x.unbind(0):
            for W in weights:
                now = torch.addmm(now, z, W.t())
            b = rest - q
            u, v = u + dt * (b * u - omega * v + now), v + dt * (omega * u + b * v)
            z = double_gaussian(u - 1 - q)
            q = 0.9 * q + z
            rows.append(z)
        return torch.stack(rows)

    return training(forward, p, [omega, b_0, *weights])
