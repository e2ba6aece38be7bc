"""Files of other tools that simulators with one format each write."""

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

from archgym.errors import FileFormatError, InvalidDesignError
from archgym.evaluation.capabilities import exported
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Simulator, default_workload, simulator_class
from archgym.report.export import export_design, left_out
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.cluster.simulator import ClusterSimulator
from archgym.simulators.cpu.formats.champsim import champsim_config
from archgym.simulators.cpu.machine import DEFAULTS, machine
from archgym.simulators.kit.exports import differences, expected
from archgym.simulators.soc.simulator import SocSimulator
from archgym.tasks.task import Task
from tests.conformance.test_round_trips import in_place_of_models


def files_of(name: str, form: str, space: str | None = None, **changes: Any) -> dict[str, str]:
    simulator = make_simulator(simulator_class(name), space, None, {})
    design = {**simulator.space.design_at(simulator.space.default_indices), **changes}
    workload = simulator.workload(default_workload(simulator))
    return dict(exported(simulator, form, simulator.space.indices_of(design), workload))


def left_out_of(name: str, form: str, space: str | None = None, **changes: Any) -> dict[str, Any]:
    simulator = make_simulator(simulator_class(name), space, None, {})
    design = {**simulator.space.design_at(simulator.space.default_indices), **changes}
    workload = simulator.workload(default_workload(simulator))
    return left_out(simulator, form, simulator.space.indices_of(design), workload)


def test_cpu_has_the_sections_and_sizes_of_champsim() -> None:
    files = files_of("cpu", "champsim", rob=512, l2_prefetcher="ip-stride", llc_sets=4096)

    config = json.loads(files["champsim_config.json"])
    assert config["ooo_cpu"][0]["rob_size"] == 512
    assert config["ooo_cpu"][0]["branch_predictor"] == "hashed_perceptron"
    assert config["L2C"]["prefetcher"] == "ip_stride"
    assert config["LLC"]["sets"] == 4096
    # The configuration script of commit 2ff2501 knows no modules for instructions alone.
    assert config["L1I"]["prefetcher"] == "no"
    assert config["virtual_memory"]["randomization"] is False
    assert config["physical_memory"]["data_rate"] == 3200
    assert config["DIB"] == {
        "window_size": 16,
        "sets": 32,
        "ways": 8,
        "hit_buffer_size": 32,
        "inorder_width": 5,
    }


def test_cpu_states_every_parameter_of_the_machine() -> None:
    def numbers(value: object) -> list[int]:
        if isinstance(value, dict):
            return [n for member in value.values() for n in numbers(member)]
        if isinstance(value, list):
            return [n for member in value for n in numbers(member)]
        return [value] if isinstance(value, int) else []

    unlike = {}
    for name, value in DEFAULTS.items():
        if name.endswith((".prefetcher", ".replacement", "_predictor", "rows", "columns")):
            continue
        try:
            other = machine({name: 2 * value or 1})[name]
        except ValueError:
            continue
        before = sorted(numbers(champsim_config(machine({}))))
        after = sorted(numbers(champsim_config(machine({name: other}))))
        unlike[name] = before != after
    assert len(unlike) > 60
    assert [name for name, differs in unlike.items() if not differs] == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"cores": "2"}, "`cores` must be 1"),
        ({"fidelity": "dram"}, "`fidelity` must be standard"),
    ],
)
def test_cpu_names_what_champsim_lacks(options: dict[str, str], name: str) -> None:
    task = Task.make("cpu", instructions="2000", **options)

    with pytest.raises(InvalidDesignError, match=name):
        export_design(task, task.space.default_indices, "champsim")


def test_clock_of_a_design_is_that_of_champsims_core() -> None:
    files = files_of("cpu", "champsim", "dvfs", clock_ghz=1.0)

    assert json.loads(files["champsim_config.json"])["ooo_cpu"][0]["frequency"] == 1000


