"""A study's evaluations as rows of a dataset, some at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.checks import check_line
from archgym.datasets.columns import Columns, DesignIds, is_listed
from archgym.datasets.metadata import About, Model, task_model, task_workloads
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.capabilities import facts_about
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import objective_from_json
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import (
    FAILED,
    FEASIBLE,
    Simulator,
    simulator_class,
)
from archgym.evaluation.specification import Declaration, WorkloadFacts
from archgym.files.parquet import MAX_BATCH
from archgym.spaces.parameter import Categorical
from archgym.spaces.space import DesignSpace
from archgym.studies.metadata import Header
from archgym.studies.records import Records
from archgym.studies.snapshot import StudyLog

if TYPE_CHECKING:
    import pyarrow as pa


def study_batches(log: StudyLog, columns: Columns) -> "Iterator[pa.RecordBatch]":
    """Return rows of one study, in the order of its journal; one for each evaluation and workload.

    Parameters have the canonical form's values (an inactive parameter has its default).
    Repeated asks are left out. The column of duplicates is false.
    """
    study = _Study(log, columns)
    evaluations = log.records.rows(log.is_evaluation)
    step = max(1, MAX_BATCH // len(log.workloads))
    for start in range(0, len(evaluations), step):
        yield study.batch(evaluations.rows(slice(start, start + step)))


@final
class _Study:
    def __init__(self, log: StudyLog, columns: Columns) -> None:
        self._log = log
        self._columns = columns
        self._schema = columns.schema()
        self._ids = DesignIds(str(log.header.task["simulator"]), log.space)
        self._starts = np.array([segment.first_seq for segment in log.segments])
        self._offsets = _study_offsets(log)
        self._workloads = [label for label, _ in task_workloads(log.header.task)]

    def batch(self, rows: Records) -> "pa.RecordBatch":
        import pyarrow as pa

        made = self._sources(rows) | self._parameters(rows) | self._results(rows)
        n = len(rows) * len(self._workloads)
        arrays = []
        for field in self._schema:
            value = made.get(field.name)
            if value is None:
                value = pa.nulls(n, field.type)
            elif not isinstance(value, pa.Array):
                value = pa.array(value, type=field.type, from_pandas=True)
            arrays.append(value)
        return pa.record_batch(arrays, schema=self._schema)

    def _sources(self, rows: Records) -> dict[str, Any]:
        log, w = self._log, len(self._workloads)
        task, n = log.header.task, len(rows) * w
        segment = np.repeat(np.searchsorted(self._starts, rows.seq, side="right") - 1, w)
        options = json.dumps(dict(task["options"]), sort_keys=True)
        canonical = log.space.canonical(rows.indices)

        def constant(text: str) -> "pa.Array":
            return words(np.zeros(n, dtype=np.int32), [text])

        hyperparameters = [
            json.dumps(dict(s.hyperparameters), sort_keys=True) for s in log.segments
        ]
        return {
            "study": words(segment, [s.folder for s in log.segments]),
            "study_id": words(segment, [s.study for s in log.segments]),
            "agent": words(segment, [s.agent for s in log.segments]),
            "hyperparameters": words(segment, hyperparameters),
            "seed": self._seeds(segment),
            "step": np.repeat(rows.seq, w) - self._offsets[segment],
            "task": constant(log.task_id),
            "task_digest": constant(str(task["digest"])),
            "simulator": constant(str(task["simulator"])),
            "simulator_version": np.full(n, int(task["version"])),
            "options": constant(options),
            "fidelity": constant(str(task["fidelity"])),
            "space": constant(str(task["space_name"])),
            "workload": words(np.tile(np.arange(w), len(rows)), self._workloads),
            "design": id_texts(np.repeat(self._ids.of(canonical), w)),
            "is_duplicate": np.zeros(n, dtype=bool),
        }

    def _seeds(self, segment: np.ndarray) -> "pa.Array":
        import pyarrow as pa

        seeds = [s.seed for s in self._log.segments]
        is_null = np.array([seed is None for seed in seeds])[segment]
        return pa.array(np.array([seed or 0 for seed in seeds], np.uint64)[segment], mask=is_null)

    def _parameters(self, rows: Records) -> dict[str, Any]:
        space, w = self._log.space, len(self._workloads)
        canonical = np.repeat(space.canonical(rows.indices), w, axis=0)
        made = {}
        for place, parameter in enumerate(space.parameters):
            column = self._columns.of_parameter[parameter.name]
            if isinstance(parameter, Categorical) and parameter.is_text:
                made[column] = words(canonical[:, place], [str(c) for c in parameter.choices])
                continue
            values = parameter.array(canonical[:, place])
            made[column] = [list(value) for value in values] if is_listed(parameter) else values
        return made

    def _results(self, rows: Records) -> dict[str, Any]:
        import pyarrow as pa

        reason = rows.reason.ravel().astype(np.int64)
        built = reason == FEASIBLE
        messages = [rows.errors.get(seq) for seq in rows.seq.tolist()] if rows.errors else []
        error: Any = None
        if messages:
            broken = (reason == FAILED).tolist()
            repeated = np.repeat(np.arange(len(rows)), len(self._workloads)).tolist()
            error = pa.array(
                [messages[row] if bad else None for row, bad in zip(repeated, broken, strict=True)],
                type=pa.string(),
            )
        # Entry 0 is empty; a failure has the entry after the last one, which is null.
        texts = [None, *self._log.reasons[1:], None]
        made = {
            "feasible": built,
            "reason": words(np.where(reason < 0, len(texts) - 1, reason), texts),
            "error": error,
            "reward": np.repeat(rows.reward, len(self._workloads)),
        }
        values = rows.values.reshape(-1, len(self._log.metrics))
        return made | {spec.name: values[:, i] for i, spec in enumerate(self._log.metrics)}


def words(codes: np.ndarray, texts: Sequence[str | None]) -> "pa.Array":
    """Return an Arrow column of repeating texts: `codes`, (n,), index `texts`; None is null."""
    import pyarrow as pa

    known = dict.fromkeys(text for text in texts if text is not None)
    distinct = {text: place for place, text in enumerate(known)}
    places = np.array([-1 if text is None else distinct[text] for text in texts], dtype=np.int32)
    chosen = places[codes]
    indices = pa.array(chosen, mask=chosen < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(distinct), pa.string()))


def id_texts(ids: np.ndarray) -> "pa.Array":
    """Return an Arrow column of ids, (n,) uint64, as 16 hexadecimal digits each."""
    import pyarrow as pa

    digits = ids.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(digits))


def _study_offsets(log: StudyLog) -> np.ndarray:
    """Return the first seq of each segment's study; a merged study has several."""
    first: dict[str, int] = {}
    for segment in log.segments:
        first.setdefault(segment.study, segment.first_seq)
    return np.array([first[segment.study] for segment in log.segments], dtype=np.int64)


