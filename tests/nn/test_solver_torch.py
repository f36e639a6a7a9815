"""Layers whose flow torchdiffeq moves: against our own steps, against scipy, gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from odd import ODD
from oracles import ZOO
from scipy.integrate import solve_ivp

import neuroode as no
from neuroode._errors import RunError, Unsupported

FHN = no.Neuron(
    "planar",
    dt=0.5,
    parameters={
        "a": no.Parameter(0.7, trainable=True),
        "eps": no.Parameter(0.08, domain="positive", per="neuron", trainable=True),
    },
    equations="dv/dt = v - v^3/3 - w + I\ndw/dt = eps*(v + a - 0.8*w)",
    outputs={"v": "v", "w": "w"},
)
REST = {"duration": "2 ms", "hold": ["v"]}
FLOWS = [n for n in ZOO if n != "theta" and no.load(n).system().flows and not no.load(n).system().fractional]
DOUBLE = {"dtype": torch.float64}


def drive(layer: torch.nn.Module, steps: int, batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    make = torch.Generator().manual_seed(seed)
    shapes = {g.name: (steps, batch, *layer.size, *g.shape) for g in layer._border.inputs}
    dtype = layer._like.dtype
    size = 0.3 if layer.neuron.spec.name == "planar" else 3
    return {n: size + size * torch.randn(s, generator=make, dtype=torch.float64).to(dtype) for n, s in shapes.items()}


def total(found: object) -> torch.Tensor:
    out, carry = found  # type: ignore[misc]
    rows = [*(out.values() if isinstance(out, dict) else [out]), *carry.values()]
    return sum((x * torch.linspace(0.5, 1.5, x.numel(), dtype=x.dtype).reshape(x.shape)).sum() for x in rows)


def gradients(layer: torch.nn.Module, x: dict[str, torch.Tensor], **call: object) -> dict[str, torch.Tensor]:
    """Of inputs, parameters and the first carry."""
    layer.zero_grad()
    given = {n: v.clone().requires_grad_() for n, v in x.items()}
    start = layer.init_carry(next(iter(x.values())).shape[1])
    first = type(start)({n: v.detach().clone().requires_grad_() for n, v in start.items()}, start.digest)
    total(layer(given, first, **call)).backward()
    rows = given | {f"c.{n}": v for n, v in first.items()} | dict(layer.named_parameters())
    return {n: torch.zeros_like(v) if v.grad is None else v.grad.clone() for n, v in rows.items()}


def equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], rtol: float, atol: float) -> None:
    assert found.keys() == wanted.keys()
    for n, v in wanted.items():
        torch.testing.assert_close(found[n], v, rtol=rtol, atol=atol, msg=lambda m, n=n: f"{n}: {m}")


@pytest.mark.parametrize("name", ["odd", "planar", "rf", "alif", "lif_refractory", "rc_ladder"])
def test_eulers_method_of_the_solver_is_our_method_euler(name: str) -> None:
    """Values, traces and every gradient: whatever surrounds the flow means the same."""
    neuron = {"odd": ODD, "planar": FHN}.get(name) or no.load(name)
    ours = neuron.torch(3, method="euler", schedule="eager", **DOUBLE)
    theirs = neuron.torch(3, solver="torchdiffeq", solver_options={"method": "euler"}, **DOUBLE)
    theirs.load_state_dict(ours.state_dict())
    x = drive(ours, 12)
    lengths = torch.tensor([12, 7])
    equal(theirs.trace(x, lengths=lengths), ours.trace(x, lengths=lengths), 1e-11, 1e-11)
    equal(gradients(theirs, x), gradients(ours, x), 1e-9, 1e-9)


def test_events_happen_in_the_odd_neuron() -> None:
    layer = ODD.torch(3, solver="torchdiffeq", solver_options={"method": "euler"}, **DOUBLE)
    trace = layer.trace(drive(layer, 12))
    assert trace["s"].sum() > 3
    assert trace["r"].sum() > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_every_neuron_of_the_zoo_with_a_flow_runs(name: str) -> None:
    neuron = no.load(name)
    ours = neuron.torch(2, method="euler", schedule="eager", **DOUBLE)
    theirs = neuron.torch(2, solver="torchdiffeq", solver_options={"method": "euler"}, **DOUBLE)
    theirs.load_state_dict(ours.state_dict())
    x = drive(ours, 5)
    equal(theirs.trace(x), ours.trace(x), 1e-11, 1e-11)


def test_heun_is_heun_and_runge_kutta_methods_of_order_four_meet() -> None:
    """torchdiffeq's rk4 is the 3/8 rule, ours the classical one: their difference shrinks with order 4."""
    x = {"I": torch.full((4, 1, 1), 0.5, dtype=torch.float64)}
    heun = FHN.torch(1, method="heun", **DOUBLE)(x)[1]
    same = FHN.torch(1, solver="torchdiffeq", solver_options={"method": "heun2"}, **DOUBLE)(x)[1]
    torch.testing.assert_close(same["v"], heun["v"], rtol=1e-12, atol=0)
    gaps = []
    for parts in (1, 2, 4):
        whole = {"I": x["I"].repeat_interleave(parts, 0)}
        ours = FHN.torch(1, 0.5 / parts, method="rk4", **DOUBLE)(whole)[1]["v"]
        options = {"method": "rk4", "step_size": 0.5 / parts}  # several steps of the solver in one of the layer
        theirs = FHN.torch(1, 0.5, solver="torchdiffeq", solver_options=options, **DOUBLE)(x)[1]["v"]
        gaps.append(float((ours - theirs).detach().abs()))
    orders = np.log2(np.array(gaps[:-1]) / np.array(gaps[1:]))
    assert np.all(orders > 3.5), gaps


