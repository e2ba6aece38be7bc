"""Import of ONNX models: convolutions and products of matrices as a table of layers.

A model is parsed as protocol buffers and never run. The content of its weights is removed before
shapes are inferred, and references to other files are ignored.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from archgym.simulators.accelerator.workloads import network_csv
from archgym.simulators.kit import FileFormatError, MissingExtraError, storage_errors

# chosen: the limit of protocol buffers, and ten times the nodes of large exported models.
_MAX_BYTES: Final = 2**31 - 1
_MAX_NODES: Final = 50_000
_MAX_DIMENSION: Final = 10**9
# Small constants are kept, since shapes may depend on them.
_MAX_KEPT_BYTES: Final = 4096
# Inputs of each kind of node that are its two operands.
_CONVOLUTIONS: Final = {"Conv": (0, 1), "ConvInteger": (0, 1), "QLinearConv": (0, 3)}
_PRODUCTS: Final = {
    **{"MatMul": (0, 1), "MatMulInteger": (0, 1), "Gemm": (0, 1), "QLinearMatMul": (0, 3)},
}
# Other nodes that multiply, which are skipped; nodes in no list cost little.
_HEAVY: Final = ("ConvTranspose", "Einsum", "LSTM", "GRU", "RNN", "Attention")

Row = dict[str, str | int]


@final
@dataclass(frozen=True)
class ImportedModel:
    """Layers of a model.

    Attributes:
      rows: Layers without duplicates, in order of their first occurrence.
      skipped: Number of unsupported nodes that multiply, by kind.
      table: Text of the table with these rows.
    """

    rows: tuple[Row, ...]
    skipped: Mapping[str, int]
    table: str


def read_onnx(path: Path, sizes: Mapping[str, int] | None = None) -> ImportedModel:
    """Read the layers of an ONNX model.

    Args:
      path: The model.
      sizes: Sizes of named dimensions of the model's inputs, such as a batch.

    Raises:
      FileFormatError: The file is not a model, or shapes remain unknown.
      MissingExtraError: The package `onnx` is not installed.
      StorageError: The file cannot be read.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    with storage_errors(path, "read"):
        if path.stat().st_size > _MAX_BYTES:
            raise FileFormatError(path, None, f"a model must have at most {_MAX_BYTES} bytes")
        content = path.read_bytes()
    model = onnx.ModelProto()
    refusal = partial(FileFormatError, path, None)
    try:
        model.ParseFromString(content)
    except Exception as error:  # the exception's module differs between releases of protobuf
        raise refusal(f"the file must be an ONNX model; {_line(error)}") from None
    n_nodes = len(model.graph.node)
    if not n_nodes:
        raise refusal("the file must be an ONNX model; it has no nodes")
    if n_nodes > _MAX_NODES:
        raise refusal(f"a model must have at most {_MAX_NODES} nodes; got {n_nodes}")
    _fix_sizes(path, model, sizes or {})
    shapes = _shapes(path, onnx, model)
    rows, skipped = _layers(path, model, shapes)
    if not rows:
        raise FileFormatError(
            path,
            None,
            "a model must have a convolution or a product of matrices",
        )
    producer = _text(model.producer_name) or "unknown"
    source = f"{path.name}: read from ONNX, producer {producer}"[:200]
    return ImportedModel(tuple(rows), skipped, network_csv(rows, source))


def _fix_sizes(path: Path, model: Any, sizes: Mapping[str, int]) -> None:
    """Set the sizes of the inputs' named dimensions."""
    given = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in given:
            continue
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.WhichOneof("value") == "dim_value" and dimension.dim_value > 0:
                continue
            name = _text(dimension.dim_param)
            if name not in sizes:
                what = f"named {name[:40]!r}" if name else "without a name"
                raise FileFormatError(
                    path, None, f"input {_text(value.name)[:40]!r} must have sizes; a "
                    f"dimension {what} has none", f"Give it: --size {name[:40] or 'NAME'}=1",
                )  # fmt: skip
            dimension.dim_value = sizes[name]


def _shapes(path: Path, onnx: Any, model: Any) -> dict[str, tuple[int, ...]]:
    """Return all known shapes, by name of the value."""
    shapes: dict[str, tuple[int, ...]] = {}
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:]
    del bare.functions[:]
    known = {value.name for value in bare.graph.input}
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        if tensor.ByteSize() <= _MAX_KEPT_BYTES and not tensor.external_data:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in known:
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception as error:  # onnx raises exceptions of several packages
        raise FileFormatError(
            path, None, f"shapes of the model must be inferable; {_line(error)}"
        ) from None
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            shapes.setdefault(value.name, tuple(int(d.dim_value) for d in dims))
    return shapes


