"""Measured serving of mixture-of-experts models: rows of the reference as deployments and loads."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.evaluation.options import make_simulator
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.machine.engines import BITS, ENGINE_NAMES, engine, releases
from archgym.simulators.moe.machine.hardware import Gpu, gpu, gpu_names, node, node_names
from archgym.simulators.moe.workloads.models import LatentAttention, MoeModel
from archgym.simulators.moe.workloads.presets import model, model_names
from archgym.tasks.task import Task
from evidence.moe.row import read_table, reading

_ENGINES: Final = {"trtllm": "trt-llm", "dynamo-trtllm": "trt-llm", "dynamo-sglang": "sglang"}
_GPUS: Final = {"h100": "h100-sxm", "a100": "a100-sxm-80"}
_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
# chosen: NVLink of the H100 generation, for a GPU whose link no source names.
_USUAL_LINK: Final = 450.0
# chosen: a thousand times any measured number, and more clients than any benchmark has.
_MOST_MS, _MOST_CLIENTS, _MOST_TOKENS = 1e8, 100_000, 10_000_000


WORKLOAD: Final = "chat-1k"
"""Workload of `closed-loop` whose lengths the options replace."""
# Numbers of clients that designs of `closed-loop` have without an option.
_SEARCHED_CLIENTS: Final = frozenset(str(1 << power) for power in range(8))


@final
@dataclass(frozen=True)
class Measured:
    """A measured row, as a task of the space `closed-loop` and a design of it.

    Attributes:
      names: Model, precision, GPU and engine as the file has them.
      options: Options of the simulator.
      design: Values by parameter.
      clients: Requests in flight.
      ttft_ms, tpot_ms: Means [ms]; NaN where nobody measured.
      ttft_median_ms: Median, likewise.
      output_per_s: Output tokens a second and GPU; NaN where nobody measured.
      is_steady: True if that was derived from TTFT and TPOT, or clients started apart.
    """

    names: tuple[str, str, str, str]
    options: Mapping[str, str]
    design: Mapping[str, str | int]
    clients: int
    ttft_ms: float
    ttft_median_ms: float
    tpot_ms: float
    output_per_s: float
    is_steady: bool

    @property
    def layout(self) -> str:
        """Deployment without the engine's version: what is held out together."""
        d = self.design
        n_gpus = int(d["tensor"]) * int(d["data"])
        groups = int(self.options.get("expert_groups", n_gpus)) if d["spread"] == "yes" else 1
        return " ".join((*self.names, f"tp{d['tensor']} dp{d['data']} ep{groups}"))

    @property
    def configuration(self) -> str:
        """Deployment and lengths."""
        return f"{self.layout} {self.options['lengths']}"

    @property
    def n_gpus(self) -> int:
        """GPUs that serve."""
        return int(self.design["tensor"]) * int(self.design["data"])

    @property
    def compiles(self) -> bool:
        """True if the mean TTFT has compilation in it and no median is known.

        Runs of SGLang that name no release are of November 2025: their means are 7 to 12 s, where
        medians of release 0.5.6 are 0.4 s.
        """
        return self.options["release"] == "sglang ?" and bool(np.isnan(self.ttft_median_ms))

    def simulator(self, fidelity: str = "auto", **changes: str) -> MoeSimulator:
        """Return the simulator of the row's task, with some options changed."""
        return simulator_of({**self.options, **changes}, fidelity)

    def predict(
        self, fidelity: str = "auto", workload_name: str = WORKLOAD, **changes: str
    ) -> "Prediction | None":
        """Return what the searched path says of the row; None where it cannot be built."""
        return predictions([self], [changes], fidelity, workload_name)[0]


class Prediction(NamedTuple):
    """Prediction of a row: TTFT and TPOT [ms], output tokens a second and GPU, median TTFT."""

    ttft_ms: float
    tpot_ms: float
    output_per_s: float
    ttft_median_ms: float


