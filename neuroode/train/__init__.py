"""Training: tasks as arrays, one network for any neuron, a loop with checkpoints, and reports."""

from __future__ import annotations

from neuroode.train import tasks as tasks
from neuroode.train.experiment import run as run
from neuroode.train.options import Settings as Settings
from neuroode.train.plan import Outcome as Outcome
from neuroode.train.plan import Plan as Plan
