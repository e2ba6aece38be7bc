"""Serving engines: how they schedule, and constants that depend on engine, GPU and model.

A constant is a base times one factor for each label of a deployment, such as its engine or the
generation of its GPU. Factors are fitted with a prior that pulls them to 1, so that an unknown
engine, GPU or model gets the typical value, and a GPU of a known generation that of its
generation. `data/engines.json` holds the factors and says which rows they were fitted on.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, final

from archgym.simulators.kit import read_document, unknown_name
from archgym.simulators.moe.machine.clock import CONSTANT_NAMES, Constants
from archgym.simulators.moe.machine.hardware import Gpu
from archgym.simulators.moe.workloads.models import MoeModel

BITS: Final[Mapping[str, float]] = {
    # A scale of 8 bits for 32 weights, and one for 16 weights (OCP MX 1.0; NVIDIA NVFP4).
    "mxfp4": 4.25,
    "nvfp4": 4.5,
    "w4a16": 4.25,
    "int4": 4.25,
    "fp8": 8.0,
    "bf16": 16.0,
}
"""Bits of a weight by the name of its format."""


def _data(name: str) -> dict[str, Any]:
    path = resources.files("archgym.simulators.moe").joinpath("data", name)
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@final
@dataclass(frozen=True)
class Prior:
    """A constant before it is fitted.

    Attributes:
      base: Its value for a typical deployment.
      spread: Standard deviation of the base's logarithm.
      effects: Standard deviation of the logarithm of each kind of label's factor.
      source: Source of the base.
      means: Logarithms of factors of labels before they are fitted; 0 for others.
    """

    base: float
    spread: float
    effects: Mapping[str, float]
    source: str
    means: Mapping[str, float] = field(default_factory=dict)


PRIORS: Final[Mapping[str, Prior]] = {
    name: Prior(**members) for name, members in _data("priors.json").items()
}
"""Priors of all constants; shares of peaks have no unit."""


@final
@dataclass(frozen=True)
class Engine:
    """Rules by which an engine forms steps.

    Attributes:
      name: Name by which it is chosen.
      max_tokens: Most tokens of a step by default, on a GPU with much memory.
      small_tokens: The same on a GPU with less memory than `small_below_gb`.
      small_below_gb: Memory from which a GPU counts as one with much [GB]; 0 for any.
      chunks: True if it splits prompts over steps.
      pauses_decodes: True if prompts run in steps of their own while decodes pause.
      block_tokens: Tokens of a block of keys and values that is taken on demand; 0 where requests
        have room for all their tokens from the start.
      memory_percent: Share of an accelerator's memory that it uses [%].
      source: Source of the settings.
      like: Engine whose fitted constants count; "" for its own.
      given: Constants by name that replace the shipped ones.
    """

    name: str
    max_tokens: int
    small_tokens: int
    small_below_gb: float
    chunks: bool
    pauses_decodes: bool
    block_tokens: int
    memory_percent: float
    source: str
    like: str = ""
    given: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """Engine whose fitted constants count."""
        return self.like or self.name

    def step_tokens(self, gpu: Gpu) -> int:
        """Return the most tokens of a step on a GPU by default."""
        return self.small_tokens if gpu.memory_gb < self.small_below_gb else self.max_tokens


_ENGINES: Final = {
    item.name: item
    for item in (
        Engine(
            "vllm", 8192, 2048, 75.0, True, False, 16, 90.0,
            "vLLM's defaults: max_num_batched_tokens for servers, on GPUs of 70 GiB and more and "
            "on others; blocks of 16 tokens on demand; gpu_memory_utilization of 0.9",
        ),
        Engine(
            "sglang", 16384, 8192, 172.0, True, True, 1, 95.0,
            "SGLang's defaults: chunked_prefill_size on GPUs of 160 GiB and more and on others, "
            "page_size of 1; memory: mem-fraction-static of InferenceX's script of DeepSeek-R1 on "
            "four B200 (chosen for all: it has an effect only where memory is short)",
        ),
        Engine(
            "trt-llm", 8192, 8192, 0.0, False, False, 0, 95.0,
            "TensorRT-LLM's defaults: max_num_tokens, no chunks, GUARANTEED_NO_EVICT; memory: "
            "chosen, since free_gpu_memory_fraction is a share of what weights leave",
        ),
        Engine(
            "llama.cpp", 2048, 2048, 0.0, True, False, 0, 95.0,
            "llama.cpp's default batch of 2,048 tokens; a slot keeps its whole context",
        ),
        Engine(
            "ideal", 8192, 8192, 0.0, True, False, 0, 90.0,
            "chosen: no software, rooflines only",
        ),
    )
}  # fmt: skip
ENGINE_NAMES: Final = tuple(_ENGINES)
"""Engines that can be chosen."""


def engine(name: str) -> Engine:
    """Return the engine with this name, or of a YAML or JSON file.

    Raises:
      UnknownNameError: There is no such engine.
      FileFormatError: The file is not an engine.
      StorageError: It cannot be read.
    """
    if Path(name).suffix in (".yaml", ".yml", ".json"):
        return _read_engine(name)
    if name not in _ENGINES:
        raise unknown_name("engine", name, ENGINE_NAMES)
    return _ENGINES[name]


_WHOLE_SETTINGS: Final = {"max_tokens": 10_000_000, "block_tokens": 1_000_000}
_FLAGS: Final = ("chunks", "pauses_decodes")


def _read_engine(path: str) -> Engine:
    """Read an engine: settings that differ from those of `like`, and constants.

    Constants that the file leaves out are those of `like`, or typical ones without it.
    """
    document = read_document(path)
    root = document.root.members("the file", ("engine",))
    if "engine" not in root:
        raise document.root.refusal("the file must have the key 'engine'; it has not")
    known = ("name", "like", "memory_percent", "constants", *_WHOLE_SETTINGS, *_FLAGS)
    members = root["engine"].members("an engine", known)
    like = members["like"].text("`like`") if "like" in members else "vllm"
    if like not in _ENGINES:
        raise members["like"].refusal(
            f"`like` must be one of {', '.join(ENGINE_NAMES)}; got {like!r}"
        )
    name = members["name"].text("`name`") if "name" in members else Path(path).stem
    values: dict[str, Any] = {"name": name, "source": f"the file {path}"}
    for key, high in _WHOLE_SETTINGS.items():
        if key in members:
            values[key] = members[key].whole(f"`{key}`", 0 if key == "block_tokens" else 1, high)
    values |= {key: members[key].flag(f"`{key}`") for key in _FLAGS if key in members}
    if "memory_percent" in members:
        values["memory_percent"] = members["memory_percent"].number("`memory_percent`", 1.0, 100.0)
    if "max_tokens" in members:
        values["small_below_gb"] = 0.0
    if "constants" in members:
        given = members["constants"].members("`constants`", CONSTANT_NAMES)
        values["given"] = tuple(
            (key, float(member.number(f"`{key}`", 1e-9, 1e12))) for key, member in given.items()
        )
    return replace(_ENGINES[like], like=like if "like" in members else name, **values)


def precision_of(bits: float, gpu: Gpu, model: MoeModel) -> str:
    """Return the usual format of weights with this number of bits on a GPU."""
    if bits > BITS["fp8"]:
        return "bf16"
    if bits > BITS["nvfp4"]:
        return "fp8"
    if model.wide_attention:
        # gpt-oss is published in mxfp4 alone.
        return "mxfp4"
    if not gpu.fp4_tflops:
        return "w4a16"
    return "nvfp4" if gpu.vendor == "nvidia" else "mxfp4"


def attention_bits(model: MoeModel, precision: str) -> float:
    """Return the bits of weights outside experts: 4-bit checkpoints keep 8 or 16."""
    if model.wide_attention or precision in ("bf16", "w4a16", "int4"):
        return 16.0
    return 8.0


def padded_rows(release: str, precision: str, gpu: Gpu, tensor: int) -> int:
    """Return the rows to which a release pads the products of each expert, 0 for none.

    vLLM before 0.13 computes experts with DeepGEMM's contiguous products: room for all tokens and
    for 127 rows of each expert. Padding belongs to expert 0 and is computed, whatever the batch.

    Source:
      vLLM, pull requests 13932 (products), 30494 (padding is skipped, 11 December 2025, after
      0.12.0) and 29346 (not with a tensor parallelism of 8). The products need 8-bit weights with
      scales of blocks, which MiniMax-M2.5, Qwen3 and DeepSeek have.
    """
    pads = precision == "fp8" and gpu.vendor == "nvidia" and tensor < 8
    return 128 if pads and release in ("vllm 0.11", "vllm 0.12") else 0


def _format(gpu: Gpu, precision: str) -> str:
    """Return how experts of a precision are computed."""
    if BITS[precision] > BITS["nvfp4"]:
        return precision
    is_narrow = gpu.fp4_tflops and precision not in ("w4a16", "int4")
    return "narrow" if is_narrow else "widened"


def labels(
    model: MoeModel,
    gpu: Gpu,
    engine_name: str,
    precision: str,
    *,
    release: str = "",
    grouped: bool = False,
    spread: bool = False,
    polls: bool = False,
) -> dict[str, str]:
    """Return the labels that decide a deployment's constants.

    Args:
      model: Model that is served.
      gpu: Each GPU.
      engine_name: Engine, also one that is not known.
      precision: Format of the experts, a key of `BITS`.
      release: Major and minor version of the engine, such as "vllm 0.11"; "" for a typical one.
      grouped: True if groups of GPUs attend to requests of their own.
      spread: True if GPUs hold whole experts, not slices of each.
      polls: True if the engine looks for requests only every few steps.
    """
    attention = "latent" if model.latent else "linear" if model.linear else "grouped"
    kind = _format(gpu, precision)
    kernel = f"{engine_name}+{kind}+{'spread' if spread else 'sliced'}"
    # Both are whole numbers of 4 bits with a scale for some of them, widened to 16 bits.
    stored = "w4a16" if precision == "int4" else precision
    return {
        "engine": engine_name,
        "gpu": gpu.name,
        "vendor": gpu.vendor,
        "generation": gpu.generation,
        "precision": stored,
        "attention": attention,
        "format": kind,
        # Kernels of which tables say that they differ from others of their format.
        "kernel": kernel if f"kernel={kernel}" in PRIORS["experts_ns"].means else "",
        # The architecture counts: DeepSeek-R1 and V3 share theirs.
        "model": {"deepseek-v3": "deepseek-r1"}.get(model.name, model.name),
        "release": release,
        "engine+generation": f"{engine_name}+{gpu.generation}",
        "precision+generation": f"{stored}+{gpu.generation}",
        "engine+attention": f"{engine_name}+{attention}",
        # Groups change which kernels an engine runs with 8 and 4 bits, on which the factors were
        # learned. With 16 bits engines run the same kernels (Triton's): tables of 64 tokens of
        # Qwen3-30B on RTX PRO 6000 have 425 us for half of the experts, 416 us for half of each.
        # Scripts that let SGLang look for requests rarely also let it hand tokens over rarely
        # (--stream-interval, --scheduler-recv-interval).
        "delivery": f"{engine_name}+rare" if polls else "",
        "engine+groups": f"{engine_name}+many" if grouped and BITS[precision] < 16 else "",
    }


@final
@dataclass(frozen=True)
class Calibration:
    """Fitted factors of constants.

    Attributes:
      logarithms: By constant, then by label ("engine=vllm"; "" for the base), logarithm of the
        factor on the prior's base.
      fitted_on: Rows that the factors were fitted on.
      deployments: Model, GPU and engine of those rows, as "model gpu engine".
    """

    logarithms: Mapping[str, Mapping[str, float]]
    fitted_on: str = ""
    deployments: tuple[str, ...] = ()

    def constants(self, by_kind: Mapping[str, str]) -> Constants:
        """Return the constants of a deployment with these labels."""
        values = {}
        for name, prior in PRIORS.items():
            found = self.logarithms.get(name, {})
            total = found.get("", 0.0)
            for kind in prior.effects:
                label = f"{kind}={by_kind[kind]}"
                total += found.get(label, prior.means.get(label, 0.0))
            values[name] = prior.base * math.exp(total)
        return Constants(**{name: values[name] for name in CONSTANT_NAMES})


@cache
def calibration() -> Calibration:
    """Return the factors that ship."""
    document = _data("engines.json")
    return Calibration(
        document["logarithms"], document["fitted_on"], tuple(document["deployments"])
    )


def releases(name: str) -> tuple[str, ...]:
    """Return the releases of an engine whose constants were fitted, such as "vllm 0.11"."""
    start = f"release={name} "
    found = {key for known in calibration().logarithms.values() for key in known}
    return tuple(sorted(key.partition("=")[2] for key in found if key.startswith(start)))


def check_release(name: str, engine_name: str) -> str:
    """Return the name of a release whose factors were fitted; "" stands for a typical one.

    Before rows of a new release are fitted, it gets a label of 0 in `data/engines.json`.

    Raises:
      UnknownNameError: The engine has no such release.
    """
    known = releases(engine_name)
    if name and name not in known:
        raise unknown_name(f"release of engine {engine_name!r}", name, known)
    return name
