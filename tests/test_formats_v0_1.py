"""Files that ArchGym 0.1.0 wrote, used through the public interface only.

`tests/fixtures/v0_1/README.md` describes each file and how it was made.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.agent.agent import agent_class
from archgym.errors import InvalidArgumentError

FIXTURES = Path(__file__).parent / "fixtures" / "v0_1"
ROOT = Path(__file__).parents[1]
RL = "archgym-2023-rl"
# Tasks whose objectives were renamed or restated since are named by the ids of that time. The
# default fidelity of DRAM was `fast`.
TASKS: dict[str, dict[str, Any]] = {
    "accelerator": {"simulator": "accelerator/default/resnet-18/edp-v1"},
    "adder": {},
    "dram-ddr4": {
        "simulator": "dram",
        "workload": {"cloud-1": 2, "cloud-2": 1},
        "objective": "balanced",
        "device": "ddr4-2400",
        "fidelity": "fast",
    },
    "dram-killed": {"simulator": f"dram/{RL}/cloud-1/low-latency-v0", "fidelity": "fast"},
    "dram-log": {"simulator": f"dram/{RL}/stream/low-latency-v0", "fidelity": "fast"},
    "dram-merged": {"simulator": f"dram/{RL}/cloud-1/low-latency-v0", "fidelity": "fast"},
    "dram-torn": {"simulator": "dram/default/stream/low-latency-v0", "fidelity": "fast"},
    "moe": {"simulator": "moe"},
    "translation": {"simulator": "translation/default/kmer-count/speed-under-area-v2"},
}
CHANGED = ("accelerator", "moe", "translation")
"""Studies on simulators whose numbers have changed since, so that their version is another."""
SLOW = {"accelerator", "moe", "translation"}
"""Studies whose simulator takes over a second to load or to compile."""


class AdderSimulator(ag.Simulator):
    """Adder of blocks, a simulator that no package registers."""

    name = "adder"
    version = 0
    space = ag.DesignSpace(
        "default",
        [
            ag.Integer(name="blocks", low=1, high=64, doc="Blocks."),
            ag.Categorical(name="carry", choices=("ripple", "skip", "lookahead"), doc="Carry."),
        ],
        constraints=[
            ag.Constraint(
                "fan_in", (ag.P("carry") != "lookahead") | (ag.P("blocks") <= 32), "Fan-in."
            )
        ],
    )
    metrics = (
        ag.MetricSpec("delay_ns", "ns", "minimise", 0.001, "Time for an addition."),
        ag.MetricSpec("area_um2", "um2", "minimise", 0.1, "Silicon area."),
    )
    objectives = {  # noqa: RUF012
        "quick": ag.Objective("quick", (ag.Term("delay_ns", "minimise"),)),
        "balanced": ag.Objective(
            "balanced", (ag.Term("delay_ns", "minimise"), ag.Term("area_um2", "minimise"))
        ),
    }
    default_objective = "quick"
    default_workload = "64-bit"
    table_space = "default"

    def workload_names(self) -> tuple[str, ...]:
        return ("64-bit",)

    def workload(self, name: str | Path) -> ag.Workload:
        return ag.Workload("64-bit", hashlib.sha256(b"64-bit").hexdigest(), content=64)

    def simulate(self, indices: np.ndarray, workload: ag.Workload) -> ag.BatchResult:
        blocks = self.space.columns(indices)["blocks"].astype(np.float64)
        carry = indices[:, 1]
        delay = 0.125 * workload.content / blocks / (1 + carry) + 0.0625 * blocks
        values = np.stack([delay, 40.0 * blocks * (2 + carry)], axis=1)
        return ag.BatchResult(values, np.zeros(len(indices), dtype=np.int16))


def task_of(name: str) -> ag.Task:
    choices = TASKS[name]
    return ag.Task.make(**choices) if choices else ag.Task.make(AdderSimulator())


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / name, folder / Path(name).name))


def assert_same_journal(made: Path, expected: Path) -> None:
    """Assert that two journals are equal byte for byte.

    Rewards are logarithms, which NumPy rounds differently on some processors. On such a processor
    rewards may differ in their last digits, and nothing else may.
    """
    if has_same_logarithm():
        assert made.read_bytes() == expected.read_bytes()
        return
    pairs = zip(records(made), records(expected), strict=True)
    for ours, theirs in pairs:
        ours.pop("crc"), theirs.pop("crc")
        assert ours.pop("reward") == pytest.approx(theirs.pop("reward"), rel=1e-12, abs=1e-15)
        assert ours == theirs


def has_same_logarithm() -> bool:
    rounded = np.log(np.linspace(0.01, 40.0, 4001)).tobytes()
    return (
        hashlib.sha256(rounded).hexdigest() == (FIXTURES / "logarithm.sha256").read_text().strip()
    )


def records(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def command(*arguments: str | Path, cwd: Path) -> str:
    """Return the standard output of a command that succeeds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-m", "archgym", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TASKS],
)
def test_task_of_recorded_study_keeps_its_digest(name: str) -> None:
    recorded = json.loads((FIXTURES / "studies" / name / "study.json").read_text())["task"]

    task = task_of(name)

    if name in CHANGED:
        # The simulator's numbers have changed since: its version is part of the task.
        assert task.id == recorded["id"].replace("-v0", f"-v{task.version}")
        return
    assert task.id.replace(",fidelity=fast", "").replace("[fidelity=fast]", "") == recorded["id"]
    assert task.digest == recorded["digest"]


