"""A potential that is a network of all coordinates of an axis, against plain loops with autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neuroode as no

F64 = torch.float64
K, DT, GAMMA = 3, 0.1, 0.8
EQUATIONS = """
U = net(q) + 0.3*net(r) + sum_k(q[k]^2)/2
r[k] = 2*q[k] - 0.1
dq[k] = p[k]*dt
dp[k] = (-grad(U, q[k]) - 0.8*p[k] + I[k])*dt + 0.5*dW[k]
"""


class Net(torch.nn.Module):
    """K numbers to one energy, (..., 1) as a linear layer gives it; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = torch.nn.Linear(K, 5, dtype=F64), torch.nn.Linear(5, 1, dtype=F64)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.outer(torch.tanh(self.inner(x)))

    def numpy_gradient(self, x: np.ndarray) -> np.ndarray:
        W, b, v = (p.detach().numpy() for p in (self.inner.weight, self.inner.bias, self.outer.weight))
        return ((1 - np.tanh(x @ W.T + b) ** 2) * v) @ W


def well(equations: str = EQUATIONS, kind: str = "external", **keys: Any) -> no.Neuron:
    inputs = {"I": no.Input("current", axes=["k"])} if "I[k]" in equations else {}
    outputs = {"outputs": {"q": "q[k]", "p": "p[k]"}} if "dp" in equations else {}
    options = {"axes": {"k": K}, "inputs": inputs, "operators": {"net": kind}} | outputs | keys
    return no.Neuron("well", dt=DT, equations=equations, **options)


