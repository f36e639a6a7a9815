"""One call for a whole experiment: several seeds of one recipe, one after the other or side by side."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from time import perf_counter

from neuroode._errors import RunError
from neuroode.train.plan import BACKENDS, Outcome, Plan, load_task, prepare
from neuroode.train.results import SeedResult


def run(plan: Plan, quiet: bool = False) -> Outcome:
    """Train every seed of the plan.

    Raises:
        NeuroodeError: a plan, model or data set that does not fit, or a run that diverged.
    """
    neuron, settings = prepare(plan)
    task = load_task(plan, settings, plan.seeds[0])
    began = perf_counter()
    results = _side_by_side(plan, quiet) if plan.side_by_side else _in_turn(plan, quiet)
    wall = perf_counter() - began
    return Outcome(plan=plan, neuron=neuron, settings=settings, task=task, results=tuple(results), wall=wall)


def _in_turn(plan: Plan, quiet: bool) -> list[SeedResult]:
    return [_train_seed(plan, quiet, seed) for seed in plan.seeds]


def _side_by_side(plan: Plan, quiet: bool) -> list[SeedResult]:
    """Fresh processes: a forked one may hang in a pool of threads that it inherited."""
    workers = min(plan.jobs, len(plan.seeds))
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return list(pool.map(partial(_train_seed, plan, quiet), plan.seeds))
    except BrokenProcessPool as error:
        raise RunError("a training process was killed", hint="less memory: --jobs 1 or a smaller --batch") from error


def _train_seed(plan: Plan, quiet: bool, seed: int) -> SeedResult:
    found: SeedResult = import_module(BACKENDS[plan.backend]).train_seed(plan, quiet, seed)
    return found
