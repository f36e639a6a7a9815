"""Parallel neurons against checks of their papers: P1-P7 (PSN), M1-M7 (multiplication-free PSN), Q (SSM), PRF."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from references import distance

import neuroode as no

F64 = torch.float64
RNG = np.random.default_rng(11)


def spikes_and_h(name: str, x: np.ndarray, k: int | None = None, **parameters: Any) -> tuple[np.ndarray, np.ndarray]:
    """A psn as long as x (T, N)."""
    neuron = no.load(name).replace(horizon=len(x))
    neuron = neuron if k is None else neuron.replace(parameters={"k": k})
    found = neuron.simulate(x[:, None], parameters=parameters)
    return found["s"][:, 0], found["h"][:, 0]


def weights(steps: int) -> np.ndarray:
    """W[tau, t]."""
    return RNG.normal(0, 1 / np.sqrt(steps), (steps, steps))


def test_p1_psn_with_the_weights_of_a_lif_is_a_lif_without_reset() -> None:
    steps, tau = 64, 3.0
    x, at = RNG.normal(1, 2, (steps, 5)), np.arange(steps)
    lag = at[None] - at[:, None]
    w = np.where(lag >= 0, (1 - 1 / tau) ** np.maximum(lag, 0) / tau, 0.0)
    spikes, h = spikes_and_h("psn", x, W=w, B=np.ones(steps))
    v, rows = np.zeros(5), []
    for row in x:
        v = (1 - 1 / tau) * v + row / tau
        rows.append(v)
    assert distance(h, np.stack(rows)) <= 1e-12
    assert np.array_equal(spikes, np.stack(rows) >= 1)
    assert 0.05 < spikes.mean() < 0.95


def test_p2_masked_psn_is_a_queue_of_the_last_k_inputs() -> None:
    steps, k = 64, 32
    x, w, threshold = RNG.normal(0, 3, (steps, 6)), weights(steps), RNG.uniform(0.5, 1.5, steps)
    spikes, _ = spikes_and_h("masked_psn", x, k, W=w, B=threshold, lam=1)
    queue: list[tuple[int, np.ndarray]] = []
    for t in range(steps):
        queue = [*queue, (t, x[t])][-k:]
        h = sum(w[tau, t] * row for tau, row in queue)
        assert np.array_equal(spikes[t], h >= threshold[t])
    assert 0.05 < spikes.mean() < 0.95


def test_p3_sliding_psn_is_a_banded_product_and_a_convolution() -> None:
    steps, k = 64, 8
    x, w = RNG.normal(0.5, 1, (steps, 6)), RNG.normal(0, 1, k)
    found = no.load("sliding_psn").with_axes({"k": k}).simulate(x[:, None], parameters={"w": w})
    lag = np.arange(steps)[:, None] - np.arange(steps)[None]
    banded = np.where((lag >= 0) & (lag < k), w[np.clip(lag, 0, k - 1)], 0.0)
    padded = torch.nn.functional.pad(torch.tensor(x.T)[:, None], (k - 1, 0))
    conv = torch.nn.functional.conv1d(padded, torch.tensor(w[::-1].copy())[None, None])[:, 0].T.numpy()
    assert distance(found["h"][:, 0], banded @ x) <= 1e-14
    for h in (banded @ x, conv):
        assert np.array_equal(found["s"][:, 0], h >= 1)


@pytest.mark.parametrize(
    ("name", "lam", "causal"), [("masked_psn", 1, True), ("masked_psn", 0.9, False), ("psn", 0, False)]
)
def test_p4_only_a_complete_mask_is_causal(name: str, lam: float, causal: bool) -> None:
    """Before lam = 1 a masked neuron looks into the future: what is measured during the schedule is not causal."""
    steps, cut = 32, 20
    x, w = RNG.normal(0, 3, (steps, 50)), weights(steps)
    other = np.concatenate([x[:cut], RNG.normal(0, 3, (steps - cut, 50))])
    given = {"W": w, "B": np.ones(steps)} | ({"lam": lam} if name == "masked_psn" else {})
    a, b = (spikes_and_h(name, each, **given)[0] for each in (x, other))
    assert np.array_equal(a[:cut], b[:cut]) == causal
    assert not np.array_equal(a[cut:], b[cut:])


def test_p5_a_mask_as_long_as_the_sequence_is_a_triangle() -> None:
    steps = 24
    x, w = RNG.normal(0, 3, (steps, 6)), weights(steps)
    _, masked = spikes_and_h("masked_psn", x, steps, W=w, lam=1)
    _, whole = spikes_and_h("psn", x, W=np.triu(w))
    assert distance(masked, whole) <= 1e-14


def test_p6_between_no_mask_and_a_complete_one_h_is_their_convex_combination() -> None:
    steps = 24
    x, w = RNG.normal(0, 3, (steps, 6)), weights(steps)
    free, some, full = (spikes_and_h("masked_psn", x, 4, W=w, lam=lam)[1] for lam in (0, 0.3, 1))
    assert distance(some, 0.3 * full + 0.7 * free) <= 1e-13
    assert distance(free, np.einsum("st,sn->tn", w, x)) <= 1e-14


def test_p7_the_gradient_does_not_decay_with_the_distance() -> None:
    layer = no.load("psn").add(outputs={"h": "h", "s": "s"}).torch(3, dtype=F64)
    x = torch.randn(32, 1, 3, dtype=F64, requires_grad=True)
    h = layer(x)[0]["h"]
    (slope,) = torch.autograd.grad(h[-1].sum(), x)
    assert torch.allclose(slope[0], layer.W[0, 31].expand(1, 3), rtol=1e-15)


def test_initial_weights_are_those_of_the_released_code() -> None:
    """kaiming_uniform with a = sqrt 5: within 1/sqrt(T); threshold 1; one matrix for the layer."""
    torch.manual_seed(0)
    for name in ("psn", "masked_psn"):
        layer = no.load(name).torch(7)
        assert layer.W.shape == (32, 32)
        assert 0.9 < layer.W.abs().max() * 32**0.5 <= 1
        assert torch.equal(layer.B.detach(), torch.ones(32))
    assert no.load("masked_psn").torch(3).lam == 0


# the multiplication-free neuron


def taps(channels: int, k: int = 3) -> np.ndarray:
    return RNG.normal(0, 1, (channels, k))


def quantised(w: np.ndarray) -> np.ndarray:
    return np.sign(w) * 2.0 ** np.round(np.log2(np.abs(w)))


def run_channels(x: np.ndarray, w: np.ndarray, d: int = 1, **parameters: Any) -> dict[str, np.ndarray]:
    """x (T, C)."""
    neuron = no.load("mul_free_psn").replace(parameters={"d": d})
    return {n: v[:, 0] for n, v in neuron.simulate(x[:, None], parameters={"w": w, **parameters}).items()}


@pytest.mark.parametrize("d", [1, 2, 3])
def test_m1_it_is_a_depthwise_dilated_causal_convolution(d: int) -> None:
    x, w = RNG.normal(0, 2, (40, 5)), quantised(taps(5))
    found = run_channels(x, w, d)
    padded = torch.nn.functional.pad(torch.tensor(x.T)[None], (2 * d, 0))
    kernel = torch.tensor(w[:, ::-1].copy())[:, None]
    conv = torch.nn.functional.conv1d(padded, kernel, dilation=d, groups=5)[0].T.numpy() - 1
    assert distance(found["h"], conv) <= 1e-15
    assert np.array_equal(found["s"], conv >= 0)


def test_m2_without_dilation_and_with_shared_taps_it_is_the_sliding_psn() -> None:
    x, w = RNG.normal(0.3, 1, (60, 4)), quantised(taps(1, 3))[0]
    sliding = no.load("sliding_psn").with_axes({"k": 3}).simulate(x[:, None], parameters={"w": w})
    found = run_channels(x, np.tile(w, (4, 1)))
    assert np.array_equal(found["s"], sliding["s"][:, 0])


def test_m3_taps_are_powers_of_two_next_in_the_logarithm() -> None:
    w = RNG.normal(0, 1, (200, 3))
    once = run_channels(np.ones((2, 200)), w)["q"][0]
    assert np.array_equal(once, quantised(w))
    assert np.array_equal(run_channels(np.ones((2, 200)), once)["q"][0], once)
    ratio = np.abs(once / w)
    assert 2**-0.5 <= ratio.min() < ratio.max() <= 2**0.5
    powers = 2.0 ** np.arange(-60, 61, dtype=float).repeat(3).reshape(-1, 3)
    assert np.array_equal(run_channels(np.ones((2, 121)), powers)["q"][0], powers)
    assert np.array_equal(run_channels(np.ones((2, 1)), np.array([[0.0, 1.4, 1.5]]))["q"][0], [[0.0, 1.0, 2.0]])


def test_m4_shifts_and_additions_of_whole_numbers_give_the_same_spikes() -> None:
    x, w = RNG.integers(-127, 128, (80, 6)), taps(6)
    found = run_channels(x.astype(float), w, 2, b=np.full(6, -64.0))
    shift, sign = np.round(np.log2(np.abs(w))).astype(int), np.sign(w).astype(int)
    least = min(int(shift.min()), 0)
    for t in range(80):
        rows = [[(c, i) for i in range(3) if t >= 2 * i] for c in range(6)]
        total = [
            sum(int(sign[at]) * (int(x[t - 2 * at[1], at[0]]) << int(shift[at] - least)) for at in r) for r in rows
        ]
        assert np.array_equal(found["h"][t] * 2.0**-least, np.array(total) - (64 << -least))
        assert found["s"][t].tolist() == [float(n >= 64 << -least) for n in total]
    assert 0.05 < found["s"].mean() < 0.95


def test_m5_a_normalisation_folds_into_taps_and_threshold() -> None:
    """Running statistics; the gain is a power of two, so that the taps after folding are ones."""
    x, w = RNG.normal(0, 1, (50, 4)), quantised(taps(4))
    mean, gain, beta = RNG.normal(0, 0.3, 4), 2.0 ** RNG.integers(-1, 3, 4), RNG.normal(-1, 0.3, 4)
    raw = run_channels(x, w, b=np.zeros(4))["h"]
    folded = run_channels(x, w * gain[:, None], b=beta - gain * mean)["h"]
    assert distance(folded, gain * (raw - mean) + beta) <= 1e-14


def test_m6_six_dilated_layers_see_25_steps() -> None:
    x = np.zeros((40, 1))
    x[5] = 1
    one = run_channels(x, np.ones((1, 3)), 3, b=np.zeros(1))["h"]
    assert np.flatnonzero(one[:, 0]).tolist() == [5, 8, 11]
    for dilations, reach in (((1, 2, 3) * 2, 24), ((1,) * 6, 12)):
        h = x
        for d in dilations:
            h = run_channels(h, np.ones((1, 3)), d, b=np.zeros(1))["h"]
        assert np.flatnonzero(h[:, 0]).tolist() == list(range(5, 6 + reach))


def test_m7_the_gradient_of_taps_is_that_of_the_taps_that_were_used() -> None:
    x, w = torch.tensor(RNG.normal(0, 2, (30, 2, 4))), taps(4)
    plain = no.load("mul_free_psn").replace(equations="q[k] = w[k]")
    grads = []
    for neuron, taken in ((no.load("mul_free_psn"), w), (plain, quantised(w))):
        layer = neuron.torch(4, dtype=F64).set(w=taken)
        (layer(x)[0] * torch.linspace(0, 1, 30, dtype=F64)[:, None, None]).sum().backward()
        grads.append(layer.parameters_of_neuron.raw_w.grad)
    assert torch.allclose(*grads, rtol=1e-13)
    assert bool((grads[0] != 0).all())


# the linear part of P-SpikeSSM


def test_q1_scan_convolution_and_loop_are_equal() -> None:
    torch.manual_seed(0)
    neuron = no.load("p_spikessm", compat="linear")
    x, runs = torch.randn(1024, 1, 3), {}
    first = neuron.torch(3, schedule="sequential")
    for schedule in ("sequential", "scan", "fft"):
        layer = neuron.torch(3, schedule=schedule)
        layer.load_state_dict(first.state_dict())
        with torch.no_grad():
            runs[schedule] = layer(x)[0].numpy()
    wide = neuron.simulate(x.numpy(), parameters={n: v.detach().numpy() for n, v in first.values.items()})["y"]
    for found in runs.values():
        assert distance(found, wide) <= 1e-5


def test_q5_the_bilinear_step_of_a_scalar() -> None:
    line = {"equations": "dx/dt = -x/2 + I", "outputs": "x"}
    steps = {
        m: no.Neuron("line", method=m, **line).simulate(np.eye(2)[:, :1, None], 0.01)["x"]
        for m in ("bilinear", "exact")
    }
    decay = {m: float(x[1, 0, 0] / x[0, 0, 0]) for m, x in steps.items()}
    assert decay["bilinear"] == pytest.approx(0.995012469, abs=5e-10)
    assert decay["exact"] == pytest.approx(0.995012479, abs=5e-10)


def test_q7_the_step_is_stable_at_any_length() -> None:
    x = np.zeros((3, 1, 1))
    x[0] = 1
    for delta in (1e-3, 1.0, 1e3, 1e6):
        found = no.load("p_spikessm", compat="linear").simulate(x, parameters={"delta": [delta]})["x"]
        assert (np.abs(found[2]) < np.abs(found[1])).all()
        a = delta * (-0.5 + 1j * (v := no.load("p_spikessm", compat="linear").torch(1).omega.detach().double().numpy()))
        assert v.shape == (8,)
        assert distance(found[2, 0, 0] / found[1, 0, 0], (1 + a / 2) / (1 - a / 2)) <= 1e-6


# the decoupled reset of PRF


def lif_with_soft_reset(c: torch.Tensor, beta: torch.Tensor, V: float = 1.0, detached: bool = False) -> torch.Tensor:
    """u_t = beta*(u_{t-1} - V s_{t-1}) + c_t, spikes with the surrogate of the model (PRF, eq. 2-3)."""
    u, s, rows = torch.zeros_like(c[0]), torch.zeros_like(c[0]), []
    for now in c:
        u = beta * (u - V * (s.detach() if detached else s)) + now
        soft = (u - V) / (1 + (np.pi * (u - V).detach()) ** 2)
        s = (u >= V).to(u) + (soft - soft.detach())
        rows.append(s)
    return torch.stack(rows)


def test_the_decoupled_reset_gives_the_spikes_of_a_lif() -> None:
    for seed in range(10):
        random = np.random.default_rng(seed)
        beta, c = random.uniform(0.1, 0.99), random.normal(0.3, 1, (1024, 1, 4))
        found = {
            m: no.load("prf_decoupled_lif", compat=m).simulate(c, parameters={"beta": beta})
            for m in (None, "main_text")
        }
        wanted = lif_with_soft_reset(torch.tensor(c), torch.tensor(beta)).numpy()
        assert np.array_equal(found[None]["s"], wanted)
        assert 0.02 < wanted.mean() < 0.98
        assert (found["main_text"]["s"] != wanted).mean() > 0.05


@pytest.mark.parametrize(("compat", "detached"), [(None, False), ("detached", True), ("code_gradient", True)])
def test_gradients_of_the_decoupled_reset(compat: str | None, detached: bool) -> None:
    """Through the reset and with a detached one; the released graph is right for the input and wrong for beta."""
    random = torch.Generator().manual_seed(0)
    c = (0.3 + torch.randn(200, 2, 4, generator=random, dtype=F64)).requires_grad_()
    g = torch.randn(200, 2, 4, generator=random, dtype=F64)
    beta = torch.tensor(0.8, dtype=F64, requires_grad=True)
    wanted = torch.autograd.grad((lif_with_soft_reset(c, beta, detached=detached) * g).sum(), [c, beta])
    layer = no.load("prf_decoupled_lif", compat=compat).torch(4, dtype=F64).set(beta=0.8)
    raw = layer.parameters_of_neuron.raw_beta
    found = torch.autograd.grad((layer(c)[0] * g).sum(), [c, raw])
    by_beta = found[1] / (0.8 * 0.2)  # the slope of the sigmoid
    assert distance(found[0], wanted[0]) <= 1e-12
    off = abs(by_beta.item() - wanted[1].item()) / abs(wanted[1].item())
    assert off > 0.1 if compat == "code_gradient" else off <= 1e-10


# variants of D-RF


def drf(compat: str | None = None, alpha: float | None = 0.3, **parameters: Any) -> dict[str, np.ndarray]:
    """k = 4 branches of 3 channels, driven so that half the steps come near the threshold."""
    random = np.random.default_rng(4)
    x = random.normal(0, 60, (300, 1, 3))
    given = {"delta": [0.02, 0.05, 0.1], "C": random.normal(0, 1, (3, 4))} | parameters
    given |= {} if alpha is None else {"alpha": np.full(4, alpha)}
    return no.load("drf", compat=compat).simulate(x, parameters=given)


def test_pre_spikes_raise_the_threshold_of_drf_and_never_lower_it() -> None:
    found = drf()
    assert (found["s"] <= found["p"]).all()
    assert 0.02 < found["s"].mean() < found["p"].mean()
    assert np.array_equal(drf(alpha=0)["s"], drf(alpha=0)["p"])


def test_the_released_drf_has_a_fixed_threshold() -> None:
    assert np.array_equal(drf("code", alpha=None)["s"], drf(alpha=0)["s"])


def test_the_drf_of_the_paper_reads_real_parts_with_real_weights() -> None:
    """With a real C both forms are one; a complex C weighs the phase of each branch too."""
    assert np.array_equal(drf("paper")["s"], drf()["s"])
    turned = np.random.default_rng(5).normal(0, 1, (3, 4)) * 1j
    assert not np.array_equal(drf(C=turned)["s"], drf("paper", C=turned.imag)["s"])