_NO_LICENSE = "unknown"


def about_studies(
    headers: Sequence[Header], name: str | None, license: str | None, split: Any = None
) -> About:
    """Return the description of a dataset of these studies.

    Raises:
      InvalidArgumentError: They are of several simulators, or spaces that share a name differ.
    """
    tasks = {str(header.task["digest"]): header.task for header in headers}
    simulators = sorted({str(task["simulator"]) for task in tasks.values()})
    if len(simulators) > 1:
        raise InvalidArgumentError(
            f"A dataset must be of one simulator; these studies are of {', '.join(simulators)}. "
            "Build one for each."
        )
    of_model: dict[Model, list[Mapping[str, Any]]] = {}
    for task in tasks.values():
        of_model.setdefault(task_model(task), []).append(task)
    return About(
        f"{simulators[0]}-evaluations" if name is None else check_line("name", name),
        _NO_LICENSE if license is None else check_line("license", license),
        tuple(tasks.values()),
        tuple(_declaration(group) for group in of_model.values()),
        tuple(_study(header, place) for header in headers for place in range(len(header.segments))),
        split,
    )


def _study(header: Header, place: int) -> dict[str, Any]:
    segment = header.segments[place]
    return {
        "folder": segment.folder,
        "id": segment.study,
        "agent": segment.agent,
        "seed": segment.seed,
        "hyperparameters": dict(segment.hyperparameters),
        "task_digest": header.task["digest"],
        "versions": dict(header.versions),
        "platform": header.platform,
        "created": header.created,
    }


