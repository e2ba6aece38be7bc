"""Calibration of a simulator: its prior error, and what measurements say of it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, final

import numpy as np

from archgym.errors import ArchGymError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import Simulator
from archgym.files.json_types import tuples
from archgym.files.storage import file_checksums
from archgym.measurements.file import Measurement, Measurements
from archgym.measurements.points import SPACE, Points, joined, points_of
from archgym.measurements.prior import (
    ErrorPrior,
    chosen_prior,
    error_between,
    shipped_prior,
    with_signs,
)
from archgym.measurements.process import EXACT, OUTLIER, ErrorProcess, Residuals
from archgym.spaces.space import DesignSpace

# chosen: runs that errors are learned from; beyond them a matrix takes longer than it tells.
_MAX_RUNS: Final = 400
# chosen: an exact simulator's number equals a measured one to the digits that tools print.
_EQUAL: Final = 1e-5
# chosen: nobody writes fewer digits of a number that is to confirm an exact simulator.
_LEAST_DIGITS: Final = 4


class Declaration(NamedTuple):
    """Simulator of a study in the version of the study; its options where they are known."""

    name: str
    version: int
    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    options: Mapping[str, str] | None = None
    files: Mapping[str, str] = {}
    """Checksums of files that options name, by path, where they are known."""
    lowest: Mapping[str, float] = {}
    """Smallest recorded value of metrics, where it is known."""


@final
@dataclass(frozen=True, eq=False)
class Calibration:
    """Error of a simulator as it is known: from its prior, and from measurements.

    Attributes:
      prior: The prior.
      process: The same, conditioned on the measurements.
      n_runs: Measurements that count.
      n_designs: Points that were measured.
      notes: Oddities of them and of the prior, in words without a full stop.
      metrics: Metrics of the simulator by name, with the signs that they are taken to have.
      measured: Means of the measured metrics of each point, in the order of the process.
    """

    prior: ErrorPrior
    process: ErrorProcess
    n_runs: int = 0
    n_designs: int = 0
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, MetricSpec] = field(default_factory=dict)
    measured: tuple[Mapping[str, float], ...] = ()

    def errors(self, specs: Sequence[MetricSpec]) -> dict[int, np.ndarray]:
        """Return columns of metrics that have an error, with `ErrorPrior.error_of` of each."""
        found = ((c, s, self.prior.error_of(s.name)) for c, s in enumerate(specs))
        return {c: of for c, spec, of in found if of is not None and spec.formula is None}


def calibration_of(
    source: Simulator | Declaration,
    measurements: Measurements | None = None,
    not_compared: str = "",
) -> Calibration:
    """Return the calibration of a simulator.

    Args:
      source: The simulator, not restricted. Measurements that were imported with another version
        are left out, and those with other options where the prior was not learned.
      measurements: Measurements of it; None for the prior alone.
      not_compared: Reason why no tool was compared on the workload; "" if one was.
    """
    rows = () if measurements is None else measurements.rows
    of_source = [row for row in rows if row.simulator == source.name]
    source = _declared(source, of_source)
    specs, metrics = source.metrics, {spec.name: spec for spec in source.metrics}
    prior = (None if not_compared else shipped_prior(source.name, specs)) or chosen_prior(
        specs, not_compared or "no measured rows of this simulator are known"
    )
    if source.space.name.partition("{")[0] not in prior.known.get(SPACE, {source.space.name}):
        # A slower token lowers the rate of a closed loop, and not one that arrivals limit.
        independent = tuple(map(tuple, np.eye(len(prior.quantities)).tolist()))
        prior = replace(prior, correlation=independent)
    if not rows:
        return Calibration(prior, ErrorProcess(prior), metrics=metrics)
    files = source.files or file_checksums((source.options or {}).values())
    # The content of a file counts, however its path is written.
    named = {checksum: path for path, checksum in files.items()}
    rows = tuple(
        replace(
            row, facts={n: named.get(row.files.get(str(v), ""), v) for n, v in row.facts.items()}
        )
        for row in rows
    )
    differs = []
    if prior.origin == "exact":
        why = "measurements differ from a simulator that is exact against another tool"
        guess = chosen_prior(specs, why)
        # Also by metrics that were not compared with the tool.
        kept, _ = _usable(rows, source, guess, files)
        worst = max((_beyond_digits(row, guess, specs) for row in kept), default=0.0)
        if worst > _EQUAL:
            spread = np.linalg.norm([part.spread for part in guess.components], axis=0).max()
            differs.append(
                f"The simulator is exact against {prior.source}, yet a measurement differs by "
                f"{100 * np.expm1(worst):.3g} %: errors of {100 * spread:.0f} % are assumed instead"
            )
            prior = guess
    kept, unused = _usable(rows, source, prior, files)
    unused += differs
    machines = sorted({row.machine for row in kept} - {""})
    if len(machines) > 1:
        names = ", ".join(machines[:4])
        unused.append(
            f"Measurements are of {len(machines)} machines ({names}), which are taken for one: "
            "keep a file for each if they differ"
        )
    process = ErrorProcess(prior)
    if not kept:
        return Calibration(prior, process, notes=tuple(unused), metrics=metrics)
    points, residuals, keys, contradictions = _residuals(kept, source, prior)
    if prior.origin == "exact":
        # They differ by no more than the digits that they are given with.
        residuals = residuals._replace(value=np.zeros_like(residuals.value))
    unused += [
        f"Measured {name} is off by a factor of up to {np.exp(size):.3g} from what metrics that "
        "were measured next to it say, which it follows from: it does not count"
        for name, size in contradictions.items()
    ]
    process.condition(points, residuals)
    notes = [*unused, *_outliers(kept, process, residuals, prior)]
    if process.is_contradicted and prior.origin != "exact":
        notes.append(
            f"Errors here are about {process.scale:.1f} times as large as the {prior.origin} prior "
            f"says (chance {process.surprise:.1g}): intervals are widened"
        )
    runs: dict[str, dict[str, list[float]]] = {key: {} for key in keys}
    for row in kept:
        for name, value in row.metrics.items():
            runs[row.key].setdefault(name, []).append(value)
    means = [{name: float(np.mean(v)) for name, v in of.items()} for of in runs.values()]
    return Calibration(prior, process, len(kept), len(keys), tuple(notes), metrics, tuple(means))


def _declared(source: Simulator | Declaration, rows: Sequence[Measurement]) -> Declaration:
    """Return a simulator with the signs of its metrics that measured and recorded values show."""
    if not isinstance(source, Declaration):
        name, version = source.name, source.version
        source = Declaration(name, version, source.space, source.metrics, source.options)
    values = {name: [value] for name, value in source.lowest.items()}
    for row in rows:
        for name, value in (*row.metrics.items(), *row.simulated.items()):
            values.setdefault(name, []).append(value)
    return source._replace(metrics=with_signs(source.metrics, values))


def _with_count(n: int, text: str) -> str:
    """Return what is wrong with some measurements, in words."""
    single = {"are": "is", "were": "was", "have": "has", "they": "it", "say": "says", "them": "it"}
    words = text.split(" ") if n != 1 else [single.get(word, word) for word in text.split(" ")]
    return " ".join([f"{n} measurement{'s' * (n != 1)}", *words])


def _usable(
    rows: Sequence[Measurement],
    source: Declaration,
    prior: ErrorPrior,
    files: Mapping[str, str],
) -> tuple[list[Measurement], list[str]]:
    """Return the measurements that count, and why others do not."""
    why = [_unused(row, source, prior, files) for row in rows]
    kept = [row for row, text in zip(rows, why, strict=True) if not text]
    unused = [_with_count(n, text) for text, n in Counter(why).items() if text]
    if len(kept) > _MAX_RUNS:
        unused.append(f"{len(kept) - _MAX_RUNS} of {len(kept)} runs are left out, evenly spaced")
        places = np.linspace(0, len(kept) - 1, _MAX_RUNS).astype(int)
        kept = [kept[place] for place in places]
    return kept, unused


def _unused(
    row: Measurement,
    source: Declaration,
    prior: ErrorPrior,
    files: Mapping[str, str],
) -> str:
    """Return why a measurement does not count, "" if it does."""
    if row.simulator != source.name:
        return "are of other simulators"
    if row.version != source.version and row.space != source.space.name:
        spaces = f"space {row.space!r} of {source.name}, and not of {source.space.name!r}"
        return f"are of {spaces}: they say nothing here"
    if row.version != source.version:
        of = f"another version of {source.name} than {source.version}"
        return f"were imported with {of}, whose numbers differ: import them again"
    options = row.options if source.options is None else source.options
    for path in row.files.keys() & files.keys():
        if row.files[path] != files[path]:
            return f"were made when {path} held something else: they say nothing here"
    one = {name: row.files.get(value, value) for name, value in row.options.items()}
    other = {name: files.get(value, value) for name, value in options.items()}
    if prior.origin != "learned" and dict(row.options) != dict(options) and one != other:
        text = ", ".join(f"{n}={v}" for n, v in row.options.items()) or "the defaults"
        return f"have other options ({text}): they say nothing here"
    names = ", ".join(list(prior.metrics)[:8])
    what = "no metric with a modelled error that is simulated above 0"
    return "" if _errors(row, prior, source.metrics)[1].any() else f"have {what}, such as {names}"


def _errors(
    row: Measurement, prior: ErrorPrior, specs: Sequence[MetricSpec]
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Return errors of a measurement, of the first measured metrics that tell them.

    With (n_quantities,) errors comes the projection on what is known, (n_quantities, n_quantities):
    a product gives what the factors that were measured leave open, in equal parts, and their ratio
    is not known. Errors of tied metrics that contradict those before follow by name.
    """
    by_name = {spec.name: spec for spec in specs}
    limit = OUTLIER * np.sqrt(2.0) * max(prior.noise, default=0.0)
    found, known = np.zeros(len(prior.quantities)), np.zeros((len(prior.quantities),) * 2)
    contradictions = {}
    for metric in prior.metrics:
        if metric not in by_name.keys() & row.metrics.keys() & row.simulated.keys():
            continue
        value = error_between(row.metrics[metric], row.simulated[metric], by_name[metric])
        if value is None:
            continue
        parts = np.asarray(prior.error_of(metric))
        rest, new = value - float(parts @ found), parts - known @ parts
        if (square := float(new @ new)) > EXACT:
            found += new * rest / square
            known += np.outer(new, new) / square
        elif prior.origin == "chosen" and abs(rest) > limit:
            contradictions[metric] = abs(rest)
    return found, known, contradictions


