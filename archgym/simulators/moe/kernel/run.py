"""Runs requests on a way of serving: what the kernel takes, and what it gives back."""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import SimulatorError
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.caches import (
    EVICTIONS,
    INSERTIONS,
    CacheState,
    layer_capacities,
    new_cache,
    tie_order,
)
from archgym.simulators.moe.kernel.state import State, Work, new_state
from archgym.simulators.moe.machine.columns import (
    CHOICES,
    COUNTERS,
    FIRST_NS,
    Scheduler,
    Scope,
)
from archgym.simulators.moe.machine.plan import Plan
from archgym.simulators.moe.workloads.requests import Requests, prefix_hits
from archgym.simulators.moe.workloads.routing import Routing

# chosen: prime to the usual lengths of documents, so that turns through them do not meet soon.
_TURN: Final = 37
# Rounding of some millions of additions of doubles.
_ROUNDING: Final = 1e-6


@final
@dataclass(frozen=True, eq=False)
class Run:
    """Measurements of a run.

    Attributes:
      counters: Values of `COUNTERS`, and counts of the cache.
      arrival_ns, first_ns, finish_ns: (n_requests,), when each came, got its first token and its
        last [ns].
      started_ns: (n_requests,), when the first step began that read its prompt [ns].
      server_ns: Part of the time to the first token that server, tokenizer and client take [ns].
      prompt_tokens, output_tokens: (n_requests,).
      layer_hits, layer_accesses: (n_layers,).
      plan: Plan of the run.
      counted_from: First request that counts; those before it only spread clients over time.
      waits, statistics: Values of a run at the level of steps, see `serve_steps`; None for others.
    """

    counters: dict[str, float]
    arrival_ns: npt.NDArray[np.float64]
    first_ns: npt.NDArray[np.float64]
    finish_ns: npt.NDArray[np.float64]
    started_ns: npt.NDArray[np.float64]
    server_ns: float
    prompt_tokens: npt.NDArray[np.int32]
    output_tokens: npt.NDArray[np.int32]
    layer_hits: npt.NDArray[np.int64]
    layer_accesses: npt.NDArray[np.int64]
    plan: Plan = field(repr=False)
    counted_from: int = 0
    waits: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    statistics: npt.NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def ttft_ns(self) -> npt.NDArray[np.float64]:
        """Time to the first token of each request that counts [ns]."""
        return (self.first_ns - self.arrival_ns)[self.counted_from :]

    @property
    def tpot_ns(self) -> npt.NDArray[np.float64]:
        """Time per further token of each request that counts and has any [ns]."""
        many = self.output_tokens > 1
        many[: self.counted_from] = False
        return np.asarray(
            (self.finish_ns[many] - self.first_ns[many]) / (self.output_tokens[many] - 1)
        )

    @property
    def e2e_ns(self) -> npt.NDArray[np.float64]:
        """Time from arrival to the last token of each request that counts [ns]."""
        return (self.finish_ns - self.arrival_ns)[self.counted_from :]


@final
@dataclass(frozen=True, eq=False)
class Documents:
    """Index of the routing of each request.

    Attributes:
      row: (n_requests,) int64, where its document begins.
      length: (n_requests,) int64, tokens of the document.
      offset: (n_requests,) int64, the token that its prompt begins with.
    """

    row: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]


