"""Launching generated scans over time on torch tensors: the interface of on_torch/scan_torch.py, in three launches."""

# mypy: ignore-errors
import contextlib

import torch

TILE = {2: 2048, 4: 1024, 6: 1024}  # steps times lanes of a tile, by entries of an element; more entries: SMALL
SMALL = 512
LANES, LONGEST = 32, 1024  # lanes of a tile: one line of memory; steps of a tile of one lane
STAGES = 4  # chunks under way while one is carried on


class Scan:
    """Kernels of one monoid: `element` entries, the first `matrix` of them the matrix, `state` parts of a state."""

    def __init__(self, reduce, carry, scan, element, matrix, state):
        self.reduce, self.carry, self.scan = reduce, carry, scan
        self.element, self.matrix, self.state = element, matrix, state


def tile_of(scan, lanes):
    """(steps, lanes) of a tile, powers of two."""
    width = 1
    while width < min(lanes, LANES):
        width *= 2
    return min(LONGEST, TILE.get(scan.element, SMALL) // width), width


def run(scan, elements, start, steps, adjoint=False, tile=None):
    """The states after each step, (T, *lanes*) each.

    Args:
        elements: (T, *lanes*), or (*lanes*) where an entry is the same in every step; lanes broadcast.
        start: (*lanes*) of each part of the state before the first step; with `adjoint`, behind the last one.
        adjoint: lambda[t] = drive[t] + (matrix[t+1])' lambda[t+1], from the last step to the first.
    """
    shape = start[0].shape
    lanes = start[0].numel()
    outputs = [s.new_empty((steps, *shape)) for s in start]
    if not steps or not lanes:
        return outputs
    if adjoint:
        elements = _transposed(scan, elements)
    rows = [_flat(e, shape) for e in elements]
    strides = [r.stride(0) if r.dim() == 2 else 0 for r in rows]
    apart = [0 if r.dim() == 0 else r.stride(-1) for r in rows]
    chunk, width = tile or tile_of(scan, lanes)
    chunks, blocks = -(-steps // chunk), -(-lanes // width)
    like = start[0]
    aggregates = like.new_empty((chunks, scan.element, lanes), dtype=torch.float64)
    starts = like.new_empty((chunks, scan.state, lanes))
    options = {"ADJOINT": adjoint, "LANES": width, "enable_fp_fusion": like.dtype == torch.float32}
    numbers = [*strides, *apart, steps, lanes]
    before = [s.reshape(lanes).contiguous() for s in start]
    device = torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()
    with device:
        if chunks > 1:  # one chunk begins where the sequence begins
            scan.reduce[(chunks, blocks)](*rows, aggregates, *numbers, **options, CHUNK=chunk)
        fusion = options["enable_fp_fusion"]
        scan.carry[(-(-lanes // LANES),)](
            aggregates, *before, starts, chunks, lanes, STAGES=STAGES, LANES=LANES, num_warps=1, enable_fp_fusion=fusion
        )
        scan.scan[(chunks, blocks)](*rows, starts, *outputs, *numbers, **options, CHUNK=chunk)
    return outputs


def _transposed(scan, elements):
    """Entries of the transposed matrix; a complex number is conjugated by the kernel."""
    n = scan.state
    if scan.matrix != n * n or n == 1:
        return elements
    return [*(elements[j * n + i] for i in range(n) for j in range(n)), *elements[n * n :]]


def _flat(entry, shape):
    """() or (lanes,) or (T, lanes), without a copy where it lies so already."""
    wide = entry.dim() > len(shape)
    if entry.numel() == 1 and not wide:
        return entry.reshape(())
    if wide:
        return entry.expand(entry.shape[0], *shape).reshape(entry.shape[0], -1)
    return entry.expand(shape).reshape(-1).contiguous()
