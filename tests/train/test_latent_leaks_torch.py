"""What training, picking and fitting read: nothing of the test trials, nothing that the encoder was shown."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from neuroode import load
from neuroode.train.latent import results, smoothing
from neuroode.train.latent.recipe import recommended
from neuroode.train.tasks import lorenz as source

torch = pytest.importorskip("torch")

from neuroode.train.latent import arms_torch  # noqa: E402
from neuroode.train.latent.loop_torch import Run  # noqa: E402


@pytest.fixture(scope="module")
def few() -> source.Population:
    whole = source.lorenz_population(0)

    def cut(part: source.Part, n: int) -> source.Part:
        return source.Part(*(getattr(part, k)[:n, :6] for k in ("spikes", "rates", "latents")), part.condition[:n])

    return replace(whole, train=cut(whole.train, 26), val=cut(whole.val, 13), test=cut(whole.test, 13))


def scrambled(few: source.Population) -> source.Population:
    """The same to learn from, other test trials."""
    part = few.test
    spikes = np.random.default_rng(0).poisson(3.0, part.spikes.shape).astype(part.spikes.dtype)
    return replace(few, test=source.Part(spikes, 2 * part.rates[::-1], part.latents, part.condition))


def run(population: source.Population, **changes: object) -> Run:
    recipe = replace(recommended("lorenz", "langevin"), **{"epochs": 1, "hidden": 4, "size": 2, "batch": 13, **changes})
    return arms_torch.declared("x", load("langevin", compat="harmonic"), population, recipe, 0)


def test_no_arm_learns_or_picks_by_the_test_trials(few: source.Population, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, arms = [], []
    for population in (few, scrambled(few)):
        runs.append(run(population))
        arms.append(runs[-1].train(lambda _: None))
    ours, other = arms
    assert [{**asdict(e), "seconds": 0} for e in ours.epochs] == [{**asdict(e), "seconds": 0} for e in other.epochs]
    for name, value in runs[0].network.state_dict().items():
        assert torch.equal(value, runs[1].network.state_dict()[name])
    assert ours.scores != other.scores
    for name in ("LENGTHS", "SIGNALS", "RIDGES"):
        monkeypatch.setattr(smoothing, name, getattr(smoothing, name)[:1])
    smoothing.fit(replace(few, test=None))  # type: ignore[arg-type]


def test_the_epoch_of_most_bits_is_picked_and_put_back(few: source.Population, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = [results.Epoch(epoch=i, loss=0.0, kl=0.0, val_bits=b, val_r_squared=r, seconds=0.0)
              for i, (b, r) in enumerate([(0.1, 0.9), (0.3, 0.2), (0.3, 0.5), (0.2, 1.0)])]  # fmt: skip
    assert results.pick(epochs) == 1
    monkeypatch.setattr("neuroode.train.latent.loop_torch.pick", lambda _: 0)
    trained, fresh = run(few), run(few)
    trained.best = start = {k: v.clone() for k, v in trained.network.state_dict().items()}
    trained.train(lambda _: None)
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, start[name])
        assert torch.equal(value, fresh.network.state_dict()[name])


def test_counts_that_the_encoder_was_shown_are_not_what_the_loss_reads(few: source.Population) -> None:
    """keep = 0.75; the loss of a shown count has no slope, that of a hidden one weighs 1/(1 - 0.75)."""
    found = run(few, keep=0.75)
    read: list[torch.Tensor] = []
    network, counts = found.network, found.counts["train"][:, :5].clone().requires_grad_()

    class Constant(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            read.append(x)
            return network(x.detach())._replace(log_rate=torch.ones_like(counts), log_mean=torch.zeros_like(counts))

    found.network = Constant()
    loss, _ = found.losses(counts)
    (slope,) = torch.autograd.grad(loss, counts)
    shown, seen = read[0].detach() != 0, few.seen
    there = counts.detach()[..., :seen] > 0
    assert shown.any()
    np.testing.assert_allclose(slope[..., seen:], -1 / 5, rtol=1e-6)
    np.testing.assert_allclose(slope[..., :seen][shown], 0, atol=0)
    np.testing.assert_allclose(slope[..., :seen][there & ~shown], -4 / 5, rtol=1e-6)
