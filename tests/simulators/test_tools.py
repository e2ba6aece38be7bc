"""Every export of every simulator is a folder that a tool runs, and tools print our numbers."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from archgym.errors import ArchGymError, InvalidDesignError
from archgym.evaluation.capabilities import exported
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import default_workload, simulator_class, simulator_names
from archgym.report.confirmation import confirm
from archgym.simulators.kit.exports import EXPECTED, README, RUN, expected, stated
from archgym.tasks.task import Task

# Forms of our own, which no tool reads.
OWN = {"architecture", "serving", "system", "traffic"}
# Options with which a design is evaluated, or its layers are mapped quickly.
SHORT: dict[str, dict[str, str]] = {
    "accelerator": {"layers": "1"},
    "cpu": {"instructions": "2000"},
    "dram": {"requests": "20"},
    "moe": {"requests": "2", "output_tokens": "2"},
    "kv": {"last": "20"},
}
# Layers of whole networks are mapped; compositions run both of their parts.
SLOW = {"accelerator", "accelerator_plus_cluster", "accelerator_plus_dram", "cpu_plus_dram"}
CASES = [
    pytest.param(name, space, {}, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in simulator_names()
    for space in simulator_class(name).spec.space_names
    if {form.rpartition(".")[2] for form in simulator_class(name).spec.exports} - OWN
] + [("dram", "default", {"device": family}) for family in ("ddr5", "lpddr5", "hbm3", "gddr6")]


@pytest.mark.parametrize(("name", "space", "options"), CASES)
def test_every_export_runs_and_states_what_evaluate_returns(
    name: str, space: str, options: dict[str, str], tmp_path: Path
) -> None:
    try:
        given = {**SHORT.get(name, {}), **options}
        simulator = make_simulator(simulator_class(name), space, None, given)
    except ArchGymError:
        simulator = make_simulator(simulator_class(name), space, None, options)
    workload = simulator.workload(default_workload(simulator))
    drawn = simulator.space.sample(3, np.random.default_rng(7))
    problems: list[str] = []
    written = 0
    for form in simulator.spec.exports:
        if form.rpartition(".")[2] in OWN:
            continue
        for indices in (simulator.space.default_indices, *drawn):
            try:
                metrics = stated(simulator, indices, workload)
                files = dict(exported(simulator, form, indices, workload))
            except InvalidDesignError as refusal:
                problems.append(str(refusal))
                continue
            written += 1
            tool, numbers = expected(files)
            assert {RUN, EXPECTED, README} <= set(files)
            assert tool.release
            assert f"# Design for {tool.name}, {tool.release}" in files[README]
            assert tool.get in files[README]
            known = [number for number in numbers if number.metric in metrics]
            # ASTRA-sim shares no links, as the default fidelity does.
            assert numbers == [] or known or form in ("timeloop", "astra-sim")
            for number in known:
                assert number.value == metrics[number.metric], number.metric
            assert bool(numbers) != ("why_none" in json.loads(files[EXPECTED]))
            (tmp_path / RUN).write_text(files[RUN])
            subprocess.run(["sh", "-n", str(tmp_path / RUN)], check=True)
            away = subprocess.run(
                ["sh", str(tmp_path / RUN), str(tmp_path / "absent")],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert away.returncode == 127
            assert away.stderr == f"{tool.missing}\n"
    assert [text for text in problems if not text.endswith(".") or "\n" in text] == []
    assert written or space not in ("default", "vllm", "closed-loop", "archgym-astrasim")


# Spaces of simulators with the formats of engines whose options are known by release.
ENGINES = [
    *(("moe", space, "vllm") for space in ("single-server", "expert-parallel", "closed-loop")),
    *(("kv", space, form) for space in ("vllm", "offload", "serving") for form in ("vllm",)),
    *(("moe", space, "sglang") for space in ("single-server", "expert-parallel", "closed-loop")),
    *(("kv", space, "sglang") for space in ("sglang", "serving")),
]


@pytest.mark.parametrize(("name", "space", "form"), ENGINES)
def test_engine_reads_every_option_that_is_written(name: str, space: str, form: str) -> None:
    table = json.loads((Path(__file__).parent / "data" / "engine_options.json").read_text())[form]
    simulator = make_simulator(simulator_class(name), space, None, SHORT[name])
    workload = simulator.workload(default_workload(simulator))
    known, used = set(table["options"].split()), set[str]()
    for indices in simulator.space.sample(60, np.random.default_rng(2)):
        try:
            files = dict(exported(simulator, form, indices, workload))
        except InvalidDesignError:
            continue
        tool, _ = expected(files)
        assert table["release"].startswith(tool.release)
        used |= {word[2:] for word in files[RUN].split() if word.startswith("--") and word != "--"}
        for path, text in files.items():
            used |= set(yaml.safe_load(text)) if path.endswith(".yaml") else set()

    assert used
    assert {option.removeprefix("no-") for option in used} - {"config"} <= known


TOOLS: list[tuple[str, str, str, dict[str, Any], int]] = [
    ("ARCHGYM_DRAMSYS", "dramsys", "dram", {"workload": "bursty-rw"}, 8),
    ("ARCHGYM_DRAMSYS", "dramsys", "dram", {"workload": "mixed-rw", "device": "ddr4-2400"}, 4),
    *(
        ("ARCHGYM_RAMULATOR", "ramulator", "dram", {"device": family}, 4)
        for family in ("ddr5", "lpddr5", "hbm3", "gddr6")
    ),
    ("ARCHGYM_BOOKSIM", "booksim", "noc", {"clock_ghz": "1.5", "load": "0.05"}, 30),
    ("ARCHGYM_BOOKSIM", "booksim", "noc", {"space": "chiplets"}, 20),
    (
        "ARCHGYM_ASTRA_SIM",
        "astra-sim",
        "cluster",
        {"npus": "8", "tool": "astra-sim", "workload": "bert-large"},
        20,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "form", "name", "options", "n"), TOOLS)
def test_designs_equal_the_tool_itself(
    variable: str, form: str, name: str, options: dict[str, Any], n: int
) -> None:
    place = os.environ.get(variable)
    if place is None:
        pytest.skip(f"{form}: {variable} must name the tool's program or folder")
    short = {"requests": "200"} if name == "dram" else {}
    task = Task.make(name, **short, **options)
    drawn = task.space.sample(n, np.random.default_rng(5))
    built = [row for row in drawn if not task.evaluate(row[None, :]).reason.any()]

    found = list(confirm(task, built, form, at=Path(place)))

    ran = [each for each in found if not each.problem.startswith("not expressible")]
    assert len(ran) >= 2
    assert [each.result for each in ran] == ["equal"] * len(ran)
