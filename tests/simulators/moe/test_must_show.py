"""Commands of docs/moe.md that people try first, one test each."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.capabilities import facts_about
from archgym.simulators.moe import MoeSimulator


@pytest.mark.slow
def test_one_gpu_stays_one() -> None:
    simulator = MoeSimulator("closed-loop", hardware="h100", model="gpt-oss-120b")
    workload = simulator.workload("chat-128")
    design = simulator.space.design_at(simulator.space.default_indices)

    assert design["tensor"] == design["data"] == 1
    assert max(p.size for p in simulator.space.parameters if p.name in ("tensor", "data")) == 1
    assert simulator.evaluate(design, workload)["n_gpus"] == 1.0


@pytest.mark.slow
def test_deepseek_v3_fits_eight_h100_at_four_bits() -> None:
    simulator = MoeSimulator("single-server", model="deepseek-v3")
    design = simulator.space.design_at(simulator.space.default_indices)
    workload = simulator.workload("chat")

    assert design["expert_bits"] == 4
    found = simulator.evaluate(design, workload)
    # 671e9 weights of which 654e9 are experts: 327 GB over eight GPUs, and the rest.
    assert 41 < found["memory_gb"] < 80


@pytest.mark.slow
def test_trace_of_nine_thousand_requests_is_used_whole(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["arrival_s", "prompt_tokens", "output_tokens"])
        for place in range(9_000):
            writer.writerow([place * 0.05, int(rng.integers(1, 9)), int(rng.integers(1, 4))])
    simulator = MoeSimulator("single-server", model="olmoe-1b-7b")

    workload = simulator.workload(path)

    assert facts_about(simulator, workload)["requests"] == (9000.0, "")
    design = simulator.space.design_at(simulator.space.default_indices)
    run = simulator.run(design, workload)
    assert run.counters["n_finished"] == 9000


def test_config_of_hugging_face_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
                "num_hidden_layers": 4, "hidden_size": 512, "num_experts": 16,
                "num_experts_per_tok": 2, "moe_intermediate_size": 256,
                "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64,
                "vocab_size": 1000, "intermediate_size": 1024, "tie_word_embeddings": False,
            }
        )
    )  # fmt: skip

    simulator = MoeSimulator("single-server", model=str(path))

    assert (simulator.model.experts, simulator.model.top_k, simulator.model.layers) == (16, 2, 4)


def test_outputs_of_one_token_take_as_long_as_their_first_token(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,8,1\n0.1,8,1\n")
    simulator = MoeSimulator("edge-offload", model="olmoe-1b-7b")
    design = simulator.space.design_at(simulator.space.default_indices)

    found = simulator.evaluate(design, simulator.workload(path))

    assert found["tpot_mean_ms"] == found["ttft_mean_ms"] > 0
