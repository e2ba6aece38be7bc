"""`archgym table`, and commands that run on a table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archgym.tables import TableSimulator, build_table
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym, write_plugin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def table() -> Path:
    """A table of the plug-in on its two workloads."""
    task = Task.make("plugin", ["light", "heavy"])
    return build_table(task, "plugin.parquet", workers=1)


def test_build_writes_a_table_and_says_what_is_proven(archgym: Archgym) -> None:
    ran = archgym("table", "build", "plugin", "-w", "light", "--objective", "balanced")

    assert ran.code == 0, ran.err
    assert "2,376 distinct designs of 5,280 combinations" in ran.out
    # Before: "The file takes at most", which left out parameters and reasons.
    assert "Uncompressed, the metrics take " in " ".join(ran.err.split())
    assert "Next: archgym search plugin/default/light/balanced-v0 --from-table" in ran.out
    assert TableSimulator("tables/plugin-default-light.parquet").rows == 2376


def test_info_says_the_same_as_json(archgym: Archgym, table: Path) -> None:
    text, ran = archgym("table", "info", table), archgym("table", "info", table, "--json")

    assert ran.json["digest"] in text.out
    assert ran.json["designs"] == 2376
    assert list(ran.json["workloads"]) == ["light", "heavy"]
    best = ran.json["optima"][0]
    assert best["metrics_by_workload"]["light"]["latency_ns"] < 10
    assert best["design"]["mode"] == "fast"


def test_table_at_a_file_url_is_told_as_a_path(archgym: Archgym, table: Path) -> None:
    ran = archgym("table", "info", f"file://{table.absolute()}")

    assert ran.code == 0
    assert "file:" not in ran.out
    assert str(table.absolute()) in ran.out.replace("\n  ", "")


def test_verify_compares_with_the_simulator(archgym: Archgym, table: Path) -> None:
    ran = archgym("table", "verify", table, "-n", "40")

    assert ran.code == 0, ran.err
    assert "40 of 2,376 designs, simulated again on 2 workloads, are equal in every bit" in ran.out


def test_verify_fails_where_the_simulator_says_something_else(
    archgym: Archgym, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.plugin import PluginSimulator

    real = PluginSimulator.simulate

    def changed(self, indices, workload):  # type: ignore[no-untyped-def]
        result = real(self, indices, workload)
        result.values[:, 0] *= 1.0 + 1e-15
        return result

    monkeypatch.setattr(PluginSimulator, "simulate", changed)
    ran = archgym("table", "verify", table, "-n", "40")

    assert ran.code == 1
    assert "of 40 designs differ from the simulator" in ran.err


def test_search_on_a_table_is_that_on_the_simulator(archgym: Archgym, table: Path) -> None:
    archgym("search", "plugin", "-n", "30", "--out", "own")
    ran = archgym("search", "plugin", "-n", "30", "--out", "looked-up", "--from-table", table)

    assert ran.code == 0, ran.err
    assert Path("own/journal.jsonl").read_bytes() == Path("looked-up/journal.jsonl").read_bytes()


def test_study_of_a_lost_table_goes_on_with_the_simulator(archgym: Archgym, table: Path) -> None:
    archgym("search", "plugin", "-n", "10", "--out", "study", "--from-table", table)
    table.rename("moved.parquet")

    lost = archgym("resume", "study", "-n", "12")
    moved = archgym("resume", "study", "-n", "12", "--from-table", "moved.parquet")
    without = archgym("resume", "study", "-n", "14", "--from-simulator")

    assert lost.code == 1
    assert "--from-table FILE" in lost.err
    assert "--from-simulator" in lost.err
    assert (moved.code, without.code) == (0, 0), moved.err + without.err


def test_table_of_another_task_does_not_judge_a_study(archgym: Archgym, table: Path) -> None:
    archgym("search", "plugin", "-n", "5", "--out", "study", "-o", "device=large")

    ran = archgym("report", "study", "--table", table)

    assert ran.code == 1
    assert "must have a task that is reported" in ran.err


def test_commands_take_a_table(archgym: Archgym, table: Path) -> None:
    evaluated = archgym("evaluate", "plugin", "-w", "heavy", "--from-table", table)
    described = archgym("describe", "plugin", "--from-table", table)
    workload = archgym("describe", "plugin", "-w", "heavy", "--from-table", table)

    assert (evaluated.code, described.code, workload.code) == (0, 0, 0)
    assert "light*, heavy" in described.out
    assert "load" in workload.out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--from-table", "absent.parquet"], "no such file"),
        (["--from-table", "text.txt"], "must name a table"),
        (["--from-proxy", "plugin.parquet"], "Use --from-table"),
        (["--from-table", "plugin.parquet", "--from-proxy", "text.txt"], "must not both"),
        (["--from-table", "plugin.parquet", "--space", "other"], "must be what"),
        (["--from-table", "plugin.parquet", "-o", "device=large"], "must be what"),
        (["--from-table", "plugin.parquet", "-w", "medium"], "'medium'"),
    ],
)
def test_stand_in_that_does_not_fit_is_refused(
    archgym: Archgym, table: Path, arguments: list[str], match: str
) -> None:
    Path("text.txt").write_text("no table")

    ran = archgym("evaluate", "plugin", *arguments)

    assert ran.code == 1
    assert match in ran.err
    assert ran.err.count("\n") == 1


def test_default_option_may_be_named(archgym: Archgym, table: Path) -> None:
    ran = archgym("evaluate", "plugin", "-o", "device=small", "--from-table", table)

    assert ran.code == 0, ran.err


def test_sweep_runs_on_a_table(archgym: Archgym, table: Path) -> None:
    plan = {
        "budget": 8,
        "seeds": 1,
        "tasks": {"t": {"simulator": "plugin", "stand_in": "plugin.parquet"}},
        "agents": {"random": {}},
    }
    Path("plan.yaml").write_text(json.dumps(plan))

    planned = archgym("sweep", "plan", "plan.yaml")
    archgym("sweep", "run", "plan.yaml", "--out", "sweep")
    report = archgym("report", "sweep", "--table", table, "--no-evaluate", "--json", "report.json")
    Path("plan.yaml").write_text(json.dumps(plan).replace("plugin.parquet", "absent.parquet"))
    absent = archgym("sweep", "plan", "plan.yaml")

    assert planned.code == 0, planned.err
    assert report.code == 0, report.err
    best = TableSimulator(table).optima[0].reward
    (scale,) = json.loads(Path("report.json").read_text())["protocol"]["tasks"].values()
    assert (scale["best"], scale["best_from"]) == (best, "proven optimum")
    assert absent.code == 1
    assert "plan.yaml:1: " in absent.err
    assert "no such file" in absent.err


def test_table_of_no_task_of_a_sweep_is_refused(archgym: Archgym, table: Path) -> None:
    plan = {
        "budget": 3,
        "seeds": 1,
        "tasks": {"t": {"simulator": "plugin", "options": {"device": "large"}}},
        "agents": {"random": {}},
    }
    Path("plan.yaml").write_text(json.dumps(plan))
    archgym("sweep", "run", "plan.yaml", "--out", "sweep")

    ran = archgym("report", "sweep", "--table", table)

    assert ran.code == 1
    assert "plugin.parquet has none" in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_build_goes_on_with_the_same_command(
    archgym: Archgym, tmp_path: Path, number: signal.Signals
) -> None:
    paths = [str(ROOT), str(write_plugin(tmp_path / "other"))]
    words = ["table", "build", "plugin", "-w", "light", "--out", "t.parquet"]
    code = (
        "import sys, archgym.tables.build as t; t.PART_SIZE = 256\n"
        "from archgym.cli import main; main()"
    )
    slow = [*words, "-o", "pace_s=0.002"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *slow],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = Path("t.parquet.partial")
    deadline = time.monotonic() + 60
    while len(list(folder.glob("part-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=10)
    n_parts = len(list(folder.glob("part-*")))

    assert process.returncode == (130 if number == signal.SIGINT else -9)
    if number == signal.SIGINT:
        assert "run the same command" in error.splitlines()[-1]
        assert "2,376 distinct designs of 5,280 combinations; 2,376 simulations" in error
        assert "Traceback" not in error
    assert n_parts >= 3
    assert not Path("t.parquet").exists()
    ran = subprocess.run(
        [sys.executable, "-c", code, *slow],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    whole = TableSimulator(build_table(Task.make("plugin", pace_s="0.002"), "w.parquet", 64))
    assert TableSimulator("t.parquet").digest == whole.digest
