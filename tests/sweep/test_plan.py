"""Plans of sweeps: what they decide, and errors that name the line."""

import json
from pathlib import Path

import pytest

from archgym.errors import FileFormatError, UnknownNameError
from archgym.sweep.plan import (
    AgentPlan,
    SweepPlan,
    TaskPlan,
    read_plan,
    read_recorded_plan,
    write_recorded_plan,
)
from tests.sweep.conftest import WritePlan


def test_every_task_is_searched_by_every_agent_with_every_seed(plan: SweepPlan) -> None:
    assert [run.id for run in plan.runs()] == [
        "light/random/seed-0",
        "light/small/seed-0",
        "light/random/seed-1",
        "light/small/seed-1",
    ]


def test_what_the_plan_leaves_open_is_decided(plan: SweepPlan) -> None:
    (task,) = plan.tasks

    assert (task.space, task.fidelity, task.workloads) == ("default", "standard", {"light": 1.0})
    assert task.id == "plugin/default/light/low-latency-v0"
    assert task.digest == task.make().digest


def test_a_whole_number_is_a_real_one_where_the_agent_declares_it_so(plan: SweepPlan) -> None:
    assert plan.runs()[1].hyperparameters == {"population": 6, "crossover": 1.0}
    assert isinstance(plan.runs()[1].hyperparameters["crossover"], float)


def test_seeds_may_be_a_count(write_plan: WritePlan) -> None:
    assert read_plan(write_plan(("seeds: [0, 1]", "seeds: 3"))).seeds == (0, 1, 2)


def test_hyperparameters_of_one_task_count_more_there(write_plan: WritePlan) -> None:
    path = write_plan(
        ("agents:\n", "  heavy:\n    simulator: plugin\n    workload: heavy\nagents:\n"),
        ("crossover: 1}", "crossover: 1}\n    on_tasks: {heavy: {population: 9}}"),
    )

    runs = {run.id: run for run in read_plan(path).runs()}

    assert runs["light/small/seed-0"].hyperparameters["population"] == 6
    assert runs["heavy/small/seed-0"].hyperparameters["population"] == 9


def test_only_and_seeds_choose_runs(plan: SweepPlan) -> None:
    assert [run.id for run in plan.runs(["small"], [1])] == ["light/small/seed-1"]
    with pytest.raises(UnknownNameError, match="'small'"):
        plan.runs(["smal"])
    with pytest.raises(UnknownNameError, match="Seed of the sweep '7'"):
        plan.runs(seeds=[7])


def test_the_recorded_plan_is_the_plan(plan: SweepPlan, tmp_path: Path) -> None:
    write_recorded_plan(tmp_path, plan)

    assert read_recorded_plan(tmp_path) == plan


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("budget: 30", "budgets: 30"), 1, ["'budgets'", "Perhaps it is 'budget'"]),
        (("budget: 30", "budget: 0"), 1, ["`budget`", "0"]),
        (("budget: 30", "budget: many"), 1, ["whole number", "'many'"]),
        (("budget: 30", "budget: " + 6000 * "9"), 1, ["got '999", 79 * "9" + "…."]),
        (("budget: 30\n", ""), 1, ["must have `budget`"]),
        (("seeds: [0, 1]", "seeds: [0, 0]"), 2, ["0 came twice"]),
        (("seeds: [0, 1]", "seeds: []"), 2, ["`seeds`", "got an empty list"]),
        (("seeds: [0, 1]", "seeds: [0, -1]"), 2, ["a seed", "-1"]),
        (("  light:", "  li/ght:"), 4, ["a label", "'li/ght'"]),
        (("  light:", "  ../x:"), 4, ["a label"]),
        (("simulator: plugin", "simulator: plugn"), 5, ["'plugn'", "'plugin'"]),
        (("workload: light", "workload: lite"), 6, ["'lite'", "'light'"]),
        (("workload: light", "workload: {light: 0}"), 6, ["above 0"]),
        (("workload: light", "space: x"), 6, ["space 'x'", "'default'"]),
        (("workload: light", "fidelity: x"), 6, ["fidelity 'x'", "'standard'"]),
        (("workload: light", "options: {device: x}"), 6, ["device 'x'", "'small'"]),
        (("workload: light", "options: {devise: x}"), 6, ["'devise'", "'device'"]),
        (("workload: light", "worklode: light"), 6, ["'worklode'", "'workload'"]),
        (("objective: low-latency", "objective: low"), 7, ["objective 'low'"]),
        (("objective: low-latency", "objective: 'target:x<=1'"), 7, ["'x'"]),
        (("  random:", "  randon:"), 9, ["'randon'", "'random'"]),
        (("agent: genetic", "agent: genetik"), 11, ["'genetik'", "'genetic'"]),
        (("population: 6", "populaton: 6"), 12, ["'populaton'", "'population'"]),
        (("population: 6", "population: 1"), 12, ["`population`", "1"]),
        (("agent: genetic", "agent: genetic\n    tuned: true"), 12, ["Tuned", "archgym tune"]),
        (("agent: genetic", "agent: genetic\n    tuned: 3"), 12, ["true, false or a file"]),
        (("agent: genetic", "agent: genetic\n    on_tasks: {x: {}}"), 12, ["'x'"]),
        (("  random:", "  Small:\n    agent: random\n  random:"), 11, ["beyond case"]),
    ],
)
def test_an_error_names_its_line_and_the_way_out(
    write_plan: WritePlan, change: tuple[str, str], line: int, words: list[str]
) -> None:
    path = write_plan(change)

    with pytest.raises(FileFormatError) as caught:
        read_plan(path)

    message = str(caught.value)
    if "Small" not in change[1]:
        assert message.startswith(f"plan.yaml:{line}: ")
    for word in words:
        assert word in message
    assert "\n" not in message


