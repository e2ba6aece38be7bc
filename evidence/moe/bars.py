"""Bars of the serving clock: errors on rows that a fit has not seen, for each kind of new question.

    python -m evidence.moe.bars REFERENCE [--sealed] [--write] [--json FILE]

One line for each axis: constants are fitted without the configuration, the GPU, the model, the
engine, its release, or the fewest or most clients, and predict the rows left out. `exact` gives
each row all settings that its source tells. `as written` gives the model, server, engine,
precision, lengths and number of clients alone, with the row's GPUs, as a user would. Rows of
`SEALED` groups take part in no fit and no choice; they are predicted with `--sealed`.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.cli.console.terminal import notice, say
from archgym.errors import FileFormatError
from archgym.simulators.moe.intervals import KNOWN, Ends, ends_of
from archgym.simulators.moe.workloads.requests import uniform_requests
from evidence.moe.fitting import Predictions, fit, problem, serve
from evidence.moe.measured import Measured, known_gpus, known_models, measured_row, read_serving
from evidence.moe.row import read_table, reading
from evidence.moe.serving import configuration_folds

Floats = npt.NDArray[np.float64]

SEALED: Final[Mapping[str, frozenset[str]]] = {
    "gpu": frozenset({"MI300X"}),
    "model": frozenset({"GLM-4.7-Flash", "Qwen3-Coder-Next"}),
    "engine_version": frozenset({"0.5.8"}),
}
"""Whole groups of `further/serving_more.csv` that no fit and no choice may use."""
# Releases whose first requests compile: their means have seconds that no median has.
_COMPILES: Final = ("0.5.5", "0.5.6", "0.5.7")
_COMPILATION, _CACHED = "compilation", "prefix cache"
SAME: Final = {
    "DeepSeek-V3.1": "deepseek-v3", "DeepSeek-V3.2": "deepseek-v3",
    "DeepSeek-Math-V2": "deepseek-v3", "Qwen3-Coder-Next": "qwen3-next-80b-a3b",
}  # fmt: skip
"""Models of other names with the same dimensions; attention to chosen tokens is left out."""
WRITTEN: Final = ("model", "hardware", "engine", "precision", "lengths", "clients")
"""Options that a user writes."""
_ANY_LENGTH: Final = 1e-6
_RELEASE_FOLDS: Final = 5
# chosen: a fifth of the rows at each end.
_FEW_CLIENTS, _MANY_CLIENTS = 4, 100
_LEAST_ROWS: Final = 20
# chosen: beyond each end of an interval for what is new, so that groups left out are held: they
# are few.
_LOW: Final = 0.04
INTERVALS: Final = (
    Path(__file__).parents[2] / "archgym" / "simulators" / "moe" / "data" / "intervals.json"
)
"""Ends of 90 % intervals of ``log(measured / predicted)`` that ship, by axis and metric."""
AXES: Final[Mapping[str, Callable[[Measured], str] | None]] = {
    KNOWN: None,
    "GPU": lambda row: row.names[2],
    "model": lambda row: row.names[0],
    "engine": lambda row: row.names[3],
    "release": lambda row: f"{row.names[3]} {row.options['release']}",
    "load": lambda row: (
        "few" if row.clients <= _FEW_CLIENTS else "many" if row.clients >= _MANY_CLIENTS else ""
    ),
}
"""What is left out, and the group of a row, "" for none; None for thirds of the configurations."""


def read_more(reference: Path, *, sealed: bool) -> list[Measured]:
    """Return rows of `further/serving_more.csv` without drafts, of models that are known.

    Args:
      reference: Folder of the reference.
      sealed: True for the rows of sealed groups alone, False for all others.

    Raises:
      FileFormatError: A row is something else.
    """
    path = reference / "further" / "serving_more.csv"
    if not path.exists():
        return []
    models, gpus = known_models(reference), known_gpus(reference)
    found = []
    with reading(path):
        table = read_table(path)
    for line, cells in enumerate(table, start=2):
        is_sealed = any(cells[key] in names for key, names in SEALED.items())
        if cells["suspect"] or cells["spec_decoding"] != "none" or is_sealed != sealed:
            continue
        try:
            found.append(measured_row(as_served(cells), models, gpus))
        except (KeyError, ValueError) as error:
            if "a model that is known" not in str(error):
                raise FileFormatError(
                    path, line, f"a measured row must name {error}", "Correct the row"
                ) from None
            notice(f"Left out: line {line}, {error}")
    return found


def as_served(cells: Mapping[str, str]) -> dict[str, str]:
    """Return a row whose lengths have the means that were served, as `measured_row` takes it."""
    means = float(cells["in_mean"]), float(cells["out_mean"])
    n = int(float(cells["requests"]))
    drawn = uniform_requests(n, 100_000, 100_000, _ANY_LENGTH)
    longest = [
        round(1e5 * mean / float(tokens.mean()))
        for mean, tokens in zip(means, (drawn.prompt_tokens, drawn.output_tokens), strict=True)
    ]
    found = {
        **cells,
        "model": SAME.get(cells["model"], cells["model"]),
        "isl": str(longest[0]), "osl": str(longest[1]),
        "random_range_ratio": str(_ANY_LENGTH),
        "requests": str(n),
        # The rate has start and end of a short run in it.
        "out_tok_s_gpu": "",
    }  # fmt: skip
    if _COMPILATION in cells["ttft_note"]:
        found["ttft_mean_ms"] = ""
    if _CACHED in cells["ttft_note"]:
        found |= {"ttft_mean_ms": "", "ttft_median_ms": ""}
    return found


def judged_by_median(row: Measured) -> bool:
    """Return True if a row's median TTFT counts: its mean has compilation in it, or is unknown."""
    compiles = any(row.options["release"].endswith(release) for release in _COMPILES)
    return (compiles or np.isnan(row.ttft_ms)) and not np.isnan(row.ttft_median_ms)