def predictions(
    rows: Sequence[Measured],
    changes: Sequence[Mapping[str, str]] | None = None,
    fidelity: str = "auto",
    workload_name: str = WORKLOAD,
) -> list[Prediction | None]:
    """Return what the searched path says of rows, None for those that cannot be built.

    Rows with the same options are one task, and their designs one batch of it. Clients are part of
    the design where the space has their number.

    Args:
      rows: Measured rows.
      changes: For each row, options that differ.
      fidelity: Fidelity of the simulator.
      workload_name: Workload whose lengths the options replace.
    """
    batches: dict[tuple[tuple[str, str], ...], list[tuple[int, dict[str, str | int]]]] = {}
    for place, row in enumerate(rows):
        options, design = {**row.options, **(changes[place] if changes else {})}, {**row.design}
        if options["clients"] in _SEARCHED_CLIENTS:
            design["clients"] = int(options.pop("clients"))
        batches.setdefault(tuple(sorted(options.items())), []).append((place, design))
    found: list[Prediction | None] = [None] * len(rows)
    # Tasks of one model follow each other, and share its routing.
    for options_of, batch in sorted(batches.items(), key=lambda item: dict(item[0])["model"]):
        simulator = simulator_of(dict(options_of), fidelity)
        workload = Task.make(simulator, workload_name).workloads[0].workload
        indices = np.stack([simulator.space.indices_of(design) for _, design in batch])
        result = simulator.evaluate_batch(indices, workload)
        names = [spec.name for spec in simulator.metrics]
        in_flight = dict(options_of).get("clients")
        for (place, _), values, reason in zip(batch, result.values, result.reason, strict=True):
            row = rows[place]
            if reason:
                continue
            by_name = dict(zip(names, values.tolist(), strict=True))
            rate = by_name["output_per_s"]
            if row.is_steady and in_flight != "0":
                requests = workload.content.requests_of(row.clients)
                tokens = float(requests.output_tokens[requests.counted_from :].mean())
                rate = row.clients * tokens / (by_name["e2e_mean_ms"] / 1e3)
            found[place] = Prediction(
                by_name["ttft_mean_ms"], by_name["tpot_mean_ms"], rate / row.n_gpus,
                by_name["ttft_p50_ms"],
            )  # fmt: skip
    return found


def simulator_of(options: Mapping[str, str], fidelity: str = "auto") -> MoeSimulator:
    """Return the simulator of the space `closed-loop` with these options."""
    found = make_simulator(MoeSimulator, "closed-loop", fidelity, options)
    assert isinstance(found, MoeSimulator)
    return found


def closed_loop_metrics(
    served: MoeModel,
    accelerator: Gpu,
    engine_name: str,
    precision: str,
    *,
    tensor: int = 1,
    data: int = 1,
    spread: bool = False,
    clients: int,
    prompt: int,
    output: int,
    options: Mapping[str, str] | None = None,
) -> dict[str, float] | None:
    """Return the metrics of a closed loop; None where it cannot be built.

    Args:
      served: Model, which goes into a file where it does not ship.
      accelerator: Each GPU, likewise.
      engine_name: Engine; one that does not ship has typical constants.
      precision: Format of the experts.
      tensor: GPUs that share attention.
      data: Groups of those.
      spread: True if whole experts are spread over GPUs.
      clients: Requests in flight.
      prompt: Tokens of a prompt.
      output: Tokens of an output.
      options: Further options of the simulator.
    """
    with TemporaryDirectory() as folder:
        simulator = simulator_of(
            {
                "model": _model_option(served, Path(folder)),
                "hardware": _hardware_option(accelerator, Path(folder)),
                "engine": _engine_option(engine_name, Path(folder)),
                "precision": precision,
                "clients": str(clients),
                "lengths": f"{prompt}+{output}",
                **(options or {}),
            }
        )
        task = Task.make(simulator, WORKLOAD)
        design = {
            **simulator.space.design_at(simulator.space.default_indices),
            "tensor": tensor, "data": data, "spread": "yes" if spread else "no",
        }  # fmt: skip
        indices = simulator.space.indices_of(design)[None, :]
        result = simulator.evaluate_batch(indices, task.workloads[0].workload)
    if result.reason[0]:
        return None
    names = (spec.name for spec in simulator.metrics)
    return dict(zip(names, result.values[0].tolist(), strict=True))


def _engine_option(name: str, folder: Path) -> str:
    if name in ENGINE_NAMES:
        return name
    path = folder / "engine.json"
    path.write_text(json.dumps({"engine": {"name": name}}), encoding="utf-8")
    return str(path)


def _model_option(served: MoeModel, folder: Path) -> str:
    if served.name in model_names():
        return served.name
    path = folder / "model.json"
    members = {key: value for key, value in asdict(served).items() if value is not None}
    path.write_text(json.dumps({"model": members}), encoding="utf-8")
    return str(path)


def _hardware_option(accelerator: Gpu, folder: Path) -> str:
    if accelerator.name in gpu_names():
        return machine_of(accelerator)
    path = folder / "hardware.json"
    members = {"preset": "dgx-h100", "gpu": asdict(accelerator)}
    path.write_text(json.dumps({"hardware": members}), encoding="utf-8")
    return str(path)


