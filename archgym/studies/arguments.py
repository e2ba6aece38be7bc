"""Arguments of studies: checks, comparison with an existing study, and the recorded form."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archgym.agent.agent import Agent, agent_class, agent_names
from archgym.checks import check_mapping
from archgym.errors import ArchGymError, InvalidArgumentError, StudyExistsError, UnknownNameError
from archgym.evaluation.function import is_of_function
from archgym.evaluation.restriction import split_space
from archgym.evaluation.simulator import simulator_names
from archgym.files.json_types import tuples
from archgym.files.remote import command_line
from archgym.studies.metadata import STUDY_NAME, Header, read_header
from archgym.studies.prior import StoredPrior, StudySource
from archgym.studies.snapshot import StudyLog
from archgym.tasks.executor import Executor
from archgym.tasks.task import Task


def study_task(folder: Path, header: Header, given: Task | None) -> Task:
    """Return the task of a study, which `given` must equal if it is there.

    Raises:
      InvalidArgumentError: `given` is another task.
      UnknownNameError: The simulator is not registered.
    """
    if given is None:
        if is_of_function(header.task):
            raise UnknownNameError(_function_text(folder, header))
        try:
            return Task.from_json(header.task)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error} If the simulator is your own, install the package that registers it, or "
                f"continue in Python: archgym.Study.open({str(folder)!r}, task=…).run()"
            ) from None
    require_task(given)
    given = given.as_recorded(header.task)
    if given.digest != header.task["digest"]:
        raise InvalidArgumentError(
            f"`task` must be the one that {folder} records, {header.task['id']!r} with digest "
            f"{header.task['digest'][:12]}; got {given.id!r} with digest {given.digest[:12]}. "
            "Use that one, or start a new study."
        )
    return given


def _function_text(folder: Path, header: Header) -> str:
    """Return how to continue the study of a Python function."""
    name, objective = header.task["simulator"], header.task["objective"]["name"]
    held = split_space(str(header.task["space_name"]))[1]
    values = f", values={dict(held)!r}" if held else ""
    call = (
        f"archgym.Study.open({str(folder)!r}, archgym.Task.make({name}, "
        f'objective="{objective}"{values})).run(budget={2 * (header.budget or 100)})'
    )
    return (
        f"{folder} is the study of the Python function {name!r} (or of a simulator that is not "
        "installed), so it can be continued only from Python with that function. Repeat the call "
        f"that made it with a larger `budget`, or run: {call}"
    )


def study_agent(header: Header, given: type[Agent] | None) -> type[Agent] | None:
    """Return the class of a study's agent, None for a log.

    Raises:
      InvalidArgumentError: `given` is not that agent.
      UnknownNameError: The agent is not registered.
    """
    if header.agent is None:
        return None
    if given is None:
        try:
            return agent_class(header.agent)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error} If the agent is your own, pass its class as `agent`."
            ) from None
    require_agent_class(given)
    if agent_name(given) != header.agent:
        raise InvalidArgumentError(
            f"`agent` must be the study's, {header.agent!r}; got {agent_name(given)!r}."
        )
    return given


def require_task(task: Any) -> None:
    """Raise InvalidArgumentError if the argument is not a task."""
    if not isinstance(task, Task):
        raise InvalidArgumentError(
            f"`task` must be a Task; got {task!r}. Make one, such as Task.make('dram')."
        )


def require_executor(executor: Any) -> None:
    """Raise InvalidArgumentError if the argument is neither an executor nor None."""
    if not (executor is None or isinstance(executor, Executor)):
        raise InvalidArgumentError(
            f"`executor` must be an Executor; got {executor!r}. Make one, such as "
            "ThreadExecutor(workers=4)."
        )


def require_agent_class(kind: Any) -> None:
    """Raise InvalidArgumentError if the argument is not a class of agents."""
    if not (isinstance(kind, type) and issubclass(kind, Agent)):
        raise InvalidArgumentError(
            f"`agent` must be a registered name or a class below Agent; got {kind!r}. A study "
            "makes the agent itself, from its seed and hyperparameters."
        )


def new_prior(
    task: Task, kind: type[Agent] | None, studies: tuple[StudySource, ...]
) -> StoredPrior:
    """Return the records of earlier studies that a new study starts with.

    Raises:
      InvalidArgumentError: The agent does not learn from earlier studies.
    """
    if not studies:
        return StoredPrior.none(task)
    if kind is None or not kind.uses_prior:
        able = [name for name in agent_names() if agent_class(name).uses_prior]
        who = "a log" if kind is None else f"agent {agent_name(kind)!r}"
        raise InvalidArgumentError(
            f"`warm_start` needs an agent that learns from earlier studies, and {who} does not. "
            f"Use one of {', '.join(able)}, or give the best designs as `start`."
        )
    return StoredPrior.of(task, studies)


def agent_name(kind: type[Agent]) -> str:
    """Return the registered name of an agent, or the name of its class."""
    return str(getattr(kind, "name", kind.__name__))


def recorded_hyperparameters(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters as JSON gives them back, so that a resumed agent gets the same."""
    given = check_mapping("hyperparameters", hyperparameters)
    return tuples({str(name): _plain_value(name, v) for name, v in given.items()})


def _plain_value(name: str, value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"Hyperparameter `{name}` must be a finite number, a string or a list of these; "
            f"got {value!r}."
        ) from None


def existing_study_error(folder: Path, wanted: Header) -> StudyExistsError | None:
    """Return the error for a folder that holds a study; None if no study can be read there."""
    try:
        difference = read_header(folder).difference(wanted)
    except ArchGymError:
        return None
    if difference is not None:
        return other_study_error(folder, difference)
    return StudyExistsError(
        f"{folder} holds a study of this task, agent and seed. Continue it with `Study.open`, with "
        f'exists="resume"{_or_resume(folder)}'
    )


def other_study_error(folder: Path, difference: str) -> StudyExistsError:
    """Return the error for a folder that holds a study which differs from the wanted one."""
    return StudyExistsError(
        f"{folder} holds another study: {difference}. Choose another folder, or continue that "
        f"study with `Study.open`{_or_resume(folder)}"
    )


def _or_resume(folder: Path) -> str:
    """Return the end of a sentence on `Study.open`, with the command that also continues a study.

    It says instead that `Study.open` takes the task where no command can make its simulator.
    """
    if read_header(folder).task["simulator"] not in simulator_names():
        return ", which takes the task."
    return f", or with: {command_line('archgym', 'resume', folder)}"


def kept_prior(folder: Path, task: Task, sources: tuple[StudySource, ...]) -> StoredPrior | None:
    """Return the prior that the study in a folder keeps, if it is of these earlier studies.

    They may have grown or been deleted since, which does not change the study.
    """
    if not sources or not (folder / STUDY_NAME).is_file():
        return None
    header = read_header(folder)
    kept = header.warm_start or ()
    is_same = header.prior_digest is not None and header.task["digest"] == task.digest
    if not is_same or len(kept) != len(sources):
        return None
    for source, recorded in zip(sources, kept, strict=True):
        if isinstance(source, StudyLog):
            if source.header.id != recorded.study:
                return None
            continue
        place = Path(source)
        if place.resolve().name != recorded.folder:
            return None
        if (place / STUDY_NAME).is_file() and read_header(place).id != recorded.study:
            return None
    return StoredPrior.read(folder, task, kept, str(header.prior_digest))
