"""A study's evaluations as rows of a dataset, some at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.datasets.columns import Columns, is_listed
from archgym.datasets.design_ids import DesignIds
from archgym.datasets.metadata import task_workloads
from archgym.parquet import MAX_BATCH
from archgym.records import Records
from archgym.simulator import FAILED, FEASIBLE
from archgym.studylog import StudyLog

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["id_texts", "study_batches", "words"]


def study_batches(log: StudyLog, columns: Columns) -> "Iterator[pa.RecordBatch]":
    """The rows of one study, in the order of its journal; one for each evaluation and workload.

    Parameters have the canonical form's values (a parameter that means nothing has its default).
    Repeated asks are left out. Whether a row is a duplicate is not judged: false.
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

        made = {
            **self._sources(rows),
            **self._parameters(rows),
            **self._results(rows),
        }
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

        def of_segment(texts: Sequence[str | None]) -> "pa.Array":
            return words(segment, texts)

        def constant(text: str) -> "pa.Array":
            return words(np.zeros(n, dtype=np.int32), [text])

        return {
            "study": of_segment([s.folder for s in log.segments]),
            "study_id": of_segment([s.study for s in log.segments]),
            "agent": of_segment([s.agent for s in log.segments]),
            "hyperparameters": of_segment(
                [json.dumps(dict(s.hyperparameters), sort_keys=True) for s in log.segments]
            ),
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
            if parameter.kind == "categorical":
                made[column] = words(canonical[:, place], list(parameter.values))  # type: ignore[attr-defined]  # a categorical's
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
        # Entry 0 says nothing; beyond the last one stands what a failure has for a reason: none.
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
    """An Arrow column of texts that repeat: `codes`, (n,), are places in `texts`; None is null."""
    import pyarrow as pa

    distinct: Mapping[str, int] = {
        text: place
        for place, text in enumerate(dict.fromkeys(text for text in texts if text is not None))
    }
    places = np.array([-1 if text is None else distinct[text] for text in texts], dtype=np.int32)
    chosen = places[codes]
    indices = pa.array(chosen, mask=chosen < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(distinct), pa.string()))


def id_texts(ids: np.ndarray) -> "pa.Array":
    """An Arrow column of ids, (n,) uint64, as 16 hexadecimal digits each."""
    import pyarrow as pa

    digits = ids.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(digits))


def _study_offsets(log: StudyLog) -> np.ndarray:
    """Number of the first record of each segment's study; a merged one has several studies."""
    first: dict[str, int] = {}
    for segment in log.segments:
        first.setdefault(segment.study, segment.first_seq)
    return np.array([first[segment.study] for segment in log.segments], dtype=np.int64)
