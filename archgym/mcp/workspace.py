"""Working folder of a server: its studies, its files, and the budget they share."""

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, final

import msgspec

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    InvalidDesignError,
    StorageError,
)
from archgym.errors import unknown_name as unknown
from archgym.evaluation.simulator import Workload, simulator_class
from archgym.files.storage import make_folder
from archgym.rules.log import HEADER_NAME, RuleLog, read_rule_header
from archgym.runtime.plugins import registered
from archgym.spaces.design import Design
from archgym.spaces.space import DesignSpace
from archgym.studies.metadata import STUDY_NAME, Header, read_header
from archgym.studies.snapshot import StudyLog, read_study
from archgym.studies.study import Study
from archgym.tasks.choices import TaskChoices
from archgym.tasks.task import Task

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
StudyName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=64, description="Name of a study in the working folder."),
]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of all inputs; unknown members are refused."""


class TaskInput(Input, frozen=True, kw_only=True):
    """Choices that name a task; omitted ones are the simulator's defaults."""

    simulator: Annotated[
        Text | None,
        msgspec.Meta(description="Simulator, or a complete task id (see list_simulators)."),
    ] = None
    space: Annotated[Text | None, msgspec.Meta(description="Name of a space.")] = None
    workload: Annotated[
        Text | dict[str, float] | None,
        msgspec.Meta(description="Name or file of a workload, or several with weights."),
    ] = None
    objective: Annotated[Text | None, msgspec.Meta(description="Name of an objective.")] = None
    minimise: Annotated[
        list[Text] | None, msgspec.Meta(description="Metrics to minimise, not with objective.")
    ] = None
    maximise: Annotated[
        list[Text] | None, msgspec.Meta(description="Metrics to maximise, not with objective.")
    ] = None
    subject_to: Annotated[
        list[Text] | None,
        msgspec.Meta(description='Hard limits on metrics, such as "area_mm2 <= 5".'),
    ] = None
    fidelity: Annotated[Text | None, msgspec.Meta(description="Name of a fidelity.")] = None
    stand_in: Annotated[
        Text | None,
        msgspec.Meta(description="Table or proxy file to use instead of the simulator."),
    ] = None
    options: Annotated[
        dict[str, str], msgspec.Meta(description="Further options, such as the device.")
    ] = msgspec.field(default_factory=dict)
    fixed: Annotated[
        dict[str, Any], msgspec.Meta(description="Values at which parameters are held, by name.")
    ] = msgspec.field(default_factory=dict)
    values: Annotated[
        dict[str, Any],
        msgspec.Meta(description='Values that parameters may have: lists, or texts like "1..8".'),
    ] = msgspec.field(default_factory=dict)

    def choices(self) -> TaskChoices:
        """Return the choices of the task."""
        given = {name: getattr(self, name) for name in TaskInput.__struct_fields__}
        return TaskChoices(**given | {n: given[n] or None for n in ("minimise", "maximise")})


def read_design(space: DesignSpace, values: Mapping[str, Any], position: int) -> Design:
    """Return a design from JSON; parameters that are missing take their default values.

    Args:
      space: Space of the design.
      values: Values by parameter.
      position: Position in the call, for errors.

    Raises:
      InvalidDesignError: A name or value is not in the space.
    """
    try:
        return space.filled(values)
    except (InvalidDesignError, LookupError, TypeError) as error:
        raise InvalidDesignError(f"designs[{position}]: {error}") from None


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# chosen: names longer than this, or with spaces and other characters, could carry instructions to a
# model.
_LABEL = re.compile(r"[A-Za-z0-9._+@%=,()/-]{1,100}")
# chosen: a study holds its journal in memory; the least recently used one is closed beyond this.
_MAX_OPEN = 16
# chosen: longer than the id of any task that ships.
_MAX_SHOWN = 300
# chosen: each holds a process of 200 MB.
_MAX_OPEN_RULES = 2
# Characters of a recorded name that could not be those of a task's id.
_FOREIGN = re.compile(r"[^A-Za-z0-9._+@%=,;|()/\[\]{}<>:*-]+")
# Characters that join several paths, or a name and a path, in one option.
_JOINTS = re.compile(r"([,;:=*+])")


