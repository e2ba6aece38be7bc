"""`archgym table`, and commands that run on a table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archgym.evaluation.task import Task
from archgym.tables import TableSimulator, build_table
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


def test_curve_is_exact(archgym: Archgym, table: Path) -> None:
    ran = archgym("table", "curve", table, "-n", "1", "-n", "2376", "--json")

    assert ran.json["budgets"] == [1, 2376]
    assert ran.json["expected"][1] == ran.json["optimum"]
    assert ran.json["quantiles"]["0.05"][1] == ran.json["optimum"]
    assert ran.json["label"] == "latency_ns [ns]"


def test_percentiles_of_a_curve_are_said_to_be_of_the_reward(archgym: Archgym, table: Path) -> None:
    text = archgym("table", "curve", table, "-n", "10")
    ran = archgym("table", "curve", table, "-n", "10", "--json")

    assert "5 % by reward" in text.out
    assert ran.json["quantiles_of"] == "reward"
    assert ran.json["quantiles"]["0.05"][0] > ran.json["quantiles"]["0.95"][0]


def test_curve_says_which_share_of_runs_its_mean_leaves_out(
    archgym: Archgym, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    text = archgym("table", "curve", table, "-n", "1", "-n", "2376")
    ran = archgym("table", "curve", table, "-n", "1", "-n", "2376", "--json")

    infeasible = archgym("table", "info", table, "--json").json["optima"][0]["infeasible"]
    assert ran.json["share_without_design"] == [pytest.approx(infeasible / 2376), 0.0]
    assert infeasible > 0
    assert "no feasible design [%]" in text.out
    assert "the mean does not" in text.out


def test_curve_is_drawn(archgym: Archgym, table: Path) -> None:
    ran = archgym("table", "curve", table, "--objective", "balanced", "--plot", "curve.svg")

    assert ran.code == 0, ran.err
    assert "Picture: curve.svg" in ran.out
    assert "proven optimum" in Path("curve.svg").read_text() or Path("curve.svg").stat().st_size


def test_budget_beyond_all_designs_is_refused(archgym: Archgym, table: Path) -> None:
    ran = archgym("table", "curve", table, "-n", "5000")

    assert ran.code == 1
    assert "must be at most 2,376" in ran.err


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


def test_show_says_how_far_studies_are_from_the_optimum(
    archgym: Archgym, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    for agent in ("random", "genetic"):
        archgym("search", "plugin", "-a", agent, "-n", "60", "--out", agent)

    text = archgym("show", "random", "genetic", "--table", table, "--plot", "both.svg")
    ran = archgym("show", "random", "--table", table, "--at", "20", "--at", "60", "--json")

    assert text.code == 0, text.err
    assert "Distance from the proven optimum of 2,376 designs" in text.out
    assert "random search" in text.out
    studies = ran.json["proven"]["studies"]
    assert [s["evaluations"] for s in studies] == [20, 60]
    assert studies[1]["percent"] == pytest.approx(
        100 * (studies[1]["value"] / ran.json["proven"]["optimum"] - 1)
    )
    assert studies[1]["below"] >= 0
    assert len(ran.json["proven"]["random"]["expected"]) == 2


def test_table_of_another_task_does_not_judge_a_study(archgym: Archgym, table: Path) -> None:
    archgym("search", "plugin", "-n", "5", "--out", "study", "-o", "device=large")

    ran = archgym("show", "study", "--table", table)

    assert ran.code == 1
    assert "differs now" in ran.err


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
    report = archgym("sweep", "report", "sweep", "--table", table, "--json")
    Path("plan.yaml").write_text(json.dumps(plan).replace("plugin.parquet", "absent.parquet"))
    absent = archgym("sweep", "plan", "plan.yaml")

    assert planned.code == 0, planned.err
    assert report.code == 0, report.err
    best = TableSimulator(table).optima[0].reward
    assert report.json["tasks"][0]["best_known_reward"] == best
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

    ran = archgym("sweep", "report", "sweep", "--table", table)

    assert ran.code == 1
    assert "has none of them" in ran.err


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
