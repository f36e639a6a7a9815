"""Generated Triton kernels in Triton's interpreter; `test_triton.py` runs this file with TRITON_INTERPRET=1."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
import triton.language as tl
import triton_kernels

from neuroode import Unsupported
from neuroode.nn import native_triton_torch
from neuroode.program import interpret
from neuroode.program.types import Assign
from neuroode.solvers.on_triton import triton_scan, triton_sequence

EVERY = [*oracles.ZOO, *oracles.INVENTED]
#: one of each kind: linear, oscillating, adapting, quadratic, of rational and exponential terms, with axes, delays
QUICK = {"brf", "izhikevich", "lif", "qif", "tc_lif"}
#: events with resets, refractory counters, a complex state, several events and outputs, no event; lags: the carry below
SOME = ["lif", "lif_refractory", "spiral", "levels", "li"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_sequence, "lanes_of_block", lambda lanes: 4)


def both(name: str, steps: int, batch: int, size: int, dtype: torch.dtype = torch.float64) -> tuple:
    layer = triton_kernels.layer(name, size, dtype)
    x = oracles.drive(layer, steps, batch)
    return oracles.by_layer(layer, x), oracles.by_interpreter(layer, x)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in EVERY])
def test_a_few_steps_of_every_neuron(name: str) -> None:
    found, wanted = both(name, 5, 1, 3)
    oracles.assert_same(found, wanted, grads=oracles.GRADIENT.get(name, 1e-11))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_two_chunks_of_every_neuron(name: str) -> None:
    found, wanted = both(name, 33, 1, 5)
    oracles.assert_same(found, wanted, grads=oracles.GRADIENT.get(name, 1e-11))


@pytest.mark.parametrize("name", SOME)
def test_checkpoints_and_words_pass_from_chunk_to_chunk(name: str) -> None:
    found, wanted = both(name, 33, 2, 3)
    oracles.assert_same(found, wanted)
    assert name == "li" or any(0 < np.mean(v != 0) < 1 for v in wanted.outputs.values())


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("name", ["lif", "two_inputs"])
def test_none_and_one_step(name: str, steps: int) -> None:
    oracles.assert_same(*both(name, steps, 1, 5))


@pytest.mark.parametrize(("block", "batch", "size"), [(1, 1, 1), (16, 1, 37), (64, 37, 1), (8, 4, 5), (32, 0, 3)])
def test_blocks_that_do_not_divide_the_lanes(
    monkeypatch: pytest.MonkeyPatch, block: int, batch: int, size: int
) -> None:
    monkeypatch.setattr(triton_sequence, "lanes_of_block", lambda lanes: block)
    oracles.assert_same(*both("alif", 7, batch, size))


@pytest.mark.parametrize("name", ["alif", "prf", "izhikevich"])
def test_float32(name: str) -> None:
    layer = triton_kernels.layer(name, 5, torch.float32)
    x = oracles.drive(layer, 20, 1)
    assert oracles.smallest_margin(layer, x) > 1e-4
    oracles.assert_same(oracles.by_layer(layer, x), oracles.by_interpreter(layer, x), 2e-5, 2e-4)


@pytest.mark.parametrize("name", ["lif_refractory", "li"])
def test_lengths(name: str) -> None:
    layer = triton_kernels.layer(name, 2, torch.float64)
    x = oracles.drive(layer, 35, 4)
    lengths = torch.tensor([35, 33, 3, 0])
    x["I"][33:, 1] = x["I"][3:, 2] = x["I"][:, 3] = float("nan")  # padding is never read
    eager = oracles.neuron(name).torch(size=2, dtype=torch.float64, schedule="eager")
    eager.load_state_dict(layer.state_dict())
    found, wanted = (oracles.by_layer(each, x, lengths=lengths) for each in (layer, eager))
    oracles.assert_same(found, wanted)


def test_a_carry_goes_in_and_out() -> None:
    layer = triton_kernels.layer("two_inputs", 3, torch.float64)
    x = oracles.drive(layer, 40, 2)
    whole, last = layer(x)
    first, carry = layer({n: v[:17] for n, v in x.items()})
    second, end = layer({n: v[17:] for n, v in x.items()}, carry)
    assert all(torch.equal(torch.cat([first[n], second[n]]), whole[n]) for n in whole)
    assert all(torch.equal(end[n], last[n]) for n in last)
    start = layer.init_carry(2)
    oracles.assert_same(oracles.by_layer(layer, x, start), oracles.by_interpreter(layer, x, start))


def test_an_input_without_gradient_gets_none_and_the_rest_is_the_same() -> None:
    layer = triton_kernels.layer("lif", 3, torch.float64)
    x = oracles.drive(layer, 7, 2)["I"]
    layer(x)[0].sum().backward()
    without = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    layer(x.requires_grad_())[0].sum().backward()
    assert x.grad.any()
    assert all(torch.equal(a, p.grad) for a, p in zip(without, layer.parameters(), strict=True))


def test_steps_may_lie_anywhere() -> None:
    """An input that is one row for all steps, and one that is a part of a larger array."""
    layer = triton_kernels.layer("lif", 3, torch.float64)
    row = torch.full((2, 3), 3.0, dtype=torch.float64)
    assert torch.equal(layer(row.expand(9, 2, 3))[0], layer(row.expand(9, 2, 3).contiguous())[0])
    wide = torch.randn(9, 2, 6, dtype=torch.float64) * 9
    assert torch.equal(layer(wide[..., :3])[0], layer(wide[..., :3].contiguous())[0])


@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")  # torch imports its own
def test_a_second_derivative_and_forward_mode_are_refused() -> None:
    layer = triton_kernels.layer("lif", 2, torch.float64)
    x = oracles.drive(layer, 3, 1)["I"].requires_grad_()
    (first,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    with pytest.raises(Unsupported, match="no second derivative"):
        first.sum().backward()
    with pytest.raises(Unsupported, match="forward mode"), torch.autograd.forward_ad.dual_level():
        layer(torch.autograd.forward_ad.make_dual(x.detach(), torch.ones_like(x)))


def test_vmap_makes_more_samples() -> None:
    layer = triton_kernels.layer("lif", 2, torch.float64)
    x = torch.stack([oracles.drive(layer, 4, 1, seed)["I"] for seed in range(3)])
    found = torch.func.vmap(lambda v: layer(v)[0])(x)
    assert torch.equal(found, torch.stack([layer(v)[0] for v in x]))


FORMS = [("diagonal", 1), ("complex", 1), ("dense", 2), ("dense", 3), ("dense", 4)]


def recurrence(form: str, elements: list, start: list, steps: int, backwards: bool) -> list[np.ndarray]:
    """Step by step in numpy, with matrices; backwards with the adjoint of the matrix of the step behind."""
    size, axes = len(start), start[0].ndim
    rows, state = [], np.stack([np.asarray(s) for s in start], -1)
    for t in reversed(range(steps)) if backwards else range(steps):
        at = [np.broadcast_to(e[t] if e.ndim > axes else e, start[0].shape) for e in elements]
        behind = min(t + 1, steps - 1) if backwards else t
        m = [np.broadcast_to(e[behind] if e.ndim > axes else e, start[0].shape) for e in elements]
        entries = [m[0], -m[1], m[1], m[0]] if form == "complex" else m[: size * size]
        matrix = np.stack(entries, -1).reshape(*start[0].shape, size, size)
        matrix = matrix.swapaxes(-1, -2) if backwards else matrix
        state = (matrix @ state[..., None])[..., 0] + np.stack(at[-size:], -1)
        rows.append(state)
    rows = rows[::-1] if backwards else rows
    return [np.array([r[..., i] for r in rows]) for i in range(size)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("steps", "lanes", "tile"), [(1, (5,), (4, 4)), (9, (3, 2), (4, 4)), (7, (1,), (16, 1))])
@pytest.mark.parametrize(("form", "size"), FORMS)
def test_a_scan_is_its_recurrence(
    monkeypatch: pytest.MonkeyPatch, form: str, size: int, steps: int, lanes: tuple[int, ...], tile: tuple[int, int],
    backwards: bool,
) -> None:  # fmt: skip
    """Chunks that do and do not divide, lanes that are no power of two, entries with and without time."""
    monkeypatch.setattr(triton_scan, "tile_of", lambda scan, count: tile)
    random, state = np.random.default_rng(steps), 2 if form == "complex" else size
    matrix = [random.normal(size=(steps, *lanes)) / 2 for _ in range(2 if form == "complex" else size * size)]
    matrix[0] = matrix[0][0]  # the same in every step
    drive = [random.normal(size=(steps, *lanes)) for _ in range(state)]
    zero = np.zeros(lanes)
    start = [zero] * state if backwards else [random.normal(size=lanes) for _ in range(state)]
    tensors = [torch.from_numpy(np.array(v)) for v in (*matrix, *drive, *start)]
    elements, before = tensors[:-state], tensors[-state:]
    if backwards:
        found = native_triton_torch.adjoint(form, elements[: len(matrix)], elements[len(matrix) :])
    else:
        found = native_triton_torch.scan(form, elements, before, steps)
    for a, b in zip(found, recurrence(form, [*matrix, *drive], start, steps, backwards), strict=True):
        assert oracles.distance(a.numpy(), b) <= 1e-13


def test_a_scan_of_many_lanes_and_of_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    a, b, start = random.uniform(0, 1, 37), random.normal(size=(5, 37)), random.normal(size=37)
    given = [torch.from_numpy(v) for v in (a, b, start)]
    monkeypatch.setattr(triton_scan, "tile_of", lambda scan, count: (8, 16))
    (found,) = native_triton_torch.scan("diagonal", given[:2], given[2:], 5)
    (wanted,) = recurrence("diagonal", [a, b], [start], 5, False)
    assert oracles.distance(found.numpy(), wanted) <= 1e-14
    (nothing,) = native_triton_torch.scan("diagonal", [given[0], given[1][:0]], given[2:], 0)
    assert nothing.shape == (0, 37)


@pytest.mark.parametrize("name", ["li", "prf", "rc_ladder"])
def test_a_layer_on_the_schedule_of_scans(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Diagonal, complex and dense steps of neurons, solution and gradients."""
    asked = []
    monkeypatch.setattr(native_triton_torch, "can_scan", lambda x: asked.append(x) is None)
    monkeypatch.setattr(triton_scan, "tile_of", lambda scan, count: (4, 4))
    layer = oracles.scatter(oracles.neuron(name).torch(size=3, dtype=torch.float64, schedule="scan"))
    x = oracles.drive(layer, 6, 1)
    oracles.assert_same(oracles.by_layer(layer, x), oracles.by_interpreter(layer, x))
    assert len(asked) >= 2  # there and back


