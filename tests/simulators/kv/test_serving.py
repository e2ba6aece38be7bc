"""Serving in time: fixed steps, closed loop, tiers, routing, settings of other tools."""

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from archgym.cli.app import run
from archgym.errors import InvalidDesignError
from archgym.evaluation.capabilities import exported
from archgym.evaluation.options import declared_options
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv.analysis import analyse, live_blocks, memory_for
from archgym.simulators.kv.machine import deployment
from archgym.simulators.kv.simulator import FORMATS, GB, TOOLS
from archgym.simulators.kv.workloads.traces import stream_blocks
from archgym.simulators.moe.kernel.step_time import step_contents
from archgym.simulators.moe.machine.columns import FIRST_NS


def served(options: dict[str, Any] | None = None, **changes: Any) -> Any:
    simulator = KvSimulator("serving", **(options or {}))
    design = {**simulator.space.design_at(simulator.space.default_indices), **changes}
    return simulator.evaluate(design, simulator.workload("coding"))


@pytest.mark.slow
def test_memory_below_gives_back_what_small_memory_loses() -> None:
    # An RTX 4090 keeps about 40,000 tokens, less than a live context.
    small = {"hardware": "rtx-4090", "last": "120", "live": "4"}

    alone, with_dram = served(small), served(small, dram_gb=128)

    assert with_dram["loaded_percent"] > 5.0
    assert with_dram["found_percent"] > alone["found_percent"] + 5.0
    assert with_dram["ttft_p50_ms"] < alone["ttft_p50_ms"]
    assert with_dram["dram_moved_gb"] > 0.0
    assert with_dram["usd_per_hour"] > alone["usd_per_hour"]


def test_prefetch_is_no_choice_with_one_tier() -> None:
    # Before, it moved nothing there, and no one was told.
    space = KvSimulator("serving").space
    default, place = dict(space.design_at(space.default_indices)), space.names.index("prefetch")
    sizes = [name for name in space.names if name.endswith("_gb")]
    for names in (each for n in range(3) for each in combinations(sizes, n)):
        most = {name: space.parameter(name).value(2) for name in names}
        row = space.indices_of({**default, **most})[None, :]

        assert space.active(row)[0, place] == (len(names) == 2), names


@pytest.mark.slow
def test_routing_by_prefix_finds_more_than_turns_in_order() -> None:
    by_turn = served(workers=4, routing="round-robin")
    by_prefix = served(workers=4, routing="prefix-aware")

    assert by_prefix["hit_percent"] > by_turn["hit_percent"]
    assert by_prefix["ttft_p90_ms"] < by_turn["ttft_p90_ms"]


@pytest.mark.slow
def test_slow_answers_delay_the_next_turn_in_a_closed_loop() -> None:
    closed = served({"hardware": "l40s", "last": "100"})
    nominal = served({"hardware": "l40s", "last": "100", "arrivals": "nominal"})

    assert closed["duration_s"] != nominal["duration_s"]
    assert closed["ttft_p90_ms"] <= nominal["ttft_p90_ms"]


def test_workers_beyond_the_server_cannot_be_built() -> None:
    found = served({"hardware": "h200"}, workers=2)

    assert found.infeasible is not None
    assert "fewer accelerators" in found.infeasible


def test_batch_is_what_memory_admits(capfd: pytest.CaptureFixture[str]) -> None:
    command = ["kv", "memory", "coding-long", "--live", "24", "--hardware", "h200", "--json"]
    with pytest.raises(SystemExit) as ended:
        run(command)
    answer = json.loads(capfd.readouterr().out)

    assert ended.value.code == 0
    made = deployment("h200", "llama-3.1-8b", "bf16", "vllm", "", 1)
    mean_tokens = answer["contexts_gib"] * 2**30 / made.kv_bytes / 24
    # The next larger batch of mean contexts does not fit.
    assert answer["sequences_in_engine"] * mean_tokens <= made.max_tokens * 1.001
    assert (answer["sequences_in_engine"] + 1) * mean_tokens > made.max_tokens * 0.999
    assert answer["server_gib"] == pytest.approx(made.max_tokens * made.kv_bytes / 2**30)


