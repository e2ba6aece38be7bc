"""The simulator's spaces, workloads and metrics."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, StorageError, UnknownNameError
from archgym.evaluation.simulator import Workload, default_workload
from archgym.simulators.moe import Routing
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.space import GROUPS, SPACE_NAMES
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.routing_trace import write_routing
from archgym.simulators.moe.workloads.workload import Asked
from archgym.studies.study import Study
from archgym.tasks.task import Task

GOLDEN = resources.files("archgym.simulators.moe").joinpath("data/golden.csv")


def _golden() -> list[dict[str, str]]:
    with GOLDEN.open("r", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    "row", _golden(), ids=lambda row: f"{row['space']}-{row['workload']}-{row['number']}"
)
def test_golden_rows_stay(row: dict[str, str]) -> None:
    simulator = MoeSimulator(row["space"])
    indices = np.array([int(i) for i in row["indices"].split()], dtype=np.int64)

    result = simulator.evaluate_batch(indices[None, :], simulator.workload(row["workload"]))

    assert result.reason[0] == int(row["reason"])
    for place, spec in enumerate(simulator.metrics):
        # Metrics that only explain, and depend on prices, have no column.
        if row.get(spec.name):
            assert result.values[0, place] == pytest.approx(
                float(row[spec.name]), rel=1e-9, abs=1e-9
            )


def test_golden_rows_cover_every_space_and_both_outcomes() -> None:
    rows = _golden()

    assert {row["space"] for row in rows} == set(SPACE_NAMES)
    assert {int(row["reason"]) for row in rows} >= {0, 1}


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_groups_divide_each_space(space: str) -> None:
    simulator = MoeSimulator(space)
    grouped = [name for members in simulator.spec.groups.values() for name in members]

    assert sorted(grouped) == sorted(simulator.space.names)
    assert set(simulator.spec.groups) <= set(GROUPS)


def test_table_space_has_some_twenty_thousand_designs() -> None:
    counted = MoeSimulator("edge-offload-table").space.count()

    assert counted.exact
    assert 15_000 <= counted.value <= 30_000


def test_better_designs_than_the_default_exist_on_the_edge() -> None:
    simulator = MoeSimulator("edge-offload")
    workload = simulator.workload("chat")
    default = simulator.space.design_at(simulator.space.default_indices)
    better = {**default, "expert_bits": 4, "cache_percent": 40, "cpu_rule": "faster"}

    tpot = [simulator.evaluate(design, workload)["tpot_mean_ms"] for design in (default, better)]

    assert tpot[1] < 0.25 * tpot[0]


@pytest.mark.parametrize(("workload", "pays"), [("rush", False), ("one-topic", True)])
def test_copies_of_experts_pay_where_prompts_like_the_same_ones(workload: str, pays: bool) -> None:
    simulator = MoeSimulator("expert-parallel")
    asked = simulator.workload(workload)
    default = simulator.space.design_at(simulator.space.default_indices)
    base = {**default, "placement": "balanced", "max_tokens": 16384}

    rate = [
        simulator.evaluate({**base, "redundant": copies}, asked)["output_per_s"]
        for copies in (0, 1)
    ]

    assert (rate[1] > 1.1 * rate[0]) == pays
    assert (rate[1] < rate[0]) != pays


def test_rounds_of_experts_are_a_knob_of_the_edge() -> None:
    simulator = MoeSimulator("edge-offload", hardware="a6000", model="olmoe-1b-7b")
    workload = simulator.workload("chat")
    design = {**simulator.space.design_at(simulator.space.default_indices), "rounds": 4}

    assert simulator.evaluate(design, workload)["tpot_mean_ms"] > 0
    # Two experts of a token cannot be used in four rounds.
    two = MoeSimulator("edge-offload", hardware="a6000", model="mixtral-8x7b")
    assert "rounds" in str(two.evaluate(design, two.workload("chat")).infeasible)


def test_prefetches_that_end_after_the_last_token_are_cut_off() -> None:
    # The link is busy all the time, and experts on the processor do not wait for its queue.
    task = Task.make("moe", "chat", space="edge-offload")
    indices = np.array([[0, 2, 1, 5, 5, 3, 3, 0, 1, 1, 1, 4, 0, 1, 1, 0, 4, 3, 1, 4, 1]])
    design = task.space.design_at(indices[0])
    assert (design["prefetch"], design["link_order"], design["cpu_rule"]) == (
        "adaptive",
        "fifo",
        "faster",
    )

    found = task.evaluate(indices)

    assert np.isfinite(found.reward).all()


def test_run_tells_hits_layer_by_layer() -> None:
    simulator = MoeSimulator("edge-offload-table")
    design = simulator.space.design_at(simulator.space.default_indices)

    found = simulator.run(design, simulator.workload("turns"))

    assert found.layer_hits.shape == (28,)
    assert (found.layer_hits <= found.layer_accesses).all()
    assert found.layer_accesses.min() > 0


def test_a_trace_of_routing_is_a_workload(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    experts = np.argsort(rng.random((60, 2, 8)), axis=2)[:, :, :2].astype(np.int16)
    starts = np.array([0, 20, 60], dtype=np.int64)
    path = tmp_path / "tiny.routing.npz"
    write_routing(path, Routing(experts, starts, 8, "tiny"))
    simulator = MoeSimulator("edge-offload")
    design = simulator.space.design_at(simulator.space.default_indices)

    workload = simulator.workload(path)
    metrics = simulator.evaluate(design, workload)

    # A quarter of each document is its prompt; what it writes last is not in the document.
    assert workload.content.requests.prompt_tokens.tolist() == [5, 10]
    assert workload.content.requests.output_tokens.tolist() == [16, 31]
    assert metrics["tpot_mean_ms"] > 0


def test_a_trace_of_requests_is_a_workload(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,8,4\n1.5,6,3\n")
    simulator = MoeSimulator("edge-offload")
    design = simulator.space.design_at(simulator.space.default_indices)

    workload = simulator.workload(path)

    assert len(workload.content.requests) == 2
    assert simulator.evaluate(design, workload)["output_per_s"] > 0


def test_what_is_no_workload_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "torn.npz"
    path.write_bytes(b"PK\x03\x04 torn")
    simulator = MoeSimulator()

    with pytest.raises(FileFormatError, match=r"torn\.npz"):
        simulator.workload(path)
    with pytest.raises(UnknownNameError, match="chat"):
        simulator.workload("chatt")


@pytest.mark.parametrize("ending", [".csv", ".routing.npz"])
def test_folder_or_pipe_as_a_workload_is_called_what_it_is(tmp_path: Path, ending: str) -> None:
    simulator = MoeSimulator()
    folder, pipe = tmp_path / f"folder{ending}", tmp_path / f"pipe{ending}"
    folder.mkdir()
    os.mkfifo(pipe)

    for path, words in ((folder, "a folder"), (pipe, "a named pipe")):
        with pytest.raises(StorageError, match=words):
            simulator.workload(path)


def test_what_would_take_for_ever_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    lines = "".join(f"{n},9000000,9\n" for n in range(6))
    path.write_text(f"arrival_s,prompt_tokens,output_tokens\n{lines}")
    huge = tmp_path / "huge.yaml"
    huge.write_text("model: {preset: olmoe-1b-7b, layers: 1000, moe_layers: 1000, experts: 4096}\n")

    with pytest.raises(FileFormatError, match="at most 50,000,000 tokens"):
        MoeSimulator().workload(path)
    with pytest.raises(InvalidArgumentError, match="1000 times 4096"):
        MoeSimulator(model=str(huge)).workload("chat")


def test_hardware_and_model_are_options() -> None:
    simulator = MoeSimulator("edge-offload", hardware="a6000", model="olmoe-1b-7b")
    design = simulator.space.design_at(simulator.space.default_indices)

    metrics = simulator.evaluate(design, simulator.workload("chat"))

    assert simulator.options == {"hardware": "a6000", "model": "olmoe-1b-7b"}
    assert metrics["memory_gb"] < 6


def test_hardware_is_refused_where_designs_choose_it() -> None:
    with pytest.raises(InvalidArgumentError, match=r"left out in space 'three-tier'"):
        MoeSimulator("three-tier", hardware="dgx-h100")


def test_model_of_many_layers_is_no_composition() -> None:
    simulator = MoeSimulator("three-tier", model="mixtral-8x7b")

    with pytest.raises(InvalidArgumentError, match=r"1 layer with experts.*mixtral-8x7b has 32"):
        simulator.workload("mixed-tenants")


def test_what_files_of_options_hold_is_part_of_a_workload(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    digests = []
    for gb_per_s in (7, 3, 7):
        path.write_text(f"hardware: {{preset: a6000, ssd: {{gb_per_s: {gb_per_s}}}}}\n")
        digests.append(MoeSimulator(hardware=str(path)).workload("chat").digest)
    for hidden in (2048, 1024):
        path.write_text(f"model: {{preset: olmoe-1b-7b, hidden: {hidden}}}\n")
        digests.append(MoeSimulator(model=str(path)).workload("chat").digest)
    digests.append(MoeSimulator().workload("chat").digest)

    assert digests[0] == digests[2]
    assert len(set(digests)) == 5


@pytest.mark.parametrize("option", ["hardware", "engine"])
def test_study_is_not_resumed_with_another_file_of_an_option(option: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    same = tmp_path / "same.yaml"
    same.write_text("hardware: {preset: l40s}\n")
    options = {"hardware": str(same), "model": "olmoe-1b-7b", option: str(path)}
    # Neither changes the default design's metrics, which are recorded with it.
    contents = {
        "hardware": [f"hardware: {{preset: l40s, ssd: {{gb_per_s: {n}}}}}\n" for n in (7, 3)],
        "engine": [f"engine: {{like: ideal, max_tokens: {n}}}\n" for n in (4096, 8192)],
    }[option]
    path.write_text(contents[0])
    task = Task.make("moe", space="edge-offload-table", **options)
    Study.create(tmp_path / "study", task, agent="random", budget=1)

    path.write_text(contents[1])

    words = rf"`workloads` differs now: changed is the file of option `{option}`, .*own\.yaml\. Use"
    with pytest.raises(InvalidArgumentError, match=words):
        Study.open(tmp_path / "study")
    # Studies of earlier versions have no checksums of files.
    earlier = {name: value for name, value in task.to_json().items() if name != "files"}
    words = rf"`workloads` differs now, or the file of .*option `{option}`, .*own\.yaml"
    with pytest.raises(InvalidArgumentError, match=words):
        Task.from_json(earlier)
    path.write_text(contents[0])
    assert Study.open(tmp_path / "study").task.digest == task.digest


def test_making_a_simulator_imports_nothing_heavy() -> None:
    code = (
        "import sys; from archgym.simulators.moe.simulator import MoeSimulator; "
        "MoeSimulator(); "
        "print(sorted({'numba', 'scipy', 'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


def test_few_and_short_requests_are_options_of_the_task() -> None:
    short = MoeSimulator("single-server", requests="4", output_tokens="3")

    assert short.options == {"requests": "4", "output_tokens": "3"}
    requests = short.workload("bursts").content.requests
    whole = MoeSimulator("single-server").workload("bursts").content.requests
    assert len(whole) == 40
    assert (requests.arrival_ns == whole.arrival_ns[:4]).all()
    assert requests.output_tokens.tolist() == [3, 3, 3, 3]
    assert (requests.prompt_tokens == whole.prompt_tokens[:4]).all()


@pytest.mark.parametrize("option", ["requests", "output_tokens"])
@pytest.mark.parametrize("text", ["0", "1.5", "few"])
def test_numbers_of_requests_and_tokens_must_be_whole(option: str, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{option}` must be"):
        MoeSimulator(**{option: text})


def _asked(simulator: MoeSimulator, n: int, prompt: int, output: int) -> Workload:
    """Return requests that come at once."""
    known: Asked = simulator.workload(default_workload(simulator)).content
    tokens = [np.full(n, each, np.int32) for each in (prompt, output)]
    asked = replace(known, requests=Requests(np.zeros(n, np.int64), *tokens))
    return Workload("own", f"{n} x {prompt}+{output}", replace(asked, longest=prompt + output))


def test_prompt_longer_than_a_step_is_split_as_engines_do() -> None:
    simulator = MoeSimulator("expert-parallel")
    default = dict(simulator.space.default)

    run = simulator.run(default, _asked(simulator, 1, 5000, 1))

    # 2,048, 2,048 and 904 tokens.
    assert (default["max_tokens"], default["chunk_tokens"]) == (2048, 0)
    assert run.counters["n_steps"] == 3


def test_long_prompts_do_not_serve_one_request_at_a_time() -> None:
    simulator = MoeSimulator("expert-parallel")
    asked = _asked(simulator, 24, 4096, 16)
    default = dict(simulator.space.default)

    rate = [
        simulator.evaluate({**default, "max_tokens": tokens}, asked)["output_per_s"]
        for tokens in (2048, 8192)
    ]

    # Before it was a seventh and less.
    assert rate[0] > 0.7 * rate[1]


def test_engine_that_splits_no_prompt_refuses_one_that_no_step_holds() -> None:
    simulator = MoeSimulator("expert-parallel", engine="trt-llm")
    asked = _asked(simulator, 2, 4096, 4)
    default = dict(simulator.space.default)

    refused = simulator.evaluate({**default, "max_tokens": 2048}, asked)
    served = simulator.evaluate({**default, "max_tokens": 8192}, asked)

    assert "the engine splits none" in str(refused.infeasible)
    assert served["output_per_s"] > 0
