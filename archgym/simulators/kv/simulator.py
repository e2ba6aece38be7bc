"""The KV simulator: prefix caches of serving engines on traces of requests."""

import json
import logging
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np
import yaml

from archgym.simulators.kit import (
    Columns,
    Files,
    InvalidArgumentError,
    InvalidDesignError,
    Laws,
    Option,
    RowSimulator,
    SimulatorSpec,
    Workload,
    declared,
    report_loss,
    require_kept,
)
from archgym.simulators.kit.exports import Tool, command_options, folder
from archgym.simulators.kv.costs import REASONS, Served, limits_of, n_workers, serve_design
from archgym.simulators.kv.machine import TIERS
from archgym.simulators.kv.metrics import METRICS, gap_share, objectives, values_of
from archgym.simulators.kv.space import GROUPS, SPACE_NAMES, design_space
from archgym.simulators.kv.workloads.stream import StreamBlocks, StreamSettings
from archgym.simulators.kv.workloads.traces import (
    DEFAULT_WORKLOAD,
    SHIPPED,
    TraceContent,
    characterise,
    load,
    stream,
    stream_blocks,
)

logger = logging.getLogger(__name__)

GB: Final = {"GB": 1.0, "GiB": 1e9 / 2**30}
"""Units of sizes in a gigabyte."""
TOOLS: Final[Mapping[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "settings.json").read_text()
)
"""Settings by tool."""
FORMATS: Final[Mapping[str, str]] = {name: tool["doc"] for name, tool in TOOLS.items()}
DRIVERS: Final = ("sequential", "concurrent", "steps")
_MOST_BLOCKS: Final = 2**28
"""chosen: blocks of all requests, which take about 5 GB."""
_TOO_MANY: Final = "too many blocks to count: take larger blocks or fewer requests"
_NO_FIT: Final = "the size of a block neither divides the pieces of the trace nor is a multiple"
_NO_REQUEST: Final = (
    "some caches are smaller than every request of the trace: all are rejected, and nothing is hit"
)
_EXPORTS: Final = {
    "vllm": {"vllm": FORMATS["vllm"]},
    "offload": {"vllm": FORMATS["vllm"]},
    "sglang": {"sglang": FORMATS["sglang"]},
    "serving": FORMATS,
}
_REASONS: Final = (_TOO_MANY, _NO_FIT, *REASONS)
_require = partial(require_kept, "KV")


