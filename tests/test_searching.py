import inspect
import pydoc
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.errors import (
    InvalidArgumentError,
    InvalidSpaceError,
    SimulatorError,
    StudyExistsError,
)
from archgym.searching import SearchResult, search
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.studies import portfolio
from archgym.studies.metadata import read_header
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import SPACE, toy_task

MOST = 1000


@ag.simulator(
    space=[ag.PowerOfTwo(name="ways", low=1, high=16), ag.PowerOfTwo(name="kib", low=4, high=512)],
    metrics={"amat_ns": "minimise", "area_mm2": "minimise"},
)
def cache(design: Any) -> dict[str, float]:
    misses = 0.3 / design["kib"] ** 0.5 / design["ways"] ** 0.2
    return {
        "amat_ns": 1.0 + 0.1 * design["ways"] + 60.0 * misses,
        "area_mm2": 0.04 * design["kib"] + 0.01 * design["ways"],
    }


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(**options: Any) -> SearchResult:
    return search(cache, minimise="amat_ns", subject_to="area_mm2 <= 5", budget=30, **options)


def test_one_call_searches_a_function_within_its_limits() -> None:
    result = run()

    assert result.best is not None
    assert result.ended in ("budget", "agent")
    assert result.missed == []
    # 128 KiB is the largest power of two within the limit: 5.12 mm2 at 128, 2.56 mm2 at 64.
    assert result.best.design["kib"] == 64
    assert result.folder.parent == Path("runs")


def test_search_of_nothing_is_refused() -> None:
    nothing: Any = None

    with pytest.raises(InvalidArgumentError, match="`problem` must be a registered name"):
        search(nothing)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": "2"},
        {"workers": None},
        {"workers": True},
        {"minimise": 5},
        {"maximise": [5]},
        {"subject_to": 5},
        {"agent": 7},
        {"folder": 7},
    ],
    ids=str,
)
def test_argument_of_another_type_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"must be .*; got .*\."):
        search(cache, **{"minimise": "amat_ns", "budget": 2, **wrong})
    assert not Path("runs").exists()


def test_what_is_no_parameter_makes_no_space() -> None:
    wrong: Any = 5

    with pytest.raises(InvalidArgumentError, match="must be a DesignSpace or list parameters"):
        ag.simulator(space=wrong, metrics={"x": "minimise"})(len)  # type: ignore[arg-type]  # never called
    with pytest.raises(InvalidSpaceError, match="made of parameters, such as Integer; got 'a'"):
        DesignSpace("x", ["a"])  # type: ignore[list-item]  # wrong on purpose


def test_auto_among_earlier_studies_is_refused() -> None:
    run(folder="earlier", agent="random")

    with pytest.raises(InvalidArgumentError, match="or `auto` alone, which looks for them"):
        run(warm_start=("earlier", "auto"))


def test_prior_without_effect_is_told(caplog: pytest.LogCaptureFixture) -> None:
    run(agent="random", prior=False)

    assert "Agent 'random' uses no designs that ship" in caplog.text


def test_search_is_a_plain_function_of_the_package() -> None:
    result = ag.search(cache, minimise="area_mm2", budget=5)

    assert result.best is not None
    assert inspect.isfunction(ag.search)
    shown = pydoc.render_doc(ag.search)
    assert "Search for the best design of a task" in shown
    assert "budget" in shown
    assert isinstance(result, ag.SearchResult)


def test_cell_that_runs_twice_returns_the_same_study() -> None:
    first = run()
    again = run()
    longer = search(cache, minimise="amat_ns", subject_to="area_mm2 <= 5", budget=40)

    assert again.folder == first.folder == longer.folder
    assert again.log.header.id == first.log.header.id
    assert longer.evaluations == 40
    assert run(seed=1, folder="other").folder == Path("other")