def read_serving(
    reference: Path, name: str = "serving.csv", *, suspect: bool = False
) -> tuple[list[Measured], int]:
    """Return the rows of a file of closed-loop measurements, and how many are marked as suspect.

    Args:
      reference: Folder of the reference.
      name: File in its folder `measured`.
      suspect: True to return rows that are marked as suspect, too.

    Raises:
      FileFormatError: The file or a row is something else.
    """
    path = reference / "measured" / name
    with reading(path):
        table = read_table(path)
    models, gpus = known_models(reference), known_gpus(reference)
    found, n_suspect = [], 0
    for line, cells in enumerate(table, start=2):
        if cells.get("suspect"):
            n_suspect += 1
            if not suspect:
                continue
        try:
            found.append(measured_row(cells, models, gpus))
        except (KeyError, ValueError) as error:
            raise FileFormatError(
                path, line, f"a measured row must name {error}", "Correct the row"
            ) from None
    return found, n_suspect


def measured_row(
    cells: Mapping[str, str], models: Mapping[str, MoeModel], gpus: Mapping[str, Gpu]
) -> Measured:
    """Return a row of a file of measurements.

    Raises:
      ValueError: A cell is something else.
    """
    names = (cells["model"], cells["precision"], cells["gpu"], cells["engine"])
    served = find_model(names[0], models)
    accelerator = find_gpu(names[2], gpus)
    name = _ENGINES.get(names[3], names[3])
    how = engine(name)
    clients = _whole(cells, "conc", _MOST_CLIENTS)
    shortest = _number(cells, "random_range_ratio", 1.0)
    measured = _number(cells, "out_tok_s_gpu", math.nan)
    derived = _number(cells, "out_tok_s_gpu_derived", math.nan)
    settings = _launch_settings(cells, name, clients)
    tensor, data, groups = (_whole(cells, key, 4096) for key in ("tp", "dp", "ep"))
    prompt, output = (_whole(cells, key, _MOST_TOKENS) for key in ("isl", "osl"))
    # Clients with exact lengths stay in step where prompts come before decodes, as with SGLang:
    # there TTFT grows with the clients. Elsewhere it does not: they must have started apart.
    staggers = shortest >= 1.0 and not how.pauses_decodes
    options = {
        "model": served.name,
        "hardware": machine_of(accelerator),
        "engine": name,
        "release": _release(name, cells.get("engine_version", "")),
        "precision": _precision(names[1]),
        "clients": str(clients),
        "lengths": f"{prompt}+{output}",
        "shortest": str(shortest),
        "stagger": str(staggers).lower(),
        "step_tokens": str(settings.max_tokens or how.step_tokens(accelerator)),
        "hold_steps": str(settings.hold_steps),
        "hold_prompts": str(settings.hold_prompts),
        "hold_tokens": str(settings.hold_tokens),
    }
    # The cookbook's servers keep SGLang's default.
    if (name, accelerator.generation) == ("sglang", "blackwell") and "cookbook" not in cells["src"]:
        # InferenceX starts SGLang on GPUs of this generation with a look for new requests each 10
        # steps, 30 from 16 clients on (its scripts, --scheduler-recv-interval).
        options["poll_steps"] = "30" if clients >= 16 else "10"
    if cells.get("requests"):
        options["requests"] = cells["requests"]
    if groups not in (1, tensor * data):
        options["expert_groups"] = str(groups)
    # In InferenceX's runs caches have 8 bits with TensorRT-LLM and on GPUs with 4-bit units.
    narrow = name == "trt-llm" or accelerator.fp4_tflops > 0
    design: dict[str, str | int] = {
        "tensor": tensor,
        "data": data,
        "spread": "yes" if groups > 1 else "no",
        "kv_bits": 8 if narrow else 16,
        "scheduler": "prefill-first" if how.pauses_decodes else "decode-first",
    }
    return Measured(
        names, options, design, clients,
        _number(cells, "ttft_mean_ms", math.nan),
        _number(cells, "ttft_median_ms", math.nan),
        _number(cells, "tpot_mean_ms", math.nan),
        derived if math.isnan(measured) else measured,
        math.isnan(measured) or staggers,
    )  # fmt: skip


def machine_of(accelerator: Gpu) -> str:
    """Return the server with the most GPUs of a kind.

    Raises:
      ValueError: There is none.
    """
    found = [node(name) for name in node_names() if node(name).gpu == accelerator]
    if not found:
        raise ValueError(f"a GPU of a server that is known; got {accelerator.name!r}")
    return max(found, key=lambda server: server.n_gpus).name


