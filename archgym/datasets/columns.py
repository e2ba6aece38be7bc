"""Columns of a dataset: names, types, units and meanings; ids that are equal in every build."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.files.parquet import parameter_type, word_type
from archgym.spaces.parameter import Factorisation, Parameter, Permutation
from archgym.spaces.space import DesignSpace

if TYPE_CHECKING:
    import pyarrow as pa

    from archgym.evaluation.specification import Declaration


METADATA_KEY = b"archgym"
"""Key of the Parquet metadata that describe the dataset, as JSON (see `About`)."""
SPLIT = "split"

_SOURCE = {
    "study": "Name of the study's folder",
    "study_id": "Identity of the study, unique over machines",
    "agent": "Who asked for the design; null where an environment or a person did",
    "hyperparameters": "The agent's, as JSON, where they are not its defaults",
    "seed": "The agent's seed",
    "step": "Number of the ask within the study, from 0; repeated asks are left out",
    "task": "Simulator, space, workloads, objective and version",
    "task_digest": "Digest of all that decides the task's numbers; equal just for equal tasks",
    "simulator": "The simulator's name",
    "simulator_version": "Raised when any of its numbers changes",
    "options": "The simulator's options that are not its defaults, as JSON",
    "fidelity": "Name of the simulator's fidelity",
    "space": "Name of the design space; parameters of other spaces are null",
    "workload": "What the design ran; a task of several has a row for each",
    "design": "Hash of the canonical design's values; equal designs have equal ones",
    "is_duplicate": "Whether an earlier row has this design on this workload, with equal metrics",
}
_RESULTS = {
    "feasible": "Whether the design was built on this workload",
    "reason": "Why not; null where it was, or where the simulator broke",
    "error": "What the simulator said when it broke on this workload; null where it did not",
    "reward": "The task's reward over all its workloads, larger is better",
}
_SPLIT_DOC = "Part of the dataset: train, validation or test"
_WORDS = "study study_id agent hyperparameters task task_digest simulator options fidelity space"
_WORDS += " workload reason split"


@final
@dataclass(frozen=True)
class _ParameterColumn:
    parameter: Parameter
    kind: Any
    spaces: tuple[str, ...]


@final
class Columns:
    """The columns of a dataset whose rows come from simulators of these declarations.

    Parameters and metrics are the union over all of them; one that a row's space or simulator does
    not have is null there. A parameter that is named like another column has the prefix ``design.``
    """

    def __init__(self, declarations: Sequence["Declaration"], *, with_split: bool = False) -> None:
        """Join the declarations.

        Raises:
          InvalidArgumentError: They give one name to parameters or metrics of different kinds.
        """
        self._with_split = with_split
        self.metrics = _metrics(declarations)
        taken = {*_SOURCE, *_RESULTS, SPLIT, *self.metrics}
        self._parameters = _parameters(declarations)
        self.of_parameter = {
            name: f"design.{name}" if name in taken else name for name in self._parameters
        }
        """Column by parameter."""

    def schema(self, metadata: Mapping[bytes, bytes] | None = None) -> "pa.Schema":
        """Return names, types, roles, units and meanings of columns, with the file's metadata."""
        import pyarrow as pa

        fields = [_field(name, doc, "source") for name, doc in _SOURCE.items()]
        for name, column in self._parameters.items():
            parameter = column.parameter
            facts = {"unit": parameter.unit, "doc": parameter.doc, "parameter": name}
            facts |= {"kind": parameter.kind, "spaces": ", ".join(column.spaces)}
            metadata_of = {"role": "parameter", **facts}
            fields.append(pa.field(self.of_parameter[name], column.kind, metadata=metadata_of))
        fields += [_field(name, doc, "result") for name, doc in _RESULTS.items()]
        for spec in self.metrics.values():
            facts = {"role": "metric", "unit": spec.unit, "doc": spec.doc, "goal": spec.goal}
            facts["resolution"] = repr(spec.resolution)
            fields.append(pa.field(spec.name, pa.float64(), metadata=facts))
        if self._with_split:
            fields.append(_field(SPLIT, _SPLIT_DOC, "split"))
        return pa.schema(fields, metadata=metadata)


def _field(name: str, doc: str, role: str) -> "pa.Field":
    import pyarrow as pa

    kinds = {"seed": pa.uint64(), "step": pa.int64(), "simulator_version": pa.int64()}
    kinds |= {"feasible": pa.bool_(), "is_duplicate": pa.bool_(), "reward": pa.float64()}
    kind = word_type() if name in _WORDS.split() else kinds.get(name, pa.string())
    return pa.field(name, kind, metadata={"role": role, "doc": doc})


def is_listed(parameter: Parameter) -> bool:
    """Return True if its values are lists."""
    return isinstance(parameter, Permutation | Factorisation)