def as_written(row: Measured) -> Measured:
    """Return a row with what a user writes, and the row's GPUs."""
    options = {name: row.options[name] for name in WRITTEN}
    if float(row.options["shortest"]) <= _ANY_LENGTH:
        # Who has requests of any length writes those of the same mean.
        longest = [round(int(text) / 1.8) for text in options["lengths"].split("+")]
        options["lengths"] = "+".join(map(str, longest))
    design: dict[str, Any] = dict(replace(row, options=options).simulator().space.default)
    design |= {name: row.design[name] for name in ("tensor", "data", "spread")}
    return replace(row, options=options, design=design)


def errors_of(rows: Sequence[Measured], found: Predictions) -> dict[str, Floats]:
    """Return ``log(predicted / measured)`` of TPOT and TTFT, NaN where nobody measured."""
    by_median = np.array([judged_by_median(row) for row in rows])
    means, medians = (
        np.array([getattr(row, name) for row in rows]) for name in ("ttft_ms", "ttft_median_ms")
    )
    first = np.where(by_median, found.ttft_median_ms, found.ttft_ms)
    return {
        "TPOT": np.log(found.tpot_ms / np.array([row.tpot_ms for row in rows])),
        "TTFT": np.log(first / np.where(by_median, medians, means)),
    }


def summary(errors: Floats) -> dict[str, float]:
    """Return number, median, 90th percentile and bias of errors [%]."""
    known = errors[~np.isnan(errors)]
    if not len(known):
        return {"rows": 0}
    off = 100.0 * np.abs(np.exp(known) - 1.0)
    return {
        "rows": len(known),
        "median": float(np.median(off)),
        "p90": float(np.quantile(off, 0.9)),
        "bias": 100.0 * (float(np.exp(known.mean())) - 1.0),
    }


@final
@dataclass(frozen=True, eq=False)
class Axis:
    """Errors where one kind of thing is left out.

    Attributes:
      errors: By `exact` or `as written`, then by metric, of each row.
      fold: Fold of each row that was predicted; -1 for others.
    """

    errors: Mapping[str, Mapping[str, Floats]]
    fold: npt.NDArray[np.int64]


