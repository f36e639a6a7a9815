"""Torch libraries as candidates: each neuron is set up to compute what ours computes."""

from __future__ import annotations

import math
from typing import Any

import torch

from neuroode.bench.cases import Peer, Problem, Run
from neuroode.bench.ours_torch import (
    Tensor,
    double_gaussian,
    fast_sigmoid,
    leaf,
    loop_alif,
    loop_brf,
    loop_lif,
    neuroode,
    training,
)

ATAN: dict[str, object] = {"surrogate": {"kind": "atan", "width": 1 / math.pi}}
SUPERSPIKE: dict[str, object] = {"surrogate": {"kind": "fast_sigmoid", "width": 1.0}}


def snntorch_leaky(p: Problem) -> Run:
    import snntorch

    beta = torch.exp(-1 / torch.tensor(p.values["tau"]))
    node = snntorch.Leaky(beta=beta, learn_beta=True, reset_delay=False)

    def forward(x: Tensor) -> Tensor:
        mem, rows = torch.zeros_like(x[0]), []
        for now in x.unbind(0):
            s, mem = node(now, mem)
            rows.append(s)
        return torch.stack(rows)

    return training(forward, p, node.parameters(), gain=1 - beta)


def spikingjelly_lif(p: Problem) -> Run:
    from spikingjelly.activation_based import functional, neuron, surrogate

    tau = 1 / -math.expm1(-1 / float(p.values["tau"][0]))
    node = neuron.LIFNode(tau=tau, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m")

    def forward(x: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(x)

    return training(forward, p, [])


def _flexsn(core: Any, states: int, names: tuple[str, ...], p: Problem) -> Run:
    """Static inputs are scalars or one number for each lane of a batch: parameters are copied and not trained."""
    from spikingjelly.activation_based import functional, neuron

    lanes = p.x.shape[1:]
    static = tuple(torch.tensor(p.values[name]).expand(lanes).contiguous() for name in names)
    node = neuron.FlexSN(core, states, static_inputs=static)

    def forward(x: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(x)

    return training(forward, p, node.parameters())


def flexsn_lif(p: Problem) -> Run:
    def core(x: Tensor, v: Tensor, tau: Tensor) -> tuple[Tensor, ...]:
        alpha = torch.exp(-1 / tau)
        v = alpha * v + (1 - alpha) * x
        s = fast_sigmoid(v - 1)
        return s, v - s

    return _flexsn(core, 1, ("tau",), p)


def flexsn_alif(p: Problem) -> Run:
    def core(x: Tensor, v: Tensor, a: Tensor, tau: Tensor, tau_a: Tensor) -> tuple[Tensor, ...]:
        alpha = torch.exp(-1 / tau)
        v, a = alpha * v + (1 - alpha) * x, torch.exp(-1 / tau_a) * a
        s = fast_sigmoid(v - 1 - 1.8 * a)
        return s, v - s, a + s

    return _flexsn(core, 2, ("tau", "tau_a"), p)


def flexsn_brf(p: Problem) -> Run:
    def core(x: Tensor, u: Tensor, v: Tensor, q: Tensor, omega: Tensor, b_0: Tensor) -> tuple[Tensor, ...]:
        b = (-1 + torch.sqrt(1 - (0.01 * omega) ** 2)) / 0.01 - b_0 - q
        u, v = u + 0.01 * (b * u - omega * v + x), v + 0.01 * (omega * u + b * v)
        z = double_gaussian(u - 1 - q)
        return z, u, v, 0.9 * q + z

    return _flexsn(core, 3, ("omega", "b_0"), p)


def norse_lif(p: Problem) -> Run:
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract
    from norse.torch.module.lif_box import LIFBoxCell

    rate = (1000 * -torch.expm1(-1 / torch.tensor(p.values["tau"]))).requires_grad_()
    return _norse(LIFBoxCell(LIFBoxParameters(tau_mem_inv=rate, reset_method=reset_subtract)), p, [rate])


def norse_lsnn(p: Problem) -> Run:
    from norse.torch.functional.lsnn import LSNNParameters
    from norse.torch.module.lsnn import LSNNCell

    fast, slow = (leaf(1000 / p.values[k]) for k in ("tau", "tau_a"))
    synapse = torch.full_like(fast, 200.0).detach().requires_grad_()
    return _norse(
        LSNNCell(LSNNParameters(synapse, fast, slow, beta=torch.full_like(fast, 1.8))), p, [synapse, fast, slow]
    )


def _norse(cell: Any, p: Problem, leaves: list[Tensor]) -> Run:
    def forward(x: Tensor) -> Tensor:
        state, rows = None, []
        for now in x.unbind(0):
            s, state = cell(now, state)
            rows.append(s)
        return torch.stack(rows)

    return training(forward, p, leaves)


def _atan(v: Tensor, threshold: Tensor) -> Tensor:
    return 1 / (1 + (math.pi * (v - threshold)) ** 2)


def _sinabs(kind: str, p: Problem, **options: Any) -> Run:
    from sinabs import activation, layers

    node = getattr(layers, kind)(
        spike_fn=activation.SingleSpike,
        reset_fn=activation.MembraneSubtract(subtract_value=1.0),
        surrogate_grad_fn=_atan,
        **options,
    ).to(torch.tensor(p.x).dtype)
    taus = [t for name, t in node.named_parameters() if name.startswith("tau")]
    for tensor, name in zip(taus, ("tau", "tau_a"), strict=False):
        tensor.data = torch.tensor(p.values[name])  # the constructor rounds to float32

    def forward(x: Tensor) -> Tensor:
        node.reset_states()
        return node(x.transpose(0, 1)).transpose(0, 1)

    return training(forward, p, taus)


def sinabs_lif(p: Problem) -> Run:
    return _sinabs("LIF", p, tau_mem=torch.tensor(p.values["tau"]))


def sinabs_alif(p: Problem) -> Run:
    """Its b holds (1 - rho) of a spike and decays right after it, so that rho/(1 - rho) of our beta is its scale."""
    rho = torch.exp(-1 / torch.tensor(p.values["tau_a"]))
    taus = {"tau_mem": torch.tensor(p.values["tau"]), "tau_adapt": torch.tensor(p.values["tau_a"])}
    return _sinabs("ALIF", p, adapt_scale=1.8 * rho / (1 - rho), **taus)


FAIR = "plain torch over x.unbind(0)"
PEERS = (
    Peer("lif", f"torch loop, {FAIR}", "", loop_lif, "the same formulas", {}),
    Peer("lif", "neuroode without a compiler (eager)", "", lambda p: neuroode(p, schedule="eager"), "ours", {}),
    Peer("lif", "SpikingJelly LIFNode", "spikingjelly", spikingjelly_lif,
         "tau = 1/(1 - e^(-1/tau)), v_reset=None; fires at equality; nothing trained", ATAN),
    Peer("lif", "SpikingJelly FlexSN", "spikingjelly", flexsn_lif, "our formulas as its core; nothing trained", {}),
    Peer("lif", "snnTorch Leaky", "snntorch", snntorch_leaky,
         "reset_delay=False, input times 1 - beta beforehand", ATAN),
    Peer("lif", "Norse LIFBoxCell", "norse", norse_lif,
         "rate (1 - e^(-1/tau))/dt, reset_subtract; its SuperSpike ignores alpha", SUPERSPIKE),
    Peer("lif", "sinabs LIF", "sinabs", sinabs_lif, "SingleSpike, MembraneSubtract(1); fires at equality", ATAN),
    Peer("alif", f"torch loop, {FAIR}", "", loop_alif, "the same formulas", {}),
    Peer("alif", "SpikingJelly FlexSN", "spikingjelly", flexsn_alif, "our formulas as its core; nothing trained", {}),
    Peer("alif", "Norse LSNNCell", "norse", norse_lsnn,
         "another neuron, compared with and timed beside alif's compat norse", {"compat": "norse"}),
    Peer("alif", "sinabs ALIF", "sinabs", sinabs_alif,
         "scale rho/(1 - rho) of our beta, subtracts 1; the threshold has no gradient",
         {"spike": "v > v_th + beta*detach(a)", **ATAN}),
    Peer("brf", f"authors' step, {FAIR}", "", loop_brf, "the same formulas", {}),
    Peer("brf", "SpikingJelly FlexSN", "spikingjelly", flexsn_brf, "the same core; nothing trained", {}),
    Peer("brf recurrent", f"authors' step, {FAIR}", "", loop_brf, "the same formulas", {}),
)  # fmt: skip
