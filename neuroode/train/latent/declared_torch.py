"""Latents that are declared: a stochastic neuron of neuroode, its noise given by the posterior.

The prior is the neuron without input. Of its path three posteriors are there:

- `own`: the same neuron with parameters of its own, driven through its input by the encoder: a controlled path. For
  Gaussian observations of constant precision this is the right form: their smoothed path is the prior's under linear
  feedback and drive. For steps that are affine with Gaussian noise; the divergence is that of the transitions
  (affine_torch.py), in closed form from the moments of the path (`exact`) or at a sample of it.
- `noise`: the neuron's own steps, where the noise of each is N(m, s^2) instead of N(0, 1), with m and s of the encoder.
  A path is a function of its start and its noise, so that the divergence of the noise is at least that of the path,
  for any neuron and any method; with s = 1 it is Girsanov's for the drift that m adds, sum(m^2)/2.
- `free`: only the start is inferred; noise is that of the prior.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuroode.nn.gaussian_torch import gaussian, moments
from neuroode.train.latent.affine_torch import path_divergence
from neuroode.train.latent.lanes_torch import Lanes, split
from neuroode.train.latent.path_torch import START, Head, Path, normal_kl, sample

SHARED = ("neuron", "layer", "network")


class _Latent(nn.Module):
    """A layer whose outputs are its states, all of which the readout takes."""

    def __init__(self, neuron: Any, size: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.prior = layer_of(neuron, size, options)
        self.lanes = Lanes(self.prior)
        self.count = self.lanes.n * size
        self.log_scale = nn.Parameter(torch.zeros(size, self.lanes.n))  # of the prior's start

    def by_lane(self, x: Tensor) -> Tensor:
        """(..., N*n) -> (..., N, n)."""
        return x.unflatten(-1, (self.prior.size[0], -1))

    def start_kl(self, mean: Tensor, log_std: Tensor) -> Tensor:
        """Of the start from N(declared start, scale^2); (B, N, n) or (N, n) -> (B,). `mean` is in the prior's scale."""
        return normal_kl(mean, log_std).sum((-2, -1))


def one_each(neuron: Any) -> Any:
    """The neuron with trained parameters of its own in every lane, where the declaration shares them in the layer."""
    spec = neuron.spec
    wide = [replace(p, per=("neuron", *(a for a in p.per if a not in SHARED))) if p.trainable else p
            for p in spec.parameters]  # fmt: skip
    return neuron.from_spec(replace(spec, parameters=tuple(wide)))


def layer_of(neuron: Any, size: int, options: dict[str, Any]) -> Any:
    """A float32 layer that gives every state."""
    missing = {s.name: s.name for s in neuron.spec.states if s.name not in dict(neuron.spec.outputs)}
    return (neuron.add(outputs=missing) if missing else neuron).torch(size=size, dtype=torch.float32, **options)


class Own(_Latent):
    """Posterior `own`; the start has a standard deviation that does not depend on the spikes, so that no covariance
    does."""

    def __init__(self, neuron: Any, size: int, width: int, options: dict[str, Any], own: dict[str, str], exact: bool):
        super().__init__(neuron, size, options)
        self.exact = exact
        self.posterior = layer_of(neuron, size, {**options, "init": {**options.get("init", {}), **own}})
        self.own = Lanes(self.posterior)
        self.start = nn.Linear(width, size * self.lanes.n)
        self.start_log_std = nn.Parameter(torch.zeros(size, self.lanes.n))
        self.drive = nn.Linear(width, size * self.lanes.r)
        for linear in (self.start, self.drive):
            nn.init.normal_(linear.weight, std=START)
            nn.init.zeros_(linear.bias)

    def forward(self, h: Tensor, summary: Tensor) -> Path:
        prior, own = gaussian(self.prior), gaussian(self.posterior)
        mean, w, scale = self.by_lane(self.start(summary)), self.by_lane(self.drive(h)), self.log_scale.exp()
        kl = self.start_kl(mean, self.start_log_std.expand_as(mean))
        std = scale * self.start_log_std.exp()
        if not self.exact:
            x, before = self._run(self.lanes.rest() + scale * mean + std * torch.randn_like(mean), w, torch.randn)
            return Path(x.flatten(-2), None, kl + path_divergence(prior, own, before, w))
        begin, first = self.lanes.rest() + scale * mean, torch.diag_embed(std.square())
        x, P = moments(own, begin, first, len(h), split(w, self.own.inputs) if self.own.inputs else None)
        before, held = torch.cat([begin[None], x[:-1]]), torch.cat([first[None], P[:-1]])
        return Path(x.flatten(-2), P, kl + path_divergence(prior, own, before, w, held))

    def _run(self, start: Tensor, w: Tensor, draw: Any) -> tuple[Tensor, Tensor]:
        """States after and before each step."""
        after = self.own.run(w, start, draw(*w.shape[:3], self.lanes.m, dtype=w.dtype, device=w.device))
        return after, torch.cat([start[None], after[:-1]])


class Noise(_Latent):
    """Posteriors `noise` and, with `free`, the one that infers the start alone."""

    def __init__(self, neuron: Any, size: int, width: int, options: dict[str, Any], free: bool) -> None:
        super().__init__(neuron, size, options)
        self.start = Head(width, size * self.lanes.n)
        self.shift = None if free else Head(width, size * self.lanes.m)

    def forward(self, h: Tensor, summary: Tensor) -> Path:
        mean, log_std = (self.by_lane(v) for v in self.start(summary))
        kl = self.start_kl(mean, log_std)
        start = self.lanes.rest() + self.log_scale.exp() * sample(mean, log_std)
        if self.shift is None:
            noise = torch.randn(*h.shape[:2], *self._shape(), dtype=h.dtype, device=h.device)
        else:
            found = [v.unflatten(-1, self._shape()) for v in self.shift(h)]
            noise, kl = sample(*found), kl + normal_kl(*found).sum((0, 2, 3))
        nothing = noise.new_zeros(*noise.shape[:3], self.lanes.r)
        return Path(self.lanes.run(nothing, start, noise).flatten(-2), None, kl)

    def _shape(self) -> tuple[int, int]:
        return self.prior.size[0], self.lanes.m