CHAMPSIM_PRINTS = """\
Warmup complete CPU 0 instructions: 750 cycles: 900 cumulative IPC: 0.8333
Region of Interest Statistics

CPU 0 cumulative IPC: 0.4548 instructions: 1252 cycles: 32985
CPU 0 Branch Prediction Accuracy: 77.29% MPKI: 64.02 Average ROB Occupancy at Mispredict: 4.5
cpu0->cpu0_L1D TOTAL        ACCESS:       6443 HIT:       3689 MISS:       2754 MSHR_MERGE:  326
cpu0->cpu0_L1D LOAD         ACCESS:       6022 HIT:       3684 MISS:       2338 MSHR_MERGE:  326
cpu0->cpu0_L1D PREFETCH     ACCESS:        500 HIT:        100 MISS:        400 MSHR_MERGE:    0
cpu0->cpu0_L1D PREFETCH REQUESTED:       77 ISSUED:          0 USEFUL:          0 USELESS:  0
"""


def test_cycles_mispredictions_and_demand_misses_are_read_where_champsim_prints_them() -> None:
    numbers = {each.metric: each for each in expected(files_of("cpu", "champsim"))[1]}

    texts = {"stdout": CHAMPSIM_PRINTS}
    assert numbers["total_cycles"].read(texts) == 32985
    assert numbers["branch_mpki"].read(texts) == 64.02
    assert numbers["branch_mpki"].tolerance == 0.005
    assert numbers["l1d_mpki"].read(texts) == 2754 - 400
    assert numbers["l1d_mpki"].stated == pytest.approx(round(numbers["l1d_mpki"].stated), 1e-12)
    with pytest.raises(FileFormatError, match="behind 'LLC TOTAL', which is absent"):
        numbers["llc_mpki"].read(texts)


def test_champsim_counts_a_cycle_less_without_warm_up_and_the_folder_says_so() -> None:
    task = Task.make("cpu", "sort", instructions="2000", warmup="0")
    made = export_design(task, task.space.default_indices, "champsim").files

    assert expected(made)[1][0].tolerance == 1.0
    assert any("counts one less" in line for line in differences(made))
    assert not any("counts one less" in line for line in differences(files_of("cpu", "champsim")))


def test_cluster_is_read_back_as_the_same_system() -> None:
    simulator = make_simulator(simulator_class("cluster"), None, None, {})
    assert isinstance(simulator, ClusterSimulator)
    workload = simulator.workload(default_workload(simulator))
    rng = np.random.default_rng(4)
    checked = 0
    for indices in simulator.space.sample(400, rng):
        try:
            built = simulator.built(simulator.space.design_at(indices), workload)
            files = dict(exported(simulator, "astra-sim", indices, workload))
        except InvalidDesignError:
            continue
        checked += 1
        network = yaml.safe_load(files["network.yml"])
        system = json.loads(files["system.json"])
        expected = built.system
        used = [place for place, n in enumerate(expected.npus) if n > 1]
        assert system["peak-perf"] == expected.peak_tflops * built.parallelism.efficiency
        assert (
            System(
                topology=tuple(network["topology"]),
                npus=tuple(network["npus_count"]),
                bandwidth=tuple(network["bandwidth"]),
                latency=tuple(network["latency"]),
                algorithms={
                    name: tuple(system[f"{name.replace('_', '-')}-implementation"])
                    for name in COLLECTIVES
                },
                splits=system["preferred-dataset-splits"],
                policy=system["scheduling-policy"],
                active_chunks=system["active-chunks-per-dimension"],
                queues=int(re.findall(r"--num-queues-per-dim=(\d+)", files["run.sh"])[0]),
                optimization=system["collective-optimization"],
                endpoint_ns=system["endpoint-delay"],
                mem_gb_per_s=system["local-mem-bw"],
                peak_tflops=expected.peak_tflops,
            )
            # ASTRA-sim's network shares no links, and takes no dimension of one NPU.
            == replace(
                expected,
                shared=False,
                places=(),
                algorithms={k: tuple(v[i] for i in used) for k, v in expected.algorithms.items()},
                **{
                    name: tuple(getattr(expected, name)[place] for place in used)
                    for name in ("topology", "npus", "bandwidth", "latency")
                },
            )
        )
        assert system["archgym"]["microbatch"] == built.parallelism.microbatch
    assert checked >= 5


