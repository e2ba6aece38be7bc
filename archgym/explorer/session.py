"""Session of one page: threads that evaluate the newest design first and follow a study."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.agent.agent import agent_names
from archgym.checks import check_whole
from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    StudyInterrupted,
    StudyLockedError,
)
from archgym.evaluation.trials import Trials
from archgym.explorer.following import Follower
from archgym.explorer.state import MAX_PINS, Exploration, design_of
from archgym.files.storage import file_stem
from archgym.report.evidence import read_evidence
from archgym.report.export import export_design, export_formats
from archgym.report.findings import find
from archgym.report.page import page
from archgym.runtime.closing import Closing
from archgym.searching import run_folders, search
from archgym.studies.ask_tell import Told
from archgym.studies.metadata import RUNS_FOLDER, STUDY_NAME, read_header
from archgym.studies.study import Study
from archgym.tasks.task import Evaluation, Task

Publish = Callable[[str, Any], None]
EXPLORED = "explored"
"""Folder of a search's study in which designs that were saved by hand are logged."""
# chosen: a part of the neighbours, of which two may run beside a new design [s].
_PART_S = 0.04
# chosen: threads that evaluate neighbours, so that one slow design does not hold up the others.
_CHANGING = 2
# chosen: a shorter rest is a part of a drag [s].
_REST_S = 0.06
# chosen: drawings of neighbours follow at this rate [s].
_EVERY_S = 0.25
# chosen: a move would wait for the some 100 kB of all evaluated designs, and for their drawing [s].
_IDLE_S = 0.5
_FOLLOW_S = 1.0
# chosen: searches whose progress a page shows.
_MAX_SEARCHES = 4
# chosen: a design that takes longer has its neighbours evaluated only on demand [s].
_SLOW_S = 2.0
# chosen: how long a save waits for another writer of the study [s].
_PATIENCE_S = 10.0


