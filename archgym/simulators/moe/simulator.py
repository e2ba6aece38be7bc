"""The MoE serving simulator: requests, experts that do not all fit, and the links between."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice
from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    unknown_name,
)
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective
from archgym.evaluation.simulator import BatchResult, Simulator, Workload, require_kept
from archgym.simulators.cluster.fabric import contention
from archgym.simulators.moe.composition import composition_plan
from archgym.simulators.moe.costs import costs_of, measure_without, relieved
from archgym.simulators.moe.designs import serving_of
from archgym.simulators.moe.engines import (
    BITS,
    ENGINE_NAMES,
    Engine,
    attention_bits,
    precision_of,
)
from archgym.simulators.moe.engines import engine as engine_of
from archgym.simulators.moe.eplb import place
from archgym.simulators.moe.export import FORMATS, SERVING, serving_files
from archgym.simulators.moe.hardware import NodePreset, node
from archgym.simulators.moe.measured import measured_ratios
from archgym.simulators.moe.metrics import METRICS, OBJECTIVES, measure
from archgym.simulators.moe.models import MoeModel
from archgym.simulators.moe.plan import MODEL_REASONS, Plan, plan
from archgym.simulators.moe.presets import model
from archgym.simulators.moe.relief import RELIEF
from archgym.simulators.moe.requests import MAX_REQUESTS, MAX_TOKENS, uniform_requests
from archgym.simulators.moe.running import (
    Run,
    documents,
    is_steppable,
    occupancy_table,
    run,
)
from archgym.simulators.moe.serving import MAX_DRAFTS, Serving
from archgym.simulators.moe.space import (
    GROUPS,
    HARDWARE,
    SPACE_NAMES,
    design_space,
    with_highest,
)
from archgym.simulators.moe.workloads import (
    WAVES,
    Asked,
    Promise,
    default_model,
    prepared,
    shipped,
    shipped_names,
)
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace

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


@final
class MoeSimulator(Simulator):
    """Serving of a mixture-of-experts model: caches, prefetch, batching, tiers, parallelism.

    A design is how a server of one kind serves one model; each space has a server and a model of
    its own, which `hardware` and `model` replace.
    """

    name = "moe"
    version = 6
    fidelity_names: ClassVar[tuple[str, ...]] = ("auto", "full", "steps")
    space_names: ClassVar[tuple[str, ...]] = SPACE_NAMES
    table_space = "edge-offload-table"
    model_reasons = MODEL_REASONS
    metrics: tuple[MetricSpec, ...] = METRICS
    objectives: Mapping[str, Objective] = OBJECTIVES
    default_objective = "latency"
    default_workload = "chat"
    exports: Mapping[str, str] = FORMATS

    def __init__(
        self,
        space: str = "edge-offload",
        hardware: str = "",
        model: str = "",
        kernels: str = "",
        engine: str = "",
        release: str = "",
        precision: str = "",
        clients: str = "",
        lengths: str = "",
        shortest: str = "",
        stagger: str = "",
        ttft_ms: str = "",
        tpot_ms: str = "",
        step_tokens: str = "",
        poll_steps: str = "",
        hold_steps: str = "",
        hold_prompts: str = "",
        hold_tokens: str = "",
        memory_percent: str = "",
        block_tokens: str = "",
        prefix_cache_gb: str = "",
        expert_groups: str = "",
        draft_tokens: str = "",
        acceptance: str = "",
        requests: str = "",
        output_tokens: str = "",
        fidelity: str = "auto",
    ) -> None:
        """Make the simulator of one space.

        Args:
          space: One of `space_names`.
          hardware: A server that `archgym moe hardware` lists or a YAML file; the space's own where
            it is left out. In `three-tier` the design chooses it.
          model: A model that `archgym moe models` lists or a YAML file.
          kernels: A table of measured experts kernels, which replace their rooflines at 16 and 8
            bits (see `measured`); none where it is left out.
          engine: Serving engine whose measured constants count, one of `engine_names` or a YAML
            file with an engine of your own; "ideal" is the default, and "vllm" that of
            `closed-loop`.
          release: Release of the engine, such as "vllm 0.11"; a typical one by default.
          precision: Format of the experts' weights, a key of `engines.BITS` such as w4a16, in place
            of `expert_bits`.
          clients: Requests in flight of a closed loop, which replaces the workload's arrivals; in
            `closed-loop` the design chooses it by default.
          lengths: Longest prompt and output of a closed loop, such as 1024+1024, in place of the
            workload's lengths [tokens].
          shortest: Share of them that the shortest have; lengths between are uniform. 1 by default.
          stagger: `yes` spreads the clients' starts over the time of a request.
          ttft_ms: Promised time to the first token, which replaces the workload's [ms].
          tpot_ms: Promised time per further token, which replaces the workload's [ms].
          step_tokens: Most tokens of a step of each group of `closed-loop`, in place of
            `max_tokens` and `chunk_tokens`. An engine that splits prompts fills steps with them.
          poll_steps: Steps between two looks for new requests, 1 by default.
          hold_steps: Most steps that prompts wait for others to share their step; none by default.
          hold_prompts: Prompts from which they wait no longer.
          hold_tokens: Tokens of a step from which they wait no longer.
          memory_percent: Share of an accelerator's memory that may be used [%]; by default the
            engine's, or 90.
          block_tokens: Tokens of a block of keys and values that is taken on demand; 0 to keep room
            for all tokens of a request, which is the default of engine "ideal".
          prefix_cache_gb: Memory of each accelerator for prompts that others may begin with, by the
            `hash_ids` of a trace; none by default [GB].
          expert_groups: Groups of accelerators that hold different experts, where they are spread;
            by default each accelerator is one.
          draft_tokens: Tokens that are drafted for each sequence and step (multi-token prediction);
            none by default.
          acceptance: Probability that a draft is accepted where those before it were, by default
            0.8.
          requests: First requests of the workload that are served; all by default, and ten of each
            client at least. Few requests rank designs much as all do, in a fraction of the time.
          output_tokens: Most output tokens of a request, beyond which it ends; no limit by default.
          fidelity: `full` follows the experts of each token. `steps` adds up steps that are alike,
            with the experts that so many tokens use on average; designs with experts outside the
            accelerators' memory run in full. `auto` is `steps` in `closed-loop`, else `full`.

        Raises:
          UnknownNameError: There is no such space, server, model or fidelity.
          FileFormatError: A file holds something else.
          InvalidArgumentError: The space's designs choose the server themselves.
        """
        if fidelity not in self.fidelity_names:
            raise unknown_name("fidelity", fidelity, self.fidelity_names)
        self.fidelity = fidelity
        given = dict(locals())
        self.options = {name: given[name] for name in _OPTIONS if given[name]}
        self._steps = fidelity == "steps" or (fidelity == "auto" and space in _STEPS_BY_DEFAULT)
        self.space = design_space(space)
        if hardware and "hardware" in self.space.names:
            raise InvalidArgumentError(
                f"`hardware` must be left out in space {space!r}, whose designs choose it; "
                f"got {hardware!r}. Set it in a design: --set hardware=NAME."
            )
        self.default_objective = _DEFAULT_OBJECTIVE[space]
        self.default_workload = shipped_names(space)[0]
        self.node: NodePreset = node(hardware or HARDWARE[space])
        self.model: MoeModel = _model(model) if model else default_model(space)
        self._measured: Mapping[int, npt.NDArray[np.float64]] = (
            measured_ratios(kernels, self.node.gpu, self.model) if kernels else {}
        )
        self._engine: Engine = engine_of(engine or _DEFAULT_ENGINE.get(space, "ideal"))
        self.engine = self._engine.name
        if kernels and self.engine != "ideal":
            raise InvalidArgumentError(
                f"`kernels` must be left out with engine {self.engine!r}, whose constants hold "
                "measured kernels already; take `engine=ideal`."
            )
        numbers = {
            name: _number(name, text, *_NUMBERS[name])
            for name, text in self.options.items()
            if name in _NUMBERS
        }
        self._numbers: Mapping[str, float] = numbers
        if precision and precision not in BITS:
            raise unknown_name("precision", precision, tuple(BITS))
        self._uniform = _uniform(lengths, numbers.get("shortest", 1.0)) if lengths else None
        check_choice("stagger", stagger or "no", ("yes", "no"))
        self.space = _without(
            self.space,
            {
                "clients": ("clients",),
                "precision": ("expert_bits",),
                "step_tokens": ("max_tokens", "chunk_tokens"),
            },
            self.options,
        )
        if hardware or model or engine:
            self.space = self._with_fitting_default()
        self.costs: Mapping[str, str] = costs_of(space)
        self.relief: Mapping[str, tuple[str, ...]] = {cost: RELIEF[cost] for cost in self.costs}
        self.groups: Mapping[str, tuple[str, ...]] = {
            group: present
            for group, members in GROUPS.items()
            if (present := tuple(m for m in members if m in self.space.names))
        }

    def __reduce__(self) -> tuple[type["MoeSimulator"], tuple[str, ...]]:
        options = [self.options.get(name, "") for name in _OPTIONS]
        return MoeSimulator, (self.space.name, *options, self.fidelity)

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship with the space: see `archgym.simulators.moe.workloads`."""
        return shipped_names(self.space.name)

    def workload(self, name: str | Path) -> Workload:
        """Return the shipped workload with this name, or made of the trace at this path.

        Raises:
          UnknownNameError: Neither.
          FileFormatError: The file is not a trace of routing or requests.
        """
        asked = shipped(self.space.name, name, self.model)
        given = self._numbers
        promise = Promise(
            given.get("ttft_ms", asked.promise.ttft_ms), given.get("tpot_ms", asked.promise.tpot_ms)
        )
        requests = asked.requests
        if self._uniform is not None:
            requests = uniform_requests(len(requests), *self._uniform)
        longest = int((requests.prompt_tokens + requests.output_tokens).max())
        if "requests" in given:
            requests = requests.first(int(given["requests"]))
        if "output_tokens" in given:
            requests = requests.capped(int(given["output_tokens"]))
        asked = replace(
            asked, promise=promise, longest=longest, requests=requests,
            uniform=None if given.keys() & {"requests", "output_tokens"} else self._uniform,
            staggered=self.options.get("stagger") == "yes",
            waves=0 if "requests" in given else WAVES,
        )  # fmt: skip
        return Workload(asked.name, self._digest(asked), asked)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self._simulate(indices, workload, None)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of an ideal machine that does not pay one of `costs`."""
        return self._simulate(indices, workload, cost)

    def _simulate(self, indices: np.ndarray, workload: Workload, cost: str | None) -> BatchResult:
        """Return results of designs, without a cost where one is named."""
        values = np.full((len(indices), len(METRICS)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        for row, design in enumerate(indices):
            asked: Asked = workload.content
            serving, server = self._serving(self.space.design_at(design), asked)
            ready = self._plan(asked, server, serving, design)
            if ready.infeasible is not None:
                reason[row] = 1 + MODEL_REASONS.index(ready.infeasible)
                continue
            result = self._run(asked, ready, serving, design, cost)
            measured = (result, asked.model, server, serving, asked.promise)
            values[row] = measure(*measured) if cost is None else measure_without(cost, *measured)
        return BatchResult(values, reason)

    def run(self, design: Mapping[str, Any], workload: Workload) -> Run:
        """Return all measurements of a run of one design: requests, layers and counters.

        Raises:
          InvalidDesignError: The design does not lie in the space.
          SimulatorError: It cannot be built, or what was counted does not add up.
        """
        asked: Asked = workload.content
        indices = self.space.canonical(self.space.indices_of(design)[None, :])[0]
        serving, server = self._serving(self.space.design_at(indices), asked)
        ready = self._plan(asked, server, serving, indices)
        if ready.infeasible is not None:
            raise SimulatorError(
                f"A design must be one that can be built to be run; {ready.infeasible}. "
                "Evaluate it to see reasons as results."
            )
        return self._run(asked, ready, serving, indices)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results whose times, rates and bytes contradict each other.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """
        column = {spec.name: values[:, place] for place, spec in enumerate(METRICS)}
        asked: Asked = workload.content
        if not self._has_clients:
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

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        """Return a design as YAML, or as a command line of vLLM or llama.cpp.

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
        if not self.options.keys() & {"hardware", "kernels", "engine"}:
            return asked.digest
        measured = {bits: ratios.tolist() for bits, ratios in sorted(self._measured.items())}
        parts: tuple[Any, ...] = (asked.digest, self.node, measured)
        if self.engine not in ENGINE_NAMES:
            parts += (self._engine,)
        return sha256(repr(parts).encode()).hexdigest()

    def _with_fitting_default(self) -> DesignSpace:
        """Return the space with a default design that fits the given server and model.

        The default stays where it fits. Else the number of GPUs is the server's, and bits are as
        many as fit.
        """
        space = self.space
        if "hardware" in space.names:
            return space
        if "clients" in space.names:
            # Parallelism beyond the server's GPUs would only waste evaluations.
            gpus = 1 << (min(8, self.node.n_gpus).bit_length() - 1)
            space = with_highest(space, {"tensor": gpus, "data": gpus})
        default = dict(space.design_at(space.default_indices))
        asked = shipped(space.name, shipped_names(space.name)[0], self.model)
        if asked.skew is not None:
            return space
        tries: list[dict[str, Any]] = [{}]
        if "tensor" in space.names and "servers" not in space.names:
            gpus = 1 << (min(self.node.n_gpus, int(str(default["tensor"]))).bit_length() - 1)
            tries = [{}, {"tensor": gpus}]
        known = {p.name: p for p in space.parameters}
        choices = []
        for extra in tries:
            for bits in _levels(known, "expert_bits", default):
                for kv in _levels(known, "kv_bits", default):
                    choices.append({**extra, **bits, **kv})
        for extra in choices:
            serving = self._tuned(serving_of(space.name, default | extra, _blocks(self.model)))
            if plan(self.model, self.node, serving, asked.requests).infeasible is None:
                return space.with_defaults(extra) if extra else space
        return space

    def _serving(self, design: Mapping[str, Any], asked: Asked) -> tuple[Serving, NodePreset]:
        served = asked.model
        serving = self._tuned(serving_of(self.space.name, design, _blocks(served)))
        server = node(str(design["hardware"])) if "hardware" in design else self.node
        return serving, server

    @property
    def _has_clients(self) -> bool:
        """True if clients keep requests in flight."""
        return "clients" in self.space.names or "clients" in self.options

    def _tuned(self, serving: Serving) -> Serving:
        """Return a way of serving with the chosen engine and options."""
        numbers, how = self._numbers, self._engine
        whole = {name: int(numbers[name]) for name in _SERVING_OPTIONS if name in numbers}
        changes: dict[str, Any] = {
            "block_tokens": how.block_tokens,
            "memory_percent": numbers.get("memory_percent", how.memory_percent),
            "prefix_cache_gb": numbers.get("prefix_cache_gb", 0.0),
            "acceptance": numbers.get("acceptance", serving.acceptance),
            **whole,
        }
        if "step_tokens" in numbers:
            tokens = int(numbers["step_tokens"])
            changes["max_tokens"] = tokens * serving.data
            changes["chunk_tokens"] = tokens * serving.data if how.chunks else 0
        precision = self.options.get("precision", "")
        if precision:
            changes |= {"precision": precision, "expert_bits": BITS[precision]}
        if how.name != "ideal":
            precision = precision or precision_of(serving.expert_bits, self.node.gpu, self.model)
            changes |= {
                "engine": how.label,
                "release": self.options.get("release", ""),
                "constants": how.given,
                "precision": precision,
                "attention_bits": attention_bits(self.model, precision),
            }
            if serving.expert_bits <= 4 or "precision" in self.options:
                # A format of 4 bits has scales too.
                changes["expert_bits"] = BITS[precision]
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
            crowded = contention(n_servers, server.n_gpus, paths, subflows)
        return plan(asked.model, server, serving, asked.requests_of(serving.clients), crowded)

    def _run(
        self,
        asked: Asked,
        ready: Plan,
        serving: Serving,
        indices: npt.NDArray[np.int64],
        cost: str | None = None,
    ) -> Run:
        held = prepared(asked)
        requests = asked.requests_of(serving.clients)
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
        if self._steps and is_steppable(ready.choices):
            known = None if cost == "imbalance" else (asked.digest, key)
            table = occupancy_table(known, ready.choices, held.routing, placement)
        where = held.where
        if len(requests) != len(where.row):
            where = documents(requests, held.routing)
        return run(
            ready,
            requests,
            held.routing,
            where,
            held.ranking,
            placement=placement,
            measured=self._measured.get(round(serving.expert_bits)),
            warm=serving.warm,
            table=table,
        )

    def _value(self, name: str, indices: npt.NDArray[np.int64], otherwise: Any) -> Any:
        """Return a parameter's value; `otherwise` where the space leaves it out."""
        if name not in self.space.names:
            return otherwise
        at = self.space.names.index(name)
        return self.space.parameters[at].value(int(indices[at]))


