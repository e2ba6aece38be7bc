"""Workloads: layers of models, in tables that ship, files of users and formulas.

A file is JSON or YAML. It either lists `layers`, as `data/workloads.json` does, or gives the
shape of a transformer, from which layers are made. A shape has `hidden`, `blocks`, `heads`,
`sequence` and `vocabulary`, and `experts` for a mixture. `docs/cluster.md` lists all keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import Node, read_document, unknown_name

if TYPE_CHECKING:
    from archgym.simulators.accelerator.workloads import Network

Ints = npt.NDArray[np.int64]

# Columns of a table of layers, in the kernel's order.
LAYER_FIELDS: Final = (
    "flops", "params", "expert_params", "io", "act_in", "act_out", "tensor_parallel",
    "tp_bytes", "a2a_bytes", "act_seq", "act_tp", "table_params", "core_flops", "core_act",
    "cp_bytes", "is_block",
)  # fmt: skip
_SHIPPED: Final = resources.files("archgym.simulators.cluster") / "data" / "workloads.json"
_MAX_NAME: Final = 100  # chosen: a line of a report holds it
_NETWORK: Final = "network:"
_FLAGS: Final = ("tensor_parallel", "is_block")
_SHAPE: Final = ("hidden", "blocks", "heads", "sequence")
_META: Final = (
    "name", "kind", "hidden", "sequence", "heads", "kv_heads", "ffn", "gated", "vocabulary",
    "blocks", "fold", "experts", "top_k", "shared_experts", "sample", "source", "global_batch",
    "layers", "layer_instances", "total_params", "forward_flops_per_sample", "tables", "rows",
    "dim", "pooling", "expert_ffn", "format", "first_dense", "dense_ffn", "expert_popularity",
)  # fmt: skip
# Keys that only describe a model whose layers are listed.
_TEXTS: Final = ("kind", "sample", "source")
_FIGURES: Final = (
    "layer_instances", "total_params", "forward_flops_per_sample",
    "tables", "rows", "dim", "pooling",
)  # fmt: skip
# Keys of a shape that do nothing without experts.
_OF_EXPERTS: Final = ("top_k", "shared_experts", "expert_ffn")
_DENSE_FIRST: Final = ("first_dense", "dense_ffn")
# chosen: a thousand times the largest model there is; 28 bytes of each parameter fit int64.
_MAX_NUMBER: Final = 10**17
# chosen: of a sample over all layers; `machine.build` bounds its product with the microbatch.
_MAX_SAMPLE: Final = 10**18
_MAX_LAYERS: Final = 4096
_TOP_K: Final = 2
_BYTES: Final = 2  # of a weight, a gradient and an activation


@final
@dataclass(frozen=True)
class Model:
    """Layers of a model, and how many samples an iteration has.

    Attributes:
      name: Name in messages.
      layers: (n, `LAYER_FIELDS`) int64.
      global_batch: Samples of an iteration.
      tokens: Tokens of a sample; 1 for images and queries.
      experts: Experts of a layer; 0 without.
      popularity: Exponent of a Zipf law of the experts' popularity; 0 for equal ones.
      source: Source of the architecture.
      is_own: True for a model from a user's file.
    """

    name: str
    layers: Ints = field(repr=False)
    global_batch: int
    tokens: int = 1
    experts: int = 0
    popularity: float = 0.0
    source: str = ""
    is_own: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides results."""
        decisive = (self.layers.tolist(), self.global_batch, self.tokens, self.experts)
        return sha256(repr((decisive, self.popularity)).encode()).hexdigest()

    @property
    def flops(self) -> int:
        """Floating-point operations of the forward pass of a sample."""
        return int(self.layers[:, LAYER_FIELDS.index("flops")].sum())

    @property
    def params(self) -> int:
        """Parameters of all layers, tables aside."""
        names = ("params", "expert_params")
        return sum(int(self.layers[:, LAYER_FIELDS.index(name)].sum()) for name in names)


@cache
def _shipped() -> Mapping[str, Node]:
    with resources.as_file(_SHIPPED) as path:
        root = read_document(path).root
    return root.members("workloads")["workloads"].members("workloads")


def model_names() -> tuple[str, ...]:
    """Return the names of the models that ship."""
    return tuple(_shipped())


