"""ArchGym's own entry to the accuracy board: constants fitted to the rows of each group.

    archgym bench accuracy run "python -m evidence.moe.entry" --out FOLDER

Intervals have the errors of rows that may be learned from, where thirds of the configurations, and
values of what is new in the questions, are left out in turn.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.bench.accuracy import Row, release_of
from archgym.simulators.moe.intervals import KNOWN, ends_of
from evidence.moe.bars import SAME, Axis, as_served, learned
from evidence.moe.fitting import Predictions, Problem, fit, problem, serve
from evidence.moe.measured import Measured, measured_row
from evidence.moe.roofline import read_rows, write_predictions
from evidence.moe.serving import configuration_folds

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_NAMES: Final = {
    "tensor": "tp", "data": "dp", "expert": "ep", "release": "engine_version",
    "prompt_tokens": "isl", "output_tokens": "osl", "shortest": "random_range_ratio",
    "prompt_mean": "in_mean", "output_mean": "out_mean", "clients": "conc", "campaign": "src",
}  # fmt: skip
_NEWS: Final[Mapping[str, Callable[[Row], str]]] = {
    "gpu": lambda row: row["gpu"],
    "model": lambda row: row["architecture"],
    "engine": lambda row: row["engine"],
    "release": release_of,
}
# chosen: so many fits for what is new; an interval's end where too few rows say one [log].
_FOLDS, _FURTHEST = 5, 3.0


def measured(row: Row) -> Measured:
    """Return a row of the board as the fits take it."""
    cells = {_NAMES.get(name, name): text or "" for name, text in row.items()}
    notes = {"": "prefix cache", "median": "compilation"}
    if not row["ttft"]:
        cells |= {"ttft_mean_ms": "", "ttft_median_ms": ""}
    if row["prompt_mean"]:
        cells = as_served({**cells, "ttft_note": notes.get(row["ttft"], "")})
    cells["model"] = SAME.get(cells["model"], cells["model"])
    return measured_row(cells, {}, {})


def _times(rows: Sequence[Row], found: Predictions) -> dict[str, Floats]:
    by_median = np.array([row["ttft"] == "median" for row in rows])
    ttft = np.where(by_median, found.ttft_median_ms, found.ttft_ms)
    return {"TPOT": found.tpot_ms, "TTFT": ttft}


def _left_out(asked: Problem, rows: Sequence[Row], tests: Sequence[Indices]) -> Axis:
    """Return errors of rows that are left out in turn."""
    n = len(rows)
    errors = {name: np.full(n, np.nan) for name in ("TPOT", "TTFT")}
    fold = np.full(n, -1)
    for place, test in enumerate(tests):
        fitted = fit(asked, np.setdiff1d(np.arange(n), test))
        some = [rows[at] for at in test]
        found = _times(some, serve(asked, fitted, test))
        goals = {
            "TPOT": [float(row["tpot_mean_ms"] or "nan") for row in some],
            "TTFT": [float(row.get(f"ttft_{row['ttft']}_ms") or "nan") for row in some],
        }
        for name, values in found.items():
            errors[name][test] = np.log(values / np.array(goals[name]))
        fold[test] = place
    return Axis({"as written": errors}, fold)


def main() -> None:
    """Predict the group of a folder."""
    folder = Path(sys.argv[-1])
    learn, asked = (read_rows(folder / f"{name}.csv") for name in ("learn", "questions"))
    ready = problem([measured(row) for row in [*learn, *asked]])
    n = len(learn)
    places = np.arange(n, n + len(asked))
    predicted = _times(asked, serve(ready, fit(ready, np.arange(n)), places))
    thirds = configuration_folds([ready.rows[at] for at in range(n)])
    found = {KNOWN: _left_out(ready, learn, [np.flatnonzero(test) for test in thirds])}
    news: list[list[str]] = [[] for _ in asked]
    for axis, of in _NEWS.items():
        known = [of(row) for row in learn]
        new = [at for at, row in enumerate(asked) if of(row) not in known]
        for at in new:
            news[at].append(axis)
        if new:
            at_value = {value: at % _FOLDS for at, value in enumerate(sorted(set(known)))}
            dealt = np.array([at_value[value] for value in known])
            tests = [np.flatnonzero(dealt == at) for at in sorted(set(at_value.values()))]
            found[axis] = _left_out(ready, learn, tests)
    table = learned(found, np.array([row["engine"] for row in learn]), np.ones(n, dtype=bool))
    columns: dict[str, Floats | list[float]] = {}
    for name, values in predicted.items():
        ends = np.array(
            [ends_of(table, name, new, row["engine"]) for new, row in zip(news, asked, strict=True)]
        ).clip(-_FURTHEST, _FURTHEST)
        columns[f"{name.lower()}_ms"] = values
        columns[f"{name.lower()}_low_ms"] = values * np.exp(ends[:, 0])
        columns[f"{name.lower()}_high_ms"] = values * np.exp(ends[:, 1])
    write_predictions(folder, asked, columns)


if __name__ == "__main__":
    main()