@pytest.mark.parametrize(
    ("name", "evaluations", "status", "best"),
    [
        ("accelerator", 8, "finished", 0.8226153388203684),
        ("adder", 24, "finished", 2.200889746837562),
        ("dram-ddr4", 20, "finished", 0.21015733431059158),
        ("dram-killed", 24, "interrupted", 0.17067752047679938),
        ("dram-log", 12, "finished", 0.0),
        ("dram-merged", 20, "finished", 0.06099570857595091),
        ("dram-torn", 19, "interrupted", -0.0010988243686053452),
        ("moe", 10, "finished", 0.2685924943167245),
        ("translation", 8, "finished", 0.0048416811455866855),
    ],
)
def test_recorded_study_is_read(name: str, evaluations: int, status: str, best: float) -> None:
    log = ag.read_study(FIXTURES / "studies" / name)

    outcome = log.best()

    assert log.evaluations == evaluations
    assert log.status == status
    assert outcome is not None
    assert outcome.reward == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("adder", 40),
        ("dram-ddr4", 32),
        ("dram-killed", None),
        ("dram-torn", None),
    ],
)
def test_recorded_study_resumes_byte_for_byte(
    name: str, budget: int | None, tmp_path: Path
) -> None:
    folder = copied(f"studies/{name}", tmp_path)
    task = None if TASKS[name] else task_of(name)

    ag.Study.open(folder, task).run(budget=budget)

    assert_same_journal(folder / "journal.jsonl", FIXTURES / "resumed" / f"{name}.jsonl")


@pytest.mark.parametrize("name", CHANGED)
def test_study_on_an_older_version_of_a_simulator_is_read_and_not_resumed(
    name: str, tmp_path: Path
) -> None:
    folder = copied(f"studies/{name}", tmp_path)

    assert ag.read_study(folder).evaluations > 0
    with pytest.raises(InvalidArgumentError, match="`version` differs now"):
        ag.Study.open(folder, None)


def test_torn_record_is_set_aside(tmp_path: Path) -> None:
    folder = copied("studies/dram-torn", tmp_path)
    torn = (folder / "journal.jsonl").read_bytes().splitlines()[-1]

    ag.Study.open(folder).close()

    assert (folder / "journal.bad").read_bytes().splitlines()[-1].endswith(torn[-40:])


def test_recorded_log_takes_further_designs(tmp_path: Path) -> None:
    folder = copied("studies/dram-log", tmp_path)
    designs = json.loads((FIXTURES / "resumed" / "dram-log-designs.json").read_text())

    log = ag.Study.log(folder, task_of("dram-log"))
    log.evaluate(np.array(designs[12:]))
    log.close()

    assert_same_journal(folder / "journal.jsonl", FIXTURES / "resumed" / "dram-log.jsonl")


