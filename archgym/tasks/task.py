"""Tasks: a simulator with its space, workloads and objective; frozen and hashed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.errors import InvalidArgumentError, UnknownNameError, check_known
from archgym.evaluation.capabilities import Confident
from archgym.evaluation.limits import Limit, missed_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import (
    Objective,
    objective_from_json,
    weight_text,
)
from archgym.evaluation.restriction import held_values, split_space, unrestricted
from archgym.evaluation.simulator import (
    FAILED,
    FEASIBLE,
    Simulator,
    simulator_class,
)
from archgym.evaluation.stand_in import StandIn
from archgym.evaluation.trials import Trials
from archgym.files.storage import file_checksums
from archgym.spaces.display import html_table, shortened
from archgym.spaces.space import DesignSpace
from archgym.tasks.choices import TaskChoices, WeightedWorkload, WorkloadChoice, choosing
from archgym.tasks.objective import check_domain, resolve_objective
from archgym.tasks.pipeline import Parts, parts_of, recorded_reference, recorded_stand_in


@final
@dataclass(frozen=True)
class Evaluation:
    """Results of n designs on a task's w workloads.

    `values` is (n, w, n_metrics), NaN where a design was not built; `reason` is (n, w) int16 as in
    `BatchResult`; `reward` is (n,); `failures` says by row why the simulator broke.
    """

    values: np.ndarray
    reason: np.ndarray
    reward: np.ndarray
    failures: Mapping[int, str] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Task:
    """Simulator with its space and fidelity, weighted workloads, and objective.

    Life cycle:

    1. `Task.make` resolves names, lets the simulator fit its default design to the workloads, and
       simulates it on each. `reference`, (w, n_metrics), keeps these metrics, to which rewards are
       relative.
    2. The task is frozen. Agents, studies, tables and environments share it.
    3. `evaluate` takes many designs at once, as indices, and returns metrics and rewards.
    4. `digest` identifies everything that decides the numbers; `to_json` records the task.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny"), "near")
      >>> task.id
      'proving/tiny/near/low-cost-v0'
      >>> designs = np.array([[0, 0], [1, 1]])
      >>> task.evaluate(designs).reward.round(3).tolist()
      [0.0, -0.232]
    """

    simulator: Simulator
    space_name: str
    workloads: tuple[WeightedWorkload, ...]
    objective: Objective
    reference: np.ndarray = field(repr=False, compare=False)
    metric_names: tuple[str, ...] | None = None
    """Metrics that are recorded; None for all of the simulator's."""

    @classmethod
    def make(
        cls,
        simulator: str | Simulator | None = None,
        workload: WorkloadChoice | None = None,
        objective: str | Objective | None = None,
        space: str | None = None,
        fidelity: str | None = None,
        **choices: Any,
    ) -> "Task":
        """Return task from names; what is left out is the simulator's default.

        Args:
          simulator: A registered name, or an instance (which has space, fidelity and options); the
            stand-in's, or ``"dram"``, where it is left out.
          workload: A name or path, several, or several with their weights (any scale, above 0).
          objective: A name, an objective, or text such as ``target:total_time_ns<=90000``.
          space: Name of one of the simulator's spaces.
          fidelity: Name of one of the simulator's fidelities.
          **choices: Other attributes of `TaskChoices`, such as ``minimise="area_mm2"`` or
            ``fixed={"ranks": 2}``, and options of the simulator, such as ``device="ddr4-2400"``.

        Raises:
          UnknownNameError: A name does not exist; the message lists the near ones.
          InvalidArgumentError: An argument does not fit.
          FileFormatError: The stand-in is damaged or of another format.
        """
        given = TaskChoices.of(
            simulator=simulator,
            workload=workload,
            objective=objective,
            space=space,
            fidelity=fidelity,
            **choices,
        )
        return cls.resolve(given)

    @classmethod
    def resolve(
        cls,
        choices: TaskChoices,
        known: "dict[str, Parts] | None" = None,
        reference: Sequence[Any] | None = None,
    ) -> "Task":
        """Return the task that plain choices name; an error's `choice` says which one failed.

        Args:
          choices: The choices; see `TaskChoices`.
          known: Parts of tasks that were resolved before, which tasks with other objectives share;
            this one's are added.
          reference: Recorded metrics of the default design, with which a program need not run.

        Raises:
          UnknownNameError: A name does not exist; the message lists similar ones.
          InvalidArgumentError: An argument does not fit.
          FileFormatError: The stand-in or a workload cannot be read.
        """
        with choosing("simulator"):
            choices = choices.expanded()
        parts = parts_of(choices, {} if known is None else known)
        objective = resolve_objective(parts.whole, choices)
        made, default = parts.fitted if reference is None else parts.recorded(reference)
        with choosing("objective"):
            check_domain(made, objective, default)
        task = cls(made, parts.space_name, parts.workloads, objective, default)
        return task if choices.metrics is None else task.recording(choices.metrics)

    def recording(self, names: Sequence[str]) -> "Task":
        """Return the task with only some of the simulator's metrics recorded.

        A study that was recorded before a simulator gained a metric continues with this task.

        Args:
          names: Metrics to keep; those that identify the task cannot be left out.

        Raises:
          UnknownNameError: The simulator has no such metric.
          InvalidArgumentError: A metric that identifies the task is missing.
        """
        known = [spec.name for spec in self.metrics]
        check_known("metric", names, known)
        if list(names) == known:
            return self
        for spec in self.metrics:
            if spec.name not in names and (spec.identifies or spec.name in self.objective.metrics):
                raise InvalidArgumentError(
                    f"`metrics` must have `{spec.name}`, which is part of the task; got {names!r}."
                )
        columns = [known.index(name) for name in names]
        reference = self.reference[:, columns]
        reference.flags.writeable = False
        return replace(self, reference=reference, metric_names=tuple(names))

    @property
    def space(self) -> DesignSpace:
        """The design space."""
        return self.simulator.space

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics that evaluations return, in the order of their columns."""
        if self.metric_names is None:
            return self.simulator.metrics
        return tuple(self.simulator.metrics[column] for column in self._columns)

    @cached_property
    def _columns(self) -> list[int]:
        """Columns of the simulator's results that are recorded."""
        names = [spec.name for spec in self.simulator.metrics]
        return [names.index(name) for name in self.metric_names or names]

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Hard limits on metrics that designs must meet on every workload."""
        return self.objective.limits

    def missed(self, values: np.ndarray) -> list[str]:
        """Return the limits that a design misses in words; empty if it meets all.

        Args:
          values: (n_workloads, n_metrics), metrics of one design that was built.
        """
        names = [spec.name for spec in self.metrics]
        rows = [dict(zip(names, row, strict=True)) for row in np.asarray(values).tolist()]
        return missed_limits(self.limits, rows)

    @property
    def version(self) -> int:
        """Raised when any number that the simulator returns changes."""
        return self.simulator.version

    @property
    def weights(self) -> np.ndarray:
        """Weights of the workloads, (w,), summing to 1."""
        weights = np.array([w.weight for w in self.workloads])
        scaled: np.ndarray = weights / weights.sum()
        return scaled

    @property
    def id(self) -> str:
        """A name that people read, such as ``dram/default/cloud-1/low-latency-v1``.

        The version is the simulator's.
        """
        options = dict(sorted(self.simulator.options.items()))
        if self.simulator.fidelity != self.simulator.spec.default_fidelity:
            options["fidelity"] = self.simulator.fidelity
        choices = ",".join(f"{name}={value}" for name, value in options.items())
        simulator = self.simulator.name + (f"[{choices}]" if choices else "")
        are_plain = all(w.weight == 1.0 for w in self.workloads)
        workloads = "+".join(
            ("" if are_plain else f"{weight_text(w.weight)}*") + w.label for w in self.workloads
        )
        objective = f"{self.objective.name}-v{self.version}"
        return f"{simulator}/{self.space_name}/{workloads}/{objective}"

    def __repr__(self) -> str:
        return shortened([self.id], "Task(")

    def _repr_html_(self) -> str:
        default = self.weights @ self.reference
        rows = [
            (spec.name, float(value), spec.unit, spec.goal, spec.doc)
            for spec, value in zip(self.metrics, default, strict=True)
        ]
        limits = "".join(f", {limit}" for limit in self.limits)
        caption = f"Task {self.id}: {self.space!r}{limits}"
        return html_table(caption, ("metric", "default design", "unit", "goal", ""), rows)

    def evaluate(self, indices: np.ndarray) -> Evaluation:
        """Return results of designs on every workload.

        Args:
          indices: (n, n_parameters), whole numbers within the space.

        Raises:
          InvalidDesignError: An index lies outside the space.
          SimulatorError: The simulator broke on the whole batch.
        """
        # What has another shape is refused by the simulator.
        n, w = len(np.atleast_1d(indices)), len(self.workloads)
        values = np.empty((n, w, len(self.metrics)))
        reason = np.empty((n, w), dtype=np.int16)
        failures: dict[int, str] = {}
        for place, weighted in enumerate(self.workloads):
            result = self.simulator.evaluate_batch(indices, weighted.workload)
            values[:, place] = result.values[:, self._columns]
            reason[:, place] = result.reason
            failures |= {row: why for row, why in result.failures.items() if row not in failures}
        return Evaluation(values, reason, self.rewards(values, reason), failures)

    def rewards(self, values: np.ndarray, reason: np.ndarray) -> np.ndarray:
        """Return the rewards of n designs, (n,).

        Args:
          values: (n, w, n_metrics), NaN where a design was not built.
          reason: (n, w), as in `BatchResult`.
        """
        return self.objective.rewards(values, reason, self.reference, self.metrics, self.weights)

    def term_rewards(self, values: np.ndarray, reason: np.ndarray) -> np.ndarray:
        """Return the rewards of n designs for each term of the objective alone, (n, n_terms).

        Args:
          values: As for `rewards`.
          reason: (n, w).
        """
        return self.objective.weighted_terms(
            values, reason, self.reference, self.metrics, self.weights
        )

    def trials(self, indices: np.ndarray, evaluation: Evaluation, repeated: np.ndarray) -> Trials:
        """Return results of designs in the form that agents receive.

        Args:
          indices: (n, n_parameters), as asked.
          evaluation: Their results.
          repeated: (n,) bool, whether each was known before.
        """
        is_built = evaluation.reason == FEASIBLE
        first = np.argmax(~is_built, axis=1)
        objective, reward = self.objective, evaluation.reward
        if len(objective.terms) == 1 and not objective.is_published_form:
            terms = reward[:, None].copy()
        else:
            terms = self.term_rewards(evaluation.values, evaluation.reason)
        return Trials(
            indices=indices,
            reward=reward,
            terms=terms,
            values=self.average(evaluation.values),
            reason=evaluation.reason[np.arange(len(indices)), first],
            feasible=is_built.all(axis=1),
            failed=(evaluation.reason == FAILED).any(axis=1),
            repeated=repeated,
            specs=self.metrics,
        )

    def average(self, values: np.ndarray) -> np.ndarray:
        """Return weighted means over the workloads, (n, n_metrics) from (n, w, n_metrics)."""
        mean: np.ndarray = np.einsum("nwm,w->nm", values, self.weights)
        return mean

    def to_json(self) -> dict[str, Any]:
        """Return all that a reader needs, and all that `from_json` needs to make the task again."""
        data: dict[str, Any] = {
            "id": self.id,
            "digest": self.digest,
            "simulator": self.simulator.name,
            "version": self.version,
            "options": dict(self.simulator.options),
            "fidelity": self.simulator.fidelity,
            "space_name": self.space_name,
            "space": self.space.to_json(),
            "workloads": [
                {
                    "name": w.workload.name,
                    "source": w.source,
                    "digest": w.workload.digest,
                    "weight": w.weight,
                }
                for w in self.workloads
            ],
            "objective": self.objective.to_json(),
            "metrics": [spec.to_json() for spec in self.metrics],
            "reasons": list(self.simulator.spec.reasons),
            "reference": self.reference.tolist(),
        }
        if files := self._files():
            # Not its identity: they say which file has changed.
            data["files"] = files
        source = unrestricted(self.simulator)
        if isinstance(source, StandIn):
            # Where its numbers came from, which is not part of what it is.
            data["stand_in"] = {
                "kind": source.kind,
                "path": str(source.path),
                "digest": source.digest,
            }
        if isinstance(source, Confident):
            measured = source.path
            data["measured"] = None if measured is None else str(measured)
        return data

    @classmethod
    def from_json(
        cls,
        data: Mapping[str, Any],
        simulator: Simulator | None = None,
        stand_in: str | Path | None = None,
    ) -> "Task":
        """Return the task again, from what `to_json` gave.

        Args:
          data: The recipe. One made on a stand-in continues with that; without its `stand_in` it
            continues with the simulator itself.
          simulator: The instance, where it is not a registered one.
          stand_in: A table or proxy to continue with instead.

        Raises:
          InvalidArgumentError: `data` is not a recipe, or what it names is not what it was: another
            version of the simulator, a workload with other content, another proxy.
          StorageError: The stand-in is not where it was.
        """
        try:
            sources = {w["source"]: float(w["weight"]) for w in data["workloads"]}
            objective = objective_from_json(data["objective"])
            recorded = data.get("stand_in")
            if stand_in is None and recorded is not None and simulator is None:
                stand_in = recorded_stand_in(str(recorded["path"]), str(recorded["kind"]))
            space = str(data["space_name"])
            if stand_in is not None:
                space_of = space if "{" in space else None
                task = cls.make(simulator, sources, objective, space_of, stand_in=stand_in)
            elif simulator is not None:
                held = {} if held_values(simulator) else split_space(space)[1]
                plain = TaskChoices(
                    simulator=simulator, workload=sources, objective=objective, values=held
                )
                is_plain = not isinstance(unrestricted(simulator), Confident)
                task = cls.resolve(
                    plain.calibrated_as(data) if is_plain else plain, reference=data["reference"]
                )
            else:
                task = cls._of_recipe(data, sources, objective)
            # Limits of physics that were declared later would make it another task.
            task = replace(task, objective=objective)
            digest = data["digest"]
            task = task.as_recorded(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidArgumentError(
                f"A task's JSON must be what `Task.to_json` wrote; {type(error).__name__}: {error}."
            ) from None
        if task.digest != digest:
            raise InvalidArgumentError(
                f"Task {data.get('id')!r} must be the one that was recorded; "
                f"{task._difference(data)}. Use the version of ArchGym and the files "
                "it was recorded with, or start a new study."
            )
        return task

    @classmethod
    def _of_recipe(
        cls, data: Mapping[str, Any], sources: Mapping[str, float], objective: Objective
    ) -> "Task":
        """Return the task that a recipe names by its simulator's name.

        Raises:
          InvalidArgumentError: It cannot be made; the first reason is another version.
        """
        name = str(data["simulator"])
        choices = TaskChoices(
            simulator=name,
            workload=sources,
            objective=objective,
            space=str(data["space_name"]),
            fidelity=str(data["fidelity"]),
            options={str(k): str(v) for k, v in data["options"].items()},
        )
        try:
            return cls.resolve(choices.calibrated_as(data), reference=data["reference"])
        except (UnknownNameError, InvalidArgumentError):
            known = simulator_class(name).spec.version
            if data["version"] == known:
                raise
            raise InvalidArgumentError(
                f"Task {data.get('id')!r} must be the one that was recorded; `version` differs "
                f"now: it was {data['version']} and is {known}. Use the version of ArchGym that "
                "it was recorded with, or start a new study."
            ) from None

    def as_recorded(self, data: Mapping[str, Any]) -> "Task":
        """Return the task without explaining metrics that it did not have when it was recorded.

        Where running a design again may give other numbers, what its default design measured then
        stays the base of its rewards.

        Args:
          data: The recipe, as `to_json` gave it.
        """
        names = [str(spec["name"]) for spec in data["metrics"]]
        known = {spec.name for spec in self.metrics}
        new = [s for s in self.metrics if s.name not in names and s.identifies]
        if new or not known.issuperset(names):
            return self
        task = self.recording(names)
        reference = recorded_reference(data["reference"])
        if not self.simulator.spec.is_measured or reference.shape != task.reference.shape:
            return task
        reference.flags.writeable = False
        return replace(task, reference=reference)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that the user or the simulator's author decided of a reward."""
        text = json.dumps(self._identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _identity(self) -> dict[str, Any]:
        reference = self.reference[:, [bool(s.identifies) for s in self.metrics]]
        return {
            "simulator": [self.simulator.name, self.version, dict(self.simulator.options)],
            "fidelity": self.simulator.fidelity,
            "space": self.space.digest,
            "workloads": [[w.workload.digest, w.weight] for w in self.workloads],
            "objective": self.objective.to_json()["terms"],
            **({"limits": [str(limit) for limit in self.limits]} if self.limits else {}),
            "metrics": [[s.name, s.unit, s.resolution] for s in self.metrics if s.identifies],
            **({} if self.simulator.spec.is_measured else {"reference": reference.tolist()}),
        }

    def _files(self) -> dict[str, str]:
        """Return the checksum of each file that an option or a workload names, by path."""
        # Not a `cached_property`: in Python 3.11 its lock is one for all tasks, and files are slow.
        kept = vars(self)
        if "_checksums" not in kept:
            named = [*self.simulator.options.values(), *(w.source for w in self.workloads)]
            kept["_checksums"] = file_checksums(map(str, named))
        checksums: dict[str, str] = kept["_checksums"]
        return checksums

    def _difference(self, data: Mapping[str, Any]) -> str:
        mine = self.to_json()
        names = (
            "version",
            "options",
            "fidelity",
            "space",
            "workloads",
            "objective",
            "metrics",
            "reference",
        )
        changed = [name for name in names if data.get(name) != mine[name]]
        if changed and changed[0] == "version":
            return f"`version` differs now: it was {data['version']} and is {self.version}"
        if changed and changed[0] == "options":
            return _option_difference(data.get("options"), mine["options"])
        if changed and changed[0] == "workloads":
            return "`workloads` differs now" + _changed_files(data.get("files"), mine)
        return f"`{changed[0]}` differs now" if changed else "something differs now"


def _option_difference(recorded: Any, mine: Mapping[str, str]) -> str:
    """Return the first option that differs from the recorded one, with both values."""
    was: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    for name in (*mine, *was):
        before, after = (None if d.get(name) is None else str(d[name]) for d in (was, mine))
        if before != after:
            words = ("absent" if text is None else repr(text[:80]) for text in (before, after))
            return "option `{}` differs now: it was {} and is {}".format(name, *words)
    return "`options` differs now"


def _changed_files(recorded: Any, mine: Mapping[str, Any]) -> str:
    """Return the files that have changed; without recorded checksums, those that may have."""
    files: Mapping[str, str] = mine.get("files", {})
    titles = {value: f"option `{name}`, {value}" for name, value in mine["options"].items()}
    if not isinstance(recorded, Mapping):
        named = [titles[path] for path in files if path in titles]
        return f", or the file of {' or '.join(named)}" if named else ""
    named = [titles.get(path, path) for path in files if files[path] != recorded.get(path)]
    return f": changed is the file of {' and '.join(named)}" if named else ""