def require_label(workload: Workload) -> None:
    """Refuse a workload whose name could carry instructions to a model.

    Raises:
      InvalidArgumentError: The name is long, or has spaces or other characters.
    """
    if not _LABEL.fullmatch(workload.name):
        raise InvalidArgumentError(
            "The name of a workload must have 1 to 100 letters, digits and plain marks; "
            f"got {workload.name[:40]!r}. Rename the file or its content."
        )


def plain_name(text: str) -> str:
    """Return a name that a file records, without what could carry instructions to a model."""
    name = _FOREIGN.sub("_", text)
    return name if len(name) <= _MAX_SHOWN else name[:_MAX_SHOWN] + "..."


@final
class Workspace:
    """Folder that a server reads and writes, and nothing outside it.

    Every study is a folder directly in it. Names of files are relative to it; links that lead out
    of it are refused.

    Args:
      root: The folder; made if absent.
      budget: Largest sum of the budgets of all its studies; None for no limit.
      allow_external: True to allow simulators that run other programs.
    """

    def __init__(
        self, root: str | Path, *, budget: int | None = None, allow_external: bool = False
    ) -> None:
        """Check the folder."""
        if budget is not None and (isinstance(budget, bool) or budget < 1):
            raise InvalidArgumentError(f"`budget` must be at least 1; got {budget!r}.")
        self.root = make_folder(root).resolve()
        self.budget = budget
        self.allow_external = allow_external
        self._lock = threading.RLock()
        self._open: dict[str, Study] = {}
        self._rules: dict[str, RuleLog] = {}

    # ---- names and files

    def path(self, text: str) -> Path:
        """Return the path of a file or folder within the working folder.

        Raises:
          InvalidArgumentError: The path leads out of the folder, also through a link.
        """
        if not text or "\0" in text or len(text) > 1000:
            raise InvalidArgumentError(
                f"A path must be relative to the working folder; got {text[:80]!r}."
            )
        try:
            path = (self.root / text).resolve()
        except (OSError, RuntimeError):
            raise InvalidArgumentError(f"{text!r} is not a path.") from None
        if path != self.root and self.root not in path.parents:
            raise InvalidArgumentError(
                f"A path must lie within the working folder; {text!r} leads out of it. "
                "Copy the file into the folder."
            )
        if os.path.lexists(path) and path != self.root:
            self._require_plain(path)
        return path

    def _require_plain(self, path: Path) -> None:
        name = str(path.relative_to(self.root))
        if not _LABEL.fullmatch(name):
            raise InvalidArgumentError(
                "The name of a file must have 1 to 100 letters, digits and plain marks, without "
                f"spaces; got {name[:40]!r}. Rename the file."
            )

    def folder(self, name: str) -> Path:
        """Return the path of the folder that a study of this name has; it may not exist yet.

        Raises:
          InvalidArgumentError: The name has other characters, or the folder is a link.
        """
        if not _NAME.fullmatch(name):
            raise InvalidArgumentError(
                "The name of a study must have 1 to 64 letters, digits, dots, dashes and "
                f"underscores, and begin with a letter or digit; got {name[:80]!r}."
            )
        folder = self.root / name
        if folder.is_symlink():
            raise InvalidArgumentError(f"{name!r} is a link; a study must be a folder.")
        return folder

    def names(self) -> list[str]:
        """Return the names of all studies, sorted."""
        return sorted(name for name, _ in self._headers())

    def _headers(self) -> Iterator[tuple[str, Header]]:
        for folder in sorted(self.root.iterdir()):
            is_folder = _NAME.fullmatch(folder.name) and not folder.is_symlink()
            if is_folder and (folder / STUDY_NAME).is_file():
                yield folder.name, read_header(folder)

    # ---- tasks

    def choices(self, choices: TaskChoices) -> TaskChoices:
        """Return the choices of a task whose files lie within the working folder.

        Raises:
          InvalidArgumentError: A file lies elsewhere, or the simulator runs other programs.
          UnknownNameError: The simulator does not exist.
        """
        choices = choices.expanded()
        kind = simulator_class(str(choices.simulator)) if choices.simulator else None
        if kind is not None and not self.allow_external:
            from archgym.evaluation.external import ExternalSimulator

            if issubclass(kind, ExternalSimulator):
                raise InvalidArgumentError(
                    f"Simulator {kind.spec.name!r} runs other programs; this server does not. "
                    "Start it with --allow-external."
                )
        workload = choices.workload
        if isinstance(workload, str | Path):
            self._placed(str(workload))
        else:
            for each in workload or ():
                self._placed(str(each))
        stand_in = choices.stand_in
        return replace(
            choices,
            folder=self.root,
            options={name: self._placed(str(text)) for name, text in choices.options.items()},
            stand_in=None if stand_in is None else self.path(str(stand_in)),
        )

    def _placed(self, text: str) -> str:
        """Return a text whose names of files are those that this process opens.

        A simulator opens the file of an option relative to the process's folder, which is the
        working folder in a server only.

        Raises:
          InvalidArgumentError: A part of the text names a file elsewhere.
        """
        whole = self._placed_part(text)
        if whole != text or os.path.lexists(self.path(text)):
            return whole
        return "".join(self._placed_part(part) for part in _JOINTS.split(text))

    def _placed_part(self, text: str) -> str:
        name = text.strip()
        if not name:
            return text
        inside = self.path(name)
        if os.path.lexists(inside):
            is_same = Path(name).resolve() == inside or not inside.is_file()
            return text if is_same else str(inside)
        if os.path.lexists(name):
            raise InvalidArgumentError(
                f"A file must lie within the working folder; {name!r} does not. Copy it there."
            )
        return text

    def task(self, choices: TaskChoices) -> Task:
        """Return a task whose files lie within the working folder.

        Raises:
          ArchGymError: A choice is not allowed or does not exist.
        """
        if choices.stand_in is None and choices.simulator is None:
            raise unknown("simulator", "", registered("archgym.simulators"))
        task = Task.resolve(self.choices(choices))
        for weighted in task.workloads:
            require_label(weighted.workload)
        return task

    def _require_recorded_inside(self, recipe: Mapping[str, Any]) -> None:
        """Refuse a `study.json` whose task refers to files elsewhere."""
        try:
            shipped = [str(w["source"]) for w in recipe["workloads"]]
            options = {str(name): str(value) for name, value in recipe["options"].items()}
            if "stand_in" in recipe:
                shipped.append(str(recipe["stand_in"]["path"]))
            name = str(recipe["simulator"])
        except (KeyError, TypeError, AttributeError):
            raise InvalidArgumentError("The study's task is not one that ArchGym wrote.") from None
        placed = self.choices(TaskChoices(simulator=name, workload=shipped, options=options))
        if placed.options != options:
            raise InvalidArgumentError(
                f"The study names files relative to {self.root}. Start the process in that folder."
            )

    # ---- studies

    def create(self, name: str, task: Task, budget: int) -> Study:
        """Return a new study, open, without an agent.

        Args:
          name: Its name.
          task: Result of `task`, or a task without files.
          budget: Evaluations at most.

        Raises:
          InvalidArgumentError: The folder is in use, or the budget exceeds what is left.
        """
        with self._lock:
            folder = self._new_folder(name, budget)
            study = Study.create(folder, task, None, budget=budget)
            self._keep(name, study)
            return study

    def _new_folder(self, name: str, budget: int) -> Path:
        """Return the folder of a new study, after a check of its name and budget."""
        folder = self.folder(name)
        if (folder / STUDY_NAME).is_file() or (folder / HEADER_NAME).is_file():
            raise InvalidArgumentError(
                f"Study {name!r} exists. Choose another name, or evaluate in it."
            )
        if self.budget is not None:
            left = self.budget - self._granted()
            if budget > left:
                raise InvalidArgumentError(
                    f"`budget` must be at most {left}, which is left of the server's "
                    f"{self.budget} evaluations; got {budget}."
                )
        return folder

    # ---- studies of rules

    def create_rules(
        self,
        name: str,
        domain: str,
        traces: Sequence[str],
        options: Mapping[str, str],
        budget: int,
    ) -> RuleLog:
        """Return a new study of rules, open.

        Raises:
          InvalidArgumentError: The folder is in use, the budget exceeds what is left, or a trace
            or an option names a file elsewhere.
          ArchGymError: The domain, a trace or an option does not exist.
        """
        with self._lock:
            folder = self._new_folder(name, budget)
            for text in (*traces, *options.values()):
                self._placed(text)
            log = RuleLog.create(
                folder, domain, traces, budget=budget, options=options, root=self.root
            )
            self._keep_rules(name, log)
            return log

    def rules(self, name: str) -> RuleLog:
        """Return a study of rules, open for evaluations.

        Raises:
          UnknownNameError: No such study has this name.
          StudyLockedError: Another process writes it.
        """
        with self._lock:
            folder = self.folder(name)
            if name in self._rules:
                self._rules[name] = self._rules.pop(name)
                return self._rules[name]
            if not (folder / HEADER_NAME).is_file():
                raise unknown("study of rules", name, self.rule_names())
            header = read_rule_header(folder)
            if not all(map(_LABEL.fullmatch, header.traces)):
                raise InvalidArgumentError(
                    f"The traces of {name!r} must have names of letters, digits and plain marks. "
                    "Create another study."
                )
            for text in (*header.traces, *header.options.values()):
                self._placed(text)
            log = RuleLog.open(folder, self.root)
            self._keep_rules(name, log)
            return log

    def rule_names(self) -> list[str]:
        """Return the names of all studies of rules, sorted."""
        return sorted(
            folder.name
            for folder in self.root.iterdir()
            if _NAME.fullmatch(folder.name)
            and not folder.is_symlink()
            and (folder / HEADER_NAME).is_file()
        )

    def _keep_rules(self, name: str, log: RuleLog) -> None:
        while len(self._rules) >= _MAX_OPEN_RULES:
            self._rules.pop(next(iter(self._rules))).close()
        self._rules[name] = log

    # ---- budget and open studies

    def _granted(self) -> int:
        """Return evaluations that the studies in the folder may make, or made without a budget."""
        granted = sum(
            header.budget if header.budget is not None else read_study(self.root / name).evaluations
            for name, header in self._headers()
        )
        of_rules = (read_rule_header(self.root / name) for name in self.rule_names())
        return granted + sum(header.budget for header in of_rules)

    def study(self, name: str) -> Study:
        """Return a study, open for evaluations.

        Raises:
          UnknownNameError: No study has this name.
          InvalidArgumentError: It has no budget, or an agent that asks.
          StudyLockedError: Another process writes it.
        """
        with self._lock:
            folder = self.folder(name)
            if name in self._open:
                self._open[name] = self._open.pop(name)
                return self._open[name]
            header = self.header(name)
            if header.kind != "log" or header.budget is None:
                raise InvalidArgumentError(
                    f"Study {name!r} was not created by a server: it has "
                    f"{'no budget' if header.kind == 'log' else 'an agent'}. Read it with `best`, "
                    "or create another one."
                )
            self._require_recorded_inside(header.task)
            study = Study.open(folder)
            self._keep(name, study)
            return study

    def _keep(self, name: str, study: Study) -> None:
        while len(self._open) >= _MAX_OPEN:
            self._open.pop(next(iter(self._open))).close()
        self._open[name] = study

    def header(self, name: str) -> Header:
        """Return the header of a study.

        Raises:
          UnknownNameError: No study has this name.
        """
        folder = self.folder(name)
        if not (folder / STUDY_NAME).is_file():
            raise unknown("study", name, self.names())
        return read_header(folder)

    def log(self, name: str) -> StudyLog:
        """Return a study as its readers see it now.

        Raises:
          UnknownNameError: No study has this name.
        """
        with self._lock:
            self.header(name)
            if name in self._open:
                return self._open[name].read()
            return read_study(self.folder(name))

    def output(self, text: str) -> Path:
        """Return the path of a new file in the working folder, not within a study.

        Raises:
          InvalidArgumentError: The path leads out of the folder or into a study, or exists.
        """
        path = self.path(text)
        self._require_plain(path)
        if any(
            (parent / name).exists()
            for parent in path.parents
            if parent != self.root
            for name in (STUDY_NAME, HEADER_NAME)
        ):
            raise InvalidArgumentError(f"{text!r} lies in a study's folder. Choose another file.")
        if path.exists():
            raise InvalidArgumentError(f"{text!r} exists. Choose another file.")
        if not path.parent.is_dir():
            raise StorageError(f"{text!r} lies in a folder that does not exist.")
        return path

    def close(self) -> None:
        """Close all studies."""
        with self._lock:
            studies: list[Study | RuleLog] = [*self._open.values(), *self._rules.values()]
            self._open, self._rules = {}, {}
            problem: ArchGymError | None = None
            for study in studies:
                try:
                    study.close()
                except ArchGymError as error:
                    problem = error
            if problem is not None:
                raise problem
