"""Verification of a dataset against its checksums, its columns and the simulator."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.checks import check_whole
from archgym.datasets.columns import (
    SPLIT,
    DesignIds,
    IdSet,
    coded,
    decoded_ids,
    decoded_indices,
    numbers,
    whole_numbers,
)
from archgym.datasets.metadata import About, task_workloads
from archgym.datasets.sources import DatasetSource, row_keys
from archgym.datasets.split import PARTS, Assignment, Split
from archgym.datasets.stored import (
    MANIFEST_NAME,
    FileContent,
    Findings,
    StoredDataset,
    inner_digest,
    open_stored,
    read_manifest,
    written_content,
)
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.evaluation.simulator import FEASIBLE, Simulator
from archgym.evaluation.specification import Declaration
from archgym.files.parquet import ParquetFile
from archgym.files.remote import local_copy
from archgym.runtime.progress import StageProgress
from archgym.tasks.task import Task

if TYPE_CHECKING:
    import pyarrow as pa


# chosen: rows that are simulated at once, in a second where one takes some milliseconds.
_AT_ONCE = 256


@final
@dataclass(frozen=True)
class Verification:
    """Result of checking a dataset: rows checked, rows simulated again, problems."""

    rows: int
    simulated: int
    """Rows that were simulated again."""
    problems: tuple[str, ...]
    """A sentence for each kind of difference; none where all is well."""


def verify_dataset(
    path: str | Path,
    *,
    sample: int = 100,
    seed: int = 0,
    simulator: Simulator | None = None,
    progress: StageProgress | None = None,
) -> Verification:
    """Check a dataset, and simulate a random sample of its rows again.

    Files must have their digests, and the rows that were written, in their order. A row must agree
    with the metadata of its study and task, and have a workload of its task. Its parameters must be
    canonical values of the space, and its id that of its design. It must have metrics if it is
    feasible, and none otherwise. Its mark as a duplicate and its part must be those that the rules
    of the dataset give. Simulated rows must have equal metrics, reason and reward, bit for bit.

    Args:
      path: The dataset's folder, or its Parquet file.
      sample: Rows that are simulated again; those on which the simulator broke are left out.
      seed: Random seed of the sample.
      simulator: The instance, where it is not a registered one.
      progress: Called with the progress.

    Raises:
      FileFormatError: It cannot be read as a dataset: a data file does not have its digest, or is
        no sound Parquet file.
      StorageError: It cannot be read.
    """
    check_whole("sample", sample, 0)
    check_whole("seed", seed, 0)
    findings = Findings()
    path = local_copy(path)
    if path.is_dir():
        _check_files(path, findings)
    stored = open_stored(path)
    chosen = np.random.default_rng(seed).choice(
        stored.n_rows, min(sample, stored.n_rows), replace=False
    )
    sampled = _Sample(stored.about, np.sort(chosen))
    _check_rows(stored, findings, sampled, progress)
    simulated = sampled.compare(findings, simulator, progress)
    return Verification(stored.n_rows, simulated, findings.sentences())


def _check_files(folder: Path, findings: Findings) -> None:
    listed = read_manifest(folder)
    if listed is None:
        findings.add("files without a digest", f"as there is no {MANIFEST_NAME}")
        return
    for name, digest in listed.items():
        try:
            actual = inner_digest(folder, name)
        except ArchGymError as error:
            findings.add("files that cannot be read", str(error).removesuffix("."))
            continue
        if actual != digest:
            findings.add(f"files that differ from {MANIFEST_NAME}", name)


# ---- rows


def _check_rows(
    stored: StoredDataset,
    findings: Findings,
    sampled: "_Sample",
    progress: StageProgress | None,
) -> None:
    source = DatasetSource(stored)
    source.progress = progress
    assignment = _assignment(stored, source, findings)
    ids = {id(d): DesignIds(d.simulator, d.space) for d in stored.about.declarations}
    firsts = _check_firsts(stored, findings, progress)
    content = {file.path: FileContent() for file in stored.files}
    first = 0
    for path, batch in _raw(stored, progress):
        content[path].add(path, batch)
        check_studies(path, batch, stored.about, findings, first)
        keys, known = row_keys(path, stored.about, batch)
        wrong = whole_numbers(path, batch, "is_duplicate") & ~(firsts.contains(keys) & known)
        findings.report("rows wrongly marked as duplicates", wrong, path.name, first)
        if assignment is not None:
            codes, names = coded(batch, SPLIT)
            due = np.array(PARTS)[assignment.parts(path, stored.about, batch)]
            wrong = np.array([*names, ""])[codes] != due
            findings.report("rows in another part than the split says", wrong, path.name, first)
        for task, rows in _by_task(stored.about, path, batch, findings):
            declaration = stored.about.declaration_of(task)
            part = batch.take(rows)
            check_task_rows(path, part, task, ids[id(declaration)], stored, findings)
            wanted = sampled.wanted(first, rows)
            if len(wanted):
                sampled.take(path, task, declaration, batch.take(wanted), stored, findings)
        first += batch.num_rows
    for file in stored.files:
        content[file.path].compare(written_content(file), file.path.name, findings)
        _check_said(file, stored, findings)


def _check_said(file: ParquetFile, stored: StoredDataset, findings: Findings) -> None:
    """Report columns without a unit or a meaning; opening the file refused other ones."""
    for field in stored.columns.schema():
        if not set(field.metadata) <= set(file.schema.field(field.name).metadata or ()):
            where = f"`{field.name}` in {file.path.name}"
            findings.add("columns that do not say what they are", where)


def _check_firsts(
    stored: StoredDataset, findings: Findings, progress: StageProgress | None
) -> IdSet:
    """Return the rows that are no duplicates; there must be one of each."""
    firsts = IdSet()
    first = 0
    for path, batch in _raw(stored, progress):
        keys, known = row_keys(path, stored.about, batch)
        rows = np.flatnonzero(known & ~whole_numbers(path, batch, "is_duplicate"))
        wrong = np.zeros(len(keys), dtype=bool)
        wrong[rows] = firsts.add(keys[rows])
        findings.report("rows not marked as duplicates", wrong, path.name, first)
        first += batch.num_rows
    return firsts


def _raw(
    stored: StoredDataset, progress: StageProgress | None
) -> "Iterator[tuple[Path, pa.RecordBatch]]":
    n_rows = 0
    for file in stored.files:
        for batch in file.batches():
            yield file.path, batch
            n_rows += batch.num_rows
            if progress is not None:
                progress("rows", n_rows, stored.n_rows)


def _assignment(
    stored: StoredDataset, source: DatasetSource, findings: Findings
) -> Assignment | None:
    said = stored.about.split
    if said is None:
        return None
    try:
        names = ("by", "validation", "test", "seed", "group")
        chosen = {name: said[name] for name in names}
        return Split(**chosen, hold_out=tuple(said["hold_out"])).prepare(source)
    except FileFormatError:
        raise
    except (ArchGymError, KeyError, TypeError) as error:
        findings.add("splits that cannot be made again", str(error).removesuffix("."))
        return None


def _by_task(
    about: About, path: Path, batch: "pa.RecordBatch", findings: Findings
) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    codes, digests = coded(batch, "task_digest")
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        task = about.task_by_digest.get(digests[code]) if code >= 0 else None
        if task is None:
            findings.add("rows of no known task", f"in {path.name}", len(rows))
        else:
            yield task, rows


# ---- simulation


@final
class _Sample:
    """Rows that are simulated again, by task."""

    def __init__(self, about: About, chosen: np.ndarray) -> None:
        self._about = about
        self._chosen = chosen
        self._parts: dict[str, list[dict[str, Any]]] = {}

    def wanted(self, first: int, rows: np.ndarray) -> np.ndarray:
        """Return True for sampled rows of a batch that begins at row `first`."""
        return rows[np.isin(rows + first, self._chosen)]

    def take(
        self,
        path: Path,
        task: Mapping[str, Any],
        declaration: Declaration,
        batch: "pa.RecordBatch",
        stored: StoredDataset,
        findings: Findings,
    ) -> None:
        # What cannot be compared is not counted: rows on which the simulator broke, and rows of no
        # workload of their task, which are reported.
        broke = batch.column("error").is_valid().to_numpy(zero_copy_only=False)
        broke &= ~whole_numbers(path, batch, "feasible")
        is_known = of_own_workload(batch, task)
        batch = batch.filter(is_known & ~broke)
        labels, names = coded(batch, "workload")
        reasons, texts = coded(batch, "reason")
        try:
            indices = decoded_indices(path, batch, declaration.space, stored.columns)
        except FileFormatError:
            return
        self._parts.setdefault(str(task["digest"]), []).append(
            {
                "indices": indices,
                "workload": np.array([*names, ""], dtype=object)[labels],
                "reason": np.array([*texts, ""], dtype=object)[reasons],
                "reward": numbers(batch, "reward"),
                "values": np.stack([numbers(batch, s.name) for s in declaration.metrics], axis=1),
            }
        )

    def compare(
        self, findings: Findings, simulator: Simulator | None, progress: StageProgress | None
    ) -> int:
        """Simulate them, and return the number of rows."""
        n = 0
        total = sum(len(part["indices"]) for parts in self._parts.values() for part in parts)
        for digest, parts in self._parts.items():
            whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            recipe = self._about.task_by_digest[digest]
            try:
                task = Task.from_json(_without_table(recipe), simulator)
                strange = set(whole["workload"]) - {w.label for w in task.workloads}
                if strange:
                    raise InvalidArgumentError(
                        f"its workload {min(strange)!r} has another name where it is simulated"
                    )
                for start in range(0, len(whole["indices"]), _AT_ONCE):
                    rows = {name: v[start : start + _AT_ONCE] for name, v in whole.items()}
                    self._compare(task, rows, task.evaluate(rows["indices"]), findings)
                    n += len(rows["indices"])
                    if progress is not None:
                        progress("simulated rows", n, total)
            except ArchGymError as error:
                why = " ".join(str(error).split()).removesuffix(".")
                findings.add("tasks that cannot be simulated again", f"{recipe['id']!r}: {why}")
        return n

    def _compare(
        self, task: Task, rows: Mapping[str, np.ndarray], results: Any, findings: Findings
    ) -> None:
        places = {w.label: place for place, w in enumerate(task.workloads)}
        place = np.array([places[label] for label in rows["workload"]], dtype=np.int64)
        row = np.arange(len(place))
        reason = results.reason[row, place]
        said = np.array([task.simulator.spec.reasons[max(r, 0)] for r in reason], dtype=object)
        values = results.values[row, place]
        differs = {
            "simulated rows with another reason": said != rows["reason"],
            "simulated rows with another reward": ~_equal(results.reward, rows["reward"]),
        }
        for column, spec in enumerate(task.metrics):
            kind = f"simulated rows with another `{spec.name}`"
            both = ~_equal(values[:, column], rows["values"][:, column])
            differs[kind] = both & ((reason == FEASIBLE) | ~np.isnan(rows["values"][:, column]))
        for kind, wrong in differs.items():
            findings.report(kind, wrong, f"task {task.id!r}")


def _without_table(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a task's recipe without its table, so that the simulator itself evaluates designs."""
    stand_in = recipe.get("stand_in")
    if isinstance(stand_in, Mapping) and stand_in.get("kind") == "table":
        return {name: part for name, part in recipe.items() if name != "stand_in"}
    return recipe


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return True if numbers are the same bit for bit; all NaN count as one."""
    bits = [np.ascontiguousarray(values).view(np.int64) for values in (one, other)]
    same: np.ndarray = bits[0] == bits[1]
    same |= np.isnan(one) & np.isnan(other)
    return same


_MAX_SEED = 2**64


def of_own_workload(batch: "pa.RecordBatch", task: Mapping[str, Any]) -> np.ndarray:
    """Return True for rows of a task on one of its workloads, (n,) bool."""
    labels, names = coded(batch, "workload")
    own = {label for label, _ in task_workloads(task)}
    return np.asarray(np.array([*(name in own for name in names), False])[labels])


def check_studies(
    path: Path, batch: "pa.RecordBatch", about: About, findings: Findings, first: int
) -> None:
    """Report rows whose facts about their study differ from the metadata."""
    studies: dict[str, list[Mapping[str, Any]]] = {}
    for study in about.studies:
        studies.setdefault(str(study["id"]), []).append(study)
    codes, ids = coded(batch, "study_id")
    known = np.array([*(study in studies for study in ids), False])[codes]
    findings.report("rows of no known study", ~known, path.name, first)
    for code in np.unique(codes[known]).tolist():
        is_of_study = codes == code
        # A study that several agents or sessions ran has an entry for each.
        best: dict[str, np.ndarray] = {}
        fewest = np.full(batch.num_rows, np.iinfo(np.int64).max)
        for study in studies[ids[code]]:
            wrong = _unlike(batch, study)
            n_wrong = np.sum(list(wrong.values()), axis=0)
            for name, rows in wrong.items():
                best[name] = np.where(n_wrong < fewest, rows, best.get(name, rows))
            fewest = np.minimum(fewest, n_wrong)
        for name, rows in best.items():
            kind = f"rows with another `{name}` than their study"
            findings.report(kind, rows & is_of_study, path.name, first)


def _unlike(batch: "pa.RecordBatch", study: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return rows that differ from what the metadata say of a study, by column."""
    texts = {
        "study": study["folder"],
        "agent": study.get("agent"),
        "hyperparameters": json.dumps(study.get("hyperparameters"), sort_keys=True),
        "task_digest": study["task_digest"],
    }
    wrong = {name: ~_says(batch, name, text) for name, text in texts.items()}
    column, seed = batch.column("seed"), study.get("seed")
    if type(seed) is int and 0 <= seed < _MAX_SEED:
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        wrong["seed"] = (values != np.uint64(seed)) | _is_given(batch, "seed", False)
    else:
        wrong["seed"] = _is_given(batch, "seed", True)
    return wrong


