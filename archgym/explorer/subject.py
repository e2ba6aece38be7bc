"""What a page is opened for: a task, a study or a sweep, by object or by folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgym.errors import InvalidArgumentError
from archgym.evaluation.simulator import Simulator
from archgym.explorer.following import Follower
from archgym.report.design_explanation import check_registered
from archgym.runtime.importing import import_library
from archgym.studies.arguments import study_task
from archgym.studies.metadata import STUDY_NAME, read_header
from archgym.studies.study import Study
from archgym.sweep.reading import PLAN_NAME
from archgym.tasks.choices import TaskChoices
from archgym.tasks.task import Task

if TYPE_CHECKING:
    from archgym.explorer.page import Explorer


def is_followed(folder: Path) -> bool:
    """Return True if a path is the folder of a study or of a sweep."""
    return (folder / STUDY_NAME).is_file() or (folder / PLAN_NAME).is_file()


def task_of_folder(folder: Path, task_id: str = "") -> Task:
    """Return the task of a study, or one of a sweep whose runs have begun.

    Args:
      folder: Folder of the study or sweep.
      task_id: Task of the sweep; empty for the one of its first run.

    Raises:
      FileFormatError: The folder is neither.
      InvalidArgumentError: No run has begun, none has the task, or it is a Python function.
    """
    follower = Follower(folder)
    follower.update()
    tasks = follower.tasks
    if not tasks:
        raise InvalidArgumentError(
            f"A sweep needs a run that has begun to be explored; {folder} has none yet. Try again "
            "when `archgym sweep run` has made one."
        )
    if task_id and task_id not in tasks:
        raise InvalidArgumentError(
            f"The task must be one of the runs in {folder}: {', '.join(tasks)}; got {task_id!r}."
        )
    home = tasks[task_id or next(iter(tasks))]
    header = read_header(home)
    check_registered(home, header.task)
    return study_task(home, header, None)


def explore(problem: str | Path | Simulator | Task | Study, **choices: Any) -> "Explorer":
    """Return the page of a task or a study, which a notebook shows as the value of a cell.

    Args:
      problem: Simulator (a name, or what `archgym.simulator` made of a function), a task, a study,
        or the folder of a study or sweep.
      **choices: What else names a task, as for `archgym.search`: workload, space, subject_to, …

    Raises:
      MissingExtraError: The extra `explore` is not installed.
      UnknownNameError: A name does not exist.

    Example:
      >>> page = explore("dram", workload="stream", requests=200)
      >>> page.session.state.task.id
      'dram[requests=200]/default/stream/balanced-v1'
      >>> page.close()
    """
    panel = import_library("panel", "explore")
    folder = None
    if isinstance(problem, Study):
        task, folder = problem.task, problem.folder
    elif isinstance(problem, Task):
        task = problem
    elif isinstance(problem, str | Path) and is_followed(Path(problem)):
        folder = Path(problem)
        task = task_of_folder(folder)
    else:
        task = Task.resolve(TaskChoices.of(simulator=problem, **choices))
    from archgym.explorer.page import Explorer

    # A notebook often has no way to the hosts that the library would load its scripts from.
    panel.extension(inline=True)
    return Explorer(task, folder)
