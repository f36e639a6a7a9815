"""Higher derivatives, forward mode and torch.func: right with schedule="eager", refused by the kernel, never wrong."""

from __future__ import annotations

import pytest
import torch
from oracles import INVENTED, ZOO, distance, drive, neuron, scatter
from torch.autograd import forward_ad

import neuroode as no

# torch's own, at its first use of forward mode
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
F64 = torch.float64
ALL = [*ZOO, *INVENTED]
SMOOTH = {"li": "li", "damped": """
neuron: damped
dt: 0.5
method: euler
parameters: {k: {value: 2, domain: positive, per: neuron}, c: {value: 0.3}}
equations: |
  dv/dt = -k*sin(v) - c*v + I
outputs: v
"""}  # fmt: skip


def build(name, schedule="eager", size=3, **options):
    torch.manual_seed(0)
    if name in SMOOTH and name != "li":
        from neuroode.spec.read_yaml import read_text

        return no.Neuron.from_spec(read_text(SMOOTH[name])).torch(size, schedule=schedule, dtype=F64, **options)
    return scatter(neuron(name).torch(size, schedule=schedule, dtype=F64, **options))


def by_parameters(layer, x):
    """The layer as a function of its inputs and stored numbers, and those."""
    stored = {n: p.detach() for n, p in layer.named_parameters()}

    def call(given, parameters):
        out, carry = torch.func.functional_call(layer, parameters, (given if len(given) > 1 else given[first],))
        rows = list(out.values()) if isinstance(out, dict) else [out]
        return torch.cat([torch.stack([v.sum() for v in rows]), torch.stack([(v * v).sum() for v in carry.values()])])

    first = next(iter(x))
    return call, stored


@pytest.mark.parametrize("name", ALL)
def test_forward_mode_equals_reverse(name):
    layer = build(name)
    x = drive(layer, 12, 2)
    call, stored = by_parameters(layer, x)
    random = torch.Generator().manual_seed(5)

    def like(v):
        return torch.randn(v.shape, generator=random, dtype=F64)

    dx, dp = {n: like(v) for n, v in x.items()}, {n: like(v) for n, v in stored.items()}
    _, forward = torch.func.jvp(call, (x, stored), (dx, dp))
    values, pull = torch.func.vjp(call, x, stored)
    g = like(values)
    gx, gp = pull(g)
    backward = sum((gx[n] * dx[n]).sum() for n in dx) + sum((gp[n] * dp[n]).sum() for n in dp)
    assert (forward != 0).any()
    assert distance((forward * g).sum(), backward) < 1e-10


@pytest.mark.parametrize("name", ["alif", "li", "levels", "pair"])
def test_dual_numbers(name):
    layer = build(name)
    x = drive(layer, 12, 2)["I"]
    t = torch.randn_like(x)
    with forward_ad.dual_level():
        _, carry = layer(forward_ad.make_dual(x, t))
        found = {n: forward_ad.unpack_dual(v).tangent for n, v in carry.items()}
    y = x.clone().requires_grad_()
    for n, v in layer(y)[1].items():
        (g,) = torch.autograd.grad(v.sum(), y, retain_graph=True)
        tangent = torch.zeros(()) if found[n] is None else found[n].sum()
        assert distance(tangent.detach(), (g * t).sum()) < 1e-10


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_of_smooth_models(name):
    layer = build(name, size=2)
    x = torch.randn(4, 1, 2, dtype=F64).requires_grad_()
    stored = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    keys = [n for n, _ in layer.named_parameters()]

    def call(x, *stored):
        return torch.func.functional_call(layer, dict(zip(keys, stored, strict=True)), (x,))[0].square()

    assert torch.autograd.gradgradcheck(call, (x, *stored))


@pytest.mark.parametrize("name", ["lif", "alif", "tc_lif", "rf"])
def test_second_derivatives_are_derivatives_of_the_gradient(name):
    """Where no spike feeds back, the gradient with its surrogates is smooth in the input: take its differences."""
    layer = build(name, reset_gradient="detached")
    x = drive(layer, 8, 2, seed=3)["I"]

    def gradient(x):
        x = x.requires_grad_()
        out, carry = layer(x)
        total = (out * torch.arange(1.0, 4)).sum() + sum((v * v).sum() for v in carry.values())
        return torch.autograd.grad(total, x, create_graph=True)[0]

    y = x.clone().requires_grad_()
    direction = torch.randn_like(x)
    (found,) = torch.autograd.grad((gradient(y) * direction).sum(), y)
    step = torch.randn_like(x)
    h = 1e-6
    with torch.enable_grad():
        above, below = (gradient((x + s * h * step).clone()).detach() for s in (1, -1))
    wanted = ((above - below) / (2 * h) * direction).sum()
    assert found.abs().max() > 1e-6
    assert distance((found * step).sum(), wanted) < 1e-5


