"""The executor that suits a number of workers, a time limit and a task."""

import logging
import pickle

from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError, error_text
from archgym.tasks.executor import Executor, SerialExecutor, ThreadExecutor
from archgym.tasks.task import Task

logger = logging.getLogger(__name__)


def executor_for(
    workers: int = 1, timeout_s: float | None = None, task: Task | None = None
) -> Executor:
    """Return a suitable executor: processes for a time limit, else threads, else neither.

    Args:
      workers: Designs that are evaluated at once, 1 or more.
      timeout_s: Wall time that one design may take [s]; its process is killed and replaced.
      task: Task to evaluate. One in plain Python gets processes; threads if it cannot be pickled.

    Raises:
      InvalidArgumentError: A time limit is set and the task cannot be pickled.
    """
    workers = check_whole("workers", workers, 1)
    is_python = task is not None and task.simulator.spec.holds_interpreter
    if timeout_s is None and not (is_python and workers > 1):
        return SerialExecutor() if workers == 1 else ThreadExecutor(workers)
    problem = _pickling_problem(task) if is_python else None
    if problem is None:
        from archgym.tasks.processes import ProcessExecutor

        return ProcessExecutor(workers, timeout_s)
    assert task is not None
    name = task.simulator.name
    if timeout_s is not None:
        raise InvalidArgumentError(
            f"A time limit needs processes, and `{name}` cannot be sent to one: {problem}. Open "
            "files, locks and connections inside the function, or leave the limit out."
        )
    logger.warning(
        "`%s` runs in threads, one at a time in Python code, since it cannot be sent to other "
        "processes: %s",
        name,
        problem,
    )
    return ThreadExecutor(workers)


def _pickling_problem(task: Task | None) -> str | None:
    """Return why a task cannot be sent to another process, or None."""
    try:
        pickle.dumps(task)
    # What an object raises when it is pickled is its author's.
    except Exception as error:
        return f"{type(error).__name__}: {error_text(error)}"
    return None