def _says(batch: "pa.RecordBatch", name: str, text: str | None) -> np.ndarray:
    """Return True where a column of repeating texts has this text; None is null."""
    codes, texts = coded(batch, name)
    absent = -1 if text is None else -2
    return np.asarray(codes == (texts.index(text) if text in texts else absent))


def _is_given(batch: "pa.RecordBatch", name: str, given: bool = True) -> np.ndarray:
    """Return True where a column is not null."""
    valid: np.ndarray = batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    return valid if given else ~valid


def check_task_rows(
    path: Path,
    batch: "pa.RecordBatch",
    task: Mapping[str, Any],
    ids: DesignIds,
    stored: StoredDataset,
    findings: Findings,
) -> None:
    """Report what is wrong with rows of one task.

    Args:
      ids: Numbers the designs of its space.
    """
    place = path.name
    declaration = stored.about.declaration_of(task)
    _check_task(path, batch, task, findings)
    _check_absent(path, batch, declaration, stored, findings)
    wrong = ~of_own_workload(batch, task)
    findings.report("rows of no workload of their task", wrong, place)
    _check_results(path, batch, declaration, findings)
    try:
        indices = decoded_indices(path, batch, declaration.space, stored.columns)
    except FileFormatError as error:
        findings.add("columns of parameters with values outside the space", str(error))
        return
    wrong = decoded_ids(path, batch) != ids.of(indices)
    findings.report("rows whose `design` is not that of their parameters", wrong, place)


