"""Serving keeps what physics and the papers' definitions ask of it, whatever the numbers."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe import MoeSimulator, Requests, node
from archgym.simulators.moe.kernel.run import Run, documents, run
from archgym.simulators.moe.machine.columns import (
    CHOICES,
    Admission,
    CpuRule,
    LinkOrder,
    Prefetch,
    Replacement,
    Scheduler,
    Scope,
    Target,
)
from archgym.simulators.moe.machine.plan import MODEL_REASONS, plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.requests import prefix_hits
from archgym.simulators.moe.workloads.routing import popularity
from evidence.moe.runs import serve_at_once
from tests.simulators.moe.serving_cases import (
    MODEL,
    N_BLOCKS,
    ROUTING,
    SERVER,
    closed,
    serve,
    server_with,
)

HALF = Serving(cache_experts=N_BLOCKS // 2, max_sequences=4)
AHEAD = replace(HALF, prefetch=Prefetch.GATE, staging_experts=8, accuracy=0.8)


def test_perfect_path_on_an_infinite_link_equals_all_resident() -> None:
    ahead = replace(
        HALF, prefetch=Prefetch.PATH, accuracy=1.0, accuracy_decay=1.0, staging_experts=N_BLOCKS
    )

    streamed = serve(ahead, server=server_with(1e9))
    resident = serve(Serving(max_sequences=4))

    # A load of 3 MB at 1e9 GB/s takes a few ns in all.
    assert streamed.finish_ns == pytest.approx(resident.finish_ns, rel=1e-9, abs=1.0)
    assert streamed.counters["n_misses"] == 0


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("replacement", [Replacement.LRU, Replacement.LFU])
def test_more_bandwidth_never_slows_a_closed_batch_without_prefetch(
    scope: Scope, replacement: Replacement
) -> None:
    serving = replace(HALF, scope=scope, replacement=replacement)

    times = [
        serve(serving, server=server_with(gb_per_s)).counters["elapsed_ns"]
        for gb_per_s in (1.0, 2.0, 5.0, 12.0, 50.0, 400.0)
    ]

    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


def test_halving_bytes_halves_the_stall_without_overlap_and_latency() -> None:
    serving = replace(HALF, overlaps=False, staging_experts=64)

    whole = serve(replace(serving, expert_bits=16), server=server_with(4.0))
    half = serve(replace(serving, expert_bits=16), server=server_with(8.0))

    assert half.counters["n_misses"] == whole.counters["n_misses"]
    launches = 5_000.0 * whole.counters["n_misses"]
    assert whole.counters["stall_load_ns"] > 2 * launches
    assert half.counters["h2d_busy_ns"] == pytest.approx(0.5 * whole.counters["h2d_busy_ns"])
    waited = whole.counters["stall_load_ns"] - half.counters["stall_load_ns"]
    assert waited == pytest.approx(0.5 * whole.counters["h2d_busy_ns"], rel=1e-9)
    light = serve(replace(serving, expert_bits=8), server=server_with(4.0))
    assert light.counters["stall_load_ns"] == pytest.approx(half.counters["stall_load_ns"])


def test_hit_rate_of_lru_never_falls_with_capacity() -> None:
    rates = []
    for places in range(0, N_BLOCKS, 4):
        found = serve(Serving(cache_experts=places, max_sequences=4, warm=False))
        rates.append(found.counters["n_hits"])

    assert rates == sorted(rates)


@pytest.mark.parametrize("replacement", Replacement)
@pytest.mark.parametrize("admission", Admission)
@pytest.mark.parametrize("scope", Scope)
def test_counts_add_up_for_every_policy(
    replacement: Replacement, admission: Admission, scope: Scope
) -> None:
    serving = replace(HALF, replacement=replacement, admission=admission, scope=scope)

    # `run` refuses counts that do not add up.
    found = serve(serving).counters

    assert found["n_misses"] > 0
    assert found["n_finished"] == 3


@pytest.mark.parametrize("prefetch", Prefetch)
@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("order", LinkOrder)
@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("rounds", [1, 2])
def test_counts_add_up_for_every_prefetch(
    prefetch: Prefetch, target: Target, order: LinkOrder, scope: Scope, rounds: int
) -> None:
    serving = replace(
        AHEAD,
        prefetch=prefetch,
        target=target,
        link_order=order,
        scope=scope,
        rounds=rounds,
        depth=3,
        chunk_kib=64,
    )

    found = serve(serving, server=server_with(10.0, 1_000.0)).counters

    assert (found["n_prefetch"] > 0) == (prefetch != Prefetch.OFF)


@pytest.mark.parametrize("scheduler", Scheduler)
@pytest.mark.parametrize("chunk_tokens", [0, 3])
def test_every_scheduler_serves_every_token(scheduler: Scheduler, chunk_tokens: int) -> None:
    rng = np.random.default_rng(1)
    requests = Requests(
        np.sort(rng.integers(0, 30_000_000, 20)),
        rng.integers(1, 20, 20).astype(np.int32),
        rng.integers(1, 12, 20).astype(np.int32),
    )
    serving = replace(
        HALF, scheduler=scheduler, chunk_tokens=chunk_tokens, max_tokens=4, max_sequences=10
    )

    found = serve(serving, requests)

    assert found.counters["n_prompt_tokens"] == requests.prompt_tokens.sum()
    assert (found.first_ns >= found.arrival_ns).all()
    assert (found.finish_ns >= found.first_ns).all()


def test_regrouping_asks_for_fewer_distinct_experts() -> None:
    requests = closed(16, 2, 24)
    base = replace(HALF, max_tokens=8, max_sequences=16, chunk_tokens=0)

    apart = serve(replace(base, scheduler=Scheduler.REGROUP), requests).counters
    in_turn = serve(replace(base, scheduler=Scheduler.PREFILL_FIRST), requests).counters

    assert apart["n_groups"] > 0
    asked_apart = apart["n_distinct_decode"] / apart["n_decode_events"]
    asked_in_turn = in_turn["n_distinct_decode"] / in_turn["n_decode_events"]
    assert asked_apart < asked_in_turn


def test_wrong_prefetch_hurts_on_a_busy_link() -> None:
    server = server_with(3.0)

    times = {
        accuracy: serve(replace(AHEAD, accuracy=accuracy), server=server).counters["elapsed_ns"]
        for accuracy in (0.0, 1.0)
    }
    without = serve(HALF, server=server).counters["elapsed_ns"]

    assert times[1.0] < without < times[0.0]


def test_demand_that_may_interrupt_waits_less() -> None:
    wrong = replace(AHEAD, accuracy=0.0)
    server = server_with(3.0)

    waits = [
        serve(knobs, server=server).counters["stall_prefetch_ns"]
        for knobs in (
            replace(wrong, chunk_kib=16),
            wrong,
            replace(wrong, link_order=LinkOrder.FIFO),
        )
    ]

    assert waits[0] < waits[1] < waits[2]


def test_host_runs_experts_where_that_is_faster() -> None:
    server = server_with(1.0)

    loaded = serve(HALF, server=server)
    faster = serve(replace(HALF, cpu_rule=CpuRule.FASTER), server=server)
    always = serve(replace(HALF, cpu_rule=CpuRule.ALWAYS), server=server)

    assert loaded.counters["n_cpu"] == 0
    assert faster.counters["n_cpu"] > 0
    assert always.counters["n_demand"] == 0
    assert faster.counters["elapsed_ns"] < loaded.counters["elapsed_ns"]


BANDWIDTHS = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 50.0, 400.0)


def test_more_bandwidth_never_slows_where_one_expert_at_a_time_may_run_on_the_host() -> None:
    # One expert an event cannot wait for another, and a static cache keeps no trace of the choice.
    model = replace(MODEL, top_k=1)
    routing = replace(ROUTING, experts=np.ascontiguousarray(ROUTING.experts[:, :, :1]))
    serving = replace(
        HALF, cpu_rule=CpuRule.FASTER, replacement=Replacement.STATIC, max_tokens=1, chunk_tokens=1
    )

    found = [
        serve(serving, server=server_with(gb_per_s), model=model, routing=routing).counters
        for gb_per_s in BANDWIDTHS
    ]

    times = [counters["elapsed_ns"] for counters in found]
    assert times == sorted(times, reverse=True)
    assert found[0]["n_demand"] == found[-1]["n_cpu"] == 0
    assert found[0]["n_cpu"] > 0


def test_more_bandwidth_never_slows_where_all_that_is_missing_runs_on_the_host() -> None:
    serving = replace(HALF, cpu_rule=CpuRule.ALWAYS)

    times = [
        serve(serving, server=server_with(gb_per_s)).counters["elapsed_ns"]
        for gb_per_s in BANDWIDTHS
    ]

    assert times == sorted(times, reverse=True)


def test_experts_of_few_bits_load_faster_and_count_as_degraded() -> None:
    server = server_with(3.0)

    whole = serve(HALF, server=server).counters
    low = serve(replace(HALF, low_bits=4), server=server).counters

    assert low["elapsed_ns"] < whole["elapsed_ns"]
    assert low["n_degraded"] > 0
    assert whole["n_degraded"] == 0


def test_rounds_of_experts_are_events_of_their_own() -> None:
    once = serve(HALF).counters
    twice = serve(replace(HALF, rounds=2)).counters

    assert twice["n_events"] == 2 * once["n_events"]
    assert twice["n_routed"] == once["n_routed"]


def test_skipped_layers_take_less_and_count_as_degraded() -> None:
    whole = serve(HALF).counters
    skipped = serve(replace(HALF, skip_in_64=32)).counters

    assert skipped["n_degraded"] == 0.5 * skipped["n_routed"]
    assert skipped["elapsed_ns"] < whole["elapsed_ns"]


def test_drive_is_read_where_the_host_does_not_hold_all() -> None:
    expert_gb = MODEL.expert_bytes() / 1e9

    held = serve(HALF).counters
    short = serve(replace(HALF, host_gb=20 * expert_gb)).counters

    assert held["n_ssd"] == 0
    assert short["n_ssd"] > 0
    assert short["elapsed_ns"] > held["elapsed_ns"]


def test_pool_for_all_layers_is_never_left_half_empty_for_what_was_once_new() -> None:
    # Three experts of a first layer cannot all stay in two places; what follows must get them.
    model = replace(MODEL, layers=2, moe_layers=2, experts=4, top_k=1)
    experts = np.array([[[0], [0]], [[1], [0]], [[2], [0]]], dtype=np.int16)
    routing = replace(ROUTING, experts=experts, starts=np.array([0, 3]), n_experts=4)
    serving = Serving(cache_experts=2, scope=Scope.GLOBAL, max_tokens=3, chunk_tokens=3, warm=False)

    found = serve(serving, closed(1, 3, 1), model=model, routing=routing)

    # Two of the first layer come, and one of them leaves for the second layer's.
    assert found.counters["n_loads"] == 3
    assert found.counters["n_evictions"] == 1


def test_renumbering_experts_changes_nothing() -> None:
    # One expert an event, since those of one event are equally old; and a cold cache, since a warm
    # one takes the first of equally popular experts.
    model = replace(MODEL, top_k=1)
    routing = replace(ROUTING, experts=np.ascontiguousarray(ROUTING.experts[:, :, :1]))
    order = np.random.default_rng(3).permutation(MODEL.experts).astype(np.int16)
    renumbered = replace(routing, experts=np.ascontiguousarray(order[routing.experts]))
    serving = replace(HALF, warm=False, max_tokens=1, chunk_tokens=1)

    one = serve(serving, model=model, routing=routing)
    other = serve(serving, model=model, routing=renumbered)

    assert one.counters["n_hits"] == other.counters["n_hits"]


def test_runs_are_the_same_twice() -> None:
    one, other = serve(AHEAD), serve(AHEAD)

    assert one.counters == other.counters
    assert (one.finish_ns == other.finish_ns).all()


def test_what_does_not_fit_is_a_result() -> None:
    small = replace(SERVER, gpu=replace(SERVER.gpu, memory_gb=1.2))
    long = closed(1, 4_000_000, 8)

    weights = plan(MODEL, small, Serving(), closed())
    context = plan(MODEL, SERVER, Serving(chunk_tokens=8, max_tokens=8), long)

    rounds = plan(MODEL, SERVER, Serving(rounds=3), closed())

    assert weights.infeasible == MODEL_REASONS[0]
    assert rounds.infeasible == MODEL_REASONS[2]
    assert context.infeasible == MODEL_REASONS[1]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"staging_experts": 0}, "must be 1 or more"),
        ({"data": 2}, "needs `spreads_experts`"),
        ({"tensor": 3, "spreads_experts": True}, "must divide evenly"),
    ],
)
def test_knobs_that_contradict_are_refused(knobs: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        plan(MODEL, SERVER, Serving(**knobs), closed())  # type: ignore[arg-type]  # as given


def blocks(max_context: int, requests: Requests, block_tokens: int) -> Run:
    """Serves with room for so many tokens of keys and values."""
    serving = Serving(block_tokens=block_tokens, max_sequences=8)
    ready = plan(MODEL, SERVER, serving, requests)
    choices = ready.choices.copy()
    choices[CHOICES.index("max_context")] = max_context
    where = documents(requests, ROUTING)
    return run(replace(ready, choices=choices), requests, ROUTING, where, popularity(ROUTING))


def test_blocks_on_demand_admit_more_requests_than_room_for_all_tokens() -> None:
    # Three requests of 8 + 24 tokens; 64 tokens of room are two whole ones, or eight prompts.
    kept, taken = (blocks(64, closed(3, 8, 24), block) for block in (0, 8))

    assert kept.counters["peak_sequences"] == 2
    assert taken.counters["peak_sequences"] == 3
    assert kept.counters["n_preempted"] == 0
    assert taken.ttft_ns[2] < kept.ttft_ns[2]


def test_request_that_came_last_is_preempted_and_read_again() -> None:
    found = blocks(64, closed(3, 8, 24), 8)

    # All three run until each has 16 tokens in two blocks (48 of 64 tokens), then 24 in three:
    # that takes 72. The third gives its blocks back, once, with what it had written.
    assert found.counters["n_preempted"] == 1
    assert found.counters["n_restarted"] == 1
    assert found.finish_ns[2] > found.finish_ns[1]
    # Its prompt of 8 is read again with the 9 tokens it had: position 16 needs a third block.
    assert found.counters["n_prompt_tokens"] == 3 * 8 + 8 + 9
    assert found.counters["peak_context"] <= 64


def test_plenty_of_room_makes_blocks_on_demand_equal_to_room_for_all() -> None:
    kept, taken = (blocks(10_000, closed(3, 8, 24), block) for block in (0, 16))

    assert (kept.finish_ns == taken.finish_ns).all()


def test_cached_prefixes_are_not_read_again() -> None:
    requests = replace(closed(3, 1100, 8), hash_ids=((1, 2), (1, 2), (1, 9)))
    base = Serving(max_sequences=1, max_tokens=2048, chunk_tokens=2048)
    cached = replace(base, prefix_cache_gb=1.0)

    plain, found = serve(base, requests), serve(cached, requests)

    assert plain.counters["n_prompt_tokens"] == 3300
    # The second has both blocks of 512 tokens, the third the first of them.
    assert found.counters["cached_tokens"] == 1024 + 512
    assert found.counters["n_prompt_tokens"] == 3300 - 1536
    assert found.ttft_ns[1] < plain.ttft_ns[1]


def test_prefix_cache_keeps_what_was_used_last() -> None:
    requests = replace(closed(4, 600, 2), hash_ids=((1,), (2,), (1,), (2,)))

    assert prefix_hits(requests, 0).tolist() == [0, 0, 0, 0]
    assert prefix_hits(requests, 512).tolist() == [0, 0, 0, 0]
    assert prefix_hits(requests, 1024).tolist() == [0, 0, 512, 512]


def test_whole_prompt_is_never_cached() -> None:
    requests = replace(closed(2, 512, 2), hash_ids=((1,), (1,)))

    assert prefix_hits(requests, 4096).tolist() == [0, 511]


def test_serve_at_once_spreads_experts_without_a_placement() -> None:
    server = node("dgx-h100")
    serving = Serving(tensor=2, data=2, spreads_experts=True)

    found = serve_at_once(MODEL, server, serving, closed(4, 8, 8), ROUTING)

    assert found.counters["n_finished"] == 4


def test_groups_that_share_nothing_are_infeasible_and_do_not_break_the_batch() -> None:
    simulator = MoeSimulator("closed-loop", engine="ideal")
    values = {**simulator.space.default, "tensor": 1, "data": 2, "spread": "no"}
    design = simulator.space.canonical(simulator.space.indices_of(values)[None, :])

    result = simulator.evaluate_batch(design, simulator.workload("long-prompts"))

    assert simulator.spec.reasons[result.reason[0]].startswith("data-parallel groups do not share")
