"""Estimate of the simulation time of a sweep."""

import time

import numpy as np

from archgym.sweep.plan import SweepPlan

# chosen: enough designs for an estimate that costs little itself.
_TRIED_DESIGNS = 16


def simulation_seconds(plan: SweepPlan) -> float:
    """Estimate the simulation time of a plan on one core, from a few random designs per task."""
    seconds = 0.0
    for task in plan.tasks:
        made = task.make()
        designs = made.space.sample(_TRIED_DESIGNS, np.random.default_rng(0))
        began = time.perf_counter()
        made.evaluate(designs)
        per_design = (time.perf_counter() - began) / len(designs)
        seconds += per_design * plan.budget * len(plan.agents) * len(plan.seeds)
    return seconds
