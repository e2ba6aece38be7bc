"""Verification of a benchmark's folder against frozen tasks: journals, budgets and claims."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, final

import msgspec
import numpy as np

from archgym.agent.agent import agent_class
from archgym.bench.serving import design_values
from archgym.bench.suite import BenchTask, bench_task, bench_tasks
from archgym.errors import ArchGymError, InvalidArgumentError, StorageError, UnknownNameError
from archgym.files.remote import local_copy
from archgym.files.storage import open_member, storage_errors
from archgym.spaces.space import DesignSpace
from archgym.studies.metadata import JOURNAL_NAME, STUDY_NAME
from archgym.studies.snapshot import StudyLog, read_study, verify_study
from archgym.sweep.plan import PROGRAM, Run, SweepPlan
from archgym.sweep.reading import PLAN_NAME, read_recorded_plan
from archgym.sweep.study_run import require_same_study
from archgym.tasks.executor import evaluate_isolated
from archgym.tasks.task import Task

RELEASE: Final = "archbench-2026.2"
"""Latest release: digests of tasks that results can be compared over.

`python experiments/bench_release.py` freezes the tasks as they are. A release is never changed
afterwards: a task that turns out wrong gets an erratum, and leaves the rankings. The next release
has another year or number, its own file, and every task whose simulator has a new version.
"""


@final
@dataclass(frozen=True)
class FrozenTask:
    """A task as it was when the release was made."""

    digest: str
    """Digest of the task: simulator and version, space, workloads, objective and limits."""
    simulator: str
    version: int
    split: str
    budgets: tuple[int, ...]
    best_known: float | None
    hardness: float | None
    """Mean evaluations of random search to within 1 % of the best known."""


@final
@dataclass(frozen=True)
class Erratum:
    """A task of a release that must not be compared over, or only with care."""

    task: str
    date: str
    text: str


@final
@dataclass(frozen=True)
class Release:
    """A frozen suite."""

    name: str
    tasks: Mapping[str, FrozenTask]
    errata: tuple[Erratum, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of names and digests of all tasks, to cite."""
        pairs = sorted((name, task.digest) for name, task in self.tasks.items())
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()

    def problem(self, label: str, digest: str) -> str | None:
        """Return why a task is not the release's, or None.

        Args:
          label: Name of the task.
          digest: Its digest.
        """
        if label not in self.tasks:
            return f"the task is not of {self.name}."
        if self.tasks[label].digest != digest:
            return (
                f"the task is not that of {self.name}, whose simulator has version "
                f"{self.tasks[label].version}. Use the version of ArchGym that the release names."
            )
        faults = [erratum.text for erratum in self.errata if erratum.task == label]
        return f"the task is withdrawn from {self.name}: {faults[0]}" if faults else None


@cache
def read_release(name: str = RELEASE) -> Release:
    """Return a frozen release.

    Args:
      name: Name of a release, of which there is one so far.
    """
    path = files("archgym.bench") / "data" / f"{name}.json"
    data = json.loads(path.read_text("utf-8"))
    tasks = {
        label: FrozenTask(**{**task, "budgets": tuple(task["budgets"])})
        for label, task in data["tasks"].items()
    }
    return Release(data["release"], tasks, tuple(Erratum(**each) for each in data["errata"]))


CLAIMS_NAME = "claims.jsonl"
"""File of claims, one JSON object a line: task, design, reward."""
_FILES: Final = (CLAIMS_NAME, JOURNAL_NAME, PLAN_NAME, STUDY_NAME)
# chosen: more than any suite has tasks times agents times seeds.
_MAX_CLAIMS = 100_000
# chosen: a claim of a thousand parameters takes a tenth.
_MAX_LINE = 2**20

Kind = Literal[
    "plan", "missing", "study", "damage", "budget", "repeat", "numbers", "order", "claim"
]


@final
@dataclass(frozen=True)
class Refusal:
    """One reason to refuse a submission."""

    kind: Kind
    place: str
    """Run, task, or file with its line."""
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.problem.split())}"