def flow(_t: float, y: np.ndarray, I: float, a: float, eps: float) -> list[float]:
    return [y[0] - y[0] ** 3 / 3 - y[1] + I, eps * (y[0] + a - 0.8 * y[1])]


def reference(x: np.ndarray, dt: float, a: float = 0.7, eps: float = 0.08) -> np.ndarray:
    y, rows = np.zeros(2), []
    for I in x:
        given = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13, "args": (I, a, eps)}
        y = solve_ivp(flow, (0, dt), y, **given).y[:, -1]
        rows.append(y)
    return np.array(rows)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({}, 1e-6), ({"rtol": 1e-10, "atol": 1e-12}, 1e-9), ({"method": "dopri8"}, 1e-6), ({"method": "bosh3"}, 1e-5)],
)
def test_adaptive_methods_keep_their_tolerance(options: dict, tolerance: float) -> None:
    x = np.random.default_rng(1).normal(0.5, 0.5, 10)
    layer = FHN.torch(1, solver="torchdiffeq", solver_options=options, **DOUBLE)
    out, _ = layer(torch.tensor(x)[:, None, None])
    found = torch.stack([out["v"], out["w"]], -1)[:, 0, 0].detach().numpy()
    np.testing.assert_allclose(found, reference(x, 0.5), rtol=0, atol=tolerance)


def test_the_tolerance_holds_in_each_lane_of_a_large_batch() -> None:
    """One lane moves, a thousand rest: a mean over lanes would hide its error."""
    x = torch.full((8, 1000, 1), 0.0, dtype=torch.float64)
    x[:, 3] = 4.0
    layer = FHN.torch(1, solver="torchdiffeq", solver_options={"rtol": 1e-6, "atol": 1e-6}, **DOUBLE)
    layer.set(a=0.0)
    with torch.no_grad():
        out, _ = layer(x)
    found = torch.stack([out["v"][:, 3, 0], out["w"][:, 3, 0]], -1).numpy()
    np.testing.assert_allclose(found, reference(np.full(8, 4.0), 0.5, a=0.0), rtol=0, atol=2e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    layer = FHN.torch(2, solver="torchdiffeq", solver_options={"rtol": 1e-11, "atol": 1e-12}, **DOUBLE)
    x = {"I": torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(3), **DOUBLE)}
    found = gradients(layer, x)
    for name, entry in (("I", (1, 1, 0)), ("raw_a", ()), ("raw_eps", (1,))):
        full = next(n for n in found if n.endswith(name))
        moved = x["I"] if name == "I" else dict(layer.named_parameters())[full]
        rows = []
        for sign in (1, -1):
            with torch.no_grad():
                before = moved[entry].clone()
                moved[entry] += sign * 1e-5
                rows.append(float(total(layer(x))))
                moved[entry] = before
        assert float(found[full][entry]) == pytest.approx((rows[0] - rows[1]) / 2e-5, rel=1e-7), name