def load_model(name: str | Path) -> Model:
    """Return the shipped model with this name, or the one in the file at this path.

    Raises:
      UnknownNameError: Neither. `network:NAME` names a network of the accelerator simulator.
      FileFormatError: The file cannot be read.
    """
    text = str(name)
    if text in _shipped():
        return _model(_shipped()[text], text)
    if text.startswith(_NETWORK):
        return _network(text)
    path = Path(name)
    if path.suffix in (".json", ".yaml", ".yml") or path.is_file():
        return read_model(path)
    raise unknown_name("workload", text, model_names())


def read_model(path: Path) -> Model:
    """Return the model in a file of JSON or YAML.

    Raises:
      FileFormatError: Says the line, and what must stand there.
    """
    return replace(_model(read_document(path).root, path.stem), is_own=True)


def _model(root: Node, name: str) -> Model:
    members = root.members("a model", _META)
    if "format" in members:
        members["format"].whole("format", 1, 1)
    if "name" in members:
        name = name_of(members["name"])
    meta = _numbers(members)
    _check_shape(members, meta)
    if "layers" in members:
        rows = [_with_attention(row, meta) for row in _rows(members["layers"])]
    else:
        root.members("a model without `layers`", needed=_SHAPE)
        _check_made(members, meta)
        rows = _transformer_rows(root, meta)
    if not 1 <= len(rows) <= _MAX_LAYERS:
        raise root.refusal(f"a model must have 1 to {_MAX_LAYERS} layers; got {len(rows)}")
    table = _table(root, rows)
    popularity = 0.0
    if "expert_popularity" in members:
        popularity = members["expert_popularity"].number("expert_popularity", 0.0, 10.0)
    return Model(
        name,
        table,
        int(meta.get("global_batch", 256)),
        int(meta.get("sequence", 1)),
        int(meta.get("experts", 0)),
        popularity,
        members["source"].text("source") if "source" in members else "",
    )


def _table(root: Node, rows: list[dict[str, Any]]) -> Ints:
    """Return layers as a table, with sums that fit int64."""
    for key in LAYER_FIELDS:
        most = _MAX_NUMBER if key.endswith("params") else _MAX_SAMPLE
        total = sum(row.get(key, 0) for row in rows)
        if total > most:
            raise root.refusal(
                f"`{key}` of all layers must sum to at most {most:.0e}; got {float(total):.3g}"
            )
    return np.array([[row.get(key, 0) for key in LAYER_FIELDS] for row in rows], dtype=np.int64)


def _check_shape(members: Mapping[str, Node], meta: Mapping[str, int]) -> None:
    """Refuse numbers that no model can have together."""
    for key in _TEXTS:
        if key in members:
            members[key].text(f"`{key}`")
    for key in _FIGURES:
        if key in members:
            members[key].number(f"`{key}`", 0.0, 1e30)
    if "kv_heads" in meta and "heads" in meta and meta["heads"] % meta["kv_heads"]:
        raise members["kv_heads"].refusal(
            f"`kv_heads` must divide `heads`, {meta['heads']}; got {meta['kv_heads']}"
        )
    if "top_k" in meta and meta["top_k"] > meta.get("experts", meta["top_k"]):
        raise members["top_k"].refusal(
            f"`top_k` must be at most `experts`, {meta['experts']}; got {meta['top_k']}"
        )


def _check_made(members: Mapping[str, Node], meta: Mapping[str, int]) -> None:
    """Refuse keys that have no effect on the layers that are made from a shape."""
    for key in _DENSE_FIRST:
        if key in members and (meta[key] or key == "dense_ffn"):
            raise members[key].refusal(
                f"`{key}` must be left out of a shape, whose blocks are all equal; got {meta[key]}",
                "List `layers` for a model that begins with dense blocks",
            )
    if "experts" not in meta:
        for key in _OF_EXPERTS:
            if meta.get(key, 0):
                raise members[key].refusal(
                    f"`{key}` must be left out without `experts`; got {meta[key]}"
                )
    elif meta["experts"] < meta.get("top_k", _TOP_K):
        raise members["experts"].refusal(
            f"`experts` must be at least `top_k`, which is {_TOP_K} where left out; "
            f"got {meta['experts']}"
        )