def _layers(
    path: Path, model: Any, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[list[Row], Mapping[str, int]]:
    found: dict[tuple[Any, ...], Row] = {}
    skipped: Counter[str] = Counter()
    names: set[str] = set()
    for number, node in enumerate(model.graph.node):
        kind = _text(node.op_type)
        name = _unique(_text(node.name) or f"{kind.lower()}_{number}", names)
        if kind in _CONVOLUTIONS:
            row = _convolution(path, node, name, shapes)
        elif kind in _PRODUCTS:
            row = _product(path, node, name, shapes)
        else:
            if kind in _HEAVY:
                skipped[kind] += 1
            continue
        if row is None:
            skipped[f"{kind} of three dimensions"] += 1
            continue
        key = tuple(sorted((k, v) for k, v in row.items() if k not in ("layer", "count")))
        if key in found:
            found[key]["count"] = int(found[key]["count"]) + 1
        else:
            names.add(name)
            found[key] = row
    return list(found.values()), dict(skipped)


def _operands(
    path: Path, node: Any, name: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of a node's operands and of its output."""
    places = {**_CONVOLUTIONS, **_PRODUCTS}[_text(node.op_type)]
    wanted = [node.input[p] if p < len(node.input) else "" for p in places]
    wanted.append(node.output[0] if node.output else "")
    found = [shapes.get(value, ()) for value in wanted]
    for value, shape in zip(wanted, found, strict=True):
        if not shape or not all(1 <= n <= _MAX_DIMENSION for n in shape):
            raise FileFormatError(
                path, None, f"shapes of node {name!r} must be known; that of "
                f"{_text(value)[:40]!r} is {shape[:8] if shape else 'unknown'}",
            )  # fmt: skip
    return found[0], found[1], found[2]


def _convolution(
    path: Path, node: Any, name: str, shapes: Mapping[str, tuple[int, ...]]
) -> Row | None:
    data, weights, output = _operands(path, node, name, shapes)
    n_axes = len(weights) - 2
    if len(data) != len(weights) or len(output) != len(weights) or n_axes < 1:
        raise FileFormatError(
            path, None, f"operands of node {name!r} must be those of a convolution"
        )
    if n_axes > 2:
        return None
    lists = {a.name: [int(i) for i in a.ints] for a in node.attribute if a.ints}
    groups = next((int(a.i) for a in node.attribute if a.name == "group"), 1)

    def pair(values: Sequence[int]) -> tuple[int, int]:
        # ONNX has height before width.
        padded = [1, *values][-2:] if n_axes == 1 else list(values)
        return padded[-1], padded[0]

    ones = [1] * n_axes
    strides, dilations = (
        lists.get(key, ones) if len(lists.get(key, ones)) == n_axes else ones
        for key in ("strides", "dilations")
    )
    columns = {
        "output": pair(output[2:]),
        "kernel": pair(weights[2:]),
        "stride": pair(strides),
        "dilation": pair(dilations),
    }
    row: Row = {
        "layer": name,
        "kind": "conv",
        "count": 1,
        "groups": groups,
        "channels": data[1],
        "filters": weights[0],
        "batch": data[0],
    }
    for what, (x, y) in columns.items():
        row |= {f"{what}_x": x, f"{what}_y": y}
    return row


def _product(path: Path, node: Any, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Row | None:
    data, weights, output = _operands(path, node, name, shapes)
    flags = {a.name: int(a.i) for a in node.attribute}
    if _text(node.op_type) == "Gemm":
        inner = data[0] if flags.get("transA") else data[-1]
        rows, columns, batch = output[0], output[-1], 1
    else:
        inner, columns = data[-1], weights[-1] if len(weights) > 1 else 1
        batch, rows = 1, math.prod(data[:-1])
        if len(weights) > 2:
            batch, rows = math.prod(output[:-2]), output[-2] if len(output) > 1 else 1
    if max(batch, rows, inner, columns) > _MAX_DIMENSION:
        raise FileFormatError(path, None, f"node {name!r} must have at most 1e9 rows and products")
    return {
        "layer": name,
        "kind": "matmul",
        "count": 1,
        "groups": batch,
        "channels": inner,
        "filters": columns,
        "output_x": rows,
    }


def _unique(name: str, taken: set[str]) -> str:
    number, wanted = 2, name
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _text(value: str | bytes) -> str:
    """Return a name as one line; protocol buffers give invalid names as bytes."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return " ".join(text.split())[:80]


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
