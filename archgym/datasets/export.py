"""Studies as a data set: one Parquet row an evaluation, with units, and a card beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.parameter import Categorical, Factorisation, Parameter, Permutation
from archgym.storage import atomic_file, make_folder, write_atomic
from archgym.studylog import StudyLog, read_study, require_distinct

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FILE_NAME", "METADATA_KEY", "export", "to_frame", "to_table"]

FILE_NAME = "evaluations.parquet"
METADATA_KEY = b"archgym"
"""Where the Parquet file's metadata hold tasks, units, parameters and studies as JSON."""
_FORMAT_VERSION = 1

_LEADING = {
    "study": "Name of the study's folder",
    "study_id": "Identity of the study, unique over machines",
    "agent": "Who asked for the design; null where an environment or a person did",
    "hyperparameters": "The agent's, as JSON, where they are not its defaults",
    "seed": "The agent's seed",
    "seq": "Number of the ask within the study, from 0; repeats are left out",
    "task": "Simulator, space, workloads, objective and version",
    "task_digest": "Digest of all that decides the task's numbers; equal just for equal tasks",
    "simulator": "The simulator's name",
    "simulator_version": "Raised when any of its numbers changes",
    "fidelity": "Name of the simulator's fidelity",
    "workload": "Names of the task's workloads, joined by +",
}
_RESULTS = {
    "feasible": "Whether the design was built on every workload",
    "reason": "Why not; null where it was, or where the simulator broke",
    "error": "What the simulator said when it broke; null where it did not",
    "reward": "The task's reward, larger is better",
}


def export(studies: str | Path | Sequence[str | Path], out: str | Path) -> Path:
    """Writes studies of one space as Parquet, with a card, and returns the Parquet file.

    Args:
      studies: A folder or several; merged ones are allowed. They are not changed.
      out: A folder, which gets `evaluations.parquet` and `README.md`; or a file that ends in
        ``.parquet``, whose card is then named after it with ``.md``.

    Raises:
      InvalidArgumentError: The studies do not fit into one table.
      FileFormatError: A folder is no study.
      StorageError: A folder cannot be read or `out` not be written.
    """
    import pyarrow.parquet as pq

    folders = [studies] if isinstance(studies, str | Path) else list(studies)
    logs = [read_study(folder) for folder in folders]
    table = to_table(logs)
    target = Path(out)
    if target.suffix == ".parquet":
        card = target.with_suffix(".md")
    else:
        target, card = target / FILE_NAME, target / "README.md"
    make_folder(target.parent)
    with atomic_file(target) as scratch:
        pq.write_table(table, scratch, compression="zstd")
    write_atomic(card, _card(logs, table, target.name))
    return target


def to_frame(logs: Sequence[StudyLog]) -> "pd.DataFrame":
    """Evaluations of studies, one row each, as a pandas table; columns as in `to_table`."""
    frame: pd.DataFrame = to_table(logs).to_pandas()
    return frame


def to_table(logs: Sequence[StudyLog]) -> "pa.Table":
    """Evaluations of studies, one row each, as an Arrow table with units in its metadata.

    Parameters have the canonical form's values (a parameter that means nothing has its default). A
    metric's column has its name where the task has one workload, and ``name@workload`` for each of
    several.

    Raises:
      InvalidArgumentError: The studies differ in space, metrics or number of workloads, or one
        comes twice.
    """
    import pyarrow as pa

    _check(logs)
    parts = [_columns(log) for log in logs]
    fields = _fields(logs[0])
    arrays = []
    for name, (kind, _) in fields.items():
        pieces = [pa.array(part[name], type=_plain(kind), from_pandas=True) for part in parts]
        column = pa.chunked_array(pieces)
        arrays.append(column.dictionary_encode() if pa.types.is_dictionary(kind) else column)
    schema = pa.schema(
        [
            pa.field(name, array.type, metadata=facts)
            for (name, (_, facts)), array in zip(fields.items(), arrays, strict=True)
        ],
        metadata={METADATA_KEY: json.dumps(_metadata(logs), sort_keys=True)},
    )
    return pa.Table.from_arrays(arrays, schema=schema)


def _check(logs: Sequence[StudyLog]) -> None:
    if not logs:
        raise InvalidArgumentError("`studies` must name one or more folders; got none.")
    first = logs[0]
    for log in logs[1:]:
        same_workloads = log.workloads == first.workloads
        both_single = len(log.workloads) == len(first.workloads) == 1
        differs = [
            what
            for what, same in (
                ("space", log.space == first.space),
                ("metrics", log.metrics == first.metrics),
                ("workloads", same_workloads or both_single),
            )
            if not same
        ]
        if differs:
            raise InvalidArgumentError(
                f"Studies must have the same {differs[0]} to be one table; {first.folder} and "
                f"{log.folder} differ. Export them apart."
            )
    require_distinct(logs, "exported")


