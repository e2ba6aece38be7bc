"""Train, validation and test parts of a dataset without leakage between them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np

from archgym.checks import check_choice, check_number, check_whole
from archgym.datasets.columns import (
    coded,
    decoded_ids,
    fold,
    numbers,
    scope_id,
    shares,
    whole_numbers,
)
from archgym.datasets.metadata import About
from archgym.datasets.region import Condition, chosen_region, parse_condition
from archgym.datasets.sources import RowSource, row_scopes
from archgym.datasets.stored import evaluation_ids
from archgym.errors import InvalidArgumentError, check_known

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("train", "validation", "test")
_TRAIN, _VALIDATION, _TEST = range(3)

SplitBy = Literal["design", "region", "workload", "agent", "random"]
SplitGroup = Literal["design", "outcome"]


@final
@dataclass(frozen=True)
class Split:
    """Split of a dataset into train, validation and test.

    - ``design``: every canonical design lies on one side, whatever studies and workloads it is in.
      Sides follow from the design's id and the seed, so they are the same in every build. With
      ``group="outcome"``, designs that measure exactly the same on any workload (they differ just
      in parameters that do nothing) lie on one side too; sides then depend on the dataset.
    - ``region``: the test part is a region of the space, so that it asks for extrapolation.
      `hold_out` has conditions such as ``banks>=8``, ``mode=slow,fast`` or, for orders and
      factors, ``order=K C ...``, of which any one puts a design there; without them a tail of an
      influential parameter is taken.
    - ``workload``, ``agent``: whole workloads or agents, those in `hold_out`, or drawn in an order
      that the seed decides: each is taken that brings the part nearer to its share of the rows.
    - ``random``: single rows. It leaks: a design that was evaluated twice may lie on both sides.

    Where the test part is held out by region, workload or agent names, `validation` is a fraction
    of the designs, or of the rows, that are left.
    """

    by: SplitBy
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0
    group: SplitGroup = "design"
    hold_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("by", self.by, get_args(SplitBy))
        check_choice("group", self.group, get_args(SplitGroup))
        check_number("validation", self.validation, 0.0, 1.0)
        check_number("test", self.test, 0.0, 1.0)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        if not self.validation + self.test < 1 or self.validation + self.test == 0:
            raise InvalidArgumentError(
                "`validation` and `test` must leave something for training and not both be 0; got "
                f"{self.validation} and {self.test}."
            )
        if self.group == "outcome" and self.by != "design":
            raise InvalidArgumentError(
                f'`group` must be "design" unless `by` is "design"; `by` is {self.by!r}.'
            )
        if self.hold_out and self.by not in ("region", "workload", "agent"):
            raise InvalidArgumentError(
                f"`hold_out` must be empty if `by` is {self.by!r}; got {self.hold_out!r}."
            )
        if self.by in ("region", "workload", "agent") and not self.hold_out and not self.test:
            raise InvalidArgumentError(f"`test` must be above 0 to split by {self.by}; got 0.")

    def prepare(self, source: RowSource) -> "Assignment":
        """Prepare the assignment; this may read all rows once.

        Raises:
          InvalidArgumentError: The dataset cannot be split so.
          UnknownNameError: `hold_out` names what there is not.
        """
        if self.by == "region":
            return _ByRegion(self, source)
        if self.by in ("workload", "agent"):
            return _ByName(self, source)
        if self.by == "random":
            return _ByRow(self)
        return _ByOutcome(self, source) if self.group == "outcome" else _ByDesign(self)


class Assignment(ABC):
    """Assignment of each row to a part."""

    def __init__(self, split: Split) -> None:
        self.split = split

    leaks = False
    hold_out: tuple[str, ...] = ()

    @abstractmethod
    def parts(self, path: Path, about: About, batch: "pa.RecordBatch") -> np.ndarray:
        """Return place in `PARTS` of each row, (n,)."""

    @property
    @abstractmethod
    def statement(self) -> str:
        """Description of the parts and their guarantees in a sentence or two."""

    @final
    def to_json(self) -> dict[str, Any]:
        """Return the description of the parts as JSON."""
        split = self.split
        return {
            "by": split.by,
            "group": split.group,
            "validation": split.validation,
            "test": split.test,
            "seed": split.seed,
            "hold_out": list(self.hold_out or split.hold_out),
            "leaks": self.leaks,
            "statement": self.statement,
        }

    @final
    def _drawn(self, ids: np.ndarray, *, test: float, validation: float) -> np.ndarray:
        share = shares(ids, self.split.seed)
        drawn = np.where(share < test, _TEST, _TRAIN)
        drawn[(share >= test) & (share < test + validation)] = _VALIDATION
        return drawn

    @property
    def _percentages(self) -> str:
        return f"{100 * self.split.validation:g} % validation, {100 * self.split.test:g} % test"


@final
class _ByDesign(Assignment):
    def parts(self, path: Path, about: About, batch: "pa.RecordBatch") -> np.ndarray:
        split = self.split
        ids = decoded_ids(path, batch)
        return self._drawn(ids, test=split.test, validation=split.validation)

    @property
    def statement(self) -> str:
        return (
            f"By canonical design ({self._percentages} of designs, seed {self.split.seed}): all "
            "rows of a design are in one part. The part follows from the design alone, so it is "
            "the same in every dataset that is split with this seed. Designs that differ just in "
            "parameters that do nothing may have equal metrics in two parts."
        )


@final
class _ByRow(Assignment):
    leaks = True

    def parts(self, path: Path, about: About, batch: "pa.RecordBatch") -> np.ndarray:
        ids = evaluation_ids(path, batch)
        return self._drawn(ids, test=self.split.test, validation=self.split.validation)

    @property
    def statement(self) -> str:
        return (
            f"At random by row ({self._percentages}, seed {self.split.seed}). THIS LEAKS: designs "
            "that were evaluated more than once, or on several workloads, may be in several parts, "
            "so errors on the test part flatter. It is there to compare with published figures."
        )


@final
class _ByOutcome(Assignment):
    """Connected components of designs with identical outcomes."""

    def __init__(self, split: Split, source: RowSource) -> None:
        super().__init__(split)
        designs, outcomes = _outcomes(source)
        self._designs, place = np.unique(designs, return_inverse=True)
        outcomes, outcome = np.unique(outcomes, return_inverse=True)
        self._group = self._designs
        self._n_groups, self._largest = 0, 0
        if len(self._designs):
            group = _components(place, outcome, len(self._designs), len(outcomes))
            # A group is known by its smallest design.
            first = np.full(int(group.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
            np.minimum.at(first, group, self._designs)
            self._group = first[group]
            sizes = np.bincount(group)
            self._n_groups, self._largest = int((sizes > 0).sum()), int(sizes.max())

    def parts(self, path: Path, about: About, batch: "pa.RecordBatch") -> np.ndarray:
        ids = decoded_ids(path, batch)
        if len(self._designs):
            place = np.minimum(np.searchsorted(self._designs, ids), len(self._designs) - 1)
            # Designs that were never built have no outcome and stand for themselves.
            ids = np.where(self._designs[place] == ids, self._group[place], ids)
        return self._drawn(ids, test=self.split.test, validation=self.split.validation)

    @property
    def statement(self) -> str:
        return (
            f"By outcome ({self._percentages} of groups, seed {self.split.seed}): all rows of a "
            "design are in one part, and so are designs whose metrics are exactly equal on any "
            f"workload. {len(self._designs)} designs that were built make {self._n_groups} groups; "
            f"the largest has {self._largest} designs."
        )


def _outcomes(source: RowSource) -> tuple[np.ndarray, np.ndarray]:
    """Return ids of designs and of their outcomes, (n,) each, of rows that were built."""
    designs, outcomes = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for batch in source.batches():
        path = Path(source.about.name)
        built = whole_numbers(path, batch, "feasible") & ~whole_numbers(path, batch, "is_duplicate")
        outcome = row_scopes(source.about, batch)
        for name in source.columns.metrics:
            outcome = fold(outcome, numbers(batch, name).view(np.uint64))
        designs.append(decoded_ids(path, batch)[built])
        outcomes.append(outcome[built])
    return np.concatenate(designs), np.concatenate(outcomes)


def _components(
    place: np.ndarray, outcome: np.ndarray, n_designs: int, n_outcomes: int
) -> np.ndarray:
    """Return number of the group of each design, (n_designs,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = n_designs + n_outcomes
    edges = coo_array((np.ones(len(place), dtype=bool), (place, outcome + n_designs)), (n, n))
    _, labels = connected_components(edges, directed=False)
    return np.asarray(labels[:n_designs])


@final
class _ByRegion(Assignment):
    def __init__(self, split: Split, source: RowSource) -> None:
        super().__init__(split)
        self._conditions: Sequence[Condition]
        if split.hold_out:
            self._conditions = [parse_condition(text, source.about) for text in split.hold_out]
            self._how = "as asked for"
        else:
            condition, self._how = chosen_region(source, split.test)
            self._conditions = [condition]
        self._columns = source.columns
        self.hold_out = tuple(str(condition) for condition in self._conditions)

    def parts(self, path: Path, about: About, batch: "pa.RecordBatch") -> np.ndarray:
        ids = decoded_ids(path, batch)
        parts = self._drawn(ids, test=0.0, validation=self.split.validation)
        for condition in self._conditions:
            parts[condition.holds(batch, self._columns)] = _TEST
        return parts

    @property
    def statement(self) -> str:
        return (
            f"By region of the space: the test part is every design with "
            f"{' or '.join(self.hold_out)} ({self._how}), and no other design, so it asks for "
            f"extrapolation. Of the designs that are left, {100 * self.split.validation:g} % are "
            f"for validation (by canonical design, seed {self.split.seed})."
        )


@final
class _ByName(Assignment):
    def __init__(self, split: Split, source: RowSource) -> None:
        super().__init__(split)
        self._part = _parts_of_names(split, _rows_by_name(split.by, source))
        self.hold_out = tuple(n for n, part in self._part.items() if part == _TEST)

    def parts(self, path: Path, about: About, batch: "pa.RecordBatch") -> np.ndarray:
        codes, names = coded(batch, self.split.by)
        # The last one is that of rows which no agent asked for.
        part = np.array([self._part.get(name, _TRAIN) for name in (*names, "")])
        return np.asarray(part[codes])

    @property
    def statement(self) -> str:
        of_part = {
            part: [name or "none" for name, place in self._part.items() if PARTS[place] == part]
            for part in PARTS
        }
        said = "; ".join(f"{part}: {', '.join(names)}" for part, names in of_part.items() if names)
        other = (
            "agents may have asked for the same designs"
            if self.split.by == "agent"
            else ("the same designs may be in several parts, on other workloads")
        )
        return f"By {self.split.by} ({said}). No {self.split.by} is in two parts; {other}."


def _rows_by_name(by: str, source: RowSource) -> dict[str, int]:
    """Return rows of each workload or agent, also of those without; "" is for no agent."""
    about = source.about
    names = (
        (w.name for d in about.declarations for w in d.workloads)
        if by == "workload"
        else (str(study.get("agent") or "") for study in about.studies)
    )
    rows = dict.fromkeys(names, 0)
    for batch in source.batches():
        codes, texts = coded(batch, by)
        for code, n in zip(*np.unique(codes, return_counts=True), strict=True):
            name = texts[int(code)] if code >= 0 else ""
            rows[name] = rows.get(name, 0) + int(n)
    return rows


def _parts_of_names(split: Split, rows: Mapping[str, int]) -> dict[str, int]:
    check_known(split.by, split.hold_out, rows)
    ids = np.array([scope_id(name) for name in rows], dtype=np.uint64)
    order = [list(rows)[place] for place in np.argsort(shares(ids, split.seed), kind="stable")]
    test = list(dict.fromkeys(split.hold_out))
    if not test:
        # One is for training, and one for validation where there are three.
        n_left = 2 if split.validation and len(rows) > 2 else 1
        test = _taken(order, rows, split.test * sum(rows.values()), len(rows) - n_left)
    left = [name for name in order if name not in test]
    validation: list[str] = []
    if split.validation and len(left) >= 2:
        wanted = split.validation * sum(rows[name] for name in left)
        validation = _taken(left, rows, wanted, len(left) - 1)
    if not test or len(left) == len(validation):
        raise InvalidArgumentError(
            f"Some {split.by} must be left for training; the dataset has {', '.join(rows)}. "
            f"Hold out fewer, or split by design."
        )
    part = dict.fromkeys(test, _TEST) | dict.fromkeys(validation, _VALIDATION)
    return {name: part.get(name, _TRAIN) for name in [*test, *validation, *left]}


def _taken(order: Sequence[str], rows: Mapping[str, int], wanted: float, n: int) -> list[str]:
    """Return at most `n` names, adding each in order that brings the row count closer to the goal.

    Where none does, it is the one that comes nearest; names without rows are left.
    """
    taken: list[str] = []
    total = 0
    for name in order:
        is_nearer = abs(total + rows[name] - wanted) < abs(total - wanted)
        if is_nearer and len(taken) < n:
            taken.append(name)
            total += rows[name]
    named = [name for name in order if rows[name]]
    if not taken and named and n > 0:
        taken = [min(named, key=lambda name: abs(rows[name] - wanted))]
    return taken
