"""A simulator with calibrated metrics, each next to its interval and the simulator's own number."""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.checks import check_number
from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import fitted, simulated_without, widened
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, subject_to
from archgym.evaluation.restriction import WrappedSimulator
from archgym.evaluation.simulator import (
    FEASIBLE,
    BatchResult,
    Simulator,
    Workload,
    held_to_laws,
    with_derived,
)
from archgym.measurements.calibration import Calibration, calibration_of
from archgym.measurements.file import Measurements, read_measurements, require_there
from archgym.measurements.points import facts_of, points_of
from archgym.measurements.prior import bounds, corrected, may_be_wrong
from archgym.measurements.process import quantile

logger = logging.getLogger(__name__)

SIMULATED: Final = "simulated_"
LOW: Final = "low_"
HIGH: Final = "high_"
"""Prefixes of the simulator's own number, and of the ends of the 90 % interval."""
MEASURED_OPTION: Final = "measured"
CONFIDENCE_OPTION: Final = "confidence"
"""Options of a calibrated simulator's tasks, next to those of the simulator."""
INTERVAL: Final = 0.9
_FURTHER: Final = re.compile(rf"({SIMULATED}|{LOW}|{HIGH}|p\d+(_\d+)?_)(?P<metric>.+)")
_CHAIN_DIGITS: Final = 12
_PRIOR_DIGITS: Final = 6
_MIDDLE: Final = 0.5


