"""ArchBench: suites of tasks, runs of agents on them, reports, verification and a protocol."""

from archgym.bench.report import BenchReport, read_bench_report
from archgym.bench.run import bench_plan, run_bench
from archgym.bench.serving import TaskServer, serve
from archgym.bench.shuffled import ShuffledSimulator, shuffled_task
from archgym.bench.suite import SUITES, BenchTask, bench_task, bench_tasks
from archgym.bench.verification import Refusal, verify_bench

__all__ = [
    "SUITES",
    "BenchReport",
    "BenchTask",
    "Refusal",
    "ShuffledSimulator",
    "TaskServer",
    "bench_plan",
    "bench_task",
    "bench_tasks",
    "read_bench_report",
    "run_bench",
    "serve",
    "shuffled_task",
    "verify_bench",
]
