"""Accelerators, their memories, links and kernels: presets with sources, and the user's own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, final

from archgym.simulators.kit import InvalidArgumentError, Node, read_document, unknown_name

_GB = 10**9
# chosen: a thousand times the best of today, and the least that can be told from nothing.
_LEAST, _MOST = 1e-6, 1e9
_MAX_GPUS = 4096
# Formats of 4 bits have up to half a bit of scales a weight (mxfp4 4.25, nvfp4 4.5).
_FOUR_BITS, _EIGHT_BITS = 5.0, 9.0


@final
@dataclass(frozen=True)
class Gpu:
    """An accelerator.

    Attributes:
      name: Name.
      bf16_tflops: Dense peak of 16-bit matrix multiplication [TFLOP/s].
      memory_gb_per_s: Peak of its own memory [GB/s of 1e9 bytes].
      memory_gb: Its own memory [GB].
      fp8_tflops: Dense peak of 8-bit matrix multiplication; 0 where there are no such units.
      fp4_tflops: Dense peak of 4-bit matrix multiplication; 0 where there are no such units.
      vendor: Maker, such as "nvidia" or "amd".
      generation: Architecture, such as "hopper"; engines' constants are shared within it.
      source: Source of the numbers.
      multiprocessors: Streaming multiprocessors, by the datasheet; 0 where they do not limit.
    """

    name: str
    bf16_tflops: float
    memory_gb_per_s: float
    memory_gb: float
    source: str = ""
    fp8_tflops: float = 0.0
    fp4_tflops: float = 0.0
    vendor: str = "nvidia"
    generation: str = ""
    # Not part of its text, which identifies tasks of spaces that it changes no number of.
    multiprocessors: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        _check("gpu", self, ("bf16_tflops", "memory_gb_per_s", "memory_gb"))
        for name in ("fp8_tflops", "fp4_tflops"):
            if getattr(self, name):
                _check("gpu", self, (name,))

    def tflops(self, bits: float) -> float:
        """Return the peak that products with weights of this width can use [TFLOP/s].

        Weights of 4 bits are widened to 16 bits where there are no units for them.
        """
        if bits <= _FOUR_BITS and self.fp4_tflops:
            return self.fp4_tflops
        if _FOUR_BITS < bits <= _EIGHT_BITS and self.fp8_tflops:
            return self.fp8_tflops
        return self.bf16_tflops

    @property
    def memory_bytes(self) -> int:
        """Its own memory [bytes]."""
        return round(self.memory_gb * _GB)


@final
@dataclass(frozen=True)
class Link:
    """A link of one direction: a message takes its latency and its bytes over the bandwidth.

    Attributes:
      gb_per_s: Achieved bandwidth [GB/s of 1e9 bytes].
      latency_ns: Before the first byte [ns].
      source: Source of the numbers.
    """

    gb_per_s: float
    latency_ns: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        _check("link", self, ("gb_per_s",))
        if not 0 <= self.latency_ns <= _MOST:
            raise InvalidArgumentError(
                f"`latency_ns` of a link must be from 0 to {_MOST:g}; got {self.latency_ns!r}."
            )


@final
@dataclass(frozen=True)
class Host:
    """Processors and memory of the host of the accelerators.

    Attributes:
      memory_gb: Memory [GB].
      memory_gb_per_s: Its peak [GB/s].
      gflops: Throughput of matrix multiplication on all cores [GFLOP/s].
      source: Source of the numbers.
      cores: Cores of all its processors; 0 where nobody says.
    """

    memory_gb: float
    memory_gb_per_s: float
    gflops: float
    source: str = ""
    cores: int = 0

    def __post_init__(self) -> None:
        _check("host", self, ("memory_gb", "memory_gb_per_s", "gflops"))


@final
@dataclass(frozen=True)
class NodePreset:
    """A server: equal accelerators, a host, and the links between them.

    Attributes:
      name: Name.
      gpu: Each accelerator.
      n_gpus: Number of GPUs.
      host_to_gpu: From the host's memory to one accelerator.
      gpu_to_host: Back.
      ssd: From the drive to the host's memory.
      host: Processors and memory.
      gpu_to_gpu: From one accelerator to the others; None for one accelerator.
      network: From one accelerator to other servers; None for a single server.
    """

    name: str
    gpu: Gpu
    n_gpus: int
    host_to_gpu: Link
    gpu_to_host: Link
    ssd: Link
    host: Host
    gpu_to_gpu: Link | None = None
    network: Link | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n_gpus <= _MAX_GPUS:
            raise InvalidArgumentError(
                f"`n_gpus` of a node must be a whole number from 1 to {_MAX_GPUS}; "
                f"got {self.n_gpus!r}."
            )


def _check(what: str, value: object, names: tuple[str, ...]) -> None:
    for name in names:
        number = getattr(value, name)
        if not _LEAST <= number <= _MOST:
            raise InvalidArgumentError(
                f"`{name}` of a {what} must be from {_LEAST:g} to {_MOST:g}; got {number!r}."
            )


@cache
def _presets() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    path = resources.files("archgym.simulators.moe").joinpath("data/hardware.json")
    presets: dict[str, dict[str, dict[str, Any]]] = json.loads(path.read_text("utf-8"))
    return presets


def gpu_names() -> tuple[str, ...]:
    """Return the names of all accelerators."""
    return tuple(_presets()["gpus"])


def gpu(name: str) -> Gpu:
    """Return the accelerator with this name.

    Raises:
      UnknownNameError: The name is unknown.
    """
    found = _presets()["gpus"].get(name)
    if found is None:
        raise unknown_name("gpu", name, gpu_names())
    return Gpu(name=name, **found)


def gpu_price(name: str) -> float | None:
    """Return the dated rent of an accelerator [$/h]; None where no source has one."""
    path = resources.files("archgym.simulators.moe").joinpath("data/prices.json")
    found = json.loads(path.read_text("utf-8")).get(name)
    return None if found is None else float(found["usd_per_hour"])


def node_names() -> tuple[str, ...]:
    """Return the names of all servers."""
    return tuple(_presets()["nodes"])


def node(name: str) -> NodePreset:
    """Return the server with this name, or that under `hardware` in a YAML file.

    Args:
      name: A preset, or a path that ends in .yaml, .yml or .json.

    Raises:
      UnknownNameError: There is no such preset.
      FileFormatError: The file is not a server.
      StorageError: It cannot be read.
    """
    if Path(name).suffix in (".yaml", ".yml", ".json"):
        return _read_node(name)
    found = _presets()["nodes"].get(name)
    if found is None:
        raise unknown_name("hardware", name, node_names())
    links = {key: Link(**found[key]) for key in _LINKS if key in found}
    return NodePreset(
        name=name,
        gpu=gpu(found["gpu"]),
        n_gpus=found["n_gpus"],
        host=Host(**found["host"]),
        **links,
    )


_MAY_BE_ZERO = ("latency_ns", "cores", "fp8_tflops", "fp4_tflops")
_LINKS = ("host_to_gpu", "gpu_to_host", "ssd", "gpu_to_gpu", "network")
_PARTS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "gpu": (Gpu, ("bf16_tflops", "memory_gb_per_s", "memory_gb", "fp8_tflops", "fp4_tflops")),
    "host": (Host, ("memory_gb", "memory_gb_per_s", "gflops", "cores")),
    **dict.fromkeys(_LINKS, (Link, ("gb_per_s", "latency_ns"))),
}


def _read_node(path: str) -> NodePreset:
    """Return a preset with other values in the places that the file names."""
    document = read_document(path)
    root = document.root.members("the file", ("model", "hardware", "routing"))
    if "hardware" not in root:
        raise document.root.refusal(
            "the file must have the key 'hardware'; it has not",
            "See the README of the moe simulator",
        )
    top = root["hardware"]
    members = top.members("hardware", ("preset", "name", "n_gpus", *_PARTS))
    values: dict[str, Any] = {"name": Path(path).stem}
    if "preset" in members:
        name = members["preset"].text("`preset`")
        try:
            # A file's preset is one that ships: files that name each other would never end.
            if name not in node_names():
                raise unknown_name("hardware", name, node_names())
            values = vars(node(name)) | values
        except LookupError as error:
            raise document.refusal(error, "hardware", "preset") from None
    for key, member in members.items():
        if key == "name":
            values["name"] = member.text("`name`")
        elif key == "n_gpus":
            values["n_gpus"] = member.whole("`n_gpus`", 1, _MAX_GPUS)
        elif key != "preset":
            values[key] = _part(key, member, values.get(key))
    needed = ("gpu", "n_gpus", "host_to_gpu", "gpu_to_host", "ssd", "host")
    absent = [key for key in needed if key not in values]
    if absent:
        raise top.refusal(
            f"hardware must have the key {absent[0]!r}; it has not", "Add it, or name a `preset`"
        )
    return NodePreset(**values)


def _part(key: str, member: Node, base: Any) -> Any:
    """Return a part of a server: numbers by name, or an accelerator by its name."""
    kind, numbers = _PARTS[key]
    if key == "gpu" and isinstance(member.value, str):
        try:
            return gpu(member.value)
        except LookupError as error:
            raise member.refusal(*str(error).split(". ", 1)) from None
    words = ("name", "vendor", "generation") if key == "gpu" else ()
    given = member.members(f"`{key}`", (*numbers, "source", *words))
    values: dict[str, Any] = dict(vars(base)) if base is not None else {}
    for name, item in given.items():
        if name in numbers:
            low = 0.0 if name in _MAY_BE_ZERO else _LEAST
            values[name] = item.number(f"`{name}`", low, _MOST)
        else:
            values[name] = item.text(f"`{name}`")
    if key == "gpu":
        values.setdefault("name", "own")
    absent = [name for name in numbers if name not in values and name not in _MAY_BE_ZERO]
    if absent:
        raise member.refusal(f"`{key}` must have the key {absent[0]!r}; it has not")
    return kind(**values)


@final
@dataclass(frozen=True)
class Efficiency:
    """Shares of an accelerator's peaks that kernels reach, and fixed costs of kernels.

    Attributes:
      memory: Share of the memory's bandwidth. 0.75 to 0.85 is measured for fused experts on H100,
        L40S, RTX PRO 6000 (AIConfigurator, LLMServingSim).
      dense: Share of the peak that large dense matrix products reach: 0.77 for the queries, keys
        and values of Qwen3-30B with 32,768 tokens on H100 (AIConfigurator), rounded down.
      experts: Share of the peak that fused experts reach with many tokens: 0.35 to 0.6 is measured.
      kernel_ns: A fused experts kernel with its sorting of tokens [ns]: 5 to 25 us are measured.
      launch_ns: One kernel [ns]; a layer has six besides its experts: two norms, queries keys and
        values, attention, output, router.
      tile: Tokens that a kernel computes at least for each expert that has any: Triton's smallest
        tile in vLLM.
      passes: Times that a routed copy of a token's vector passes through memory: written by the
        second product, read and reduced.
    """

    memory: float = 0.80
    dense: float = 0.70
    experts: float = 0.50
    kernel_ns: float = 20_000.0
    launch_ns: float = 5_000.0
    tile: int = 16
    passes: float = 3.0


# SambaNova, *SN40L*, MICRO 2024: 85 % of the bandwidth in decoding; a whole model is one kernel.
_OF_GPU: Final = {"sn40l": Efficiency(memory=0.85, kernel_ns=5_000.0, launch_ns=1_000.0)}


# Share of the host's memory bandwidth that experts on the processor reach: 8 and 6 experts of
# DeepSeek-V3 differ by 4.5 ms a token and expert on two sockets of 307 GB/s each (KTransformers:
# 12.2 and 13.7 tokens/s), which is 284 GB/s of 614.
HOST_MEMORY: Final = 0.46
# What one core of a server's processor streams from memory [GB/s]; chosen: 10 to 14 are usual for
# STREAM on one core. Experts on few cores are bound by it, and so are copies from pageable memory,
# which the driver makes through a pinned buffer, one after the other with the transfer (CUDA C++
# Best Practices Guide, section 10.1.1).
CORE_GB_PER_S: Final = 12.0
# DeepSeek-AI, *DeepSeek-V3*, 2024, section 3.3: tokens are sent out in 8 bits and come back in 16.
DISPATCH_BYTES: Final = 1
COMBINE_BYTES: Final = 2
# A vector of activations has 16 bits, whatever the weights have.
ACTIVATION_BYTES: Final = 2


def efficiency(gpu: Gpu) -> Efficiency:
    """Return the shares of peak compute and bandwidth that an accelerator reaches."""
    return _OF_GPU.get(gpu.name, Efficiency())