def test_cluster_refuses_what_astra_sim_fixes() -> None:
    with pytest.raises(InvalidDesignError, match="fixes `inter` at Ascending"):
        files_of("cluster", "astra-sim", "archgym-astrasim", inter="OfflineGreedy")


def test_soc_has_blocks_links_and_places() -> None:
    simulator = SocSimulator()
    indices = simulator.space.default_indices
    workload = simulator.workload(default_workload(simulator))

    data = json.loads(exported(simulator, "system", indices, workload)["system.json"])

    names = {block["name"] for kind in ("processors", "accelerators") for block in data[kind]}
    buses = {bus["name"] for bus in data["buses"]}
    assert [task["name"] for task in data["tasks"]] == list(simulator.graph.names)
    assert {task["runs_on"] for task in data["tasks"]} <= names
    assert {memory["bus"] for memory in data["memories"]} <= buses
    assert all(set(bus["links"]) <= buses for bus in data["buses"])


def test_moe_is_a_command_of_vllm() -> None:
    design = {
        **{"tensor": 4, "data": 2, "spread": "yes", "redundant": 1, "expert_bits": 8, "kv_bits": 8},
        **{"max_sequences": 64, "chunk_tokens": 128, "scheduler": "prefill-first"},
    }
    files = files_of("moe", "vllm", "single-server", **design)

    command = files["run.sh"]
    for words in (
        '"$tool" serve "$MODEL"',
        "--tensor-parallel-size 4",
        "--data-parallel-size 2",
        "--enable-expert-parallel",
        """--eplb-config '{"num_redundant_experts": 8}'""",
        # Of each of the two groups.
        "--max-num-seqs 32",
        "--long-prefill-token-threshold 128",
        "--kv-cache-dtype fp8",
        "--quantization fp8",
    ):
        assert words in command
    # The list of what a format leaves out is that of all exports.
    assert "What differs" not in files["README.md"]
    left = left_out_of("moe", "vllm", "single-server", **design)
    assert left["scheduler"] == "prefill-first"


def test_vllm_has_room_for_requests_that_a_short_workload_leaves_out() -> None:
    whole = drafting_files("vllm", "deepseek-r1")
    short = drafting_files("vllm", "deepseek-r1", requests="2", output_tokens="4")

    assert short["run.sh"] == whole["run.sh"]


def drafting_files(form: str, model: str, **more: str) -> dict[str, str]:
    options = {"model": model, "draft_tokens": "2", "acceptance": "0.8", **more}
    simulator = make_simulator(simulator_class("moe"), "closed-loop", None, options)
    return dict(
        exported(
            simulator,
            form,
            simulator.space.default_indices,
            simulator.workload(default_workload(simulator)),
        )
    )


def test_vllm_drafts_with_the_layers_of_the_model() -> None:
    files = drafting_files("vllm", "deepseek-r1")

    words = shlex.split(files["run.sh"].split('serve "$MODEL"', 1)[1])
    config = json.loads(words[words.index("--speculative-config") + 1])
    # The options of docs.vllm.ai, features/speculative_decoding/mtp.
    assert config == {"method": "mtp", "num_speculative_tokens": 2}
    assert "probability of 0.8" in files["README.md"]


def test_vllm_needs_a_draft_model_where_the_model_has_no_such_layers() -> None:
    files = drafting_files("vllm", "qwen3-235b-a22b")

    assert "--speculative-config" not in files["run.sh"]
    assert '"method": "draft_model"' in files["README.md"]
    assert '"num_speculative_tokens": 2' in files["README.md"]


