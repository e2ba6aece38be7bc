"""Measurement of expert-cache rules: traces, counts, miss classes, bound of the optimum."""

import csv
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import (
    FileFormatError,
    InvalidArgumentError,
    SimulatorError,
    as_number,
    check_choice,
    check_known,
    open_file,
    report_loss,
    storage_errors,
    whole,
)
from archgym.simulators.kit.rules import RuleCase, RuleSource
from archgym.simulators.moe.kernel.caches import (
    ADMISSIONS,
    FORCED,
    admission_code,
    layer_capacities,
    tie_order,
)
from archgym.simulators.moe.kernel.replay import Events, replay_events
from archgym.simulators.moe.workloads.routing import (
    Routing,
    generate,
    routing_preset,
    routing_preset_names,
)
from archgym.simulators.moe.workloads.routing_trace import read_routing

_MAX_PREFETCH: Final = 64


@final
@dataclass(frozen=True)
class CacheCase(RuleCase):
    """Trace and cache that a rule is measured on.

    Attributes:
      name: Name of the trace.
      events: Its events.
      capacity: Experts that fit [experts].
      scope: `global` or `layer`.
      admission: `bypass` or `forced`.
      expert_bytes: Size of an expert [bytes].
      link_gb_per_s: Bandwidth of the link to fast memory [GB/s].
    """

    name: str
    events: Events
    capacity: int
    scope: str = "global"
    admission: str = "bypass"
    expert_bytes: float = 12_582_912.0
    link_gb_per_s: float = 25.0

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        events = self.events
        return {"block": events.n_blocks, "layer": events.n_layers, "expert": events.n_experts}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        events = self.events
        return {
            "N_LAYERS": events.n_layers,
            "N_EXPERTS": events.n_experts,
            "CAPACITY": self.capacity,
        }

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the input of the simulation.

        A constant `PREFETCH` of the rule sets the blocks of an event that its hook is called for.
        """
        events = self.events
        whole = np.array([self.capacity], dtype=np.int64)
        parts = layer_capacities(self.capacity, events.n_layers)
        return {
            "layers": events.layers,
            "offsets": events.offsets,
            "blocks": events.blocks,
            "capacities": whole if self.scope == "global" else parts,
            "is_forced": admission_code(self.admission) == FORCED,
            "tie": tie_order(0, events.n_blocks),
            "n_layers": events.n_layers,
            "n_experts": events.n_experts,
            "prefetch": 0 if source is None else _n_prefetch(source, tuned or {}),
        }

    def built_in_counts(self, rule: str) -> dict[str, int]:
        """Return the counts of a built-in rule, which prefetches nothing."""
        found = replay_events(
            self.events, rule, self.capacity, scope=self.scope, admission=self.admission
        )
        return {"hits": found.hits, "misses": found.misses, "prefetched": 0, "useful": 0}

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return loads over those of the optimum."""
        return float((counts["misses"] + counts["prefetched"]) / max(1, self.bound))

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return loads by cause, and what they move."""
        uses, misses = len(self.events.experts), int(counts["misses"])
        loads = misses + int(counts["prefetched"])
        # A larger cache avoids the first, a better rule the second.
        of_capacity, of_rule = self.bound - self.compulsory, loads - self.bound
        moved = loads * self.expert_bytes
        return {
            "uses": uses,
            "misses": misses,
            "miss_percent": 100 * (misses / max(1, uses)),
            "prefetched": int(counts["prefetched"]),
            "useful_prefetches": int(counts["useful"]),
            "loads": loads,
            "bound_loads": self.bound,
            "compulsory_loads": self.compulsory,
            "capacity_loads": of_capacity,
            "policy_loads": of_rule,
            "diagnosis": "policy" if of_rule > of_capacity else "working set",
            "bytes_moved": moved,
            "transfer_ms": moved / (self.link_gb_per_s * 1e9) * 1e3,
        }

    def check(self, rule: str, counts: Mapping[str, Any]) -> None:
        """Check that counts add up, and that no rule loads less than the optimum."""
        is_sum = counts["hits"] + counts["misses"] == len(self.events.experts)
        if not is_sum or counts["useful"] > counts["prefetched"]:
            raise SimulatorError(f"The counts of policy {rule!r} do not add up.")
        loads = counts["misses"] + counts["prefetched"]
        if loads < self.bound:
            raise SimulatorError(
                f"Policy {rule!r} loads {loads} experts on {self.name!r}, fewer than the optimum "
                f"of {self.bound}. That is a defect of the simulator; report it with the policy "
                "and the trace."
            )

    @cached_property
    def bound(self) -> int:
        """Fewest loads that any rule needs: Belady's, which knows the future."""
        found = replay_events(
            self.events, "belady", self.capacity, scope=self.scope, admission=self.admission
        )
        return found.misses

    @cached_property
    def compulsory(self) -> int:
        """Blocks that are used at all, each of which is loaded once."""
        return len(np.unique(self.events.blocks))


def _n_prefetch(source: RuleSource, tuned: Mapping[str, int]) -> int:
    """Return the blocks of an event for which a rule's hook `prefetch` is called."""
    asked = int({**source.constants, **tuned}.get("PREFETCH", 0))
    used = max(0, min(asked, _MAX_PREFETCH))
    if used != asked:
        report_loss(f"PREFETCH: {used} is used in place of {asked}; choose 0 to {_MAX_PREFETCH}.")
    if "prefetch" in source.hooks and "PREFETCH" not in source.constants:
        report_loss("The policy's `prefetch` is never called; declare PREFETCH = 1 or more.")
    return used


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

    | file | content |
    |---|---|
    | `.routing.npz` | what `write_routing` writes |
    | `.npy` | `(n_tokens, n_layers, top_k)` ids: vLLM's `routed_experts` of a request, saved |
    | `.npz` | arrays `experts` (as above) and, if there are several documents, `starts` |
    | `.csv`, header `layer,expert` | llama.cpp's `moe-trace`: a row for each activation, in order |
    | `.csv`, header `document,token,layer,expert` | one row for each activation |

    Raises:
      FileFormatError: The file is damaged or of another form.
      UnknownNameError: An option or a preset does not exist.
      InvalidArgumentError: An option has another form.
    """
    check_known("option", options, _OPTIONS)
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
        share = float(text[:-1]) / 100 * n_blocks if text.endswith("%") else whole(text)
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
    value = as_number(text)
    if isinstance(value, str) or not 0 < value < 1e9:
        raise InvalidArgumentError(f"`{name}` must be a number above 0; got {text!r}.")
    return float(value)


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
