"""Columns of a dataset: names, types, units and meanings."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from archgym.errors import InvalidArgumentError
from archgym.metrics import MetricSpec
from archgym.parameter import Factorisation, Parameter, Permutation
from archgym.parquet import parameter_type, word_type

if TYPE_CHECKING:
    import pyarrow as pa

    from archgym.declaration import Declaration

__all__ = ["METADATA_KEY", "SPLIT", "Columns", "is_listed"]

METADATA_KEY = b"archgym"
"""Where a Parquet file's metadata say what the dataset is, as JSON (see `About`)."""
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
        """Joins the declarations.

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
        """Names, types, and each column's role, unit and meaning; with the file's metadata."""
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
    """Whether its values are lists."""
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