@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 4e-15), (np.float32, 1e-6)])
def test_every_op_is_that_of_the_interpreter(dtype: type, digits: float) -> None:
    """Elementary functions to a few units of the last place; complex phi functions relative to their modulus."""
    rows, kernel = triton_kernels.all_ops()
    random = np.random.default_rng(0)
    a = np.concatenate(
        [3 * random.normal(size=48), [0, -0.0, 1e-7, -1e-7, 0.5, 1.5, -2.5, 0, 1, -1, 20, -20, 60, 1e-3, 2, -2]]
    )
    b = np.concatenate([2 * random.normal(size=56), [0, 1, -2, 3, 0, -1, 2, 1]])
    a, b = a.astype(dtype), b.astype(dtype)
    out = torch.zeros(len(rows), a.size, dtype=torch.from_numpy(a).dtype)
    real = tl.float64 if dtype is np.float64 else tl.float32
    with np.errstate(all="ignore"):
        kernel[(1,)](torch.from_numpy(a), torch.from_numpy(b), out, REAL=real, BLOCK=a.size)
        wanted = interpret.evaluate(rows, {"x.a": a.astype(float), "x.b": b.astype(float)})
    for row, found in zip(rows, out.double().numpy(), strict=True):
        wrong = ~near(row, found, wanted, digits)
        assert not wrong.any(), (row.name, a[wrong], b[wrong], found[wrong], wanted[row.name])


def near(row: Assign, found: np.ndarray, wanted: dict, digits: float) -> np.ndarray:
    value = np.broadcast_to(wanted[row.name], found.shape)
    # a power of rounded logarithms, powers by squaring and a quotient of sines lose a digit
    bound = digits * (30 if row.op in ("pow", "ipow", "tan") else 4 if "phi" in row.op or row.op == "pair" else 1)
    size = np.hypot(*(wanted[f"%{op}{row.value}"] for op in ("cphi_re", "cphi_im"))) if "cphi" in row.op else abs(value)
    size = np.maximum(size, abs(wanted["%pairS"])) if row.op == "pair" else size  # T passes 0, as a derivative does
    with np.errstate(all="ignore"):
        return (found == value) | (np.isnan(found) & np.isnan(value)) | (np.abs(found - value) <= bound * size + 1e-36)


def test_recurrent_weights_are_refused() -> None:
    layer = oracles.neuron("lif").torch(size=2)
    with pytest.raises(Unsupported, match="recurrent"):
        native_triton_torch.compile_program(layer.program, triton_kernels.adjoint(layer.program), ("I", "s"))
