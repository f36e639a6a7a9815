"""What the tests ask of a picture."""

from __future__ import annotations

import struct
from pathlib import Path

import matplotlib.image
import numpy as np


def size(file: Path) -> tuple[int, int]:
    """Width and height of a PNG file, which must not be one colour."""
    head = file.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert np.ptp(matplotlib.image.imread(file)) > 0.5
    width, height = struct.unpack(">II", head[16:])
    return width, height
