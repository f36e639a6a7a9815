"""One call for a whole comparison: the neuron and its baselines, for every seed."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import product
from multiprocessing import get_context
from time import perf_counter

from neuroode._errors import RunError
from neuroode.train.latent.plan import Comparison, arm_names, load_population, prepare
from neuroode.train.latent.results import Arm
from neuroode.train.plan import Plan


def run(plan: Plan, quiet: bool = False) -> Comparison:
    """Train every arm for every seed of the plan.

    Raises:
        NeuroodeError: a plan or neuron that does not fit, or a run that diverged.
    """
    neuron, recipe = prepare(plan)
    population = load_population(plan, plan.seeds[0])
    began = perf_counter()
    pairs = list(product(arm_names(neuron), plan.seeds))
    arms = _side_by_side(plan, quiet, pairs) if plan.jobs > 1 else [_one(plan, quiet, pair) for pair in pairs]
    wall = perf_counter() - began
    return Comparison(plan=plan, neuron=neuron, recipe=recipe, population=population, arms=tuple(arms), wall=wall)


def _side_by_side(plan: Plan, quiet: bool, pairs: list[tuple[str, int]]) -> list[Arm]:
    """Fresh processes: a forked one may hang in a pool of threads that it inherited."""
    workers = min(plan.jobs, len(pairs))
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return list(pool.map(partial(_one, plan, quiet), pairs))
    except BrokenProcessPool as error:
        raise RunError("a training process was killed", hint="less memory: --jobs 1 or a smaller --batch") from error


def _one(plan: Plan, quiet: bool, pair: tuple[str, int]) -> Arm:
    from neuroode.train.latent.worker_torch import train_arm

    return train_arm(plan, quiet, *pair)
