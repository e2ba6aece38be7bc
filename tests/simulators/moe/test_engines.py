"""Engines: constants, drafts and closed loops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.evaluation.capabilities import facts_about
from archgym.evaluation.simulator import default_workload
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.kernel.run import Run, documents, occupancy_table, run
from archgym.simulators.moe.machine.clock import Constants
from archgym.simulators.moe.machine.clock import engine_costs as costs_of_engine
from archgym.simulators.moe.machine.columns import COSTS
from archgym.simulators.moe.machine.engines import (
    PRIORS,
    Calibration,
    calibration,
    engine,
    labels,
)
from archgym.simulators.moe.machine.hardware import gpu, node
from archgym.simulators.moe.machine.plan import plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.machine.timing import engine_dimensions, engine_labels
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.requests import Requests, uniform_requests
from archgym.simulators.moe.workloads.routing import Routing, popularity

SMALL = MoeModel(
    name="small", layers=4, moe_layers=4, hidden=2048, experts=32, top_k=4, expert_inner=1024,
    matrices=3, heads=16, kv_heads=4, head_size=128, vocabulary=32_000,
)  # fmt: skip


def requests_of(n_clients: int, waves: int = 4, output: int = 128) -> Requests:
    """Returns the requests of a closed loop, with lengths from 80 to 100 %."""
    return uniform_requests(n_clients * waves, 96, output, 0.8)


def uniform_routing() -> Routing:
    """Returns the routing of 1,024 tokens that choose their experts at random."""
    rng = np.random.default_rng(3)
    experts = np.argsort(rng.random((1024, SMALL.moe_layers, SMALL.experts)), axis=2)
    return Routing(
        experts[:, :, : SMALL.top_k].astype(np.int16),
        np.arange(0, 1025, 128, dtype=np.int64),
        SMALL.experts,
    )


def served(serving: Serving, n_clients: int, tensor: int, steps: bool = False) -> Run:
    """Runs closed-loop clients with uniform routing, in full or at the level of steps."""
    routing, requests = uniform_routing(), requests_of(n_clients)
    ready = plan(SMALL, node("hgx-h200"), replace(serving, tensor=tensor), requests)
    assert ready.infeasible is None
    where = documents(requests, routing)
    table = occupancy_table(None, ready.choices, routing, None) if steps else None
    return run(ready, requests, routing, where, popularity(routing), table=table)


WAY = Serving(
    engine="vllm", expert_bits=8, attention_bits=8, clients=16, max_sequences=1024,
    max_tokens=8192, chunk_tokens=8192, precision="fp8",
)  # fmt: skip


@pytest.mark.parametrize(("drafts", "acceptance", "expected"), [(1, 0.9, 1.9), (3, 0.7, 2.533)])
def test_drafts_give_the_expected_tokens_a_step(
    drafts: int, acceptance: float, expected: float
) -> None:
    plain = served(WAY, 16, 4)
    way = replace(WAY, draft_tokens=drafts, acceptance=acceptance)
    found = served(way, 16, 4)

    counters = found.counters
    given = float((found.output_tokens.astype(np.int64) - 1).sum())
    n_sequence_steps = given - counters["n_drafted"] + counters["n_rejected"]
    # Leviathan et al., equation 1.
    assert way.tokens_per_step == pytest.approx(expected, rel=1e-3)
    assert given / n_sequence_steps == pytest.approx(expected, rel=0.03)
    assert 1.5 < plain.tpot_ns.mean() / found.tpot_ns.mean() < 1.05 * expected


def test_drafts_that_are_always_accepted_divide_the_steps() -> None:
    found = served(replace(WAY, clients=1, draft_tokens=3, acceptance=1.0), 1, 1)
    none = served(replace(WAY, clients=1, draft_tokens=3, acceptance=0.0), 1, 1)

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
def test_wrong_options_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        MoeSimulator("closed-loop", **options)


@pytest.mark.parametrize("release", ["banana", "0.11", "vllm 99", "sglang 0.5.6"])
def test_release_of_another_engine_or_of_none_is_refused(release: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Unknown release '{release}' of engine 'vllm'"):
        MoeSimulator("closed-loop", release=release)
    with pytest.raises(UnknownNameError, match="engine 'sglang'"):
        MoeSimulator("closed-loop", engine="sglang", release="vllm 0.11")


def test_closed_loop_keeps_requests_in_flight() -> None:
    found = served(WAY, 16, 1)

    arrivals = np.sort(found.arrival_ns)
    finishes = np.sort(found.finish_ns)
    assert (arrivals[:16] == 0).all()
    # Each further request comes when another is through, to the nanosecond.
    assert np.abs(arrivals[16:] - finishes[: len(arrivals) - 16]).max() <= 1.0


def test_unknown_engine_gets_typical_constants() -> None:
    of = labels(model("gpt-oss-20b"), gpu("h200"), "an-engine", "mxfp4")
    known = Calibration({"step_ns": {"": 0.5, "engine=vllm": 1.0}})

    assert known.constants(of).step_ns == pytest.approx(PRIORS["step_ns"].base * np.exp(0.5))
    of["engine"] = "vllm"
    assert known.constants(of).step_ns == pytest.approx(PRIORS["step_ns"].base * np.exp(1.5))


def test_outputs_of_one_token_have_no_time_per_further_token() -> None:
    routing, requests = uniform_routing(), requests_of(4, output=1)
    ready = plan(SMALL, node("hgx-h200"), WAY, requests)
    table = occupancy_table(None, ready.choices, routing, None)

    found = run(ready, requests, routing, documents(requests, routing), np.zeros(0), table=table)

    assert len(found.tpot_ns) == 0
    assert found.ttft_ns.min() > 0


# ---- the simulator's options


def test_design_needs_as_many_gpus_as_it_uses() -> None:
    simulator = MoeSimulator("single-server", hardware="h100", model="gpt-oss-20b")
    design = simulator.space.design_at(simulator.space.default_indices)
    workload = simulator.workload("chat")

    assert design["tensor"] == 1
    assert simulator.evaluate(design, workload)["n_gpus"] == 1
    eight = simulator.space.indices_of({**design, "tensor": 8})[None, :]
    result = simulator.simulate(simulator.space.canonical(eight), workload)
    reason = simulator.spec.model_reasons[int(result.reason[0]) - 1]
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


def test_one_token_outputs_are_judged_by_their_only_token_which_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trace = tmp_path / "short.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,32,1\n1,32,1\n", encoding="utf-8")
    simulator = MoeSimulator("edge-offload-table")
    design = simulator.space.design_at(simulator.space.default_indices)

    metrics = simulator.evaluate(design, simulator.workload(trace))

    assert metrics["tpot_mean_ms"] == metrics["ttft_mean_ms"] > 0
    assert "No request has a second output token: TPOT is the time to the first" in caplog.text


def test_clients_repeat_a_trace_for_as_many_requests_as_are_asked_for() -> None:
    simulator = MoeSimulator("closed-loop", clients=100, requests=120, output_tokens=2)
    design = simulator.space.design_at(simulator.space.default_indices)

    run = simulator.run(design, simulator.workload("chat-128"))

    assert len(run.ttft_ns) == 120


def test_trace_is_used_whole(tmp_path: Path) -> None:
    trace = tmp_path / "long.csv"
    lines = [f"{second},4,2" for second in range(1_200)]
    trace.write_text(
        "\n".join(["arrival_s,prompt_tokens,output_tokens", *lines, ""]), encoding="utf-8"
    )
    simulator = MoeSimulator("edge-offload-table")

    assert facts_about(simulator, simulator.workload(trace))["requests"][0] == 1_200


def test_spread_experts_need_no_placement() -> None:
    found = served(replace(WAY, spreads_experts=True, redundant=4), 16, 4)

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


def test_interval_of_full_attention_gives_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    # As published: neither `layer_types` nor a word of the gate, which the architecture has.
    published = {
        key: CONFIG[key] for key in CONFIG if key not in ("layer_types", "attn_output_gate")
    }
    path.write_text(json.dumps({**published, "full_attention_interval": 4}), encoding="utf-8")
    preset = model("qwen3-next-80b-a3b")

    found = model(str(path))

    assert replace(found, name=preset.name, source=preset.source, routing=preset.routing) == preset


PLAIN = {key: CONFIG[key] for key in CONFIG if key != "layer_types"}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"full_attention_interval": 0}, "full_attention_interval"),
        ({"full_attention_interval": 49}, "full_attention_interval"),
        ({"hybrid_override_pattern": "M-M*-"}, "hybrid_override_pattern"),
        ({"attn_layer_period": 8}, "attn_layer_period"),
        ({"expert_layer_period": 2}, "expert_layer_period"),
        ({"attn_type_list": [0, 0, 1]}, "attn_type_list"),
        ({"sliding_window": 1024, "max_position_embeddings": 131072}, "sliding_window"),
        ({"sliding_window": 512, "sliding_window_pattern": 6}, "sliding_window_pattern"),
        ({"attention_chunk_size": 8192}, "attention_chunk_size"),
        ({"layer_types": ["mamba", "full_attention"] * 24}, "layer_types"),
        ({"layer_types": ["sliding_attention"] * 48}, "layer_types"),
    ],
)
def test_unknown_kinds_of_layers_are_refused(
    tmp_path: Path, values: dict[str, object], key: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**PLAIN, **values}), encoding="utf-8")

    with pytest.raises(FileFormatError, match=f"`{key}`") as raised:
        model(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "values",
    [
        {"sliding_window": 32768, "use_sliding_window": False},
        {"sliding_window": 4096, "max_position_embeddings": 4096},
        {"sliding_window": None, "attn_type_list": [1] * 48},
    ],
)
def test_windows_that_never_bind_are_read(tmp_path: Path, values: dict[str, object]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**PLAIN, **values}), encoding="utf-8")

    assert model(str(path)).full_layers == 48


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


def engine_costs(name: str, hardware: str, **settings: Any) -> dict[str, float]:
    """Returns the costs of a model on a server, with constants that nothing was fitted to."""
    server, served_model = node(hardware), model(name)
    known = Calibration({})
    serving = Serving(engine="an-engine", **settings)
    sizes = engine_dimensions(served_model, server, serving)
    constants = known.constants(engine_labels(served_model, server, serving))
    return dict(zip(COSTS, costs_of_engine(sizes, constants, serving.graphs), strict=True))


@pytest.mark.parametrize(
    ("precision", "bits", "gain"), [("mxfp4", 4.25, 1.13), ("fp8", 8.0, 4800 / 3350)]
)
def test_multiprocessors_limit_the_bandwidth_of_widened_weights(
    precision: str, bits: float, gain: float
) -> None:
    # H200 has the 132 multiprocessors of H100, and memory that is 1.43 times as fast.
    h100, h200 = (
        engine_costs("gpt-oss-120b", hardware, expert_bits=bits, precision=precision)
        for hardware in ("h100", "h200")
    )

    assert h100["expert_weight_ns"] / h200["expert_weight_ns"] == pytest.approx(gain, rel=0.01)


def test_steps_without_graphs_pay_for_launches() -> None:
    found, slow = (
        engine_costs("gpt-oss-120b", "h100", expert_bits=4.25, precision="mxfp4", graphs=graphs)
        for graphs in (True, False)
    )

    # 8 small kernels of a layer and 5 of the experts.
    launches = 13 * PRIORS["prompt_kernel_ns"].base
    assert slow["layer_ns"] - found["layer_ns"] == pytest.approx(launches)


def test_fixed_times_depend_on_the_die_not_on_its_memory() -> None:
    h100, h200, a100 = (
        engine_costs("gpt-oss-120b", name)["layer_ns"] for name in ("h100", "h200", "a100")
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
    # 25 us, times 1.41 and 0.8.
    assert times == [pytest.approx(35_300.0, rel=1e-3), pytest.approx(20_000.0)]


@pytest.mark.parametrize(
    ("engine_name", "precision", "sliced_us", "spread_us"),
    [
        # Medians of kernel tables on H100, by lines through the times of up to 64 tokens.
        ("vllm", "mxfp4", 36, 64),
        ("sglang", "mxfp4", 21, 33),
        ("trt-llm", "mxfp4", 58, 66),
        # Scales of blocks: 53 us on H100, 54 us on H200, 92 us on B200, a larger die.
        ("trt-llm", "fp8", 66, 27),
    ],
)
def test_fixed_time_of_experts_is_that_of_the_engines_kernel_in_tables(
    engine_name: str, precision: str, sliced_us: float, spread_us: float
) -> None:
    served, card = model("gpt-oss-120b"), gpu("h100-sxm")
    for spread, microseconds in ((False, sliced_us), (True, spread_us)):
        of = labels(served, card, engine_name, precision, spread=spread)
        found = Calibration({}).constants(of).experts_ns
        assert found / 1e3 == pytest.approx(microseconds, rel=0.1), spread


def test_step_budget_follows_the_memory_of_the_gpu() -> None:
    # SGLang halves chunked_prefill_size below 160 GiB; vLLM serves with 2,048 below 70 GiB.
    assert engine("sglang").step_tokens(gpu("h200")) == 8192
    assert engine("sglang").step_tokens(gpu("b200")) == 16384
    assert engine("vllm").step_tokens(gpu("h100-sxm")) == 8192
    assert engine("vllm").step_tokens(gpu("l40s")) == 2048


def test_gathers_of_groups_cost_more_than_all_reduces() -> None:
    sliced, grouped = (
        engine_costs(
            "deepseek-r1", "hgx-h200", tensor=8 // data, data=data, expert_bits=8,
            attention_bits=8,
        )["gather_fixed_ns"]
        for data in (1, 8)
    )  # fmt: skip

    # Tables on H200 with 8 GPUs: NCCL gathers in 10.5 to 12.8 us and scatters in as many, where a
    # custom all-reduce takes 3.0 (SGLang) to 4.8 us (vLLM).
    assert 4.5 < grouped / sliced < 7.0


def test_factors_of_groups_hold_where_groups_change_the_kernels() -> None:
    # Learned from 8 and 4 bits with vLLM on B200. With 16 bits vLLM runs Triton's kernel, grouped
    # or not; two RTX PRO 6000 were predicted 60 % too slow with these factors.
    served, card = model("qwen3-30b-a3b"), gpu("rtx-pro-6000")

    def constants_of(precision: str, grouped: bool) -> Constants:
        return calibration().constants(labels(served, card, "vllm", precision, grouped=grouped))

    assert constants_of("bf16", grouped=True) == constants_of("bf16", grouped=False)
    assert constants_of("fp8", grouped=True) != constants_of("fp8", grouped=False)


def test_own_engine_whose_step_fits_no_level_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("engine: {like: vllm, max_tokens: 6000}\n")

    with pytest.raises(InvalidArgumentError, match=r"the file .*mine.yaml must fit 'closed-loop'"):
        MoeSimulator("closed-loop", engine=str(path))

    assert MoeSimulator("closed-loop", engine=str(path), step_tokens=6000).space.n_parameters


def test_acceptance_without_drafts_is_named(caplog: pytest.LogCaptureFixture) -> None:
    simulator = MoeSimulator("closed-loop", acceptance=0.7)

    simulator.workload(default_workload(simulator))

    assert "`acceptance` has no effect" in caplog.text
