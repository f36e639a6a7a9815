"""`neuroode cache`: the compiled kernels kept on this machine."""

from __future__ import annotations

import argparse

HELP = "show or clear the compiled kernels kept on this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clear", action="store_true", help="remove them")


def run(args: argparse.Namespace) -> int:
    from neuroode.solvers.native import cache_dir, cached_kernels, clear

    if args.clear:
        print(f"removed {_count(clear())} from {cache_dir()}")
        return 0
    kept = cached_kernels()
    size = sum(path.stat().st_size for path in kept)
    print(f"{cache_dir()}: {_count(len(kept))}, {size / 1024:.0f} kB")
    return 0


def _count(number: int) -> str:
    return f"{number} kernel" + "s" * (number != 1)