# ---- columns


def _fields(log: StudyLog) -> dict[str, tuple[Any, dict[str, str]]]:
    """Type and metadata of each column, in order."""
    import pyarrow as pa

    word, text = pa.dictionary(pa.int32(), pa.string()), pa.string()
    whole = pa.int64()
    kinds = {"seed": pa.uint64(), "seq": whole, "simulator_version": whole, "error": text}
    kinds |= {"feasible": pa.bool_(), "reward": pa.float64()}
    fields: dict[str, tuple[Any, dict[str, str]]] = {}
    for name, doc in _LEADING.items():
        fields[name] = kinds.get(name, word), {"role": "source", "doc": doc}
    for column, parameter in _parameter_columns(log).items():
        facts = {"role": "parameter", "unit": parameter.unit, "doc": parameter.doc}
        facts["parameter"] = json.dumps(parameter.to_json())
        fields[column] = _parameter_type(parameter), facts
    for name, doc in _RESULTS.items():
        fields[name] = kinds.get(name, word), {"role": "result", "doc": doc}
    for column, (metric, workload) in _metric_columns(log).items():
        spec = log.metrics[metric]
        facts = {"role": "metric", "unit": spec.unit, "doc": spec.doc, "goal": spec.goal}
        facts |= {"metric": spec.name, "resolution": repr(spec.resolution)}
        if len(log.workloads) > 1:
            facts["workload"] = log.workloads[workload]
        fields[column] = pa.float64(), facts
    return fields


def _parameter_columns(log: StudyLog) -> dict[str, Parameter]:
    """Parameters by column; one that is named like another column gets a prefix."""
    taken = {*_LEADING, *_RESULTS, *_metric_columns(log)}
    return {f"design.{p.name}" if p.name in taken else p.name: p for p in log.space.parameters}


def _metric_columns(log: StudyLog) -> dict[str, tuple[int, int]]:
    """Numbers of metric and workload by column."""
    if len(log.workloads) == 1:
        return {spec.name: (number, 0) for number, spec in enumerate(log.metrics)}
    return {
        f"{spec.name}@{workload}": (number, place)
        for place, workload in enumerate(log.workloads)
        for number, spec in enumerate(log.metrics)
    }


def _parameter_type(parameter: Parameter) -> Any:
    import pyarrow as pa

    if isinstance(parameter, Categorical):
        return pa.dictionary(pa.int32(), pa.string())
    if isinstance(parameter, Permutation):
        return pa.list_(pa.string())
    if isinstance(parameter, Factorisation):
        return pa.list_(pa.int64())
    values = parameter.array(np.arange(min(parameter.size, 2**16)))
    return pa.int64() if values.dtype.kind in "iu" else pa.float64()


def _plain(kind: Any) -> Any:
    import pyarrow as pa

    return pa.string() if pa.types.is_dictionary(kind) else kind


def _columns(log: StudyLog) -> dict[str, Any]:
    """One study's evaluations by column."""
    rows = log.records.rows(log.is_evaluation)
    n = len(rows)
    starts = np.array([segment.first_seq for segment in log.segments])
    of_row = np.searchsorted(starts, rows.seq, side="right") - 1
    segments = [log.segments[number] for number in of_row.tolist()]
    hyperparameters = [json.dumps(s.hyperparameters, sort_keys=True) for s in log.segments]
    offsets = _study_offsets(log)
    task = log.header.task
    columns: dict[str, Any] = {
        "study": [segment.folder for segment in segments],
        "study_id": [segment.study for segment in segments],
        "agent": [segment.agent for segment in segments],
        "hyperparameters": [hyperparameters[number] for number in of_row.tolist()],
        "seed": [segment.seed for segment in segments],
        "seq": rows.seq - offsets[of_row] if n else rows.seq,
        "task": [log.task_id] * n,
        "task_digest": [str(task["digest"])] * n,
        "simulator": [str(task["simulator"])] * n,
        "simulator_version": np.full(n, int(task["version"])),
        "fidelity": [str(task["fidelity"])] * n,
        "workload": ["+".join(log.workloads)] * n,
    }
    values = log.space.columns(log.space.canonical(rows.indices))
    for column, parameter in _parameter_columns(log).items():
        array = values[parameter.name]
        listed = isinstance(parameter, Permutation | Factorisation)
        columns[column] = [list(v) for v in array] if listed else array
    columns["feasible"] = log.is_feasible[log.is_evaluation]
    columns["reason"] = [_reason(log, numbers) for numbers in rows.reason.tolist()]
    columns["error"] = [rows.errors.get(seq) for seq in rows.seq.tolist()]
    columns["reward"] = rows.reward
    for column, (metric, place) in _metric_columns(log).items():
        columns[column] = rows.values[:, place, metric]
    return columns


