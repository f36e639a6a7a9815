"""`compat` reproduces what other libraries compute, spike by spike; what ours computes instead, where that differs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from libraries import DECAY, PEERS, drive

import neuroode as no

KEYS = pytest.mark.parametrize("key", PEERS, ids=lambda key: "-".join(map(str, key)))

#: made with the versions that `libraries` names: spikes of each neuron, the sum of their steps, the last potentials
FROZEN = {
    ("lif", "snntorch"): ([7, 21, 43], [209, 637, 1298], [0.5993123280244461, 0.7619400542503827, 2.0104056227447265]),
    ("lif", "spikingjelly"): ([0, 7, 15], [0, 206, 454], [0.763404485212704, 0.7753959527700148, 0.279468602010412]),
    ("qif", "spikingjelly"): (
        [1, 8, 16],
        [37, 246, 479],
        [0.7042206500260797, 0.5021977690588388, 0.25559526994340054],
    ),
    ("lif", "norse"): ([0, 7, 15], [0, 206, 454], [0.7634044852127041, 0.7753959527700148, 0.279468602010412]),
    ("alif", "norse"): ([2, 4, 7], [63, 98, 192], [1.1561568961723052, 3.111221136995055, 0.0]),
    ("synaptic", "snntorch"): (
        [12, 34, 57],
        [407, 1104, 1749],
        [0.3051178595664976, 1.6132873174137123, 5.83139894830837],
    ),
    ("synaptic", "norse"): ([3, 13, 26], [124, 424, 836], [0.4678639886341049, 0.7702655325479179, 0.0]),
    ("alpha", "snntorch"): ([1, 5, 7], [33, 164, 216], [0.9487153006154172, 0.0, 0.0]),
    ("plif", None): ([0, 5, 17], [0, 146, 538], [0.37880002090149967, 0.4302941984532732, 0.2902395328483639]),
    ("plif", "undecayed_input"): (
        [3, 17, 31],
        [134, 538, 908],
        [0.11609581313934556, 0.29023953284836385, 0.5804790656967277],
    ),
}


@KEYS
def test_frozen_runs(key: tuple[str, str]) -> None:
    _, values, gain = PEERS[key]
    found = no.load(key[0], compat=key[1]).simulate(gain * drive()[:, None], parameters=values)
    spikes, steps, last = FROZEN[key]
    assert list(found["s"][:, 0].sum(0)) == spikes
    assert list(np.arange(60) @ found["s"][:, 0]) == steps
    assert np.abs(found["v"][-1, 0] - last).max() <= 1e-12


@KEYS
def test_the_library_itself(key: tuple[str, str]) -> None:
    """Spikes, potentials and the gradient of the input (norse: SuperSpike without its alpha, which 1.1.0 ignores)."""
    library, values, gain = PEERS[key]
    x = torch.tensor(gain * drive(), requires_grad=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spikes, v = library(x)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    layer = no.load(key[0], compat=key[1]).torch(3, dtype=torch.float64)
    layer.set(**values)
    ours = x.detach()[:, None].requires_grad_()
    trace = layer.trace(ours)
    assert torch.equal(trace["s"][:, 0], spikes)
    assert (trace["v"][:, 0] - v).abs().max() <= 1e-12
    weight = torch.tensor(np.cos(np.arange(180.0)).reshape(60, 3))
    (expected,) = torch.autograd.grad((weight * spikes).sum(), x)
    (found,) = torch.autograd.grad((weight * layer(ours)[0][:, 0]).sum(), ours)
    assert (found[:, 0] - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_a_late_reset_takes_the_threshold_after_the_decay() -> None:
    """In the step after a spike the two soft resets differ by (1 - beta)*v_th."""
    late, x = no.load("lif", compat="snntorch"), np.full((9, 1, 1), 0.3)
    same = no.load("lif", compat="snntorch").replace(reset="v -= v_th")
    a, b = (n.simulate(x, parameters={"tau": 10.0}) for n in (late, same))
    first = int(a["s"].argmax())
    assert 0 < first < 8
    assert b["v"][first + 1] - a["v"][first + 1] == pytest.approx(1 - DECAY, abs=1e-12)


def test_decays_of_euler_are_no_exact_ones() -> None:
    """SpikingJelly's tau of 2 keeps half a step; the exact neuron with the same decay has tau 1/ln 2."""
    x = np.eye(4)[:, :1, None]
    euler = no.load("lif", compat="spikingjelly").simulate(x, parameters={"tau": 2.0})["v"].ravel()
    exact = no.load("lif").simulate(x, parameters={"tau": 1 / np.log(2)})["v"].ravel()
    assert euler == pytest.approx([0.5, 0.25, 0.125, 0.0625], abs=1e-15)
    assert euler == pytest.approx(exact, abs=1e-15)


def test_equality_fires_in_one_library_and_not_in_the_others() -> None:
    spikes = {c: no.load("lif", compat=c).simulate(np.full((1, 1, 1), 2.0), parameters={"tau": 2.0})["s"].item()
              for c in ("spikingjelly", "norse")}  # fmt: skip
    assert spikes == {"spikingjelly": 1.0, "norse": 0.0}


def test_alpha_of_snntorch_has_a_height_below_1() -> None:
    """Golden: tau_alpha = 1.894530 and a peak of 0.510191 at step 6 for (0.9, 0.8); ours peaks at 1 after tau."""
    x = np.eye(30)[:, :1, None]
    taus = {"tau_d": -1 / np.log(0.9), "tau_r": -1 / np.log(0.8)}
    v = no.load("alpha", compat="snntorch").simulate(x, parameters=taus)["v"].ravel()
    assert (v.argmax(), v[0]) == (6, 0)
    assert v[6] == pytest.approx(0.510191, abs=5e-7)
    v = no.load("alpha").simulate(0.99 * x, parameters={"tau": 6.0})["v"].ravel()
    assert v.argmax() == 5  # the end of step 5 is time 6
    assert v[5] == pytest.approx(0.99, abs=1e-12)


def test_the_current_of_synaptic() -> None:
    """snnTorch's response to one input is (a^(t+1) - b^(t+1))/(a - b); the exact one is its integral."""
    x, (a, b) = 0.01 * np.eye(30)[:, :1, None], np.exp([-1 / 5, -1 / 10])
    t = np.arange(1, 31)
    v = no.load("synaptic", compat="snntorch").simulate(x)["v"].ravel()
    assert v == pytest.approx(0.01 * (a**t - b**t) / (a - b), abs=1e-14)
    v = no.load("synaptic").simulate(x)["v"].ravel()
    assert v == pytest.approx(0.1 * (b**t - a**t), abs=1e-14)
