"""ArchBench: suites of tasks, runs of agents on them, reports, verification and a protocol."""

from archgym.bench.exporters import (
    optuna_constraints,
    optuna_objective,
)
from archgym.bench.fidelities import ScreenedSearch, screened_search
from archgym.bench.report import BenchReport, read_bench_report
from archgym.bench.run import ProgramRun, bench_plan, run_bench, run_program, run_programs
from archgym.bench.serving import TaskServer, serve
from archgym.bench.suite import (
    SUITES,
    BenchTask,
    ShuffledSimulator,
    bench_task,
    bench_tasks,
    shuffled_task,
)
from archgym.bench.verification import Refusal, Release, read_release, verify_bench

__all__ = [
    "SUITES",
    "BenchReport",
    "BenchTask",
    "ProgramRun",
    "Refusal",
    "Release",
    "ScreenedSearch",
    "ShuffledSimulator",
    "TaskServer",
    "bench_plan",
    "bench_task",
    "bench_tasks",
    "optuna_constraints",
    "optuna_objective",
    "read_bench_report",
    "read_release",
    "run_bench",
    "run_program",
    "run_programs",
    "screened_search",
    "serve",
    "shuffled_task",
    "verify_bench",
]