TIGHT = {"rtol": 1e-9, "atol": 1e-10}
SLOW = [pytest.param("backsolve", n, marks=pytest.mark.slow) for n in ("planar", "alif", "synaptic")]


@pytest.mark.parametrize(
    ("adjoint", "name"),
    [("checkpointed", "odd"), ("checkpointed", "rf"), ("backsolve", "odd"), ("backsolve", "rf"), *SLOW],
)
def test_the_ways_to_a_gradient_agree(adjoint: str, name: str) -> None:
    """Smooth steps, steps in which some lanes jump, states that only the past holds, complex states."""
    neuron = {"odd": ODD, "planar": FHN}.get(name) or no.load(name)
    options = TIGHT if adjoint == "backsolve" else {"method": "midpoint"}
    plain = neuron.torch(2, solver="torchdiffeq", solver_options=options, **DOUBLE)
    other = neuron.torch(2, solver="torchdiffeq", adjoint=adjoint, solver_options=options, **DOUBLE)
    other.load_state_dict(plain.state_dict())
    x, lengths = drive(plain, 7), torch.tensor([7, 4])
    found, wanted = (gradients(layer, x, lengths=lengths) for layer in (other, plain))
    equal(found, wanted, *((1e-10, 1e-11) if adjoint == "checkpointed" else (1e-6, 1e-7)))
    if adjoint == "backsolve":
        assert other.gap < 1e-6


def test_backsolve_on_a_leak_loses_the_state_and_says_so() -> None:
    """20 time constants back in time multiply errors by e^20 = 5e8; restarts keep them small."""
    leak = no.Neuron("leak", dt=1.0, parameters={"tau": no.Parameter(1.0, domain="positive", trainable=True)},
                     equations="dv/dt = -v/tau + I", outputs={"v": "v"})  # fmt: skip
    x = {"I": torch.randn(40, 1, 1, generator=torch.Generator().manual_seed(0), **DOUBLE)}
    given = {"lost": {"rtol": 1e-5, "atol": 1e-7, "restart": None}, "kept": {"restart": 4}}
    make = {"solver": "torchdiffeq", "adjoint": "backsolve", **DOUBLE}
    layers = {n: leak.torch(1, solver_options=options, **make) for n, options in given.items()}
    with pytest.raises(RunError, match=r"lost the states on the way back"):
        gradients(layers["lost"], x)
    exact = leak.torch(1, **DOUBLE)
    equal(gradients(layers["kept"], x), gradients(exact, x), 1e-5, 1e-6)
    assert 0 < layers["kept"].gap < 1e-4


@pytest.mark.parametrize("adjoint", ["none", "checkpointed", "backsolve"])
def test_two_calls_that_pass_the_carry_on_are_one(adjoint: str) -> None:
    layer = ODD.torch(2, solver="torchdiffeq", adjoint=adjoint, solver_options={"method": "heun2"}, **DOUBLE)
    x = drive(layer, 9)
    whole, after = layer(x)
    first, carry = layer({n: v[:4] for n, v in x.items()})
    second, last = layer({n: v[4:] for n, v in x.items()}, carry)
    for n, v in whole.items():
        torch.testing.assert_close(torch.cat([first[n], second[n]]), v, rtol=0, atol=0)
    equal(dict(last), dict(after), 0, 0)


