"""How far a run is: a bar on a terminal, now and then a line elsewhere; on standard error, results stay clean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from neuroode.train.results import Epoch

LINES = 20  # at most about so many plain lines a seed


class Progress:
    """Told about each epoch.

    Args:
        label: put in front, for example "seed 0".
        total: number of epochs.
        quiet: say nothing.
        bar: whether a bar may be drawn; processes side by side would write over each other.
        line: the figures of one epoch in one line; None: `figures`.
    """

    def __init__(
        self, label: str, total: int, quiet: bool = False, bar: bool = True, line: Callable[[Any], str] | None = None
    ) -> None:
        self.line = line or figures
        self.label, self.total, self.quiet = label, total, quiet
        self.bar = _bar(label, total) if bar and not quiet and sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def say(self, text: str) -> None:
        """A line about something unusual, also where progress is not wanted."""
        print(f"{self.label}: {text}", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, epoch: Any) -> None:
        if self.bar is not None:
            self.bar.n = epoch.epoch
            self.bar.set_postfix_str(self.line(epoch))
        elif not self.quiet and (epoch.epoch % max(1, self.total // LINES) == 0 or epoch.epoch == self.total):
            print(f"{self.label}  epoch {epoch.epoch:>3}/{self.total}  {self.line(epoch)}", file=sys.stderr, flush=True)


def figures(epoch: Epoch) -> str:
    """The figures of one epoch in one line."""
    parts = [] if epoch.train_loss is None else [f"train loss {epoch.train_loss:.3f}"]
    if epoch.train_score is not None:
        parts[-1] += f" {epoch.train_score:.1f} %"
    parts.append(f"validation {epoch.val_loss:.3f} {epoch.val_score:.1f} %")
    if epoch.rate is not None:
        parts.append(f"rate {100 * epoch.rate:.1f} %")
    if epoch.skipped:
        parts.append(f"{epoch.skipped} updates skipped")
    return "  ".join(parts)


def _bar(label: str, total: int) -> Any:
    """A tqdm bar, or None where tqdm is not installed: plain lines do as well."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=label, unit="epoch", dynamic_ncols=True)