def memory(capfd: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    """Runs `kv memory` on few sessions: exit code, output and errors."""
    with pytest.raises(SystemExit) as ended:
        run(["kv", "memory", "coding-long", "--live", "24", "--hardware", "h200", *options])
    return (int(ended.value.code or 0), *capfd.readouterr())


def test_options_of_memory_count(capfd: pytest.CaptureFixture[str]) -> None:
    plain, half, other = (
        json.loads(memory(capfd, "--json", *options)[1])
        for options in ((), ("-o", "kv_bytes_per_token=65536"), ("-o", "engine=sglang"))
    )

    assert half["contexts_gib"] == pytest.approx(plain["contexts_gib"] / 2)
    assert half["server_gib"] == plain["server_gib"]
    assert half["sessions_in_server"] == pytest.approx(2 * plain["sessions_in_server"], abs=1)
    assert half["memory"][0]["gib"] == pytest.approx(plain["memory"][0]["gib"] / 2)
    of_sglang = deployment("h200", "llama-3.1-8b", "bf16", "sglang", "", 1)
    assert other["server_gib"] * 2**30 == pytest.approx(of_sglang.max_tokens * of_sglang.kv_bytes)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("model=qwen3-8b", "Use --model."),
        ("hardware=h100", "Use --hardware."),
        ("precision=fp8", "Use --precision."),
        ("live=3", "Use --live."),
        ("block_tokens=16", "Use --block."),
        ("gpu_watts=3", "'gpu_watts' makes no difference here"),
    ],
)
def test_options_that_memory_would_ignore_are_refused(
    capfd: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    code, _, errors = memory(capfd, "-o", option)

    assert code == 1
    assert words in errors
    assert len(errors.splitlines()) == 1


def test_dense_weights_of_4_bits_leave_more_room() -> None:
    wide, narrow = (
        deployment("h200", "llama-3.1-8b", precision, "vllm", "", 1)
        for precision in ("bf16", "int4")
    )

    # Before, both were equal: 5.6 billion weights save 11.75 bits each, a token has 131,072 bytes.
    assert narrow.max_tokens - wide.max_tokens == pytest.approx(63_170, rel=0.01)


def test_trace_without_sessions_is_sent_to_the_analysis(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["kv", "memory", "chat"])

    assert ended.value.code == 1
    assert "must have sessions" in (said := capfd.readouterr().err)
    assert "archgym kv analyse chat" in said


def test_picture_of_another_kind_is_refused_before_work(capfd: pytest.CaptureFixture[str]) -> None:
    for command in (["analyse", "coding"], ["memory", "coding"], ["try", "coding"]):
        with pytest.raises(SystemExit) as ended:
            run(["kv", *command, "--out", "hits.gif"])

        assert ended.value.code != 0
        assert "must end in .svg, .png or .pdf" in capfd.readouterr().err


@pytest.mark.slow
def test_designs_are_named_by_all_that_differs_from_the_default(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "designs.svg"
    with pytest.raises(SystemExit):
        run(["kv", "try", "coding", "-o", "last=40", "--set", "workers=2", "--case", "dram_gb=64",
             "--json", "--out", str(picture)])  # fmt: skip

    designs = [row["design"] for row in json.loads(capfd.readouterr().out)]
    assert designs == ["workers=2", "workers=2, dram_gb=64"]
    assert "workers=2, dram_gb=64" in picture.read_text()


def read_settings(form: str, path: Path) -> dict[str, Any]:
    """Return the values by parameter that a tool's file states.

    Args:
      form: One of `FORMATS`.
      path: File that `export` wrote.
    """
    members, found = yaml.safe_load(path.read_text()), dict[str, Any]()
    for setting in TOOLS[form]["settings"]:
        if setting["key"] not in members:
            continue
        value = members[setting["key"]]
        if "names" in setting:
            value = {theirs: ours for ours, theirs in setting["names"].items()}[value]
        elif "unit" in setting:
            value = round(float(value) / GB[setting["unit"]])
        found[setting["parameter"]] = value
    role = TOOLS[form].get("role", {"key": "", "prefill": ""})
    if members.get(role["key"]) == role["prefill"] and "workers" in found:
        found["prefill_workers"] = found.pop("workers")
    return found


@pytest.mark.parametrize("form", sorted(FORMATS.keys() - {"dynamo"}))
def test_settings_read_back(form: str, tmp_path: Path) -> None:
    simulator = KvSimulator("serving")
    design = {
        **simulator.space.design_at(simulator.space.default_indices),
        "dram_gb": 512, "flash_gb": 4000, "workers": 2, "tensor": 2, "max_seqs": 128,
        "routing": "prefix-aware", "policy": "lru", "write": "on-eviction", "prefetch": "on",
        "reload": "blocking", "prefill_workers": 1,
    }  # fmt: skip
    indices = simulator.space.indices_of(design)
    made = exported(simulator, form, indices, simulator.workload("coding"))
    files = {name: text for name, text in made.items() if name.endswith(".yaml")}

    # LMCache's file is the same for all engines.
    assert len(files) == (1 if form == "lmcache" else 2)
    for name, text in files.items():
        path = tmp_path / name
        path.write_text(text)
        found = read_settings(form, path)

        assert found
        assert ("prefill_workers" in found) == name.startswith("prefill-")
        for parameter, value in found.items():
            assert value == design[parameter], parameter


def test_settings_have_the_names_that_the_tools_read() -> None:
    # Looked up in LMCache (lmcache/v1/config.py, 000620e) and Dynamo (backend_args.py, d195d28;
    # router_args.py, 028cab4). Before, Dynamo's own `least-loaded` was refused.
    simulator = KvSimulator("serving")
    default = simulator.space.design_at(simulator.space.default_indices)
    design = {
        **default, "dram_gb": 64, "reload": "blocking", "workers": 2, "prefill_workers": 1,
        "routing": "least-loaded",
    }  # fmt: skip

    def files_of(form: str) -> Mapping[str, str]:
        return exported(simulator, form, simulator.space.indices_of(design), workload)

    workload = simulator.workload("coding")
    lmcache = yaml.safe_load(files_of("lmcache")["lmcache.yaml"])
    dynamo = files_of("dynamo")["run.sh"]

    assert lmcache["use_layerwise"] is False
    assert lmcache["local_cpu"] is True
    assert "export DYN_ROUTER_MODE=least-loaded\n" in dynamo
    assert "--disaggregation-mode ${ROLE:-decode}" in dynamo


def test_sizes_of_caches_are_settings_of_the_engines() -> None:
    # 2**20 tokens of 131,072 bytes are 128 GiB.
    files = {}
    for space, form in (("vllm", "vllm"), ("offload", "vllm"), ("sglang", "sglang")):
        made = KvSimulator(space)
        design = {**made.space.design_at(made.space.default_indices), "cache_tokens": 2**18}
        found = exported(made, form, made.space.indices_of(design), made.workload("coding"))
        files[space] = yaml.safe_load(found[f"{form}.yaml"]), design

    found, design = files["vllm"]
    assert found["num-gpu-blocks-override"] == 2**18 // int(str(design["block_tokens"]))
    assert files["sglang"][0]["max-total-tokens"] == 2**18
    found, design = files["offload"]
    assert found["kv-offloading-size"] == int(str(design["host_tokens"])) * 131_072 / 2**30


def test_policy_that_an_engine_lacks_is_refused() -> None:
    simulator = KvSimulator("serving")
    default = simulator.space.design_at(simulator.space.default_indices)
    indices = simulator.space.indices_of({**default, "policy": "arc"})

    with pytest.raises(InvalidDesignError, match="no setting for policy='arc'"):
        exported(simulator, "vllm", indices, simulator.workload("coding"))


def test_analysis_names_the_cause_of_misses() -> None:
    simulator = KvSimulator("vllm")
    made = stream_blocks(simulator.workload("coding").content, simulator.settings, 64)

    found = analyse(made, 8, ("lru", "priority"))

    for name, hits in found.curves.items():
        pairs = zip(hits, found.curves["optimum"], strict=True)
        assert all(ours <= best for ours, best in pairs), name
    assert found.live_blocks == live_blocks(made.stream, 64, 8)
    assert found.curves["optimum"][-1] == pytest.approx(found.reusable_percent)
    needed = memory_for(found, "optimum", 95.0)
    assert needed is not None
    lru = memory_for(found, "lru", 95.0)
    assert lru is None or lru >= needed


def test_workers_that_share_experts_read_fewer_weights(tmp_path: Path) -> None:
    options = {"hardware": "2x-rtx-pro-6000", "model": "qwen3-30b-a3b"}
    # All prompts come first: workers that share experts wait for prompts of each other.
    trace = alone(tmp_path, 512, n=32, output=400, apart_ms=0)

    apart, together = (
        run_alone(trace, {**options, "spread": s}, workers=2) for s in ("false", "true")
    )

    # Each holds half of the experts: more room for keys and values, and shorter steps.
    assert together["cache_gib"] > 1.3 * apart["cache_gib"]
    assert together["tpot_p50_ms"] < apart["tpot_p50_ms"]


def test_dense_model_has_no_experts_to_share() -> None:
    plain = deployment("hgx-h200", "llama-3.1-8b", "bf16", "vllm", "", 1, 1)
    shared = deployment("hgx-h200", "llama-3.1-8b", "bf16", "vllm", "", 1, 4)

    assert (shared.max_tokens, shared.kv_bytes) == (plain.max_tokens, plain.kv_bytes)


def alone(folder: Path, prompt: int, n: int = 1, output: int = 1, apart_ms: int = 60_000) -> Path:
    """Return a trace of requests that share nothing and come one after the other."""
    line = {"input_length": prompt, "output_length": output, "hash_ids": []}
    path = folder / "alone.jsonl"
    path.write_text("\n".join(json.dumps({"timestamp": apart_ms * i, **line}) for i in range(n)))
    return path


def run_alone(trace: Path, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    simulator = KvSimulator("serving", **(options or {}))
    design = {**simulator.space.design_at(simulator.space.default_indices), **changes}
    return simulator.evaluate(design, simulator.workload(trace))


def test_first_token_of_an_idle_server_takes_handling_and_a_step(tmp_path: Path) -> None:
    costs = deployment("hgx-h200", "llama-3.1-8b", "bf16", "vllm", "", 1).costs
    step_ms = 1e-6 * costs.times_ns(step_contents([(0, 3000)], [])[None])[0]

    found = run_alone(alone(tmp_path, 3000))

    assert costs.costs[FIRST_NS] > 0.0
    assert found["ttft_p50_ms"] == pytest.approx(1e-6 * costs.costs[FIRST_NS] + step_ms)


def test_request_that_finds_others_decoding_misses_the_step_that_is_planned(tmp_path: Path) -> None:
    costs = deployment("hgx-h200", "llama-3.1-8b", "bf16", "vllm", "", 1).costs
    trace = alone(tmp_path, 3000, n=2, output=1000, apart_ms=3000)
    # The first one has written about 500 tokens when the second one comes.
    step_ms, both_ms = 1e-6 * costs.times_ns(
        np.array([step_contents([], [3500]), step_contents([(0, 3000)], [3500])])
    )
    found = run_alone(trace)
    first = run_alone(alone(tmp_path, 3000))["ttft_p50_ms"]

    second = 2 * found["ttft_p50_ms"] - first
    waited = second - both_ms - 1e-6 * costs.costs[FIRST_NS]
    # That one, and the rest of the step under way.
    assert 0.9 * step_ms <= waited <= 2.1 * step_ms


def test_prefill_workers_hand_each_prompt_over_once(tmp_path: Path) -> None:
    made = deployment("hgx-h200", "llama-3.1-8b", "bf16", "vllm", "", 1)
    trace = alone(tmp_path, 3000, n=3, output=9)
    # 3,000 tokens are 47 blocks of 64.
    block_gb = 64 * made.kv_bytes / 1e9
    last_ms = 1e-6 * made.costs.times_ns(step_contents([(2999, 1)], [])[None])[0]

    one, apart = run_alone(trace), run_alone(trace, prefill_workers=1)

    assert apart["handed_gb"] == pytest.approx(3 * 47 * block_gb)
    assert one["handed_gb"] == 0.0
    # The second engine computes the last token again, which gives the first one of the output.
    more_ms = 47 * block_gb / made.peer_gb_per_s * 1e3 + last_ms
    assert apart["ttft_p50_ms"] == pytest.approx(one["ttft_p50_ms"] + more_ms)
    assert apart["tpot_p50_ms"] == pytest.approx(one["tpot_p50_ms"])
    assert apart["usd_per_hour"] == pytest.approx(2 * one["usd_per_hour"])


@pytest.mark.slow
def test_decoding_is_not_disturbed_where_prompts_are_read_apart() -> None:
    # Blocks that preemption takes away are computed again where they are needed.
    options = {"hardware": "2x-rtx-pro-6000", "last": "150", "live": "20"}

    together, apart = served(options, workers=2), served(options, prefill_workers=1)

    assert apart["tpot_p90_ms"] < together["tpot_p90_ms"]
    assert apart["rejected"] == together["rejected"] == 0
    assert apart["handed_gb"] > 0.0
    assert apart["hit_percent"] <= 100.0


@pytest.mark.slow
def test_every_request_is_served_whatever_the_design() -> None:
    simulator = KvSimulator("serving", last=60, live=12)
    workload, space = simulator.workload("coding"), simulator.space
    outputs = sum(stream_blocks(workload.content, simulator.settings, 64).stream.arrivals.output)
    rng = np.random.default_rng(0)
    drawn = space.sample(24, rng)

    result = simulator.evaluate_batch(drawn, workload)

    served = 0
    column = {spec.name: result.values[:, i] for i, spec in enumerate(simulator.metrics)}
    for row, indices in enumerate(drawn):
        if result.reason[row] != 0:
            continue
        served += 1
        apart = space.design_at(indices)["prefill_workers"] != 0
        assert column["rejected"][row] == 0.0
        written = column["output_per_s"][row] * column["duration_s"][row]
        assert written == pytest.approx(outputs)
        assert (column["handed_gb"][row] > 0.0) == apart
        assert column["found_percent"][row] <= 100.0
    assert served > 5


def test_requests_above_the_memory_of_a_worker_are_told(tmp_path: Path) -> None:
    line = {"timestamp": 0, "output_length": 2, "hash_ids": []}
    one, both = tmp_path / "one.jsonl", tmp_path / "both.jsonl"
    large = json.dumps({**line, "input_length": 300_000})
    one.write_text(large)
    both.write_text(large + "\n" + json.dumps({**line, "input_length": 3000}))

    # Before, it counted as served within 0 ms.
    found = run_alone(one, {"hardware": "rtx-4090"})
    with collected_reductions() as notes:
        some = run_alone(both, {"hardware": "rtx-4090"})

    assert found.infeasible is not None
    assert "smaller than every request" in found.infeasible
    assert some["rejected"] == 1.0
    # A composition has the metric by another name, so that no option is printed.
    assert any("limit the metric `rejected` to 0" in note for note in notes)


def test_analysis_of_prompts_without_a_common_beginning_says_so(tmp_path: Path) -> None:
    content = KvSimulator("vllm").workload(alone(tmp_path, 640, n=9)).content

    found = analyse(stream_blocks(content, KvSimulator("vllm").settings, 64), 8, ("lru",))

    # Before: "nearly all blocks that can be hits are".
    assert "no prompt begins like an earlier one" in found.diagnosis


def test_name_near_that_of_a_policy_is_suggested(capfd: pytest.CaptureFixture[str]) -> None:
    # For a while, only all names were listed.
    with pytest.raises(SystemExit):
        run(["kv", "analyse", "chat", "--policy", "arcs"])

    assert "Did you mean 'arc'" in capfd.readouterr().err


def test_sizes_of_a_step_have_units() -> None:
    found = {option.name: option.option.unit for option in declared_options(KvSimulator)}

    assert found["step_ms"] == "ms"
    assert found["token_budget"] == "token"


def test_value_that_a_tried_design_ignores_is_told(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        run(["kv", "try", str(alone(tmp_path, 640)), "--case", "routing=sticky"])

    assert "`routing` is inactive in this design" in capfd.readouterr().err
