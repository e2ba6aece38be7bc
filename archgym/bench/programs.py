"""Programs in any language as search methods: one process for each task and seed."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from archgym.bench.serving import TaskServer, serve
from archgym.bench.suite import BenchTask
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, MissingProgramError
from archgym.evaluation.task import Task

SEED_VARIABLE = "ARCHGYM_SEED"
"""Environment variable that holds the seed of a run."""
# chosen: time that a program has to end after its last answer [s].
_END_S = 10.0


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
    check_whole("seeds", seeds, 1, 1000)
    check_whole("budget", budget, 1, 10**6)
    words = shlex.split(command)
    if not words:
        raise InvalidArgumentError("`command` must name a program; got nothing.")
    chosen = [task for task in tasks if budget <= max(task.budgets)]
    if not chosen:
        raise InvalidArgumentError(f"No task of the suite is judged at {budget} evaluations.")
    runs = []
    for each in chosen:
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