def test_torch_func():
    layer = build("alif")
    xs = torch.stack([drive(layer, 12, 2, seed=s)["I"] for s in range(3)])
    one = [layer(x)[0] for x in xs]
    assert torch.equal(torch.func.vmap(lambda x: layer(x)[0])(xs), torch.stack(one))
    y = xs[0].clone().requires_grad_()
    (wanted,) = torch.autograd.grad(layer(y)[1]["v"].sum(), y)
    found = torch.func.grad(lambda x: layer(x)[1]["v"].sum())(xs[0])
    assert torch.equal(found.detach(), wanted)
    rows = torch.func.vmap(torch.func.grad(lambda x: layer(x)[1]["v"].sum()))(xs)
    assert distance(rows[0].detach(), wanted) < 1e-14
    reverse = torch.func.jacrev(lambda x: layer(x)[1]["v"].sum(0))(xs[0])
    forward = torch.func.jacfwd(lambda x: layer(x)[1]["v"].sum(0))(xs[0])
    assert distance(forward.detach(), reverse.detach()) < 1e-10


@pytest.mark.parametrize("recurrent", [None, True])
def test_the_kernel_refuses_a_second_derivative(recurrent):
    layer = build("li", "auto", recurrent=recurrent)
    x = torch.randn(6, 2, 3, dtype=F64).requires_grad_()
    out, _ = layer(x)
    (plain,) = torch.autograd.grad(out.square().sum(), x, retain_graph=True)
    (g,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    assert torch.equal(g, plain)
    assert g.requires_grad
    with pytest.raises(no.Unsupported, match="second derivative"):
        (g.square().sum() + x.square().sum()).backward()
    stored = list(layer.parameters())
    for first, then in ((x, stored), (stored[0], x), (stored[0], stored)):  # also with a cotangent that is a constant
        (g,) = torch.autograd.grad(layer(x)[0].sum(), first, create_graph=True)
        with pytest.raises(no.Unsupported, match="second derivative"):
            torch.autograd.grad(g.sum(), then, allow_unused=True)
    layer = build("two_inputs", "auto")
    raw = layer.parameters_of_neuron.raw_v_0
    (g,) = torch.autograd.grad(layer.init_carry(2)["v"].square().sum(), raw, create_graph=True)
    with pytest.raises(no.Unsupported, match="second derivative"):
        torch.autograd.grad(g.sum(), raw, allow_unused=True)


def test_the_kernel_refuses_forward_mode_and_torch_func():
    layer = build("lif", "auto")
    x = torch.randn(6, 2, 3, dtype=F64)
    with forward_ad.dual_level():
        with pytest.raises(no.Unsupported, match="forward mode"):
            layer(forward_ad.make_dual(x, x))
        assert torch.equal(layer(x)[0], layer(x)[0])  # a call that is not differentiated is fine
        _, carry = layer(x)
        dual = type(carry)({n: forward_ad.make_dual(v.detach(), v.detach()) for n, v in carry.items()}, carry.digest)
        with pytest.raises(no.Unsupported, match="forward mode"), torch.no_grad():
            layer(x, dual)
        stored = {n: forward_ad.make_dual(p.detach(), p.detach()) for n, p in layer.named_parameters()}
        with pytest.raises(no.Unsupported, match="forward mode"):
            torch.func.functional_call(layer, stored, (x,))
    for transform in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd):
        with pytest.raises(no.Unsupported, match="no torch"):
            transform(lambda x: layer(x)[0].sum())(x)


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_a_changed_input_is_noticed(schedule):
    layer = build("li", schedule)
    x = torch.randn(6, 2, 3, dtype=F64)
    given = x.clone().requires_grad_()
    out, _ = layer(given * layer.tau)
    y = given * 1
    out, _ = layer(y)
    if schedule == "auto":  # the kernel reads its inputs again in the backward pass
        y.data_ptr()
        with torch.no_grad():
            y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_backward_twice_through_one_graph(schedule):
    layer = build("brf", schedule)
    x = drive(layer, 40, 2)["I"].requires_grad_()
    out, carry = layer(x)
    total = out.sum() + carry["u.re"].sum()
    a = torch.autograd.grad(total, x, retain_graph=True)[0]
    b = torch.autograd.grad(total, x)[0]
    assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(total, x)


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_checkpointing(schedule):
    layer = build("alif", schedule)
    x = drive(layer, 40, 2)["I"].requires_grad_()
    (wanted,) = torch.autograd.grad(layer(x)[0].sum(), x)
    again = torch.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(again.sum(), x)[0], wanted)


@pytest.mark.parametrize("schedule", ["auto", "eager"])
def test_gradcheck(schedule):
    layer = build("li", schedule)
    x = torch.randn(40, 2, 3, dtype=F64).requires_grad_()
    carry = layer.init_carry(2)

    def call(x, v):
        out, after = layer(x, type(carry)({"v": v}, carry.digest))
        return out, after["v"]

    assert torch.autograd.gradcheck(call, (x, torch.randn(2, 3, dtype=F64).requires_grad_()), fast_mode=True)
