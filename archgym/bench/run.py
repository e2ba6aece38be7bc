"""Runs of agents on suites, as sweeps, and of programs in any language, one for each seed."""

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from archgym.bench.serving import TaskServer, serve
from archgym.bench.suite import BenchTask
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, MissingProgramError
from archgym.evaluation.task import Task
from archgym.sweep.driver import SweepOutcome, SweepState, run_sweep
from archgym.sweep.plan import AgentPlan, SweepPlan

# chosen: a hundred times the seeds and the evaluations that published comparisons use.
_MAX_SEEDS = 1000
_MAX_BUDGET = 10**6
SEED_VARIABLE = "ARCHGYM_SEED"
"""Environment variable that holds the seed of a run."""
# chosen: time that a program has to end after its last answer [s].
_END_S = 10.0


def bench_plan(
    agents: Sequence[str], tasks: Sequence[BenchTask], seeds: int = 5, budget: int = 100
) -> SweepPlan:
    """Return the sweep that runs agents with their defaults on tasks.

    Tasks that are not judged at as many evaluations are left out, since they are costly.

    Args:
      agents: Registered names.
      tasks: Tasks of the benchmark.
      seeds: Number of seeds, from 0.
      budget: Evaluations of each study.

    Raises:
      InvalidArgumentError: An argument does not fit, or no task is left.
      UnknownNameError: An agent does not exist.
    """
    from archgym.agent.agent import agent_class

    check_whole("seeds", seeds, 1, _MAX_SEEDS)
    check_whole("budget", budget, 1, _MAX_BUDGET)
    if not agents:
        raise InvalidArgumentError("A benchmark must have an agent; got none.")
    for name in agents:
        agent_class(name)
    return SweepPlan(
        tuple(task.plan for task in _judged(tasks, budget)),
        tuple(AgentPlan(name, name) for name in dict.fromkeys(agents)),
        tuple(range(seeds)),
        budget,
    )


def run_bench(
    plan: SweepPlan,
    folder: str | Path,
    *,
    workers: int | None = None,
    progress: Callable[[SweepState], None] | None = None,
) -> SweepOutcome:
    """Run the unfinished runs of a plan in a folder; see `archgym.sweep.run_sweep`."""
    return run_sweep(plan, folder, workers=workers, progress=progress)


def _judged(tasks: Sequence[BenchTask], budget: int) -> list[BenchTask]:
    """Return the tasks that are judged at as many evaluations."""
    chosen = [task for task in tasks if budget <= max(task.budgets)]
    if not chosen:
        raise InvalidArgumentError(f"No task of the suite is judged at {budget} evaluations.")
    return chosen


@final
@dataclass(frozen=True)
class ProgramRun:
    """One run of a program on a task."""

    task: str
    seed: int
    folder: Path
    """Folder of the study, which `verify_bench` reads."""
    evaluations: int
    reward: float | None
    """Best reward; None where nothing was evaluated."""
    status: int
    """Exit status of the program."""

    def to_json(self) -> dict[str, Any]:
        """Return the run as data."""
        return {**vars(self), "folder": str(self.folder)}


def run_program(
    command: str, tasks: Sequence[BenchTask], folder: str | Path, seeds: int = 5, budget: int = 100
) -> list[ProgramRun]:
    """Run a program on tasks, over lines of JSON on its standard input and output.

    Each run is a study of its own, `FOLDER/TASK-SEED`. A run that has used its budget is not
    repeated. A program that ends early leaves a study that the next call continues.

    Args:
      command: Program with its arguments, as in a shell; no shell takes part.
      tasks: Tasks of the benchmark. Tasks that are not judged at `budget` are left out.
      folder: Folder for the studies.
      seeds: Number of seeds, from 0, in the environment variable `ARCHGYM_SEED`.
      budget: Evaluations of each run.

    Raises:
      InvalidArgumentError: An argument does not fit.
      MissingProgramError: The program cannot be started.
      StorageError: A study cannot be written.
    """
    check_whole("seeds", seeds, 1, _MAX_SEEDS)
    check_whole("budget", budget, 1, _MAX_BUDGET)
    words = shlex.split(command)
    if not words:
        raise InvalidArgumentError("`command` must name a program; got nothing.")
    runs = []
    for each in _judged(tasks, budget):
        task = each.plan.make()
        for seed in range(seeds):
            place = Path(folder) / f"{each.label}-{seed}"
            runs.append(_run(words, each.label, task, place, seed, budget))
    return runs


def _run(
    words: list[str], label: str, task: Task, folder: Path, seed: int, budget: int
) -> ProgramRun:
    server = TaskServer(task, folder, budget)
    try:
        status = 0 if server.evaluations >= budget else _exchanged(words, server, seed)
        last = server.end("program")
    finally:
        server.close()
    best = last["best"]
    reward = None if best is None else float(best["reward"])
    return ProgramRun(label, seed, folder, int(last["evaluations"]), reward, status)


def _exchanged(words: list[str], server: TaskServer, seed: int) -> int:
    """Let a program search, and return its exit status."""
    environment = {**os.environ, SEED_VARIABLE: str(seed)}
    try:
        program = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
    except OSError as error:
        raise MissingProgramError(f"Program {words[0]!r} cannot be started: {error}.") from None
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        with suppress(BrokenPipeError):
            serve(server, program.stdout, program.stdin)
    finally:
        with suppress(BrokenPipeError):
            program.stdin.close()
        try:
            program.wait(_END_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        program.stdout.close()
    return program.returncode