def test_llama_cpp_says_that_drafts_need_a_model() -> None:
    files = drafting_files("llama.cpp", "qwen3-30b-a3b")

    assert "draft" not in files["run.sh"]
    assert "--model-draft FILE --draft-max 2" in files["README.md"]


def test_moe_is_a_command_of_llama_cpp() -> None:
    files = files_of("moe", "llama.cpp", cache_percent=25, expert_bits=4, prefetch="path")

    command = files["run.sh"]
    assert '"$tool" --model "$MODEL"' in command
    # Three quarters of the 28 layers of experts stay on the host.
    assert "--n-cpu-moe 21" in command
    assert "--parallel 4" in command
    assert "Quantisation of the experts: Q4_K_M." in command
    design = {"cache_percent": 25, "expert_bits": 4, "prefetch": "path"}
    assert left_out_of("moe", "llama.cpp", **design)["prefetch"] == "path"


def test_llama_cpp_keeps_more_experts_on_the_host_where_gguf_is_larger() -> None:
    files = files_of("moe", "llama.cpp", cache_percent=50, expert_bits=4)

    # 28 x 64 experts of 27.5 million weights at 4.89 bits are 30.1 GB: 1.08 GB a layer. Of 0.9 x
    # 25.8 GB remain 13.6 GB next to other weights at 8.5 bits: 12 layers instead of 14.
    assert "--n-cpu-moe 16" in files["run.sh"]
    assert "16 layers of experts stay on the host, and 14 in the design" in files["README.md"]


def test_closed_loop_has_a_slot_for_each_client() -> None:
    files = files_of("moe", "llama.cpp", "closed-loop", clients=8)

    assert "--parallel 8" in files["run.sh"]
    assert "clients =" not in files["README.md"]


def test_engine_that_keeps_all_experts_says_so() -> None:
    files = files_of("moe", "vllm", "single-server", cache_percent=50, expert_bits=4)

    assert "vLLM keeps all experts on the GPUs, and the design a part of them" in files["README.md"]


def test_vllm_refuses_experts_without_a_format() -> None:
    with pytest.raises(
        InvalidDesignError, match=r"has experts of 4, 8 or 16 bits.*`expert_bits` = 3"
    ):
        files_of("moe", "vllm", cache_percent=100, expert_bits=3)


def test_vllm_names_the_checkpoint_of_4_bit_experts() -> None:
    files = files_of("moe", "vllm", "single-server", expert_bits=4)

    assert "MODEL is an AWQ or GPTQ checkpoint of 4-bit experts" in files["run.sh"]
    assert "expert_bits" not in files["README.md"]


def test_moe_is_a_command_of_sglang() -> None:
    design = {"tensor": 2, "data": 4, "expert_bits": 8, "kv_bits": 8, "chunk_tokens": 512}
    design |= {"max_sequences": 64, "max_tokens": 2048}
    spread = files_of("moe", "sglang", "single-server", **design, spread="yes", redundant=1)
    replicas = files_of("moe", "sglang", "single-server", **design, spread="no")

    for words in (
        '"$tool" -m sglang.launch_server --model-path "$MODEL"',
        "--tensor-parallel-size 8",
        "--data-parallel-size 4",
        "--expert-parallel-size 8",
        "--enable-dp-attention",
        "--ep-num-redundant-experts 8",
        "--max-running-requests 64",
        "--chunked-prefill-size 2048",
        "--kv-cache-dtype fp8_e4m3",
    ):
        assert words in spread["run.sh"]
    for words in ("--tensor-parallel-size 2", "--max-running-requests 16", "-size 512"):
        assert words in replicas["run.sh"]
    assert "expert-parallel" not in replicas["run.sh"]
    assert "dp-attention" not in replicas["run.sh"]


