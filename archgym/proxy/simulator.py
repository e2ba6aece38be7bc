"""A proxy in a simulator's place."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.evaluation.specification import WorkloadFacts
from archgym.evaluation.stand_in import PROXY_OPTION, StandIn
from archgym.proxy.intervals import LEVELS
from archgym.proxy.proxy import Proxy

logger = logging.getLogger(__name__)

# chosen: a sixteenth of the content's hash tells proxies apart in a task's name.
_OPTION_DIGITS = 12
_NOT_EXPECTED = "the proxy expects that the simulator's model cannot build it"
# chosen: the level that a warning names.
_WARNING_LEVEL = 0.9


@final
@dataclass(frozen=True)
class Prediction:
    """Predictions for n designs: metrics and intervals that hold a stated share.

    Arrays are (n, n_metrics), but `is_unfamiliar`, (n,): whether a design has values, or two
    values together, that the training data never had, or its workload was not among them.
    Intervals are then as wide as errors in what was left out of the data to find out.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_unfamiliar: np.ndarray


@final
class ProxySimulator(StandIn):
    """Predictions of a fitted model, which cost microseconds, in a simulator's place.

    Constraints of the space are judged exactly. Where the training data had designs that the
    simulator's model could not build, a forest judges which others it could not. A design that
    has values, or two values together, that no training design had, is predicted with a warning,
    the first time in each process.

    Life cycle:

    1. Studies evaluate designs with the simulator, and `build_dataset` gathers them.
    2. `train` fits models to the dataset, and `Proxy.save` writes them to a file.
    3. This class opens the file. A task with ``stand_in=FILE`` does the same.
    4. It answers like the simulator. `predict` adds intervals.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.datasets import build_dataset, read_dataset
      >>> from archgym.evaluation.task import Task
      >>> from archgym.proxy import TrainOptions, train
      >>> from archgym.studies.study import Study
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("mapping", has_failures=False), "near")
      >>> with TemporaryDirectory() as folder:
      ...     _ = Study.create(f"{folder}/study", task, "random", budget=120).run()
      ...     _ = build_dataset(f"{folder}/study", f"{folder}/dataset")
      ...     options = TrainOptions(model="linear", setting={"degree": 2, "alpha": 0.01})
      ...     train(read_dataset(f"{folder}/dataset"), options).save(f"{folder}/proxy.npz")
      ...     proxy = ProxySimulator(f"{folder}/proxy.npz")
      >>> near = proxy.workload("near")
      >>> prediction = proxy.predict(proxy.space.default_indices[None, :], near)
      >>> bool((prediction.low <= prediction.values).all())
      True
    """

    kind = "proxy"
    evaluation_s = 3e-4

    def __init__(self, path: str | Path) -> None:
        """Open the proxy in a file.

        Raises:
          FileFormatError: The file is damaged or no proxy.
          StorageError: It cannot be read.
        """
        self.proxy = Proxy.load(path)
        digest = self.proxy.digest
        super().__init__(
            self.proxy.declaration, Path(path), digest, {PROXY_OPTION: digest[:_OPTION_DIGITS]}
        )
        self.model_reasons = (*self.declaration.model_reasons, _NOT_EXPECTED)
        self._has_warned = False

    def workload(self, name: str | Path) -> Workload:
        """Return workload with this name or path; any of the simulator's where the proxy is joint.

        Raises:
          UnknownNameError: The proxy cannot predict on it.
        """
        try:
            return super().workload(name)
        except UnknownNameError:
            if not self.proxy.is_joint:
                raise
        simulator = self.simulator()
        workload = simulator.workload(name)
        facts = WorkloadFacts(
            workload.name, workload.digest, dict(simulator.describe_workload(workload))
        )
        part, row = self.proxy.part(facts)
        if not part.encoding.facts.lie_within(row):
            logger.warning(
                "Workload %s lies outside those that proxy %s learned from; its predictions there "
                "are guesses.",
                workload.name,
                self.path.name,
            )
        return Workload(workload.name, workload.digest, facts)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return the recorded characteristics of a workload."""
        facts = workload.content
        assert isinstance(facts, WorkloadFacts)
        return dict(facts.facts)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return predictions for designs that are canonical and feasible in the space."""
        part, facts = self.proxy.part(workload.content)
        values = part.predict(indices, facts)
        builds = part.builds(indices, facts) & np.isfinite(values).all(axis=1)
        # Rewards are relative to the default design, which every simulator builds.
        builds |= (indices == self.space.default_indices).all(axis=1)
        values[~builds] = np.nan
        self._warn(indices, workload)
        return BatchResult(values, np.where(builds, 0, len(self.model_reasons)).astype(np.int16))

    def predict(
        self, indices: np.ndarray, workload: Workload, level: float = _WARNING_LEVEL
    ) -> Prediction:
        """Return metrics with intervals.

        Args:
          indices: (n, n_parameters), designs that satisfy the space's constraints.
          workload: One that this proxy made.
          level: The share of unseen designs that an interval should hold; one of 0.5, 0.8, 0.9,
            0.95 and 0.99.

        Raises:
          InvalidDesignError: An index lies outside the space.
          InvalidArgumentError: The level is another.
        """
        if level not in LEVELS:
            raise InvalidArgumentError(
                f"`level` must be one of {', '.join(map(str, LEVELS))}; got {level!r}."
            )
        self.space.check_indices(indices)
        canonical = self.space.canonical(indices)
        part, facts = self.proxy.part(workload.content)
        is_new = workload.digest not in part.workloads
        low, high = part.interval(canonical, facts, level, is_new=is_new)
        return Prediction(
            part.predict(canonical, facts),
            low,
            high,
            is_new | (part.familiarity.novelty(canonical) > 0),
        )

    def _warn(self, indices: np.ndarray, workload: Workload) -> None:
        if self._has_warned:
            return
        part, _ = self.proxy.part(workload.content)
        unfamiliar = np.flatnonzero(part.familiarity.novelty(indices))
        if not len(unfamiliar):
            return
        self._has_warned = True
        prediction = self.predict(indices[unfamiliar[:1]], workload)
        spec, place = self._main_metric()
        how = f"as wide as held {100 * _WARNING_LEVEL:.0f} % of designs in parts of the space that "
        how += "were left out to find out"
        if np.isinf(prediction.high[0, place]):
            how = "since too few designs were there to find out how wrong that may be"
        logger.warning(
            "Proxy %s extrapolates: %d of %d designs have values, or pairs of values, that its "
            "training data never had. The first is predicted with %s %.6g %s, and the interval "
            "%.6g to %.6g, %s. Simulate what you use.",
            self.path.name,
            len(unfamiliar),
            len(indices),
            spec.name,
            prediction.values[0, place],
            spec.unit,
            prediction.low[0, place],
            prediction.high[0, place],
            how,
        )

    def _main_metric(self) -> tuple[MetricSpec, int]:
        """Return the metric that the default objective looks at first."""
        term = self.objectives[self.default_objective].terms[0]
        names = [spec.name for spec in self.metrics]
        place = names.index(term.metric)
        return self.metrics[place], place
