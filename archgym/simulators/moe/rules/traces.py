"""Traces that policies are measured on: files of engines, our own, and generated ones.

| file | content |
|---|---|
| `.routing.npz` | what `write_routing` writes |
| `.npy` | `(n_tokens, n_layers, top_k)` ids: vLLM's `routed_experts` of a request, saved |
| `.npz` | arrays `experts` (as above) and, if there are several documents, `starts` |
| `.csv`, header `layer,expert` | llama.cpp's `moe-trace`: one row for each activation, in order |
| `.csv`, header `document,token,layer,expert` | one row for each activation |

A name such as `olmoe:3` generates routing from a preset with seed 3.
"""

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice
from archgym.errors import FileFormatError, InvalidArgumentError, unknown_name
from archgym.files.storage import open_file, storage_errors
from archgym.simulators.moe.formats.routing_trace import read_routing
from archgym.simulators.moe.kernel.caches import ADMISSIONS
from archgym.simulators.moe.kernel.replay import Events
from archgym.simulators.moe.rules.case import CacheCase
from archgym.simulators.moe.workloads.routing import (
    Routing,
    generate,
    routing_preset,
    routing_preset_names,
)

# chosen: an hour of a busy server; replaying it takes minutes.
_MAX_BYTES: Final = 2**30
_MAX_ROWS: Final = 20_000_000
_MAX_ID: Final = 2**15 - 1
# chosen: 500 tokens in four documents through 16 layers are replayed in a tenth of a second.
_DOCUMENTS: Final = 4
_TOKENS: Final = 125
_LAYERS: Final = 16
_SCOPES: Final = ("global", "layer")
_OPTIONS: Final = ("capacity", "scope", "admission", "expert_mb", "link_gb_per_s")
_LLAMA: Final = ["layer", "expert"]
_ROWS: Final = ["document", "token", "layer", "expert"]


def open_case(name: str, options: Mapping[str, str]) -> CacheCase:
    """Return a trace with the cache that options describe.

    Args:
      name: File of a trace, or a routing preset with a seed, such as ``olmoe:3``.
      options: Values by name.

    Raises:
      FileFormatError: The file is damaged or of another form.
      UnknownNameError: An option or a preset does not exist.
      InvalidArgumentError: An option has another form.
    """
    for option in options:
        if option not in _OPTIONS:
            raise unknown_name("option", option, _OPTIONS)
    events = _events(name)
    return CacheCase(
        Path(name).name,
        events,
        _capacity(options.get("capacity", "25%"), events.n_blocks),
        check_choice("scope", options.get("scope", "global"), _SCOPES),
        check_choice("admission", options.get("admission", "bypass"), ADMISSIONS),
        # A Mixtral-sized expert of OLMoE: 3 matrices of 2048 x 1024 at 16 bits.
        1e6 * _positive("expert_mb", options.get("expert_mb", "12.582912")),
        # chosen: PCIe 4.0 x16 moves 25 GB/s of its 31.5 GB/s in practice.
        _positive("link_gb_per_s", options.get("link_gb_per_s", "25")),
    )


def _events(name: str) -> Events:
    preset, _, seed = name.partition(":")
    if not Path(name).exists() and preset in routing_preset_names() and (seed or "0").isdigit():
        lengths = [_TOKENS] * _DOCUMENTS
        made = generate(routing_preset(preset), int(seed or 0), lengths, _LAYERS)
        return Events.from_routing(made)
    return read_events(name)


def _capacity(text: str, n_blocks: int) -> int:
    try:
        share = float(text[:-1]) / 100 * n_blocks if text.endswith("%") else int(text)
        # NaN cannot be converted either.
        found = int(share)
    except (ValueError, OverflowError):
        found = 0
    if not 1 <= found <= n_blocks:
        raise InvalidArgumentError(
            f"`capacity` must be 1 to {n_blocks} experts, or a percentage of them; got {text!r}."
        )
    return found


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise InvalidArgumentError(f"`{name}` must be a number above 0; got {text!r}.")
    return value


def read_events(path: str | Path) -> Events:
    """Return the accesses in a file of routing.

    Raises:
      FileFormatError: The file is damaged or of another form.
      StorageError: It cannot be read.
    """
    path = Path(path)
    if path.name.endswith(".routing.npz"):
        return Events.from_routing(read_routing(path))
    if path.suffix in (".npy", ".npz"):
        return Events.from_routing(_array_routing(path))
    if path.suffix == ".csv":
        return _csv_events(path)
    known = ", ".join(routing_preset_names())
    raise FileFormatError(
        path, None, f"a trace must end in .routing.npz, .npz, .npy or .csv, or be one of {known}"
    )


def _refuse(path: Path, problem: str, line: int | None = None) -> NoReturn:
    raise FileFormatError(path, line, problem)