def test_text_of_a_result_names_missed_limits() -> None:
    met = run()
    missed = search(cache, minimise="amat_ns", subject_to="area_mm2 <= 0.1", budget=9)

    assert "missed" not in repr(met)
    assert f"limits missed: {missed.missed[0]}" in repr(missed)
    assert missed.missed[0].endswith("> 0.1")


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_number_of_best_designs_is_one_or_more(k: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`k` must be a whole number of 1 or more"):
        run().top(k)


def test_cell_with_a_smaller_budget_returns_the_study_with_a_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = run()

    again = search(cache, minimise="amat_ns", subject_to="area_mm2 <= 5", budget=10)

    assert again.folder == first.folder
    assert again.evaluations == 30
    assert again.ended == "budget"
    assert "has 30 evaluations already, more than the budget of 10" in caplog.text
    assert run(folder=first.folder).evaluations == 30


def test_smaller_budget_does_not_continue_an_unfinished_study(tmp_path: Path) -> None:
    task = Task.make(cache, objective="minimise:amat_ns")
    with Study.create("a", task, "genetic", budget=40) as study:
        for design in study.ask(12):
            study.tell(design, {"amat_ns": float(str(design["ways"])), "area_mm2": 1.0})
    known = read_study("a").evaluations

    result = Study.create("a", task, "genetic", budget=5, exists="resume").run()

    assert 5 < known == result.evaluations


def test_changed_function_gets_a_folder_of_its_own() -> None:
    def made(factor: float) -> Any:
        source = f"lambda design: {{'loss': {factor} * design['x']}}"
        function = eval(source)
        function.__name__ = "loss"
        return ag.simulator(space=[Integer(name="x", low=0, high=9)], metrics={"loss": "minimise"})(
            function
        )

    folders = {search(made(factor), budget=3).folder for factor in (1.0, 2.0, 1.0)}

    assert len(folders) == 2


def test_named_folder_with_another_study_is_refused() -> None:
    run(folder="a")

    with pytest.raises(StudyExistsError, match="its seed is 0, not 1"):
        run(folder="a", seed=1)


def test_plain_function_is_told_to_be_decorated() -> None:
    def plain(design: Any) -> dict[str, float]:
        return {"loss": 1.0}

    with pytest.raises(InvalidArgumentError, match=r"`plain` must say .* @archgym\.simulator"):
        search(plain)  # type: ignore[arg-type]


def test_task_is_searched_and_takes_no_further_choices() -> None:
    assert search(toy_task(), budget=5).evaluations == 5
    with pytest.raises(InvalidArgumentError, match="`minimise` belongs to the task"):
        search(toy_task(), minimise="latency_ns")


def test_result_has_the_best_designs_as_data_frames() -> None:
    result = search(cache, subject_to="area_mm2 <= 5", budget=40, agent="grid")
    everything, top, front = result.to_dataframe(), result.top(3), result.front

    assert len(everything) == result.evaluations
    assert list(everything.columns) == [
        "ways",
        "kib",
        "amat_ns",
        "area_mm2",
        "reward",
        "feasible",
        "reason",
    ]
    assert everything["kib"].max() == 512
    assert not everything.loc[everything["area_mm2"] > 5, "feasible"].any()
    assert top["reward"].is_monotonic_decreasing
    assert result.best is not None
    assert top.iloc[0]["amat_ns"] == result.best.metrics["amat_ns"]
    assert front["feasible"].all()
    assert 1 < len(front) < len(everything)


def test_frame_of_several_workloads_has_each_and_their_mean(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task({"light": 2.0, "heavy": 1.0}), "random", budget=9)
    frame = study.run().to_dataframe()

    mean = (2 * frame["latency_ns@light"] + frame["latency_ns@heavy"]) / 3
    built = frame["reason"] == ""
    assert mean[built].to_numpy() == pytest.approx(frame["latency_ns"][built].to_numpy())
    assert set(frame["mode"]) <= {"off", "slow", "fast"}


def test_figures_show_the_study() -> None:
    result = search(toy_task(), budget=120, agent="random")
    plot = result.plot

    curve = plot.convergence().data[0].y
    assert len(curve) == 120
    built = curve[curve == curve]
    assert (built[1:] >= built[:-1]).all()
    front = {trace.name: trace for trace in plot.front().data}
    assert set(front) == {"designs", "front", "default design"}
    assert len(front["front"].x) <= len(front["designs"].x)
    # Points have the numbers of `archgym show`, the best in the first term first.
    numbers = [int(text) for text in front["front"].text if text]
    assert numbers == list(range(1, len(numbers) + 1))
    bars = plot.importance().data[0]
    # Pairs follow the parameters.
    assert {name for name in bars.y if " × " not in name} == set(SPACE.names)


def test_importance_of_few_designs_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="50 feasible designs"):
        search(toy_task(), budget=20).plot.importance()


def test_objects_are_short_as_text_and_tables_as_html(tmp_path: Path) -> None:
    wide = DesignSpace("wide", [Integer(name=f"p{n}" * 8, low=0, high=9) for n in range(300)])
    task = Task.make("dram")
    result = search(toy_task(), budget=8)
    study = Study.open(result.folder, toy_task())
    design = wide.design_at(wide.default_indices)
    objects: list[Any] = [
        wide,
        design,
        task,
        toy_task(),
        study,
        study.run(),
        result,
        result.log,
        result.best,
    ]

    for shown in objects:
        assert 0 < len(repr(shown)) <= MOST, type(shown)
        assert "<table>" in shown._repr_html_(), type(shown)
    assert repr(design).endswith("more)")
    assert "&lt;" in DesignSpace("a", [Integer(name="<b>", low=0, high=1)])._repr_html_()


