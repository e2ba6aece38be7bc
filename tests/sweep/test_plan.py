"""Plans of sweeps: their runs, and what one changes of another."""

import pytest

from archgym.errors import UnknownNameError
from archgym.sweep.plan import AgentPlan, SweepPlan, TaskPlan
from archgym.sweep.reading import read_plan
from tests.sweep.conftest import WritePlan


def test_every_task_is_searched_by_every_agent_with_every_seed(plan: SweepPlan) -> None:
    assert [run.id for run in plan.runs()] == [
        "light/random/seed-0",
        "light/small/seed-0",
        "light/random/seed-1",
        "light/small/seed-1",
    ]


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
    with pytest.raises(UnknownNameError, match="Unknown seed '7' of the sweep"):
        plan.runs(seeds=[7])


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
