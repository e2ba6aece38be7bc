"""A proxy: fitted models for all workloads, with what they were made of, saved as data only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from archgym.datasets.dataset import Dataset
from archgym.errors import ArchGymError, FileFormatError
from archgym.evaluation.specification import Declaration, WorkloadFacts
from archgym.files.archive import read_archive, write_archive
from archgym.files.json_types import typed
from archgym.proxy.fitting import Announce, Fitted, Rows, TrainOptions, distinct_rows, fit_part
from archgym.proxy.measures import errors_by_metric
from archgym.proxy.model import recorded_kind
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
    dataset: Dataset, options: TrainOptions | None = None, announce: Announce | None = None
) -> Proxy:
    """Fit a proxy to a dataset.

    Args:
      dataset: Evaluations; designs that break a constraint or come again are left out.
      announce: Called with the current step, the amount done and the total.

    Raises:
      InvalidArgumentError: There is too little to learn from.
    """
    options = options or TrainOptions()
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
    }
    return Proxy(
        declaration,
        tuple(parts),
        about,
        {"unseen designs" if options.workloads == "joint" else "unseen outcomes": errors},
    )


def _best(dataset: Dataset, rows: Rows) -> dict[str, dict[str, float]]:
    """Return the best value of each metric with a goal that is learned from, by workload."""
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
    model = recorded_kind(about["model"])
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