def force(net: Net, q: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        q = q if q.requires_grad else q.detach().requires_grad_()
        U = net(q).sum() + 0.3 * net(2 * q - 0.1).sum() + (q**2).sum() / 2
        return -torch.autograd.grad(U, q, create_graph=True)[0]


def plain(method: str, net: Net, q: torch.Tensor, p: torch.Tensor, x: torch.Tensor, noise: Any) -> torch.Tensor:
    """The methods as their papers write them: Leimkuhler and Matthews 2013; Kloeden and Platen 1992, 10.2 and 11.1."""
    rows = []

    def drift(q: torch.Tensor, p: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return force(net, q) - GAMMA * p + x

    def relaxed(p: torch.Tensor, h: float, w: torch.Tensor) -> torch.Tensor:
        """The exact step over h; w ~ N(0, h)."""
        return np.exp(-GAMMA * h) * p + 0.5 * ((1 - np.exp(-2 * GAMMA * h)) / (2 * GAMMA * h)) ** 0.5 * w

    for x_t, w, z in zip(x, *noise, strict=True):
        if method == "baoab":
            p = p + DT / 2 * (force(net, q) + x_t)
            q = q + DT / 2 * p
            p = relaxed(p, DT, w)
            q = q + DT / 2 * p
            p = p + DT / 2 * (force(net, q) + x_t)
        elif method == "obabo":  # the halves of the increment are its mean plus and minus an independent part
            p = relaxed(p, DT / 2, (w + DT**0.5 * z) / 2) + DT / 2 * (force(net, q) + x_t)
            q = q + DT * p
            p = relaxed(p + DT / 2 * (force(net, q) + x_t), DT / 2, (w - DT**0.5 * z) / 2)
        elif method == "euler_maruyama":
            q, p = q + DT * p, p + DT * drift(q, p, x_t) + 0.5 * w
        else:
            b = drift(q, p, x_t)
            q_1, p_1 = q + DT * p, p + DT * b + 0.5 * w
            q, p = q + DT / 2 * (p + p_1), p + DT / 2 * (b + drift(q_1, p_1, x_t)) + 0.5 * w
        rows.append(q)
    return torch.stack(rows)


def drawn(steps: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q (B, 2, K), inputs (T, B, 2, K), increments and normal numbers (2, T, B, 2, K)."""
    torch.manual_seed(1)
    shape = (steps, 2, 2, K)
    noise = torch.stack([DT**0.5 * torch.randn(shape, dtype=F64), torch.randn(shape, dtype=F64)])
    return torch.randn(2, 2, K, dtype=F64), torch.randn(shape, dtype=F64), noise


def started(layer: Any, q: Any, p: Any) -> Any:
    carry = layer.init_carry(len(q), **({} if isinstance(layer, torch.nn.Module) else {"seed": 0}))
    return type(carry)({**carry, "q": q, "p": p}, carry.digest)


def replayed(method: str, noise: Any) -> dict[str, Any]:
    return {"dW": noise[0]} | ({"xi.dW": noise[1]} if method == "obabo" else {})


METHODS = ["baoab", "obabo", "euler_maruyama", "heun_stratonovich"]


def of_method(method: str) -> no.Neuron:
    return well(calculus="stratonovich" if method.endswith("stratonovich") else "ito", method=method)


@pytest.mark.parametrize("method", METHODS)
def test_paths_and_gradients_are_those_of_a_plain_loop(method: str) -> None:
    net, (q, x, noise) = Net(), drawn()
    layer = of_method(method).torch(2, dtype=F64, operators={"net": net})
    results = []
    for run in (
        lambda q, x, w: layer(x, started(layer, q, 0 * q), noise=replayed(method, w))[0]["q"],
        lambda q, x, w: plain(method, net, q, 0 * q, x, w),
    ):
        leaves = [q.clone().requires_grad_(), x.clone().requires_grad_(), noise.clone().requires_grad_()]
        path = run(*leaves)
        weights = list(net.parameters())[:-1]  # no force reads the outer bias
        first = torch.autograd.grad((path**2).sum(), [*leaves, *weights], create_graph=True, materialize_grads=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first[:3]), weights)
        results.append([path.detach(), *first, *second])
    for ours, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(ours.detach(), wanted.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("method", "per_step"), [("baoab", 2), ("obabo", 2), ("euler_maruyama", 1)])
def test_one_gradient_serves_all_coordinates(method: str, per_step: int) -> None:
    """Two arguments, q and r: two calls a force, however many coordinates; a splitting takes two forces a step."""
    net, (_, x, _) = Net(), drawn()
    well().torch(2, dtype=F64, method=method, operators={"net": net})(x, seed=0)
    assert net.calls == 2 * per_step * len(x)


@pytest.mark.parametrize("method", ["obabo", "baoab"])
def test_the_interpreter_runs_a_given_gradient(method: str) -> None:
    net, (_, x, _) = Net(), drawn()
    given = {"net": lambda q: net(torch.tensor(q)).detach().numpy(), "grad net": net.numpy_gradient}
    rows = well().simulate(x.numpy(), seed=3, method=method, operators=given)
    layer = well().torch(2, dtype=F64, method=method, operators={"net": net})
    np.testing.assert_allclose(layer(x, seed=3)[0]["q"].detach(), rows["q"], atol=1e-12)
    seen = layer.trace(x, seed=3)
    q = seen["q"].detach()
    U = net(q)[..., 0] + 0.3 * net(2 * q - 0.1)[..., 0] + (q**2).sum(-1) / 2
    np.testing.assert_allclose(seen["U"].detach(), U.detach(), atol=1e-12)
    with pytest.raises(no.RunError, match="needs the gradient of 'net', which numpy cannot derive"):
        well().simulate(x.numpy(), operators={"net": given["net"]})


@pytest.mark.parametrize("method", ["baoab", *[pytest.param(m, marks=pytest.mark.slow) for m in METHODS[1:]]])
def test_jax_layers_agree(method: str) -> None:
    jax = pytest.importorskip("jax")
    eqx = pytest.importorskip("equinox")
    net, (q, x, noise) = Net(), drawn()
    with jax.enable_x64(True):
        jnp = jax.numpy
        mlp = eqx.nn.MLP(K, "scalar", 5, 1, jnp.tanh, dtype=jnp.float64, key=jax.random.key(0))
        numbers = [jnp.asarray(p.detach().numpy()) for p in net.parameters()]
        mlp = eqx.tree_at(lambda m: [p for a in m.layers for p in (a.weight, a.bias)], mlp, numbers)
        layer = of_method(method).jax(2, dtype=np.float64, operators={"net": mlp}, key=jax.random.key(0))

        def loss(given: Any) -> Any:
            layer, q, x, w = given
            return (layer(x, started(layer, q, 0 * q), noise=replayed(method, w))[0]["q"] ** 2).sum()

        given = (layer, *(jnp.asarray(a.numpy()) for a in (q, x, noise)))
        value, slopes = eqx.filter_jit(eqx.filter_value_and_grad(loss))(given)
    leaves = [a.requires_grad_() for a in (q, x, noise)]
    wanted = (plain(method, net, leaves[0], 0 * leaves[0], *leaves[1:]) ** 2).sum()
    weights = [net.inner.weight, net.inner.bias, net.outer.weight]
    expected = torch.autograd.grad(wanted, [*leaves, *weights])
    assert float(value) == pytest.approx(wanted.item(), rel=1e-12)
    inner, outer = slopes[0].operators_of_neuron.given["net"].layers
    for ours, theirs in zip([*slopes[1:], inner.weight, inner.bias, outer.weight], expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-12)


def test_functions_see_the_whole_layer_and_one_coordinate_is_an_axis_too() -> None:
    """A coupling of neurons through their axes, (B, 2, K) -> (B, 2); the force is of the sum over both."""
    _, x, _ = drawn()
    coupled = lambda q: (q.prod(-1).sum(-1, keepdim=True) ** 2).expand(q.shape[:-1])  # noqa: E731
    layer = well().torch(2, dtype=F64, operators={"net": coupled})
    assert layer(x, seed=0)[0]["q"].shape == x.shape
    single = well(axes={"k": 1}).torch(2, dtype=F64, operators={"net": lambda q: (q**4).sum(-1)})
    alone = no.Neuron("alone", dt=DT, inputs={"I": "current"}, equations="""
        U = q^4 + 0.3*(2*q - 0.1)^4 + q^2/2
        dq = p*dt
        dp = (-grad(U, q) - 0.8*p + I)*dt + 0.5*dW
        """, outputs={"q": "q"}).torch(2, dtype=F64)  # fmt: skip
    noise = 0.1 * torch.randn(len(x), 2, 2, dtype=F64)
    ours = single(x[..., :1], noise={"dW": noise[..., None]})[0]["q"][..., 0]
    torch.testing.assert_close(ours, alone(x[..., 0], noise={"dW": noise})[0], atol=1e-12, rtol=0)


def test_what_does_not_apply_is_refused() -> None:
    with pytest.raises(no.Unsupported, match="'net' is a matrix of the neurons and takes no axis"):
        well(kind="dense").torch(2)
    mixed = "h[k] = net(q[k])\n" + EQUATIONS.replace("+ I[k]", "+ I[k] + h[k]")
    with pytest.raises(no.Unsupported, match="called with one number in one place and with an axis in another"):
        well(mixed).torch(2)
    with pytest.raises(no.SpecError, match="v is real but its right side is complex"):
        well("dz[k]/dt = i*z[k] : complex; dv/dt = net(z)").torch(1)
    with pytest.raises(no.SpecError, match="index k appears on the right only"):
        well("dq[k] = -q[k]*dt + dW[k]; dv/dt = net(k)")
    with pytest.raises(no.SpecError, match="q has axes k, l"):
        well("dq[k, l] = -net(q)*dt + dW[k, l]", axes={"k": 2, "l": 2})
    layer = well("dq[k] = -grad(U, q[k])*dt + dW[k]; U = net(q)").torch(2, operators={"net": torch.sin})
    with pytest.raises(no.RunError, match=r"operator 'net' gave \(4, 2, 3\) for \(4, 2, 3\), expected \(4, 2\)"):
        layer(steps=3, batch=4, seed=0)
    with pytest.raises(no.RunError, match=r"no operator 'net'") as caught:
        well().torch(2)
    assert "(B, *size*, axis) -> (B, *size*)" in str(caught.value)
