"""Designs read from files of tools: every export comes back, and hostile files end in a line."""

import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import archgym as ag
from archgym.cli.app import app
from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
)
from archgym.evaluation.capabilities import Stating, stated_settings
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.files.tool_texts import command_options
from archgym.report.export import export_design
from archgym.tasks.task import Task
from archgym.tasks.tool_files import design_of_files, states_design

READERS = [name for name in simulator_names() if issubclass(simulator_class(name), Stating)]
SPACES = [(name, space) for name in READERS for space in simulator_class(name).spec.space_names]
# The default cluster has more stages than its default model has layers; traffic takes long to make.
FEW = {"cluster": "network", "accelerator": "systolic"}
_TRIES = 12


def read_back(task: Task, form: str, folder: Path, rng: np.random.Generator) -> bool:
    """Export a drawn design, read it, and compare what both say; return False if none exports."""
    for _ in range(_TRIES):
        indices = task.space.canonical(task.space.sample(1, rng))[0]
        workload = task.workloads[0].workload
        try:
            settings = stated_settings(task.simulator, form, indices, workload)
            files = export_design(task, indices, form)
        except (InvalidDesignError, SimulatorError):
            continue
        name = next(iter(files.files)) if len(files.files) == 1 else form
        files.write(folder / name)
        found = design_of_files(task, folder / name)
        assert found.form == form
        again = task.space.indices_of(found.design)
        assert stated_settings(task.simulator, form, again, workload) == settings
        return True
    return False


@pytest.mark.parametrize("name", READERS)
def test_an_exported_design_is_read_back(name: str, tmp_path: Path) -> None:
    space = FEW.get(name)
    task = Task.make(make_simulator(simulator_class(name), space, None, {}))
    rng = np.random.default_rng(7)

    read = [
        read_back(task, form, tmp_path, rng)
        for form in task.simulator.spec.exports
        if form != "traffic"
    ]

    assert any(read)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "space"), SPACES)
def test_designs_of_every_space_are_read_back(name: str, space: str, tmp_path: Path) -> None:
    task = Task.make(make_simulator(simulator_class(name), space, None, {}))
    rng = np.random.default_rng(8)

    for form in task.simulator.spec.exports:
        for number in range(3 if form != "traffic" else 0):
            read_back(task, form, tmp_path / f"{form}{number}", rng)


def test_held_parameters_and_a_devices_family_are_read(tmp_path: Path) -> None:
    task = Task.make("dram", device="lpddr5", fixed={"channels": 2})
    design = {**task.space.default, "row_policy": "ClosedCAP", "read_queue": 16}
    indices = task.space.indices_of({k: v for k, v in design.items() if k in task.space.names})
    export_design(task, indices, "ramulator").write(tmp_path / "folder")

    found = design_of_files(task, tmp_path / "folder" / "memory.py")

    assert found.design == task.space.design_at(task.space.canonical(indices[None])[0])


def test_one_file_of_a_controller_leaves_the_rest_at_defaults_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"mcconfig": {"PagePolicy": "Closed", "Colour": "blue"}}')

    found = design_of_files(Task.make("dram", "cloud-1"), path)

    assert found.design["page_policy"] == "Closed"
    assert found.not_understood == ("mine.json: mcconfig.Colour = blue",)
    assert found.assumed["scheduler"] == ag.Task.make("dram").space.default["scheduler"]


def test_a_value_that_the_space_lacks_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text("vllm serve model --max-num-seqs 63\n")

    found = design_of_files(Task.make("kv", space="serving"), path)

    assert any("run.sh:1: max-num-seqs = 63" in line for line in found.not_understood)


def test_files_as_tools_ship_them_are_read(tmp_path: Path) -> None:
    network = tmp_path / "meshconfig"
    network.write_text("// Flow control\nnum_vcs = 2;\nvc_buf_size = 8;\nalloc_iters = 2;\n")
    system = tmp_path / "system.json"
    system.write_text('{"scheduling-policy": "FIFO", "preferred-dataset-splits": 16}')

    mesh = design_of_files(Task.make("noc", space="mesh"), network)
    cluster = design_of_files(Task.make("cluster", "bert-large", npus="8"), system)

    assert states_design(network)
    assert states_design(system)
    assert mesh.design["num_vcs"] == 2
    assert mesh.not_understood == ("meshconfig:4: alloc_iters",)
    assert (cluster.design["policy"], cluster.design["splits"]) == ("FIFO", 16)


