"""Models from `config.json` of Hugging Face, read as data; no code of theirs runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from archgym.simulators.kit import FileFormatError, InvalidArgumentError, read_json, storage_errors
from archgym.simulators.moe.workloads.models import LatentAttention, LinearAttention, MoeModel

# What `read_json` reads.
_MAX_BYTES: Final = 2**20
_EXPERTS: Final = ("n_routed_experts", "num_local_experts", "num_experts")
_EXPERT_INNER: Final = ("moe_intermediate_size", "expert_intermediate_size")
_ALL_HEADS_NORMED: Final = "minimax_m2"
_WIDE: Final = ("gpt_oss",)
# What some models say of their layers in place of `layer_types`; state spaces are not modelled.
_HYBRID: Final = (
    "hybrid_override_pattern", "hybrid_layer_pattern", "hybrid_layer_ids", "layers_block_type",
    "attn_layer_period", "attn_layer_indices", "expert_layer_period", "linear_attn_config",
    "mamba_d_state", "ssm_state_size",
)  # fmt: skip
_WINDOWS: Final = ("sliding_window_pattern", "sliding_window", "attention_chunk_size")
_KINDS: Final = ("full_attention", "linear_attention", "sliding_attention", "chunked_attention")


def is_huggingface(path: str | Path) -> bool:
    """Return True if a file is a configuration of Hugging Face, by its name or its content."""
    place = Path(path)
    if place.name.endswith("config.json"):
        return True
    if place.suffix != ".json" or not place.is_file():
        return False
    with storage_errors(place, "read"), place.open("rb") as handle:
        return b'"num_hidden_layers"' in handle.read(_MAX_BYTES)


def read_huggingface(path: str | Path) -> MoeModel:
    """Read the model that a `config.json` describes.

    Args:
      path: File of a language model, or the language part of a larger one; one without experts
        is dense.

    Raises:
      FileFormatError: It is no JSON, or not such a configuration.
      StorageError: It cannot be read.
    """
    path = Path(path)
    document = read_json(path)
    if not isinstance(document, dict):
        raise FileFormatError(path, None, "the file must hold a JSON object")
    # Models of several modalities keep their language model in a part of its own.
    inner = document.get("text_config")
    values = inner if isinstance(inner, dict) else document
    try:
        return _model(path, values)
    except InvalidArgumentError as error:
        raise FileFormatError(path, None, str(error)) from None


def _whole(path: Path, values: Mapping[str, Any], *names: str, otherwise: int | None = None) -> int:
    """Return the first of some values that is there."""
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
            raise FileFormatError(
                path, None, f"`{name}` must be a whole number of 0 or more; got {value!r}"
            )
        return value
    if otherwise is None:
        raise FileFormatError(
            path, None, f"it must have {' or '.join(f'`{name}`' for name in names)}",
            "Name the config.json of a language model",
        )  # fmt: skip
    return otherwise


def _model(path: Path, values: Mapping[str, Any]) -> MoeModel:
    def whole(*names: str, otherwise: int | None = None) -> int:
        return _whole(path, values, *names, otherwise=otherwise)

    layers, hidden = whole("num_hidden_layers"), whole("hidden_size")
    heads = whole("num_attention_heads")
    kv_heads = whole("num_key_value_heads", otherwise=heads)
    if not 1 <= kv_heads <= heads or heads % kv_heads:
        raise FileFormatError(
            path,
            None,
            f"`num_key_value_heads` must divide `num_attention_heads`; got {kv_heads} and {heads}",
        )
    plain = whole("intermediate_size", otherwise=0)
    expert_inner = whole(*_EXPERT_INNER, otherwise=0) or plain
    dense_layers = _dense_layers(path, values, layers)
    dense_inner = whole("intermediate_size_mlp", otherwise=0) or plain
    shared = whole("shared_expert_intermediate_size", otherwise=0)
    if not shared:
        shared = whole("n_shared_experts", otherwise=0) * expert_inner
    kinds = _layer_kinds(path, values, layers)
    full, window, linear = layers, 0, None
    if kinds:
        full = sum(1 for kind in kinds if kind == "full_attention")
        if "linear_attention" in kinds:
            linear = LinearAttention(
                *(
                    whole(f"linear_{name}")
                    for name in (
                        "num_key_heads", "num_value_heads",
                        "key_head_dim", "value_head_dim",
                    )
                )
            )  # fmt: skip
        elif full < layers:
            window = whole("sliding_window", "attention_chunk_size")
    latent = None
    if values.get("kv_lora_rank"):
        latent = LatentAttention(
            whole("q_lora_rank", otherwise=0), whole("kv_lora_rank"), whole("qk_rope_head_dim"),
            whole("qk_nope_head_dim"), whole("v_head_dim"),
        )  # fmt: skip
    kind = str(values.get("model_type", ""))
    has_norm = bool(values.get("use_qk_norm")) or kind.startswith("qwen3")
    norm = "all" if has_norm and kind == _ALL_HEADS_NORMED else "head" if has_norm else "none"
    is_dense = not any(values.get(name) for name in _EXPERTS)
    if is_dense:
        dense_layers = layers
    return MoeModel(
        name=path.stem if path.stem != "config" else (kind or path.parent.name or "model"),
        layers=layers,
        moe_layers=layers - dense_layers,
        hidden=hidden,
        experts=1 if is_dense else whole(*_EXPERTS),
        top_k=1 if is_dense else whole("num_experts_per_tok", "num_experts_per_token"),
        expert_inner=1 if is_dense else expert_inner,
        matrices=3,
        heads=heads,
        kv_heads=kv_heads,
        head_size=whole("head_dim", otherwise=hidden // heads),
        vocabulary=whole("vocab_size"),
        shared_inner=shared,
        dense_layers=dense_layers,
        dense_inner=dense_inner if dense_layers else 0,
        latent=latent,
        full_attention_layers=0 if full == layers else full,
        window=window,
        linear=linear,
        query_norm=norm,
        output_gate=bool(values.get("attn_output_gate")) or kind == "qwen3_next",
        wide_attention=kind in _WIDE,
        tied_embeddings=bool(values.get("tie_word_embeddings", False)),
        # chosen: the preset that lies in the middle of those fitted.
        routing="olmoe",
        source=f"{path.name} of Hugging Face",
    )


def _layer_kinds(path: Path, values: Mapping[str, Any], layers: int) -> list[str]:
    """Return the attention of each layer, or nothing where all have full attention.

    Raises:
      FileFormatError: Some layers have what no model here has, or another key says which.
    """
    found = [name for name in _HYBRID if values.get(name)]
    kinds = values.get("attn_type_list")
    if isinstance(kinds, list) and 0 in kinds:
        found.append("attn_type_list")
    if found:
        raise FileFormatError(path, None, f"layers that differ by `{found[0]}` are not modelled")
    key, kinds = "layer_types", values.get("layer_types")
    if not isinstance(kinds, list) and values.get("full_attention_interval") is not None:
        key = "full_attention_interval"
        step = _whole(path, values, key)
        kinds = [_KINDS[0 if step and (i + 1) % step == 0 else 1] for i in range(layers)]
    if isinstance(kinds, list):
        strange = [kind for kind in kinds if kind not in _KINDS]
        if strange or _KINDS[0] not in kinds:
            problem = f"has {strange[0]!r}" if strange else "leaves no layer with full attention"
            raise FileFormatError(path, None, f"`{key}` {problem}, which is not modelled")
        return kinds
    unused = values.get("use_sliding_window") is False
    longest = values.get("max_position_embeddings")
    for name in () if unused else _WINDOWS:
        value = values.get(name)
        is_all = name == "sliding_window" and isinstance(longest, int) and value == longest
        if value and not is_all:
            raise FileFormatError(
                path, None, f"`{name}` needs `layer_types`, which say in which layers it holds"
            )
    return []


def _dense_layers(path: Path, values: Mapping[str, Any], layers: int) -> int:
    """Return layers with a plain network: the first ones, listed ones, or all but every n-th."""
    listed = values.get("moe_layers")
    if isinstance(listed, list):
        return layers - len(listed)
    first = _whole(path, values, "first_k_dense_replace", otherwise=0)
    only = values.get("mlp_only_layers")
    if isinstance(only, list):
        first = max(first, len(only))
    step = _whole(
        path, values, "interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq",
        otherwise=1,
    )  # fmt: skip
    if step > 1:
        return layers - layers // step
    return min(first, layers - 1)
