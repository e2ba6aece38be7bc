"""Designs as settings of vLLM, SGLang, LMCache and Dynamo, and back.

Options are those of `vllm serve --config` (docs.vllm.ai, engine arguments), `sglang.launch_server
--config` (docs.sglang.ai, server arguments), LMCache's configuration file (docs.lmcache.ai) and
Dynamo's variables for its block manager and router (docs.nvidia.com/dynamo). What a tool has no
option for is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import yaml

from archgym.errors import FileFormatError, InvalidDesignError

_GIB_PER_GB: Final = 1e9 / 2**30
FORMATS: Final = {
    "vllm": "Options of `vllm serve --config`.",
    "sglang": "Options of `sglang.launch_server --config`.",
    "lmcache": "LMCache's configuration file.",
    "dynamo": "Variables of Dynamo's router and block manager.",
}


@final
@dataclass(frozen=True)
class _Setting:
    """A parameter in a tool's file.

    Attributes:
      parameter: Name of the parameter.
      key: Name of the setting.
      write: From the parameter's value to the setting's; None leaves it out.
      read: Back again; None for a setting of several parameters that says nothing more.
    """

    parameter: str
    key: str
    write: Callable[[Any], Any] = lambda value: value
    read: Callable[[Any], Any] = lambda value: value


def _named(names: Mapping[str, Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return both directions of a choice; what the tool lacks is refused."""

    def write(value: Any) -> Any:
        if value not in names:
            known = ", ".join(names)
            raise InvalidDesignError(f"The tool has no setting for {value!r}; it has {known}.")
        return names[value]

    return write, lambda found: {value: key for key, value in names.items()}[found]


def _size(factor: float = 1.0) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return both directions of a size in gigabytes; 0 leaves the setting out."""
    return (
        lambda value: round(value * factor, 3) if value else None,
        lambda found: round(float(found) / factor),
    )


_FILES: Final[Mapping[str, tuple[str, Mapping[str, Any], tuple[_Setting, ...]]]] = {
    "vllm": (
        "vllm.yaml",
        {"enable-prefix-caching": True, "enable-chunked-prefill": True},
        (
            _Setting("block_tokens", "block-size"),
            _Setting("max_seqs", "max-num-seqs"),
            _Setting("token_budget", "max-num-batched-tokens"),
            _Setting("tensor", "tensor-parallel-size"),
            _Setting("workers", "data-parallel-size"),
            _Setting("dram_gb", "kv-offloading-size", *_size(_GIB_PER_GB)),
            _Setting("policy", "", *_named({"lru": None})),
        ),
    ),
    "sglang": (
        "sglang.yaml",
        {},
        (
            _Setting("block_tokens", "page-size"),
            _Setting("max_seqs", "max-running-requests"),
            _Setting("token_budget", "chunked-prefill-size"),
            _Setting("tensor", "tensor-parallel-size"),
            _Setting("workers", "data-parallel-size"),
            _Setting("policy", "radix-eviction-policy", *_named({"lru": "lru", "lfu": "lfu"})),
            _Setting("dram_gb", "hicache-size", *_size()),
            _Setting(
                "write",
                "hicache-write-policy",
                *_named({"through": "write_through", "on-eviction": "write_back"}),
            ),
            _Setting(
                "prefetch",
                "hicache-storage-prefetch-policy",
                *_named({"off": None, "on": "best_effort"}),
            ),
        ),
    ),
    "lmcache": (
        "lmcache.yaml",
        {},
        (
            _Setting("block_tokens", "chunk_size"),
            _Setting("dram_gb", "max_local_cpu_size", *_size(_GIB_PER_GB)),
            _Setting("flash_gb", "max_local_disk_size", *_size(_GIB_PER_GB)),
            _Setting("tier_policy", "cache_policy", *_named({"lru": "LRU", "lfu": "LFU"})),
            _Setting("reload", "use_layerwise", *_named({"layerwise": True, "blocking": False})),
        ),
    ),
    "dynamo": (
        "dynamo.yaml",
        {},
        (
            _Setting("workers", "replicas"),
            _Setting("tensor", "tensor-parallel-size"),
            _Setting("block_tokens", "kv-cache-block-size"),
            _Setting("dram_gb", "DYN_KVBM_CPU_CACHE_GB", *_size()),
            _Setting("flash_gb", "DYN_KVBM_DISK_CACHE_GB", *_size()),
            _Setting(
                "routing",
                "DYN_ROUTER_MODE",
                *_named({"round-robin": "round-robin", "prefix-aware": "kv"}),
            ),
        ),
    ),
}


_ROLES: Final[Mapping[str, tuple[str, str, str]]] = {
    "vllm": (
        "kv-transfer-config",
        '{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}',
        '{"kv_connector": "NixlConnector", "kv_role": "kv_consumer"}',
    ),
    "sglang": ("disaggregation-mode", "prefill", "decode"),
    "dynamo": ("disaggregation-mode", "prefill", "decode"),
}
"""Setting by which a tool tells engines that read prompts alone from the others, and its values."""


def export(form: str, design: Mapping[str, Any]) -> dict[str, str]:
    """Return a design as the file of a tool; engines that read prompts alone have one of their own.

    Args:
      form: One of `FORMATS`.
      design: Values by parameter; those that the space lacks are left out.

    Raises:
      InvalidDesignError: The tool has no setting for a value.
    """
    name = _FILES[form][0]
    n_prefill = design.get("prefill_workers", 0)
    if not n_prefill or form not in _ROLES:
        return {name: _text(form, design, {})}
    key, prefill, decode = _ROLES[form]
    alone = _text(form, {**design, "workers": n_prefill}, {key: prefill})
    return {f"prefill-{name}": alone, name: _text(form, design, {key: decode})}


def _text(form: str, design: Mapping[str, Any], role: Mapping[str, str]) -> str:
    _, always, settings = _FILES[form]
    found = {**always, **role}
    for setting in settings:
        if setting.parameter in design:
            value = setting.write(design[setting.parameter])
            if value is not None and setting.key:
                found[setting.key] = value
    if form == "sglang" and "hicache-size" in found:
        found["enable-hierarchical-cache"] = True
    elif form == "sglang":
        for key in ("hicache-write-policy", "hicache-storage-prefetch-policy"):
            found.pop(key, None)
    if form == "vllm" and "kv-offloading-size" in found:
        found["kv-offloading-backend"] = "native"
    if form == "lmcache":
        found["local_cpu"] = "max_local_cpu_size" in found
        if "max_local_disk_size" in found:
            found["local_disk"] = "file:///var/lmcache/"
    return yaml.safe_dump(found, sort_keys=False)


def read_export(form: str, path: Path) -> dict[str, Any]:
    """Return the values by parameter that a tool's file states.

    Args:
      form: One of `FORMATS`.
      path: File that `export` wrote, or one of the tool's own.

    Raises:
      FileFormatError: It is no such file.
    """
    from archgym.files.yaml_document import read_document

    root = read_document(path).root
    try:
        members = {key: node.plain() for key, node in root.members("settings").items()}
        found = {
            setting.parameter: setting.read(members[setting.key])
            for setting in _FILES[form][2]
            if setting.key in members
        }
        key, prefill, _ = _ROLES.get(form, ("", "", ""))
        if key in members and members[key] == prefill and "workers" in found:
            found["prefill_workers"] = found.pop("workers")
        return found
    except (KeyError, TypeError, ValueError) as error:
        what = f"a setting must be one that the tool knows; {error}"
        raise FileFormatError(path, None, what) from None