def _check_task(
    path: Path, batch: "pa.RecordBatch", task: Mapping[str, Any], findings: Findings
) -> None:
    texts = {
        "task": task["id"],
        "simulator": task["simulator"],
        "options": json.dumps(task["options"], sort_keys=True),
        "fidelity": task["fidelity"],
        "space": task["space_name"],
    }
    wrong = {name: ~_says(batch, name, text) for name, text in texts.items()}
    version = whole_numbers(path, batch, "simulator_version")
    wrong["simulator_version"] = version != task["version"]
    for name, rows in wrong.items():
        findings.report(f"rows with another `{name}` than their task", rows, path.name)


def _check_absent(
    path: Path,
    batch: "pa.RecordBatch",
    declaration: Declaration,
    stored: StoredDataset,
    findings: Findings,
) -> None:
    """Report values of parameters and metrics that only other tasks of the dataset have."""
    own = {stored.columns.of_parameter[p.name] for p in declaration.space.parameters}
    own |= {spec.name for spec in declaration.metrics}
    for name in (*stored.columns.of_parameter.values(), *stored.columns.metrics):
        if name not in own:
            wrong = _is_given(batch, name)
            findings.report(f"rows with a `{name}`, which their task has not", wrong, path.name)


def _check_results(
    path: Path, batch: "pa.RecordBatch", declaration: Declaration, findings: Findings
) -> None:
    place = path.name
    feasible = whole_numbers(path, batch, "feasible")
    broke = _is_given(batch, "error")
    findings.report("feasible rows with an error", feasible & broke, place)
    reasons, texts = coded(batch, "reason")
    is_listed = np.array([*(text in declaration.reasons[1:] for text in texts), False])[reasons]
    wrong = np.where(feasible | broke, reasons >= 0, ~is_listed)
    findings.report("rows with a reason that does not fit", wrong, place)
    for spec in declaration.metrics:
        values = numbers(batch, spec.name)
        # Nothing at all stands where a design was not built.
        wrong = np.where(feasible, ~np.isfinite(values), _is_given(batch, spec.name))
        findings.report(f"rows with a number in `{spec.name}` that does not fit", wrong, place)
    findings.report("rows without a reward", ~np.isfinite(numbers(batch, "reward")), place)