def test_values_that_follow_from_what_is_left_out_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text("vllm serve model --tensor-parallel-size 8 --max-num-seqs 64\n")

    found = design_of_files(Task.make("moe", space="closed-loop"), path)

    # 16 bits have an option, and so have 8.
    assert found.implied["expert_bits"] == found.design["expert_bits"] == 4
    assert "Taken from what the files leave out: expert_bits=4" in found.notes[-1]


SPELLINGS = {
    "run.sh": [
        "vllm serve m --tensor-parallel-size 4 --max-num-seqs 64 --enable-expert-parallel",
        "vllm serve m -tp 4 --max_num_seqs=64 -ep",
        "vllm serve m --tensor_parallel_size=4 --max-num-seqs 64 \\\n  --enable-expert-parallel",
    ],
    "mine.yaml": [
        "tensor-parallel-size: 4\nmax-num-seqs: 64\nenable-expert-parallel: true\n",
        "tensor_parallel_size: 4\nmax_num_seqs: 64\nenable_expert_parallel: true\n",
    ],
}


def test_every_spelling_of_an_option_is_the_same_design(tmp_path: Path) -> None:
    task = Task.make("moe", space="closed-loop", clients="64")
    found = []
    for name, texts in SPELLINGS.items():
        for text in texts:
            (tmp_path / name).write_text(text)
            found.append(design_of_files(task, tmp_path / name))

    assert {each.form for each in found} == {"vllm"}
    assert all(each.design == found[0].design for each in found)
    assert all(each.not_understood == found[0].not_understood for each in found)
    assert found[0].design["tensor"] == 4