def _model(name: str) -> MoeModel:
    return model(name)


def _blocks(served: MoeModel) -> int:
    return served.moe_layers * served.experts


def _levels(
    known: Mapping[str, Parameter], name: str, default: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a parameter's values from its default down, as parts of designs."""
    if name not in known:
        return [{}]
    values = [known[name].value(place) for place in range(known[name].size)]
    return [{name: value} for value in sorted(values, reverse=True) if value <= default[name]]


def _number(name: str, text: str, low: float, high: float, is_whole: bool = True) -> float:
    """Return the number that an option holds.

    Raises:
      InvalidArgumentError: The value is not valid or out of range.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InvalidArgumentError(
            f"`{name}` must be a number from {low:g} to {high:g}; got {text!r}."
        )
    if is_whole and value != int(value):
        raise InvalidArgumentError(f"`{name}` must be a whole number; got {text!r}.")
    return value


def _uniform(lengths: str, shortest: float) -> tuple[int, int, float]:
    """Return the longest prompt and output, and the share that the shortest have.

    Raises:
      InvalidArgumentError: The text is not two numbers.
    """
    prompt, plus, output = lengths.partition("+")
    if not plus:
        raise InvalidArgumentError(
            f"`lengths` must be the tokens of prompt and output, such as 1024+1024; "
            f"got {lengths!r}."
        )
    most = (1.0, float(MAX_TOKENS))
    tokens = [int(_number("lengths", text, *most)) for text in (prompt, output)]
    return tokens[0], tokens[1], shortest


def _without(
    space: DesignSpace, replaced: Mapping[str, tuple[str, ...]], options: Mapping[str, str]
) -> DesignSpace:
    """Return a space without the parameters that options replace.

    Raises:
      InvalidArgumentError: The space has no such parameters, or rules on them.
    """
    gone = [name for option, names in replaced.items() if option in options for name in names]
    gone = [name for name in gone if name in space.names]
    if not gone:
        return space
    kept = tuple(p for p in space.parameters if p.name not in gone)
    return DesignSpace(
        space.name, kept, constraints=space.constraints, conditions=space.conditions, doc=space.doc
    )


_NUMBERS: Final[Mapping[str, tuple[float, float, bool]]] = {
    "clients": (1, MAX_REQUESTS // WAVES, True),
    "shortest": (1e-6, 1, False),
    "ttft_ms": (1e-3, 1e9, False),
    "tpot_ms": (1e-3, 1e9, False),
    "step_tokens": (1, MAX_TOKENS, True),
    "poll_steps": (1, 1_000_000, True),
    "hold_steps": (0, 1_000_000, True),
    "hold_prompts": (0, 1_000_000, True),
    "hold_tokens": (0, MAX_TOKENS, True),
    "memory_percent": (1, 100, False),
    "block_tokens": (0, 1_000_000, True),
    "prefix_cache_gb": (0, 1e6, False),
    "expert_groups": (1, 4096, True),
    "draft_tokens": (0, MAX_DRAFTS, True),
    "acceptance": (0, 1, False),
    "requests": (1, MAX_REQUESTS, True),
    "output_tokens": (1, MAX_TOKENS, True),
}
"""Options that hold numbers: least, most and whether they are whole."""
_SERVING_OPTIONS: Final = (
    "clients", "poll_steps", "hold_steps", "hold_prompts", "hold_tokens", "block_tokens",
    "expert_groups", "draft_tokens",
)  # fmt: skip
_OPTIONS: Final = (
    "hardware", "model", "kernels", "engine", "release", "precision", "clients", "lengths",
    "shortest", "stagger", "ttft_ms", "tpot_ms", "step_tokens", "poll_steps", "hold_steps",
    "hold_prompts", "hold_tokens", "memory_percent", "block_tokens", "prefix_cache_gb",
    "expert_groups", "draft_tokens", "acceptance", "requests", "output_tokens",
)  # fmt: skip
_DEFAULT_ENGINE: Final = {"closed-loop": "vllm"}
_STEPS_BY_DEFAULT: Final = ("closed-loop",)


def _placement(
    asked: Asked, n_redundant: int, n_servers: int, n_groups: int, how: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return `place`, once for each workload and way."""
    key = (asked.digest, n_redundant, n_servers, n_groups, how)
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