@final
class Searches(Closing):
    """Searches that the pages of one server began, which go on while a page is reloaded."""

    def __init__(self) -> None:
        self.folders: deque[Path] = deque(maxlen=_MAX_SEARCHES)
        """Folders of the newest studies."""
        self.is_stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """True while a search runs."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, work: Callable[[], None]) -> bool:
        """Run a search in a thread; return False if another one runs."""
        with self._lock:
            if self.is_running:
                return False
            self.is_stopped.clear()
            self._thread = threading.Thread(target=work, name="archgym-explore-search", daemon=True)
            self._thread.start()
            return True

    def close(self) -> None:
        """Stop the search, whose evaluations are in its journal."""
        self.is_stopped.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)


@final
class Session(Closing):
    """What one page does: it takes messages of the page, and publishes what the page shows.

    Messages are dictionaries with `kind`; `publish` gets the name of a part and its JSON: space,
    answer, bounds, changes, cloud, study, notice, text.

    Example:
        with Session(task, print) as session:
            session.take({"kind": "set", "place": 0, "index": 3})
    """

    def __init__(
        self,
        task: Task,
        publish: Publish,
        folder: Path | None = None,
        searches: Searches | None = None,
    ) -> None:
        """Begin with the default design, or with the best one of a study.

        Args:
          task: Task of the designs.
          publish: Called with the name and the content of each part that changes, from any thread.
          folder: Folder of a study or sweep of the task, which is followed.
          searches: Searches of other pages, too; by default the page has its own, and ends them.
        """
        self._owned = Searches() if searches is None else None
        self._searches = searches or self._owned or Searches()
        self.state = Exploration(task)
        self._send = publish
        self._sent: dict[str, Any] = {}
        self._folder = folder
        self._wake = threading.Condition()
        self._wanted = 1
        self._wants_all = False
        self._is_closed = threading.Event()
        self._followers: list[Follower] = []
        self._actions = ThreadPoolExecutor(1, "archgym-explore-action")
        self._explaining = ThreadPoolExecutor(1, "archgym-explore-bounds")
        self._changing = ThreadPoolExecutor(_CHANGING, "archgym-explore-changes")
        if folder is not None:
            self._follow(folder)
            if (folder / EXPLORED / STUDY_NAME).is_file():
                self._follow(folder / EXPLORED)
            self._read(until_end=True)
            if self.state.best is not None:
                self.state.design = self.state.best.copy()
                self.state.baseline = "default"
        self._threads = [
            threading.Thread(target=work, name=f"archgym-explore-{work.__name__}", daemon=True)
            for work in (self._evaluate, self._watch)
        ]

    def start(self) -> None:
        """Publish the task, and begin to evaluate."""
        formats = export_formats(self.state.task.simulator)
        known = {"formats": sorted(formats), "agents": list(agent_names())}
        self._publish("space", {**self.state.space_json(), **known})
        self._show()
        for thread in self._threads:
            thread.start()

    @property
    def is_closed(self) -> bool:
        """True after `close`."""
        return self._is_closed.is_set()

    def close(self) -> None:
        """End the threads; a search stops, and its evaluations are in its journal."""
        self._is_closed.set()
        if self._owned is not None:
            self._owned.is_stopped.set()
        with self._wake:
            self._wake.notify_all()
        for pool in (self._actions, self._explaining, self._changing):
            pool.shutdown(wait=False, cancel_futures=True)

    # ---- messages

    def take(self, message: Any) -> None:
        """Take a message of the page; one that does not fit becomes a notice."""
        try:
            self._take(message)
        except (ArchGymError, KeyError, TypeError, ValueError, IndexError) as error:
            self._notice(str(error) or repr(error))

    def _take(self, message: Any) -> None:
        state, kind = self.state, message["kind"]
        if kind == "set":
            state.move(message["place"], message["index"])
        elif kind == "type":
            state.type_value(message["place"], str(message["text"]))
        elif kind == "load":
            state.load(design_of(state.task, message["design"]))
        elif kind == "go":
            name = message["to"]
            if name == "best" and state.best is not None:
                state.load(state.best)
            elif name == "default":
                state.load(state.task.space.default_indices)
            elif name in "ABCD":
                state.load(state.pins["ABCD".index(name)])
        elif kind in ("undo", "redo", "pin"):
            getattr(state, kind)()
        elif kind == "pins":
            state.pins = [design_of(state.task, design) for design in message["designs"]][
                -MAX_PINS:
            ]
        elif kind == "unpin":
            state.unpin(int(message["number"]))
        elif kind == "baseline":
            state.baseline = str(message["name"])
        elif kind == "changes":
            self._wants_all = True
        elif kind == "ping":
            self._publish("pong", {})
            return
        elif kind == "copy":
            form = str(message["form"])
            self._publish("text", {"title": form, "text": state.text_of(form)})
            return
        elif kind in ("save", "export", "report", "search"):
            design = state.design.copy()
            if kind == "search":
                check_whole("budget", message["budget"], 1)
            work = {
                "save": lambda: self._save(design, str(message.get("name", ""))),
                "export": lambda: self._export(design, str(message["form"])),
                "report": self._report,
                "search": lambda: self._search(design, message),
            }[kind]
            if kind == "search":
                self._begin_search(work)
            else:
                self._actions.submit(self._noting, work)
            return
        elif kind == "stop":
            self._searches.is_stopped.set()
            return
        else:
            raise KeyError(f"no action {kind!r}")
        self._show()
        with self._wake:
            self._wanted += 1
            self._wake.notify_all()

    def _publish(self, name: str, content: Any) -> None:
        """Send a part to the page, unless it is a large one that shows the same already."""
        if name in ("changes", "bounds", "cloud", "study"):
            if self._sent.get(name) == content:
                return
            self._sent[name] = content
        self._send(name, content)

    def _notice(self, text: str) -> None:
        self._publish("notice", " ".join(text.split()))

    def _noting(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StudyInterrupted:
            self._notice("The search was stopped; its evaluations are saved.")
        except (ArchGymError, OSError) as error:
            self._notice(str(error))
        except Exception as error:  # the thread must outlive a fault in a simulator of a plug-in
            self._notice(f"Something broke, and the page goes on: {error!r}.")
            logging.getLogger(__name__).exception("The page of a design goes on after a fault")

    def _show(self) -> None:
        self._publish("answer", self.state.answer_json())

    # ---- evaluation: of the design in one thread, of its neighbours in others

    def _evaluate(self) -> None:
        done = 0
        while not self._is_closed.is_set():
            with self._wake:
                while self._wanted == done and not self._is_closed.is_set():
                    self._wake.wait()
                done = self._wanted
            if not self._is_closed.is_set():
                self._noting(partial(self._answer, done))

    def _is_stale(self, number: int) -> bool:
        return self._wanted != number or self._is_closed.is_set()

    def _answer(self, number: int) -> None:
        state = self.state
        designs = np.array([state.design, *state.pins])
        was_known, began = state.result(designs[0]) is not None, time.monotonic()
        state.evaluate(designs)
        took_s = time.monotonic() - began
        if self._is_stale(number):
            return
        self._show()
        with self._wake:
            # While somebody drags, nothing but designs is evaluated, written and sent.
            if self._wake.wait_for(lambda: self._is_stale(number), _REST_S):
                return
        rows, changed = state.changes()
        self._publish("changes", state.changes_json(rows, changed))
        if self._is_stale(number):
            return
        self._explaining.submit(self._noting, partial(self._explain, number))
        if not was_known and took_s > _SLOW_S and not self._wants_all:
            self._notice(
                f"A design takes {took_s:.1f} s: its {len(changed)} single changes are evaluated "
                "when you press Evaluate changes."
            )
            self._changing.submit(self._noting, partial(self._cloud, number))
        elif was_known or took_s <= _SLOW_S or self._wants_all:
            self._wants_all = False
            near = _Neighbours(state, rows, changed, _PART_S if was_known else took_s)
            for _ in range(_CHANGING):
                self._changing.submit(self._noting, partial(self._evaluate_changes, number, near))

    def _cloud(self, number: int) -> None:
        """Publish all designs that are known once nobody moves."""
        with self._wake:
            if self._wake.wait_for(lambda: self._is_stale(number), _IDLE_S):
                return
        self._publish("cloud", self.state.cloud_json())

    def _explain(self, number: int) -> None:
        """Publish what bounds the design; it is many evaluations, and a move must not wait."""
        with self._wake:
            # It would compete with the moves of a drag for the processor.
            if self._wake.wait_for(lambda: self._is_stale(number), _IDLE_S):
                return
        bounds = self.state.bounds_json()
        if not self._is_stale(number):
            self._publish("bounds", bounds)

    def _evaluate_changes(self, number: int, near: "_Neighbours") -> None:
        """Evaluate parts of the neighbours in turn with other threads, until all are known."""
        try:
            while not self._is_stale(number) and near.evaluate_next():
                if near.is_due() and not self._is_stale(number):
                    self._publish("changes", near.to_json())
        finally:
            if near.is_last() and not self._is_stale(number):
                self._publish("changes", near.to_json())
                self._cloud(number)

    # ---- studies that are followed

    def _follow(self, folder: Path) -> None:
        self._followers.append(Follower(folder))

    def _read(self, until_end: bool = False) -> bool:
        """Learn records that are new; return True if there were some."""
        is_new = False
        for follower in list(self._followers):
            while follower.update() and until_end:
                pass
            for records in follower.new_records(self.state.task.id):
                is_new |= len(records) > 0
                self.state.learn(records.indices, records.values, records.reason, records.reward)
        return is_new

    def _watch(self) -> None:
        before: list[Path] = []
        while not self._is_closed.wait(_FOLLOW_S if self._followers else 0.2):
            followed = [follower.folder for follower in self._followers]
            searched = list(self._searches.folders)
            for folder in searched:
                if folder not in followed:
                    self._follow(folder)
            # Those of a day of searches would slow every page, and keep its memory.
            for follower in [each for each in self._followers if each.folder in before]:
                if follower.folder not in searched:
                    self._followers.remove(follower)
            before = searched
            if not self._followers:
                continue
            if self._read():
                self._publish("cloud", self.state.cloud_json())
            found = {
                "searching": self._searches.is_running,
                "studies": [follower.to_json() for follower in self._followers],
            }
            self._publish("study", found)

    # ---- named actions, which alone write

    def _home(self) -> Path:
        """Return the folder of the log that saved designs go to."""
        if self._folder is None:
            return RUNS_FOLDER / file_stem(f"{self.state.task.id.rpartition('-v')[0]}-explored")
        is_log = (self._folder / STUDY_NAME).is_file() and read_header(self._folder).kind == "log"
        return self._folder if is_log else self._folder / EXPLORED

    def _save(self, design: np.ndarray, name: str) -> None:
        """Tell a design to the log of the study, and write it to a file with its name."""
        state, home = self.state, self._home()
        path = home / f"{file_stem(name.strip())}.json" if name.strip() else None
        if path is not None and path.exists():
            raise InvalidArgumentError(f"{path} exists: give the design another name.")
        result = state.evaluate(design[None, :])[0]
        reward = np.array([result.reward])
        failures = {0: result.failure} if result.failure else {}
        told = Evaluation(result.values[None], result.reason[None], reward, failures)
        row = state.task.space.canonical(design[None, :])
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with Study.log(home, state.task) as study:
                    study.evaluate(row, Told((row[0], told)))
                break
            except StudyLockedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        where = f"{home}"
        if path is not None:
            export_design(state.task, design, "json").write(path)
            where = f"{path}, and its evaluation in {home}"
        if home not in [follower.folder for follower in self._followers]:
            self._follow(home)
        self._notice(f"Saved: {where}.")

    def _export(self, design: np.ndarray, form: str) -> None:
        found = export_design(self.state.task, design, form)
        if not all(isinstance(content, str) for content in found.files.values()):
            self._notice(f"{form} has binary files, which `archgym export` writes.")
            return
        for name, text in found.files.items():
            self._publish("file", {"name": name.replace("/", "-"), "text": text})
        if found.notes:
            self._notice(" ".join(found.notes))

    def _report(self) -> None:
        folders = [follower.folder for follower in self._followers]
        if not folders:
            self._notice("There is no study so far: search from here, or save a design.")
            return
        self._notice("The report is being written.")
        text = page(find(read_evidence([folders[0]])))
        self._publish("file", {"name": "report.html", "text": text})

    def _begin_search(self, work: Callable[[], None]) -> None:
        if not self._searches.begin(partial(self._noting, work)):
            self._notice("A search is running; stop it first.")

    def _search(self, design: np.ndarray, message: Any) -> None:
        task = self.state.task
        agent, budget = str(message["agent"]), int(message["budget"])
        start = [dict(task.space.design_at(task.space.canonical(design[None, :])[0]))]
        folder = next(
            place for place in run_folders(task, agent, 0, "folder") if not place.exists()
        )
        self._notice(f"Searching in {folder}.")
        found = search(task, agent=agent, budget=budget, start=start, folder=folder,
                       callbacks=[_Progress(self._searches, folder)])  # fmt: skip
        self._notice(f"The search ended after {found.evaluations} evaluations: {folder}.")


@final
class _Neighbours:
    """Neighbours of one design, which some threads evaluate part by part."""

    def __init__(
        self, state: Exploration, rows: np.ndarray, changed: list[tuple[int, int]], took_s: float
    ) -> None:
        self._state, self._rows, self._changed = state, rows, changed
        feasible = np.flatnonzero(state.task.space.feasible(rows))
        # What is known takes no time, and would let the next part be far too large.
        unknown = [row for row in feasible.tolist() if state.result(rows[row]) is None]
        self._waiting = deque(unknown)
        self._lock = threading.Lock()
        self._took_s, self._size = took_s, 1
        self._shown, self._threads = time.monotonic(), _CHANGING

    def evaluate_next(self) -> bool:
        """Evaluate the next part; return False if there is none."""
        with self._lock:
            # Some designs take much longer than others: a part is at most twice the last one.
            fitting = int(self._size * _PART_S / max(self._took_s, 1e-4))
            self._size = size = max(1, min(256, 2 * self._size, fitting))
            part = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        if not part:
            return False
        began = time.monotonic()
        self._state.evaluate(self._rows[part])
        with self._lock:
            self._took_s, self._size = time.monotonic() - began, size
        return True

    def is_due(self) -> bool:
        """Return True if the page should show what is known by now."""
        with self._lock:
            is_due = time.monotonic() - self._shown > _EVERY_S
            if is_due:
                self._shown = time.monotonic()
            return is_due

    def is_last(self) -> bool:
        """Count a thread that ends; return True if it is the last one."""
        with self._lock:
            self._threads -= 1
            return self._threads == 0

    def to_json(self) -> dict[str, Any]:
        """Return what is known of the neighbours."""
        return self._state.changes_json(self._rows, self._changed)


@final
class _Progress:
    """Callback of a search that lets pages follow it, and stops it."""

    def __init__(self, searches: Searches, folder: Path) -> None:
        self._searches, self._folder = searches, folder

    def on_trials(self, study: Study, trials: Trials) -> None:
        """Let the study be followed from its first evaluations on."""
        if self._folder not in self._searches.folders:
            self._searches.folders.append(self._folder)
        if self._searches.is_stopped.is_set():
            raise StudyInterrupted("The search was stopped on the page.")
