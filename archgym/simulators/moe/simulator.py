"""The MoE serving simulator: requests, experts that do not all fit, and the links between."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.physics.economics import (
    Ownership,
)
from archgym.simulators.cluster.kernel.fabric import contention
from archgym.simulators.kit import (
    Columns,
    DesignSpace,
    Files,
    InvalidArgumentError,
    InvalidDesignError,
    InvalidSpaceError,
    Laws,
    Option,
    Parameter,
    RowSimulator,
    SimulatorError,
    SimulatorSpec,
    Workload,
    declared,
    default_workload,
    error_text,
    require_kept,
)
from archgym.simulators.moe.costs import RELIEF, costs_of, measure_without, relieved
from archgym.simulators.moe.formats.export import (
    FORMATS,
    GPU_BITS,
    SERVING,
    serving_files,
    serving_settings,
)
from archgym.simulators.moe.kernel.run import (
    Run,
    Split,
    documents,
    is_steppable,
    occupancy_table,
    run,
)
from archgym.simulators.moe.kernel.state import new_state
from archgym.simulators.moe.kernel.step_time import StepCosts
from archgym.simulators.moe.machine.columns import COUNTERS, CpuRule
from archgym.simulators.moe.machine.composition import composition_plan
from archgym.simulators.moe.machine.engines import (
    BITS,
    ENGINE_NAMES,
    Engine,
    attention_bits,
    precision_of,
)
from archgym.simulators.moe.machine.engines import engine as engine_of
from archgym.simulators.moe.machine.eplb import place
from archgym.simulators.moe.machine.hardware import (
    NodePreset,
    node,
    node_names,
)
from archgym.simulators.moe.machine.plan import (
    APART,
    MODEL_REASONS,
    REFUSED,
    UNEVEN,
    Plan,
    are_apart,
    is_uneven,
    plan,
)
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.metrics import (
    IDLE_W,
    INTACT,
    METRICS,
    OBJECTIVES,
    measure,
)
from archgym.simulators.moe.options import (
    ACCELERATOR_DOLLARS,
    ClientOptions,
    PriceOptions,
    ServerOptions,
)
from archgym.simulators.moe.space import (
    GPUS_OF_A_SERVER,
    GROUPS,
    HARDWARE,
    SPACE_NAMES,
    design_space,
    machine_of,
    with_gpus,
    with_highest,
)
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.presets import model as model_of
from archgym.simulators.moe.workloads.presets import model_names
from archgym.simulators.moe.workloads.requests import (
    MAX_TOKENS,
    Requests,
    uniform_requests,
)
from archgym.simulators.moe.workloads.workload import (
    Asked,
    Prepared,
    Promise,
    default_model,
    prepared,
    shipped,
    shipped_names,
)

logger = logging.getLogger(__name__)
# Tokens of a step beyond its prompt in AIConfigurator's rule for TensorRT-LLM (`trtllm.rule`); the
# largest step of the space `closed-loop`.
_RUNNING_TOKENS, _MOST_STEP_TOKENS = 1500, 32768
# chosen: two minutes of arrivals, and as many as take seconds to serve.
_SPAN_S, _MOST_ARRIVALS = 120.0, 4000
_DEFAULT_OBJECTIVE: Final = {
    "edge-offload": "latency",
    "edge-offload-table": "latency",
    "single-server": "throughput-as-promised",
    "expert-parallel": "throughput-per-gpu",
    "closed-loop": "throughput-as-promised",
    "three-tier": "throughput-as-promised",
}
# Sums of doubles in another order.
_require = partial(require_kept, "MoE serving", rounding=1e-6)


class Ready(NamedTuple):
    """A design and its requests as a kernel takes them.

    Attributes:
      serving, server: The way of serving, and on what.
      plan: The same for the kernel; the rest is None where it cannot be built.
      requests: Requests to serve.
      held: Routing of their tokens.
      placement: Copies of experts and the experts in slots, where they are spread.
      table: `occupancy` of the routing at the level of steps; None for the serving kernel.
    """

    serving: Serving
    server: NodePreset
    plan: Plan
    requests: Requests
    held: Prepared | None
    placement: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None
    table: npt.NDArray[np.float64] | None


_ENGINE_SPACES: Final = ("single-server", "expert-parallel", "closed-loop")
"""Spaces whose steps an engine fills; the others offload experts, and read whole prompts alone."""
# The most uplinks of a leaf that the model of the network knows.
_MAX_UPLINKS: Final = 64
_MOST_SERVERS: Final = 16


@final
class MoeSimulator(RowSimulator):
    """Serving of a mixture-of-experts model: caches, prefetch, batching, tiers, parallelism.

    A design is how a server of one kind serves one model; each space has a server and a model of
    its own, which `hardware` and `model` replace.
    """

    spec = SimulatorSpec(
        name="moe",
        title="MoE serving",
        compared=(
            "1,435 measured servers, as users write them: median error of TPOT 6 %, of TTFT 15 %; "
            "of a model or GPU that was left out up to 13 % and 22 %"
        ),
        version=6,
        # Measured with the benchmark's tasks; see archgym/bench/data/hardness.jsonl.
        evaluation_s=0.02,
        fidelity_names=("auto", "full", "steps"),
        space_names=SPACE_NAMES,
        table_space="edge-offload-table",
        model_reasons=MODEL_REASONS,
        metrics=METRICS,
        objectives=OBJECTIVES,
        # Fewer bits and dropped experts are faster, and give another model's answers.
        usual_limits=INTACT,
        default_objective="latency",
        default_workload="chat",
        exports=FORMATS,
        partial_exports=tuple(FORMATS),
        groups=GROUPS,
    )

    @declared
    def __init__(
        self,
        space: str = "edge-offload",
        hardware: Annotated[
            str,
            Option(
                "Server, by default that of the space; in `three-tier` designs choose it.",
                choices=node_names,
                takes_file=True,
            ),
        ] = "",
        model: Annotated[
            str,
            Option(
                "Model, by default that of the space; files are YAML, or a `config.json` of "
                "Hugging Face.",
                choices=model_names,
                takes_file=True,
            ),
        ] = "",
        fidelity: str = "auto",
        *,
        server: ServerOptions,
        load: ClientOptions,
        prices: PriceOptions,
        ownership: Ownership,
    ) -> None:
        """Make the simulator of one space, one of `space_names`; each `Option` says what it sets.

        Fidelity `full` follows the experts of each token. `steps` adds up steps that are alike,
        with the experts that the step uses on average; designs with experts outside the
        accelerators' memory run in full. `auto` is `steps` in `closed-loop`, else `full`.

        Raises:
          UnknownNameError: There is no such space, server, model or fidelity.
          FileFormatError: A file holds something else.
          InvalidArgumentError: An option is outside its limits, or the space's designs choose it.
        """
        owned = prices.owned(ownership)
        dollars = prices.accelerator_dollars
        self._assumes_price = bool(ownership.years) and dollars == ACCELERATOR_DOLLARS
        is_closed = space == "closed-loop"
        clients = load.in_flight()
        self._server, self._load = server, load
        self._space_name = space
        self._steps = fidelity == "steps" or (fidelity == "auto" and is_closed)
        designs = design_space(space)
        is_chosen = "hardware" in designs.names
        if hardware and is_chosen:
            raise InvalidArgumentError(
                f"`hardware` must be left out in space {space!r}, whose designs choose it; "
                f"got {hardware!r}. Set it in a design: --set hardware=NAME."
            )
        self.node: NodePreset = node(hardware or HARDWARE[space])
        self.model: MoeModel = model_of(model) if model else default_model(space)
        rent = prices.rent(self.node.gpu.name, is_chosen=is_chosen)
        designs = with_gpus(designs, self.node.n_gpus)
        # Experts divide among powers of two.
        self._server_gpus = max(GPUS_OF_A_SERVER, 1 << (self.node.n_gpus.bit_length() - 1))
        self._engine: Engine = engine_of(server.engine or ("vllm" if is_closed else "ideal"))
        has_clients = bool(clients) if clients is not None else is_closed
        server.check_workers(space, has_clients=has_clients)
        self._clients = clients if clients is not None else None if is_closed else 0
        self._client = load.client(is_closed=is_closed)
        self._tuning = server.tuning(self._engine.label, clients)
        if not self.model.moe_layers and space != "closed-loop":
            raise InvalidArgumentError(
                f"`model` must have experts in space {space!r}; {self.model.name} is dense. Take "
                "space closed-loop."
            )
        designs = _without_replaced(designs, self.model, server, clients)
        most = self._server_gpus * (_MOST_SERVERS if "servers" in designs.names else 1)
        # Only where a design may be so: reasons are part of a task's identity.
        may_be = {"spread", "servers"} & {*designs.names} and not server.expert_groups
        further = (UNEVEN,) * bool(may_be and self.model.experts % most)
        if space == "closed-loop" and self._engine.label == "ideal":
            further += (APART,)
        if hardware or model or server.engine:
            designs = self._with_fitting_default(designs)
        version = self.spec.version
        refused: tuple[str, ...] = ()
        if space in _ENGINE_SPACES:
            version = 8  # prompts longer than a step are split, as engines do
            refused = (REFUSED,) * (not self._engine.chunks)
        if is_closed or self._engine.label != "ideal" or server.poll_steps > 1:
            version = 10  # prompt launches by layer, looks after prompts, limits of widened weights
        costs = costs_of(space)
        self.spec = self.spec.completed(
            space=designs,
            version=version,
            metrics=(*METRICS, *rent, *owned),
            model_reasons=(*self.spec.model_reasons, *refused, *further),
            default_objective=_DEFAULT_OBJECTIVE[space],
            default_workload=shipped_names(space)[0],
            costs=costs,
            relief={cost: RELIEF[cost] for cost in costs},
        )

    @property
    def engine_label(self) -> str:
        """Engine whose fitted constants count."""
        return self._engine.label

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship with the space: see `workloads.workload`."""
        return shipped_names(self.space.name)

    def workload(self, name: str | Path) -> Workload:
        """Return the shipped workload with this name, or made of the trace at this path.

        Raises:
          UnknownNameError: Neither.
          FileFormatError: The file is not a trace of routing or requests.
        """
        if self._assumes_price and self.node.gpu.name.split("-")[0] not in ("h100", "h200"):
            logger.warning(
                "The cost of ownership takes $%s for each accelerator, the price of an H100 with "
                "its part of a server, for %s too: give `accelerator_dollars`.",
                f"{ACCELERATOR_DOLLARS:,.0f}", self.node.gpu.name,
            )  # fmt: skip
        asked = shipped(self.space.name, name, self.model)
        promise = Promise(
            self._load.ttft_ms or asked.promise.ttft_ms,
            self._load.tpot_ms or asked.promise.tpot_ms,
        )
        first, output_tokens = self._load.requests, self._load.output_tokens
        rate_per_s = self._load.request_rate
        client, requests = self._client, asked.requests
        is_looped = self._clients != 0
        if is_looped and requests.arrival_ns.any() and str(name) not in self.workload_names():
            logger.warning(
                "The arrivals in %s do not count in a closed loop; option `clients=0` takes them.",
                name,
            )
        # A closed loop serves as many requests as it is asked for.
        n = max(first or 0, len(requests)) if is_looped else len(requests)
        if rate_per_s:
            n = first or min(_MOST_ARRIVALS, max(n, round(_SPAN_S * rate_per_s)))
        if client.uniform is not None:
            requests = uniform_requests(n, *client.uniform)
        elif n > len(requests):
            requests = requests.repeated(n)
        if rate_per_s:
            requests = requests.arriving(rate_per_s)
        served = min(first or n, n)
        asked_for = max(first, self._clients or 0) if first else 0
        if asked_for > served:
            logger.warning(
                "`%s` is %d, but only %d requests are served.",
                "requests" if asked_for == first else "clients", asked_for, served,
            )  # fmt: skip
        if "acceptance" in self.options and not self._tuning["draft_tokens"]:
            logger.warning("`acceptance` has no effect: `draft_tokens` is 0.")
        if self._tuning["prefix_cache_gb"] and not requests.hash_ids:
            logger.warning(
                "`prefix_cache_gb` takes memory and finds nothing: the requests have no `hash_ids`."
            )
        longest = int((requests.prompt_tokens + requests.output_tokens).max())
        if first:
            requests = requests.first(first)
        if output_tokens < MAX_TOKENS:
            requests = requests.capped(output_tokens)
            client = replace(client, uniform=None)
        if requests.output_tokens.max() < 2:
            logger.warning("No request has a second output token: TPOT is the time to the first.")
        asked = replace(asked, promise=promise, longest=longest, requests=requests, client=client)
        return Workload(asked.name, self._digest(asked), asked)

    def measure(self, indices: np.ndarray, opened: Asked, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one design; see `RowSimulator`."""
        if {UNEVEN, APART} & {*self.spec.model_reasons}:
            serving, _ = self._serving(self.space.design_at(indices), opened)
            if is_uneven(opened.model, serving):
                return UNEVEN
            if are_apart(serving):
                return APART
        ready = self._prepared(opened, indices, cost)
        whole = REFUSED in self.spec.model_reasons and not ready.serving.chunk_tokens
        if whole and ready.requests.prompt_tokens.max() > ready.serving.max_tokens:
            return REFUSED
        if ready.plan.infeasible is not None:
            return ready.plan.infeasible
        measured = (self._run(ready), opened.model, ready.server, ready.serving, opened.promise)
        return measure(*measured) if cost is None else measure_without(cost, *measured)

    def run(self, design: Mapping[str, Any], workload: Workload) -> Run:
        """Return all measurements of a run of one design: requests, layers and counters.

        Raises:
          InvalidDesignError: The design does not lie in the space.
          SimulatorError: It cannot be built, or what was counted does not add up.
        """
        ready = self.prepared(design, workload)
        if ready.plan.infeasible is not None:
            raise SimulatorError(
                f"A design must be one that can be built to be run; {ready.plan.infeasible}. "
                "Evaluate it to see reasons as results."
            )
        return self._run(ready)

    def _run(self, ready: Ready) -> Run:
        assert ready.held is not None
        return run(
            ready.plan,
            ready.requests,
            ready.held.routing,
            documents(ready.requests, ready.held.routing),
            ready.held.ranking,
            placement=ready.placement,
            warm=ready.serving.warm,
            table=ready.table,
            split=_split(ready) if ready.serving.prefill_workers else None,
        )

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results whose times, rates and bytes contradict each other.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """
        names = [spec.name for spec in METRICS if spec.formula is None]
        column = {name: values[:, place] for place, name in enumerate(names)}
        asked: Asked = workload.content
        if self._clients == 0:
            # With clients, the number of requests depends on the design.
            served = column["promised_percent"] / 100.0 * len(asked.requests)
            seconds = column["total_time_ms"] / 1e3
            output = float(asked.requests.output_tokens.sum())
            prompt = float(asked.requests.prompt_tokens.sum())
            _require("goodput x time is requests", column["goodput_per_s"] * seconds, served)
            _require("output rate x time is tokens", column["output_per_s"] * seconds, output)
            _require("input rate x time is tokens", column["input_per_s"] * seconds, prompt)
        for low, high in (
            ("ttft_mean_ms", "e2e_mean_ms"),
            ("e2e_p99_ms", "total_time_ms"),
            ("stall_load_ms", "total_time_ms"),
            ("worst_layer_hit_rate_percent", "hit_rate_percent"),
        ):
            smaller = np.minimum(column[low], column[high])
            _require(f"{low} is at most {high}", column[low], smaller)

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        asked: Asked = workload.content
        designs = [self._serving(self.space.design_at(row), asked) for row in indices]
        time_s = column["total_time_ms"] / 1e3
        output, prompt = column["output_per_s"] * time_s, column["input_per_s"] * time_s
        limits = [self._limits(asked, *design) for design in designs]
        token_s, ends_s, link, drive, memory_gb, idle_w, weights_ms = np.array(limits).T
        requests = np.array([len(asked.requests_of(each.clients)) for each, _ in designs])
        # The first token comes with the prompt, which may be known already.
        computed = np.maximum(0.0, output - requests)
        computed += prompt * (self._tuning["prefix_cache_gb"] == 0)
        joules = column["energy_per_token_mj"] / 1e3 * output
        loaded = column["demand_gb"] + column["prefetch_gb"]
        return {
            "time is the operations over the peak": (time_s, computed * token_s),
            "time is that of the last request": (time_s, ends_s),
            "time is the bytes over the links to the host": (time_s, loaded / link),
            "time is the bytes over the drive's bandwidth": (time_s, column["drive_gb"] / drive),
            "a token reads the weights": (column["tpot_mean_ms"], weights_ms),
            "accelerators have the memory that is used": (memory_gb, column["memory_gb"]),
            "energy is idle power times time": (joules, idle_w * time_s),
        }

    def _limits(self, asked: Asked, serving: Serving, server: NodePreset) -> tuple[float, ...]:
        """Return what bounds a way of serving, in the order of `laws`."""
        model, gpu = asked.model, server.gpu
        slices = serving.n_gpus if serving.spreads_experts else serving.tensor
        # Engines may keep plain layers in eight bits.
        bits = min(serving.attention_bits, serving.expert_bits, 8.0)
        weights = model.layers * model.attention_parameters * bits / 8.0 / serving.tensor
        return (
            self._token_s(model, server, serving) / serving.all_gpus,
            0.0 if serving.clients else float(asked.requests.arrival_ns.max()) / 1e9,
            server.host_to_gpu.gb_per_s * slices,
            server.ssd.gb_per_s,
            gpu.memory_bytes / 1e9,
            IDLE_W * serving.all_gpus,
            weights / gpu.memory_gb_per_s / 1e6 / (1 + serving.draft_tokens),
        )

    def token_s(self) -> float:
        """Return the least time of a token on one accelerator, by its weights' operations [s]."""
        return self._token_s(self.model, self.node, None)

    @staticmethod
    def _token_s(model: MoeModel, server: NodePreset, serving: Serving | None) -> float:
        """Return the least time of a token on one accelerator; see `token_s`.

        Experts that are skipped, or run on the host, do not count.
        """
        parameters = float(
            model.layers * model.attention_parameters + model.dense_layers * model.dense_parameters
        )
        if serving is None or (serving.cpu_rule == CpuRule.NEVER and not serving.skip_in_64):
            parameters += model.moe_layers * model.top_k * model.expert_parameters
        gpu = server.gpu
        return 2.0 * parameters / (1e12 * max(gpu.bf16_tflops, gpu.fp8_tflops, gpu.fp4_tflops))

    def expressible(self, form: str) -> Mapping[str, tuple[Any, ...]]:
        """Return the values that a format can express, by parameter that it lacks some of."""
        return {"expert_bits": GPU_BITS[form]} if form in GPU_BITS else {}

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design as YAML, or as a command line of vLLM, SGLang or llama.cpp.

        Raises:
          InvalidDesignError: The engine cannot run the design on its server.
        """
        asked: Asked = workload.content
        design = self.space.design_at(indices)
        if form != SERVING and "hardware" in self.space.names:
            raise InvalidDesignError(
                f"Designs of space {self.space.name!r} serve a composition of many models, which "
                f"one command of {form} cannot. Export them as {SERVING}."
            )
        serving, server = self._serving(design, asked)
        return serving_files(form, serving, asked.model, server, design, asked.longest)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what a way of serving says in a format; see `Stating.file_settings`."""
        asked: Asked = workload.content
        serving, server = self._serving(self.space.design_at(indices), asked)
        return serving_settings(form, serving, asked.model, server, asked.longest)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of the workload: name to (value, unit)."""
        asked: Asked = workload.content
        requests = asked.requests
        span_s = float(requests.arrival_ns[-1] - requests.arrival_ns[0]) / 1e9
        return {
            "model": (asked.model.name, ""),
            "requests": (float(len(requests)), ""),
            "arrivals last": (span_s, "s"),
            "prompt, mean": (float(requests.prompt_tokens.mean()), "tokens"),
            "output, mean": (float(requests.output_tokens.mean()), "tokens"),
            "experts": (asked.model.all_experts_parameters * 2 / 1e9, "GB at 16 bits"),
            "promise, first token": (asked.promise.ttft_ms, "ms"),
            "promise, per token": (asked.promise.tpot_ms, "ms"),
        }

    def _digest(self, asked: Asked) -> str:
        """Return a workload's digest, with the content of the files that options name.

        Options are recorded by path, so that only this tells that such a file has changed. The
        model is part of the workload as it is.
        """
        if not self.options.keys() & {"hardware", "engine"}:
            return asked.digest
        # The empty mapping stands for a table of kernels, which an option named before 0.3.
        parts: tuple[Any, ...] = (asked.digest, self.node, {})
        if self._engine.name not in ENGINE_NAMES or self._engine.given:
            parts += (self._engine,)
        return sha256(repr(parts).encode()).hexdigest()

    def _with_fitting_default(self, space: DesignSpace) -> DesignSpace:
        """Return the space with a default design that fits the given server and model.

        The default stays where it fits. Else the number of GPUs is the server's, and bits are as
        many as fit.
        """
        if "hardware" in space.names:
            return space
        if space.name == "closed-loop":
            space = self._as_engine(space)
        default = dict(space.default)
        asked = shipped(space.name, shipped_names(space.name)[0], self.model)
        if asked.skew is not None:
            return space
        tries: list[dict[str, Any]] = [{}]
        if "tensor" in space.names and "servers" not in space.names:
            gpus = 1 << (min(self.node.n_gpus, int(str(default["tensor"]))).bit_length() - 1)
            # A model that does not fit takes more of the server.
            powers = range(gpus.bit_length() - 1, self.node.n_gpus.bit_length())
            tries += [{"tensor": 1 << power} for power in powers]
        elif "servers" in space.names:
            tries = [{}, {"servers": 2}]
        known = {p.name: p for p in space.parameters}
        choices = []
        for extra in tries:
            for bits in _levels(known, "expert_bits", default):
                for kv in _levels(known, "kv_bits", default):
                    choices.append({**extra, **bits, **kv})
        for extra in choices:
            serving = self._as_designed(default | extra, self.model)
            if is_uneven(self.model, serving):
                continue
            if plan(self.model, self.node, serving, asked.requests).infeasible is None:
                return space.with_defaults(extra) if extra else space
        return space

    def _as_engine(self, space: DesignSpace) -> DesignSpace:
        """Return a space whose default design schedules as the engine does, on the server's GPUs.

        Parallelism beyond the server's GPUs would only waste evaluations.
        """
        gpus = 1 << (self.node.n_gpus.bit_length() - 1)
        space = with_highest(space, {"tensor": gpus, "data": gpus})
        how = self._engine
        tokens = how.step_tokens(self.node.gpu)
        if not how.chunks and self._client.uniform is not None:
            # Benchmarks give whole prompts and running requests room in one step.
            room = self._client.uniform[0] + _RUNNING_TOKENS
            tokens = min(max(tokens, 1 << (room - 1).bit_length()), _MOST_STEP_TOKENS)
        wanted: dict[str, Any] = {
            "scheduler": "prefill-first" if how.pauses_decodes else "decode-first",
            "max_tokens": tokens,
            "chunk_tokens": min(tokens, 8192) if how.chunks else 0,
        }
        if how.label != "ideal":
            # Benchmarks keep 8 bits with TensorRT-LLM and on GPUs with 4-bit units (InferenceX).
            narrow = how.label == "trt-llm" or self.node.gpu.fp4_tflops > 0
            wanted["kv_bits"] = 8 if narrow else 16
        try:
            return space.with_defaults({n: v for n, v in wanted.items() if n in space.names})
        except InvalidSpaceError as error:
            raise InvalidArgumentError(
                f"{how.source} must fit {space.name!r}: {error_text(error)} Or set `step_tokens`."
            ) from None

    def _serving(self, design: Mapping[str, Any], asked: Asked) -> tuple[Serving, NodePreset]:
        served = asked.model
        serving = self._as_designed(design, served)
        serving = replace(serving, independent=asked.independent)
        if self._space_name in _ENGINE_SPACES and self._engine.chunks and not serving.chunk_tokens:
            longest = int(asked.requests_of(serving.clients).prompt_tokens.max())
            if longest > serving.max_tokens:
                # Engines split a prompt that no step holds, as vLLM's chunked prefill does.
                serving = replace(serving, chunk_tokens=serving.max_tokens)
        server = node(str(design["hardware"])) if "hardware" in design else self.node
        return serving, server

    def _as_designed(self, design: Mapping[str, Any], served: MoeModel) -> Serving:
        n_experts = served.moe_layers * served.experts
        return self._tuned(machine_of(self._space_name, design, n_experts, self._server_gpus))

    def _tuned(self, serving: Serving) -> Serving:
        """Return a way of serving with the chosen engine and options."""
        how = self._engine
        changes = {
            "block_tokens": how.block_tokens,
            "memory_percent": how.memory_percent,
            **self._tuning,
        }
        if self._server.step_tokens:
            changes["max_tokens"] = self._server.step_tokens * serving.data
            changes["chunk_tokens"] = changes["max_tokens"] if how.chunks else 0
        if self._server.max_sequences:
            changes["max_sequences"] = self._server.max_sequences * serving.data
        precision = str(changes.get("precision", ""))
        if precision:
            changes["expert_bits"] = BITS[precision]
        if how.label != "ideal" or not self.model.moe_layers:
            precision = precision or precision_of(serving.expert_bits, self.node.gpu, self.model)
            changes["attention_bits"] = attention_bits(self.model, precision)
            if how.label == "ideal":
                changes["eight_bit_math"] = changes["attention_bits"] <= 8
        if how.label != "ideal":
            if serving.expert_bits <= 4:
                # A format of 4 bits has scales too.
                changes["expert_bits"] = BITS[precision]
            changes |= {"engine": how.label, "constants": how.given, "precision": precision}
        return replace(serving, **changes)

    def _plan(
        self, asked: Asked, server: NodePreset, serving: Serving, indices: npt.NDArray[np.int64]
    ) -> Plan:
        if asked.skew is not None:
            return composition_plan(asked.model, server, serving, asked.requests)
        crowded = 1.0
        if serving.expert > 1 and serving.n_gpus > server.n_gpus:
            paths = str(self._value("paths", indices, "ecmp"))
            subflows = int(self._value("subflows", indices, 1))
            n_servers = -(-serving.n_gpus // server.n_gpus)
            crowded = contention(n_servers, min(server.n_gpus, _MAX_UPLINKS), paths, subflows)
        return plan(asked.model, server, serving, asked.requests_of(serving.clients), crowded)

    def prepared(
        self, design: Mapping[str, Any], workload: Workload, cost: str | None = None
    ) -> Ready:
        """Return a design with its requests as a kernel takes them.

        Args:
          design: Values by parameter.
          workload: One that this simulator made.
          cost: One of `costs` that the machine does not pay; None for all.

        Raises:
          InvalidDesignError: The design does not lie in the space.
        """
        asked: Asked = workload.content
        indices = self.space.canonical(self.space.indices_of(design)[None, :])[0]
        return self._prepared(asked, indices, cost)

    def step_costs(self, design: Mapping[str, Any]) -> StepCosts:
        """Return the costs of single steps, for simulators that schedule requests themselves.

        Args:
          design: Parameters of a design of space `closed-loop`; the default's where left out.

        Raises:
          InvalidDesignError: The design does not lie in the space, or cannot be built.
        """
        default = self.space.default
        ready = self.prepared({**default, **design}, self.workload(default_workload(self)))
        if ready.plan.infeasible is not None or ready.table is None:
            raise InvalidDesignError(
                f"A design must be one that can be built, at fidelity steps, to have step costs; "
                f"{ready.plan.infeasible or 'its experts are followed one by one'}."
            )
        return StepCosts(
            ready.plan.costs, ready.plan.choices, ready.table, new_state(1, 1, 1, 1),
            np.zeros(len(COUNTERS)), ready.plan.kv_bytes, ready.plan.max_context,
        )  # fmt: skip

    def _prepared(
        self, asked: Asked, indices: npt.NDArray[np.int64], cost: str | None = None
    ) -> Ready:
        serving, server = self._serving(self.space.design_at(indices), asked)
        ready = self._plan(asked, server, serving, indices)
        requests = asked.requests_of(serving.clients)
        if ready.infeasible is not None:
            return Ready(serving, server, ready, requests, None, None, None)
        held = prepared(asked)
        placement = None
        key: Any = None
        if serving.expert > 1:
            n_servers = -(-serving.n_gpus // self.node.n_gpus)
            how = str(self._value("placement", indices, "balanced"))
            key = (serving.redundant, n_servers, serving.expert, how)
            placement = _placement(asked, *key)
        if cost is not None:
            ready, requests, placement = relieved(cost, ready, requests, placement)
        table = None
        # A dense model has no experts to follow.
        if (self._steps or not asked.model.moe_layers) and is_steppable(ready.choices):
            known = None if cost == "imbalance" else (asked.routing_digest, key)
            table = occupancy_table(known, ready.choices, held.routing, placement)
        return Ready(serving, server, ready, requests, held, placement, table)

    def _value(self, name: str, indices: npt.NDArray[np.int64], otherwise: Any) -> Any:
        """Return a parameter's value; `otherwise` where the space leaves it out."""
        if name not in self.space.names:
            return otherwise
        at = self.space.names.index(name)
        return self.space.parameters[at].value(int(indices[at]))


def _split(ready: Ready) -> Split:
    """Return the workers of a way of serving; keys and values move over the servers' network."""
    serving, server = ready.serving, ready.server
    network = server.network if server.network is not None else server.host_to_gpu
    return Split(
        serving.prefill_workers, serving.decode_workers,
        ready.plan.kv_bytes / network.gb_per_s, serving.tokens_per_step,
    )  # fmt: skip


def _without_replaced(
    designs: DesignSpace, model: MoeModel, server: ServerOptions, clients: int | None
) -> DesignSpace:
    """Return a space without the parameters that options replace."""
    replaced = {
        "spread": not model.moe_layers,
        "clients": clients is not None,
        "expert_bits": server.precision,
        "max_tokens": server.step_tokens,
        "chunk_tokens": server.step_tokens,
    }
    if not any(replaced.values()):
        return designs
    return designs.restricted(keep=[name for name in designs.names if not replaced.get(name)])


def _levels(
    known: Mapping[str, Parameter], name: str, default: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a parameter's values from its default down, as parts of designs."""
    if name not in known:
        return [{}]
    values = [known[name].value(place) for place in range(known[name].size)]
    return [{name: value} for value in sorted(values, reverse=True) if value <= default[name]]


def _placement(
    asked: Asked, n_redundant: int, n_servers: int, n_groups: int, how: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return `place`, once for each workload and way."""
    key = (asked.routing_digest, n_redundant, n_servers, n_groups, how)
    found = _PLACED.get(key)
    if found is None:
        ranking = prepared(asked).ranking
        found = place(ranking, asked.model.moe_layers, n_redundant, n_servers, n_groups, how)
        if len(_PLACED) >= _MAX_PLACED:
            _PLACED.clear()
        _PLACED[key] = found
    return found


# chosen: what a space can ask for; each takes some hundred kilobytes.
_MAX_PLACED: Final = 256
_PLACED: Final[
    dict[tuple[str, int, int, int, str], tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]
] = {}
