"""What one call hands to the next: a frozen mapping of arrays that knows which model it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Carry(Mapping[str, Any]):
    """State parts by name (`v`, `u.re`), past values (`I[t-1]`), a recurrent layer's last output; (B, *size*) each."""

    __slots__ = ("_arrays", "digest")

    def __init__(self, arrays: Mapping[str, Any], digest: str) -> None:
        self._arrays = dict(arrays)
        self.digest = digest

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def detach(self) -> Carry:
        """The same values without gradient."""
        return Carry({k: v.detach() for k, v in self._arrays.items()}, self.digest)

    def __repr__(self) -> str:
        return "Carry(" + ", ".join(f"{k}: {tuple(v.shape)}" for k, v in self._arrays.items()) + ")"
