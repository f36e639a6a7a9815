"""`per: network`: one tensor for all layers that are built with `share=`."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from references import neuron

import neuroode as no
from neuroode import RunError
from neuroode.nn import Stack

LIF = """
parameters:
  tau: {value: 4, domain: positive, per: network}
  v_th: {value: 1, per: network, trainable: false}
  w: {value: 1, per: neuron}
equations: dv/dt = (-v + w*I)/tau
spike: v > v_th
reset: v -= v_th
"""


def net() -> Stack:
    n, share = neuron(LIF), {}
    first = n.torch(3, 0.5, share=share, recurrent=True)
    return Stack(first, torch.nn.Linear(3, 5), n.torch(5, 0.5, share=share))


def taus(stack: Stack) -> list[torch.nn.Parameter]:
    return [p for name, p in stack.named_parameters(remove_duplicate=False) if name.endswith("raw_tau")]


def test_one_tensor() -> None:
    stack = net()
    first, second = taus(stack)
    assert first is second
    assert len([p for p in stack.parameters() if p.requires_grad]) == 6  # tau, w, W_rec; weight, bias; w
    first_layer, last_layer = stack.layers[0], stack.layers[2]
    last_layer.set(tau=7.0, v_th=0.5)
    assert first_layer.values["tau"].item() == pytest.approx(7.0)
    assert first_layer.values["v_th"].item() == 0.5
    torch.manual_seed(0)
    out, _ = stack(torch.randn(20, 2, 3) * 4)
    out.sum().backward()
    assert first.grad is not None
    alone = n_gradients(stack)
    assert torch.allclose(first.grad, sum(alone), rtol=1e-4)


def n_gradients(stack: Stack) -> list[torch.Tensor]:
    """Gradients of the two uses of tau, from a stack that shares nothing."""
    other = Stack(neuron(LIF).torch(3, 0.5, recurrent=True), torch.nn.Linear(3, 5), neuron(LIF).torch(5, 0.5))
    other.load_state_dict(stack.state_dict())
    torch.manual_seed(0)
    other(torch.randn(20, 2, 3) * 4)[0].sum().backward()
    return [p.grad for p in taus(other)]


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "state_dict", "double", "at_dt"])
def test_sharing_lasts(how: str) -> None:
    stack = net()
    if how == "deepcopy":
        other = copy.deepcopy(stack)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(stack))
    elif how == "state_dict":
        stack.layers[0].set(tau=9.0)
        other = net()
        other.load_state_dict(stack.state_dict())
        assert other.layers[2].values["tau"].item() == pytest.approx(9.0)
    elif how == "double":
        other = stack.double()
    else:
        other = Stack(*(m.at_dt(0.25) if hasattr(m, "at_dt") else m for m in stack.layers))
    assert taus(other)[0] is taus(other)[1]
    other.layers[0].set(v_th=0.25, tau=3.0)
    assert other.layers[2].values["v_th"].item() == 0.25
    assert other.layers[2].values["tau"].item() == pytest.approx(3.0)


def test_a_layer_may_be_shared_with() -> None:
    first = neuron(LIF).torch(3, 0.5, share={})
    second = no.load("lif").torch(3, share=first)  # another neuron, which shares nothing
    assert "raw_tau" in dict(second.parameters_of_neuron.named_parameters())
    third = neuron(LIF).torch(2, 0.5, share=first)
    assert third.parameters_of_neuron.raw_tau is first.parameters_of_neuron.raw_tau


def test_without_share_a_layer_has_its_own() -> None:
    a, b = (neuron(LIF).torch(3, 0.5) for _ in range(2))
    assert a.parameters_of_neuron.raw_tau is not b.parameters_of_neuron.raw_tau


def test_wrong_ones() -> None:
    share: dict = {}
    neuron(LIF).torch(3, 0.5, share=share)
    other = LIF.replace("domain: positive", "domain: nonnegative")
    with pytest.raises(RunError, match="parameter 'tau' of 'made_up' is not stored like that of 'made_up'"):
        neuron(other).torch(3, 0.5, share=share)
    with pytest.raises(RunError, match="in one dtype"):
        neuron(LIF).torch(3, 0.5, share=share, dtype=torch.float64)
    with pytest.raises(RunError, match="share is a int"):
        neuron(LIF).torch(3, 0.5, share=3)