def _study_offsets(log: StudyLog) -> np.ndarray:
    """Number of the first record of each segment's study; a merged one has several studies."""
    first: dict[str, int] = {}
    for segment in log.segments:
        first.setdefault(segment.study, segment.first_seq)
    return np.array([first[segment.study] for segment in log.segments], dtype=np.int64)


def _reason(log: StudyLog, numbers: Sequence[int]) -> str | None:
    reasons = list(dict.fromkeys(log.reasons[number] for number in numbers if number > 0))
    return " ".join(reasons) if reasons else None


# ---- metadata and card


def _metadata(logs: Sequence[StudyLog]) -> dict[str, Any]:
    tasks = {str(log.header.task["digest"]): log.header.task for log in logs}
    return {
        "format": "archgym-evaluations",
        "format_version": _FORMAT_VERSION,
        "tasks": list(tasks.values()),
        "studies": [
            {
                "folder": segment.folder,
                "id": segment.study,
                "agent": segment.agent,
                "seed": segment.seed,
                "hyperparameters": dict(segment.hyperparameters),
                "task_digest": log.header.task["digest"],
                "versions": dict(log.header.versions),
                "platform": log.header.platform,
                "created": log.header.created,
            }
            for log in logs
            for segment in log.segments
        ],
    }


def _card(logs: Sequence[StudyLog], table: "pa.Table", file_name: str) -> str:
    n = table.num_rows
    feasible = sum(int(log.is_feasible.sum()) for log in logs)
    failed = sum(len(log.records.errors) for log in logs)
    repeats = sum(log.asks - log.evaluations for log in logs)
    tasks = list(dict.fromkeys(log.task_id for log in logs))
    lines = [
        f"# Evaluations of {tasks[0]}" + (f" and {len(tasks) - 1} more" if tasks[1:] else ""),
        "",
        f"`{file_name}` holds {n} evaluations of hardware designs, one row each, as ArchGym "
        f"{logs[0].header.versions.get('archgym', '')} journaled them: {feasible} feasible, "
        f"{n - feasible - failed} infeasible, {failed} on which the simulator broke. "
        f"{repeats} repeated asks are left out.",
        "",
        "## Tasks",
        "",
        *(f"- `{task}`" for task in tasks),
        "",
        "## Columns",
        "",
        "| column | type | unit | what |",
        "|---|---|---|---|",
        *(_card_row(field) for field in table.schema),
        "",
        "## Studies",
        "",
        "| study | agent | seed | hyperparameters | evaluations | best reward |",
        "|---|---|---|---|---|---|",
        *_card_studies(table),
        "",
        "## Reading it",
        "",
        "```python",
        "import json",
        "import pyarrow.parquet as pq",
        "",
        f'table = pq.read_table("{file_name}")',
        "frame = table.to_pandas()",
        'about = json.loads(table.schema.metadata[b"archgym"])  # tasks, parameters, studies',
        'unit = table.schema.field("reward").metadata  # and so for each column',
        "```",
        "",
    ]
    damage = [report for log in logs if (report := log.damage_report())]
    if damage:
        lines += ["## Damage", "", *(f"- {report}" for report in damage), ""]
    return "\n".join(lines)


def _card_row(field: "pa.Field") -> str:
    facts: Mapping[bytes, bytes] = field.metadata or {}
    unit = facts.get(b"unit", b"").decode()
    doc = facts.get(b"doc", b"").decode().rstrip(".").replace("|", "\\|").replace("\n", " ")
    kind = str(getattr(field.type, "value_type", field.type))
    return f"| `{field.name}` | {kind} | {unit} | {doc} |"


def _card_studies(table: "pa.Table") -> list[str]:
    frame = table.select(
        ["study", "study_id", "agent", "seed", "hyperparameters", "reward"]
    ).to_pandas()
    rows = []
    keys = ["study", "study_id", "agent", "seed", "hyperparameters"]
    for key, group in frame.groupby(keys, dropna=False, observed=True, sort=False):
        study, _, agent, seed, hyperparameters = key
        has_agent = isinstance(agent, str)
        rows.append(
            f"| {study} | {agent if has_agent else '-'} | {int(seed) if seed == seed else '-'} "
            f"| `{hyperparameters}` | {len(group)} | {group['reward'].max():.6g} |"
        )
    return rows