def _metrics(declarations: Iterable["Declaration"]) -> dict[str, MetricSpec]:
    specs: dict[str, MetricSpec] = {}
    for declaration in declarations:
        for spec in declaration.metrics:
            known = specs.setdefault(spec.name, spec)
            if known.unit != spec.unit:
                raise InvalidArgumentError(
                    f"A metric must have one unit in a dataset; `{spec.name}` is in {known.unit!r} "
                    f"and in {spec.unit!r}. Build them apart."
                )
    return specs


def _parameters(declarations: Iterable["Declaration"]) -> dict[str, _ParameterColumn]:
    columns: dict[str, _ParameterColumn] = {}
    for declaration in declarations:
        for parameter in declaration.space.parameters:
            known = columns.get(parameter.name)
            kind = parameter_type(parameter)
            spaces: tuple[str, ...] = (declaration.space_name,)
            if known is not None:
                kind = _joined(known, parameter, kind)
                spaces = tuple(dict.fromkeys([*known.spaces, *spaces]))
                parameter = known.parameter
            columns[parameter.name] = _ParameterColumn(parameter, kind, spaces)
    return columns


def _joined(known: _ParameterColumn, parameter: Parameter, kind: Any) -> Any:
    import pyarrow as pa

    numbers = {pa.int64(), pa.float64()}
    is_same = kind == known.kind or {kind, known.kind} <= numbers
    if not is_same or parameter.unit != known.parameter.unit:
        first, second = (json.dumps([p.kind, p.unit]) for p in (known.parameter, parameter))
        raise InvalidArgumentError(
            f"A parameter must have one type and unit in a dataset; `{parameter.name}` has {first} "
            f"in space {known.spaces[0]!r} and {second} in another. Build them apart."
        )
    return kind if kind == known.kind else pa.float64()


def damaged(path: Path, problem: str) -> FileFormatError:
    """Return the error of a dataset's file that is not as it was written."""
    remedy = "Restore it from a copy, or build the dataset again"
    return FileFormatError(path, None, problem, remedy)


def coded(batch: "pa.RecordBatch", name: str) -> tuple[np.ndarray, list[str]]:
    """Return a column of repeating texts: each row's place in the list, (n,) int64, -1 for null."""
    column = batch.column(name)
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    texts: list[Any] = column.dictionary.to_pylist()
    # A dictionary may hold null, and a text twice.
    first: dict[str, int] = {}
    places = [-1 if text is None else first.setdefault(text, len(first)) for text in texts]
    return np.array([*places, -1], dtype=np.int64)[codes], list(first)


def numbers(batch: "pa.RecordBatch", name: str) -> np.ndarray:
    """Return a column of numbers, (n,) float64, NaN for null."""
    values: np.ndarray = batch.column(name).to_numpy(zero_copy_only=False)
    return values.astype(np.float64)


def whole_numbers(path: Path, batch: "pa.RecordBatch", name: str) -> np.ndarray:
    """Return a column of whole numbers or truth values without nulls, (n,).

    Raises:
      FileFormatError: It has nulls.
    """
    column = batch.column(name)
    if column.null_count:
        raise damaged(path, f"column `{name}` must have no nulls; it has")
    return np.asarray(column.to_numpy(zero_copy_only=False))


def decoded_ids(path: Path, batch: "pa.RecordBatch", name: str = "design") -> np.ndarray:
    """Return ids, (n,) uint64, from their hexadecimal digits.

    Raises:
      FileFormatError: They are something else.
    """
    import pyarrow.compute as pc

    column = batch.column(name)
    lengths = pc.binary_length(column)
    is_sound = column.null_count == 0 and bool(
        pc.all(pc.equal(lengths, 16)).as_py() in (True, None)
    )
    try:
        digits = bytes.fromhex("".join(column.to_pylist())) if is_sound else b""
    except ValueError:
        digits = b""
    if len(digits) != 8 * len(column):
        raise damaged(path, f"column `{name}` must hold 16 hexadecimal digits a row")
    return np.frombuffer(digits, dtype=">u8").astype(np.uint64)


def decoded_indices(
    path: Path, batch: "pa.RecordBatch", space: DesignSpace, columns: Columns
) -> np.ndarray:
    """Return index vectors, (n, n_parameters), of rows of one space.

    Raises:
      FileFormatError: A value is not in the space, or a design not in its canonical form.
    """
    indices = np.empty((batch.num_rows, space.n_parameters), dtype=np.int64)
    for place, parameter in enumerate(space.parameters):
        name = columns.of_parameter[parameter.name]
        try:
            indices[:, place] = _indices(parameter, batch.column(name))
        except (ArchGymError, TypeError, ValueError) as error:
            problem = " ".join(str(error).split()).removesuffix(".")[:300]
            raise damaged(path, f"column `{name}`: {problem}") from None
    if not space.is_canonical(indices).all():
        raise damaged(path, "designs must stand in their canonical form; one does not")
    return indices