def _ends(errors: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Return the ends of an interval that holds 90 % of ``log(measured / predicted)``."""
    known = ~np.isnan(errors)
    off = -errors[known]
    # chosen: as many rows as leave something beyond both ends.
    if len(off) < _LEAST_ROWS:
        return -np.inf, np.inf
    if weights is None:
        low, high = np.quantile(off, (0.05, 0.95))
    else:
        order = np.argsort(off)
        share = np.cumsum(weights[known][order])
        low, high = np.interp((_LOW, 1.0 - _LOW), share / share[-1], off[order])
    return float(low), float(high)


def learned(
    found: Mapping[str, Axis], engines: npt.NDArray[np.str_], used: npt.NDArray[np.bool_]
) -> Ends:
    """Return ends of intervals from errors of some of the rows, as users write them.

    Args:
      found: Errors by axis.
      engines: Engine of each row.
      used: True for the rows to learn from.
    """
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for axis, of in found.items():
        at = used & (of.fold >= 0)
        for metric, errors in of.errors["as written"].items():
            if axis != KNOWN:
                # A group with four times as many rows counts twice.
                sizes = np.bincount(of.fold[of.fold >= 0])
                weights = np.asarray(1.0 / np.sqrt(sizes[of.fold[at]]), dtype=np.float64)
                table.setdefault(axis, {})[metric] = _ends(errors[at], weights)
                continue
            table.setdefault(axis, {})[metric] = _ends(errors[at])
            for engine in sorted(set(engines)):
                own = _ends(errors[at & (engines == engine)])
                if np.isfinite(own).all():
                    table.setdefault(f"{axis} {engine}", {})[metric] = own
    return table


def coverage(
    found: Mapping[str, Axis], axis: str, metric: str, engines: npt.NDArray[np.str_]
) -> float:
    """Return the share of an axis' rows that lie in intervals learned from its other groups [%]."""
    of = found[axis]
    errors = of.errors["as written"][metric]
    inside = []
    for place in np.unique(of.fold[of.fold >= 0]):
        table = learned(found, engines, of.fold != place)
        for row in np.flatnonzero((of.fold == place) & ~np.isnan(errors)):
            new = () if axis == KNOWN else (axis,)
            low, high = ends_of(table, metric, new, "" if axis == "engine" else engines[row])
            inside.append(low <= -errors[row] <= high)
    return 100.0 * float(np.mean(inside))


def bars(rows: Sequence[Measured], sealed: Sequence[Measured] = ()) -> Iterator[tuple[str, Axis]]:
    """Yield each axis and its errors.

    Args:
      rows: Rows that are left out in turn.
      sealed: Rows that are predicted by a fit of all others.
    """
    every = [*rows, *sealed]
    asked = {
        "exact": problem(every),
        "as written": problem([as_written(row) for row in every]),
    }
    n = len(rows)
    folds: dict[str, list[npt.NDArray[np.int64]]] = {}
    if sealed:
        folds["sealed"] = [np.arange(n, len(every))]
    for axis, group in AXES.items():
        if group is None:
            folds[axis] = [np.flatnonzero(test) for test in configuration_folds(rows)]
            continue
        names = [group(row) for row in rows]
        fold = {name: place for place, name in enumerate(sorted(set(names) - {""}))}
        if axis == "release":
            # Neighbours of an engine's releases stay, and one fit leaves out several.
            fold = {name: place % _RELEASE_FOLDS for name, place in fold.items()}
        places = np.array([fold.get(name, -1) for name in names])
        folds[axis] = [np.flatnonzero(places == place) for place in sorted(set(fold.values()))]
    for axis, tests in folds.items():
        notice(f"{axis}: {len(tests)} fits …")
        parts: dict[str, dict[str, Floats]] = {
            column: {metric: np.full(len(every), np.nan) for metric in ("TPOT", "TTFT")}
            for column in asked
        }
        fold_of = np.full(len(every), -1)
        for place, test in enumerate(tests):
            fold_of[test] = place
            fitted = fit(asked["exact"], np.setdiff1d(np.arange(n), test))
            for column, of in asked.items():
                predicted = serve(of, fitted, test)
                for metric, errors in errors_of([every[row] for row in test], predicted).items():
                    parts[column][metric][test] = errors
        yield axis, Axis(parts, fold_of)


def main() -> None:
    """Print the bars; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--sealed", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="Write the intervals that ship.")
    parser.add_argument("--every", type=int, default=1, help="Take one of so many old rows.")
    given = parser.parse_args()
    folder = given.reference
    folder = folder / "moe" if (folder / "moe").is_dir() else folder
    old, _ = read_serving(folder)
    rows = [*old[:: given.every], *read_more(folder, sealed=False)]
    sealed = read_more(folder, sealed=True) if given.sealed else []
    every = [*rows, *sealed]
    lone = np.array([row.clients == 1 for row in every])
    engines = np.array([row.options["engine"] for row in every])
    document: dict[str, Any] = {}
    found: dict[str, Axis] = {}
    for axis, of in bars(rows, sealed):
        found[axis] = of
        for column, metrics in of.errors.items():
            for metric, errors in metrics.items():
                parts = {"all": np.ones(len(every), dtype=bool)}
                if metric == "TTFT":
                    parts["one client"] = lone
                for part, at in parts.items():
                    known = summary(errors[at])
                    document[f"{axis}, {column}, {metric}, {part}"] = known
                    if known["rows"]:
                        say(
                            f"{axis:14} {column:11} {metric} {part:11} {known['rows']:6.0f} rows  "
                            f"{known['median']:5.1f} / {known['p90']:5.1f} %  "
                            f"bias {known['bias']:+5.1f} %"
                        )
    found.pop("sealed", None)
    for axis in found:
        for metric in ("TPOT", "TTFT"):
            held = coverage(found, axis, metric, engines)
            document[f"{axis}, as written, {metric}, all"]["coverage"] = held
            say(f"{axis:14} {metric} 90 % interval of other groups holds {held:3.0f} %")
    table = learned(found, engines, np.ones(len(every), dtype=bool))
    if given.write:
        rounded = {
            axis: {metric: [round(end, 3) for end in ends] for metric, ends in of.items()}
            for axis, of in table.items()
        }
        INTERVALS.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
