"""Options of MoE serving, by what they describe: servers, their clients, and prices."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, final

from archgym.physics.economics import SERVER_KW_PER_GPU, Ownership
from archgym.simulators.kit import InvalidArgumentError, MetricSpec, Option, P, parse_whole
from archgym.simulators.moe.machine.engines import BITS, ENGINE_NAMES, check_release
from archgym.simulators.moe.machine.hardware import gpu_price
from archgym.simulators.moe.machine.serving import MAX_DRAFTS
from archgym.simulators.moe.metrics import HOST_W, rent_metrics
from archgym.simulators.moe.workloads.requests import MAX_REQUESTS, MAX_TOKENS
from archgym.simulators.moe.workloads.workload import WAVES, Client

ACCELERATOR_DOLLARS: Final = 35_000.0
"""An H100 by the press of 2023 and 2024, and an eighth of its server; chosen for all."""
# Share of the longest that the shortest request of InferenceX's clients has (random_range_ratio).
_SHORTEST: Final = 0.8
_WORKER_SPACES: Final = ("closed-loop", "expert-parallel")
# Not settings of a way of serving.
_APART: Final = ("engine", "max_sequences", "step_tokens")


@final
@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Engine of a server, and how it forms steps."""

    engine: Annotated[
        str,
        Option(
            "Serving engine whose measured constants count, or a file with an engine of your "
            "own. By default `vllm` in `closed-loop`, else `ideal`.",
            choices=ENGINE_NAMES,
            takes_file=True,
        ),
    ] = ""
    release: Annotated[
        str, Option("Release of the engine, such as `vllm 0.11`; by default a typical one.")
    ] = ""
    precision: Annotated[
        str,
        Option("Format of the experts' weights, in place of `expert_bits`.", choices=(*BITS,)),
    ] = ""
    max_sequences: Annotated[
        int | None,
        Option(
            "Most requests of each group that run at once in `closed-loop`.",
            low=1,
            high=1_000_000,
        ),
    ] = None
    step_tokens: Annotated[
        int | None,
        Option(
            "Most tokens of a step of each group of `closed-loop`, in place of `max_tokens` "
            "and `chunk_tokens`. An engine that splits prompts fills steps with them.",
            low=1,
            high=MAX_TOKENS,
        ),
    ] = None
    poll_steps: Annotated[
        int, Option("Steps between two looks for new requests.", low=1, high=1_000_000)
    ] = 1
    hold_steps: Annotated[
        int,
        Option("Most steps that prompts wait for others to share their step.", high=1_000_000),
    ] = 0
    hold_prompts: Annotated[
        int, Option("Prompts from which they wait no longer.", high=1_000_000)
    ] = 0
    hold_tokens: Annotated[
        int, Option("Tokens of a step from which they wait no longer.", high=MAX_TOKENS)
    ] = 0
    memory_percent: Annotated[
        float | None,
        Option(
            "Share of an accelerator's memory that may be used; by default the engine's.",
            low=1,
            high=100,
            unit="%",
        ),
    ] = None
    block_tokens: Annotated[
        int | None,
        Option(
            "Tokens of a block of keys and values that is taken on demand, by default the "
            "engine's; 0 to keep room for all tokens of a request.",
            high=1_000_000,
        ),
    ] = None
    prefix_cache_gb: Annotated[
        float,
        Option(
            "Memory of each accelerator for prompts that others begin with, by the "
            "`hash_ids` of a trace.",
            high=1e6,
            unit="GB",
        ),
    ] = 0.0
    expert_groups: Annotated[
        int,
        Option(
            "Groups of accelerators that hold different experts, where they are spread; 0 for "
            "each accelerator alone.",
            high=4096,
        ),
    ] = 0
    prefill_workers: Annotated[
        int,
        Option("Servers that only read prompts, with clients and `decode_workers`.", high=1024),
    ] = 0
    decode_workers: Annotated[
        int, Option("Servers that only decode, with `prefill_workers`.", high=1024)
    ] = 0
    draft_tokens: Annotated[
        int,
        Option(
            "Tokens that are drafted for each sequence and step (multi-token prediction).",
            high=MAX_DRAFTS,
        ),
    ] = 0
    acceptance: Annotated[
        float,
        Option("Probability that a draft is accepted where those before it were.", high=1),
    ] = 0.8

    def tuning(self, engine_label: str, clients: int | None) -> dict[str, Any]:
        """Return the settings of a way of serving that are given.

        Args:
          engine_label: Engine whose releases count.
          clients: Requests in flight; None where designs choose them.

        Raises:
          UnknownNameError: The engine has no such release.
        """
        found = asdict(self) | {
            "clients": clients,
            "precision": self.precision or None,
            "release": check_release(self.release, engine_label),
        }
        return {
            name: value for name, value in found.items() if value is not None and name not in _APART
        }

    def check_workers(self, space: str, *, has_clients: bool) -> None:
        """Refuse workers of one kind alone, and spaces that have none.

        Raises:
          InvalidArgumentError: They are so.
        """
        if (self.prefill_workers > 0) != (self.decode_workers > 0):
            raise InvalidArgumentError(
                "`prefill_workers` and `decode_workers` must both be 1 or more, or both 0; got "
                f"{self.prefill_workers} and {self.decode_workers}."
            )
        if self.prefill_workers and not (has_clients and space in _WORKER_SPACES):
            raise InvalidArgumentError(
                f"`prefill_workers` needs `clients`, and a space whose experts are all in the "
                f"accelerators' memory: {' or '.join(_WORKER_SPACES)}; got {space!r}."
            )


