"""Candidates of the grid in torch: our schedules, loops that a user would write, libraries."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import neuroode as no
from neuroode.bench.cases import Peer, Problem, Run
from neuroode.bench.libraries_torch import spikingjelly_lif
from neuroode.bench.ours_torch import Tensor, heaviside, leaf, loop_lif, training

ATAN: dict[str, object] = {"kind": "atan", "width": 0.3183098861837907}


def ours(p: Problem, schedule: str = "auto") -> Run:
    """Our layer; the surrogate is that of the library that a spiking case is compared with."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"surrogate": ATAN} if p.case.name == "lif" and schedule == "library" else {}
    layer = no.load(p.case.model).torch(p.x.shape[2], dtype=torch.tensor(p.x).dtype, schedule=schedule, **options)
    layer.set(**{k: torch.tensor(v) for k, v in p.values.items()})
    return training(lambda x: layer(x)[0], p, layer.parameters())


def _alpha(p: Problem) -> Tensor:
    return torch.exp(-1 / torch.tensor(p.values["tau"]))


def state_leaky(p: Problem) -> Run:
    """Its beta is 1 - 1/tau, its kernel e^(-t/tau) without our gain."""
    import snntorch

    beta = 1 - 1 / torch.tensor(p.values["tau"])
    node = snntorch.StateLeaky(beta=beta, channels=p.x.shape[2], learn_beta=True, output=False)
    return training(node, p, node.parameters(), gain=1 - _alpha(p))


def linear_leaky(p: Problem) -> Run:
    """With the identity as its linear layer, whose products count."""
    import snntorch

    n, beta = p.x.shape[2], 1 - 1 / torch.tensor(p.values["tau"])
    node = snntorch.LinearLeaky(beta=beta, in_features=n, out_features=n, bias=False, learn_beta=True, output=False)
    with torch.no_grad():
        node.linear.weight.copy_(torch.eye(n))
    return training(node, p, node.parameters(), gain=1 - _alpha(p))


def ours_after_linear(p: Problem) -> Run:
    """What LinearLeaky is compared with: the same linear layer before ours."""
    layer, linear = no.load("li").torch(p.x.shape[2]), torch.nn.Linear(p.x.shape[2], p.x.shape[2], bias=False)
    layer.set(tau=torch.tensor(p.values["tau"]))
    with torch.no_grad():
        linear.weight.copy_(torch.eye(p.x.shape[2]))
    return training(lambda x: layer(linear(x))[0], p, [*layer.parameters(), *linear.parameters()])


def loop_leaky(p: Problem) -> Run:
    tau = leaf(p.values["tau"])

    def forward(x: Tensor) -> Tensor:
        alpha, v, rows = torch.exp(-1 / tau), torch.zeros_like(x[0]), []
        for now in x.unbind(0):
            v = alpha * v + (1 - alpha) * now
            rows.append(v)
        return torch.stack(rows)

    return training(forward, p, [tau])


atan = heaviside(lambda g, m: g / (1 + (torch.pi * m) ** 2), at_zero=True)
triangle = heaviside(lambda g, m: g * (1 - m.abs()).clamp(min=0))


def loop_prf(p: Problem) -> Run:
    """u = e^(A delta) u + phi_1(A delta) delta x with A = -1/2 + i theta."""
    delta, theta = leaf(p.values["delta"]), leaf(p.values["theta"])

    def forward(x: Tensor) -> Tensor:
        rate = torch.complex(torch.full_like(theta, -0.5), theta)
        keep, gain = torch.exp(rate * delta), torch.expm1(rate * delta) / rate
        u, rows = torch.zeros_like(x[0]) * gain, []
        for now in x.unbind(0):
            u = keep * u + gain * now
            rows.append(atan(u.real - 1))
        return torch.stack(rows)

    return training(forward, p, [delta, theta])


def loop_drf(p: Problem) -> Run:
    """Four branches, tau = 2 and omega = pi k, read as Re sum C z; the threshold is raised by the last pre-spikes."""
    delta, C, alpha = (leaf(p.values[k]) for k in ("delta", "C", "alpha"))
    rate = -0.5 + 1j * torch.pi * torch.arange(4)

    def forward(x: Tensor) -> Tensor:
        A = torch.exp(delta[:, None] * rate)
        gain, rows, past = (A - 1) / rate, [], [torch.zeros_like(x[0])] * 4
        z = torch.zeros_like(x[0])[..., None] * gain
        for now in x.unbind(0):
            z = A * z + gain * now[..., None]
            h = (C * z).real.sum(-1)
            v_th = 1 + sum(a * b for a, b in zip(alpha, past, strict=True))
            past = [triangle(h - 1), *past[:-1]]
            rows.append(triangle(h - v_th))
        return torch.stack(rows)

    return training(forward, p, [delta, C, alpha])


TAPS = 32


def sliding_psn(p: Problem) -> Run:
    """Its weight counts from the oldest input, its bias is -B; spikes at equality."""
    from spikingjelly.activation_based import neuron, surrogate

    node = neuron.SlidingPSN(TAPS, surrogate_function=surrogate.ATan(), step_mode="m")
    return training(node, p, node.parameters())


def convolved_psn(p: Problem) -> Run:
    """The same as a convolution along time."""
    weight, bias = leaf(2.0 ** -torch.arange(TAPS - 1.0, -1, -1).numpy()), torch.tensor(1.0, requires_grad=True)

    def forward(x: Tensor) -> Tensor:
        rows = torch.nn.functional.pad(x.flatten(1).t()[:, None], (TAPS - 1, 0))
        h = torch.nn.functional.conv1d(rows, weight[None, None])
        return atan(h[:, 0].t().reshape(x.shape) - bias)

    return training(forward, p, [weight, bias])


def _schedules(case: str, *names: str) -> list[Peer]:
    rows = [Peer(case, "neuroode", "", ours, "", {})]
    return rows + [Peer(case, f"neuroode {n}", "", partial(ours, schedule=n), "", {}) for n in names]


PEERS = (
    *_schedules("leaky", "sequential", "scan", "fft"),
    Peer("leaky", "neuroode after Linear", "", ours_after_linear, "", {}),
    Peer("leaky", "torch loop", "", loop_leaky, "", {}),
    Peer("leaky", "snnTorch StateLeaky", "snntorch", state_leaky, "", {}),
    Peer("leaky", "snnTorch LinearLeaky", "snntorch", linear_leaky, "", {}),
    *_schedules("lif", "sequential", "scan"),
    Peer("lif", "torch loop", "", loop_lif, "", {}),
    Peer("lif", "SpikingJelly LIFNode", "spikingjelly", spikingjelly_lif, "", {}),
    *_schedules("prf", "sequential", "scan", "fft"),
    Peer("prf", "torch loop", "", loop_prf, "", {}),
    *_schedules("drf", "sequential", "scan", "fft"),
    Peer("drf", "torch loop", "", loop_drf, "", {}),
    *_schedules("sliding_psn", "sequential", "scan"),
    Peer("sliding_psn", "torch conv1d", "", convolved_psn, "", {}),
    Peer("sliding_psn", "SpikingJelly SlidingPSN", "spikingjelly", sliding_psn, "", {}),
)
