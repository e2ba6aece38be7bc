"""Runs of agents on suites, as sweeps, and of programs in any language, one for each seed."""

import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

from archgym.bench.serving import TaskServer, serve
from archgym.bench.suite import BenchTask, bench_task
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, MissingProgramError
from archgym.evaluation.task import Task
from archgym.runtime.watchdog import Watchdog
from archgym.sweep.driver import SweepOutcome, SweepState, run_sweep
from archgym.sweep.plan import PROGRAM, AgentPlan, Run, SweepPlan
from archgym.sweep.reading import record_plan

logger = logging.getLogger(__name__)

# chosen: a hundred times the seeds and the evaluations that published comparisons use.
_MAX_SEEDS = 1000
_MAX_BUDGET = 10**6
SEED_VARIABLE = "ARCHGYM_SEED"
"""Environment variable that holds the seed of a run."""
END_S = 10.0
"""chosen: time that a program has to end after its last answer [s]."""
ANSWER_S = 600.0
"""chosen: time that a program has for each line [s]."""
# So that no program outlives this process, however it ends.
_watchdog = Watchdog()


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
    if len(set(agents)) < len(agents):
        raise InvalidArgumentError(f"Each agent must come once; got {', '.join(agents)}.")
    for name in agents:
        agent_class(name)
    return SweepPlan(
        tuple(task.plan for task in _judged(tasks, budget)),
        tuple(AgentPlan(name, name) for name in agents),
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
    command: str,
    tasks: Sequence[BenchTask],
    folder: str | Path,
    seeds: int = 5,
    budget: int = 100,
    answer_s: float = ANSWER_S,
) -> list[ProgramRun]:
    """Run a program on tasks, over lines of JSON on its standard input and output.

    Each run is a study of its own in the folder of a sweep. A run that has used its budget is not
    repeated. A program that ends early leaves a study that the next call continues.

    Args:
      command: Program with its arguments, as in a shell; no shell takes part.
      tasks: Tasks of the benchmark. Tasks that are not judged at `budget` are left out.
      folder: Folder for the studies.
      seeds: Number of seeds, from 0, in the environment variable `ARCHGYM_SEED`.
      budget: Evaluations of each run.
      answer_s: Time for each line, after which the program is ended [s].

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
    made = {each.label: each.plan.make() for each in _judged(tasks, budget)}
    plan = SweepPlan(
        tuple(bench_task(label).plan.decided(task) for label, task in made.items()),
        (AgentPlan(PROGRAM, PROGRAM),),
        tuple(range(seeds)),
        budget,
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record_plan(folder, plan)
    return [_run(words, made[r.task.label], folder, r, answer_s) for r in plan.runs()]


def _run(words: list[str], task: Task, folder: Path, run: Run, answer_s: float) -> ProgramRun:
    place = folder / run.id
    server = TaskServer(task, place, run.budget)
    try:
        is_done = server.evaluations >= run.budget
        status = 0 if is_done else _exchanged(words, server, run.seed, answer_s)
        last = server.end("program")
    finally:
        server.close()
    best = last["best"]
    reward = None if best is None else float(best["reward"])
    return ProgramRun(run.task.label, run.seed, place, int(last["evaluations"]), reward, status)


@final
class _Lines:
    """Lines of a program, which is ended where one takes too long."""

    def __init__(
        self, program: "subprocess.Popen[bytes]", source: IO[bytes], limit_s: float
    ) -> None:
        self._program, self._source, self._limit_s = program, source, limit_s

    def readline(self, size: int, /) -> bytes:
        """Return the next line; empty after the last one."""
        timer = threading.Timer(self._limit_s, self._end)
        timer.daemon = True
        timer.start()
        try:
            return self._source.readline(size)
        finally:
            timer.cancel()

    def _end(self) -> None:
        logger.warning("The program wrote no line for %g s and was ended.", self._limit_s)
        _kill(self._program)


def _kill(program: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)


def _exchanged(words: list[str], server: TaskServer, seed: int, answer_s: float) -> int:
    """Let a program search, and return its exit status."""
    environment = {**os.environ, SEED_VARIABLE: str(seed)}
    try:
        program = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise MissingProgramError(f"Program {words[0]!r} cannot be started: {error}.") from None
    assert program.stdin is not None
    assert program.stdout is not None
    _watchdog.watch(program.pid)
    try:
        with suppress(BrokenPipeError):
            serve(server, _Lines(program, program.stdout, answer_s), program.stdin)
    finally:
        with suppress(BrokenPipeError):
            program.stdin.close()
        try:
            program.wait(END_S)
        except subprocess.TimeoutExpired:
            _kill(program)
            program.wait()
        _watchdog.forget(program.pid)
        program.stdout.close()
    return program.returncode
