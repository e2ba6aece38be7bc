"""A proxy: fitted models for all workloads, with what they were made of, saved as data only."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from archgym.datasets.dataset import Dataset
from archgym.errors import (
    ArchGymError,
    FileFormatError,
    InvalidArgumentError,
    UnknownNameError,
    check_known,
)
from archgym.evaluation.capabilities import facts_about
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.evaluation.specification import Declaration, WorkloadFacts
from archgym.evaluation.stand_in import PROXY_OPTION, StandIn
from archgym.files.archive import read_archive, write_archive
from archgym.files.json_types import typed
from archgym.proxy.fitting import Announce, Fitted, Rows, TrainOptions, distinct_rows, fit_part
from archgym.proxy.measures import LEVELS, errors_by_metric
from archgym.proxy.model import model_kind
from archgym.proxy.workload_model import Part, named

_HEADER = "proxy.json"
_FORMAT = "archgym-proxy"
_VERSION = 2
_REMEDY = "Restore it from a copy, or train it again with `archgym proxy train`"


@final
@dataclass(frozen=True)
class Proxy:
    """Fitted models and where they come from.

    `about` is JSON: the model's kind, hyperparameters and seed, the data's hash and numbers of
    rows. `errors` are by split, then workload, then metric; training fills in "unseen outcomes"
    or, of joint models, "unseen designs": those that intervals were fitted on, by models that did
    not know them. The models that are kept learned those too.
    """

    declaration: Declaration
    parts: tuple[Part, ...]
    about: Mapping[str, Any]
    errors: Mapping[str, Any]
    digest: str = ""
    """SHA-256 of the file it was loaded from."""

    def save(self, path: str | Path) -> None:
        """Write one `.npz` file, whole or not at all: arrays and a JSON header, no code.

        Raises:
          StorageError: It cannot be written.
        """
        header = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "declaration": self.declaration.to_json(),
            "about": dict(self.about),
            "errors": dict(self.errors),
            "parts": [part.to_json() for part in self.parts],
        }
        arrays: dict[str, np.ndarray] = {}
        for number, part in enumerate(self.parts):
            arrays |= {f"part{number}.{name}": array for name, array in part.arrays()}
        write_archive(path, _HEADER, header, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
          FileFormatError: The file is damaged or no proxy.
          StorageError: It cannot be read.
        """
        header, arrays, digest = read_archive(path, _HEADER, "a proxy", _REMEDY)
        try:
            return replace(_read(cls, header, arrays), digest=digest)
        # Whatever a file holds in the place of a proxy comes here.
        except (ArchGymError, KeyError, TypeError, ValueError, AttributeError) as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            problem = f"a proxy must be what ArchGym wrote; {words.rstrip('.')}"
            raise FileFormatError(path, None, problem, _REMEDY) from None
        except (IndexError, OverflowError, RecursionError, MemoryError) as error:
            problem = f"a proxy must be what ArchGym wrote; {type(error).__name__}"
            raise FileFormatError(path, None, problem, _REMEDY) from None

    def part(self, workload: WorkloadFacts) -> tuple[Part, np.ndarray]:
        """Return the part that knows a workload, and the workload's scaled facts.

        Raises:
          InvalidArgumentError: A joint part lacks a fact of an unseen workload.
          KeyError: No part knows it.
        """
        for part in self.parts:
            if workload.digest in part.workloads or part.encoding.facts.names:
                return part, part.encoding.facts.row(workload.facts)
        raise KeyError(workload.name)

    @cached_property
    def is_joint(self) -> bool:
        """True if it predicts on workloads that it has not seen."""
        return any(part.encoding.facts.names for part in self.parts)


def train(
    dataset: Dataset,
    options: TrainOptions | None = None,
    announce: Announce | None = None,
    left_out: Sequence[str] = (),
) -> Proxy:
    """Fit a proxy to a dataset; of one in parts it learns `train`, and is judged on `test`.

    Args:
      dataset: Evaluations; designs that break a constraint or come again are left out.
      options: Kind of model and how it is fitted.
      announce: Called with the current step, the amount done and the total.
      left_out: Workloads that it does not learn, and is judged on; needs joint workloads.

    Raises:
      InvalidArgumentError: There is too little to learn from, or workloads are not joint.
      UnknownNameError: The dataset has no such workload.
    """
    options = options or TrainOptions()
    names = [workload.name for workload in dataset.workloads]
    check_known("workload of the dataset", left_out, names)
    if left_out and options.workloads != "joint":
        raise InvalidArgumentError(
            "A workload can be left out only where workloads are joint; they are separate. Use "
            "workloads='joint' (--workloads joint)."
        )
    is_left_out = np.isin(dataset.workload, [names.index(name) for name in left_out])
    judged = {
        "test part": dataset.rows(~is_left_out & dataset.is_in("test")),
        "left-out workload": dataset.rows(is_left_out),
    }
    whole = dataset
    dataset = dataset.rows(~is_left_out & (dataset.is_in("train") | (dataset.split is None)))
    rows = distinct_rows(dataset)
    places = np.unique(rows.workload).tolist()
    batches = [rows] if options.workloads == "joint" else [rows[rows.workload == p] for p in places]
    parts: list[Part] = []
    settings = []
    errors: dict[str, Any] = {}
    for number, batch in enumerate(batches):

        def tell(what: str, done: int, total: int, number: int = number) -> None:
            if announce is not None:
                announce(what, number * total + done, len(batches) * total)

        fitted = fit_part(dataset, batch, options, tell)
        parts.append(fitted.part)
        settings.append(dict(fitted.setting))
        errors |= _errors(dataset, fitted)
    declaration = replace(
        dataset.declaration, workloads=tuple(dataset.workloads[place] for place in places)
    )
    about = {
        "model": options.model,
        "workload_models": options.workloads,
        "fit": options.fit,
        "calibration": options.calibration,
        "seed": options.seed,
        "hyperparameters": settings,
        "data_digest": dataset.digest,
        "rows": len(dataset),
        "distinct_rows": len(rows),
        "designs": len(np.unique(rows.indices, axis=0)),
        "agents": list(dataset.agents),
        "best": _best(dataset, rows),
        "part": None if whole.split is None else "train",
        "left_out": list(left_out),
    }
    by_split = {"unseen designs" if options.workloads == "joint" else "unseen outcomes": errors}
    proxy = Proxy(declaration, tuple(parts), about, by_split)
    by_split |= {name: judge(proxy, part) for name, part in judged.items() if len(part)}
    return proxy


