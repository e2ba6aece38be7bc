"""Time to the first token by parts, loads by rate, rents, intervals, and the size of a fleet."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.intervals import ends_of, interval, news
from archgym.simulators.moe.kernel.step_time import step_contents
from archgym.simulators.moe.machine.timing import engine_dimensions
from archgym.simulators.moe.sizing import simulator_of, size

_SMALL = {"model": "gpt-oss-20b", "hardware": "h200", "engine": "vllm", "precision": "mxfp4"}
_PARTS = ("ttft_server_ms", "ttft_queue_ms", "ttft_prefill_ms")


def _metrics(fidelity: str = "steps", **options: Any) -> dict[str, float]:
    simulator = MoeSimulator("closed-loop", fidelity=fidelity, **{**_SMALL, **options})
    found = simulator.evaluate(simulator.space.default, simulator.workload("chat-128"))
    return {spec.name: found[spec.name] for spec in simulator.metrics}


@pytest.mark.parametrize(
    "options",
    [
        {"clients": 1},
        {"clients": 8, "stagger": True, "lengths": "256+32"},
        {"clients": 4, "lengths": "64+16", "prefill_workers": 1, "decode_workers": 1},
        {"request_rate": 40.0, "lengths": "256+32"},
    ],
)
def test_parts_of_the_time_to_the_first_token_add_up(options: dict[str, Any]) -> None:
    found = _metrics(**options)

    assert sum(found[part] for part in _PARTS) == pytest.approx(found["ttft_mean_ms"])
    assert all(found[part] > -1e-6 for part in _PARTS)


def test_both_fidelities_state_the_same_parts() -> None:
    # With outputs as short as 16 tokens, rounding decides which step some requests just catch.
    steps, full = (
        _metrics(fidelity, clients=8, lengths="128+64") for fidelity in ("steps", "full")
    )

    for part in _PARTS:
        assert steps[part] == pytest.approx(full[part], rel=0.01)


def test_a_lone_client_waits_for_no_step_and_its_prompt_for_launches() -> None:
    found = _metrics(clients=1)

    assert str(found["ttft_queue_ms"]) == "0.0"
    assert found["ttft_prefill_ms"] > 2.0 * found["tpot_mean_ms"]


def test_a_server_that_looks_rarely_also_looks_after_prompts() -> None:
    # Two clients: the second request of one comes while the other's prompt is read.
    options = {"clients": 2, "lengths": "4096+40", "shortest": 1.0, "requests": 40}
    every, rarely = (
        _metrics(**options, stagger=True, poll_steps=poll_steps) for poll_steps in (1, 1000)
    )

    # By the count of all steps alone, each request would wait for all of the other's outputs.
    assert rarely["ttft_queue_ms"] < every["ttft_queue_ms"] + 40 * every["tpot_p50_ms"]


def test_prompts_of_linear_attention_launch_more_kernels_than_others() -> None:
    launches = {}
    for name in ("qwen3-next-80b-a3b", "qwen3-30b-a3b"):
        options = {**_SMALL, "model": name, "precision": "bf16"}
        simulator = MoeSimulator("closed-loop", **options)
        ready = simulator.prepared(simulator.space.default, simulator.workload("chat-128"))
        launches[name] = engine_dimensions(simulator.model, simulator.node, ready.serving)

    linear, grouped = launches["qwen3-next-80b-a3b"], launches["qwen3-30b-a3b"]
    # Three in four layers attend linearly: 7 kernels each beyond those of a decode step.
    assert linear.prompt_launches - linear.kernels == pytest.approx(5 + 0.75 * 7)
    assert grouped.prompt_launches - grouped.kernels == pytest.approx(5)


def test_launches_hide_behind_the_kernels_of_a_long_prompt(tmp_path: Path) -> None:
    times = []
    for launch_ns in (20_000.0, 40_000.0):
        path = tmp_path / f"engine-{launch_ns:.0f}.json"
        constants = {"prompt_kernel_ns": launch_ns}
        path.write_text(json.dumps({"engine": {"like": "vllm", "constants": constants}}))
        simulator = MoeSimulator("closed-loop", **{**_SMALL, "engine": str(path)})
        costs = simulator.step_costs({"tensor": 1})
        times.append(
            [float(costs.times_ns(step_contents([(0, n)], [])[None])[0]) for n in (16, 65536)]
        )

    (short, long), (later, same) = times
    assert same == long
    # 24 layers of 8 small kernels with biases or norms, and 5 of the experts.
    assert later - short > 24 * 10 * 20_000.0


def test_lengths_are_drawn_as_benchmarks_do_by_default() -> None:
    assert _metrics(clients=2, lengths="256+16") == _metrics(
        clients=2, lengths="256+16", shortest=0.8
    )


def test_requests_come_at_the_rate_that_is_asked_for() -> None:
    simulator = MoeSimulator("closed-loop", **_SMALL, request_rate=20.0, lengths="64+8")
    requests = simulator.workload("chat-128").content.requests

    assert len(requests) == 2400
    assert len(requests) / (requests.arrival_ns[-1] / 1e9) == pytest.approx(20.0, rel=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {"request_rate": 1.0, "clients": 2},
        {"request_rate": 1.0, "max_concurrency": 2},
        {"clients": 2, "max_concurrency": 2},
    ],
)
def test_one_kind_of_load_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be left out with"):
        MoeSimulator("closed-loop", **options)


def test_rent_for_a_million_tokens_is_price_over_rate() -> None:
    found = _metrics(max_concurrency=4, lengths="64+8", gpu_usd_per_hour=3.6)

    # 3.6 $ an hour is 0.001 $ a second.
    assert found["usd_per_mtoken_output"] == pytest.approx(
        1000.0 * found["n_gpus"] / found["output_per_s"]
    )
    both = found["output_per_s"] + found["input_per_s"]
    assert found["usd_per_mtoken"] == pytest.approx(1000.0 * found["n_gpus"] / both)
    assert found["watts"] * found["tokens_per_joule"] == pytest.approx(found["output_per_s"])


_KNOWN = {
    "model": "gpt-oss-120b", "hardware": "hgx-h200", "engine": "vllm", "release": "vllm 0.19",
}  # fmt: skip


def test_intervals_widen_with_all_that_is_new() -> None:
    widths = []
    for change in (
        {},
        {"model": "qwen3-30b-a3b"},
        {"model": "qwen3-30b-a3b", "hardware": "l40s"},
        {"model": "qwen3-30b-a3b", "hardware": "l40s", "request_rate": "2"},
    ):
        low, high = interval(simulator_of(_KNOWN | change), "tpot_mean_ms", 100.0)
        assert low < 100.0 < high
        widths.append(high / low)

    assert widths == sorted(set(widths))


@pytest.mark.parametrize(
    ("change", "new"),
    [
        ({}, ()),
        ({"model": "qwen3-30b-a3b"}, ("model",)),
        ({"hardware": "l40s"}, ("GPU",)),
        ({"release": ""}, ("release",)),
        ({"request_rate": "2"}, ("load",)),
        ({"clients": "2000"}, ("load",)),
        ({"clients": "2", "lengths": "60000+100"}, ("load",)),
    ],
)
def test_what_is_new_is_named(change: dict[str, str], new: tuple[str, ...]) -> None:
    assert news(simulator_of(_KNOWN | change)) == new


def test_ends_of_what_is_new_add_up_as_squares() -> None:
    ends = {
        "configuration": {"TPOT": (-0.3, 0.3)},
        "configuration vllm": {"TPOT": (-0.1, 0.2)},
        "GPU": {"TPOT": (-0.5, 0.2)},
    }

    assert ends_of(ends, "TPOT", (), "vllm") == (-0.1, 0.2)
    assert ends_of(ends, "TPOT", (), "other") == (-0.3, 0.3)
    # 0.5^2 - 0.3^2 = 0.16 more below; above, a new GPU was no worse than a known one.
    assert ends_of(ends, "TPOT", ("GPU",), "vllm") == pytest.approx((-math.sqrt(0.17), 0.2))


@pytest.mark.slow
def test_a_fleet_meets_its_targets_and_has_no_replica_too_many() -> None:
    options = {**_SMALL, "lengths": "512+64", "requests": "300"}

    found = size(options, 200.0, 300.0, 12.0)

    assert found.metrics["ttft_p99_ms"] <= 300.0
    assert found.metrics["tpot_p99_ms"] <= 12.0
    assert (
        found.capacity_per_s * (found.replicas - 1) < 200.0 <= found.capacity_per_s * found.replicas
    )
    assert found.breaks_first.startswith(("ttft_p99_ms", "tpot_p99_ms"))


def test_targets_that_no_load_meets_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"is \d+\.\d ms at 0\.001 requests a second\."):
        size({**_SMALL, "lengths": "64+8", "requests": "20"}, 1.0, 0.001, 10.0)


@pytest.mark.parametrize(
    ("precision", "reason"),
    [
        ("fp8", "since requests wait for memory: .* take 74.9 GB.* 1 of the longest requests"),
        ("bf16", "weights, cache and staging do not fit .* take 143.4 GB"),
    ],
)
def test_memory_is_named_where_it_is_the_reason(precision: str, reason: str) -> None:
    dense = {"model": "llama-3.1-70b", "hardware": "h100", "precision": precision}

    with pytest.raises(InvalidArgumentError, match=reason):
        size({**dense, "engine": "vllm", "lengths": "4096+1024"}, 12.0, 2000.0, 50.0)