@pytest.mark.parametrize("name", ["adder", "dram-rl-stream"])
def test_recorded_table_is_searched_as_its_simulator(name: str, tmp_path: Path) -> None:
    table = FIXTURES / "tables" / f"{name}.parquet"
    if name == "adder":
        task = ag.Task.make(AdderSimulator(), objective="balanced", stand_in=table)
        simulated = ag.Task.make(AdderSimulator(), objective="balanced")
    else:
        task = ag.Task.make(stand_in=table, workload="stream", objective="low-request-latency")
        simulated = ag.Task.make("dram", "stream", "low-request-latency", RL, "fast")
    budget = len(records(FIXTURES / "tables" / f"{name}.jsonl"))

    ag.Study.create(tmp_path / "study", task, "genetic", seed=3, budget=budget).run()

    assert task.digest == simulated.digest
    assert_same_journal(tmp_path / "study" / "journal.jsonl", FIXTURES / "tables" / f"{name}.jsonl")


@pytest.mark.slow
def test_recorded_table_verifies_against_the_simulator(tmp_path: Path) -> None:
    table = FIXTURES / "tables" / "dram-rl-stream.parquet"

    verified = json.loads(command("table", "verify", table, "-n", "20", "--json", cwd=tmp_path))

    assert verified["problems"] == []
    # Least total time over the whole space, and the number of designs that have it.
    optima = command("table", "info", table, cwd=tmp_path)
    assert "50,025" in optima
    assert "14,040" in optima


@pytest.mark.slow
def test_recorded_dataset_verifies_against_the_simulator(tmp_path: Path) -> None:
    verified = json.loads(
        command("dataset", "verify", FIXTURES / "dataset", "--sample", "40", "--json", cwd=tmp_path)
    )

    assert verified["rows"] == 180
    assert verified["simulated"] == 40
    assert verified["problems"] == []


@pytest.mark.slow
def test_recorded_dataset_still_trains_a_proxy(tmp_path: Path) -> None:
    command(
        "proxy",
        "train",
        FIXTURES / "dataset",
        "--model",
        "forest",
        "--setting",
        "n_trees=2",
        "--out",
        tmp_path / "forest.npz",
        cwd=tmp_path,
    )

    task = ag.Task.make(stand_in=tmp_path / "forest.npz", workload="cloud-1")

    assert np.isfinite(task.evaluate(task.space.default_indices[None, :]).reward).all()


def test_recorded_proxy_predicts_as_before() -> None:
    expected = json.loads((FIXTURES / "proxies" / "forest.json").read_text())
    task = ag.Task.make(
        stand_in=FIXTURES / "proxies" / "forest.npz", workload="cloud-1", objective="low-latency"
    )

    predicted = task.evaluate(np.array(expected["indices"]))

    assert task.id == expected["task"]
    assert task.digest == expected["digest"]
    np.testing.assert_allclose(predicted.values, expected["values"], rtol=1e-9)
    assert predicted.reason.tolist() == expected["reason"]


@pytest.mark.slow
def test_recorded_proxy_is_searched_on_the_command_line(tmp_path: Path) -> None:
    found = command(
        "proxy",
        "search",
        FIXTURES / "proxies" / "forest.npz",
        "--budget",
        "200",
        "--verify",
        "3",
        "--json",
        cwd=tmp_path,
    )

    assert json.loads(found)


@pytest.mark.slow
def test_recorded_policy_makes_the_same_designs() -> None:
    pytest.importorskip("stable_baselines3")
    expected = json.loads((FIXTURES / "policies" / "a2c.json").read_text())
    policy = ag.Policy.load(FIXTURES / "policies" / "a2c.npz")
    task = ag.Task.make(expected["task"])

    designs = agent_class("a2c").propose(policy, task, n=16, seed=0)

    rewards = task.evaluate(designs).reward
    likely, best, default = expected["results"]
    for place, theirs in ((0, likely), (int(np.argmax(rewards)), best)):
        assert task.space.design_at(designs[place]) == theirs["design"]
        assert rewards[place] == pytest.approx(theirs["reward"], rel=1e-12)
    assert task.space.design_at(task.space.default_indices) == default["design"]


@pytest.mark.slow
def test_recorded_sweep_resumes_byte_for_byte(tmp_path: Path) -> None:
    folder = copied("sweep", tmp_path)

    command("sweep", "resume", folder, cwd=tmp_path)

    for agent in ("random", "small"):
        for seed in (0, 1):
            assert_same_journal(
                folder / "stream" / agent / f"seed-{seed}" / "journal.jsonl",
                FIXTURES / "resumed" / f"sweep-stream-{agent}-seed-{seed}.jsonl",
            )
    status = json.loads(command("sweep", "status", folder, "--json", cwd=tmp_path))
    assert status["finished"] == 4