def test_vllm_refuses_offloaded_experts_that_do_not_fit() -> None:
    # 57.4 billion weights at 16 bits on a GPU of 25.8 GB.
    with pytest.raises(InvalidDesignError, match=r"114\.8 GB per GPU.*`--cpu-offload-gb 93`"):
        files_of("moe", "vllm")


def test_vllm_splits_prompts_that_no_step_holds() -> None:
    files = files_of("moe", "vllm", "single-server", chunk_tokens=0, max_tokens=256)

    length = int(files["run.sh"].split("--max-model-len ")[1].split()[0])
    assert length > 256
    assert "--max-num-batched-tokens 256 " in files["run.sh"]
    assert "--enable-chunked-prefill" in files["run.sh"]


@pytest.mark.parametrize("form", ["vllm", "sglang", "llama.cpp"])
def test_composition_of_models_is_no_command(form: str) -> None:
    with pytest.raises(InvalidDesignError, match="composition of many models"):
        files_of("moe", form, "three-tier")


def test_moe_is_yaml() -> None:
    text = files_of("moe", "serving", max_sequences=8)["serving.yaml"]

    data = yaml.safe_load(text)
    assert data["model"] == "qwen2-57b-a14b"
    assert data["serving"]["max_sequences"] == 8
    assert data["serving"]["prefetch"] == "off"


def test_vllm_has_a_sequence_for_each_client_of_a_closed_loop() -> None:
    files = files_of("moe", "vllm", "closed-loop", clients=32)

    assert "--max-num-seqs 32" in files["run.sh"]


# Options with which a file is short, or its layers are mapped quickly.
_SHORT = {
    "accelerator": {"layers": "1"},
    "cpu": {"instructions": "2000"},
    "dram": {"requests": "20"},
    "moe": {"requests": "2", "output_tokens": "2"},
    "translation": {"records": "1000"},
}
_SPACES = [
    pytest.param("accelerator", None, {}, marks=pytest.mark.slow),
    *((name, None, {}) for name in ("cluster", "cpu", "dram", "moe", "soc", "translation")),
    ("dram", None, {"device": "ddr5"}),
    ("dram", "dramsys", {}),
    *(("moe", space, {}) for space in ("single-server", "expert-parallel", "closed-loop")),
    ("soc", "archgym-2023", {}),
    ("translation", "limits", {}),
]


@pytest.mark.parametrize(("name", "space", "options"), _SPACES)
def test_parameters_that_a_file_lacks_are_listed(
    name: str, space: str | None, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files do not depend on results.
    monkeypatch.setattr(Simulator, "_simulated", in_place_of_models)
    given: dict[str, Any] = _SHORT.get(name, {}) | options
    simulator = make_simulator(simulator_class(name), space, None, given)
    monkeypatch.setattr(type(simulator), "check", lambda *_: None, raising=False)
    monkeypatch.setattr(type(simulator), "laws", lambda *_: {}, raising=False)
    indices, workload = (
        simulator.space.default_indices,
        simulator.workload(default_workload(simulator)),
    )
    # Layers are mapped for each design.
    mapped = {"timeloop", "traffic"} if name == "accelerator" else set()
    for form in simulator.spec.exports.keys() - mapped:
        try:
            left = left_out(simulator, form, indices, workload)
        except InvalidDesignError:
            continue
        if form not in simulator.spec.partial_exports:
            assert left == {}, form
            continue
        task = Task.make(name, space=space, **given)
        text = "\n".join(export_design(task, indices, form).files.values())
        for parameter, value in left.items():
            assert f"The format has no place for {parameter} = {value}." in text, form


def test_readme_lists_what_vllm_lacks() -> None:
    task = Task.make("moe", space="closed-loop", requests="2", output_tokens="2")

    notes = export_design(task, task.space.default_indices, "vllm").notes

    assert any(line.startswith("The format has no place for scheduler = ") for line in notes)
