"""Sweeps: tasks by agents by seeds, as resumable studies in one folder, with table and figure."""

from archgym.sweep.driver import SweepOutcome, SweepState, run_sweep
from archgym.sweep.plan import AgentPlan, Run, SweepPlan, TaskPlan
from archgym.sweep.reading import read_plan, read_recorded_plan

__all__ = [
    "AgentPlan",
    "Run",
    "SweepOutcome",
    "SweepPlan",
    "SweepState",
    "TaskPlan",
    "read_plan",
    "read_recorded_plan",
    "run_sweep",
]