# Most prompt tokens of a step (--chunked-prefill-size, --max-num-batched-tokens, max_num_tokens)
# that InferenceX's launch scripts set, by engine, model, precision and GPU; others keep defaults.
_STEP_TOKENS: Final[Mapping[tuple[str, str, str, str], int]] = {
    ("sglang", "DeepSeek-R1", "fp8", "B200"): 32768,
    ("sglang", "DeepSeek-R1", "nvfp4", "B200"): 16384,
    ("sglang", "DeepSeek-R1", "fp8", "H200"): 32768,
    ("sglang", "DeepSeek-R1", "fp8", "MI300X"): 196608,
    ("sglang", "DeepSeek-R1", "fp8", "MI355X"): 196608,
    ("sglang", "DeepSeek-R1", "mxfp4", "MI355X"): 196608,
    ("sglang", "Qwen3.5-397B-A17B", "bf16", "B200"): 32768,
    ("sglang", "Qwen3.5-397B-A17B", "fp8", "B200"): 32768,
    ("sglang", "Qwen3.5-397B-A17B", "nvfp4", "B200"): 32768,
    ("trt-llm", "gpt-oss-120b", "mxfp4", "B200"): 20000,
    ("trt-llm", "gpt-oss-120b", "mxfp4", "H200"): 20000,
}
# From this day the scripts of MiniMax-M2.5 on B200 set twice the prompt's length.
_TWICE_FROM: Final = "2026-04-03"
# From this day TensorRT-LLM's script of DeepSeek-R1 at 8 bits on B200 holds short prompts back.
_HELD_FROM: Final = "2026-01-29"


# Tokens of a step beyond its prompt and batch in AIConfigurator's rule of `max_num_tokens`.
_SPARE_TOKENS: Final = 1500


class _Settings(NamedTuple):
    """Settings of a server; 0 for the engine's default."""

    max_tokens: int = 0
    hold_steps: int = 0
    hold_prompts: int = 0
    hold_tokens: int = 0