def _content(path: Path) -> bytes:
    with storage_errors(path, "read"), open_file(path) as handle:
        content = handle.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        _refuse(path, f"a trace must be below {_MAX_BYTES} bytes")
    return content


def _array_routing(path: Path) -> Routing:
    content = _content(path)
    if path.suffix == ".npz":
        _check_archive(path, content)
    try:
        loaded: Any = np.load(io.BytesIO(content), allow_pickle=False)
        arrays = {"experts": loaded} if path.suffix == ".npy" else dict(loaded)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        _refuse(path, f"the file is not a NumPy file: {' '.join(str(error).split())[:100]}")
    experts = arrays.get("experts")
    if experts is None or experts.ndim != 3 or experts.dtype.kind not in "iu" or not experts.size:
        _refuse(path, "`experts` must be whole numbers of shape (n_tokens, n_layers, top_k)")
    if experts.min() < 0 or experts.max() > _MAX_ID:
        _refuse(path, f"ids of experts must be from 0 to {_MAX_ID}")
    starts = arrays.get("starts", np.array([0, len(experts)]))
    if starts.ndim != 1 or starts.dtype.kind not in "iu":
        _refuse(path, "`starts` must be whole numbers of shape (n_documents + 1,)")
    try:
        return Routing(
            experts.astype(np.int16), starts.astype(np.int64), int(experts.max()) + 1, path.name
        )
    except InvalidArgumentError as error:
        _refuse(path, str(error).removesuffix("."))


def _check_archive(path: Path, content: bytes) -> None:
    """Refuse an archive whose content is much larger than the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        _refuse(path, "the file is not a NumPy archive")
    if size > _MAX_BYTES:
        _refuse(path, f"the arrays of a trace must be below {_MAX_BYTES} bytes")


def _csv_events(path: Path) -> Events:
    try:
        text = _content(path).decode()
    except UnicodeDecodeError:
        _refuse(path, "the file must be UTF-8 text")
    lines = csv.reader(io.StringIO(text))
    try:
        header = [name.strip() for name in next(lines, [])]
        if header not in (_LLAMA, _ROWS):
            _refuse(path, f"the header must be {','.join(_LLAMA)} or {','.join(_ROWS)}", 1)
        rows = _rows(path, lines, len(header))
    except csv.Error as error:
        _refuse(path, f"the file is not CSV: {error}", lines.line_num)
    if header == _LLAMA:
        return _grouped(path, rows[:, 0], rows[:, 1])
    order = np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0]))
    rows = rows[order]
    position = np.unique(rows[:, :2], axis=0, return_inverse=True)[1].ravel()
    return _made(path, position, rows[:, 2], rows[:, 3])


def _rows(path: Path, lines: Any, width: int) -> npt.NDArray[np.int64]:
    found: list[list[int]] = []
    for row in lines:
        if not row:
            continue
        try:
            numbers = [int(cell) for cell in row]
        except ValueError:
            _refuse(path, "a row must hold whole numbers", lines.line_num)
        if len(numbers) != width or min(numbers) < 0 or max(numbers[-2:]) > _MAX_ID:
            _refuse(path, f"a row must hold {width} numbers, ids at most {_MAX_ID}", lines.line_num)
        if max(numbers) >= 2**40 or len(found) >= _MAX_ROWS:
            _refuse(path, f"a trace must have {_MAX_ROWS} rows or fewer", lines.line_num)
        found.append(numbers)
    if not found:
        _refuse(path, "the trace has no rows")
    return np.array(found, dtype=np.int64)


def _grouped(path: Path, layers: npt.NDArray[np.int64], experts: npt.NDArray[np.int64]) -> Events:
    """Return events of rows in the order of execution; a pass ends where the layer falls."""
    falls = np.concatenate([[False], layers[1:] < layers[:-1]])
    return _made(path, np.cumsum(falls), layers, experts)


def _made(
    path: Path,
    cycles: npt.NDArray[np.int64],
    layers: npt.NDArray[np.int64],
    experts: npt.NDArray[np.int64],
) -> Events:
    """Return events, one for each pass and layer, each with its set of experts."""
    used, layers = np.unique(layers, return_inverse=True)
    whole = np.unique(np.stack([cycles, layers.ravel(), experts], axis=1), axis=0)
    keys = whole[:, :2]
    first = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    begins = np.flatnonzero(first)
    try:
        return Events(
            keys[begins, 1],
            keys[begins, 0],
            np.concatenate([begins, [len(whole)]]).astype(np.int64),
            whole[:, 2].astype(np.int32),
            len(used),
            int(experts.max()) + 1,
        )
    except InvalidArgumentError as error:
        _refuse(path, str(error).removesuffix("."))
