"""Accuracy of any simulator on measured LLM serving: questions by what is left out, and scores.

Each axis leaves one kind of thing out: a configuration, GPU, model, engine or release. Its groups
are asked in turn; all other rows may be learned from. Predictions are a CSV with the columns
`axis`, `id` and any of `tpot_ms`, `ttft_ms`, each with a 90 % interval such as `tpot_low_ms` and
`tpot_high_ms`.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.files.storage import atomic_folder, open_file, require_free, storage_errors

TABLE: Final = Path(__file__).parent / "data" / "measured-serving.csv"
"""Measured rows; `python -m evidence.moe.board` writes it."""
QUESTION_COLUMNS: Final = (
    "model", "architecture", "gpu", "gpus", "tensor", "data", "expert", "engine", "release",
    "precision", "prompt_tokens", "output_tokens", "shortest", "prompt_mean", "output_mean",
    "clients", "requests", "campaign", "date", "ttft",
)  # fmt: skip
"""Columns of a question besides its id; `ttft` says which statistic is asked."""
ANSWERS: Final = (
    "tpot_mean_ms", "tpot_median_ms", "ttft_mean_ms", "ttft_median_ms", "output_per_s_gpu",
)  # fmt: skip
"""Columns of what was measured."""
AXES: Final = ("configuration", "gpu", "model", "engine", "release")
"""Kinds of what is left out."""
QUANTITIES: Final = ("tpot", "ttft")
"""Times that are scored."""
Row = Mapping[str, str]
"""A measured row by column."""
_CONFIGURATION_FOLDS, _RELEASE_FOLDS = 3, 5
_DEPLOYMENT: Final = ("model", "precision", "gpu", "engine")
_LAYOUT: Final = (*_DEPLOYMENT, "tensor", "data", "expert", "prompt_tokens", "output_tokens")
_VERSION: Final = re.compile(r"(\d+\.\d+)(\.\d+)?")
MAX_BYTES: Final = 2**26
"""chosen: a hundred times the predictions of all rows [byte]."""
# chosen: a time that no server takes.
_MAX_MS: Final = 1e12
_MAX_ECHO: Final = 60
TIMES: Final = [f"{name}{end}_ms" for name in QUANTITIES for end in ("", "_low", "_high")]
"""Columns of predictions besides axis and id."""


@cache
def measured_rows() -> tuple[Row, ...]:
    """Return the measured rows that ship."""
    return tuple(csv.DictReader(io.StringIO(TABLE.read_text("utf-8"))))


@cache
def split() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Return the ids of each group that is left out, by axis.

    Configurations are dealt into thirds, and releases into fifths, so that neighbours of a release
    stay. Rows that name no release are asked on no axis `release`. The group of a model has all
    models of its dimensions.
    """
    rows = measured_rows()
    names = {
        "configuration": _thirds(rows),
        "gpu": [row["gpu"] for row in rows],
        "model": [row["architecture"] for row in rows],
        "engine": [row["engine"] for row in rows],
        "release": _fifths([release_of(row) for row in rows]),
    }
    return {
        axis: {
            group: tuple(row["id"] for row, own in zip(rows, of, strict=True) if own == group)
            for group in sorted(set(of) - {""})
        }
        for axis, of in names.items()
    }


def _thirds(rows: Sequence[Row]) -> list[str]:
    """Return a third of each row; those of one model, precision, GPU and engine are in turn."""
    keys = {tuple(row[name] for name in _LAYOUT) for row in rows}
    deals = sorted(
        keys,
        key=lambda key: (key[: len(_DEPLOYMENT)], hashlib.sha256(repr(key).encode()).digest()),
    )
    third = {key: f"third-{at % _CONFIGURATION_FOLDS + 1}" for at, key in enumerate(deals)}
    return [third[tuple(row[name] for name in _LAYOUT)] for row in rows]


def _fifths(releases: Sequence[str]) -> list[str]:
    known = sorted(set(releases) - {""})
    fifth = {name: f"fifth-{at % _RELEASE_FOLDS + 1}" for at, name in enumerate(known)}
    return [fifth.get(name, "") for name in releases]