def documents(requests: Requests, routing: Routing) -> Documents:
    """Give each request a document, in turn; later turns begin further on in them."""
    n, n_documents = len(requests), routing.n_documents
    order = np.arange(n, dtype=np.int64)
    document = order % n_documents
    length = np.diff(routing.starts)[document]
    return Documents(
        np.ascontiguousarray(routing.starts[:-1][document]),
        np.ascontiguousarray(length),
        (order // n_documents) * _TURN,
    )


@final
@dataclass(frozen=True)
class Split:
    """Workers for prompts and others for decoding, each as the plan is.

    Attributes:
      prefill, decode: Workers of both kinds.
      transfer_ns: Time to move keys and values of a token from one to another [ns].
      tokens_per_step: Tokens that a sequence gets in a decode step, on average.
    """

    prefill: int
    decode: int
    transfer_ns: float
    tokens_per_step: float


def run(
    ready: Plan,
    requests: Requests,
    routing: Routing,
    where: Documents,
    ranking: npt.NDArray[np.float64],
    *,
    placement: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None,
    warm: bool = True,
    table: npt.NDArray[np.float64] | None = None,
    split: Split | None = None,
) -> Run:
    """Serve requests.

    Args:
      ready: The way, which must be feasible.
      requests: Requests to serve.
      routing: Experts that their tokens request.
      where: `documents` of both.
      ranking: (n_blocks,), `popularity`: what a warm cache holds, and what `static` keeps.
      placement: Copies of each expert and the experts in slots, where they are spread; None for
        experts in the order of their numbers.
      warm: True if the cache starts with the most popular experts.
      table: `occupancy` of the routing, to serve at the level of steps; None for the serving
        kernel.
      split: Workers for prompts and others for decoding; None for one that does both.

    Raises:
      SimulatorError: What was counted does not add up.
    """
    choice = dict(zip(CHOICES, ready.choices.tolist(), strict=True))
    work = work_of(ready, requests, routing, where, placement)
    if split is not None:
        served = _serve_split(ready, work, table, ranking, choice, split)
    elif table is not None:
        served = _serve_steps(ready, work, table)
    else:
        served = _serve(ready, work, ranking, choice, warm)
    if served.counters["status"]:
        raise SimulatorError(
            "The MoE serving model must serve every request; some wait and none may run. Please "
            "report the design and workload."
        )
    state = served.state
    result = Run(
        served.counters,
        # A closed loop decides itself when requests come.
        work.requests[st.ARRIVAL].astype(np.float64),
        state.times[st.FIRST],
        state.times[st.LAST],
        state.times[st.STARTED],
        float(ready.costs[FIRST_NS]),
        requests.prompt_tokens,
        requests.output_tokens,
        state.layers[st.HITS],
        state.layers[st.ACCESSES],
        ready,
        requests.counted_from,
        served.waits,
        served.statistics,
    )
    _check(result)
    return result


def work_of(
    ready: Plan,
    requests: Requests,
    routing: Routing,
    where: Documents,
    placement: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None,
) -> Work:
    """Return requests as kernels take them; arguments are those of `run`."""
    if placement is None:
        choice = dict(zip(CHOICES, ready.choices.tolist(), strict=True))
        placement = _in_order(choice) if choice["expert"] > 1 else _NOWHERE
    columns = (
        requests.arrival_ns, requests.prompt_tokens, requests.output_tokens, where.row,
        where.length, where.offset, prefix_hits(requests, ready.prefix_tokens),
    )  # fmt: skip
    rows = np.stack(columns).astype(np.int64)
    return Work(rows, np.ascontiguousarray(routing.experts, dtype=np.int16), *placement)


class _Served(NamedTuple):
    """Counts and times of one run of a kernel; waits and statistics of `serve_steps`."""

    counters: dict[str, float]
    state: State
    waits: npt.NDArray[np.float64] | None = None
    statistics: npt.NDArray[np.float64] | None = None


def _serve(
    ready: Plan, work: Work, ranking: npt.NDArray[np.float64], choice: dict[str, int], warm: bool
) -> _Served:
    """Serve requests with each token's experts and with caches."""
    from archgym.simulators.moe.kernel.full import serve

    cache = _new_cache(choice, ranking, warm)
    n_warm = int(cache.used.sum())
    state = new_state(
        work.requests.shape[1], choice["n_layers"], choice["n_experts"], choice["n_rounds"],
    )  # fmt: skip
    state.numbers[st.N_HELD] = n_warm
    _fill_host(state, choice["host_capacity"], ranking)
    counters = np.zeros(len(COUNTERS))
    serve(ready.costs, ready.choices, work, state, cache, counters)
    counts = dict(zip(COUNTERS, counters.tolist(), strict=True))
    counts["n_loads"] = float(cache.counters[INSERTIONS])
    counts["n_evictions"] = float(cache.counters[EVICTIONS])
    counts["n_resident_start"] = float(n_warm)
    return _Served(counts, state)


def _serve_steps(ready: Plan, work: Work, table: npt.NDArray[np.float64]) -> _Served:
    """Serve requests at the level of steps."""
    from archgym.simulators.moe.kernel.stepping import begin

    server = begin(ready, work, table)
    server.advance()
    counts = dict(zip(COUNTERS, server.counters.tolist(), strict=True))
    counts |= {"n_loads": 0.0, "n_evictions": 0.0, "n_resident_start": 0.0}
    return _Served(counts, server.state, server.waits, server.statistics)


def _serve_split(
    ready: Plan, work: Work, table: npt.NDArray[np.float64] | None,
    ranking: npt.NDArray[np.float64], choice: dict[str, int], split: Split,
) -> _Served:  # fmt: skip
    """Serve requests by workers for prompts and others for decoding."""
    from archgym.simulators.moe.kernel.split import serve_split

    n, n_layers = work.requests.shape[1], max(1, choice["n_layers"])
    cache = _new_cache(choice, ranking, False) if table is None else None
    state = new_state(n, n_layers, choice["n_experts"] if table is None else 1, 1)
    counters, times = np.zeros(len(COUNTERS)), np.zeros((4, n))
    # Workers for prompts draft nothing.
    prefill = ready.choices.copy()
    prefill[CHOICES.index("draft_tokens")] = 0
    serve_split(
        ready.costs, prefill, ready.choices, work, state,
        np.zeros((1, 1)) if table is None else table, cache, counters,
        choice["clients"], split.transfer_ns, 1.0 / split.tokens_per_step, times,
        np.zeros(split.prefill), np.zeros((split.decode, 4)),
        np.zeros((split.decode, 2), dtype=np.int64),
        np.zeros((split.decode, n + 2, 2), dtype=np.int64),
        np.zeros((split.decode, len(COUNTERS))), np.full(n, 1e300),
    )  # fmt: skip
    work.requests[st.ARRIVAL] = np.rint(times[0])
    state.times[st.FIRST], state.times[st.LAST] = times[1], times[2]
    # Experts are all there on each worker: hits are not counted at either fidelity.
    state.layers[[st.HITS, st.ACCESSES]] = 0
    counts = dict(zip(COUNTERS, counters.tolist(), strict=True))
    n_workers = split.prefill + split.decode
    counts |= {name: counts[name] / n_workers for name in counts if name.endswith("_busy_ns")}
    further = float((work.requests[st.OUTPUT] - 1).sum())
    counts |= {
        "n_loads": 0.0, "n_evictions": 0.0, "n_resident_start": 0.0, "n_finished": float(n),
        "n_hits": 0.0, "n_accesses": 0.0, "elapsed_ns": float(times[2].max()),
        "area_ns": float((times[2] - work.requests[st.ARRIVAL]).sum()),
        # Drafts are counted as they are accepted on average.
        "n_rejected": counts["n_tokens"] - counts["n_prompt_tokens"] - further,
    }  # fmt: skip
    return _Served(counts, state)


def _in_order(choice: dict[str, int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the placement of experts as numbered; further slots hold the first ones again."""
    n_experts, n_slots = choice["n_experts"], choice["slots"]
    slots = np.arange(n_slots, dtype=np.int32) % n_experts
    copies = np.bincount(slots, minlength=n_experts).astype(np.int32)
    n_layers = choice["n_layers"]
    return np.tile(copies, (n_layers, 1)), np.tile(slots, (n_layers, 1))


_NOWHERE: Final = (np.zeros((1, 1), dtype=np.int32), np.zeros((1, 1), dtype=np.int32))


def _new_cache(choice: dict[str, int], ranking: npt.NDArray[np.float64], warm: bool) -> CacheState:
    """Return the cache at time 0."""
    n_layers, n_experts = choice["n_layers"], choice["n_experts"]
    total = choice["capacity"]
    # A shared pool counts for itself (`pool`); its layers have room for all their experts.
    is_shared = choice["scope"] == Scope.GLOBAL
    capacities = (
        np.full(n_layers, n_experts, dtype=np.int64)
        if is_shared
        else layer_capacities(total, n_layers)
    )
    # The same in every run of a shape, so that a result depends on the design alone.
    cache = new_cache(n_layers, n_experts, capacities, tie_order(0, n_layers * n_experts))
    cache.priority[:] = ranking
    if warm and not choice["all_resident"]:
        _fill(cache, ranking.reshape(n_layers, -1), total if is_shared else None)
    return cache


def _fill(cache: CacheState, ranking: npt.NDArray[np.float64], total: int | None) -> None:
    """Put the most popular blocks in, the first of equals, of each layer or of all layers."""
    n_layers, width = ranking.shape
    if total is None:
        chosen = [
            np.argsort(-row, kind="stable")[: cache.capacity[i]] for i, row in enumerate(ranking)
        ]
    else:
        best = np.sort(np.argsort(-ranking.ravel(), kind="stable")[:total])
        chosen = [best[best // width == layer] % width for layer in range(n_layers)]
    for layer, experts in enumerate(chosen):
        blocks = np.sort(experts) + layer * width
        begin = int(cache.begin[layer])
        cache.members[begin : begin + len(blocks)] = blocks
        cache.place[blocks] = begin + np.arange(len(blocks))
        cache.resident[blocks] = 1
        cache.used[layer] = len(blocks)


def _fill_host(state: State, capacity: int, ranking: npt.NDArray[np.float64]) -> None:
    """Put the most popular blocks into the host's memory, the least popular to leave first."""
    n_blocks = len(ranking)
    if capacity >= n_blocks:
        return
    # The model that ships keeps one expert in the host's memory at least: what it reads there.
    chosen = np.argsort(-ranking, kind="stable")[: max(1, capacity)]
    ring = np.concatenate(([n_blocks], chosen))
    state.blocks[st.HOST, chosen] = 1
    state.blocks[st.HOST + 2, ring] = np.roll(ring, -1)
    state.blocks[st.HOST + 1, np.roll(ring, -1)] = ring
    state.numbers[st.N_HOST] = len(chosen)


def _check(result: Run) -> None:
    """Refuse counts that do not add up."""
    c = result.counters
    elapsed = c["elapsed_ns"]
    in_system = float((result.finish_ns - result.arrival_ns).sum())
    spread = result.plan.choices[CHOICES.index("expert")] > 1
    holds_all = bool(result.plan.choices[CHOICES.index("all_resident")])
    _require("hits and misses are accesses", c["n_hits"] + c["n_misses"], c["n_accesses"])
    _require("hits by layer add up", float(result.layer_hits.sum()), c["n_hits"])
    if not (spread or holds_all):
        _require(
            "loads less evictions are residents",
            c["n_resident_start"] + c["n_loads"] - c["n_evictions"],
            c["n_resident_end"],
        )
    _require(
        "prefetches are useful, wasted or pending",
        c["n_useful"] + c["n_wasted"] + c["n_pending"],
        c["n_prefetch"],
    )
    _require("requests in the system obey Little's law", c["area_ns"], in_system)
    _require(
        "tokens are prompts, outputs and rejected drafts",
        c["n_tokens"],
        # The first token after a preemption comes with the prompt.
        float((result.output_tokens.astype(np.int64) - 1).sum())
        + c["n_prompt_tokens"]
        + c["n_rejected"]
        - c["n_restarted"],
    )
    for stream in ("compute", "h2d", "d2h", "cpu", "ssd", "intra", "inter"):
        busy = c[f"{stream}_busy_ns"]
        if busy > elapsed * (1.0 + _ROUNDING):
            raise SimulatorError(
                f"The MoE serving model must keep that no stream is busier than the time that "
                f"passed; {stream} was busy for {busy!r} of {elapsed!r} ns. Please report the "
                "design and workload."
            )


def _require(what: str, came: float, expected: float) -> None:
    if abs(came - expected) > _ROUNDING * max(1.0, abs(expected)):
        raise SimulatorError(
            f"The MoE serving model must keep that {what}; got {came!r} instead of {expected!r}. "
            "Please report the design and workload."
        )


def is_steppable(choices: npt.NDArray[np.int64]) -> bool:
    """Return True if a plan can be served at the level of steps."""
    choice = dict(zip(CHOICES, choices.tolist(), strict=True))
    return bool(
        (choice["all_resident"] or choice["expert"] > 1)
        and choice["scheduler"] in _STEPPED_SCHEDULERS
        and (choice["n_rounds"], choice["skip_in_64"]) == (1, 0)
    )


_STEPPED_SCHEDULERS: Final = (Scheduler.DECODE_FIRST, Scheduler.PREFILL_FIRST, Scheduler.FCFS)
# chosen: some kilobytes each.
_MAX_TABLES: Final = 256
_TABLES: Final[dict[Any, npt.NDArray[np.float64]]] = {}


def occupancy_table(
    key: Any,
    choices: npt.NDArray[np.int64],
    routing: Routing,
    placement: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None,
) -> npt.NDArray[np.float64]:
    """Return `occupancy` of a routing, made once for each key; None for a key to make it again."""
    from archgym.simulators.moe.kernel.occupancy import occupancy

    choice = dict(zip(CHOICES, choices.tolist(), strict=True))
    width = 1 + choice["draft_tokens"]
    full = (key, width, choice["tile"])
    if key is not None and full in _TABLES:
        return _TABLES[full]
    if not choice["n_layers"]:
        return np.ones((9, 1))
    found = occupancy(
        np.ascontiguousarray(routing.experts, dtype=np.int16), routing.starts, choice["n_experts"],
        width=width, tile=choice["tile"], placement=placement, n_groups=choice["expert"],
    )  # fmt: skip
    if key is not None:
        if len(_TABLES) >= _MAX_TABLES:
            _TABLES.clear()
        _TABLES[full] = found
    return found
