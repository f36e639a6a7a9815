"""Linear recurrences of stages by the solvers: which blocks, which monoid, which entries."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neuroode.program.partition import Stage

Tensor = torch.Tensor


def scan(stage: Stage, matrix: Sequence[Tensor], drive: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    n, count = stage.size, len(stage.slots)//stage.size
    T = drive[0].shape[0]
    A = [a.expand(drive[0].shape) for a in matrix]
    s = list(start); out=[[] for _ in s]
    for t in range(T):
        new=[]
        for k in range(count):
            for i in range(n):
                new.append(sum(A[k*n*n+i*n+j][t]*s[k*n+j] for j in range(n))+drive[k*n+i][t])
        s=new
        for o,x in zip(out,s): o.append(x)
    return [torch.stack(o) for o in out]

convolve = scan

def adjoint(stage, jac, g):
    n, count = stage.size, len(stage.slots)//stage.size
    T = g[0].shape[0]
    A = [a.expand(g[0].shape) for a in jac]
    lam=[x[T-1] for x in g]; out=[[x] for x in lam]
    for t in reversed(range(T-1)):
        new=[]
        for k in range(count):
            for i in range(n):
                new.append(sum(A[k*n*n+j*n+i][t+1]*lam[k*n+j] for j in range(n))+g[k*n+i][t])
        lam=new
        for o,x in zip(out,lam): o.append(x)
    return [torch.stack(o[::-1]) for o in out]
