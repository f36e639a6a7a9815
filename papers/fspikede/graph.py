"""A small citation graph like Cora, drawn: papers of seven subjects cite mostly their own, and share its words.

Figures of Cora that it follows: 7 classes of unequal size, about 4 citations a paper, four in five of them within a
class, features that are words of a short text. What the network reads are words averaged over neighbours, twice
(simplified graph convolution), as rates of Bernoulli spikes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
PAPERS, WORDS, SUBJECTS = 1400, 400, 7
LENGTH, OWN_WORDS, OWN_SHARE = 14, 60, 0.16  # words of a text; those typical of a subject; how many of a text's are
CITATIONS, WITHIN = 2.0, 0.81  # a paper cites so many; share within its subject
SHARES = (0.30, 0.16, 0.15, 0.13, 0.11, 0.08, 0.07)


@dataclass(frozen=True, slots=True)
class Graph:
    """`rates` (papers, words) in [0, 1], `subjects` (papers,), and which papers train, validate, test."""

    rates: Array
    subjects: Array
    train: Array
    validation: Array
    test: Array


def draw(seed: int) -> Graph:
    """Seven tenths train, two tenths test, one tenth validates."""
    random = np.random.default_rng(seed)
    subjects = random.choice(SUBJECTS, PAPERS, p=SHARES)
    words = _texts(subjects, random)
    rates = _averaged(words, _citations(subjects, random))
    order = random.permutation(PAPERS)
    first, second = 7 * PAPERS // 10, 9 * PAPERS // 10
    return Graph(rates / rates.max(), subjects, order[:first], order[second:], order[first:second])


def _texts(subjects: Array, random: np.random.Generator) -> Array:
    typical = np.stack([random.choice(WORDS, OWN_WORDS, replace=False) for _ in range(SUBJECTS)])
    found = np.zeros((PAPERS, WORDS))
    for paper, subject in enumerate(subjects):
        own = random.binomial(LENGTH, OWN_SHARE)
        found[paper, random.choice(typical[subject], own)] = 1
        found[paper, random.integers(WORDS, size=LENGTH - own)] = 1
    return found


def _citations(subjects: Array, random: np.random.Generator) -> Array:
    """A symmetric matrix of 0 and 1."""
    found = np.zeros((PAPERS, PAPERS))
    for paper, subject in enumerate(subjects):
        for _ in range(random.poisson(CITATIONS)):
            among = subjects == subject if random.random() < WITHIN else subjects != subject
            found[paper, random.choice(np.flatnonzero(among))] = 1
    return np.maximum(found, found.T)


def _averaged(words: Array, citations: Array) -> Array:
    """(D^-1/2 (A + I) D^-1/2)^2 words."""
    loops = citations + np.eye(PAPERS)
    scale = loops.sum(1) ** -0.5
    spread = scale[:, None] * loops * scale
    return spread @ (spread @ words)