def test_a_layer_computes_in_single_precision() -> None:
    x = torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(0))
    single = FHN.torch(3, solver="torchdiffeq", dtype=torch.float32)
    double = FHN.torch(3, solver="torchdiffeq", **DOUBLE)
    out, carry = single(x)
    assert out["v"].dtype == carry["v"].dtype == torch.float32
    torch.testing.assert_close(out["v"].double(), double(x.double())[0]["v"], rtol=1e-3, atol=1e-4)


def test_an_empty_sequence_has_its_shapes() -> None:
    layer = FHN.torch(3, solver="torchdiffeq")
    out, carry = layer(torch.zeros(0, 2, 3))
    assert out["v"].shape == (0, 2, 3)
    assert carry["v"].shape == (2, 3)
    assert layer(torch.zeros(4, 0, 3))[0]["v"].shape == (4, 0, 3)


def test_another_step_is_another_discretization() -> None:
    layer = FHN.torch(1, solver="torchdiffeq", **DOUBLE)
    x = torch.full((8, 1, 1), 0.5, dtype=torch.float64)
    half = layer.at_dt(0.25)(x.repeat_interleave(2, 0))[1]["v"]
    torch.testing.assert_close(half, layer(x)[1]["v"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "diffrax"}, "torch layers know torchdiffeq"),
        ({"adjoint": "magic"}, "adjoint='magic'"),
        ({"recurrent": True}, "not recurrent"),
        ({"method": "rk4"}, "solver_options="),
        ({"schedule": "scan"}, "step by step"),
        ({"solver_options": {"method": "scipy_solver"}}, "dopri5"),
        ({"solver_options": {"rtoll": 1}}, "'rtoll' is no option"),
        ({"solver_options": {"rtol": -1}}, "rtol is -1"),
        ({"solver_options": {"method": "rk4", "rtol": 1e-3}}, "step_size"),
        ({"solver_options": {"segment": 3}}, "belongs to adjoint='checkpointed'"),
        ({"solver_options": {"restart": 0}, "adjoint": "backsolve"}, "restart is 0"),
    ],
)
def test_what_does_not_apply_is_refused(options: dict, said: str) -> None:
    with pytest.raises((Unsupported, RunError), match=said):
        FHN.torch(2, **({"solver": "torchdiffeq"} | options))


def test_maps_alone_have_nothing_to_solve() -> None:
    with pytest.raises(Unsupported, match="no flow"):
        no.load("tc_lif").torch(2, solver="torchdiffeq")


def test_a_peak_at_infinity_belongs_to_the_exact_step() -> None:
    with pytest.raises(Unsupported, match="infinity needs the exact step"):
        no.load("theta").torch(2, solver="torchdiffeq")


def test_an_explosion_is_reported() -> None:
    burst = no.Neuron("burst", dt=1.0, equations="dv/dt = v^2 + 1 + I", outputs={"v": "v"})
    with pytest.raises(RunError, match=r"stiff or explodes|not finite"):
        burst.torch(1, solver="torchdiffeq", **DOUBLE)(torch.zeros(4, 1, 1, dtype=torch.float64))


def test_a_first_step_that_overflows_is_made_shorter() -> None:
    """Hodgkin and Huxley in steps of 1 ms: the first trial step of dopri5 runs into infinity in the upstroke."""
    n = no.load("hodgkin_huxley")
    layer = n.torch(1, dt=1.0, dtype=torch.float64, solver="torchdiffeq")
    with torch.no_grad():
        found = layer.trace(torch.full((4, 1, 1), 10.0, dtype=torch.float64))["v"][:, 0, 0].numpy()
    wanted = n.simulate(np.full((800, 1, 1), 10.0), dt=0.005, method="rk4")["v"][199::200, 0, 0]
    assert wanted.max() > 0
    np.testing.assert_allclose(found, wanted, atol=1e-3)