def test_a_plan_may_add_to_what_was_recorded(plan: SweepPlan, write_plan: WritePlan) -> None:
    more = read_plan(
        write_plan(("seeds: [0, 1]", "seeds: [0, 1, 2]"), ("  random:", "  random:\n  bayesian:"))
    )

    assert more.difference(plan) is None
    assert plan.difference(more) is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("budget: 30", "budget: 31"), "`budget` was 30 and is 31"),
        (("population: 6", "population: 7"), "agent 'small' has another `hyperparameters`"),
        (("workload: light", "workload: heavy"), "task 'light' has another `digest`"),
        (("  random:\n", ""), "agent 'random' is no longer in it"),
        (("seeds: [0, 1]", "seeds: [0]"), "seed 1 is no longer in it"),
    ],
)
def test_a_change_is_said(
    plan: SweepPlan, write_plan: WritePlan, change: tuple[str, str], words: str
) -> None:
    assert words in str(read_plan(write_plan(change)).difference(plan))


def test_a_workload_file_beside_the_plan_is_found(write_plan: WritePlan) -> None:
    # The toy knows no files, so that a path reaches it and is refused by it.
    Path("own.trace").write_text("")

    with pytest.raises(FileFormatError, match=r"own\.trace"):
        read_plan(write_plan(("workload: light", "workload: own.trace")))


def test_a_recorded_plan_that_was_damaged_is_refused(plan: SweepPlan, tmp_path: Path) -> None:
    write_recorded_plan(tmp_path, plan)
    path = tmp_path / "sweep.json"
    data = json.loads(path.read_text())
    data["agents"]["random"]["agent"] = ["x"]
    path.write_text(json.dumps(data))

    with pytest.raises(FileFormatError, match="`agent`"):
        read_recorded_plan(tmp_path)
    with pytest.raises(FileFormatError, match=r"sweep\.json"):
        read_recorded_plan(tmp_path / "absent")


class CountedSeed(int):
    """A seed that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedSeed.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_work_grows_with_the_number_of_seeds_not_with_its_square() -> None:
    n = 2000
    task, agent = TaskPlan("t", "plugin"), AgentPlan("a", "random")
    recorded = SweepPlan((task,), (agent,), tuple(map(CountedSeed, range(n))), 1)
    given = SweepPlan((task,), (agent,), tuple(map(CountedSeed, range(n))), 1)

    difference = given.difference(recorded)
    runs = given.runs(seeds=tuple(map(CountedSeed, range(n))))

    assert difference is None
    assert len(runs) == n
    assert CountedSeed.compared < 10 * n