def judge(proxy: Proxy, dataset: Dataset) -> dict[str, Any]:
    """Return the errors of a proxy on the designs of a dataset that were built, by workload.

    Raises:
      InvalidArgumentError: The dataset is of another space, or the proxy cannot predict a workload.
    """
    declared = proxy.declaration
    if (declared.simulator, declared.space) != (dataset.declaration.simulator, dataset.space):
        raise InvalidArgumentError(
            f"The dataset must be of the proxy's {declared.simulator}/{declared.space_name}; it is "
            f"of {dataset.declaration.simulator}/{dataset.declaration.space_name}."
        )
    rows = distinct_rows(dataset)
    found = {}
    for place in np.unique(rows.workload[rows.feasible]).tolist():
        here, workload = rows[rows.feasible & (rows.workload == place)], dataset.workloads[place]
        try:
            part, facts = proxy.part(workload)
        except KeyError:
            raise InvalidArgumentError(
                f"The proxy cannot predict workload {workload.name!r}, which it has not learned. "
                "Train it with joint workloads, two or more."
            ) from None
        expected = part.predict(here.indices, facts)
        found[workload.name] = errors_by_metric(
            dataset.metrics, here.values, expected, with_intervals=True
        )
    return found


def _best(dataset: Dataset, rows: Rows) -> dict[str, dict[str, float]]:
    """Return, by workload, the best feasible value in `rows` of each metric with a goal."""
    found: dict[str, dict[str, float]] = {}
    for place in np.unique(rows.workload[rows.feasible]).tolist():
        values = rows.values[rows.feasible & (rows.workload == place)]
        found[dataset.workloads[place].name] = {
            spec.name: float(
                (values.min if spec.goal == "minimise" else values.max)(axis=0)[column]
            )
            for column, spec in enumerate(dataset.metrics)
            if spec.goal != "none"
        }
    return found


def _errors(dataset: Dataset, fitted: Fitted) -> dict[str, Any]:
    found = {}
    for place in np.unique(fitted.kept.workload).tolist():
        here = fitted.kept.workload == place
        found[dataset.workloads[place].name] = errors_by_metric(
            dataset.metrics, fitted.kept.values[here], fitted.expected[here], with_intervals=True
        )
    return found


def _read(kind: type[Proxy], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Proxy:
    if header.get("format") != _FORMAT or header.get("format_version") != _VERSION:
        raise ValueError(
            f"its header says {header.get('format')!r}, version {header.get('format_version')!r}"
        )
    declaration = Declaration.from_json(header["declaration"])
    about = typed(header["about"], dict[str, Any], "about")
    errors = typed(header["errors"], dict[str, dict[str, dict[str, dict[str, Any]]]], "errors")
    if type(about.get("distinct_rows")) is not int:
        raise ValueError("its header says nothing of rows")
    n_metrics = len(declaration.metrics)
    model = model_kind(about["model"])
    parts = tuple(
        Part.from_data(
            part,
            named(arrays, f"part{number}."),
            declaration.space,
            n_metrics,
            model,
        )
        for number, part in enumerate(header["parts"])
    )
    known = {digest for part in parts for digest in part.workloads}
    if not parts or known != {workload.digest for workload in declaration.workloads}:
        raise ValueError("its parts are of other workloads than its declaration")
    return kind(declaration, parts, about, errors)


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
      >>> from archgym.tasks.task import Task
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

    def __init__(self, path: str | Path) -> None:
        """Open the proxy in a file.

        Raises:
          FileFormatError: The file is damaged or no proxy.
          StorageError: It cannot be read.
        """
        self.proxy = Proxy.load(path)
        digest = self.proxy.digest
        super().__init__(
            self.proxy.declaration,
            Path(path),
            digest,
            {PROXY_OPTION: digest[:_OPTION_DIGITS]},
            model_reasons=(*self.proxy.declaration.model_reasons, _NOT_EXPECTED),
            evaluation_s=3e-4,
        )
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
            workload.name, workload.digest, dict(facts_about(simulator, workload))
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
        return BatchResult(
            values, np.where(builds, 0, len(self.spec.model_reasons)).astype(np.int16)
        )

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
        term = self.spec.objectives[self.spec.default_objective].terms[0]
        names = [spec.name for spec in self.metrics]
        place = names.index(term.metric)
        return self.metrics[place], place