def _numbers(members: Mapping[str, Node]) -> dict[str, int]:
    """Return the shape of a model, whole numbers and flags."""
    meta: dict[str, int] = {}
    for key, node in members.items():
        if key == "gated":
            meta[key] = node.flag(key)
        elif key in ("hidden", "sequence", "heads", "kv_heads", "ffn", "expert_ffn", "dense_ffn"):
            meta[key] = node.whole(key, 1, 10**7)
        elif key in ("blocks", "fold", "vocabulary", "experts", "top_k", "global_batch"):
            meta[key] = node.whole(key, 1, 10**8)
        elif key in ("shared_experts", "first_dense"):
            meta[key] = node.whole(key, 0, 10**4)
    return meta


def _rows(node: Node) -> list[dict[str, Any]]:
    """Return layers in the order of the forward pass, repeats written out."""
    rows: list[dict[str, Any]] = []
    for item in node.items("`layers`"):
        if "repeat" in item.members("a layer"):
            members = item.members("a repeat", ("repeat", "layers"), ("layers",))
            times = members["repeat"].whole("repeat", 1, _MAX_LAYERS)
            # Counts within a repeat are those of the whole model.
            once = [
                row
                for inner in members["layers"].items("`layers`")
                for row in [_layer(inner)] * max(1, _count(inner) // times)
            ]
            rows += once * times
        else:
            rows += [_layer(item)] * _count(item)
        if len(rows) > _MAX_LAYERS:
            raise item.refusal(f"a model must have at most {_MAX_LAYERS} layers")
    return rows


def _count(node: Node) -> int:
    members = node.members("a layer")
    return members["count"].whole("count", 1, _MAX_LAYERS) if "count" in members else 1


def _layer(node: Node) -> dict[str, Any]:
    members = node.members("a layer", ("name", "count", "repeat", "layers", *LAYER_FIELDS))
    row: dict[str, Any] = {"name": members["name"].text("name") if "name" in members else ""}
    for key in LAYER_FIELDS:
        if key in members:
            is_flag = key in _FLAGS
            row[key] = (
                int(members[key].flag(key)) if is_flag else members[key].whole(key, 0, _MAX_NUMBER)
            )
    return row


def _with_attention(row: dict[str, Any], meta: Mapping[str, int]) -> dict[str, Any]:
    """Add what follows from the shape: attention's scores, and keys and values."""
    is_attention = row["name"].startswith(("block", "attention"))
    if not is_attention or not all(key in meta for key in ("hidden", "sequence", "heads")):
        return row
    fold = meta.get("fold", 1)
    s, h, a = meta["sequence"], meta["hidden"], meta["heads"]
    kv = h * meta.get("kv_heads", a) // a
    return {
        "is_block": 1,
        "core_flops": 4 * s * s * h * fold,
        "core_act": 5 * a * s * s * fold,
        "cp_bytes": 2 * _BYTES * s * kv * fold,
        **row,
    }


def transformer(name: str, global_batch: int, **shape: int) -> Model:
    """Return a transformer or a mixture of experts made from its shape.

    Args:
      name: Name in messages.
      global_batch: Samples of an iteration.
      shape: As in a file: hidden, blocks, heads, sequence, vocabulary and the like.
    """
    root = Node(Path(name), None, {})
    rows = _transformer_rows(root, shape)
    table = _table(root, rows)
    return Model(name, table, global_batch, shape["sequence"], shape.get("experts", 0))


def _transformer_rows(root: Node, meta: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the layers of a transformer: embedding, blocks, head.

    Source:
      Parameters and operations by counting products; activations after Korthikanti et al. 2022,
      equation 2 (10 s h outside tensor parallelism, 24 s h + 5 a s^2 within).
    """
    h, s, a, n = meta["hidden"], meta["sequence"], meta["heads"], meta["blocks"]
    fold, v = meta.get("fold", 1), meta.get("vocabulary", 32000)
    if n % fold:
        raise root.refusal(f"`fold` must divide the {n} blocks; got {fold}")
    if n // fold > _MAX_LAYERS:
        raise root.refusal(
            f"a model must have at most {_MAX_LAYERS} layers; {n} blocks with `fold` {fold} are "
            f"{n // fold}. Choose a larger `fold`"
        )
    if h % a:
        raise root.refusal(f"`heads` must divide `hidden`, {h}; got {a}")
    g = 3 if meta.get("gated", False) else 2
    f = meta.get("ffn", 4 * h)
    k = h * meta.get("kv_heads", a) // a
    attention = 2 * h * h + 2 * h * k
    wide = {"tensor_parallel": 1, "act_in": _BYTES * s * h, "act_out": _BYTES * s * h}
    core = {"core_flops": 4 * s * s * h, "core_act": 5 * a * s * s, "cp_bytes": 2 * _BYTES * s * k}

    def folded(name: str, **amounts: int) -> dict[str, Any]:
        return {**wide, "name": name} | {key: fold * n for key, n in amounts.items()}

    ends = [
        {
            **(wide | {"act_in": 0, "name": "embedding"}),
            **{
                "flops": s * h,
                "params": v * h,
                "io": 2 * _BYTES * s * h,
                "tp_bytes": _BYTES * s * h,
            },
        },
        {
            **(wide | {"act_out": 0, "name": "head"}),
            **{"flops": 2 * s * h * v, "params": v * h, "io": s * (2 * h + 4 * v)},
            **{"act_seq": _BYTES * s * h, "act_tp": 4 * s * v},
        },
    ]
    experts, top_k = meta.get("experts", 0), meta.get("top_k", _TOP_K)
    if not experts:
        params = attention + g * h * f
        block = folded(
            "block",
            flops=2 * s * params + 4 * s * s * h,
            params=params,
            io=2 * s * (8 * h + 2 * k + g * f),
            tp_bytes=4 * s * h,
            act_seq=10 * s * h,
            act_tp=24 * s * h + 5 * a * s * s,
            **core,
        )
        return [ends[0], *([block | {"is_block": 1}] * (n // fold)), ends[1]]
    width = meta.get("expert_ffn", f)
    shared = meta.get("shared_experts", 0) * 3 * width
    dense = attention + shared * h
    heads = folded(
        "attention",
        flops=2 * s * dense + 4 * s * s * h,
        params=dense + experts * h,
        io=2 * s * (6 * h + 2 * k + shared),
        tp_bytes=2 * s * h,
        act_seq=5 * s * h,
        act_tp=8 * s * h + 5 * a * s * s,
        **core,
    )
    routed = folded(
        "experts",
        flops=2 * s * top_k * 3 * h * width,
        expert_params=experts * 3 * h * width,
        io=2 * s * top_k * (2 * h + 3 * width),
        tp_bytes=2 * s * h,
        a2a_bytes=2 * s * top_k * h,
        act_seq=5 * s * h,
        act_tp=2 * s * top_k * (h + 3 * width),
    )
    return [ends[0], *([heads | {"is_block": 1}, routed] * (n // fold)), ends[1]]


def _network(text: str) -> Model:
    from archgym.simulators.accelerator.workloads import load_network

    return network_model(load_network(text.removeprefix(_NETWORK)))


def network_model(network: "Network") -> Model:
    """Return a network of the accelerator simulator's layer tables, 1,024 samples an iteration.

    Equal shapes stand once in such a table, so that layers come in the order of first occurrence.
    """
    rows = []
    for layer in network.layers:
        p = layer.problem
        weights, inputs, outputs = (p.tensor_size(tensor) for tensor in range(3))
        row = {
            "flops": 2 * p.n_operations,
            "params": weights,
            "io": _BYTES * (inputs + outputs),
            "act_in": _BYTES * inputs,
            "act_out": _BYTES * outputs,
            "act_seq": _BYTES * (inputs + outputs),
        }
        rows += [row] * layer.count
    table = np.array([[row.get(key, 0) for key in LAYER_FIELDS] for row in rows], dtype=np.int64)
    return Model(network.name, table, 1024, source=network.source)


def name_of(node: Node) -> str:
    """Return a name that can be part of a line and of a task's name."""
    name = node.text("name")
    if not name.isprintable() or not 0 < len(name) <= _MAX_NAME or set(name) & set("/+*[]"):
        raise node.refusal(
            f"`name` must be 1 to {_MAX_NAME} printable characters without / + * [ ]; "
            f"got {name[:40]!r}"
        )
    return name