def _declaration(tasks: Sequence[Mapping[str, Any]]) -> Declaration:
    """Return the simulator's declaration, or the one that tasks record if it is not installed."""
    first = tasks[0]
    space = DesignSpace.from_json(first["space"])
    told = _told(tasks, space)
    workloads: dict[str, WorkloadFacts] = {}
    for task in tasks:
        other = _told([task], DesignSpace.from_json(task["space"]))
        difference = told.difference(other)
        if difference is not None:
            raise InvalidArgumentError(
                f"Tasks of one simulator, version, fidelity and space must declare the same; "
                f"{first['id']!r} and {task['id']!r} have another `{difference}`. Build them apart."
            )
        for workload in other.workloads:
            known = workloads.setdefault(workload.name, workload)
            if known.digest != workload.digest:
                raise InvalidArgumentError(
                    f"A workload's name must stand for one content; {workload.name!r} has two in "
                    f"these studies. Build them apart."
                )
    told = replace(told, workloads=tuple(workloads.values()))
    return _completed(told)


def _told(tasks: Sequence[Mapping[str, Any]], space: DesignSpace) -> Declaration:
    first = tasks[0]
    recorded = [objective_from_json(task["objective"]) for task in tasks]
    objectives = {objective.name: objective for objective in recorded}
    n_model = len(first["reasons"]) - len(space.constraints)
    sources = {
        label: w
        for task in tasks
        for (label, _), w in zip(task_workloads(task), task["workloads"], strict=True)
    }
    return Declaration(
        simulator=str(first["simulator"]),
        version=int(first["version"]),
        options={str(name): str(value) for name, value in first["options"].items()},
        fidelity=str(first["fidelity"]),
        default_fidelity=str(first["fidelity"]),
        space_name=str(first["space_name"]),
        space=space,
        metrics=tuple(MetricSpec.from_json(spec) for spec in first["metrics"]),
        model_reasons=tuple(str(reason) for reason in first["reasons"][1:n_model]),
        objectives=objectives,
        default_objective=next(iter(objectives)),
        default_workload=next(iter(sources)),
        groups={},
        workloads=tuple(
            WorkloadFacts(label, str(w["digest"]), {}, "" if w["source"] == label else w["source"])
            for label, w in sources.items()
        ),
    )


def _completed(told: Declaration) -> Declaration:
    """Return the simulator's declaration if it contains the tasks' one."""
    try:
        kind = simulator_class(told.simulator)
        simulator = make_simulator(kind, told.space_name, told.fidelity, told.options)
        said = Declaration.of(simulator, told.space_name, {})
    except ArchGymError:
        return told
    if said.difference(told) is not None:
        return told
    workloads = tuple(_described(simulator, workload) for workload in told.workloads)
    objectives = {**said.objectives, **told.objectives}
    # A search on a proxy of these data seeks what the studies sought.
    return replace(
        said,
        workloads=workloads,
        objectives=objectives,
        default_objective=told.default_objective,
    )


def _described(simulator: Simulator, facts: WorkloadFacts) -> WorkloadFacts:
    try:
        workload = simulator.workload(facts.source or facts.name)
        if workload.digest == facts.digest:
            return replace(facts, facts=dict(facts_about(simulator, workload)))
    except ArchGymError:
        pass
    return facts
