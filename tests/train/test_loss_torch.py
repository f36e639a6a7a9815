"""Losses against their definitions; the linear map against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuroode._errors import Unsupported
from neuroode.train import Settings, loss_torch
from neuroode.train.linear_torch import Linear
from neuroode.train.loss_torch import measure, nll_sum, nll_sum_plain, predict


@pytest.fixture
def out() -> Tensor:
    return torch.randn(7, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, 3, (5, 7), generator=torch.Generator().manual_seed(1))


def by_hand(out: Tensor, labels: Tensor) -> Tensor:
    """Sum over time of the batch mean, term by term."""
    rows = [out[t, b].log_softmax(-1)[labels[b, t]] for t in range(len(out)) for b in range(out.shape[1])]
    return -torch.stack(rows).sum() / out.shape[1]


@pytest.mark.parametrize("skip", [0, 2])
def test_every_step(out: Tensor, labels: Tensor, skip: int) -> None:
    recipe = Settings(loss="every_step", skip=skip)
    value, expected = measure(out, labels, recipe)[0], by_hand(out[skip:], labels[:, skip:])
    assert torch.allclose(value, expected, rtol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(value, out), torch.autograd.grad(expected, out)
    assert torch.allclose(mine, theirs, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("two_axes", [False, True])
def test_the_kernel_is_torchs_own_loss(out: Tensor, labels: Tensor, dtype: torch.dtype, two_axes: bool) -> None:
    found = []
    for function in (nll_sum, nll_sum_plain):
        x = out.detach().to(dtype).requires_grad_()
        value = function(x, labels if two_axes else labels[:, 0], 2)
        found.append([value, *torch.autograd.grad(value, x)])
    tolerance = 100 * torch.finfo(dtype).eps
    assert all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(*found, strict=True))


def test_without_a_compiler_the_loss_is_torchs(out: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise Unsupported("no compiler")

    monkeypatch.setattr(loss_torch, "nll_sequence", missing)
    assert torch.equal(nll_sum(out, labels, 1), nll_sum_plain(out, labels, 1))


def test_one_label_a_sequence_is_repeated(out: Tensor, labels: Tensor) -> None:
    whole = measure(out, labels[:, 0], Settings(loss="every_step"))[0]
    assert torch.allclose(whole, by_hand(out, labels[:, :1].expand(5, 7)), rtol=1e-12)


def test_last_step_and_mean_output(out: Tensor, labels: Tensor) -> None:
    last = measure(out, labels[:, 0], Settings(loss="last_step"))[0]
    assert torch.allclose(last, by_hand(out[-1:], labels[:, :1]), rtol=1e-12)
    mean = measure(out, labels[:, 0], Settings(loss="mean_output", skip=1))[0]
    assert torch.allclose(mean, by_hand(out[1:].mean(0, keepdim=True), labels[:, :1]), rtol=1e-12)


def test_predictions_follow_the_loss(out: Tensor, labels: Tensor) -> None:
    assert predict(out, labels[:, 0], Settings(loss="last_step")).equal(out[-1].argmax(-1))
    assert predict(out, labels[:, 0], Settings(loss="mean_output")).equal(out.mean(0).argmax(-1))
    assert predict(out, labels, Settings(loss="every_step", skip=3)).equal(out[3:].argmax(-1).T)
    share = (labels == out.argmax(-1).T).double().mean()
    assert measure(out, labels, Settings(loss="every_step"))[1] == pytest.approx(5 * share.item())
    right = (labels[:, 0] == out[-1].argmax(-1)).sum()
    assert measure(out, labels[:, 0], Settings(loss="last_step"))[1] == pytest.approx(right.item())


@pytest.mark.parametrize("kind", ["every_step", "last_step", "mean_output"])
def test_numbers_have_the_squared_error(kind: str) -> None:
    rng = np.random.default_rng(0)
    out, wanted = rng.normal(size=(7, 5, 1)), rng.normal(size=(5, 7))
    error = (out[2:, :, 0].T - wanted[:, 2:]) ** 2
    answers = {"last_step": out[-1, :, 0], "mean_output": out[2:, :, 0].mean(0)}
    if kind == "every_step":
        found = measure(torch.tensor(out), torch.tensor(wanted), Settings(loss=kind, skip=2))
        assert float(found[0]) == pytest.approx(error.sum() / 5)
        assert found[1] == pytest.approx(error.mean() * 5)
    else:
        found = measure(torch.tensor(out), torch.tensor(wanted[:, 0]), Settings(loss=kind, skip=2))
        assert float(found[0]) == pytest.approx(((answers[kind] - wanted[:, 0]) ** 2).mean())
        assert found[1] == pytest.approx(5 * float(found[0]))


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 40), (4, 36), (36, 6), (40, 40)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_linear_map_is_torchs(inputs: int, outputs: int, bias: bool) -> None:
    torch.manual_seed(2)
    mine, theirs = Linear(inputs, outputs, bias=bias).double(), nn.Linear(inputs, outputs, bias=bias).double()
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(11, 3, inputs, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 3, outputs, dtype=torch.float64)
    found = [_gradients(module, x, weight) for module in (mine, theirs)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*found, strict=True))


def _gradients(module: nn.Module, x: Tensor, weight: Tensor) -> list[Tensor]:
    out = module(x)
    return [out, *torch.autograd.grad((out * weight).sum(), [x, *module.parameters()])]
