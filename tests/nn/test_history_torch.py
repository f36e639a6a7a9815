"""Torch layers that keep the whole past: against the numpy reference, their gradients against autograd of direct
sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neuroode as no
from neuroode.nn import history_native_torch, history_torch
from neuroode.program import history_step
from neuroode.solvers.on_numpy import fractional

STEP, STEPS = 0.05, 66
DOUBLE = torch.float64
METHODS = ("gl", "gl(implicit)", "l1", "l1(explicit)", "abm", "flmm2", "flmm2(trapezoidal)")
EXPLICIT = ("gl", "l1(explicit)", "abm")


def neuron(do: str = "v -= v_th", memory: str = "jump", **keys: Any) -> no.Neuron:
    given: dict[str, Any] = {
        "parameters": {
            "alpha": no.Parameter(0.6, domain="interval(0.05, 1)"),
            "tau": no.Parameter(0.5, domain="positive"),
            "v_th": 0.6,
        },
        "equations": "D^alpha v = (-v + I)/tau",
        "states": {"v": 0.3},
        "spike": "v >= v_th",
        "reset": {"do": do, "memory": memory},
    }
    return no.Neuron("f", **{**given, **keys})


def quiet(equations: str = "D^alpha v = (-v + I)/tau") -> no.Neuron:
    alpha = no.Parameter(0.6, domain="interval(0.05, 1)")
    parameters = {"alpha": alpha, "tau": no.Parameter(0.5, domain="positive")}
    return no.Neuron("q", parameters=parameters, equations=equations, states={"v": 0.3})


def drive(steps: int = STEPS, grad: bool = True) -> torch.Tensor:
    x = np.random.default_rng(0).normal(size=(steps, 2, 3)) + 0.5
    return torch.tensor(x, requires_grad=grad)


CASES = {
    "jump": neuron(),
    "impulse": neuron(memory="impulse"),
    "current": neuron(memory="current(0.12)"),
    "restart": neuron("v = 0", "restart"),
    "coupled": neuron("v -= v_th; w += 0.2", equations="D^alpha v = (-v + I - w - v^3)/tau\ndw/dt = v - w"),
}


def pairs(methods: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(c, m) for c in CASES for m in methods if not (c == "restart" and m.startswith("flmm2"))]


FEW = [
    ("jump", "gl"),
    ("jump", "flmm2"),
    ("impulse", "l1"),
    ("current", "abm"),
    ("restart", "abm"),
    ("coupled", "gl"),
]


@pytest.mark.parametrize(
    ("case", "method"), [*FEW, *(pytest.param(*p, marks=pytest.mark.slow) for p in pairs(METHODS))]
)
def test_a_layer_is_the_reference(case: str, method: str) -> None:
    x = drive(grad=False)
    layer = CASES[case].torch(3, STEP, method=method, dtype=DOUBLE)
    with torch.no_grad():
        found, (spikes, _) = layer.trace(x), layer(x)
    wanted = CASES[case].simulate(x.numpy(), STEP, method=method)
    assert np.array_equal(found["s"].numpy(), wanted["s"])
    assert torch.equal(spikes, found["s"])
    assert np.abs(found["v"].numpy() - wanted["v"]).max() < 1e-11


def loss(layer: Any, x: torch.Tensor, carry: Any = None, **call: Any) -> tuple[torch.Tensor, Any]:
    """Of outputs and all of the carry, its past too."""
    out, carry = layer(x, carry, **call)
    w = torch.linspace(-1, 1, len(x), dtype=x.dtype)[:, None, None]
    return (out * w).sum(), carry


def gradients(layer: Any, x: torch.Tensor, cut: int | None = None, **call: Any) -> list[torch.Tensor]:
    total, carry = loss(layer, x if cut is None else x[:cut], **call)
    if cut is not None:
        more, carry = loss(layer, x[cut:], carry)
        total = total + more
    total = total + carry["v"].sum() + 0.1 * carry["past"].square().sum() + 0.3 * carry["memory"].sum()
    return list(torch.autograd.grad(total, [x, *layer.parameters()]))


@pytest.mark.parametrize(("case", "method"), FEW)
def test_gradients_are_those_of_autograd_through_direct_sums(case: str, method: str) -> None:
    x = drive()
    fast = CASES[case].torch(3, STEP, method=method, dtype=DOUBLE)
    plain = CASES[case].torch(3, STEP, method=method, dtype=DOUBLE, schedule="eager")
    for found, wanted in zip(gradients(fast, x), gradients(plain, x), strict=True):
        assert (found - wanted).abs().max() <= 1e-10 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize(("case", "method"), pairs(METHODS))
def test_gradients_of_every_method(case: str, method: str) -> None:
    x = drive(150)
    fast = CASES[case].torch(3, STEP, method=method, dtype=DOUBLE)
    plain = CASES[case].torch(3, STEP, method=method, dtype=DOUBLE, schedule="eager")
    for found, wanted in zip(gradients(fast, x, 90), gradients(plain, x, 90), strict=True):
        assert (found - wanted).abs().max() <= 1e-8 * wanted.abs().max()


LONG = [("restart", "gl"), ("jump", "gl"), ("current", "abm"), ("coupled", "flmm2")]


@pytest.mark.parametrize(("case", "method"), [LONG[0], *(pytest.param(*p, marks=pytest.mark.slow) for p in LONG[1:])])
def test_gradients_of_several_blocks_and_of_samples_that_end(case: str, method: str) -> None:
    x, lengths = drive(200), torch.tensor([200, 77])
    fast, plain = (CASES[case].torch(3, STEP, method=method, dtype=DOUBLE, schedule=s) for s in ("auto", "eager"))
    for found, wanted in zip(gradients(fast, x, lengths=lengths), gradients(plain, x, lengths=lengths), strict=True):
        assert (found - wanted).abs().max() <= 1e-10 * wanted.abs().max()


@pytest.mark.parametrize(("case", "method"), [("jump", "gl"), ("current", "abm")])
def test_without_native_code_torch_steps(case: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, layer = drive(), CASES[case].torch(3, STEP, method=method, dtype=DOUBLE)
    native = gradients(layer, x)
    monkeypatch.setattr(history_torch, "native_of", lambda *_: None)
    for found, wanted in zip(gradients(layer, x), native, strict=True):
        assert (found - wanted).abs().max() <= 1e-10 * wanted.abs().max()


def test_what_newtons_method_does_not_solve_in_native_code_is_solved_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, slow = [], history_native_torch.fast
    monkeypatch.setattr(history_native_torch, "fast", lambda *given: (calls.append(1), slow(*given))[1])
    cubic, x = quiet("D^alpha v = (-v - v^3 + I)/tau"), drive(12, False)
    wanted = cubic.simulate(x.numpy(), STEP, method="l1")["v"]
    for often in (history_step.ITERATIONS, 1):
        monkeypatch.setattr(history_step, "ITERATIONS", often)
        found = cubic.torch(3, STEP, method="l1", dtype=DOUBLE)(x)[0].detach().numpy()
        assert np.abs(found - wanted).max() < 1e-11
        assert len(calls) == (often == 1)


def test_a_restart_without_gradient_through_it_runs_fast_too() -> None:
    x, case = drive(150), neuron("v = 0", "restart", reset_gradient="detached")
    fast = case.torch(3, STEP, method="gl", dtype=DOUBLE)
    plain = case.torch(3, STEP, method="gl", dtype=DOUBLE, schedule="eager")
    for cut in (None, 80):
        for found, wanted in zip(gradients(fast, x, cut), gradients(plain, x, cut), strict=True):
            assert (found - wanted).abs().max() <= 1e-10 * wanted.abs().max()


@pytest.mark.parametrize("method", ["gl", "abm", "flmm2"])
@pytest.mark.parametrize("case", ["jump", "current"])
def test_chunks_equal_the_whole(case: str, method: str) -> None:
    x = drive()
    layer = CASES[case].torch(3, STEP, method=method, dtype=DOUBLE)
    whole, after = layer(x)
    first, carry = layer(x[:2])
    second, carry = layer(x[2:31], carry)
    third, carry = layer(x[31:], carry)
    assert torch.equal(torch.cat([first, second, third]), whole)
    assert all((carry[n] - after[n]).abs().max() < 1e-10 for n in after)


ENDING = [("current", "gl"), ("current", "abm"), ("jump", "l1"), ("jump", "gl(implicit)"), ("quiet", "mittag_leffler")]


@pytest.mark.parametrize("schedule", ["auto", "eager"])
@pytest.mark.parametrize(("case", "method"), ENDING)
def test_samples_that_end_rest_and_go_on(case: str, method: str, schedule: Any) -> None:
    x, lengths = drive(40, False), torch.tensor([40, 13])
    neurons = CASES | {"quiet": quiet()}
    layer = neurons[case].torch(3, STEP, method=method, dtype=DOUBLE, schedule=schedule)
    more = drive(20, False)
    with torch.no_grad():
        out, carry = layer(x, lengths=lengths)
        alone, own = layer(x[:13, 1:])
        again, _ = layer(more, carry)
        wanted, _ = layer(more[:, 1:], own)
    assert not out[13:, 1].any()
    assert (out[:13, 1:] - alone).abs().max() < 1e-13
    assert (carry["v"][1:] - own["v"]).abs().max() < 1e-13
    assert (again[:, 1:] - wanted).abs().max() < 1e-13


def test_linear_multistep_does_not_go_on_from_samples_that_ended() -> None:
    x, layer = drive(40, False), CASES["jump"].torch(3, STEP, method="flmm2", dtype=DOUBLE)
    _, carry = layer(x, lengths=torch.tensor([40, 13]))
    with pytest.raises(no.Unsupported, match="one origin"):
        layer(x, carry)
    _, carry = layer(x, lengths=torch.tensor([40, 40]))
    layer(x, carry)


def test_orders_per_neuron() -> None:
    each = np.array([0.3, 0.6, 1.0])
    alpha = no.Parameter(each.tolist(), domain="interval(0.05, 1)", per="neuron", transform="project")
    many = neuron(parameters={"alpha": alpha, "tau": 0.5, "v_th": 0.6})
    x = drive(grad=False)
    for method in ("gl", "flmm2"):
        layer = many.torch(3, STEP, method=method, dtype=DOUBLE)
        with torch.no_grad():
            found = layer.trace(x)["v"]
        for k, a in enumerate(each):
            wanted = neuron().simulate(x[..., k : k + 1].numpy(), STEP, method=method, parameters={"alpha": a})["v"]
            assert np.abs(found[..., k : k + 1].numpy() - wanted).max() < 1e-10
        (own,) = torch.autograd.grad((layer(x)[0] * x).sum(), layer.parameters())
        eager = many.torch(3, STEP, method=method, dtype=DOUBLE, schedule="eager")
        (wanted,) = torch.autograd.grad((eager(x)[0] * x).sum(), eager.parameters())
        assert own.shape == (3,)
        assert (own - wanted).abs().max() <= 1e-10 * wanted.abs().max()


def test_a_variant_may_be_declared() -> None:
    x = drive(20, False)
    wanted, _ = neuron().torch(3, STEP, method="gl(implicit)", dtype=DOUBLE)(x)
    found, _ = neuron(method="gl(implicit)").torch(3, STEP, dtype=DOUBLE)(x)
    assert torch.equal(found, wanted)


def test_several_orders() -> None:
    both = neuron(equations="2*D^alpha v + D^0.9 v = (-v + I)/tau")
    x = drive()
    fast = both.torch(3, STEP, method="gl", dtype=DOUBLE)
    plain = both.torch(3, STEP, method="gl", dtype=DOUBLE, schedule="eager")
    assert (
        np.abs(fast.trace(x)["v"].detach().numpy() - both.simulate(x.detach().numpy(), STEP, method="gl")["v"]).max()
        < 1e-12
    )
    for found, wanted in zip(gradients(fast, x), gradients(plain, x), strict=True):
        assert (found - wanted).abs().max() <= 1e-10 * wanted.abs().max()


def test_the_propagator_is_exact() -> None:
    x, n = drive(), quiet()
    layer = n.torch(3, STEP, method="mittag_leffler", dtype=DOUBLE)
    v, _ = layer(x)
    exact = fractional.leak(x.detach().numpy() / 0.5, 0.3, 0.6, 1 / 0.5, STEP)[1:]
    assert np.abs(v.detach().numpy() - exact).max() < 1e-12
    assert np.abs(n.simulate(x.detach().numpy(), STEP, method="mittag_leffler")["v"] - exact).max() < 1e-12
    first, half = layer(x[:31])
    second, _ = layer(x[31:], half)
    assert (torch.cat([first, second]) - v).abs().max() < 1e-13
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = quiet().torch(1, 0.2, method="mittag_leffler", dtype=DOUBLE)
        y = torch.rand(5, 1, 1, dtype=DOUBLE, requires_grad=True)
        names = [k for k, _ in small.named_parameters()]

        def run(y: torch.Tensor, *p: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(small, dict(zip(names, p, strict=True)), (y,))[0]

        assert torch.autograd.gradcheck(run, (y, *small.parameters()))


@pytest.mark.parametrize("method", ["gl", "abm", "flmm2"])
def test_gradients_against_differences(method: str) -> None:
    smooth = quiet(equations="D^alpha v = (-v - v^3 + I)/tau").torch(1, 0.2, method=method, dtype=DOUBLE)
    y = torch.rand(6, 1, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    names = [k for k, _ in smooth.named_parameters()]

    def run(y: torch.Tensor, *p: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(smooth, dict(zip(names, p, strict=True)), (y,))[0]

    assert torch.autograd.gradcheck(run, (y, *smooth.parameters()), atol=1e-6)


def test_single_precision_is_close() -> None:
    x = drive(grad=False)
    for method in ("gl", "flmm2"):
        layer = quiet().torch(3, STEP, method=method)
        v, _ = layer(x.float())
        assert np.abs(v.detach().numpy() - quiet().simulate(x.numpy(), STEP, method=method)["v"]).max() < 1e-5


def test_alpha_one_is_the_ordinary_neuron() -> None:
    x = drive(grad=False)
    euler = no.Neuron("e", parameters={"tau": 0.5}, equations="dv/dt = (-v + I)/tau", states={"v": 0.3})
    one = quiet().simulate(x.numpy(), STEP, method="gl", parameters={"alpha": 1.0})["v"]
    assert np.abs(one - euler.simulate(x.numpy(), STEP, method="euler")["v"]).max() < 1e-13


REFUSED = {
    ("mittag_leffler", "jump"): "moves all steps at once, but s resets v",
    ("flmm2", "restart"): "starting weights count from one origin",
    ("gl(sideways)", "jump"): "gl has no variant 'sideways'",
}


@pytest.mark.parametrize(("method", "case"), REFUSED)
def test_what_does_not_apply_is_refused(method: str, case: str) -> None:
    with pytest.raises(no.Unsupported) as error:
        CASES[case].torch(3, STEP, method=method)
    assert REFUSED[method, case] in str(error.value)
    assert "hint" in str(error.value)
    with pytest.raises(no.Unsupported):
        CASES[case].simulate(np.zeros((3, 1, 1)), STEP, method=method)


def test_growth_has_no_propagator() -> None:
    grows = no.Neuron("g", equations="D^0.5 v = 3*v + I", outputs="v")
    with pytest.raises(no.RunError, match="grows with its own state"):
        grows.simulate(np.ones((3, 1, 1)), STEP, method="mittag_leffler")
    with pytest.raises(no.RunError, match="grows with its own state"):
        grows.torch(1, STEP, method="mittag_leffler")(torch.ones(3, 1, 1))


def test_more_refusals() -> None:
    with pytest.raises(no.Unsupported, match="not recurrent"):
        neuron().torch(3, STEP, method="gl", recurrent=True)
    with pytest.raises(no.Unsupported, match="summed step by step"):
        neuron().torch(3, STEP, method="gl", schedule="scan")
    with pytest.raises(no.Unsupported, match="has no D\\^alpha line"):
        no.load("lif").torch(3, 1.0, method="gl")
    with pytest.raises(no.Unsupported, match="several orders"):
        neuron(equations="2*D^alpha v + D^0.9 v = (-v + I)/tau").torch(3, STEP, method="abm")
    with pytest.raises(no.Unsupported, match="not -rate\\*v \\+ drive"):
        quiet(equations="D^alpha v = -v^3 + I/tau").torch(3, STEP, method="mittag_leffler")
    layer = neuron().torch(3, STEP, method="gl")
    with pytest.raises(no.Unsupported, match="steps of one length"):
        layer(torch.zeros(3, 1, 3), times=torch.tensor([0.1, 0.2, 0.4]))
    _, carry = layer(torch.zeros(3, 1, 3))
    with pytest.raises(no.RunError, match="another model or method"):
        neuron().torch(3, STEP, method="abm")(torch.zeros(3, 1, 3), carry)
    with pytest.raises(no.RunError, match="expected"):
        layer(torch.zeros(3, 2, 3), carry)


def test_no_steps_no_samples_and_a_first_carry() -> None:
    layer = neuron().torch(3, STEP, method="gl")
    empty, carry = layer(torch.zeros(0, 2, 3))
    assert empty.shape == (0, 2, 3)
    assert carry["past"].shape[-1] == 0
    assert layer(torch.zeros(4, 0, 3))[0].shape == (4, 0, 3)
    x = torch.rand(5, 2, 3)
    assert torch.equal(layer(x, carry)[0], layer(x)[0])
    assert torch.equal(layer(x, layer.init_carry(2))[0], layer(x)[0])


def test_values_that_are_not_finite_are_named() -> None:
    layer = quiet(equations="D^alpha v = v^3 + I/tau").torch(1, 1.0, method="gl", check_finite=True)
    with pytest.raises(no.RunError, match="not finite from step"):
        layer(torch.full((80, 1, 1), 5.0))


def test_second_derivatives_are_refused_or_right() -> None:
    x = drive(6)
    layer = quiet().torch(3, STEP, method="gl", dtype=DOUBLE)
    (g,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(no.Unsupported, match="second derivative"):
        torch.autograd.grad(g.sum(), x)
    eager = quiet().torch(3, STEP, method="gl", dtype=DOUBLE, schedule="eager")
    (g,) = torch.autograd.grad(eager(x)[0].square().sum(), x, create_graph=True)
    assert torch.autograd.grad(g.sum(), x)[0].abs().max() > 0


def test_compat_is_the_released_neuron() -> None:
    """LIFNeuron of spikeDE in its loop of Grünwald-Letnikov steps, written down independently (arXiv:2507.16937)."""
    x = np.random.default_rng(0).normal(size=(40, 2, 3)) + 1.2
    v, spikes, c = np.zeros((41, 2, 3)), [], np.cumprod([1, *(1 - 1.7 / np.arange(1, 42))])
    for k in range(40):
        leak = (-v[k] + x[k]) / 2
        spikes.append(v[k] + leak >= 1)
        v[k + 1] = leak - spikes[k] / 2 - np.tensordot(c[k + 1 : 0 : -1], v[: k + 1], axes=1)
    released = no.load("f_lif", compat="spikede")
    found = released.simulate(x)
    assert np.array_equal(found["s"], np.stack(spikes))
    assert np.abs(found["v"] - v[1:]).max() < 1e-12
    out, _ = released.torch(3, dtype=DOUBLE)(torch.tensor(x))
    assert np.array_equal(out.detach().numpy(), np.stack(spikes))
    assert 0.2 < np.mean(spikes) < 0.8
