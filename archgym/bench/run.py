"""Runs of agents on suites, as sweeps, and of programs in any language, one for each seed."""

import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, final

from archgym.bench.serving import TaskServer, serve
from archgym.bench.suite import BenchTask, bench_task
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, MissingProgramError
from archgym.files.lease import Lease
from archgym.files.storage import make_folder
from archgym.runtime.watchdog import Watchdog
from archgym.sweep.driver import SweepOutcome, SweepState, run_sweep
from archgym.sweep.plan import PROGRAM, AgentPlan, Run, SweepPlan
from archgym.sweep.reading import record_plan
from archgym.tasks.task import Task

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
watchdog = Watchdog()
"""Watchdog of programs, so that none outlives this process, however it ends."""


def bench_plan(
    agents: Sequence[str],
    tasks: Sequence[BenchTask],
    seeds: int = 5,
    budget: int = 100,
    programs: Sequence[str] = (),
) -> SweepPlan:
    """Return the sweep that runs agents with their defaults, and programs, on tasks.

    Tasks that are not judged at as many evaluations are left out, since they are costly.

    Args:
      agents: Registered names.
      tasks: Tasks of the benchmark.
      seeds: Number of seeds, from 0.
      budget: Evaluations of each study.
      programs: Labels of programs, "program" or beginning with "program-"; see `run_programs`.

    Raises:
      InvalidArgumentError: An argument does not fit, or no task is left.
      UnknownNameError: An agent does not exist.
    """
    from archgym.agent.agent import agent_class

    check_whole("seeds", seeds, 1, _MAX_SEEDS)
    check_whole("budget", budget, 1, _MAX_BUDGET)
    names = [*agents, *programs]
    if not names:
        raise InvalidArgumentError("A benchmark must have an agent; got none.")
    if len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"Each agent must come once; got {', '.join(names)}. Programs need names: NAME=COMMAND."
        )
    for name in agents:
        agent_class(name)
    return SweepPlan(
        tuple(task.plan for task in _judged(tasks, budget)),
        (
            *(AgentPlan(name, name) for name in agents),
            *(AgentPlan(label, PROGRAM) for label in programs),
        ),
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
    """Run the unfinished runs of a plan's agents in a folder; see `archgym.sweep.run_sweep`."""
    only = [agent.label for agent in plan.agents if agent.agent != PROGRAM]
    return run_sweep(plan, folder, workers=workers, only=only, progress=progress)


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

    program: str
    """Label of the program."""
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
    """Run one program on tasks; see `bench_plan` and `run_programs`."""
    plan = bench_plan([], tasks, seeds, budget, [PROGRAM])
    return run_programs({PROGRAM: command}, plan, folder, answer_s)


def run_programs(
    commands: Mapping[str, str], plan: SweepPlan, folder: str | Path, answer_s: float = ANSWER_S
) -> list[ProgramRun]:
    """Run the programs of a plan, over lines of JSON on their standard input and output.

    Each run is a study next to those of agents. One that has used its budget is not repeated; one
    whose program ended early is continued by the next call.

    Args:
      commands: Programs with their arguments by label; no shell takes part. The seed is in the
        environment variable `ARCHGYM_SEED`.
      plan: Plan of the runs, from `bench_plan`.
      folder: Folder for the studies.
      answer_s: Time for each line, after which the program is ended [s].

    Raises:
      InvalidArgumentError: An argument does not fit.
      MissingProgramError: A program cannot be started.
      StorageError: A study cannot be written.
    """
    words = {label: shlex.split(command) for label, command in commands.items()}
    if not all(words.values()):
        raise InvalidArgumentError("`command` must name a program; got nothing.")
    made = {task.label: bench_task(task.label).plan.make() for task in plan.tasks}
    decided = tuple(bench_task(n).plan.decided(task) for n, task in made.items())
    plan = replace(plan, tasks=decided)
    folder = make_folder(Path(folder))
    lease = Lease(folder)
    try:
        record_plan(folder, plan)
        runs = plan.runs(list(words))
        return [_run(words[r.label], made[r.task.label], folder, r, answer_s) for r in runs]
    finally:
        lease.release()


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
    evaluations = int(last["evaluations"])
    return ProgramRun(run.label, run.task.label, run.seed, place, evaluations, reward, status)


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
        kill_session(self._program)


def kill_session(program: "subprocess.Popen[bytes]") -> None:
    """Kill a program that leads a session, and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)


def _exchanged(words: list[str], server: TaskServer, seed: int, answer_s: float) -> int:
    """Let a program search, and return its exit status."""
    environment = {**os.environ, SEED_VARIABLE: str(seed)}
    watchdog.ready()
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
    watchdog.watch(program.pid)
    try:
        with suppress(BrokenPipeError):
            serve(server, _Lines(program, program.stdout, answer_s), program.stdin)
    finally:
        with suppress(BrokenPipeError):
            program.stdin.close()
        try:
            program.wait(END_S)
        except subprocess.TimeoutExpired:
            kill_session(program)
            program.wait()
        watchdog.forget(program.pid)
        program.stdout.close()
    return program.returncode
