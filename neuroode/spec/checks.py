"""Every rule that a declaration must obey, in the order in which a mistake is best reported."""

from __future__ import annotations

from neuroode.spec.types import NeuronSpec


def check(spec: NeuronSpec) -> None:
    """Check a declaration."""