def _beyond_digits(row: Measurement, prior: ErrorPrior, specs: Sequence[MetricSpec]) -> float:
    """Return the largest error of a measurement; of values that agree in their digits, 0."""
    apart = {
        name: value
        for name, value in row.metrics.items()
        if not _agrees(value, row.simulated.get(name, math.nan))
    }
    errors = _errors(replace(row, metrics=apart), prior, specs)[0]
    return float(abs(errors).max(initial=0.0))


def _agrees(measured: float, simulated: float) -> bool:
    """Return True if a simulated value rounds to the measured one.

    Zeros at the end may be rounded ones; four digits at least are taken as given.
    """
    if not measured:
        return simulated == 0
    digits = f"{abs(measured):.15g}".partition("e")[0].replace(".", "").strip("0")
    size = math.floor(math.log10(abs(measured)))
    half = 0.5 * 10.0 ** (size + 1 - max(len(digits), _LEAST_DIGITS))
    return abs(simulated - measured) <= half * (1.0 + EXACT)


def _residuals(
    rows: Sequence[Measurement], source: Declaration, prior: ErrorPrior
) -> tuple[Points, Residuals, list[str], dict[str, float]]:
    """Return measured points, their errors, keys and contradictions; repeats share a row."""
    keys: dict[str, int] = {}
    parts: list[Points] = []
    entries: list[tuple[int, int, float, int, np.ndarray]] = []
    worst: dict[str, float] = {}
    for run, row in enumerate(rows):
        if row.key not in keys:
            keys[row.key] = len(keys)
            parts.append(_point(row, source.space))
        errors, known, contradictions = _errors(row, prior, source.metrics)
        left = np.eye(len(known)) - known
        for q in np.flatnonzero(np.diag(known) > EXACT).tolist():
            entries.append((keys[row.key], q, float(errors[q]), run, left[q]))
        worst |= {n: max(size, worst.get(n, 0.0)) for n, size in contradictions.items()}
    residuals = Residuals(*(np.array(column) for column in zip(*entries, strict=True)))
    return joined(parts), residuals, list(keys), worst


