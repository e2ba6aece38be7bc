"""Engines, the fast clock of closed loops, and what they share with the serving kernel."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.client import step_ns
from archgym.simulators.moe.closed_loop import load, serve
from archgym.simulators.moe.columns import COSTS, Replacement
from archgym.simulators.moe.deployment import Deployment
from archgym.simulators.moe.engines import PRIORS, Calibration, calibration, engine, labels
from archgym.simulators.moe.hardware import gpu, node
from archgym.simulators.moe.models import MoeModel
from archgym.simulators.moe.plan import plan
from archgym.simulators.moe.presets import model
from archgym.simulators.moe.requests import Requests
from archgym.simulators.moe.routing import Routing
from archgym.simulators.moe.running import Run, documents, popularity, run
from archgym.simulators.moe.serving import Serving

SMALL = MoeModel(
    name="small", layers=4, moe_layers=4, hidden=2048, experts=32, top_k=4, expert_inner=1024,
    matrices=3, heads=16, kv_heads=4, head_size=128, vocabulary=32_000,
)  # fmt: skip


def served(serving: Serving, n_clients: int, tensor: int) -> tuple[Run, Deployment]:
    """Runs the serving kernel under closed-loop clients with uniform routing."""
    deployment = Deployment(SMALL, gpu("h200"), "vllm", "fp8", tensor=tensor)
    lengths = load(n_clients, 96, 128, shortest=0.8, waves=4).lengths
    rng = np.random.default_rng(3)
    experts = np.argsort(rng.random((1024, SMALL.moe_layers, SMALL.experts)), axis=2)
    routing = Routing(
        experts[:, :, : SMALL.top_k].astype(np.int16),
        np.arange(0, 1025, 128, dtype=np.int64),
        SMALL.experts,
    )
    requests = Requests(
        np.zeros(lengths.shape[1], dtype=np.int64),
        lengths[0].astype(np.int32),
        lengths[1].astype(np.int32),
        "closed loop",
    )
    ready = plan(SMALL, node("hgx-h200"), serving, requests)
    assert ready.infeasible is None
    where = documents(requests, routing)
    return run(ready, requests, routing, where, popularity(routing)), deployment


WAY = Serving(
    engine="vllm", expert_bits=8, attention_bits=8, clients=16, max_sequences=1024,
    max_tokens=8192, chunk_tokens=8192, precision="fp8",
)  # fmt: skip


@pytest.mark.parametrize("spreads", [False, True])
def test_fast_clock_agrees_with_serving_kernel(spreads: bool) -> None:
    found, deployment = served(replace(WAY, tensor=4, spreads_experts=spreads), 16, 4)
    # The routing is uniform and independent.
    deployment = replace(deployment, independent=1.0)
    if spreads:
        deployment = replace(deployment, expert=4)

    loop = serve(deployment.costs(), deployment.shape(), load(16, 96, 128, shortest=0.8, waves=4))

    assert loop.mean_tpot_ms == pytest.approx(found.tpot_ns.mean() / 1e6, rel=0.02)
    assert loop.mean_ttft_ms == pytest.approx(found.ttft_ns.mean() / 1e6, rel=0.05)


@pytest.mark.parametrize(("drafts", "acceptance", "expected"), [(1, 0.9, 1.9), (3, 0.7, 2.533)])
def test_drafts_give_the_expected_tokens_a_step(
    drafts: int, acceptance: float, expected: float
) -> None:
    plain, _ = served(replace(WAY, tensor=4), 16, 4)
    found, deployment = served(
        replace(WAY, tensor=4, draft_tokens=drafts, acceptance=acceptance), 16, 4
    )
    deployment = replace(deployment, independent=1.0, draft_tokens=drafts, acceptance=acceptance)

    loop = serve(deployment.costs(), deployment.shape(), load(16, 96, 128, shortest=0.8, waves=4))

    counters = found.counters
    given = float((found.output_tokens.astype(np.int64) - 1).sum())
    n_sequence_steps = given - counters["n_drafted"] + counters["n_rejected"]
    # Leviathan et al., equation 1.
    assert given / n_sequence_steps == pytest.approx(expected, rel=0.03)
    assert 1.5 < plain.tpot_ns.mean() / found.tpot_ns.mean() < 1.05 * expected
    # Both clocks accept the same drafts. Before, the fast clock gave each step the mean number of
    # tokens, so that requests ended together and their prompts shared steps: 12 % off.
    assert loop.mean_tpot_ms == pytest.approx(found.tpot_ns.mean() / 1e6, rel=0.03)
    assert loop.mean_ttft_ms == pytest.approx(found.ttft_ns.mean() / 1e6, rel=0.03)


@pytest.mark.parametrize(("drafts", "acceptance"), [(1, 0.9), (3, 0.7), (3, 1.0)])
def test_clocks_agree_on_drafts_of_one_client(drafts: int, acceptance: float) -> None:
    way = replace(WAY, tensor=4, clients=1, draft_tokens=drafts, acceptance=acceptance)
    found, deployment = served(way, 1, 4)
    deployment = replace(deployment, independent=1.0, draft_tokens=drafts, acceptance=acceptance)

    loop = serve(deployment.costs(), deployment.shape(), load(1, 96, 128, shortest=0.8, waves=4))

    # The last step of a request drafts no more than is left, which the fast clock does not see.
    assert loop.mean_tpot_ms == pytest.approx(found.tpot_ns.mean() / 1e6, rel=0.005)


def test_drafts_that_are_always_accepted_divide_the_steps() -> None:
    found, _ = served(replace(WAY, clients=1, draft_tokens=3, acceptance=1.0), 1, 1)
    none, _ = served(replace(WAY, clients=1, draft_tokens=3, acceptance=0.0), 1, 1)

    lengths = found.output_tokens.astype(np.int64)
    # The first token comes with the prompt; the last step drafts no more than is left.
    assert found.counters["n_steps"] == len(lengths) + np.ceil((lengths - 1) / 4).sum()
    assert found.counters["n_rejected"] == 0.0
    assert none.counters["n_steps"] == lengths.sum()
    assert none.counters["n_rejected"] == none.counters["n_drafted"] > 0.0


def test_drafts_are_an_option_of_every_space() -> None:
    plain = MoeSimulator("closed-loop")
    drafting = MoeSimulator("closed-loop", draft_tokens="1", acceptance="0.9")
    design = plain.space.design_at(plain.space.default_indices)

    before = plain.evaluate(design, plain.workload("chat-128"))
    after = drafting.evaluate(design, drafting.workload("chat-128"))

    assert drafting.options == {"draft_tokens": "1", "acceptance": "0.9"}
    assert plain.options == {}
    # 1.9 tokens a step, whose two tokens a sequence cost more than one.
    assert 1.2 < before["tpot_mean_ms"] / after["tpot_mean_ms"] < 1.9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"draft_tokens": "1.5"}, "whole number"),
        ({"draft_tokens": "17"}, "from 0 to 16"),
        ({"draft_tokens": "1", "acceptance": "1.1"}, "acceptance"),
    ],
)
def test_wrong_drafts_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        MoeSimulator("closed-loop", **options)


def test_drafts_with_a_rule_that_looks_ahead_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="looks ahead"):
        served(replace(WAY, draft_tokens=1, replacement=Replacement.BELADY), 1, 1)


def test_closed_loop_keeps_requests_in_flight() -> None:
    found, _ = served(WAY, 16, 1)

    arrivals = np.sort(found.arrival_ns)
    finishes = np.sort(found.finish_ns)
    assert (arrivals[:16] == 0).all()
    # Each further request comes when another is through, to the nanosecond.
    assert np.abs(arrivals[16:] - finishes[: len(arrivals) - 16]).max() <= 1.0


def test_more_clients_give_more_tokens_and_longer_steps() -> None:
    deployment = Deployment(model("gpt-oss-120b"), gpu("h200"), "vllm", "mxfp4", tensor=2)
    costs, shape = deployment.costs(), deployment.shape()

    few, many = (serve(costs, shape, load(n, 512, 128)) for n in (4, 64))

    assert many.steady_per_s > 2 * few.steady_per_s
    assert many.mean_tpot_ms > few.mean_tpot_ms


def test_measured_row_is_predicted_within_a_tenth() -> None:
    # InferenceX: gpt-oss-120b, vLLM, one H200 of two, 64 clients, 1,024 + 1,024 tokens from 80 %;
    # vLLM 0.18 on two H100: TPOT 14.83 ms, on which the constants were fitted.
    deployment = Deployment(
        model("gpt-oss-120b"), gpu("h100-sxm"), "vllm", "mxfp4", tensor=2, release="vllm 0.18"
    )

    loop = serve(deployment.costs(), deployment.shape(), load(64, 1024, 1024, shortest=0.8))

    assert loop.mean_tpot_ms == pytest.approx(14.83, rel=0.1)


def test_unknown_engine_gets_typical_constants() -> None:
    of = labels(model("gpt-oss-20b"), gpu("h200"), "an-engine", "mxfp4")
    known = Calibration({"step_ns": {"": 0.5, "engine=vllm": 1.0}})

    assert known.constants(of).step_ns == pytest.approx(PRIORS["step_ns"].base * np.exp(0.5))
    of["engine"] = "vllm"
    assert known.constants(of).step_ns == pytest.approx(PRIORS["step_ns"].base * np.exp(1.5))


def test_drafts_shorten_the_time_of_a_token() -> None:
    deployment = Deployment(model("deepseek-r1"), gpu("h200"), "sglang", "fp8", tensor=8)
    drafting = replace(deployment, draft_tokens=2, acceptance=0.5)

    assert drafting.tokens_per_step == 1.75
    requests = load(4, 256, 64)
    plain, fast = (serve(d.costs(), d.shape(), requests) for d in (deployment, drafting))
    assert 1.2 < plain.mean_tpot_ms / fast.mean_tpot_ms < 1.75


def test_outputs_of_one_token_have_no_time_per_further_token() -> None:
    deployment = Deployment(SMALL, gpu("h200"), "vllm", "fp8")

    loop = serve(deployment.costs(), deployment.shape(), load(4, 64, 1))

    assert np.isnan(loop.mean_tpot_ms)
    assert loop.mean_ttft_ms > 0


def test_request_beyond_the_cache_is_refused() -> None:
    deployment = Deployment(model("gpt-oss-120b"), gpu("rtx-pro-6000"), "vllm", "mxfp4")

    with pytest.raises(InvalidArgumentError, match="must fit into the memory"):
        serve(deployment.costs(), deployment.shape(), load(1, 5_000_000, 10))


# ---- the simulator's options


def test_design_needs_as_many_gpus_as_it_uses() -> None:
    simulator = MoeSimulator("single-server", hardware="h100", model="gpt-oss-20b")
    design = simulator.space.design_at(simulator.space.default_indices)
    workload = simulator.workload("chat")

    assert design["tensor"] == 1
    assert simulator.evaluate(design, workload)["n_gpus"] == 1
    eight = simulator.space.indices_of({**design, "tensor": 8})[None, :]
    result = simulator.simulate(simulator.space.canonical(eight), workload)
    reason = simulator.model_reasons[int(result.reason[0]) - 1]
    assert reason == "the server has fewer accelerators than the design needs"


def test_default_design_fits_the_model_that_is_given() -> None:
    simulator = MoeSimulator("single-server", model="deepseek-v3")
    design = simulator.space.design_at(simulator.space.default_indices)

    # 671e9 weights of 8 bits are 84 GB for each of 8 GPUs of 86 GB; those of 4 bits fit.
    assert design["expert_bits"] == 4
    assert simulator.evaluate(design, simulator.workload("chat"))["n_gpus"] == 8


def test_promise_can_be_set() -> None:
    simulator = MoeSimulator("single-server", ttft_ms="0.001")
    design = simulator.space.design_at(simulator.space.default_indices)

    assert simulator.evaluate(design, simulator.workload("chat"))["promised_percent"] == 0
    with pytest.raises(InvalidArgumentError, match="`tpot_ms` must be a number"):
        MoeSimulator("single-server", tpot_ms="soon")


def test_one_token_outputs_are_judged_by_their_only_token(tmp_path: Path) -> None:
    trace = tmp_path / "short.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,32,1\n1,32,1\n", encoding="utf-8")
    simulator = MoeSimulator("edge-offload-table")
    design = simulator.space.design_at(simulator.space.default_indices)

    metrics = simulator.evaluate(design, simulator.workload(trace))

    assert metrics["tpot_mean_ms"] == metrics["ttft_mean_ms"] > 0


def test_trace_is_used_whole(tmp_path: Path) -> None:
    trace = tmp_path / "long.csv"
    lines = [f"{second},4,2" for second in range(1_200)]
    trace.write_text(
        "\n".join(["arrival_s,prompt_tokens,output_tokens", *lines, ""]), encoding="utf-8"
    )
    simulator = MoeSimulator("edge-offload-table")

    assert simulator.describe_workload(simulator.workload(trace))["requests"][0] == 1_200


def test_spread_experts_need_no_placement() -> None:
    found, _ = served(replace(WAY, tensor=4, spreads_experts=True, redundant=4), 16, 4)

    assert found.counters["n_hits"] == found.counters["n_accesses"] > 0


# ---- models of Hugging Face

CONFIG = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "intermediate_size": 5120,
    "vocab_size": 151936,
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 12,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "attn_output_gate": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}


@pytest.mark.parametrize("name", ["config.json", "mine.json"])
def test_configuration_of_hugging_face_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(CONFIG), encoding="utf-8")

    found = model(str(path))

    # Qwen3-Next-80B-A3B: 80 billion weights, of which a token uses 3 and the embeddings.
    assert found.total_parameters / 1e9 == pytest.approx(79.7, abs=0.1)
    assert found.full_layers == 12
    assert found.linear is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"num_hidden_layers": 2}', "hidden_size"),
        ('{"num_hidden_layers": "two"}', "whole number"),
        (json.dumps({**CONFIG, "num_key_value_heads": 5}), "must divide `num_attention_heads`"),
        (json.dumps({**CONFIG, "num_attention_heads": 0}), "must divide `num_attention_heads`"),
    ],
)
def test_torn_configuration_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(FileFormatError, match=words) as raised:
        model(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        # Model cards: total and active parameters, in billions; active ones there leave out
        # embeddings or not.
        ("gpt-oss-20b", 20.9, 3.6),
        ("gpt-oss-120b", 116.8, 5.1),
        ("kimi-k2.5", 1_026, 32),
        ("glm-4.5", 355, 32),
        ("glm-4.5-air", 106, 12),
        ("qwen3.5-397b-a17b", 397, 17),
        ("minimax-m2.5", 229, 10),
        ("llama-4-scout", 109, 17),
        ("llama-4-maverick", 400, 17),
    ],
)
def test_models_have_published_sizes(name: str, total: float, active: float) -> None:
    found = model(name)

    assert found.total_parameters / 1e9 == pytest.approx(total, rel=0.015)
    assert found.active_parameters / 1e9 == pytest.approx(active, rel=0.2)


def test_padded_products_take_as_long_for_few_clients_as_for_many() -> None:
    deployment = Deployment(
        model("qwen3-235b-a22b"), gpu("h200"), "vllm", "fp8", tensor=4, release="vllm 0.12"
    )
    padded = replace(deployment, padded_rows=128)

    few, many, usual = (
        serve(d.costs(), d.shape(), load(n, 64, 256)).mean_tpot_ms
        for d, n in ((padded, 4), (padded, 48), (deployment, 4))
    )

    # Measured: 34 to 37 ms for 8 to 48 clients. 94 layers with 16,256 rows of padding are 58e12
    # operations, at least 7.3 ms on four GPUs of 1,979 TFLOP/s.
    assert many / few < 1.15
    assert few - usual > 9.0


def test_padded_products_compute_room_for_each_expert() -> None:
    deployment = Deployment(
        model("qwen3-235b-a22b"), gpu("h200"), "vllm", "fp8", tensor=2, padded_rows=128
    )
    plain = replace(deployment, padded_rows=0)
    costs = deployment.costs(Calibration({}))[None]
    step = np.array([[8.0, 8000.0, 0.0, 0.0, 0.0, 8.0]])
    times = np.zeros((2, 1))
    for row, of in enumerate((deployment, plain)):
        step_ns(costs, of.shape()[None], step, times[row])

    # 94 layers, 8 * 8 + 128 * 127 rows, three products of 4,096 by 768 on each GPU at 44 % of
    # 1,979 TFLOP/s are 33.25 ms; padding moves 3 * 4,096 + 10 * 768 bytes a row at 80 % of
    # 4.8 TB/s, 7.95 ms. The 36.5 experts of 5.2 independent tokens are read meanwhile, which takes
    # 11.24 ms at 60 % of 4.8 TB/s.
    assert (times[0, 0] - times[1, 0]) / 1e6 == pytest.approx(33.25 + 7.95 - 11.24, rel=0.002)


def test_padded_rows_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="padded_rows"):
        Deployment(model("qwen3-235b-a22b"), gpu("h200"), "vllm", "fp8", padded_rows=-1)


def test_steps_without_graphs_pay_for_launches() -> None:
    deployment = Deployment(model("gpt-oss-120b"), gpu("h100-sxm"), "vllm", "mxfp4")
    eager = replace(deployment, graphs=False)

    plain, slow = (serve(d.costs(), d.shape(), load(4, 64, 64)) for d in (deployment, eager))

    constants = calibration().constants(deployment.by_kind)
    # 36 layers with 8 small kernels and 5 of the experts.
    launches_ms = 36 * 13 * constants.prompt_kernel_ns / 1e6
    assert slow.mean_tpot_ms - plain.mean_tpot_ms == pytest.approx(launches_ms, rel=0.05)


def test_fixed_times_depend_on_the_die_not_on_its_memory() -> None:
    at = Deployment(model("gpt-oss-120b"), gpu("h100-sxm"), "an-engine", "bf16")
    known = Calibration({})

    layer = COSTS.index("layer_ns")
    h100, h200, a100 = (
        replace(at, gpu=gpu(name)).costs(known)[layer]
        for name in ("h100-sxm", "h200", "a100-sxm-80")
    )

    assert h100 == h200
    # Peaks of 989 and 312 TFLOP/s, to the power of 0.15.
    assert a100 / h100 == pytest.approx(1.1889, rel=1e-3)


def test_four_bit_experts_take_longer_where_they_are_widened() -> None:
    of = model("gpt-oss-120b")
    kinds = [labels(of, gpu(name), "vllm", "mxfp4")["format"] for name in ("h100-sxm", "b200")]

    assert kinds == ["widened", "narrow"]
    times = [
        Calibration({}).constants(labels(of, gpu(name), "vllm", "mxfp4")).experts_ns
        for name in ("h100-sxm", "b200")
    ]
    # 25 us, times 2.1 and 0.8.
    assert times == [pytest.approx(52_500.0), pytest.approx(20_000.0)]


def test_one_prompt_occupies_one_group() -> None:
    deployment = Deployment(model("deepseek-r1"), gpu("h200"), "sglang", "fp8", data=8, expert=8)
    costs, shape = deployment.costs(), deployment.shape()
    times = np.zeros(2)
    # 8,192 prompt tokens: of one prompt, or of eight prompts of 1,024, one for each group.
    pairs = 1024 * 1025 / 2 * 8
    steps = np.array([[0, 0, 8192, pairs, 8192, 1], [0, 0, 8192, pairs, 8192, 8]], dtype=np.float64)

    step_ns(np.stack([costs] * 2), np.stack([shape] * 2), steps, times)

    # Norms alone: seven eighths of the tokens more in the busiest group, in each layer.
    more = costs[COSTS.index("norm_token_ns")] * (8192 - 1024) * 61
    assert times[0] - times[1] > more


def test_held_prompts_share_their_step() -> None:
    deployment = Deployment(model("deepseek-r1"), gpu("b200"), "trt-llm", "nvfp4", data=4, expert=4)
    holding = replace(deployment, hold_steps=60, hold_prompts=4)
    requests = load(64, 1024, 1024, shortest=0.8, waves=3)

    free, held = (serve(d.costs(), d.shape(), requests) for d in (deployment, holding))

    n_requests = 64 * 3
    # At most 60 steps of waiting, and fewer steps with prompts than there are requests.
    assert free.mean_ttft_ms < held.mean_ttft_ms < free.mean_ttft_ms + 60 * 1.2 * held.mean_tpot_ms
    assert held.statistics[1, 0] < 0.7 * free.statistics[1, 0] <= 0.7 * n_requests
    # All requests are served to the end.
    assert held.statistics[:, 3].sum() == requests.lengths[0].sum()


def test_step_budget_follows_the_memory_of_the_gpu() -> None:
    # SGLang halves chunked_prefill_size below 160 GiB; vLLM serves with 2,048 below 70 GiB.
    assert engine("sglang").step_tokens(gpu("h200")) == 8192
    assert engine("sglang").step_tokens(gpu("b200")) == 16384
    assert engine("vllm").step_tokens(gpu("h100-sxm")) == 8192
    assert engine("vllm").step_tokens(gpu("l40s")) == 2048


def test_gathers_of_groups_cost_more_than_all_reduces() -> None:
    known = Calibration({})
    at = Deployment(model("deepseek-r1"), gpu("h200"), "an-engine", "fp8", tensor=8)
    gather = COSTS.index("gather_fixed_ns")

    sliced, grouped = (
        replace(at, tensor=8 // data, data=data).costs(known)[gather] for data in (1, 8)
    )

    # Tables on H200 with 8 GPUs: NCCL gathers in 10.5 to 12.8 us and scatters in as many, where a
    # custom all-reduce takes 3.0 (SGLang) to 4.8 us (vLLM).
    assert 4.5 < grouped / sliced < 7.0