@final
@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """Clients of a server: their number or rate, requests, and what they are promised."""

    clients: Annotated[
        int | None,
        Option(
            "Requests in flight of a closed loop, in place of arrivals, and of the parameter "
            "in `closed-loop`; 0 for the workload's arrivals.",
            high=MAX_REQUESTS // WAVES,
        ),
    ] = None
    max_concurrency: Annotated[
        int | None,
        Option(
            "Requests in flight, as these benchmarks name `clients`.",
            low=1,
            high=MAX_REQUESTS // WAVES,
        ),
    ] = None
    request_rate: Annotated[
        float | None,
        Option(
            "Requests that come in a second (Poisson), in place of clients, as `vllm bench "
            "serve` and SGLang's `bench_serving` name it.",
            low=1e-6,
            high=1e6,
            unit="1/s",
        ),
    ] = None
    lengths: Annotated[
        str,
        Option(
            "Longest prompt and output of a closed loop [tokens], such as 1024+1024, in place "
            "of the workload's."
        ),
    ] = ""
    shortest: Annotated[
        float | None,
        Option(
            "Share of `lengths` that the shortest have; lengths between are uniform. By "
            "default 0.8 in `closed-loop`, as InferenceX's clients draw them, else 1.",
            low=1e-6,
            high=1,
        ),
    ] = None
    stagger: Annotated[
        bool, Option("Clients start spread over the time of a request, not at once.")
    ] = False
    requests: Annotated[
        int | None,
        Option(
            "First requests of the workload that are served, which a closed loop repeats; by "
            "default all, and ten of each client at least. Few rank designs much as all do, in "
            "a fraction of the time.",
            low=1,
            high=MAX_REQUESTS,
        ),
    ] = None
    output_tokens: Annotated[
        int, Option("Most output tokens of a request.", low=1, high=MAX_TOKENS)
    ] = MAX_TOKENS
    ttft_ms: Annotated[
        float | None,
        Option("Promised time to the first token.", low=1e-3, high=1e9, unit="ms"),
    ] = None
    tpot_ms: Annotated[
        float | None,
        Option("Promised time per further token.", low=1e-3, high=1e9, unit="ms"),
    ] = None

    def in_flight(self) -> int | None:
        """Return the requests in flight, 0 for arrivals; None where designs or workloads say.

        Raises:
          InvalidArgumentError: More than one kind of load is named.
        """
        if self.max_concurrency is not None:
            if self.clients is not None or self.request_rate is not None:
                raise InvalidArgumentError(
                    "`max_concurrency` must be left out with `clients` or `request_rate`; got "
                    f"{self.max_concurrency}."
                )
            return self.max_concurrency
        if self.request_rate is None:
            return self.clients
        if self.clients:
            raise InvalidArgumentError(
                f"`clients` must be left out with `request_rate`; got {self.clients}."
            )
        return 0

    def client(self, *, is_closed: bool) -> Client:
        """Return the client of a closed loop.

        Raises:
          InvalidArgumentError: `lengths` is not two numbers.
        """
        shortest = self.shortest
        if shortest is None:
            shortest = _SHORTEST if is_closed else 1.0
        uniform = None
        if self.lengths:
            prompt, plus, output = self.lengths.partition("+")
            if not plus:
                raise InvalidArgumentError(
                    f"`lengths` must be the tokens of prompt and output, such as 1024+1024; "
                    f"got {self.lengths!r}."
                )
            longest = [parse_whole("lengths", text, 1, MAX_TOKENS) for text in (prompt, output)]
            uniform = longest[0], longest[1], shortest
        return Client(uniform, self.stagger, 0 if self.requests else WAVES)


@final
@dataclass(frozen=True, kw_only=True)
class PriceOptions:
    """Rent and price of accelerators."""

    gpu_usd_per_hour: Annotated[
        float | None,
        Option(
            "Rent of an accelerator; by default a dated price of `data/prices.json`, where "
            "there is one.",
            low=1e-6,
            high=1e6,
            unit="$/h",
        ),
    ] = None
    accelerator_dollars: Annotated[
        float,
        Option(
            "Price of an accelerator with its part of the server; needs `years`.",
            high=1e6,
            unit="$",
        ),
    ] = ACCELERATOR_DOLLARS

    def rent(self, gpu_name: str, *, is_chosen: bool) -> tuple[MetricSpec, ...]:
        """Return metrics of what servers cost to rent; none where no price is known.

        Args:
          gpu_name: Accelerator.
          is_chosen: True if designs choose the accelerator.
        """
        price = self.gpu_usd_per_hour or (None if is_chosen else gpu_price(gpu_name))
        return rent_metrics(price) if price else ()

    def owned(self, ownership: Ownership) -> tuple[MetricSpec, ...]:
        """Return metrics of what servers cost to own; none for no years.

        Raises:
          InvalidArgumentError: A price is given without years.
        """
        if self.accelerator_dollars != ACCELERATOR_DOLLARS and not ownership.years:
            raise InvalidArgumentError("`accelerator_dollars` needs `years`, such as 3.")
        servers = P("n_gpus") * SERVER_KW_PER_GPU - HOST_W / 1000.0
        kilowatts = P("energy_per_token_mj") * P("output_per_s") / 1e6 + servers
        return ownership.metrics(P("n_gpus") * self.accelerator_dollars, kilowatts)
