"""`neuroode emit`: source text that runs without neuroode."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from neuroode.cli.model import load, model_arguments

HELP = "write a model as source text that runs without neuroode"


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("--target", choices=("torch", "jax", "c", "triton"), required=True, help="language of the text")
    parser.add_argument("-o", "--output", metavar="FILE", help="file to write; without it, or as -, standard output")
    parser.add_argument("--dt", type=float, help="length of a step; default: the model's")


def run(args: argparse.Namespace) -> int:
    source = load(args).emit(args.target, dt=args.dt)
    if args.output in (None, "-"):
        sys.stdout.write(source)
    else:
        write_atomically(Path(args.output), source)
    return 0


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the target and rename: a reader sees the old file or the new one, never half of it."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    path = path.resolve()  # a link stays a link
    if path.exists() and not path.is_file():  # a pipe or a device is written, never replaced
        path.write_bytes(data)
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