def _point(row: Measurement, space: DesignSpace) -> Points:
    """Return the point of a measurement, without a position where it is of another space."""
    values = tuples(row.design)
    try:
        indices = space.indices_of(space.design(values))
    except ArchGymError:
        facts: dict[str, Any] = {**row.facts, **values}
        texts = {name: np.array([str(v)], dtype=object) for name, v in facts.items()}
        return Points(texts, {}, np.zeros((1, 0)))
    simulated = {name: np.array([value]) for name, value in row.simulated.items()}
    return points_of(space, indices[None, :], row.facts, simulated)


def _outliers(
    rows: Sequence[Measurement], process: ErrorProcess, residuals: Residuals, prior: ErrorPrior
) -> list[str]:
    """Return in words which measurements the others contradict."""
    found = []
    for place in np.flatnonzero(process.weights < 1.0).tolist():
        row = rows[int(residuals.run[place])]
        quantity = prior.quantities[int(residuals.quantity[place])]
        others = "the others say" if len(residuals.value) > 1 else "the prior says"
        design = ", ".join(f"{name}={value}" for name, value in list(row.design.items())[:6])
        sigma = min(process.deviations[place], 1000.0)
        more = " or more" if sigma == 1000.0 else ""
        found.append(
            f"{quantity} of {design} ({row.date or 'no date'}, {row.machine or 'no machine'}) lies "
            f"{sigma:.0f} sigma{more} (limit {OUTLIER:.0f}) from what {others}"
            ": it counts less until a repeat confirms it"
        )
    return found