def _launch_settings(cells: Mapping[str, str], engine_name: str, clients: int) -> _Settings:
    """Return settings of a row's server that its file does not hold.

    Source:
      SemiAnalysisAI/InferenceX, `benchmarks`, scripts `<model>_<precision>_<gpu>[_trt].sh` as of
      November 2025 to April 2026. NVIDIA's rows come from servers that AIConfigurator set up
      (ai-dynamo/aiconfigurator, `generator/rule_plugin/benchmark/trtllm.rule`): with TensorRT-LLM a
      step has room for the batch, a prompt and 1,500 tokens. Its template for vLLM 0.12 sets no
      step budget. Others keep the engine's defaults.
    """
    source = cells.get("src", "")
    if source.startswith("nvidia-aic") and engine_name == "trt-llm":
        return _Settings(clients + _whole(cells, "isl", _MOST_TOKENS) + _SPARE_TOKENS)
    if not source.startswith("inference"):
        return _Settings()
    name, precision, gpu_name = (cells[key] for key in ("model", "precision", "gpu"))
    prompt, output = (_whole(cells, key, _MOST_TOKENS) for key in ("isl", "osl"))
    groups, date = _whole(cells, "dp", 4096), cells.get("date", "")
    tokens = _STEP_TOKENS.get((engine_name, name, precision, gpu_name), 0)
    if engine_name == "trt-llm" and name == "DeepSeek-R1":
        tokens = max(8192, (clients + prompt + 127) // 64 * 64)
    if (name, gpu_name) == ("MiniMax-M2.5", "B200") and date >= _TWICE_FROM:
        tokens = 2 * prompt
    if (gpu_name, precision, prompt, output) == ("MI355X", "mxfp4", 8192, 1024) and clients > 32:
        tokens = 32768
    if (engine_name, gpu_name, precision, cells["tp"]) == ("sglang", "B200", "fp8", "4"):
        tokens = 8192
    if engine_name == "trt-llm" and groups > 1:
        # attention_dp_config: enable_balance lets prompts wait until each group has one, for
        # timeout_iters steps at most (50 by default).
        return _Settings(tokens, 60 if name == "DeepSeek-R1" else 50, groups)
    holds = (engine_name, name, precision) == ("trt-llm", "DeepSeek-R1", "fp8")
    if gpu_name != "B200" or date < _HELD_FROM:
        holds = False
    if holds and (prompt, output) == (1024, 1024) and clients >= 64:
        # batch_wait_timeout_iters and batch_wait_max_tokens_ratio.
        return _Settings(tokens, 40, 0, int(0.8 * tokens))
    return _Settings(tokens)


def _release(name: str, version: str) -> str:
    """Return engine and minor version; SGLang's patch releases differ like minor ones.

    Releases that no constants were fitted to are typical ones, "".
    """
    found = _VERSION.search(version)
    release = f"{name} development" if version else f"{name} ?"
    if found is not None:
        parts = found.groups()[: 3 if name == "sglang" else 2]
        release = f"{name} " + ".".join(part for part in parts if part is not None)
    return release if release in releases(name) else ""


def _precision(name: str) -> str:
    if name not in BITS:
        raise ValueError(f"a `precision` of {', '.join(BITS)}; got {name!r}")
    return name


def _whole(cells: Mapping[str, str], key: str, high: int) -> int:
    value = _number(cells, key, math.nan)
    if not 1 <= value <= high or value != int(value):
        raise ValueError(f"a whole number from 1 to {high} as `{key}`; got {cells.get(key)!r}")
    return int(value)


def _number(cells: Mapping[str, str], key: str, otherwise: float) -> float:
    text = cells.get(key, "")
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < _MOST_MS:
        raise ValueError(f"a number above 0 as `{key}`; got {text!r}")
    return value


def find_model(name: str, others: Mapping[str, MoeModel]) -> MoeModel:
    """Return a preset, or a model of the reference's own list.

    Raises:
      ValueError: There is neither.
    """
    key = name.lower()
    if key in model_names():
        return model(key)
    if name in others:
        return others[name]
    raise ValueError(f"a model that is known; got {name!r}")


def find_gpu(name: str, others: Mapping[str, Gpu]) -> Gpu:
    """Return a preset, or a GPU of the reference's own list.

    Raises:
      ValueError: There is neither.
    """
    key = name.lower()
    key = _GPUS.get(key, key)
    if key in gpu_names():
        return gpu(key)
    if name in others:
        return others[name]
    raise ValueError(f"a GPU that is known; got {name!r}")


def find_link(accelerator: Gpu) -> float:
    """Return the bandwidth between GPUs of a kind in one direction [GB/s]."""
    for name in node_names():
        server = node(name)
        if server.gpu == accelerator and server.gpu_to_gpu is not None:
            return server.gpu_to_gpu.gb_per_s
    return _USUAL_LINK


def known_models(reference: Path) -> dict[str, MoeModel]:
    """Return the models of the reference's own list."""
    path = reference / "measured" / "models.csv"
    found: dict[str, MoeModel] = {}
    if not path.exists():
        return found
    with reading(path):
        for cells in read_table(path):

            def whole(key: str, cells: Mapping[str, str] = cells) -> int:
                return int(float(cells[key] or 0))

            latent = None
            if whole("kv_rank"):
                latent = LatentAttention(
                    *(whole(key) for key in ("q_rank", "kv_rank", "rope", "nope", "value"))
                )
            layers, full = whole("layers"), whole("full_attention_layers")
            found[cells["model"]] = MoeModel(
                name=cells["model"].lower(), layers=layers, moe_layers=whole("moe_layers"),
                hidden=whole("hidden"), experts=whole("experts"), top_k=whole("top_k"),
                expert_inner=whole("expert_inner"), matrices=3, heads=whole("heads"),
                kv_heads=whole("kv_heads") or whole("heads"),
                head_size=whole("head_size") or 128, vocabulary=whole("vocabulary"),
                shared_inner=whole("shared_inner"), dense_layers=whole("dense_layers"),
                dense_inner=whole("dense_inner"), latent=latent,
                full_attention_layers=0 if full == layers else full, window=whole("window"),
                source="models.csv of the reference",
            )  # fmt: skip
    return found


def known_gpus(reference: Path) -> dict[str, Gpu]:
    """Return the GPUs of the reference's own list."""
    path = reference / "measured" / "gpus.csv"
    if not path.exists():
        return {}
    with reading(path):
        return {
            cells["gpu"]: Gpu(
                cells["gpu"].lower(),
                float(cells["bf16_tflops"]),
                float(cells["memory_gb_s"]),
                float(cells["memory_gb"]),
                "gpus.csv of the reference",
                fp8_tflops=float(cells["fp8_tflops"] or 0),
                fp4_tflops=float(cells["fp4_tflops"] or 0),
                vendor="amd" if cells["gpu"].startswith("MI") else "nvidia",
            )
            for cells in read_table(path)
        }
