"""phi functions, divided differences and 2 x 2 and n x n exponentials against many digits, in numpy and in torch."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import torch
from references import distance, exact_step, slope

from neuroode.solvers.on_numpy import special
from neuroode.solvers.on_torch import special_torch

EDGES = [0.1, 0.5, 1.0, 2.0]
REAL = sorted(
    {s * x for s in (-1, 1) for x in (0.0, 1e-300, 1e-12, 1e-5, 0.03, 0.7, 1.3, 5.0, 30.0, *EDGES)}
    | {s * e * (1 + d) for s in (-1, 1) for e in EDGES for d in (-1e-15, 1e-9, -1e-9)}
    | {-1e2, -1e4, -1e8, 100.0, 600.0}
)
PARTS = (-1e4, -30.0, -2.0, -0.6, -1e-9, 0.0, 0.4, 3.0), (0.0, 1e-9, 0.8, -1.9, 6.0, 40.0, 1e3)
COMPLEX = [complex(a, b) for a, b in itertools.product(*PARTS)]
NODES = {
    "all equal": [0.3] * 5,
    "two clusters": [-3.0, -3.0, 0.5, 0.5, 0.5],
    "near": [0.1, 0.1 + 1e-9, 0.1 - 1e-7, 0.1 + 1e-4, 0.1],
    "edge of the series": [-1.0, 1.0, 0.2, 0.3, -0.4],
    "just over the edge": [-1.0, 1.0 + 1e-9, 0.2, 0.3, -0.4],
    "far": [-40.0, -7.0, 0.0, 2.0, 3.0],
    "stiff": [-1e4, -1e4, -1.0, 0.0, 0.0],
    "very stiff chain": [-900.0, -901.0, -905.0, -900.0, -902.0],
    "growing": [20.0, 19.0, 0.0, 20.0, 1.0],
}


def phi_digits(k: int, z: complex) -> complex:
    with mpmath.workdps(80):
        w = mpmath.mpmathify(z)
        if abs(w) < 1e-20:
            return complex(1 / mpmath.factorial(k) + w / mpmath.factorial(k + 1))
        value = mpmath.expm1(w) / w
        for j in range(1, k):
            value = (value - 1 / mpmath.factorial(j)) / w
        return complex(value)


def edd_digits(nodes: list[float]) -> float:
    """The corner of the exponential of a matrix with the nodes on its diagonal and ones beside it."""
    n = len(nodes)
    A = np.diag(nodes) + np.diag(np.ones(n - 1), 1)
    return float(exact_step(A, 1.0, digits=40 + int(max(np.abs(nodes)) ** 0.5))[0][0, -1])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_phi_of_real_numbers(k: int) -> None:
    wanted = np.array([phi_digits(k, z).real for z in REAL])
    for found in (
        special.phi(k, np.array(REAL)),
        special_torch.phi(k, torch.tensor(REAL, dtype=torch.float64)).numpy(),
    ):
        assert np.abs(found / wanted - 1).max() <= 2e-15 * 4**k


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_phi_of_complex_numbers(k: int) -> None:
    z = np.array(COMPLEX)
    wanted = np.array([phi_digits(k, w) for w in COMPLEX])
    scale = np.maximum(np.abs(wanted), 1 / np.maximum(1, np.abs(z)))  # it has zeros, near which the error is absolute
    a, b = torch.tensor(z.real), torch.tensor(z.imag)
    for found in (special.phi(k, z), special_torch.cphi(k, a, b).numpy()):
        assert (np.abs(found - wanted) / scale).max() <= 1e-14 * 4**k


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("name", NODES)
def test_divided_differences(name: str, count: int) -> None:
    for nodes in itertools.islice(itertools.combinations(NODES[name], count), 5):
        wanted = edd_digits(list(nodes))
        tensors = [torch.tensor(n, dtype=torch.float64) for n in nodes]
        for found in (special.edd(*map(np.asarray, nodes)), special_torch.edd(*tensors).numpy()):
            assert abs(found - wanted) <= 1e-13 * max(abs(wanted), 1e-300), nodes


def test_divided_differences_are_symmetric_and_take_arrays() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6))
    wanted = special.edd(*x)
    for order in itertools.permutations(range(4)):
        assert np.array_equal(special.edd(*x[list(order)]), wanted)
    assert special.edd(0.0, x[0]) == pytest.approx(special.phi(1, x[0]), rel=1e-15)


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("m", [-1e4, -20.0, -1.0, -0.5, 0.0, 1e-8, 0.99, 3.0])
@pytest.mark.parametrize("d", [-1e4, -30.0, -1.0, -1e-6, 0.0, 1e-12, 0.3, 1.0, 100.0, 9.0])
def test_functions_of_2_x_2_matrices(k: int, m: float, d: float) -> None:
    """C and S of phi_k at the matrix [[m, d], [1, m]], whose upper left is C and lower left S."""
    with mpmath.workdps(60):
        root = mpmath.sqrt(mpmath.mpf(d))
        high, low = (_phi(k, mpmath.mpf(m) + s * root) for s in (1, -1))
        C = (high + low) / 2
        S = (high - low) / (2 * root) if d else mpmath.diff(lambda z: _phi(k, z), mpmath.mpf(m))
        C, S = float(mpmath.re(C)), float(mpmath.re(S))
    given = torch.tensor(m, dtype=torch.float64), torch.tensor(d, dtype=torch.float64)
    scale = max(abs(C), abs(S) * max(1.0, abs(d)) ** 0.5, 1e-300)
    bound = 1e-14 * max(1.0, abs(m) + abs(d) ** 0.5)
    for found in (special.pair(k, np.asarray(m), np.asarray(d)), special_torch.pair(k, *given)):
        assert abs(float(found[0]) - C) <= bound * scale
        assert abs(float(found[1]) - S) <= bound * scale


def _phi(k: int, z: mpmath.mpc) -> mpmath.mpc:
    if k == 0:
        return mpmath.exp(z)
    if abs(z) < mpmath.mpf(10) ** -15:
        return mpmath.fsum(z**n / mpmath.factorial(n + k) for n in range(6))
    value = mpmath.expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / mpmath.factorial(j)) / z
    return value


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [0.0, 1e-9, 0.01, 1.0, 30.0])
def test_matrix_exponentials(n: int, size: float) -> None:
    A = np.random.default_rng(n).normal(size=(n, n)) * size
    wanted = exact_step(A, 1.0, digits=60)[0]
    entries = [np.asarray(a) for a in A.ravel()]
    assert distance(special.expm(n, entries), wanted) <= 1e-15 * 2
    found = special_torch.expm(n, *[torch.tensor(a) for a in A.ravel()]).numpy()
    assert distance(found, wanted) <= 1e-14 * max(1.0, np.abs(A).sum(axis=0).max())
    both = special.expm(n, [np.stack([a, -a, 0 * a]) for a in entries])
    assert both.shape == (3, n, n)
    assert distance(both[1] @ both[0], np.eye(n)) <= 1e-9 or size > 1


def test_a_stiff_matrix_beside_a_mild_one_in_a_batch() -> None:
    mild, stiff = np.array([[-1.0, 2.0], [0.3, -0.5]]), np.array([[-1e5, 2.0], [0.3, -2e4]])
    found = special.expm(2, list(np.stack([mild, stiff], axis=-1).reshape(4, 2)))
    assert distance(found[0], exact_step(mild, 1.0)[0]) <= 1e-13
    assert np.abs(found[1]).max() <= 1e-300


@pytest.mark.parametrize("x", [0.1, -0.1, 1.0, -1.0, 2.0, -2.0, 0.0])
def test_torch_gradients_at_the_edges_of_branches(x: float) -> None:
    at = torch.tensor([x * (1 - 1e-14), x, x * (1 + 1e-14)], dtype=torch.float64, requires_grad=True)
    for k in (1, 2, 3):
        (found,) = torch.autograd.grad(special_torch.phi(k, at).sum(), at)
        wanted = (phi_digits(k, x) - k * phi_digits(k + 1, x)).real
        assert np.abs(found.numpy() - wanted).max() <= 1e-13
    for nodes in ((at, at), (at, 0 * at, 0 * at), (at, -at), (at, at.detach() + 1e-9, 0 * at)):
        (found,) = torch.autograd.grad(special_torch.edd(*nodes).sum(), at)
        assert torch.isfinite(found).all()
        assert (found.max() - found.min()).abs() <= 1e-12


def test_torch_gradients_of_divided_differences_are_those_with_a_node_repeated() -> None:
    for name, nodes in NODES.items():
        x = [torch.tensor(n, dtype=torch.float64, requires_grad=True) for n in nodes[:3]]
        found = torch.autograd.grad(special_torch.edd(*x), x)
        for i, g in enumerate(found):
            wanted = float(special.edd(*nodes[:3], nodes[i]))
            # where nodes are equal the sort may hand the gradient to either of them
            same = [j for j in range(3) if nodes[j] == nodes[i]]
            total = sum(float(found[j]) for j in same)
            assert abs(total - len(same) * wanted) <= 1e-11 * max(1e-3, abs(wanted)), (name, float(g))


def test_gradients_of_pair_against_differences() -> None:
    for k, m, d in itertools.product((0, 1), (-2.0, 0.0, 0.7), (-4.0, -1.0, -1e-7, 0.0, 1e-7, 0.6, 1.0, 5.0)):
        leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (m, d)]
        C, S = special_torch.pair(k, *leaves)
        found = [float(g) for g in torch.autograd.grad(C + 2 * S, leaves)]

        def total(m: float, d: float, k: int = k) -> float:
            C, S, _ = special.pair(k, np.asarray(m), np.asarray(d))
            return float(C + 2 * S)

        wanted = [slope(lambda h: total(m + h, d), 0.0, 2e-2), slope(lambda h: total(m, d + h), 0.0, 2e-2)]  # noqa: B023
        assert found == pytest.approx(wanted, rel=1e-8, abs=1e-9)


def test_nothing_is_nan_in_float32() -> None:
    z = torch.tensor([x for x in REAL if x < 80], dtype=torch.float32, requires_grad=True)
    for k in (1, 2, 3):
        value = special_torch.phi(k, z)
        (g,) = torch.autograd.grad(value.sum(), z)
        assert torch.isfinite(value).all()
        assert torch.isfinite(g).all()
        wanted = np.array([phi_digits(k, float(x)).real for x in z.detach()])
        assert np.abs(value.detach().numpy() / wanted - 1).max() <= 1e-5
