"""Reading plans: what a file may say, and errors that name its line."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.studies.snapshot import read_study
from archgym.sweep.reading import read_plan, read_recorded_plan, write_recorded_plan
from archgym.sweep.study_run import perform, require_same_study
from tests.sweep.conftest import WritePlan


def test_seeds_may_be_a_count(write_plan: WritePlan) -> None:
    assert read_plan(write_plan(("seeds: [0, 1]", "seeds: 3"))).seeds == (0, 1, 2)
    assert read_plan(write_plan(("budget: 30", "budget: 3e1"))).budget == 30


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("budget: 30", "budgets: 30"), 1, ["'budgets'", "Did you mean 'budget'"]),
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
        (("agent: genetic", "agent: genetic\n    tuned: true"), 12, ["tuned"]),
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


def test_task_may_name_metrics_and_limits(write_plan: WritePlan) -> None:
    path = write_plan(
        (
            "objective: low-latency",
            "minimise: [latency_ns, power_mw]\n    subject_to: [power_mw <= 20, latency_ns <= 90]",
        )
    )

    plan = read_plan(path)

    (task,) = plan.tasks
    assert task.objective == "minimise:latency_ns+power_mw[power_mw<=20,latency_ns<=90]"
    made = task.make()
    assert [str(limit) for limit in made.limits] == ["power_mw <= 20", "latency_ns <= 90"]
    assert made.digest == task.digest


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("subject_to: power <= 3", 8, "'power_mw'"),
        ("subject_to: power_mw <= 1, power_mw >= 2", 8, "contradict"),
        ("subject_to: {power_mw: 3}", 8, "`subject_to`"),
    ],
)
def test_limit_that_does_not_fit_names_its_line(
    write_plan: WritePlan, text: str, line: int, word: str
) -> None:
    path = write_plan(("objective: low-latency", f"objective: low-latency\n    {text}"))

    with pytest.raises(FileFormatError, match=word) as caught:
        read_plan(path)

    assert str(caught.value).startswith(f"plan.yaml:{line}: ")


def test_task_may_hold_parameters(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "tasks:\n  held:\n    simulator: dram\n    workload: stream\n    options: {requests: 20}\n"
        "    fixed: {page_policy: Closed}\n    values: {request_buffer_size: [1, 4]}\n"
        "agents: [random]\nbudget: 4\n"
    )
    planned = read_plan(path).tasks[0]
    task = planned.make()
    again = planned.decided(task)

    assert task.space.parameter("page_policy").allowed() == "one of Closed"
    assert task.space.parameter("request_buffer_size").size == 2
    assert again.make().digest == task.digest
    assert "fixed" not in again.to_json()


def test_seeds_have_a_default(write_plan: WritePlan) -> None:
    assert read_plan(write_plan(("seeds: [0, 1]\n", ""))).seeds == (0, 1, 2, 3, 4)


def test_agents_may_be_a_list(write_plan: WritePlan) -> None:
    mapping = read_plan(write_plan())
    path = write_plan(
        ("  random:\n", "  - random\n"),
        (
            "  small:\n    agent: genetic\n    hyper",
            "  - small:\n      agent: genetic\n      hyper",
        ),
    )

    assert read_plan(path) == mapping
    assert [a.label for a in read_plan(path, ["agents=[grid, random]"]).agents] == [
        "grid",
        "random",
    ]


def test_agent_that_comes_twice_in_a_list_is_refused(write_plan: WritePlan) -> None:
    with pytest.raises(FileFormatError, match="'random' came twice"):
        read_plan(write_plan(), ["agents=[random, random]"])


def test_all_errors_of_a_plan_are_told_at_once(write_plan: WritePlan) -> None:
    path = write_plan(
        ("budget: 30", "budget: many"),
        ("seeds: [0, 1]", "seeds: [0, 0]"),
        ("workload: light", "workload: lite"),
        ("agent: genetic", "agent: genetik"),
        ("  random:", "  randon:"),
    )

    with pytest.raises(FileFormatError) as caught:
        read_plan(path)

    first, *lines = str(caught.value).splitlines()
    assert first == "plan.yaml: has 5 errors:"
    for line, place, word in zip(
        sorted(lines), (11, 1, 2, 6, 9), ("genetik", "many", "twice", "lite", "randon"), strict=True
    ):
        assert line.startswith(f"  plan.yaml:{place}: ")
        assert word in line


def test_plan_may_say_how_studies_begin_and_end(write_plan: WritePlan, tmp_path: Path) -> None:
    rule, goal = "latency_ns <= 20", "objective: low-latency"
    path = write_plan(
        ("budget: 30", "budget: 30\npatience: 10\ncache: results"),
        (goal, f"{goal}\n    start: default\n    stop_at: {rule}"),
    )
    plan = read_plan(path)
    folder = Path("swept")
    folder.mkdir()
    write_recorded_plan(folder, plan)
    for run in plan.runs():
        assert perform(run, folder / run.id, {}, 1.0).failure is None
        require_same_study(run, folder / run.id)

    assert (plan.patience, plan.tasks[0].stop_at) == (10, rule)
    assert plan.cache == str(Path("results").absolute())
    logs = [read_study(each.parent) for each in folder.rglob("study.json")]
    assert len(logs) == 4
    for log in logs:
        assert log.records.indices[0].tolist() == log.space.default_indices.tolist()
        assert (log.header.patience, log.header.stop_at) == (10, rule)
        assert log.evaluations < 30
    assert Path("results/evaluations.sqlite").is_file()
    assert read_recorded_plan(folder) == plan


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("start: {mode: fast, bank: 2}", "banks"),
        ("start: nowhere", "nowhere"),
        ("warm_start: [nowhere]", "nowhere"),
        ("stop_at: speed <= 3", "speed"),
    ],
)
def test_bad_beginnings_and_ends_name_their_line(
    write_plan: WritePlan, line: str, word: str
) -> None:
    path = write_plan(("objective: low-latency", f"objective: low-latency\n    {line}"))

    with pytest.raises(FileFormatError, match=rf"plan\.yaml:8: .*{word}"):
        read_plan(path)


def test_agent_that_cannot_use_earlier_studies_is_refused(
    write_plan: WritePlan, swept: Path
) -> None:
    study = next(swept.rglob("study.json")).parent
    path = write_plan(
        ("objective: low-latency", f"objective: low-latency\n    warm_start: {study}")
    )

    with pytest.raises(FileFormatError, match=r"plan\.yaml:10: .*'random' does not"):
        read_plan(path)