@final
class CalibratedSimulator(WrappedSimulator):
    """A simulator whose metrics are corrected by its known error.

    A metric with an error has its most likely real value: the simulated one times what measurements
    of similar designs say. Next to it stand `simulated_`, the simulator's own number, and `low_`
    and `high_`, the ends of its 90 % interval. With a confidence above 0.5 a limit
    applies to the value that the real one meets with this probability, such as `p90_` for 0.9.

    The checksum of the measurements is part of its tasks. A file that grows continues to serve the
    studies that were begun with its first measurements.
    """

    def __init__(
        self,
        whole: Simulator,
        path: str | Path | None = None,
        confidence: float = _MIDDLE,
        digest: str | None = None,
    ) -> None:
        """Calibrate a simulator.

        Args:
          whole: The simulator.
          path: File of measurements; None for the prior alone.
          confidence: Probability with which limits are met, from 0.5.
          digest: Option `measured` of an earlier task with this file; None for all of the file.

        Raises:
          FileFormatError: The file is damaged.
          FileFormatError: It is not the earlier one with more measurements.
          StorageError: It is gone.
        """
        super().__init__(whole)
        self.confidence = check_number("confidence", confidence, _MIDDLE, 0.999)
        if path is not None and digest is not None:
            require_there(path)
        measurements = Measurements() if path is None else read_measurements(path)
        chain, _, prior = (digest or "").partition("-")
        if chain and path is not None:
            measurements = measurements.up_to(chain)
        self.path = None if path is None else Path(path).absolute()
        self.calibration: Calibration = calibration_of(whole, measurements)
        present = self.calibration.prior.digest[:_PRIOR_DIGITS]
        if prior and prior != present:
            raise InvalidArgumentError(
                f"The prior of simulator {whole.name!r} must be the one that the task was made "
                "with, and it has changed. Start a new study."
            )
        self.digest = f"{measurements.digest[:_CHAIN_DIGITS] or 'prior'}-{present}"
        options = {**whole.options, MEASURED_OPTION: self.digest}
        if self.confidence != _MIDDLE:
            options[CONFIDENCE_OPTION] = f"{self.confidence:g}"
        self._columns = self.calibration.errors(whole.spec.simulated_metrics)
        further = self._further()
        if taken := {spec.name for spec in further} & {spec.name for spec in whole.metrics}:
            raise InvalidArgumentError(
                f"Metric `{min(taken)}` must have another name: calibration gives one of this name."
            )
        metrics = (*whole.metrics, *further)
        self.spec = replace(whole.spec, options=options, metrics=metrics, evaluation_s=1.0)
        for line in self.calibration.notes:
            _note(f"{path}: {line}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return CalibratedSimulator, (self.inner, self.path, self.confidence, self.digest)

    def widened(self, names: Sequence[str]) -> "CalibratedSimulator":
        """Return the calibrated simulator over wider ranges of some parameters."""
        return self._of(widened(self.inner, names))

    def with_confidence(self, objective: Objective) -> Objective:
        """Return an objective whose limits are met with the confidence."""
        if self.confidence == _MIDDLE:
            return objective
        names = {self.inner.spec.simulated_metrics[column].name for column in self._columns}
        texts = [
            str(replace(limit, metric=self._bound(limit.metric, limit.sign)))
            if limit.metric in names
            else str(limit)
            for limit in objective.limits
        ]
        if texts == [str(limit) for limit in objective.limits]:
            return objective
        return subject_to(replace(objective, limits=()), texts, self.metrics)

    def fitted_to(self, workloads: Sequence[Workload]) -> Simulator:
        """Return the calibrated simulator whose default design runs on the workloads."""
        whole = fitted(self.inner, workloads)
        return self if whole is self.inner else self._of(whole)

    def _of(self, whole: Simulator) -> "CalibratedSimulator":
        return CalibratedSimulator(whole, self.path, self.confidence, self.digest)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return calibrated results of designs that are canonical and feasible in the space."""
        result = self.inner.simulate(indices, workload)
        held = held_to_laws(self.inner, indices, with_derived(self.inner.spec, result), workload)
        values = np.where((held.reason == FEASIBLE)[:, None], result.values, np.nan)
        return self._calibrated(replace(held, values=values), indices, workload)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of an ideal machine that does not pay one of `costs`."""
        return self._calibrated(
            simulated_without(self.inner, cost, indices, workload), indices, workload
        )

    def _bound(self, metric: str, sign: str) -> str:
        """Return the name of the metric that a limit on another applies to."""
        percent = 100.0 * (self.confidence if sign == "<=" else 1.0 - self.confidence)
        return f"p{percent:g}_{metric}".replace(".", "_")

    def _further(self) -> list[MetricSpec]:
        """Return the specifications of what stands next to each calibrated metric."""
        found = []
        for column in self._columns:
            spec = self.inner.spec.simulated_metrics[column]
            texts = {
                SIMULATED + spec.name: f"Simulated, not calibrated: {spec.doc}",
                LOW + spec.name: f"Lower end of the 90 % interval of {spec.name}.",
                HIGH + spec.name: f"Upper end of the 90 % interval of {spec.name}.",
            }
            for sign in ("<=", ">=") if self.confidence != _MIDDLE else ():
                name = self._bound(spec.name, sign)
                texts[name] = f"Value that {spec.name} keeps {sign} of with the confidence."
            found += [
                MetricSpec(name, spec.unit, "none", spec.resolution, text)
                for name, text in texts.items()
            ]
        return found

    def _calibrated(
        self, result: BatchResult, indices: np.ndarray, workload: Workload
    ) -> BatchResult:
        raw = np.asarray(result.values, dtype=np.float64)
        built = np.flatnonzero(np.asarray(result.reason) == FEASIBLE)
        values = np.full((len(raw), len(self.spec.simulated_metrics)), np.nan)
        values[:, : raw.shape[1]] = raw
        prior = self.calibration.prior
        if len(built) and self._columns:
            names = [spec.name for spec in self.inner.spec.simulated_metrics]
            own_values = dict(zip(names, raw[built].T, strict=True))
            facts = facts_of(self.inner, workload)
            points = points_of(self.space, indices[built], facts, own_values)
            sums = np.array([*self._columns.values()])
            low, high = bounds(self.calibration.metrics.values(), own_values, prior)
            up, down = np.maximum(sums, 0.0), np.maximum(-sums, 0.0)
            ends = [up @ each.T - down @ other.T for each, other in ((low, high), (high, low))]
            mean, spread = self.calibration.process.marginals(points, sums)
            tail = self.calibration.process.tail
            edge = quantile(tail, 0.5 + INTERVAL / 2.0)
            margin = quantile(tail, self.confidence)
            place = raw.shape[1]
            of_columns = zip(self._columns, mean.T, spread.T, *ends, strict=True)
            for column, m, s, low, high in of_columns:
                own = raw[built, column]
                spec = self.calibration.metrics[self.spec.simulated_metrics[column].name]
                halves = [0.0, edge, -edge] + [-margin, margin] * (self.confidence != _MIDDLE)
                found = [corrected(own, np.clip(m + h * s, low, high), spec) for h in halves]
                values[built, column] = found[0]
                further = [np.minimum(own, spec.highest)]
                # Values below 0 grow downwards.
                further += [np.minimum(*found[1:3]), np.maximum(*found[1:3])]
                if self.confidence != _MIDDLE:
                    further += [np.maximum(*found[3:]), np.minimum(*found[3:])]
                for extra in further:
                    values[built, place] = extra
                    place += 1
        return BatchResult(values, result.reason, result.failures)


def own_metric(name: str, names: Collection[str]) -> str:
    """Return the metric that a simulated value or an end stands next to; the name of others.

    Args:
      name: Name of a metric.
      names: Names of all metrics.
    """
    match = _FURTHER.fullmatch(name)
    # Names of quantiles have no points, also of a part's metric.
    own = {each.replace(".", "_"): each for each in names if SIMULATED + each in names}
    return own.get(match["metric"].replace(".", "_"), name) if match else name


def without_error(
    objective: Objective, specs: Sequence[MetricSpec], values: np.ndarray
) -> list[str]:
    """Return metrics of an objective whose error a calibrated simulator does not know.

    Args:
      objective: The objective.
      specs: Metrics of a task.
      values: (…, n_metrics), those of a design.
    """
    by_name = {spec.name: spec for spec in specs}
    used = [own_metric(name, by_name) for name in objective.metrics]
    used += [n for m in used if (formula := by_name[m].formula) is not None for n in formula.names]
    if not any(SIMULATED + name in by_name for name in by_name):
        return []
    return [
        name
        for place, name in enumerate(by_name)
        if name in used and SIMULATED + name not in by_name
        if may_be_wrong(by_name[name], values[..., place])
    ]


@cache
def _note(text: str) -> None:
    """Report what is odd about measurements, once in a process."""
    logger.warning("%s", text)
