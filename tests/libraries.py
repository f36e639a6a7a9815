"""Neurons of other libraries, run as their users run them: (T, N) float64 in, spikes and potentials (T, N) out.

Each function imports its library when it is called; versions that were tried: snnTorch 1.0.0, SpikingJelly 2.0.0,
Norse 1.1.0. Time constants are (5, 10) steps where a library wants rates or decays.
"""

from __future__ import annotations

import numpy as np
import torch

F64 = torch.float64
DECAY_S, DECAY = (float(np.exp(-1 / tau)) for tau in (5, 10))
Runs = tuple[torch.Tensor, torch.Tensor]


def drive(steps: int = 60) -> np.ndarray:
    """One input for all, from sines, so that it is the same everywhere; three neurons with gains 0.4, 1 and 2."""
    t = np.arange(steps)
    return np.outer(0.45 + 0.4 * np.sin(0.7 * t) + 0.3 * np.cos(2.1 * t * t), [0.4, 1.0, 2.0])


def snntorch_leaky(x: torch.Tensor) -> Runs:
    import snntorch

    node, mem = snntorch.Leaky(beta=torch.tensor(DECAY, dtype=F64)), torch.zeros_like(x[0])
    return _steps(x, lambda now, mem: node(now, mem), (mem,))


def snntorch_synaptic(x: torch.Tensor) -> Runs:
    import snntorch

    node = snntorch.Synaptic(torch.tensor(DECAY_S, dtype=F64), torch.tensor(DECAY, dtype=F64))
    return _steps(x, lambda now, syn, mem: node(now, syn, mem), (torch.zeros_like(x[0]),) * 2)


def snntorch_alpha(x: torch.Tensor) -> Runs:
    import snntorch

    node = snntorch.Alpha(torch.tensor(DECAY, dtype=F64), torch.tensor(DECAY_S, dtype=F64))
    return _steps(x, lambda now, *z: node(now, *z), (torch.zeros_like(x[0]),) * 3)


def spikingjelly_lif(x: torch.Tensor) -> Runs:
    from spikingjelly.activation_based import neuron

    return _spikingjelly(neuron.LIFNode(tau=10.0, step_mode="m", store_v_seq=True), x)


def spikingjelly_plif(x: torch.Tensor, decay_input: bool = True) -> Runs:
    from spikingjelly.activation_based import neuron, surrogate

    node = neuron.ParametricLIFNode(
        init_tau=4.0, decay_input=decay_input, surrogate_function=surrogate.ATan(), step_mode="m", store_v_seq=True
    )
    node.double().w.data.fill_(-np.log(3))  # the constructor rounds to float32
    return _spikingjelly(node, x)


def spikingjelly_qif(x: torch.Tensor) -> Runs:
    from spikingjelly.activation_based import neuron

    return _spikingjelly(neuron.QIFNode(step_mode="m", store_v_seq=True), x)


def norse_lif_box(x: torch.Tensor) -> Runs:
    from norse.torch.functional import lif_box

    p = lif_box.LIFBoxParameters(tau_mem_inv=torch.tensor(100.0, dtype=F64))
    return _norse(
        lambda now, z: lif_box.lif_box_feed_forward_step(now, z, p), lif_box.LIFBoxFeedForwardState(0 * x[0]), x
    )


def norse_lif(x: torch.Tensor) -> Runs:
    from norse.torch.functional import lif

    p = lif.LIFParameters(tau_syn_inv=torch.tensor(200.0, dtype=F64), tau_mem_inv=torch.tensor(100.0, dtype=F64))
    return _norse(lambda now, z: lif.lif_feed_forward_step(now, z, p), lif.LIFFeedForwardState(0 * x[0], 0 * x[0]), x)


def norse_lsnn(x: torch.Tensor) -> Runs:
    from norse.torch.functional import lsnn

    rates = (torch.tensor(1000 / tau, dtype=F64) for tau in (5, 10, 50))
    p = lsnn.LSNNParameters(*rates)
    start = lsnn.LSNNFeedForwardState(0 * x[0], 0 * x[0], 1 + 0 * x[0])
    return _norse(lambda now, z: lsnn.lsnn_feed_forward_step(now, z, p), start, x)


def _steps(x, node, state) -> Runs:  # type: ignore[no-untyped-def]
    """A node of snnTorch: its last state is the potential."""
    rows = []
    for now in x.unbind(0):
        spikes, *state = node(now, *state)
        rows.append((spikes, state[-1]))
    return tuple(torch.stack(r) for r in zip(*rows, strict=True))  # type: ignore[return-value]


def _spikingjelly(node, x: torch.Tensor) -> Runs:  # type: ignore[no-untyped-def]
    return node(x), node.v_seq


def _norse(step, state, x: torch.Tensor) -> Runs:  # type: ignore[no-untyped-def]
    rows = []
    for now in x.unbind(0):
        spikes, state = step(now, state)
        rows.append((spikes, state.v))
    return tuple(torch.stack(r) for r in zip(*rows, strict=True))  # type: ignore[return-value]


#: (model, compat) -> the neuron of the library, our parameters for it (dt is a step), and a gain of the drive
PEERS = {
    ("lif", "snntorch"): (snntorch_leaky, {"tau": 10.0}, 1.0),
    ("lif", "spikingjelly"): (spikingjelly_lif, {"tau": 10.0}, 4.0),
    ("qif", "spikingjelly"): (spikingjelly_qif, {}, 1.0),
    ("lif", "norse"): (norse_lif_box, {"tau": 10.0}, 4.0),
    ("alif", "norse"): (norse_lsnn, {"tau": 10.0, "tau_s": 5.0, "tau_a": 50.0}, 2.0),
    ("synaptic", "snntorch"): (snntorch_synaptic, {"tau": 10.0, "tau_s": 5.0}, 0.3),
    ("synaptic", "norse"): (norse_lif, {"tau": 10.0, "tau_s": 5.0}, 1.5),
    ("alpha", "snntorch"): (snntorch_alpha, {"tau_d": 10.0, "tau_r": 5.0}, 0.6),
    ("plif", None): (spikingjelly_plif, {"k": 0.25}, 2.0),
    ("plif", "undecayed_input"): (lambda x: spikingjelly_plif(x, False), {"k": 0.25}, 1.0),
}