def test_search_in_threads_of_a_function_that_cannot_be_pickled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock = threading.Lock()

    @ag.simulator(space=[Integer(name="x", low=0, high=30)], metrics={"loss": "minimise"})
    def locked(design: Any) -> dict[str, float]:
        with lock:
            return {"loss": float(abs(design["x"] - 7))}

    # As many designs in flight, whatever the number of workers.
    flight = {"batch_size": 2}
    one = search(locked, budget=12, hyperparameters=flight)
    search(locked, budget=12, hyperparameters=flight, workers=2, folder="two")

    assert "runs in threads" in caplog.text
    assert (one.folder / "journal.jsonl").read_bytes() == Path("two/journal.jsonl").read_bytes()
    assert read_study("two").evaluations == 12


def test_simulator_that_is_evaluated_elsewhere_is_not_searched_in_one_call() -> None:
    board = ag.OutsideSimulator(
        "fpga", [Integer(name="lanes", low=1, high=8)], {"ms": "minimise"}, default={"ms": 9.0}
    )

    with pytest.raises(InvalidArgumentError, match=r"evaluated elsewhere.*`ask` and `tell`"):
        search(board, budget=5)


def test_default_design_that_takes_too_long_ends_the_call() -> None:
    @ag.simulator(space=[Integer(name="x", low=1, high=4)], metrics={"ms": "minimise"})
    def slow(design: Mapping[str, Any]) -> dict[str, float]:
        if design["x"] == 1:
            threading.Event().wait(5.0)
        return {"ms": 1.0}

    with pytest.raises(SimulatorError, match=r"must run within `timeout_s`, 0\.2 s"):
        search(slow, budget=5, timeout_s=0.2)


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"minutes": -1}, {"cache": ""}, {"folder": ""}])
def test_no_time_and_no_path_are_refused_before_a_folder_is_made(wrong: dict[str, Any]) -> None:
    # Before, the first two left a study without designs, `cache=""` wrote into this folder.
    with pytest.raises(InvalidArgumentError, match=r"must be a number of 1e-09|must be a path"):
        run(**wrong)

    assert not list(Path().iterdir())


def test_callback_without_its_method_is_refused() -> None:
    callbacks: list[Any] = [print]

    with pytest.raises(InvalidArgumentError, match="must have the method `on_trials"):
        search(cache, minimise="amat_ns", budget=5, callbacks=callbacks)


def test_same_call_opens_the_study_after_its_earlier_study_has_grown_or_gone() -> None:
    search(cache, minimise="amat_ns", budget=10, folder="base")
    call: dict[str, Any] = {"minimise": "amat_ns", "budget": 12, "seed": 1, "warm_start": ["base"]}
    search(cache, folder="warm", **call)
    journal = Path("warm/journal.jsonl").read_bytes()

    search(cache, minimise="amat_ns", budget=14, folder="base")
    search(cache, folder="warm", **call)
    shutil.rmtree("base")
    search(cache, folder="warm", **call)

    assert Path("warm/journal.jsonl").read_bytes() == journal
    search(cache, minimise="amat_ns", budget=10, seed=5, folder="base")
    with pytest.raises(StudyExistsError, match="records of other studies"):
        search(cache, folder="warm", **call)


def test_one_earlier_study_may_be_given_by_its_folder() -> None:
    search(cache, minimise="amat_ns", budget=10, folder="first")

    result = search(
        cache, minimise="amat_ns", budget=10, seed=1, warm_start="first", folder="second"
    )

    assert result.best is not None


def test_new_search_begins_with_the_designs_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task()
    designs = [dict(task.space.design_at(row)) for row in task.space.sample(2, rng())]
    monkeypatch.setattr(portfolio, "_portfolios", lambda: {("toy", "toy"): tuple(designs)})

    with_prior = search(task, budget=6, folder=tmp_path / "with")
    without = search(task, budget=6, folder=tmp_path / "without", prior=False)
    genetic = search(task, budget=6, folder=tmp_path / "genetic", agent="genetic")
    monkeypatch.setattr(portfolio, "_portfolios", dict)
    same = search(task, budget=6, folder=tmp_path / "without")

    assert read_header(with_prior.folder).start is not None
    firsts = with_prior.log.records.indices[:2]
    assert [dict(d) for d in task.space.designs(firsts)] == designs
    assert read_header(without.folder).start is None
    assert read_header(genetic.folder).start is None
    assert same.log.header.id == without.log.header.id