@final
@dataclass(frozen=True)
class Verification:
    """Result of a verification."""

    runs: int
    evaluations: int
    """Evaluations that were done again."""
    claims: int
    programs: int
    """Runs of programs, which cannot be asked for their designs again."""
    refusals: tuple[Refusal, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as data."""
        refusals = [vars(refusal) for refusal in self.refusals]
        return {"release": RELEASE, **vars(self), "refusals": refusals}


class _Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claimed result."""

    task: str
    design: dict[str, Any]
    reward: float


def verify_bench(folder: str | Path, *, replay: bool = False) -> Verification:
    """Return what is wrong in a benchmark's folder, or in the study of one task.

    Every recorded evaluation is simulated again and must be equal to the last bit. Tasks must be
    those of the frozen release, and not withdrawn from it. Runs must be complete, within their
    budget, and charge no design twice.

    Args:
      folder: Folder or URL of `run_bench`, or of one study, such as `serve` writes.
      replay: True to search again with each agent and compare the order of its designs.

    Raises:
      FileFormatError: The folder is neither.
      StorageError: It cannot be read.
    """
    folder = local_copy(folder)
    checker = _Checker(replay)
    checker.files_of(folder)
    if (folder / STUDY_NAME).is_file() and not (folder / PLAN_NAME).is_file():
        checker.lone_study(folder)
    else:
        checker.sweep(folder, read_recorded_plan(folder))
    if os.path.lexists(folder / CLAIMS_NAME):
        checker.claims_of(folder / CLAIMS_NAME)
    counts = checker.runs, checker.evaluations, checker.claims, checker.programs
    return Verification(*counts, tuple(checker.refusals))


@final
class _Checker:
    """Refusals of one folder."""

    def __init__(self, replay: bool) -> None:
        self.runs = self.evaluations = self.claims = self.programs = 0
        self.refusals: list[Refusal] = []
        self._replay = replay
        self._tasks: dict[str, Task] = {}

    def refuse(self, kind: Kind, place: str, problem: str) -> None:
        """Record a refusal."""
        self.refusals.append(Refusal(kind, place, problem))

    def task(self, bench: BenchTask) -> Task:
        """Return the benchmark's own task, made once."""
        if bench.label not in self._tasks:
            self._tasks[bench.label] = bench.plan.make()
        return self._tasks[bench.label]

    # ---- folders

    def files_of(self, folder: Path) -> None:
        """Refuse what is neither a file nor a folder, and folders with the name of a file."""
        for top, folders, names in os.walk(folder):
            for name in (*folders, *names):
                path = Path(top) / name
                is_folder = path.is_dir() and name not in _FILES
                if not (is_folder or path.is_file() or path.is_symlink()):
                    self.refuse("damage", str(path.relative_to(folder)), "it must be a plain file.")

    def sweep(self, folder: Path, plan: SweepPlan) -> None:
        """Check a plan and all its runs."""
        if plan.seeds != tuple(range(len(plan.seeds))):
            self.refuse("plan", PLAN_NAME, f"seeds must count from 0; got {list(plan.seeds)}.")
        for name in ("max_asks", "patience"):
            if getattr(plan, name) is not None:
                self.refuse("plan", PLAN_NAME, f"a plan of the benchmark must have no `{name}`.")
        for agent in plan.agents:
            # Reports name agents by their labels.
            if agent.label != agent.agent and not agent.label.startswith(f"{agent.agent}-"):
                problem = f"the label must be {agent.agent!r}, or begin with it and a dash."
                self.refuse("plan", agent.label, problem)
        good = {}
        for each in plan.tasks:
            task = self._suite_task(each.label, each.digest)
            if task is not None:
                good[each.label] = task
                own = bench_task(each.label).plan.decided(task)
                differing = _differing(each.to_json(), own.to_json())
                if differing is not None:
                    problem = f"its `{differing}` must be that of the benchmark's task."
                    self.refuse("plan", each.label, problem)
        for run in plan.runs():
            if run.task.label in good:
                self._run(folder, run, good[run.task.label])

    def lone_study(self, folder: Path) -> None:
        """Check one study, whose task is found by its id and digest."""
        log = self._read(folder, folder.name)
        if log is None:
            return
        header = log.header
        for bench in bench_tasks():
            if bench.plan.simulator == header.task.get("simulator"):
                task = self.task(bench)
                if task.digest == header.task.get("digest"):
                    self._require_release(bench.label, task.digest, folder.name)
                    break
        else:
            self.refuse("plan", folder.name, f"task {log.task_id!r} is not of the benchmark.")
            return
        if header.budget is None:
            self.refuse("budget", folder.name, "the study must have a budget.")
        # A program that was served has no seed of ours.
        if header.seed:
            self.refuse("plan", folder.name, f"the seed of one run must be 0; got {header.seed}.")
        if header.start is not None or header.prior_digest is not None:
            self.refuse("plan", folder.name, "the study must have no start designs and no prior.")
        self._study(log, task, header.budget, folder.name)
        self._require_finished(log, folder.name)

    def _suite_task(self, label: str, digest: str) -> Task | None:
        try:
            task = self.task(bench_task(label))
        except UnknownNameError as error:
            self.refuse("plan", label, str(error))
            return None
        if task.digest == digest:
            self._require_release(label, digest, label)
            return task
        self.refuse("plan", label, "the task must be the benchmark's; its digest differs.")
        return None

    def _require_release(self, label: str, digest: str, place: str) -> None:
        """Refuse a task that is not one of the frozen release."""
        problem = read_release().problem(label, digest)
        if problem is not None:
            self.refuse("plan", place, problem)

    # ---- studies

    def _run(self, folder: Path, run: Run, task: Task) -> None:
        place = folder / run.id
        if not (place / STUDY_NAME).is_file():
            self.refuse("missing", run.id, "the run is missing.")
            return
        try:
            require_same_study(run, place)
        except ArchGymError as error:
            self.refuse("study", run.id, str(error))
            return
        log = self._read(place, run.id)
        kind = "log" if run.agent == PROGRAM else "search"
        if log is not None and log.header.kind != kind:
            self.refuse("study", run.id, f"a run must be a {kind}; it is a {log.header.kind}.")
        elif log is not None:
            self._study(log, task, run.budget, run.id)
            self._require_finished(log, run.id)

    def _require_finished(self, log: StudyLog, place: str) -> None:
        if log.status != "finished":
            self.refuse("missing", place, f"the run must be finished; it is {log.status}.")
        elif not log.evaluations:
            self.refuse("missing", place, "the run must have evaluations; it has none.")

    def _read(self, folder: Path, place: str) -> StudyLog | None:
        try:
            return read_study(folder)
        except StorageError:
            raise
        except ArchGymError as error:
            self.refuse("damage", place, str(error))
            return None

    def _study(self, log: StudyLog, task: Task, budget: int | None, place: str) -> None:
        self.runs += 1
        changed = _differing(log.header.task, task.to_json())
        if changed is not None:
            self.refuse("study", place, f"its `{changed}` must be that of the benchmark's task.")
            return
        damage = log.damage_report()
        if damage is not None:
            self.refuse("damage", place, damage)
        if log.header.kind == "merged":
            self.refuse("study", place, "the study must not be merged from others.")
        if budget is not None and log.evaluations > budget:
            extra = log.evaluations - budget
            self.refuse("budget", place, f"{extra} evaluations lie beyond the budget of {budget}.")
        limit = log.header.ask_limit
        if limit is not None and log.asks > limit:
            extra = log.asks - limit
            self.refuse("budget", place, f"{extra} asks lie beyond the limit of {limit}.")
        for problem in _repeats(log, task.space):
            self.refuse("repeat", place, problem)
        try:
            differing = verify_study(log, task)
        except InvalidArgumentError as error:
            self.refuse("study", place, str(error))
            return
        self.evaluations += log.evaluations
        if differing:
            n, first = len(differing), differing[0]
            problem = f"{n} evaluations differ from the simulator; the first is {first}."
            self.refuse("numbers", place, problem)
        elif log.header.kind == "log":
            self.programs += 1
        elif self._replay:
            self._replayed(log, task, place)

    def _replayed(self, log: StudyLog, task: Task, place: str) -> None:
        """Search again, whatever the study says of itself; name what cannot be."""
        agent = log.header.agent
        if log.header.kind != "search" or agent is None:
            self.refuse(
                "order", place, "its designs were asked for elsewhere, and cannot be asked again."
            )
            return
        try:
            is_replayable = agent_class(agent).replayable
        except ArchGymError as error:
            self.refuse("order", place, str(error))
            return
        if is_replayable:
            self._search_again(log, task, place)
        else:
            self.refuse("order", place, f"agent {agent!r} cannot be replayed bit for bit.")

    def _search_again(self, log: StudyLog, task: Task, place: str) -> None:
        from archgym.studies.study import Study

        header = log.header
        # One ask more than there are shows that the agent would have asked again; with a forged
        # budget it might never end.
        most = len(log.records.indices) + 1
        max_asks = most if header.max_asks is None else min(most, header.max_asks)
        try:
            with TemporaryDirectory() as folder:
                again = Study.create(
                    Path(folder) / "study",
                    task,
                    header.agent,
                    seed=header.seed or 0,
                    budget=header.budget,
                    max_asks=max_asks,
                    hyperparameters=dict(header.hyperparameters),
                    patience=header.patience,
                ).run()
        except StorageError:
            raise
        except ArchGymError as error:
            self.refuse("order", place, f"the search cannot be repeated: {error}")
            return
        mine, theirs = again.log.records.indices, log.records.indices
        n = min(len(mine), len(theirs))
        differs = (mine[:n] != theirs[:n]).any(axis=1)
        if differs.any() or len(mine) != len(theirs):
            first = int(np.argmax(differs)) if differs.any() else n
            self.refuse("order", place, f"the agent asks for another design at record {first}.")

    # ---- claims

    def claims_of(self, path: Path) -> None:
        """Check each claimed design by simulation."""
        for number, line in _lines(path):
            place = f"{path.name}, line {number}"
            if number > _MAX_CLAIMS or len(line) >= _MAX_LINE:
                limits = f"{_MAX_CLAIMS:,} lines, each below {_MAX_LINE:,} bytes"
                self.refuse("claim", place, f"a file of claims must have at most {limits}.")
                return
            try:
                claim = msgspec.convert(json.loads(line, object_pairs_hook=_once), type=_Claim)
                task = self.task(bench_task(claim.task))
                indices = task.space.indices_of(design_values(claim.design))
            except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
                self.refuse("claim", place, f"a claim must be JSON: {error}.")
                continue
            except (msgspec.MsgspecError, ArchGymError, ValueError) as error:
                self.refuse("claim", place, str(error) or "the line is not a claim.")
                continue
            self.claims += 1
            found = evaluate_isolated(task, indices[None, :])
            if (found.reason != 0).any():
                self.refuse("claim", place, "the design cannot be built.")
            elif (reward := float(found.reward[0])) != claim.reward:
                problem = f"the design has reward {reward!r}; claimed {claim.reward!r}."
                self.refuse("claim", place, problem)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object, each of which comes once."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidArgumentError("each name must come once in a claim.")
    return members


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with storage_errors(path, "read"), open_member(path) as handle:
        for number in range(1, _MAX_CLAIMS + 2):
            line = handle.readline(_MAX_LINE)
            if not line:
                return
            if line.strip() or number > _MAX_CLAIMS:
                yield number, line


def _differing(recorded: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Return a member of a recorded task that is not the task's, whatever its digest says."""
    for name in sorted({*recorded, *own}):
        texts = [json.dumps(data.get(name), sort_keys=True) for data in (recorded, own)]
        if texts[0] != texts[1]:
            return name
    return None


def _repeats(log: StudyLog, space: DesignSpace) -> Iterator[str]:
    """Yield what is wrong with repeats: charged twice, or free although new."""
    records = log.records
    canonical = space.canonical(records.indices)
    charged = np.flatnonzero(log.is_evaluation)
    first: dict[bytes, int] = {}
    seen: dict[int, bytes] = {}
    twice = []
    for row in range(len(records.seq)):
        key = canonical[row].tobytes()
        seen[int(records.seq[row])] = key
        if int(records.same[row]) < 0:
            if key in first:
                twice.append(int(records.seq[row]))
            first.setdefault(key, row)
    if twice:
        yield f"{len(twice)} designs are counted as new twice; the first is record {twice[0]}."
    wrong = [
        int(records.seq[row])
        for row in np.setdiff1d(np.arange(len(records.seq)), charged).tolist()
        if int(records.same[row]) >= int(records.seq[row])
        or seen.get(int(records.same[row])) != seen[int(records.seq[row])]
    ]
    if wrong:
        yield f"{len(wrong)} records repeat another design; the first is record {wrong[0]}."
