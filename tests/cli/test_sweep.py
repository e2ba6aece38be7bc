"""`archgym sweep`, `tune`, `policy`, and what `list` says of agents."""

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archgym.cli.commands.sweep import _spread, _write_limits, report_outcome
from archgym.sweep.driver import SweepOutcome
from archgym.sweep.results import AgentSummary, RunSummary, Spread
from archgym.sweep.study_run import Curve, Digest
from tests.cli.conftest import Archgym

ROOT = Path(__file__).resolve().parents[2]
PLAN = """\
budget: 20
seeds: 2
tasks:
  light: {simulator: plugin, workload: light, objective: low-latency}
agents:
  random:
  genetic: {hyperparameters: {population: 6}}
"""


@pytest.fixture
def plan() -> Path:
    """A small plan's file."""
    path = Path("plan.yaml")
    path.write_text(PLAN)
    return path


def test_list_agents_says_kind_library_and_hyperparameters(archgym: Archgym) -> None:
    ran = archgym("list", "agents")

    assert ran.code == 0
    for text in ("optuna", "single", "multi", "replay", "population=12, batch_size=8"):
        assert text in ran.out


def test_list_agents_as_json_has_ranges_defaults_and_docs(archgym: Archgym) -> None:
    agents = {agent["name"]: agent for agent in archgym("list", "agents", "--json").json["agents"]}

    assert agents["genetic"]["kind"] == "single-objective"
    assert agents["genetic"]["batch"] == "batch"
    assert agents["genetic"]["replayable"] is True
    population = agents["genetic"]["hyperparameters"][0]
    assert (population["name"], population["default"]) == ("population", 12)
    assert (population["low"], population["high"]) == (4, 100)
    assert population["doc"]
    # One whose default is its first value, which a declaration leaves out.
    for agent in agents.values():
        assert all("default" in h for h in agent["hyperparameters"]), agent["name"]


def test_list_agents_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom archgym.cli.app import run\ntry: run(['list', 'agents'])\n"
        "except SystemExit: pass\nheavy = ('torch', 'ray', 'optuna', 'sklearn', 'scipy', 'pymoo', "
        "'stable_baselines3', 'gymnasium', 'pandas', 'yaml')\n"
        "sys.stderr.write(' '.join(m for m in heavy if m in sys.modules))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert ran.stderr == ""


def test_sweep_plan_says_what_would_run(archgym: Archgym, plan: Path) -> None:
    ran = archgym("sweep", "plan", plan)

    assert ran.code == 0
    assert "4 runs: 1 task × 2 agents × 2 seeds, 20 evaluations each, 80 in total." in ran.out
    assert "population=6" in ran.out
    assert "plugin/default/light/low-latency-v0" in ran.out


def test_an_error_in_a_plan_is_one_line(archgym: Archgym, plan: Path) -> None:
    plan.write_text(PLAN.replace("population", "popultion"))

    for command in (("plan", plan), ("run", plan, "--out", "sweep")):
        ran = archgym("sweep", *command)

        assert ran.code == 1
        assert ran.out == ""
        assert ran.err.startswith("error: plan.yaml:7: ")
        assert "Did you mean 'population'" in ran.err
        assert ran.err.count("\n") == 1
    assert not Path("sweep").exists()


@pytest.mark.slow
def test_sweep_runs_reports_and_ends_at_once_the_second_time(archgym: Archgym, plan: Path) -> None:
    first = archgym("sweep", "run", plan, "--out", "sweep", "--only", "genetic", "--seeds", "1")
    assert (first.code, first.err) == (0, "")
    second = archgym("sweep", "run", plan, "--out", "sweep", "--workers", "2", "--json")
    assert second.json == {
        "folder": "sweep",
        "runs": 4,
        "finished": 4,
        "finished_before": 1,
        "failures": {},
    }
    assert "4 of them earlier" in archgym("sweep", "resume", "sweep").out
    assert archgym("sweep", "status", "sweep").out.startswith("4 of 4 runs finished.")
    assert archgym("sweep", "status", "sweep", "--json").json["evaluations"] == 80

    ran = archgym("sweep", "report", "sweep")

    assert ran.code == 0
    assert "4 of 4 runs finished" in ran.out
    assert "within 5 % of the best known" in " ".join(ran.out.split())
    data = archgym("sweep", "report", "sweep", "--json").json
    assert data["finished"] == 4
    rewards = [run["best_reward"] for a in data["tasks"][0]["agents"] for run in a["runs"]]
    assert data["tasks"][0]["best_known_reward"] == max(rewards)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--only", "geneti"), "'genetic'"),
        (("--only", ","), "`--only`"),
        (("--seeds", "5"), "Unknown seed '5' of the sweep"),
        (("--seeds", "x"), "`--seeds`"),
    ],
)
def test_a_choice_that_is_not_in_the_plan_is_refused(
    archgym: Archgym, plan: Path, options: tuple[str, str], words: str
) -> None:
    ran = archgym("sweep", "run", plan, "--out", "sweep", *options)

    assert ran.code == 1
    assert words in ran.err
    assert not Path("sweep").exists()


