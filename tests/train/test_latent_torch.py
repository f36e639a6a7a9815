"""Sequential autoencoders around declared latents: divergences against closed forms, training, resuming, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

from neuroode import RunError, Unsupported, load
from neuroode.cli.main import main
from neuroode.train.latent import smoothing
from neuroode.train.latent.plan import arm_names, check, readout_of
from neuroode.train.latent.recipe import Recipe, override, recommended
from neuroode.train.plan import Plan
from neuroode.train.tasks import lorenz as source

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from neuroode.nn import gaussian_torch  # noqa: E402
from neuroode.train.latent import affine_torch, arms_torch  # noqa: E402
from neuroode.train.latent.declared_torch import Noise, Own, one_each  # noqa: E402
from neuroode.train.latent.network_torch import Found, Network, poisson_loss  # noqa: E402
from neuroode.train.latent.path_torch import Path, normal_kl  # noqa: E402
from neuroode.train.latent.worker_torch import run_of  # noqa: E402

F64 = torch.float64


@pytest.fixture(scope="module")
def few() -> source.Population:
    """52 trials of 8 bins to learn from, 26 to validate, 13 to test; the same neurons."""
    whole = source.lorenz_population(0)

    def cut(part: source.Part, n: int) -> source.Part:
        return source.Part(*(getattr(part, k)[:n, :8] for k in ("spikes", "rates", "latents")), part.condition[:n])

    return replace(whole, train=cut(whole.train, 52), val=cut(whole.val, 26), test=cut(whole.test, 13))


def oscillators(k: int = 1) -> Any:
    return one_each(load("langevin", compat="harmonic").with_axes({"k": k}))


def own(exact: bool, k: int = 1, neuron: Any = None) -> Own:
    torch.manual_seed(3)
    start = {"gamma": "1.5"} if neuron is None else {"tau": "30"}
    return Own(neuron or oscillators(k), 2, 5, {"dt": 0.7 if neuron is None else 20.0}, start, exact)


def test_the_divergence_of_normal_numbers_is_torch_s() -> None:
    mean, log_std = torch.randn(4, 3), torch.randn(4, 3)
    wanted = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert torch.allclose(normal_kl(mean, log_std), wanted, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2])
def test_the_divergence_of_paths_is_that_of_their_joint_normal_laws(k: int) -> None:
    """Against one big normal law of all states of three steps, mean and covariance written out."""
    latent = own(True, k).double()
    for lanes in (latent.lanes, latent.own):
        lanes.scales = lanes.scales.double()
    h, summary = torch.randn(3, 1, 5, dtype=F64), torch.randn(1, 5, dtype=F64)
    found = latent(h, summary)
    steps = [gaussian_torch.gaussian(layer) for layer in (latent.prior, latent.posterior)]
    w = latent.by_lane(latent.drive(h))[:, 0]
    scale = latent.log_scale.exp()
    std = scale * latent.start_log_std.exp()
    mean = latent.lanes.rest() + scale * latent.by_lane(latent.start(summary))[0]
    ours = _joint(steps[1], mean, std, (steps[1].B @ w[..., None])[..., 0] + steps[1].b)
    theirs = _joint(steps[0], latent.lanes.rest(), scale, steps[0].b.expand(3, *steps[0].b.shape))
    wanted = sum(
        torch.distributions.kl_divergence(
            *(torch.distributions.MultivariateNormal(m[i], P[i]) for m, P in (ours, theirs))
        )
        for i in range(2)
    )
    assert found.kl.item() == pytest.approx(wanted.item(), rel=1e-9)
    n = latent.lanes.n
    last = ours[0].reshape(2, 4, n)[:, -1].flatten()
    assert torch.allclose(found.features[-1, 0], last, atol=1e-12)
    assert torch.allclose(found.covariance[-1], ours[1][:, -n:, -n:], atol=1e-12)


def _joint(step: Any, mean: Any, std: Any, drive: Any) -> tuple[Any, Any]:
    """Mean (N, 4n) and covariance of the start and three steps, by the powers of A."""
    n = step.A.shape[-1]
    size, means = len(step.A), [mean]
    blocks = [[torch.diag_embed(std**2)]]
    for c in drive:
        means.append((step.A @ means[-1][..., None])[..., 0] + c)
        row = [step.A @ b for b in blocks[-1]]
        blocks.append([*row, row[-1] @ step.A.mT + step.L @ step.L.mT])
    full = torch.zeros(size, 4 * n, 4 * n, dtype=F64)
    for i in range(4):
        for j in range(i + 1):
            block = blocks[i][j]
            full[:, i * n : (i + 1) * n, j * n : (j + 1) * n] = block
            full[:, j * n : (j + 1) * n, i * n : (i + 1) * n] = block.mT
    return torch.cat(means, -1), full


@pytest.mark.parametrize("name", ["langevin", "ou"])
def test_the_sampled_divergence_has_the_exact_one_as_its_mean(name: str) -> None:
    neuron = one_each(load("ou")) if name == "ou" else None
    h, summary = torch.randn(6, 2000, 5), torch.randn(1, 5).expand(2000, -1)
    h = h[:, :1].expand(-1, 2000, -1)
    exact, sampled = own(True, neuron=neuron), own(False, neuron=neuron)
    found, wanted = sampled(h, summary).kl.detach(), exact(h[:, :1], summary[:1]).kl.item()
    assert abs(float(found.mean()) - wanted) < 4 * float(found.std()) / 2000**0.5
    assert float(found.std()) > 0.01


def test_the_library_s_own_sum_agrees() -> None:
    latent = own(True)
    prior, mine = gaussian_torch.gaussian(latent.prior), gaussian_torch.gaussian(latent.posterior)
    w, start, std = torch.randn(5, 3, 2, 1), torch.randn(3, 2, 2), 0.3 * torch.ones(2, 2)
    zeros = torch.zeros(5, 3, 2, latent.lanes.m)
    x = latent.own.run(w, start, zeros)
    before = torch.cat([start[None], x[:-1]])
    P = torch.cat([torch.diag_embed(std**2)[None], gaussian_torch.moments(mine, std, torch.diag_embed(std**2), 5)[1]])[
        :-1
    ]
    found = affine_torch.path_divergence(prior, mine, before, w, P)
    wanted = gaussian_torch.kl_of_paths(mine, prior, start, torch.diag_embed(std**2), 5, x=w, other_x=0 * w).sum(-1)
    assert torch.allclose(found, wanted, rtol=1e-4)


def test_the_exact_expectation_of_the_likelihood(few: source.Population) -> None:
    """E[y log r - r] of Gaussian log-rates, against samples of the path."""
    recipe = Recipe(size=2, hidden=4, init={"T": "0.3"}, axes={"k": 1}, dt=1.0)
    run = arms_torch.declared("x", load("langevin", compat="harmonic"), few, recipe, 0)
    counts = run.counts["val"][:, :1]
    x = counts[..., :24]
    wanted = float(poisson_loss(run.network(x), counts).detach())
    run.network.latent.exact = False
    many = run.network(x.expand(-1, 4000, -1))
    found = poisson_loss(Found(many.log_rate, many.log_rate, many.kl), counts).detach()
    assert abs(float(found.mean()) - wanted) < 4 * float(found.std()) / 4000**0.5


def test_what_no_posterior_of_its_own_applies_to(few: source.Population) -> None:
    """BAOAB has one noise for two states: its steps have no density in the plane."""
    recipe = Recipe(size=2, hidden=4, axes={"k": 1})
    run = arms_torch.declared("x", load("langevin"), few, recipe, 0)
    assert isinstance(run.network.latent, Noise)
    assert run.network(run.counts["val"][..., :24]).kl.shape == (26,)
    with pytest.raises(Unsupported, match="posterior own needs a step of 'langevin' that is affine"):
        arms_torch.declared("x", load("langevin"), few, replace(recipe, posterior="own"), 0)


def test_a_drawn_start_rests_at_the_middle_of_its_draw() -> None:
    neuron = oscillators().add(states={"q": "normal(0.5, 2)"})
    latent = Noise(neuron, 2, 5, {}, False)
    rest = latent.lanes.rest()
    assert [dict(zip(latent.lanes.states, row, strict=True)) for row in rest.tolist()] == [
        {"q__0": 0.5, "p__0": 0.0}
    ] * 2


def test_noise_that_is_the_prior_s_costs_nothing() -> None:
    latent = Noise(oscillators(), 2, 5, {}, False)
    for head in (latent.start, latent.shift):
        torch.nn.init.zeros_(head.linear.weight)
    assert latent(torch.randn(6, 3, 5), torch.randn(3, 5)).kl.abs().max().item() < 1e-6


def test_training_learns_and_resumes(few: source.Population, tmp_path: FilePath) -> None:
    recipe = replace(recommended("lorenz", "langevin"), epochs=3, hidden=8, size=2, batch=13)
    neuron = load("langevin", compat="harmonic")
    whole = arms_torch.declared("x", neuron, few, recipe, 0).train(lambda _: None)
    first, last = whole.epochs[1], whole.epochs[-1]
    assert last.loss + last.kl < first.loss + first.kl
    path = tmp_path / "x.ckpt"

    class Stop(Exception):
        pass

    def stop(epoch: Any) -> None:
        if epoch.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        arms_torch.declared("x", neuron, few, recipe, 0).train(stop, path)
    resumed = arms_torch.declared("x", neuron, few, recipe, 0).train(lambda _: None, path, resume=True)
    assert [e.val_bits for e in resumed.epochs] == [e.val_bits for e in whole.epochs]
    assert np.array_equal(resumed.rates, whole.rates)
    with pytest.raises(RunError, match="was made with other values of lr"):
        arms_torch.declared("x", neuron, few, replace(recipe, lr=0.02), 0).train(lambda _: None, path, resume=True)


@pytest.mark.slow
def test_the_command(few: source.Population, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(__import__("neuroode.train.tasks", fromlist=["x"]).POPULATIONS, "lorenz", lambda _: few)
    for name in ("LENGTHS", "SIGNALS", "RIDGES"):
        monkeypatch.setattr(smoothing, name, getattr(smoothing, name)[:1])
    words = ["train", "lorenz", "--neuron", "langevin", "--epochs", "1", "--size", "2", "--out", str(tmp_path)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:9]] == [
        "langevin (harmonic)",
        "langevin (harmonic) + encoder",
        "smoothing",
        "gru",
        "released",
        "released, latents only",
        "true rates",
    ]
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["arms"][0]["r_squared"]["mean"] == pytest.approx(float(lines[2].split()[3]), abs=1e-3)
    assert {"report.html", "rates.png", "latents.png", "training.png"} <= {f.name for f in tmp_path.iterdir()}
    assert (tmp_path / "checkpoints" / "gru-seed0.ckpt").is_file()
    assert main([*words, "--require", "99.9", "--resume"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--neuron", "lif"], "'lif' has events: a latent of task 'lorenz' is a path without resets"),
        (["--neuron", "li"], "'li' has no noise"),
        (["--neuron", "langevin", "--backend", "jax"], "task 'lorenz' trains in torch, not in jax"),
        (
            ["--neuron", "langevin", "--recurrent"],
            "--recurrent is not there for this task: lanes of a latent do not feed",
        ),
        (["--neuron", "langevin", "--data", "x"], "task 'lorenz' takes no data folder"),
    ],
)
def test_refusals(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "lorenz", *words]) == 2
    assert message in capsys.readouterr().err


def test_which_neurons_are_latents() -> None:
    for name in ("ou", "langevin"):
        check(load(name), "lorenz")
    with pytest.raises(Unsupported, match="has events"):
        check(load("noisy_lif"), "lorenz")


def test_the_summary_is_what_the_last_encoder_says_at_both_ends() -> None:
    class Told(torch.nn.Module):
        count = 1

        def forward(self, h: Any, summary: Any) -> Any:
            self.got = h, summary
            return Path(h[..., :1], None, torch.zeros(h.shape[1]))

    for layers in (1, 2):
        network = Network(Told(), 3, torch.ones(4), 5, True, layers=layers)
        network(torch.rand(6, 2, 3))
        h, summary = network.latent.got
        assert torch.equal(summary, torch.cat([h[-1, :, :5], h[0, :, 5:]], -1))


@pytest.mark.parametrize(("beta", "ramp", "wanted"), [(1.0, 1, 1.0), (0.1, 1, 0.1), (0.1, 4, 0.025)])
def test_the_divergence_has_its_weight(
    few: source.Population, monkeypatch: pytest.MonkeyPatch, beta: float, ramp: int, wanted: float
) -> None:
    recipe = Recipe(size=2, hidden=4, beta=beta, ramp=ramp, batch=52)
    run = arms_torch.gru(few, recipe, 0)
    seen = []
    parts = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    monkeypatch.setattr(run, "losses", lambda counts: parts)
    monkeypatch.setattr(run, "_update", lambda loss: seen.append(loss.item()) or True)
    run._epoch(1)
    assert seen == [pytest.approx(2 + wanted * 3)]


def test_arms_say_what_their_readout_takes(few: source.Population) -> None:
    names = arm_names(load("langevin"))
    assert names == ("langevin", "langevin + encoder", "smoothing", "gru", "released", "released, latents only")
    assert [n for n in names if "encoder" in readout_of(n)] == ["langevin + encoder", "released"]
    plan = Plan(task="lorenz", neuron="langevin", changes={"hidden": 4, "layers": 1})
    widths = {}
    for name in names:
        if name != "smoothing":
            network = run_of(plan, few, name, 0).network
            widths[name] = network.readout.in_features - network.latent.count
    assert widths == {"langevin": 0, "langevin + encoder": 8, "gru": 0, "released": 8, "released, latents only": 0}


def test_recipes() -> None:
    assert recommended("lorenz", "langevin").compat == "harmonic"
    assert override(Recipe(init={"a": "1"}), {"init": {"b": "2"}, "epochs": 3}).init == {"a": "1", "b": "2"}
    for bad in ({"keep": 0.0}, {"size": 0}, {"posterior": "x"}, {"lag": 1}, {"layers": 0}, {"beta": 0}):
        with pytest.raises(RunError):
            Recipe(**bad)