@final
class KvSimulator(RowSimulator):
    """Prefix caches of vLLM and SGLang, block by block, on recorded requests.

    A design is the memory, the size of a block and the policy of eviction. Every run comes with the
    most hits that any eviction could reach in the same memory.
    """

    spec = SimulatorSpec(
        name="kv",
        version=0,
        title="Prefix cache",
        compared=(
            "counts equal to vLLM's and SGLang's own classes in 148 runs; times of the "
            "space serving are predictions"
        ),
        space_names=SPACE_NAMES,
        fidelity_names=("standard",),
        # Every count equals that of the engines' own classes.
        accuracy_percent={"standard": 0.0},
        evaluation_s=0.02,
        table_space="vllm",
        default_workload=DEFAULT_WORKLOAD,
        model_reasons=_REASONS,
        partial_exports=tuple(FORMATS),
        exports=FORMATS,
        groups=GROUPS,
    )

    @declared
    def __init__(
        self,
        space: str = "vllm",
        driver: Annotated[
            str,
            Option(
                "Times of requests: sequential has none, concurrent runs each for its service "
                "time, steps is vLLM's scheduler.",
                choices=DRIVERS,
            ),
        ] = "sequential",
        first: Annotated[int, Option("First request of the stream that runs.")] = 0,
        last: Annotated[int, Option("Request before which the run ends.", word="all")] = 0,
        skip_sessions: Annotated[int, Option("Sessions of the trace that are left out.")] = 0,
        sessions: Annotated[int, Option("Sessions of the trace that run.", word="all")] = 0,
        live: Annotated[int, Option("Sessions that are live at a time.", low=1)] = 8,
        stagger_ms: Annotated[
            int, Option("Time between the starts of the first sessions.", high=10**9, unit="ms")
        ] = 20_000,
        think_cap_ms: Annotated[
            int, Option("Longest pause of an agent.", high=10**10, unit="ms")
        ] = 600_000,
        link: Annotated[bool, Option("True if an output is part of the next prompt.")] = True,
        shared_prefix: Annotated[
            bool, Option("True if agents with the same tools and system prompt share blocks.")
        ] = True,
        service_prompt_div: Annotated[
            int, Option("Prompt tokens of a millisecond, without recorded times.", low=1)
        ] = 10,
        service_ms_per_output: Annotated[
            int, Option("Time of an output token, without recorded times.", high=10**6, unit="ms")
        ] = 30,
        block_tokens: Annotated[
            int | None,
            Option("Size of a block; by default a parameter.", low=1, high=2**20, unit="token"),
        ] = None,
        gpu_blocks: Annotated[
            int | None,
            Option(
                "Blocks in the memory of the GPU; by default a parameter says how many tokens.",
                high=2**26,
            ),
        ] = None,
        host_blocks: Annotated[
            int | None,
            Option("Blocks in host memory; by default a parameter says how many.", high=2**26),
        ] = None,
        step_ms: Annotated[int, Option("Length of a step.", low=1, high=10**6, unit="ms")] = 30,
        max_seqs: Annotated[int, Option("Requests that run at a time.", low=1, high=2**16)] = 256,
        token_budget: Annotated[
            int, Option("Tokens of a step.", low=1, high=2**26, unit="token")
        ] = 8192,
        reserve_prompt: Annotated[
            bool, Option("True if a request starts only when its whole prompt fits.")
        ] = True,
        hardware: Annotated[
            str,
            Option("Server, for the space serving; `archgym moe` describes them.", takes_file=True),
        ] = "hgx-h200",
        model: Annotated[
            str, Option("Model, for the space serving; dense or a mixture.", takes_file=True)
        ] = "llama-3.1-8b",
        precision: Annotated[str, Option("Precision of weights, for the space serving.")] = "bf16",
        engine: Annotated[
            str, Option("Engine whose step times are used, for the space serving.")
        ] = "vllm",
        release: Annotated[
            str, Option("Release of the engine, for the space serving; by default a typical one.")
        ] = "",
        spread: Annotated[
            bool,
            Option("True if workers share the experts of a mixture, for the space serving."),
        ] = False,
        arrivals: Annotated[
            str,
            Option(
                "Arrivals in the space serving: closed lets a session's next turn wait for the "
                "answer, nominal takes the recorded times.",
                choices=("closed", "nominal"),
            ),
        ] = "closed",
        ttft_limit_ms: Annotated[
            float, Option("Limit of goodput on the first token.", low=0.1, unit="ms")
        ] = 2000.0,
        tpot_limit_ms: Annotated[
            float, Option("Limit of goodput on each output token.", low=0.1, unit="ms")
        ] = 50.0,
        gpu_usd_per_hour: Annotated[
            float, Option("Rent of an accelerator with its share of the server.", unit="$")
        ] = 3.0,
        gpu_watts: Annotated[
            float, Option("Power of an accelerator at work; a seventh of it at rest.", unit="W")
        ] = 700.0,
        dram_gb_per_s: Annotated[
            float,
            Option(
                "Rate of the host's memory; by default the links to the accelerators alone limit "
                "the tier dram.",
                low=1e-3,
                unit="GB/s",
                word="unlimited",
            ),
        ] = math.inf,
        kv_bytes_per_token: Annotated[
            int,
            Option("Keys and values of a token; that of Llama-3.1-8B in 16 bits.", low=1, unit="B"),
        ] = 131_072,
    ) -> None:
        """Make the simulator of one space and one choice of requests.

        Args:
          space: `vllm`, `sglang`, `offload` or `serving`.

        The other arguments are options, described where they are declared.

        Raises:
          UnknownNameError: There is no such space or driver.
          InvalidArgumentError: An option is outside its limits.
        """
        self.settings = StreamSettings(
            first=first, last=last, skip_sessions=skip_sessions, sessions=sessions, live=live,
            stagger_ms=stagger_ms, think_cap_ms=think_cap_ms, link=link,
            shared_prefix=shared_prefix, prompt_div=service_prompt_div,
            ms_per_output=service_ms_per_output,
        )  # fmt: skip
        self._driver = driver
        self._scheduler: dict[str, Any] = {
            "step_ms": step_ms,
            "max_seqs": max_seqs,
            "token_budget": token_budget,
            "reserve_prompt": reserve_prompt,
        }
        self.kv_bytes_per_token = kv_bytes_per_token
        self._served = Served(
            hardware, model, precision, engine, release, spread, arrivals == "closed", live,
            stagger_ms, ttft_limit_ms, tpot_limit_ms, gpu_usd_per_hour, gpu_watts,
            dram_gb_per_s,
        )  # fmt: skip
        self._given = {
            "block_tokens": block_tokens,
            "cache_tokens": gpu_blocks,
            "host_tokens": host_blocks,
        }
        set_here = [name for name, value in self._given.items() if value is not None]
        of_space = design_space(space, ()).names
        for option, parameter in (("gpu_blocks", "cache_tokens"), ("host_blocks", "host_tokens")):
            if parameter in set_here and parameter not in of_space:
                raise InvalidArgumentError(
                    f"`{option}` replaces a parameter that the space {space!r} does not have. Its "
                    f"parameters are {', '.join(of_space)}."
                )
        # An `offload` without blocks of its own takes all from the host.
        if gpu_blocks == 0 and space != "offload":
            raise InvalidArgumentError(
                f"`gpu_blocks` must be 1 or more in the space {space!r}; got 0. Only `offload` may "
                "have host memory alone."
            )
        aims = objectives(space)
        self.spec = self.spec.completed(
            # The times of servers are those of `moe`.
            version=2 * int(space == "serving"),
            space=design_space(space, set_here),
            metrics=METRICS[space],
            objectives=aims,
            default_objective=next(iter(aims)),
            exports=_EXPORTS[space],
        )
        self._names = tuple(spec.name for spec in self.spec.simulated_metrics)

    def workload_names(self) -> tuple[str, ...]:
        """Return the traces that ship."""
        return SHIPPED

    def workload(self, name: str | Path) -> Workload:
        """Return the trace with this name, or the one in the file at this path.

        Raises:
          UnknownNameError: The name is neither.
          FileFormatError: The file is not a trace of requests.
          InvalidArgumentError: The options leave no request of it.
        """
        content = load(name)
        found = stream(content, self.settings)
        sessions = len(np.unique(found.session[found.session >= 0]))
        if self.settings.live > max(sessions, StreamSettings().live):
            logger.warning(
                "`live` is %d, but %s has %d sessions: no more are live at a time.",
                self.settings.live, content.name, sessions,
            )  # fmt: skip
        return Workload(content.name, content.digest, content)

    def measure(self, indices: np.ndarray, opened: Any, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one design on a trace."""
        design: dict[str, Any] = dict(self.space.design_at(indices))
        content: TraceContent = opened
        block = self._given["block_tokens"] or design["block_tokens"]
        found = stream(content, self.settings)
        computed = int((found.arrivals.prompt + found.arrivals.output).sum())
        if computed // block > _MOST_BLOCKS:
            return _TOO_MANY
        if found.piece % block and block % found.piece:
            return _NO_FIT
        made = stream_blocks(content, self.settings, block)
        if self.space.name == "serving":
            served = serve_design(made, {"block_tokens": block, **design}, self._served)
            return served if isinstance(served, str) else np.array(values_of(served, self._names))
        counts = self._counts(made, design)
        return np.array(values_of(counts, self._names))

    def piece_bytes(self, design: Mapping[str, Any]) -> int | str:
        """Return the bytes of a block in one layer, which lie together, or why there are none.

        Args:
          design: A design of the space `serving`.
        """
        deployed = self._served.deployed(design)
        if isinstance(deployed, str):
            return deployed
        block = self._given["block_tokens"] or design["block_tokens"]
        return int(block * deployed.kv_bytes / deployed.layers)

    def link_gb_per_s(self, design: Mapping[str, Any]) -> float:
        """Return the bandwidth of all links to the host; faster host memory makes no difference."""
        deployed = self._served.deployed(design)
        assert not isinstance(deployed, str)
        return deployed.host_gb_per_s * (n_workers(design) * int(design["tensor"]))

    def _size(self, parameter: str, design: Mapping[str, Any], block: int) -> int:
        """Return a capacity in blocks, which an option or the design gives."""
        given = self._given[parameter]
        return int(design[parameter]) // block if given is None else given

    def _counts(self, made: StreamBlocks, design: Mapping[str, Any]) -> dict[str, Any]:
        from archgym.simulators.kv.kernel.run import run_offload, run_radix

        gpu = self._size("cache_tokens", design, made.block)
        host = self._size("host_tokens", design, made.block) if "host_policy" in design else 0

        def run(policy: str, host_policy: str = "") -> dict[str, Any]:
            if self.space.name == "offload":
                return run_offload(made, gpu, host, policy, host_policy)
            if self.space.name == "sglang":
                return run_radix(made, gpu, policy)
            return self._run_pool(made, gpu, policy)

        chosen = [design[name] for name in ("policy", "host_policy") if name in design]
        counts = run(*chosen)
        plain = counts if set(chosen) == {"lru"} else run(*["lru"] * len(chosen))
        hits = counts["hit_blocks"] + counts.get("host_hit_blocks", 0)
        of_lru = plain["hit_blocks"] + plain.get("host_hit_blocks", 0)
        optimum = counts["optimum_blocks"]
        tokens = max(1, counts["prompt_tokens"])
        gib = made.block * self.kv_bytes_per_token / 2**30
        is_used = counts["rejected"] < counts["requests"]
        if not is_used:
            report_loss(_NO_REQUEST)
        return counts | {
            "hit_tokens": hits * made.block,
            "hit_percent": 100.0 * hits * made.block / tokens,
            "optimum_hit_percent": 100.0 * optimum * made.block / tokens,
            "gap_closed_percent": 100.0 * gap_share(hits, of_lru, optimum) * is_used,
            "cache_gib": gpu * gib,
            "host_gib": host * gib,
        }

    def _run_pool(self, made: StreamBlocks, gpu: int, policy: str) -> dict[str, Any]:
        if self._driver == "steps":
            from archgym.simulators.kv.kernel.served import run_steps

            return run_steps(made, gpu, policy, **self._scheduler)
        from archgym.simulators.kv.kernel.run import run_pool

        return run_pool(made, self._driver, gpu, policy)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse hits above the optimum or above what can be hits.

        Raises:
          SimulatorError: Says by how much.
        """
        column = {spec.name: values[:, i] for i, spec in enumerate(self.metrics)}
        if self.space.name == "serving":
            _require(
                "hits and loads are at most the prompts",
                column["hit_percent"] + column["loaded_percent"],
                np.minimum(column["hit_percent"] + column["loaded_percent"], 100.0),
            )
            return
        hits = column["hit_blocks"] + column.get("host_hit_blocks", 0.0)
        _require("hits are at most the optimum", hits, np.minimum(hits, column["optimum_blocks"]))
        _require(
            "the optimum is at most the blocks that can be hits",
            column["optimum_blocks"],
            np.minimum(column["optimum_blocks"], column["eligible_blocks"]),
        )

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        arrivals = stream(workload.content, self.settings).arrivals
        prompt, output = float(arrivals.prompt.sum()), float(arrivals.output.sum())
        n = len(arrivals.prompt)
        # Requests that were rejected compute nothing.
        is_whole = column["rejected"] == 0
        if self.space.name != "serving":
            hits, blocks = column["hit_tokens"], column["hit_blocks"]
            laws: dict[str, Any] = {
                "prompts hold the tokens that hit": (np.full(len(hits), prompt), hits),
                "blocks that hit were there before": (
                    column["eligible_blocks"], blocks + column.get("host_hit_blocks", 0.0)
                ),
            }  # fmt: skip
            if self._driver == "steps" and self.space.name == "vllm":
                computed, room = column["scheduled_tokens"], self._scheduler["token_budget"]
                laws["steps have room for the tokens"] = room * column["steps"], computed
                laws["tokens that did not hit are computed"] = (
                    computed, is_whole * (prompt - hits + output - n)
                )  # fmt: skip
            return laws
        designs = [dict(self.space.design_at(row)) for row in indices]
        limits = np.array([limits_of(design, self._served) for design in designs]).T
        token_s, idle_w, *widths = limits
        seconds, found = column["duration_s"], column["found_percent"] / 100.0
        least_s = is_whole * ((1.0 - found) * prompt + output - n) * token_s
        joules = column["joules_per_mtoken"] * (prompt + output) / 1e6
        return {
            "time is the operations over the peak": (seconds, least_s),
            "energy is idle power times time": (joules, is_whole * idle_w * seconds),
            # Loads and stores share a link.
            **{
                f"time is the bytes over the bandwidth of {tier.name}": (
                    seconds, column[f"{tier.name}_moved_gb"] / width
                )
                for tier, width in zip(TIERS, widths, strict=True)
            },
        }  # fmt: skip

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design as settings of a serving engine, a cache layer or a router."""
        return settings_of(form, self._known(indices))

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return the settings of a tool by key; see `Stating.file_settings`."""
        known, about = self._known(indices), TOOLS[form]
        found: dict[str, Any] = found_of(form, known)
        if about.get("file"):
            return found
        always = {name: value for name, value, _ in command_options(about["command"])}
        return {"--": {**always, **found}}

    def _known(self, indices: np.ndarray) -> dict[str, Any]:
        """Return the values of a design, with sizes that follow from them."""
        design: dict[str, Any] = dict(self.space.design_at(np.asarray(indices)))
        block = self._given["block_tokens"] or design["block_tokens"]
        known = {"block_tokens": block, **design}
        if self.space.name != "serving":
            blocks = self._size("cache_tokens", design, block)
            known |= {"cache_blocks": blocks, "cache_size": blocks * block}
        if "host_policy" in design:
            host_bytes = self._size("host_tokens", design, block) * block * self.kv_bytes_per_token
            known["dram_gb"] = host_bytes / 1e9
        return known

    def expressible(self, form: str) -> Mapping[str, tuple[Any, ...]]:
        """Return the values that a format can express, by parameter that it lacks some of."""
        settings = TOOLS[form]["settings"]
        return {each["parameter"]: tuple(each["names"]) for each in settings if "names" in each}

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return statistics of the stream: name to (value, unit)."""
        return characterise(workload.content, self.settings)


def settings_of(form: str, design: Mapping[str, Any]) -> dict[str, str | bytes]:
    """Return a design as the files of a tool; prefill-only engines get their own file.

    Args:
      form: One of `FORMATS`.
      design: Values by parameter; those that the space lacks are left out.

    Raises:
      InvalidDesignError: The tool has no setting for a value.
    """
    about = TOOLS[form]
    name, role = about.get("file"), about.get("role")
    files, differences = {}, []
    command = about["command"]
    found = found_of(form, design)
    alone, n_prefill = found.pop("prefill", None), design.get("prefill_workers", 0)
    if n_prefill and role is not None:
        how = f"CONFIG=prefill-{name}" if name else f"ROLE={role['prefill']}"
        differences.append(
            f"{how} makes run.sh start a worker of prefill; the design has {n_prefill}."
        )
        if alone is not None:
            files[f"prefill-{name}"] = yaml.safe_dump(alone, sort_keys=False)
    if name:
        files[name] = yaml.safe_dump(found, sort_keys=False)
    else:
        command = _flags(found, command, role)
    return folder(
        Tool(**about["tool"]), files, command, differences=differences,
        why_none="The engine serves until it is stopped; no number of it is compared.",
    )  # fmt: skip


def found_of(form: str, design: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a tool by key.

    Workers that only prefill are a member of them, or a number where the tool reads no file: their
    command is that of the others.
    """
    role, n_prefill = TOOLS[form].get("role"), design.get("prefill_workers", 0)
    if not n_prefill or role is None:
        return _found(form, design, {})
    found = _found(form, design, {role["key"]: role["decode"]})
    if not TOOLS[form].get("file"):
        return {**found, **({"PREFILL_WORKERS": n_prefill} if "WORKERS" in found else {})}
    alone = _found(form, {**design, "workers": n_prefill}, {role["key"]: role["prefill"]})
    return {**found, "prefill": alone}


def _flags(found: Mapping[str, Any], command: str, role: Mapping[str, str]) -> str:
    """Return a command with settings: variables have names in capitals, options others."""
    variables = [f"export {key}={value}" for key, value in found.items() if key.isupper()]
    options = [
        f"--{key} {'${ROLE:-' + str(value) + '}' if key == role['key'] else value}"
        for key, value in found.items()
        if not key.isupper()
    ]
    return "\n".join([*variables, " ".join([command, *options])])


def _found(form: str, design: Mapping[str, Any], role: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a tool by key."""
    tool = TOOLS[form]
    found = {**tool["always"], **role}
    for setting in tool["settings"]:
        needs = setting.get("needs")
        if setting["parameter"] not in design or (needs and needs not in found):
            continue
        value = design[setting["parameter"]]
        if "names" in setting:
            if value not in setting["names"]:
                known = ", ".join(setting["names"])
                name = setting["parameter"]
                what = f"The tool has no setting for {name}={value!r}; it has {known}."
                raise InvalidDesignError(what)
            value = setting["names"][value]
        elif "unit" in setting:
            # A size of 0 leaves the setting out.
            value = round(value * GB[setting["unit"]], 3) or None
        if value is not None:
            found[setting["key"]] = value
    for key, others in tool["with"].items():
        found |= others if key in found else {}
    return found