def test_what_is_set_counts_more_than_the_plan(archgym: Archgym, plan: Path) -> None:
    options = ("--set", "budget=7", "--set", "agents.genetic.grid={tournament: [2, 3]}")

    ran = archgym("sweep", "plan", plan, *options)

    assert "6 runs: 1 task × 3 agents × 2 seeds, 7 evaluations each, 42 in total." in ran.out
    assert "genetic-00 … genetic-01" in ran.out
    assert "2 settings of population, tournament" in " ".join(ran.out.split())
    assert archgym("sweep", "run", plan, "--out", "sweep", "--set", "x").code == 1
    assert not Path("sweep").exists()


def test_only_takes_a_family_whole(archgym: Archgym, plan: Path) -> None:
    family = ("--set", "budget=2", "--set", "agents.genetic.grid={tournament: [2, 3]}")
    chosen = ("--only", "genetic", "--seeds", "0", "--json")

    ran = archgym("sweep", "run", plan, "--out", "sweep", *family, *chosen).json
    again = archgym("sweep", "resume", "sweep", *chosen).json

    assert (ran["runs"], ran["finished"]) == (2, 2)
    assert (again["runs"], again["finished_before"]) == (2, 2)
    assert sorted(path.name for path in Path("sweep/light").iterdir()) == [
        "genetic-00",
        "genetic-01",
    ]


def test_status_and_resume_need_a_sweep(archgym: Archgym, study: Path) -> None:
    for command in ("status", "resume"):
        ran = archgym("sweep", command, study)

        assert (ran.code, ran.out) == (1, "")
        assert "sweep.json" in ran.err


def test_a_cluster_without_ray_is_one_line_with_the_way_out(
    archgym: Archgym, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    ran = archgym("sweep", "run", plan, "--out", "sweep", "--address", "auto")

    assert ran.code == 1
    assert "pip install 'archgym[cluster]'" in ran.err
    assert ran.err.count("\n") == 1


def test_report_of_something_else_is_refused(archgym: Archgym, study: Path) -> None:
    ran = archgym("sweep", "report", study)

    assert ran.code == 1
    assert "sweep.json" in ran.err


@pytest.mark.nightly
def test_the_quick_comparison_that_ships_is_complete(archgym: Archgym) -> None:
    for module in ("stable_baselines3", "ray", "pettingzoo"):
        pytest.importorskip(module)

    ran = archgym(
        "sweep", "run", ROOT / "sweeps/multi-agent-quick.yaml", "--out", "quick", "--workers", "2"
    )

    assert ran.code == 0, ran.out + ran.err
    data = archgym("sweep", "report", "quick", "--json").json
    (task,) = data["tasks"]
    labels = {agent["agent"] for agent in task["agents"]}
    assert labels == {
        "independent",
        "shared",
        "central",
        "single",
        "a2c",
        "random",
        "genetic",
        "bayesian",
    }
    for agent in task["agents"]:
        (run,) = agent["runs"]
        assert (run["status"], run["evaluations"]) == ("finished", 48)
        assert run["own_s"] > 0
        assert run["best_reward"] > -25


def test_the_full_comparison_that_ships_can_be_read(archgym: Archgym) -> None:
    pytest.importorskip("ray")

    ran = archgym("sweep", "plan", ROOT / "sweeps/multi-agent.yaml", "--json")

    assert ran.code == 0, ran.err
    assert len(ran.json["runs"]) == 8 * 3
    assert ran.json["evaluations"] == 8 * 3 * 2000


@pytest.mark.slow
def test_search_says_that_nothing_was_learned(archgym: Archgym) -> None:
    pytest.importorskip("stable_baselines3")

    ran = archgym("search", "plugin", "-a", "ppo", "-n", "6", "--out", "ppo")

    assert "The policy is untrained: the search ended before the agent's first update." in ran.out


@pytest.mark.parametrize("group", ["rule", "sweep"])
def test_group_without_a_command_gives_help(archgym: Archgym, group: str) -> None:
    ran = archgym(group)

    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: archgym {group}" in ran.out


def test_runs_without_a_feasible_design_do_not_meet_the_limits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run: Any = SimpleNamespace(id="light/random/seed-0")
    infeasible, feasible = Curve(4), Curve(4, (1,), (-2.0625,))
    runs = tuple(
        RunSummary(run, "finished", Digest(curve, has_limits=True))
        for curve in (infeasible, feasible)
    )
    spread = Spread(-math.inf, -math.inf, -math.inf, -2.0625, 2)
    agent = AgentSummary("random", runs, {4: spread}, (None, 1))
    task: Any = SimpleNamespace(agents=(agent,))

    _write_limits(task)

    assert capsys.readouterr().out.splitlines() == [
        "Limits: met by the best designs of 1 of 2 runs.",
        "Limits: missed by that of light/random/seed-0: no design could be built",
    ]
    assert _spread(agent, 4) == "none feasible (none feasible … -2.0625)"


def test_next_command_names_a_url_with_its_slashes(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = SweepOutcome(Path("s3://bucket/sweep"), 4, 0, {})

    report_outcome(outcome, "archgym sweep report", {}, is_json=False)
    report_outcome(outcome, "archgym sweep report", {}, is_json=True)

    out = capsys.readouterr().out
    assert "4 of 4 runs finished: s3://bucket/sweep" in out
    assert '"folder": "s3://bucket/sweep"' in out