def test_study_without_designs_that_ship_continues_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task()
    first = search(task, budget=6, folder=tmp_path / "study", hyperparameters={"batch_size": 2})
    design = dict(task.space.design_at(task.space.default_indices))
    monkeypatch.setattr(portfolio, "_portfolios", lambda: {("toy", "toy"): (design,)})

    again = search(task, budget=9, folder=tmp_path / "study", workers=4)

    assert again.log.header.id == first.log.header.id
    assert again.evaluations == 9
    assert again.log.header.hyperparameters == {
        "batch_size": 2,
        "island": "few",
        "polish": 0.25,
    }


def test_slow_tasks_have_a_design_in_flight_for_each_worker(tmp_path: Path) -> None:
    found = search(toy_task(), budget=6, workers=3, folder=tmp_path / "study")

    assert found.log.header.hyperparameters == {
        "batch_size": 3,
        "island": "few",
        "polish": 0.25,
    }


def test_warm_start_auto_finds_alike_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    light, heavy = toy_task({"light": 1.0}), toy_task({"heavy": 1.0})
    best = search(light, budget=20, agent="random").best
    assert best is not None

    found = search(heavy, budget=8, warm_start="auto")
    again = search(heavy, budget=8, warm_start="auto")
    alone = search(light, budget=8, warm_start="auto", seed=1)

    start = np.array(read_header(found.folder).start)
    default = heavy.space.design_at(heavy.space.default_indices)
    assert task_designs(heavy, start) == [dict(best.design), dict(default)]
    assert again.log.header.id == found.log.header.id
    # The best of the study of this very task, that of the other one, and the default design.
    starts = task_designs(light, np.array(read_header(alone.folder).start))
    assert len(starts) == 3
    assert dict(best.design) in starts
    assert starts[-1] == dict(default)


def task_designs(task: Task, rows: np.ndarray) -> list[dict[str, Any]]:
    return [dict(design) for design in task.space.designs(rows)]


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("wrong", ["no", 0, None, np.array([1, 2])])
def test_prior_that_is_neither_true_nor_false_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`prior` must be True or False; got "):
        run(prior=wrong)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    space = [ag.Integer(name="n", low=np.int64(0), high=np.int32(9), step=np.uint8(1))]
    plain = [ag.Integer(name="n", low=0, high=9, step=1)]

    @ag.simulator(space=space, metrics={"m": "minimise"}, version=np.int64(0))
    def counted(design: Any) -> dict[str, float]:
        return {"m": 1.0 + design["n"]}

    journals = []
    for kind, folder in ((int, "plain"), (np.int64, "numpy")):
        study = Study.create(
            folder, Task.make(counted), "random", seed=kind(1), budget=kind(3), max_asks=kind(9)
        )
        with study:
            design = study.ask(kind(2))[0]
            study.tell(design, {"m": 1.0 + design["n"]})
            assert len(study.run(budget=kind(4)).log.records) == 4
        journals.append(Path(folder, "journal.jsonl").read_bytes())
        header = read_header(Path(folder))
        assert [type(n) for n in (header.seed, header.budget, header.max_asks)] == [int] * 3

    assert counted.space.digest == DesignSpace("default", plain).digest
    assert journals[0] == journals[1]
    result = search(counted, budget=np.int64(3), seed=np.arange(3)[1], workers=np.int64(1))
    assert result.evaluations == 3


@pytest.mark.parametrize("name", ["fixed", "values", "hyperparameters"])
@pytest.mark.parametrize("wrong", [0, "", np.array([1, 2])])
def test_choice_that_maps_nothing_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{name}` must map names to values"):
        run(**{name: wrong})


def test_design_that_is_none_is_refused() -> None:
    with pytest.raises(ag.ArchGymError, match="A design must map parameters to values; got 1"):
        cache.space.indices_of(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["minimise", "maximise", "subject_to"])
def test_array_is_no_text(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="must be texts such as"):
        search(cache, budget=1, **{name: np.array([1, 2])})


def test_text_is_no_list() -> None:
    space = [Integer(name="n", low=0, high=1)]
    with pytest.raises(InvalidArgumentError, match="`reasons` must be a list of texts"):
        ag.simulator(space=space, metrics={"m": "minimise"}, reasons="bad")(lambda design: {})
    with pytest.raises(InvalidArgumentError, match="`metrics` must map names to goals"):
        ag.simulator(space=space, metrics=5)(lambda design: {})  # type: ignore[arg-type]
    with pytest.raises(InvalidSpaceError, match="a list of choices"):
        ag.Categorical(name="c", choices="xyz")
