"""Parameter values from text and from JSON files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import warn
from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    UnknownNameError,
)
from archgym.files.json_types import refuse_constant
from archgym.files.remote import local_copy, url_of
from archgym.files.storage import open_file, storage_errors

if TYPE_CHECKING:
    from archgym.spaces.design import Design
    from archgym.spaces.space import DesignSpace


KINDS = (
    "simulators",
    "agents",
    "models",
    "spaces",
    "workloads",
    "objectives",
    "metrics",
    "fidelities",
    "options",
    "devices",
)
"""Kinds of names that `archgym list` knows."""


def complete_simulator(incomplete: str) -> list[str]:
    """Return the names of simulators with this prefix."""
    from archgym.evaluation.simulator import simulator_names

    return [name for name in simulator_names() if name.startswith(incomplete)]


def complete_agent(incomplete: str) -> list[str]:
    """Return the names of agents with this prefix."""
    from archgym.agent.agent import agent_names

    return [name for name in agent_names() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Return the names of proxy models with this prefix."""
    from archgym.proxy.model import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


def complete_subject(incomplete: str) -> list[str]:
    """Return the names of simulators and agents with this prefix."""
    return complete_simulator(incomplete) + complete_agent(incomplete)


def complete_list(incomplete: str) -> list[str]:
    """Return the kinds of names with this prefix."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


StudiesArgument = Annotated[list[Path], typer.Argument(help="Folders of the studies.")]
ProvenTablesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--table",
        help="Table of a task, for its proven optimum and exact random search; repeat for more.",
        metavar="FILE",
    ),
]
FORCE = "--force"
ForceOption = Annotated[
    bool,
    typer.Option(FORCE, help="Also replace existing files that ArchGym did not write."),
]
PORTFOLIO_FORMAT = 1
"""Format of the files that `archgym portfolio` writes."""
# A design is a few lines long; a larger file is something else.
_MAX_BYTES = 2**20


def assignments(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Return names and values from texts such as ``name=value``.

    Args:
      option: Option that the texts were given to, for the message.
      texts: Assignments, each name at most once.

    Raises:
      InvalidArgumentError: A text has another form, or a name appears twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip()
        if not sign or not name:
            # `-o` names a file elsewhere.
            is_file = option == "--option" and "." in text
            hint = f" For a file, write --out {text}." if is_file else ""
            raise InvalidArgumentError(f"`{option}` must read name=value; got {text!r}.{hint}")
        if name in given:
            raise InvalidArgumentError(f"`{option}` must give {name!r} once; it came twice.")
        given[name] = value.strip()
    return given


def further_assignments(
    option: str, texts: Sequence[str], own: Mapping[str, str]
) -> dict[str, str]:
    """Return names and values as `assignments`, without those that a command's own options set.

    Args:
      option: Option that the texts were given to.
      texts: Assignments.
      own: Names that options of the command set, each with that option.

    Raises:
      InvalidArgumentError: A text has another form, or a name is one of those.
    """
    given = assignments(option, texts)
    for name in given:
        if name in own:
            raise InvalidArgumentError(f"`{option}` cannot set {name!r} here. Use {own[name]}.")
    return given


def hyperparameters(agent: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return an agent's hyperparameters from texts such as ``population=30``.

    Raises:
      UnknownNameError: The agent or the hyperparameter does not exist.
      InvalidArgumentError: A text has another form.
    """
    from archgym.agent.agent import agent_class
    from archgym.errors import unknown_name
    from archgym.spaces.texts import value_from_text

    declared = {parameter.name: parameter for parameter in agent_class(agent).hyperparameters}
    chosen = {}
    for name, text in assignments("--hyper", texts).items():
        if name not in declared:
            raise unknown_name(f"hyperparameter of agent {agent!r}", name, declared)
        chosen[name] = value_from_text(declared[name], text)
    return chosen


def lasting(path: Path) -> Path:
    """Refuse a `memory:` URL as the place of results, since it ends with the command."""
    if (url := url_of(path)) is not None and url.scheme == "memory":
        raise InvalidArgumentError(f"`--out` must be a place that outlasts the command; got {url}.")
    return path


