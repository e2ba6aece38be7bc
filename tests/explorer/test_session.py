"""Sessions of a page: the newest design first, saves that lose nothing, searches that stop."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import ArchGymError
from archgym.evaluation.function import FunctionSimulator
from archgym.explorer.session import EXPLORED, Searches, Session
from archgym.explorer.subject import explore, task_of_folder
from archgym.files.lease import Lease
from archgym.spaces.parameter import Integer
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import ToyAgent, ToySimulator, toy_task


class Shown:
    """Parts that a session published, the newest of each name, and all notices."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}
        self.notices: list[str] = []

    def __call__(self, name: str, content: Any) -> None:
        self.parts[name] = content
        if name == "notice":
            self.notices.append(content)

    def wait(self, is_there: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not is_there():
            assert time.monotonic() < end, (self.parts.get("answer"), self.notices)
            threading.Event().wait(0.01)

    def is_done(self, session: Session) -> bool:
        changes = self.parts.get("changes", {})
        here = [str(index) for index in session.state.design.tolist()]
        return bool(changes.get("design") == here and changes["known"] == changes["total"])


@contextmanager
def opened(task: Task, folder: Path | None = None) -> Iterator[tuple[Session, Shown]]:
    shown = Shown()
    with Session(task, shown, folder) as session:
        session.start()
        yield session, shown


class SlowSimulator(ToySimulator):
    """Designs of depth 8 take until they are let go."""

    go: threading.Event
    asked: list[int]

    def simulate(self, indices: np.ndarray, workload: Any) -> Any:
        self.asked += indices[:, 2].tolist()
        if (indices[:, 2] == 7).any():
            self.go.wait(20)
        return super().simulate(indices, workload)


def test_page_is_filled_without_a_move() -> None:
    with opened(toy_task()) as (session, shown):
        shown.wait(lambda: shown.is_done(session) and shown.parts.get("cloud", {}).get("n", 0) > 5)

    assert shown.parts["answer"]["built"]
    assert shown.parts["space"]["agents"]


def test_slow_design_leaves_the_last_answer_and_the_newest_comes_next() -> None:
    simulator = SlowSimulator()
    simulator.go, simulator.asked = threading.Event(), []
    task = Task.make(simulator, toy_task().workloads[0].source)
    with opened(task) as (session, shown):
        shown.wait(lambda: shown.parts.get("answer", {}).get("known", False))
        session.take({"kind": "set", "place": 2, "index": 7})
        assert not shown.parts["answer"]["known"]
        for index in (1, 3, 4):
            session.take({"kind": "set", "place": 2, "index": index})
        assert shown.parts["answer"]["design"][2] == "4"
        simulator.go.set()
        shown.wait(lambda: shown.parts["answer"]["known"])

    assert shown.parts["answer"]["design"][2] == "4"


class PacedSimulator(ToySimulator):
    """A design takes 10 ms."""

    sizes: list[int]

    def simulate(self, indices: np.ndarray, workload: Any) -> Any:
        self.sizes.append(len(indices))
        return super().simulate(indices, workload)


def test_parts_of_neighbours_stay_short_where_some_are_known() -> None:
    simulator = PacedSimulator(pace_s=0.01)
    simulator.sizes = []
    task = Task.make(simulator, toy_task().workloads[0].source)
    with Session(task, shown := Shown()) as session:
        rows, _ = session.state.changes()
        feasible = rows[task.space.feasible(rows)]
        session.state.evaluate(feasible[:5])
        simulator.sizes.clear()
        session.start()
        shown.wait(lambda: shown.is_done(session))

    assert sum(simulator.sizes) >= len(feasible) - 5
    assert max(simulator.sizes) <= 4


def test_move_does_not_wait_for_neighbours_of_the_last_design() -> None:
    """A neighbour of the first design, of depth 8, takes until it is let go."""
    simulator = SlowSimulator()
    simulator.go, simulator.asked = threading.Event(), []
    task = Task.make(simulator, toy_task().workloads[0].source)
    with opened(task) as (session, shown):
        shown.wait(lambda: 7 in simulator.asked)
        for index in (1, 3, 4):
            session.take({"kind": "set", "place": 2, "index": index})
            shown.wait(lambda: shown.parts["answer"]["known"], seconds=5)
            assert shown.parts["answer"]["design"][2] == str(index)
        assert not simulator.go.is_set()
        simulator.go.set()
        shown.wait(lambda: shown.is_done(session) and shown.parts.get("cloud", {}).get("n", 0) > 5)


def test_functions_of_a_user_are_never_called_twice_at_once() -> None:
    inside, most = 0, 0

    def cache(design: Mapping[str, Any]) -> dict[str, float]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1
        return {"latency_ns": 2.0 + 8.0 / design["ways"] + design["sets"]}

    parameters = [Integer(name="ways", low=1, high=9), Integer(name="sets", low=1, high=9)]
    task = Task.make(FunctionSimulator(cache, parameters, {"latency_ns": "minimise"}))
    with opened(task) as (session, shown):
        for index in (1, 3, 4):
            session.take({"kind": "set", "place": 0, "index": index})
            shown.wait(lambda: shown.is_done(session))

    assert most == 1


def test_move_does_not_wait_for_what_bounds_the_last_design(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, go = threading.Event(), threading.Event()

    def explained() -> list[Any]:
        began.set()
        go.wait(20)
        return []

    with opened(toy_task()) as (session, shown):
        shown.wait(lambda: shown.is_done(session))
        monkeypatch.setattr(session.state, "bounds_json", explained)
        session.take({"kind": "set", "place": 2, "index": 2})
        assert began.wait(20)
        session.take({"kind": "set", "place": 2, "index": 4})
        shown.wait(lambda: shown.is_done(session), seconds=5)
        assert not go.is_set()
        go.set()


def test_wrong_messages_are_notices_and_change_nothing() -> None:
    with opened(toy_task()) as (session, shown):
        before = session.state.design.copy()
        wrong = [None, {}, {"kind": "rm"}, {"kind": "set"},
                 {"kind": "set", "place": "0", "index": 1}, {"kind": "load", "design": ["9"] * 5},
                 {"kind": "copy", "form": "../x"},
                 {"kind": "go", "to": "D"}, {"kind": "__init__"}]  # fmt: skip
        for message in wrong:
            session.take(message)

        assert len(shown.notices) == len(wrong)
        assert np.array_equal(session.state.design, before)


def test_best_design_of_a_study_is_shown_first(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with Study.create(folder, toy_task(), ToyAgent, seed=3, budget=40) as study:
        study.run()
    best = read_study(folder).best()
    assert best is not None
    journal = (folder / "journal.jsonl").read_bytes()

    with opened(toy_task(), folder) as (session, shown):
        shown.wait(lambda: shown.is_done(session))
        shown.wait(lambda: "study" in shown.parts)
        answer = shown.parts["answer"]

    assert answer["reward"] == best.reward
    assert shown.parts["study"]["studies"][0]["evaluations"] == 40
    assert (folder / "journal.jsonl").read_bytes() == journal


def test_two_pages_lose_no_saved_design(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with Study.create(folder, toy_task(), ToyAgent, seed=3, budget=10) as study:
        study.run()
    journal = (folder / "journal.jsonl").read_bytes()
    with opened(toy_task(), folder) as (one, shown_1), opened(toy_task(), folder) as (two, shown_2):
        for number in range(5):
            for place, session in enumerate((one, two)):
                session.take({"kind": "set", "place": 1, "index": place})
                session.take({"kind": "set", "place": 2, "index": number})
                session.take({"kind": "save", "name": f"d{place}{number}"})
        for shown in (shown_1, shown_2):
            shown.wait(lambda shown=shown: sum("Saved" in n for n in shown.notices) == 5)  # type: ignore[misc]

    log = read_study(folder / EXPLORED)
    assert log.evaluations == 10
    assert len(list((folder / EXPLORED).glob("d*.json"))) == 10
    assert np.array_equal(log.records.reward, toy_task().evaluate(log.records.indices).reward)
    assert (folder / "journal.jsonl").read_bytes() == journal


def test_save_waits_for_another_writer(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Study.log(folder, toy_task()) as log:
        log.evaluate(toy_task().space.default_indices[None, :])
    held = Lease(folder)
    with opened(toy_task(), folder) as (session, shown):
        session.take({"kind": "set", "place": 2, "index": 2})
        session.take({"kind": "save", "name": ""})
        threading.Event().wait(0.3)
        assert read_study(folder).evaluations == 1
        held.release()
        shown.wait(lambda: any("Saved" in notice for notice in shown.notices))

    assert read_study(folder).evaluations == 2


def test_name_of_a_saved_design_is_taken_once(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Study.log(folder, toy_task()) as log:
        log.evaluate(toy_task().space.default_indices[None, :])
    with opened(toy_task(), folder) as (session, shown):
        session.take({"kind": "set", "place": 2, "index": 2})
        session.take({"kind": "save", "name": "mine"})
        shown.wait(lambda: any("Saved" in notice for notice in shown.notices))
        before = (folder / "mine.json").read_bytes()
        session.take({"kind": "set", "place": 2, "index": 3})
        session.take({"kind": "save", "name": "mine"})
        shown.wait(lambda: any("another name" in notice for notice in shown.notices))

    assert (folder / "mine.json").read_bytes() == before
    assert read_study(folder).evaluations == 2


@pytest.mark.parametrize("budget", [0, -3, 2.5, "x", None])
def test_search_needs_a_whole_budget(
    budget: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(toy_task()) as (session, shown):
        session.take({"kind": "search", "agent": "random", "budget": budget})

    assert "`budget` must be a whole number" in shown.notices[0]
    assert not (tmp_path / "runs").exists()


def test_pins_of_an_address_are_taken_and_a_ping_is_answered() -> None:
    with opened(toy_task()) as (session, shown):
        designs = [["0", "0", "1", "0", "0"], ["1", "0", "2", "0", "0"]]
        session.take({"kind": "pins", "designs": designs})
        session.take({"kind": "ping"})

    assert [pin["design"] for pin in shown.parts["answer"]["pins"]] == designs
    assert "pong" in shown.parts


def test_what_did_not_change_is_not_sent_again() -> None:
    sent: list[str] = []
    shown = Shown()

    def publish(name: str, content: Any) -> None:
        sent.append(name)
        shown(name, content)

    with Session(toy_task(), publish) as session:
        session.start()
        shown.wait(lambda: shown.is_done(session) and "cloud" in shown.parts)
        sent.clear()
        session.take({"kind": "pin"})
        threading.Event().wait(1.0)

    assert set(sent) == {"answer"}


def test_page_shows_the_newest_searches_only(tmp_path: Path) -> None:
    folders = [tmp_path / f"search-{number}" for number in range(6)]
    for folder in folders:
        with Study.create(folder, toy_task(), ToyAgent, seed=3, budget=5) as study:
            study.run()
    searches, shown = Searches(), Shown()
    with Session(toy_task(), shown, None, searches) as session:
        session.start()
        for folder in folders:
            searches.folders.append(folder)
            shown.wait(lambda folder=folder: folder.name in titles(shown))  # type: ignore[misc]

    assert titles(shown) == [folder.name for folder in folders[-4:]]


def titles(shown: Shown) -> list[str]:
    return [study["title"] for study in shown.parts.get("study", {"studies": []})["studies"]]


@pytest.mark.slow
def test_search_goes_on_while_its_page_is_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = Shown(), Shown()
    with Searches() as searches:
        with Session(Task.make("soc"), one, None, searches) as session:
            session.start()
            session.take({"kind": "search", "agent": "random", "budget": 100_000})
            one.wait(lambda: one.parts.get("study", {}).get("searching", False))
        with Session(Task.make("soc"), two, None, searches) as session:
            session.start()
            two.wait(lambda: two.parts.get("study", {}).get("searching", False))
            session.take({"kind": "search", "agent": "random", "budget": 5})
            assert two.notices == ["A search is running; stop it first."]
            session.take({"kind": "stop"})
            two.wait(lambda: not two.parts["study"]["searching"])


@pytest.mark.slow
def test_search_begins_at_the_design_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A search of this space has no end.
    with opened(Task.make("soc")) as (session, shown):
        session.take({"kind": "set", "place": 0, "index": 2})
        session.take({"kind": "search", "agent": "random", "budget": 100_000})
        shown.wait(lambda: shown.parts.get("study", {"studies": [{}]})["studies"][0].get(
            "evaluations", 0) > 20)  # fmt: skip
        assert shown.parts["study"]["searching"]
        session.take({"kind": "stop"})
        shown.wait(lambda: any("stopped" in notice for notice in shown.notices))

    (folder,) = (tmp_path / "runs").iterdir()
    log = read_study(folder)
    assert log.records.indices[0][0] == 2
    assert 20 < log.evaluations < 100_000


def test_export_and_report_are_files_of_the_browser(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Study.log(folder, toy_task()) as log:
        log.evaluate(toy_task().space.sample(20, np.random.default_rng(0)))
    with opened(toy_task(), folder) as (session, shown):
        session.take({"kind": "export", "form": "json"})
        shown.wait(lambda: shown.parts.get("file", {}).get("name") == "design.json")
        session.take({"kind": "report"})
        shown.wait(lambda: shown.parts["file"]["name"] == "report.html")

    assert shown.parts["file"]["text"].startswith("<!doctype html>")


def test_sweep_opens_with_the_task_of_its_first_run(swept: Path) -> None:
    with pytest.raises(ArchGymError, match="one of the runs"):
        task_of_folder(swept, "other")


def test_page_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "panel", None)
    with pytest.raises(ArchGymError, match=r"archgym\[explore\]"):
        explore("dram")


def test_a_page_goes_on_after_a_fault_that_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(toy_task()) as (session, shown):
        shown.wait(lambda: shown.is_done(session))
        with monkeypatch.context() as broken:
            broken.setattr(session.state, "bounds_json", lambda: 1 // 0)
            session.take({"kind": "set", "place": 0, "index": 1})
            shown.wait(lambda: any("ZeroDivisionError" in said for said in shown.notices))
        session.take({"kind": "set", "place": 0, "index": 2})
        shown.wait(lambda: shown.is_done(session))


def test_all_designs_are_drawn_once_a_design_rests() -> None:
    with opened(toy_task()) as (session, shown):
        shown.wait(lambda: shown.is_done(session) and "cloud" in shown.parts)
        assert shown.parts["cloud"]["n"] > 1