def test_short_options_of_other_commands_are_no_engines(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text("pip install -q vllm\npython3 -c 'import vllm'\nllama-server -c 4096\n")

    assert list(command_options(path.read_text())) == [("ctx-size", "4096", 3)]


def test_the_number_of_workers_that_prefill_is_read_from_a_command(tmp_path: Path) -> None:
    task = Task.make("kv", space="serving")
    design = {**task.space.default, "prefill_workers": 2, "workers": 4}
    indices = task.space.canonical(task.space.indices_of(design)[None])[0]
    files = export_design(task, indices, "dynamo")
    files.write(tmp_path / "folder")

    found = design_of_files(task, tmp_path / "folder")

    assert (found.design["workers"], found.design["prefill_workers"]) == (4, 2)
    assert not found.not_understood
    assert "the design has 2" in str(files.files["README.md"])


@pytest.mark.parametrize(
    ("option", "value"), [("", True), ("--enable-chunked-prefill", True), ("--no-", False)]
)
def test_a_switch_is_on_or_off_as_the_engine_has_it(
    option: str, value: bool, tmp_path: Path
) -> None:
    option = option.replace("--no-", "--no-enable-chunked-prefill")
    path = tmp_path / "run.sh"
    path.write_text(f"vllm serve m --max-num-seqs 64 {option}\n")
    task = Task.make("moe", space="closed-loop", clients="64")

    found = design_of_files(task, path)

    assert found.form == "vllm"
    assert (found.design["chunk_tokens"] > 0) is value


def test_a_simulation_is_read_with_the_files_that_it_names(tmp_path: Path) -> None:
    task = Task.make("dram", "cloud-1")
    indices = task.space.canonical(task.space.sample(1, np.random.default_rng(6)))[0]
    export_design(task, indices, "dramsys").write(tmp_path / "mine")
    (tmp_path / "configs" / "mcconfigs").mkdir(parents=True)
    outside = tmp_path / "configs" / "mcconfigs" / "outside.json"
    outside.write_text('{"mcconfig": {"PagePolicy": "Closed"}}')
    escaping = tmp_path / "mine" / "escaping.json"
    escaping.write_text('{"simulation": {"mcconfig": "../../outside.json", "n": 1}}')

    found = design_of_files(task, tmp_path / "mine" / "simulation.json")

    assert found.design == task.space.design_at(indices)
    assert "states no design" in refusal(task, escaping)


def test_two_values_of_a_setting_are_refused_with_both_files(tmp_path: Path) -> None:
    for name, policy in (("a.json", "Open"), ("b.json", "Closed")):
        (tmp_path / name).write_text(f'{{"mcconfig": {{"PagePolicy": "{policy}"}}}}')

    said = refusal(Task.make("dram", "cloud-1"), tmp_path)

    assert "has two values of mcconfig.PagePolicy, in a.json and b.json" in said


def test_many_settings_that_no_design_has_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    others = ", ".join(f'"Colour{number}": {number}' for number in range(100))
    path.write_text(f'{{"mcconfig": {{"PagePolicy": "Closed", {others}}}}}')

    found = design_of_files(Task.make("dram", "cloud-1"), path)

    assert len(found.not_understood) == 21
    assert found.not_understood[-1] == "mine.json: 80 more"


def test_commands_read_the_files_of_a_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = Task.make("dram", "cloud-1")
    indices = task.space.sample(1, np.random.default_rng(3))[0]
    export_design(task, indices, "dramsys").write(tmp_path / "mine")

    evaluated = CliRunner().invoke(
        app, ["evaluate", "dram", "-w", "cloud-1", "--design", "mine", "--json"]
    )
    searched = ag.search("dram", workload="cloud-1", start="mine", budget=2, folder="run")
    explained = CliRunner().invoke(app, ["explain", "mine", "dram", "-w", "cloud-1"])
    alone = CliRunner().invoke(app, ["explain", "mine"])

    assert evaluated.exit_code == 0, evaluated.output
    expected = task.space.design_at(task.space.canonical(indices[None])[0])
    assert all(f'"{k}": ' in evaluated.stdout for k in expected)
    designs = searched.log.records.indices
    assert task.space.indices_of(expected).tolist() in designs.tolist()
    assert explained.exit_code == 0, explained.output
    assert isinstance(alone.exception, InvalidArgumentError)


def refusal(task: Task, path: Path) -> str:
    """Return why files are refused; empty if they are read."""
    try:
        design_of_files(task, path)
    except (FileFormatError, InvalidDesignError) as error:
        return str(error)
    return ""


def test_torn_and_hostile_files_end_in_one_line(tmp_path: Path) -> None:
    task = Task.make("dram", "cloud-1")
    export_design(task, task.space.default_indices, "dramsys").write(tmp_path / "folder")
    paths = [p for p in sorted((tmp_path / "folder").rglob("*")) if p.suffix in (".json", ".sh")]
    rng = random.Random(5)
    hostile = [
        b"",
        b"\xff\xfe\x00",
        b'{"mcconfig": ' * 3000,
        b"memory = __import__('os').system('touch ran')",
        b"a: &x [*x, *x]",
        b"!!python/object/apply:os.system ['touch ran']",
        b"--a " * 100_000,
        b'"' * 99,
        b"x = " + b"(" * 5000,
        b"r = [a.b.C() for _ in range(10**9)]\nm = x.y.Z(a=r)",
    ]
    for path in paths:
        content = path.read_bytes()
        for _ in range(4):
            torn = bytearray(content[: rng.randrange(len(content))])
            if torn:
                torn[rng.randrange(len(torn))] = rng.randrange(256)
            hostile.append(bytes(torn))
    for number, content in enumerate(hostile):
        for suffix in (".json", ".yaml", ".py", ".sh", ".cfg", ".csv", ""):
            path = tmp_path / f"file{number}{suffix}"
            path.write_bytes(content)
            said = refusal(task, path)
            assert "\n" not in said
            assert not said or path.name in said
    assert not (tmp_path / "ran").exists()
    assert not Path("ran").exists()
