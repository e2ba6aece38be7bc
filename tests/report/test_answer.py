"""Answer of a report: ablation path, gains, confidence and the front in real units."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.metrics import Goal, MetricSpec
from archgym.evaluation.objective import Objective, Term, subject_to
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.report import TaskEvidence, find, read_evidence
from archgym.report.answer import Answer, answer_of, brought_text, percent_text
from archgym.report.best_design import Chosen, choose
from archgym.report.decision import decide
from archgym.report.figures import front_chart, front_step
from archgym.report.page import PageOptions, explorer, page
from archgym.report.simplification import AblationPath, ablation_path
from archgym.spaces.design import Constraint
from archgym.spaces.expression import P
from archgym.spaces.space import DesignSpace
from archgym.studies.study import Study
from archgym.tables import build_table
from archgym.tasks.task import Task
from tests.toys import SPACE, ToySimulator


@pytest.fixture
def task(swept: Path) -> TaskEvidence:
    return read_evidence([swept]).tasks[0]


def toy_task(objective: str | Objective = "low-latency") -> Task:
    return Task.make(ToySimulator(), "light", objective)


# ---- the ablation path


def test_ablation_path_ends_at_the_design_and_its_gains_add_up() -> None:
    task = toy_task()
    design = {"mode": "fast", "banks": 8, "depth": 3, "gain": 0.3, "boost": 3}
    end = task.space.indices_of(design)

    path = ablation_path(task, end)

    default = dict(task.space.design_at(task.space.default_indices))
    for step in path.steps:
        for name, old, new in step.changes:
            assert (old, new) == (default[name], design[name])
            default[name] = new
    assert default == design
    whole = task.evaluate(np.array([task.space.default_indices, end])).reward
    assert path.steps[-1].reward == whole[1]
    assert sum(path.gains()) == pytest.approx(whole[1] - whole[0])


def test_first_step_of_the_path_is_the_best_single_change() -> None:
    task = toy_task()
    start = task.space.default_indices
    end = task.space.indices_of({"mode": "fast", "banks": 8, "depth": 3, "gain": 0.3, "boost": 0})
    singles = []
    for place in np.flatnonzero(start != end):
        row = start.copy()
        row[place] = end[place]
        singles.append(float(task.evaluate(task.space.canonical(row[None, :])).reward[0]))

    assert ablation_path(task, end).steps[0].reward == max(singles)


def test_change_that_is_infeasible_alone_waits_for_another() -> None:
    task = toy_task()
    # 16 banks of depth 8 exceed the buffer of 64 entries.
    start = task.space.indices_of({"mode": "off", "banks": 8, "depth": 8, "gain": 0.3, "boost": 0})
    end = task.space.indices_of({"mode": "off", "banks": 16, "depth": 4, "gain": 0.3, "boost": 0})

    path = ablation_path(task, end, start)

    assert [step.changes for step in path.steps] == [(("depth", 8, 4),), (("banks", 8, 16),)]


def test_changes_that_are_all_infeasible_alone_are_made_together() -> None:
    simulator = ToySimulator()
    tied = Constraint("tie", P("banks") == P("depth"), "Banks and depth are linked.")
    simulator.spec = replace(
        simulator.spec, space=DesignSpace("toy", SPACE.parameters, constraints=[tied])
    )
    task = Task.make(simulator, "light", "low-latency")
    start = task.space.indices_of({"mode": "off", "banks": 2, "depth": 2, "gain": 0.3, "boost": 0})
    end = task.space.indices_of({"mode": "off", "banks": 4, "depth": 4, "gain": 0.3, "boost": 0})

    (step,) = ablation_path(task, end, start).steps

    assert step.changes == (("banks", 2, 4), ("depth", 2, 4))


class InteractingSimulator(ToySimulator):
    """Toy whose latency falls if banks and depth change together, and rises otherwise."""

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        column = self.space.columns(indices)
        is_wide, is_deep = column["banks"] == 8, column["depth"] == 3
        latency = np.full(len(indices), 100.0)
        latency[is_wide != is_deep] = 120.0
        latency[is_wide & is_deep] = 50.0
        latency[column["gain"] > 0.6] *= 0.5
        latency[(column["gain"] > 0.6) & (column["mode"] == "slow")] *= 1.1
        power = np.full(len(indices), 10.0)
        entries = (column["banks"] * column["depth"]).astype(np.float64)
        values = np.stack([latency, power, 64.0 / latency, entries], axis=1)
        return BatchResult(values, np.zeros(len(indices), dtype=np.int16))


DEFAULTS = {"mode": "off", "banks": 4, "depth": 5, "gain": 0.5, "boost": 0}


def interacting_path(**changes: object) -> AblationPath:
    task = Task.make(InteractingSimulator(), "light", "low-latency")
    start = task.space.indices_of(DEFAULTS)
    return ablation_path(task, task.space.indices_of({**DEFAULTS, **changes}), start)


def changed_names(path: AblationPath) -> list[list[str]]:
    return [[name for name, _, _ in step.changes] for step in path.steps]


def test_changes_that_help_only_together_are_one_step() -> None:
    path = interacting_path(banks=8, depth=3, gain=0.4)

    assert changed_names(path) == [["banks", "depth"], ["gain"]]
    assert path.without_effect == ("gain",)
    assert [step.values[0] for step in path.steps] == [50.0, 50.0]


def test_changes_without_effect_can_all_return_together() -> None:
    path = interacting_path(banks=8, depth=3, gain=0.9, mode="fast")
    task = path.task
    design = {**DEFAULTS, "banks": 8, "depth": 3, "gain": 0.9, "mode": "fast"}
    returned = {name: DEFAULTS[name] for name in path.without_effect}
    rows = np.array([task.space.indices_of(each) for each in (design, {**design, **returned})])

    values = task.average(task.evaluate(rows).values)

    assert path.without_effect == ("mode",)
    assert values[0].tolist() == values[1].tolist()


def test_step_that_makes_the_objective_worse_says_so() -> None:
    path = interacting_path(gain=0.9, mode="slow")

    assert changed_names(path) == [["gain"], ["mode"]]
    assert brought_text(path, 0) == "latency −50.0 %"
    assert brought_text(path, 1) == "latency +10.0 %; the objective gets worse"


# ---- the cards


def test_cards_say_what_the_simulator_says(task: TaskEvidence) -> None:
    chosen = choose(task)
    assert isinstance(chosen, Chosen)
    found = answer_of(task, chosen)
    assert found is not None

    (gain,) = found.gains
    best = chosen.explanation.values[0]
    assert gain.best == f"{float(f'{best:.4g}'):g} ns"
    assert gain.verdict == "better"
    assert gain.change == percent_text(best, task.reference[0])
    changed = {change.parameter for change in found.design} | set(found.idle)
    design = task.space.design_at(chosen.explanation.indices)
    default = task.space.design_at(task.space.default_indices)
    assert changed == {name for name in design if design[name] != default[name]}
    assert all(change.brought.startswith(("latency", "no change")) for change in found.design)


def test_metrics_that_got_worse_are_the_price(task: TaskEvidence) -> None:
    found = answer_of(task, None)
    assert found is not None
    best = task.best
    assert best is not None
    worse = best[0].values[best[1], 1] > 1.02 * task.reference[1]

    assert [price.metric for price in found.prices] == ["power_mw"] * bool(worse)
    assert not found.is_evaluated


def test_limit_that_is_missed_is_said_on_the_card(task: TaskEvidence) -> None:
    assert task.best is not None
    run = task.best[0]
    limited = subject_to(task.objective, "power_mw <= 1", task.metrics)
    missed = replace(run, missed=("power_mw 12 > 1",))

    found = dict(confidence(replace(task, objective=limited, runs=(missed,))))
    met = dict(confidence(replace(task, objective=limited, runs=(replace(run, missed=()),))))

    assert found["limits"] == "missed: power_mw 12 > 1"
    answer = answer_of(replace(task, objective=limited, runs=(missed,)), None)
    assert answer is not None
    assert answer.closest == (
        "No design meets the limits. The closest one misses: power is 12 mW instead of at most "
        "1 mW (12 times)."
    )
    assert met["limits"] == "met as simulated: power_mw <= 1"


def test_page_says_that_no_design_meets_the_limits(swept: Path) -> None:
    found = find(read_evidence([swept]))
    label, answer = next(iter(found.answers.items()))
    closest = replace(answer, design=(), idle=(), closest="No design meets the limits.")

    text = page(replace(found, answers={label: closest}))

    assert '<p class="worse">No design meets the limits.</p>' in text
    assert "The default design is the closest to the limits." in text
    assert "the best one.</p>" not in text


def confidence(task: TaskEvidence, chosen: Chosen | None = None) -> tuple[tuple[str, str], ...]:
    found = answer_of(task, chosen)
    assert isinstance(found, Answer)
    return found.sure


def test_table_proves_the_optimum_or_says_how_far_it_is(swept: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    build_table(Task.make("plugin", "light", "low-latency"), file)
    (task,) = read_evidence([swept], [file]).tasks
    assert task.known is not None
    reward = task.known.reward
    run = task.runs[0]
    best = replace(run, reward=np.append(run.reward[:-1], reward))

    proven = dict(confidence(replace(task, runs=(best,))))["optimum"]
    behind = replace(run, reward=np.minimum(run.reward, reward - 0.1))
    open_ = dict(confidence(replace(task, runs=(behind,))))["optimum"]

    n = f"{len(task.known.rewards):,}"
    assert proven == f"proven: the best of all {n} designs"
    assert re.fullmatch(rf"[\d,]+ of {n} designs are better; \d+(\.\d+)? % worse than .+", open_)


def test_gain_within_the_simulator_s_error_is_no_gain(task: TaskEvidence) -> None:
    chosen = choose(task)
    assert isinstance(chosen, Chosen)
    blurred = replace(chosen, error_percent=10_000.0)

    texts = [dict(confidence(task, each)) for each in (chosen, blurred)]

    assert "larger than the gain" not in texts[0]["simulator"]
    assert "larger than the gain" in texts[1]["simulator"]
    # Next to intervals of real values, it is named for what it is.
    assert all("designs are compared with an error of ±" in text["simulator"] for text in texts)


def test_errors_of_all_metrics_that_count_are_listed(tmp_path: Path) -> None:
    objective = subject_to(toy_task().objective, ["power_mw <= 1000"], toy_task().metrics)
    log = Study.create(tmp_path / "s", toy_task(objective), "random", seed=1, budget=8).run().log

    texts = dict(confidence(read_evidence([tmp_path / "s"]).tasks[0]))

    best = decide(log).best
    assert f"evaluation {best.evaluation} is the best of its run" in texts["real machine"]
    assert len(decide(log).alternatives) == 1 or "hold the best" in texts["as good there"]
    errors = f"latency ±{best.margin('latency_ns'):.2g} %, power ±{best.margin('power_mw'):.2g} %"
    assert texts["its error"].startswith(f"90 % intervals: {errors} (error not known")
    # Each is a line of a card.
    assert all(len(text) < 200 for text in texts.values())


@pytest.mark.parametrize(
    ("value", "base", "text"),
    [
        (68.8, 100.0, "−31.2 %"),
        (1230.0, 100.0, "12.3 times"),
        (370.0, 100.0, "3.7 times"),
        (200.0, 100.0, "+100 %"),
        (5.0, 100.0, "−95.0 %"),
        (0.5, 100.0, "÷200"),
        (100.04, 100.0, "no change"),
        (1.0, 0.0, ""),
    ],
)
def test_change_is_a_percentage_or_a_factor(value: float, base: float, text: str) -> None:
    assert percent_text(value, base) == text


# ---- the front


def test_front_of_the_page_is_in_real_units(task: TaskEvidence) -> None:
    chart = front_chart(task)
    assert chart is not None
    spec = chart.spec

    star = spec["marks"][0]
    assert (star["kind"], star["text"]) == ("star", "default")
    reference = dict(zip((s.name for s in task.metrics), task.reference, strict=True))
    assert star["x"] == pytest.approx(reference["latency_ns"], rel=1e-5)
    assert spec["x"]["title"].startswith("latency [")
    assert spec["x"]["better"] == "less is better"
    assert "The objective is latency_ns alone" in chart.note
    xs, ys = (np.array(spec["lines"][0][axis]) for axis in "xy")
    sign = 1 if spec["y"]["better"] == "less is better" else -1
    assert (np.diff(xs) > 0).all()
    assert (np.diff(ys) * sign < 0).all()
    assert [row[0] for row in chart.table.rows] == list(range(1, len(chart.table.rows) + 1))


@pytest.mark.parametrize(("goal", "step"), [("minimise", "hv"), ("maximise", "vh")])
def test_front_steps_through_attained_values_only(goal: Goal, step: str) -> None:
    assert front_step(MetricSpec("area_mm2", "mm2", goal, 0.1, "Area.")) == step


def test_designs_that_miss_a_limit_are_not_on_the_front(task: TaskEvidence) -> None:
    values = task.stacked("values")
    bound = float(np.median(values[np.isfinite(values[:, 1]), 1]))
    objective = subject_to(task.objective, f"power_mw <= {bound}", task.metrics)
    runs = tuple(
        replace(run, reward=np.where(run.values[:, 1] <= bound, run.reward, -21.0))
        for run in task.runs
    )

    chart = front_chart(replace(task, objective=objective, runs=runs))

    assert chart is not None
    assert chart.spec["y"]["title"].startswith("power")
    assert max(chart.spec["lines"][0]["y"]) <= bound * (1 + 1e-5)
    assert [limit["text"] for limit in chart.spec["limits"]] == [str(objective.limits[0])]


def test_default_design_has_a_reward_under_a_target(task: TaskEvidence) -> None:
    term = Term("latency_ns", "at-most", target=float(task.reference[0]) / 2)
    reward = -np.log((task.reference[0] + 0.1) / (task.reference[0] / 2 + 0.1))
    aimed = replace(task, objective=Objective("aim", (term,)), default_reward=float(reward))

    about, packed = explorer(aimed, "explorer-0", 1)

    assert about["axes"][-1] == "reward"
    assert np.isfinite(aimed.default_reward)
    assert packed != explorer(task, "explorer-0", 1)[1]


# ---- the page


def test_page_opens_with_the_cards_and_has_no_exponents(swept: Path) -> None:
    found = find(read_evidence([swept]))
    options = PageOptions(title="Cache <study>", author="A. N.", date="2026-11-27")

    text = page(found, options)

    head, _, rest = text.partition('<nav aria-label="Contents">')
    assert head.index("<h3>Design</h3>") < head.index("<h3>Gain") < head.index("<h3>How sure")
    assert "Cache &lt;study&gt;" in head
    assert "A. N. · 2026-11-27" in head
    assert "<table" not in head.partition("<h3>Front</h3>")[0]
    shown = re.sub(r"<script.*?</script>|<style.*?</style>", "", text, flags=re.DOTALL)
    assert not re.findall(r"\d[eE][+-]\d", shown)
    for link in re.findall(r'href="#([^"]+)"', rest):
        assert f'<details id="{link}">' in rest


def test_page_can_leave_the_folders_out(swept: Path) -> None:
    found = find(read_evidence([swept]), is_evaluating=False)

    assert f"archgym report {swept}" in page(found)
    assert str(swept) not in page(found, PageOptions(has_folders=False))
