"""The best design evaluated again, against what the simulator says of it."""

import json
import shlex
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.report import TaskEvidence, find, read_evidence
from archgym.report.best_design import Chosen, choose, chosen_tables
from archgym.report.figures import figures
from archgym.runtime.reductions import collected_reductions, report_loss
from archgym.simulators.dram.simulator import DramSimulator
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym, archgym

__all__ = ["archgym"]


@pytest.fixture
def task(swept: Path) -> TaskEvidence:
    return read_evidence([swept]).tasks[0]


@pytest.fixture
def chosen(task: TaskEvidence) -> Chosen:
    found = choose(task)
    assert isinstance(found, Chosen)
    return found


def test_costs_are_those_of_the_best_design(chosen: Chosen) -> None:
    table = chosen_tables("light", chosen)[0]

    assert table.name == "costs light"
    assert table.columns[2:] == ("latency_ns [%]", "others")
    # Standing by costs power, which this objective does not seek.
    assert [row[0] for row in table.rows] == ["mismatch"]
    assert "Costs that bound nothing here: standby." in table.note


def test_warnings_name_the_design_that_they_are_about(
    task: TaskEvidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clipped(*_: object) -> None:
        report_loss("Rewards count as 20.")
        raise InvalidArgumentError("stop")

    monkeypatch.setattr("archgym.report.best_design.explain", clipped)

    with collected_reductions() as notes:
        choose(task)

    assert task.best is not None
    run, row = task.best
    where = f"light, designs next to evaluation {row + 1} of {run.label}"
    assert notes == [f"{where}: Rewards count as 20."]


def test_costs_are_drawn_by_the_metrics_that_are_sought(swept: Path) -> None:
    (drawn,) = [f for f in figures(find(read_evidence([swept]))) if f["id"] == "figure-costs-0"]

    (bars,) = drawn["data"]
    assert (bars["name"], bars["y"]) == ("latency_ns", ["mismatch"])
    assert bars["x"][0] < 0


def test_bars_are_the_best_and_the_worst_of_a_parameter_s_neighbours(
    task: TaskEvidence, chosen: Chosen
) -> None:
    simulated = Task.from_json(task.recipe)
    table = chosen_tables("light", chosen)[1]

    for parameter, _, _, high, _, low in table.rows:
        place = task.space.names.index(str(parameter))
        designs = np.tile(chosen.explanation.indices, (task.space.sizes[place], 1))
        designs[:, place] = np.arange(len(designs))
        others = np.flatnonzero(designs[:, place] != chosen.explanation.indices[place])
        evaluation = simulated.evaluate(simulated.space.canonical(designs[others]))
        gains = evaluation.reward[(evaluation.reason == 0).all(axis=1)] - chosen.logged_reward
        assert (high, low) == (gains.max(), gains.min())


def test_the_best_design_is_ranked_on_other_workloads(chosen: Chosen) -> None:
    (standing,) = chosen.standings
    heavy = Task.make("plugin", "heavy", "low-latency")

    assert standing.task.id == heavy.id
    assert standing.rewards.tolist() == heavy.evaluate(chosen.top).reward.tolist()
    risks = chosen_tables("light", chosen)[2]
    row = next(row for row in risks.rows if row[2] == "workload heavy")
    rank = int((standing.rewards > standing.rewards[0]).sum()) + 1
    assert str(row[4]).startswith(f"rank {rank} of the {len(standing.rewards)}")


def test_a_row_of_the_table_computes_itself_again(chosen: Chosen, archgym: Archgym) -> None:
    risks = chosen_tables("light", chosen)[2]
    row = next(row for row in risks.rows if row[2] == "workload heavy")

    said = archgym(*shlex.split(str(row[5]))[1:], "--json")

    assert said.code == 0, said.err
    assert said.json["reward"] == pytest.approx(chosen.standings[0].rewards[0])


def test_near_designs_are_a_risk_only_within_the_error(chosen: Chosen) -> None:
    behind = 0.03 + np.zeros(len(chosen.top) - 1)
    close = replace(chosen, top_rewards=np.append(1.0, 1.0 - behind))

    kinds = [
        next(row[0] for row in chosen_tables("light", each)[2].rows if row[2] == "rank")
        for each in (replace(close, error_percent=5.0), replace(close, error_percent=1.0))
    ]

    assert kinds == ["risk", "non-risk"]


def test_without_its_simulator_the_report_says_so(swept: Path) -> None:
    evidence = read_evidence([swept])
    task = replace(evidence.tasks[0], recipe={**evidence.tasks[0].recipe, "simulator": "gone"})

    found = find(replace(evidence, tasks=(task,)))

    assert "'gone'" in str(found.chosen["light"])
    assert not [table for table in found.tables if table.name.startswith(("tornado", "risks"))]


def test_what_dram_states_covers_every_error_that_was_measured() -> None:
    path = files("evidence.dram") / "data" / "accuracy.json"
    worst = 0.0
    for name, (_, _, error) in json.loads(path.read_text()).items():
        # The other model states its own accuracy.
        if name.startswith(("dram2-", "golden-ramulator-")):
            continue
        worst = max(worst, 100 * error)

    assert worst <= DramSimulator.spec.accuracy_percent["exact"] == 0.0
