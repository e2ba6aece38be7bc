"""Routing traces: files of which experts every token used."""

from pathlib import Path
from typing import Final

import numpy as np

from archgym.simulators.kit import (
    FileFormatError,
    InvalidArgumentError,
    read_archive,
    report_reduction,
    write_archive,
)
from archgym.simulators.moe.workloads.routing import Routing

_ENDING: Final = ".routing.npz"
"""Suffix of the file name of a routing trace."""
_HEADER: Final = "routing.json"
_FORMAT: Final = "archgym-routing"
_VERSION: Final = 1
_WHAT: Final = "a routing trace"
_REMEDY: Final = "Write it again with `write_routing`"
_MAX_NAME: Final = 200


def check_ending(path: str | Path) -> None:
    """Refuse a path without the ending of routing traces, before costly work begins.

    Raises:
      InvalidArgumentError: The path has another ending.
    """
    if not str(path).endswith(_ENDING):
        raise InvalidArgumentError(
            f"A routing trace's `path` must end in {_ENDING}; got {Path(path).name!r}."
        )


def write_routing(path: str | Path, routing: Routing) -> None:
    """Write a routing trace, whole or not at all; equal routings are equal bytes.

    Raises:
      InvalidArgumentError: The path has another ending.
      StorageError: It cannot be written.
    """
    check_ending(path)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": _short_name(routing.name),
        "n_experts": routing.n_experts,
    }
    write_archive(path, _HEADER, header, {"experts": routing.experts, "starts": routing.starts})


def read_routing(path: str | Path) -> Routing:
    """Read what `write_routing` wrote.

    Raises:
      FileFormatError: The file is damaged or something else.
      StorageError: It cannot be read.
    """
    path = Path(path)
    header, arrays, _ = read_archive(path, _HEADER, _WHAT, _REMEDY)
    name, n_experts = header.get("name"), header.get("n_experts")
    if header.get("format") != _FORMAT or header.get("version") != _VERSION:
        raise _refusal(path, f"its header must say {_FORMAT} {_VERSION}; it does not")
    if not isinstance(name, str) or isinstance(n_experts, bool) or not isinstance(n_experts, int):
        raise _refusal(path, "its header must give a name and a number of experts; it does not")
    if set(arrays) != {"experts", "starts"}:
        raise _refusal(path, f"it must hold the arrays experts and starts; got {sorted(arrays)}")
    experts, starts = arrays["experts"], arrays["starts"]
    if experts.dtype != np.int16 or starts.dtype != np.int64:
        raise _refusal(path, "its arrays must be int16 and int64; they are not")
    try:
        return Routing(experts, starts, n_experts, _short_name(name))
    except InvalidArgumentError as error:
        raise _refusal(path, str(error).removesuffix(".")) from None


def _short_name(name: str) -> str:
    report_reduction(
        "letters of the trace's name", min(len(name), _MAX_NAME), len(name), "shorten it"
    )
    return name[:_MAX_NAME]


def _refusal(path: Path, problem: str) -> FileFormatError:
    return FileFormatError(path, None, f"{_WHAT} must be what ArchGym wrote; {problem}", _REMEDY)
