"""Several hosts on a shared folder: one writes, nothing is lost, or a refusal says why."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from archgym.errors import ArchGymError, StorageError, StudyExistsError, StudyLockedError
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.sweep.driver import run_sweep
from tests.files.hosts import Host, Server
from tests.files.writers import InProcessCrew, check_search_of, check_sweep, sweep, sweep_plan
from tests.toys import SPACE, ToyAgent, toy_task

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads what is open in another way than by its name"
)

SCHEDULES = int(os.environ.get("ARCHGYM_SCHEDULES", "150"))
# Minutes that the clock of the second host is ahead, and behind.
SKEWS = (0.0, 420.0, -420.0)
REFUSALS = (StudyLockedError, StudyExistsError, StorageError)


def hosts(seed: int, tmp_path: Path, locks_reach: bool) -> tuple[Server, list[Host]]:
    server = Server(seed, locks_reach=locks_reach)
    return server, [
        Host(server, "a", tmp_path / f"{seed}" / "a"),
        Host(server, "b", tmp_path / f"{seed}" / "b", SKEWS[seed % len(SKEWS)]),
    ]


class Outcomes:
    """Outcome of each host's job."""

    def __init__(self) -> None:
        self.refusals: list[ArchGymError] = []
        self.faults: list[BaseException] = []
        self.done: list[str] = []

    def job(self, host: Host, work: Callable[[Host], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work(host)
                self.done.append(host.name)
            except REFUSALS as error:
                self.refusals.append(error)
            except BaseException as error:
                self.faults.append(error)

        return run


def logged(
    seed: int, tmp_path: Path, locks_reach: bool, is_there: bool = False
) -> tuple[str, bool]:
    """Let two hosts log to one study; return what is wrong, and True if both wrote.

    Args:
      is_there: True if the study was made before.
    """
    server, pair = hosts(seed, tmp_path, locks_reach)
    promised: list[tuple[int, ...]] = []
    outcomes = Outcomes()

    def work(host: Host) -> None:
        rng = np.random.default_rng([seed, ord(host.name)])
        with Study.log(host.folder / "study", toy_task()) as study:
            for _ in range(5):
                row = SPACE.sample(1, rng)
                study.evaluate(row)
                study._journal.synchronise()
                promised.append(tuple(row[0].tolist()))

    if is_there:
        server.run({pair[0]: outcomes.job(pair[0], work)})
    server.run({host: outcomes.job(host, work) for host in pair})
    plain = tmp_path / f"{seed}" / "plain"
    server.write_to(plain)
    for error in outcomes.refusals:
        assert "\n" not in str(error)
    if outcomes.faults:
        return repr(outcomes.faults[0]), False
    with Study.log(plain / "study", toy_task()):
        pass
    kept = {tuple(row) for row in read_study(plain / "study").records.indices.tolist()}
    lost = [row for row in promised if row not in kept]
    problem = f"{len(lost)} of {len(promised)} promised records are lost" if lost else ""
    return problem, len(outcomes.done) == 2


def searched(seed: int, tmp_path: Path, locks_reach: bool) -> str:
    """Let two hosts begin or continue one search; return what is wrong."""
    server, pair = hosts(seed, tmp_path, locks_reach)
    outcomes = Outcomes()

    def work(host: Host) -> None:
        with Study.create(
            host.folder / "study", toy_task(), ToyAgent, seed=0, budget=30, exists="resume"
        ) as study:
            study.run()

    server.run({host: outcomes.job(host, work) for host in pair})
    plain = tmp_path / f"{seed}" / "plain"
    server.write_to(plain)
    if outcomes.faults:
        return repr(outcomes.faults[0])
    try:
        check_search_of(plain, [("study", 30)] if outcomes.done else [], "study")
    except (AssertionError, ArchGymError) as error:
        return repr(error)
    return ""


def swept(seed: int, tmp_path: Path, locks_reach: bool) -> str:
    """Let two hosts run one sweep; return what is wrong."""
    server, pair = hosts(seed, tmp_path, locks_reach)
    outcomes = Outcomes()
    # Everything is imported before: a host that waits for its turn would hold the import's lock.
    sweep(tmp_path / f"{seed}" / "before")

    def work(host: Host) -> None:
        # A run that the other host took over has failed here, and the reason is recorded.
        for reason in run_sweep(sweep_plan(), host.folder / "sweep").failures.values():
            raise StudyLockedError(reason)

    with mock.patch("archgym.sweep.driver.LocalCrew", InProcessCrew):
        server.run({host: outcomes.job(host, work) for host in pair})
    plain = tmp_path / f"{seed}" / "plain"
    server.write_to(plain)
    if outcomes.faults:
        return repr(outcomes.faults[0])
    try:
        check_sweep(plain, ["swept"] if outcomes.done else [])
    except (AssertionError, ArchGymError) as error:
        return repr(error)
    return ""


@pytest.mark.parametrize("seed", range(6))
def test_two_hosts_log_to_one_study_where_locks_reach(seed: int, tmp_path: Path) -> None:
    assert logged(seed, tmp_path, True)[0] == ""


@pytest.mark.parametrize("seed", range(6))
def test_two_hosts_log_to_one_study_where_locks_do_not_reach(seed: int, tmp_path: Path) -> None:
    assert logged(seed, tmp_path, False)[0] == ""


@pytest.mark.nightly
@pytest.mark.parametrize("locks_reach", [True, False])
def test_many_schedules_of_two_logging_hosts(locks_reach: bool, tmp_path: Path) -> None:
    found = {seed: logged(seed, tmp_path, locks_reach)[0] for seed in range(SCHEDULES)}

    assert {seed: problem for seed, problem in found.items() if problem} == {}


@pytest.mark.nightly
@pytest.mark.parametrize("locks_reach", [True, False])
def test_many_schedules_of_two_searching_hosts(locks_reach: bool, tmp_path: Path) -> None:
    found = {seed: searched(seed, tmp_path, locks_reach) for seed in range(SCHEDULES)}

    assert {seed: problem for seed, problem in found.items() if problem} == {}


@pytest.mark.nightly
@pytest.mark.parametrize("locks_reach", [True, False])
def test_many_schedules_of_two_logging_hosts_in_a_study_that_is_there(
    locks_reach: bool, tmp_path: Path
) -> None:
    found = {seed: logged(seed, tmp_path, locks_reach, True)[0] for seed in range(SCHEDULES)}

    assert {seed: problem for seed, problem in found.items() if problem} == {}


@pytest.mark.nightly
@pytest.mark.parametrize("locks_reach", [True, False])
def test_schedules_of_two_hosts_that_run_one_sweep(locks_reach: bool, tmp_path: Path) -> None:
    found = {seed: swept(seed, tmp_path, locks_reach) for seed in range(SCHEDULES // 5)}

    assert {seed: problem for seed, problem in found.items() if problem} == {}