def is_inline(path: Path) -> bool:
    """Return True for a JSON object in place of a file that holds one."""
    return str(path).lstrip().startswith("{")


def read_design(path: Path) -> dict[str, Any]:
    """Return a design from a JSON object of names and values, or from its member `design`.

    Raises:
      FileFormatError: The file has another content.
      StorageError: The file cannot be read.
    """
    data = _read_object(path)
    nested = data.get("design")
    return nested if isinstance(nested, dict) else data


def read_designs(path: Path, space: "DesignSpace") -> "list[Mapping[str, Any]]":
    """Return the designs of a JSON file's member `designs`, or its one design, checked.

    Raises:
      FileFormatError: The file has another content.
      StorageError: The file cannot be read.
    """
    data = _read_object(path)
    if not isinstance(data.get("designs"), list):
        filled_design(space, design := read_design(path), path)
        return [design]
    number, problem = data.get("format"), ""
    if type(number) is not int or number != PORTFOLIO_FORMAT:
        problem = f"this version reads format {PORTFOLIO_FORMAT} of a portfolio; got {number!r}"
    elif not data["designs"] or not all(isinstance(design, dict) for design in data["designs"]):
        problem = "`designs` must be one or more objects of parameters and values"
    if problem:
        raise FileFormatError(path, None, problem, "Write it again with `archgym portfolio`")
    return list(data["designs"])


def read_task(path: Path) -> tuple[str, str, dict[str, float]]:
    """Return the task that the JSON file of a design names: its id, its digest and its files.

    They are empty where it names none. Files are workloads with their weights.

    Raises:
      FileFormatError: The file has another content.
      StorageError: The file cannot be read.
    """
    data = _read_object(path)
    members = data if isinstance(data.get("design"), dict) else {}
    task, digest = members.get("task"), members.get("digest")
    sources = members.get("sources")
    given = sources.items() if isinstance(sources, dict) else ()
    weights = {name: float(w) for name, w in given if isinstance(w, int | float)}
    name, known = (text if isinstance(text, str) else "" for text in (task, digest))
    return name, known, weights


def filled_design(space: "DesignSpace", values: Mapping[str, Any], path: Path) -> "Design":
    """Return the default design with its values replaced by those of a file.

    Raises:
      FileFormatError: A name or value is not in the space.
    """
    try:
        return space.filled(values)
    except (InvalidDesignError, UnknownNameError) as error:
        text = str(error)
        raise FileFormatError(path, None, text[:-1] if text.endswith(".") else text) from None


def design_with(
    space: "DesignSpace", design: Mapping[str, Any], given: Mapping[str, str]
) -> "Design":
    """Return a design with the values of `--set`, and warn of those that are inactive in it.

    Raises:
      InvalidDesignError: A name or value is not in the space.
    """
    from archgym.spaces.texts import with_values

    chosen = with_values(space, design, given)
    is_active = dict(zip(space.names, space.active(space.indices_of(chosen)[None])[0], strict=True))
    for name in given:
        if not is_active[name]:
            warn(f"`{name}` is inactive in this design; its value is ignored.")
    return chosen


def _read_object(path: Path) -> dict[str, Any]:
    remedy = 'Write an object such as {"page_policy": "Open"}, as `archgym evaluate --json` does'
    if is_inline(path):
        content = str(path).encode()
    else:
        with storage_errors(path, "read"), open_file(local_copy(path)) as handle:
            content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise FileFormatError(path, None, f"a design must be below {_MAX_BYTES} bytes", remedy)
    try:
        data = json.loads(
            content.decode(), parse_constant=refuse_constant, object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        raise FileFormatError(
            path, error.lineno, f"the file is not valid JSON: {error.msg}", remedy
        ) from None
    except RecursionError:
        raise FileFormatError(path, None, "the file is nested too deeply", remedy) from None
    except InvalidArgumentError as error:
        raise FileFormatError(path, None, str(error), remedy) from None
    except ValueError as error:
        raise FileFormatError(path, None, f"the file is not valid JSON: {error}", remedy) from None
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise FileFormatError(path, 1, f"a design must be a JSON object; got {kind}", remedy)
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidArgumentError(f"each name must come once; {name!r} came twice")
        values[name] = value
    return values
