"""Networks: tables of layers and their numbers of occurrences."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, final

from archgym.simulators.accelerator.problem import Problem, convolution, matrix_multiply
from archgym.simulators.kit import (
    ArchGymError,
    FileFormatError,
    InvalidArgumentError,
    cell,
    read_text,
    unknown_name,
    whole,
)

NETWORKS: Final = (
    "resnet-18",
    "alexnet",
    "alexnet-convolutions",
    "vgg-16",
    "resnet-50",
    "mobilenet-v2",
    "mobilenet-v3",
    "efficientnet-b0",
    "bert-base",
    "llama-prefill",
    "llama-decode",
    "mixtral-layer",
)
"""Built-in networks, each a table in `data/networks` whose first line names its source."""

COLUMNS: Final = (
    "layer", "kind", "count", "groups", "channels", "filters", "output_x", "output_y",
    "kernel_x", "kernel_y", "stride_x", "stride_y", "dilation_x", "dilation_y", "batch",
)  # fmt: skip
_MAX_LAYERS: Final = 5_000
_MAX_NAME: Final = 200
_MAX_NUMBER: Final = 10**9


@final
@dataclass(frozen=True)
class Layer:
    """Layer and its number of occurrences."""

    name: str
    problem: Problem
    count: int


@final
@dataclass(frozen=True)
class Network:
    """Layers of a network without duplicates, in order of their first occurrence.

    Attributes:
      name: Name in messages.
      layers: The layers.
      source: Source of the shapes.
    """

    name: str
    layers: tuple[Layer, ...]
    source: str = ""

    @property
    def n_operations(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.count * layer.problem.n_operations for layer in self.layers)

    @property
    def n_weights(self) -> int:
        """Words of weights, second operands of products of activations included."""
        return sum(layer.count * layer.problem.tensor_size(0) for layer in self.layers)

    @property
    def digest(self) -> str:
        """SHA-256 of the shapes and counts."""
        text = repr([(layer.problem.shape, layer.count) for layer in self.layers])
        return hashlib.sha256(text.encode()).hexdigest()

    def layer(self, name: str) -> Layer:
        """Return the layer with this name.

        Raises:
          UnknownNameError: No layer has this name.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unknown_name(f"layer of {self.name}", name, [layer.name for layer in self.layers])

    def largest(self, n: int) -> "Network":
        """Return a network of the n layers with the most operations, or this one if it has fewer.

        Layers keep their order, and their numbers of occurrences count.
        """
        if n >= len(self.layers):
            return self
        work = [layer.count * layer.problem.n_operations for layer in self.layers]
        kept = sorted(sorted(range(len(work)), key=lambda place: -work[place])[:n])
        return replace(self, layers=tuple(self.layers[place] for place in kept))


@cache
def _shipped(name: str) -> Network:
    path = resources.files("archgym.simulators.accelerator").joinpath(f"data/networks/{name}.csv")
    return _parse(Path(f"{name}.csv"), name, path.read_text("utf-8"))


def load_network(name: str | Path) -> Network:
    """Return the built-in network with this name, or the table in the file at this path.

    Raises:
      UnknownNameError: The name is neither.
      FileFormatError: The file is not a table of layers.
    """
    text = str(name)
    if text in NETWORKS:
        return _shipped(text)
    if isinstance(name, Path) or text.endswith(".csv") or (text and Path(text).is_file()):
        return read_network(Path(name))
    raise unknown_name("workload", text, NETWORKS)


def layer_named(text: str) -> Layer:
    """Return a layer given as `NETWORK/LAYER`, where the network may be a file in any folder.

    Raises:
      UnknownNameError: The network or layer does not exist.
    """
    network, slash, layer = text.rpartition("/")
    if slash:
        return load_network(network).layer(layer)
    known = [f"{name}/{layer.name}" for name in NETWORKS for layer in _shipped(name).layers]
    raise unknown_name("layer", text, known)


def read_network(path: Path) -> Network:
    """Read a table of layers.

    Raises:
      FileFormatError: The file is not a table of layers; the error names the line.
      StorageError: The file cannot be read.
    """
    return _parse(path, path.stem, read_text(path))


def _parse(path: Path, name: str, text: str) -> Network:
    lines = text.splitlines()
    n_comments = 0
    while n_comments < len(lines) and lines[n_comments].startswith("#"):
        n_comments += 1
    source = lines[0].lstrip("# ") if n_comments else ""
    reader = csv.reader(lines[n_comments:])
    layers: list[Layer] = []
    try:
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise FileFormatError(
                path, n_comments + 1, f"the header must be {','.join(COLUMNS)}; got "
                f"{','.join(header)[:80]!r}",
            )  # fmt: skip
        for row in reader:
            line = n_comments + reader.line_num
            if row:
                layers.append(_layer(path, line, row))
            if len(layers) > _MAX_LAYERS:
                raise FileFormatError(path, line, f"a network must have at most {_MAX_LAYERS} rows")
    except csv.Error as error:
        line = n_comments + reader.line_num
        raise FileFormatError(path, line, f"the file must be CSV; {error}") from None
    if not layers:
        raise FileFormatError(path, None, "a network must have at least one layer")
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise FileFormatError(path, None, f"layers must have distinct names; got {twice!r} twice")
    return Network(name, tuple(layers), source)


def _layer(path: Path, line: int, row: Sequence[str]) -> Layer:
    refusal = partial(FileFormatError, path, line)
    if len(row) != len(COLUMNS):
        raise refusal(f"a row must have {len(COLUMNS)} cells; got {len(row)}")
    cells = dict(zip(COLUMNS, row, strict=True))
    name, kind = cells.pop("layer"), cells.pop("kind")
    if len(name) > _MAX_NAME:
        raise refusal(f"a layer's name must have at most {_MAX_NAME} letters; it has {len(name)}")
    numbers: dict[str, int] = {}
    for column, text in cells.items():
        number = whole(text or "1")
        if not isinstance(number, int):
            raise refusal(f"{column} must be a whole number or empty; got {text[:40]!r}")
        numbers[column] = number
        if not 1 <= numbers[column] <= _MAX_NUMBER:
            raise refusal(f"{column} must lie between 1 and {_MAX_NUMBER}; got {text[:40]}")
    try:
        return Layer(name, _problem(name, kind, numbers), numbers["count"])
    except ArchGymError as error:
        raise refusal(str(error).removesuffix(".")) from None


def _problem(name: str, kind: str, n: dict[str, int]) -> Problem:
    if kind == "matmul":
        return matrix_multiply(
            name, rows=n["output_x"], inner=n["channels"], columns=n["filters"], batch=n["groups"]
        )
    if kind != "conv":
        raise InvalidArgumentError(f"kind must be conv or matmul; got {kind[:40]!r}.")
    pairs = ("output", "kernel", "stride", "dilation")
    both: Any = {pair: (n[f"{pair}_x"], n[f"{pair}_y"]) for pair in pairs}
    single = {key: n[key] for key in ("channels", "filters", "batch", "groups")}
    return convolution(name, **{**both, **single})


def network_csv(rows: Sequence[dict[str, str | int]], source: str) -> str:
    """Return the text of a table of layers from cells by column and the source's line."""
    text = io.StringIO()
    text.write(f"# {' '.join(source.split())}\n")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: cell(value) for name, value in row.items()} for row in rows])
    return text.getvalue()