def release_of(row: Row) -> str:
    """Return engine and minor release of a row; patch releases of SGLang differ like minor ones."""
    found = _VERSION.search(row["release"])
    if found is None:
        return f"{row['engine']} development" if row["release"] else ""
    patch = found[2] or "" if row["engine"] == "sglang" else ""
    return f"{row['engine']} {found[1]}{patch}"


def split_digest() -> str:
    """Return the checksum of the rows and of their groups."""
    data = TABLE.read_bytes() + json.dumps(split(), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def group_files(axis: str, group: str) -> dict[str, str]:
    """Return `questions.csv` without answers and `learn.csv` with them, of a group.

    Args:
      axis: One of `AXES`.
      group: One of the axis' groups in `split`.
    """
    held_out = set(split()[axis][group])
    rows = measured_rows()
    asked = [row for row in rows if row["id"] in held_out]
    known = [row for row in rows if row["id"] not in held_out]
    return {
        "questions.csv": _csv(("id", *QUESTION_COLUMNS), asked),
        "learn.csv": _csv(("id", *QUESTION_COLUMNS, *ANSWERS), known),
    }


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_questions(folder: str | Path) -> None:
    """Write the files of all groups into a new folder, as AXIS/GROUP/, and `split.json`.

    Raises:
      StorageError: The folder is there, or cannot be written.
    """
    target = Path(folder)
    require_free(target)
    with atomic_folder(target) as made, storage_errors(target, "written"):
        for axis, groups in split().items():
            for group in groups:
                place = made / axis / group
                place.mkdir(parents=True)
                for name, text in group_files(axis, group).items():
                    (place / name).write_text(text, encoding="utf-8")
        document = {"format": 1, "digest": split_digest(), "axes": split()}
        (made / "split.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


@final
@dataclass(frozen=True, kw_only=True)
class AccuracyScore:
    """Errors of one quantity on one axis [%]; a miss has no bound.

    Attributes:
      axis: Kind of what was left out.
      quantity: `tpot` or `ttft`.
      rows: Rows that are asked.
      missing: Those without a prediction, which count as misses.
      median, p90: Absolute errors; None where so many rows are missing.
      bias: Geometric mean of predicted over measured, minus 100 %, of what was predicted.
      coverage: Share of rows in their stated interval; a row without one is outside.
      width: Median of an interval's upper over its lower end; None without intervals.
    """

    axis: str
    quantity: str
    rows: int
    missing: int
    median: float | None
    p90: float | None
    bias: float | None
    coverage: float
    width: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the score as data."""
        return asdict(self)


def score(path: str | Path) -> list[AccuracyScore]:
    """Return the scores of a file of predictions, by axis and quantity.

    Raises:
      FileFormatError: The file is torn or hostile; the message names the line.
      StorageError: It cannot be read.
    """
    return scores(read_predictions(path))


def scores(predicted: Mapping[tuple[str, str], Mapping[str, float]]) -> list[AccuracyScore]:
    """Return the scores of predictions, as `read_predictions` gives them."""
    by_id = {row["id"]: row for row in measured_rows()}
    found = []
    for axis, groups in split().items():
        ids = [one for group in groups.values() for one in group]
        for quantity in QUANTITIES:
            pairs = [
                (goal, predicted.get((axis, one), {}))
                for one in ids
                if (goal := goal_of(by_id[one], quantity)) is not None
            ]
            found.append(_score(axis, quantity, pairs))
    return found


def goal_of(row: Row, quantity: str) -> float | None:
    """Return what a row is asked for [ms]; None where it is not."""
    name = f"tpot_{'mean' if row['tpot_mean_ms'] else 'median'}_ms"
    if quantity == "ttft":
        name = f"ttft_{row['ttft']}_ms"
    return float(row[name]) if row.get(name) else None


def _score(
    axis: str, quantity: str, pairs: Sequence[tuple[float, Mapping[str, float]]]
) -> AccuracyScore:
    name, low, high = (f"{quantity}{end}_ms" for end in ("", "_low", "_high"))
    ratios = np.array([of.get(name, math.inf) / goal for goal, of in pairs])
    logs = np.log(ratios[np.isfinite(ratios)])
    held = [of.get(low, math.inf) <= goal <= of.get(high, -math.inf) for goal, of in pairs]
    widths = [of[high] / of[low] for _, of in pairs if low in of]
    # The error below which a share lies; a quantile between rows would mix misses in.
    median, p90 = np.quantile(100.0 * np.abs(ratios - 1.0), (0.5, 0.9), method="higher").tolist()
    return AccuracyScore(
        axis=axis,
        quantity=quantity,
        rows=len(pairs),
        missing=len(pairs) - len(logs),
        median=median if math.isfinite(median) else None,
        p90=p90 if math.isfinite(p90) else None,
        bias=100.0 * math.expm1(float(logs.mean())) if len(logs) else None,
        coverage=100.0 * float(np.mean(held)),
        width=float(np.median(widths)) if widths else None,
    )


def read_predictions(
    path: str | Path, only: tuple[str, str] | None = None
) -> dict[tuple[str, str], dict[str, float]]:
    """Return predictions by axis and id, then by column; empty cells are left out.

    Args:
      path: File of all groups, or of one.
      only: Axis and group of a file of one, which has no column `axis`.

    Raises:
      FileFormatError: The file is torn or hostile; the message names the line.
      StorageError: It cannot be read.
    """
    path = Path(path)
    with open_file(path) as file, storage_errors(path, "read"):
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _refused(path, None, f"predictions must have at most {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _refused(path, line, "predictions must be UTF-8") from None
    keys = {"axis", "id"} if only is None else {"id"}
    reader = csv.reader(io.StringIO(text), strict=True)
    found: dict[tuple[str, str], dict[str, float]] = {}
    try:
        columns = next(reader, [])
        if len(set(columns)) < len(columns) or not keys <= set(columns) <= {*keys, *TIMES}:
            what = f"columns must be {', '.join(sorted(keys))} and some of {', '.join(TIMES)}"
            raise _refused(path, 1, what)
        asked = {axis: {i for ids in of.values() for i in ids} for axis, of in split().items()}
        if only is not None:
            asked = {only[0]: set(split()[only[0]][only[1]])}
        for cells in reader:
            if len(cells) != len(columns):
                what = f"a row must have {len(columns)} cells; it has {len(cells)}"
                raise _refused(path, reader.line_num, what)
            row = dict(zip(columns, cells, strict=True))
            axis, one = row.pop("axis") if only is None else only[0], row.pop("id")
            if one not in asked.get(axis, ()):
                what = f"axis and id must be those of a question; got {axis!r:.60}, {one!r:.60}"
                raise _refused(path, reader.line_num, what)
            if (axis, one) in found:
                raise _refused(path, reader.line_num, f"{axis} {one} must come once")
            try:
                found[axis, one] = _times(row)
            except InvalidArgumentError as error:
                raise _refused(path, reader.line_num, str(error)) from None
    except csv.Error as error:
        raise _refused(path, reader.line_num, f"predictions must be CSV; {error}") from None
    return found


def _times(row: Row) -> dict[str, float]:
    """Return the times of a row.

    Raises:
      InvalidArgumentError: One is not a time, or an interval lacks an end.
    """
    found = {}
    for name, text in row.items():
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0.0 < value <= _MAX_MS:
            raise InvalidArgumentError(
                f"`{name}` must be a number above 0, at most {_MAX_MS:g}; got {text[:_MAX_ECHO]!r}"
            )
        found[name] = value
    for name in QUANTITIES:
        low, high = (found.get(f"{name}_{end}_ms") for end in ("low", "high"))
        if (low is None) != (high is None) or (low is not None and high is not None and low > high):
            raise InvalidArgumentError(
                f"`{name}_low_ms` and `{name}_high_ms` must both be given, in this order"
            )
    return found


def _refused(path: Path, line: int | None, what: str) -> FileFormatError:
    return FileFormatError(path, line, what, "Correct the file")