def _indices(parameter: Parameter, column: "pa.Array") -> np.ndarray:
    import pyarrow as pa

    if column.null_count:
        raise ValueError("a row of this space must give every parameter; one is null")
    if pa.types.is_dictionary(column.type):
        # Only texts that occur count: a dictionary is shared by rows of several spaces.
        codes = column.indices.to_numpy(zero_copy_only=False)
        distinct, place = np.unique(codes, return_inverse=True)
        found = [parameter.index(column.dictionary[int(code)].as_py()) for code in distinct]
        return np.array(found, dtype=np.int64)[place]
    if is_listed(parameter):
        known: dict[tuple[Any, ...], int] = {}
        for value in column.to_pylist():
            key = tuple(value)
            if key not in known:
                known[key] = parameter.index(key)
        return np.array([known[tuple(value)] for value in column.to_pylist()], dtype=np.int64)
    values = column.to_numpy(zero_copy_only=False)
    grid = parameter.array(np.arange(parameter.size))
    places: np.ndarray = np.minimum(np.searchsorted(grid, values), parameter.size - 1)
    wrong = grid[places] != values
    if wrong.any():
        # For its message.
        parameter.index(values[int(np.argmax(wrong))].item())
        raise ValueError("a value is not in the space")
    return places


# chosen: values of a larger parameter are numbered in order of appearance.
_MAX_TABLE = 2**16

# Source: Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014: the
# finaliser of SplitMix64 as its reference program has it.
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_STEP = np.uint64(0x9E3779B97F4A7C15)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Return hashes, uint64, one to one: each output bit depends on all input bits."""
    with np.errstate(over="ignore"):
        x = numbers + _STEP
        x = (x ^ (x >> _SHIFTS[0])) * _MULTIPLIERS[0]
        x = (x ^ (x >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return np.asarray(x ^ (x >> _SHIFTS[2]))


def fold(ids: np.ndarray, further: np.ndarray | np.uint64) -> np.ndarray:
    """Return new hashes, (n,) uint64, each made of an id and a further number."""
    with np.errstate(over="ignore"):
        return mixed(ids * _STEP ^ further)


def scope_id(*parts: Any) -> np.uint64:
    """Return one id for several plain values."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def shares(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each id, (n,), uniform and dependent on the seed."""
    # The upper 53 bits are a float's without rounding, which could reach 1.
    return (fold(ids, scope_id("split", seed)) >> np.uint64(11)) * 2.0**-53


@final
class DesignIds:
    """Numbering of a space's designs by their values.

    A design's id is a 64-bit hash of the simulator's name and of the names and values of all its
    parameters, so it does not depend on the dataset, on the order of values, or on documentation.
    Among a million designs, two share an id with a probability of 3e-8.
    """

    def __init__(self, simulator: str, space: DesignSpace) -> None:
        self._start = scope_id(simulator, sorted(space.names))
        self._parameters = space.parameters
        self._tables = {
            place: np.array([scope_id(p.name, p.value(i)) for i in range(p.size)], np.uint64)
            for place, p in enumerate(space.parameters)
            if p.size <= _MAX_TABLE
        }

    def of(self, canonical: np.ndarray) -> np.ndarray:
        """Return ids, (n,) uint64, of canonical designs, (n, n_parameters) indices."""
        # Sums of independent random numbers are as random as each of them, and quick.
        total = np.full(len(canonical), self._start, np.uint64)
        with np.errstate(over="ignore"):
            for place, parameter in enumerate(self._parameters):
                indices = canonical[:, place]
                table = self._tables.get(place)
                total += _numbered(parameter, indices) if table is None else table[indices]
        return mixed(total)


def _numbered(parameter: Parameter, indices: np.ndarray) -> np.ndarray:
    distinct, places = np.unique(indices, return_inverse=True)
    ids = [scope_id(parameter.name, parameter.value(int(index))) for index in distinct]
    return np.asarray(np.array(ids, np.uint64)[places])


@final
class IdSet:
    """A set of ids that takes 8 bytes for each, 16 while it grows."""

    def __init__(self) -> None:
        self.levels: list[np.ndarray] = []
        """Sorted arrays without common members, each at most half as long as the one before."""

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Return True if each id is in the set, (n,) bool."""
        found = np.zeros(len(ids), dtype=bool)
        for level in self.levels:
            place = np.minimum(np.searchsorted(level, ids), len(level) - 1)
            found |= level[place] == ids
        return found

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Add ids; return True for those already in the set or repeated, (n,) bool."""
        distinct, first = np.unique(ids, return_index=True)
        is_new = ~self.contains(distinct)
        repeated = np.ones(len(ids), dtype=bool)
        repeated[first[is_new]] = False
        self._insert(distinct[is_new])
        return repeated

    def common(self, other: "IdSet") -> int:
        """Return the number of ids in both sets."""
        return sum(int(other.contains(level).sum()) for level in self.levels)

    def _insert(self, level: np.ndarray) -> None:
        if not len(level):
            return
        while self.levels and len(self.levels[-1]) < 2 * len(level):
            level = np.concatenate([self.levels.pop(), level])
            level.sort()
        self.levels.append(level)
