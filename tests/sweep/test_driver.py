"""Sweeps run in processes: resumed, refused, broken, stopped; the same whatever the workers."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import final

import pytest

from archgym.errors import InvalidArgumentError, StorageError, StudyInterrupted, StudyLockedError
from archgym.files.lease import Lease, current_writer
from archgym.sweep.driver import SweepState, read_failures, run_sweep
from archgym.sweep.plan import Run, SweepPlan
from archgym.sweep.reading import read_plan
from archgym.sweep.study_run import RunResult
from tests.sweep.conftest import SmallDisk, WritePlan, journals, run_here

ROOT = Path(__file__).resolve().parents[2]


def living(group: int) -> list[str]:
    """Processes of a group that have not ended, two seconds after they were to."""
    deadline = time.monotonic() + 2
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state != "Z":
                    found.append((path.parent / "cmdline").read_text())
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


@pytest.mark.slow
def test_processes_write_what_studies_in_this_process_do_whatever_their_number(
    plan: SweepPlan, swept: Path
) -> None:
    for workers in (1, 3):
        outcome = run_sweep(plan, f"w{workers}", workers=workers)

        assert (outcome.runs, outcome.repeated, outcome.failures) == (4, 0, {})
        assert journals(Path(f"w{workers}")) == journals(swept)
    assert len(journals(swept)) == 4


def test_a_finished_sweep_starts_no_process(
    plan: SweepPlan, swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.sweep.driver.LocalCrew", None)

    outcome = run_sweep(plan, swept)

    assert (outcome.runs, outcome.repeated) == (4, 4)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_finished_ones_are_left(
    plan: SweepPlan, swept: Path
) -> None:
    whole = journals(swept)
    journal = swept / "light/small/seed-1/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:11]) + lines[11][:20])
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("journal.jsonl")}
    states: list[SweepState] = []

    outcome = run_sweep(plan, swept, progress=states.append)

    assert outcome.repeated == 3
    assert journals(swept) == whole
    changed = [p for p in before if p.stat().st_mtime_ns != before[p]]
    assert changed == [journal]
    last = states[-1]
    assert (last.finished, last.runs, last.evaluations, last.goal) == (4, 4, 120, 120)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "words"), [("raise", "RuntimeError: broken on purpose"), ("die", "exit code 7")]
)
def test_a_failed_run_is_recorded_and_the_others_go_on(
    write_plan: WritePlan, trouble: str, words: str
) -> None:
    plan = read_plan(
        write_plan(
            ("  random:", f"  troubled:\n    hyperparameters: {{trouble: {trouble}}}\n  random:")
        )
    )

    outcome = run_sweep(plan, "sweep")

    assert list(outcome.failures) == ["light/troubled/seed-1"]
    assert words in outcome.failures["light/troubled/seed-1"]
    assert read_failures("sweep") == outcome.failures
    assert len(journals(Path("sweep"))["light/troubled/seed-1"].splitlines()) == 5
    for run in plan.runs():
        if run.id not in outcome.failures:
            state = json.loads(Path("sweep", run.id, "state.json").read_text())
            assert state["status"] == "finished"
    # Tried again with the others left, it fails again.
    again = run_sweep(plan, "sweep")
    assert (again.repeated, list(again.failures)) == (5, ["light/troubled/seed-1"])


def test_a_changed_plan_is_refused_and_changes_nothing(swept: Path, write_plan: WritePlan) -> None:
    before = (swept / "sweep.json").read_bytes()
    changed = read_plan(write_plan(("budget: 30", "budget: 31")))

    with pytest.raises(InvalidArgumentError, match="`budget` was 30 and is 31"):
        run_sweep(changed, swept)

    assert (swept / "sweep.json").read_bytes() == before


def test_a_study_that_is_not_the_sweeps_is_refused(plan: SweepPlan, swept: Path) -> None:
    (swept / "light/small/seed-1").rename("aside")
    (swept / "light/small/seed-0").rename(swept / "light/small/seed-1")

    with pytest.raises(InvalidArgumentError, match="its seed is 0, the sweep's is 1"):
        run_sweep(plan, swept)


def test_a_folder_with_something_else_is_refused(plan: SweepPlan) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")

    with pytest.raises(InvalidArgumentError, match=r"notes\.txt"):
        run_sweep(plan, "mine")


def test_a_sweep_has_one_driver(plan: SweepPlan, swept: Path) -> None:
    lease = Lease(swept)
    try:
        with pytest.raises(StudyLockedError):
            run_sweep(plan, swept)
    finally:
        lease.release()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly), signal.SIGKILL],
)
def test_a_signal_stops_within_two_seconds_and_the_sweep_goes_on_to_the_same_end(
    write_plan: WritePlan, tmp_path: Path, number: signal.Signals
) -> None:
    write_plan(
        ("  random:", "  troubled:\n    hyperparameters: {trouble: none, pace_s: 0.1}\n  random:"),
        ("seeds: [0, 1]", "seeds: [0]"),
    )
    command = [sys.executable, "-m", "archgym", "sweep", "run", "plan.yaml", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    # A group of its own, as in a terminal: Ctrl-C reaches the worker processes too.
    process = subprocess.Popen(
        [*command, "--out", "cut"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = Path("cut/light/troubled/seed-0/journal.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.is_file() and journal.stat().st_size):
        time.sleep(0.05)
    began = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)

    _, errors = process.communicate(timeout=30)

    assert time.monotonic() - began < 2
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        last = errors.strip().splitlines()[-1]
        assert f"stopped by {number.name}" in last
        assert "Resume with: archgym sweep resume cut --workers 2" in last
    assert living(process.pid) == []
    kept = journal.read_bytes()
    assert 0 < len(kept.splitlines()) < 30
    run_sweep(read_plan("plan.yaml"), "cut")
    run_sweep(read_plan("plan.yaml"), "whole")
    assert journals(Path("cut")) == journals(Path("whole"))
    assert journal.read_bytes().startswith(kept)


@pytest.mark.slow
def test_a_run_whose_process_is_lost_is_tried_again_from_where_it_was(
    write_plan: WritePlan,
) -> None:
    write_plan(("  random:", "  troubled:\n    hyperparameters: {trouble: lose}\n  random:"))
    plan = read_plan("plan.yaml")
    for ask in (5, 10, 15, 20):
        Path(f"lose-{ask}").touch()

    outcome = run_sweep(plan, "sweep", only=["troubled"], seeds=[0])

    assert outcome.failures == {}
    assert list(Path().glob("lose-*")) == []
    written = journals(Path("sweep"))
    whole = journals(run_here(plan, Path("here")))
    assert written == {name: whole[name] for name in ("light/troubled/seed-0",)}


@final
class LostCrew:
    """A crew all of whose processes are lost, after a few records more each time or none."""

    def __init__(self, folder: Path, workers: int, growing: bool) -> None:
        self.sent: list[Run] = []
        self._growing = growing
        self._folder = folder
        self._run: Run | None = None

    @property
    def room(self) -> int:
        return int(self._run is None)

    @property
    def evaluations(self) -> dict[str, int]:
        return {} if self._run is None else {self._run.id: 0}

    def send(self, run: Run, folder: Path) -> None:
        self._run = run
        self.sent.append(run)
        folder.mkdir(parents=True, exist_ok=True)
        if self._growing:
            with (folder / "journal.jsonl").open("a") as journal:
                journal.write("{}\n")

    def take(self, patience_s: float) -> list[tuple[Run, RunResult]]:
        run, self._run = self._run, None
        assert run is not None
        is_over = self._growing and len(self.sent) == 7
        result = RunResult(1) if is_over else RunResult(0, "It was lost.", is_lost=True)
        return [(run, result)]

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(("growing", "n_tries"), [(False, 3), (True, 7)])
def test_a_run_is_given_up_when_it_is_lost_three_times_without_getting_further(
    plan: SweepPlan, monkeypatch: pytest.MonkeyPatch, growing: bool, n_tries: int
) -> None:
    crews: list[LostCrew] = []

    def crew(folder: Path, workers: int) -> LostCrew:
        crews.append(LostCrew(folder, workers, growing))
        return crews[0]

    monkeypatch.setattr("archgym.sweep.driver.LocalCrew", crew)

    outcome = run_sweep(plan, "sweep", only=["small"], seeds=[0])

    assert len(crews[0].sent) == n_tries
    failures = {} if growing else {"light/small/seed-0": "It was lost."}
    assert outcome.failures == failures == read_failures("sweep")


@pytest.mark.slow
def test_a_full_disk_stops_the_sweep_in_one_line_and_it_goes_on_to_the_same_end(
    plan: SweepPlan, write_plan: WritePlan, small_disk: SmallDisk
) -> None:
    plan = read_plan(write_plan(("budget: 30", "budget: 400")))
    folder = small_disk.folder / "sweep"

    with pytest.raises(StorageError, match=r"Sweep stopped: .* the disk is full.* sweep resume /"):
        run_sweep(plan, folder, workers=2)

    kept = journals(folder)
    assert 0 < sum(len(content.splitlines()) for content in kept.values()) < 4 * 400
    small_disk.grow()
    outcome = run_sweep(plan, folder, workers=2)
    assert (outcome.runs, outcome.failures) == (4, {})
    assert read_failures(folder) == {}
    run_sweep(plan, "whole", workers=2)
    assert journals(folder) == journals(Path("whole"))
    for name, content in kept.items():
        assert journals(folder)[name].startswith(content)


def test_an_interruption_that_a_crew_makes_something_else_of_is_one(
    plan: SweepPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(crew: LostCrew, patience_s: float) -> list[tuple[Run, RunResult]]:
        with suppress(StudyInterrupted):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        raise SystemError("returned a result with an exception set")

    monkeypatch.setattr(LostCrew, "take", take)
    monkeypatch.setattr(
        "archgym.sweep.driver.LocalCrew", lambda folder, workers: LostCrew(folder, workers, False)
    )

    with pytest.raises(StudyInterrupted, match="SIGTERM"):
        run_sweep(plan, "sweep")


def test_a_driver_that_another_replaced_stops(
    plan: SweepPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "archgym.sweep.driver.LocalCrew", lambda folder, workers: LostCrew(folder, workers, False)
    )

    def take_over(state: SweepState) -> None:
        Path("sweep/writer.lock").write_text("{}")

    with pytest.raises(StudyLockedError, match="taken over"):
        run_sweep(plan, "sweep", progress=take_over)


@pytest.mark.parametrize("name", ["worker-0.log", "writer.lock", "toy"])
def test_sweep_folder_with_a_link_is_refused(plan: SweepPlan, tmp_path: Path, name: str) -> None:
    folder, target = tmp_path / "sweep", tmp_path / "elsewhere"
    folder.mkdir()
    name = plan.runs()[0].id.partition("/")[0] if name == "toy" else name
    (folder / name).symlink_to(target)
    (folder / "sweep.json").write_text("{}")

    with pytest.raises(StorageError, match=f"{name} must be a plain file"):
        run_sweep(plan, folder)

    assert not target.exists()


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="stopped processes are found in /proc")
def test_a_process_that_hangs_loses_its_lease_and_its_run_goes_on(write_plan: WritePlan) -> None:
    plan = read_plan(
        write_plan(
            ("  random:", "  troubled:\n    hyperparameters: {trouble: none, pace_s: 0.1}"),
            ("[0, 1]", "[0]"),
        )
    )
    folder = Path("sweep") / plan.runs(["troubled"])[0].id
    stopped: list[tuple[int, float]] = []
    ended: list[float] = []

    def stop(state: SweepState) -> None:
        writer = current_writer(folder)
        if not stopped and state.evaluations > 3 and writer is not None:
            os.kill(writer.pid, signal.SIGSTOP)
            stopped.append((writer.pid, time.monotonic()))
        elif stopped and not ended and (writer is None or writer.pid != stopped[0][0]):
            ended.append(time.monotonic())

    outcome = run_sweep(plan, "sweep", only=["troubled"], progress=stop)

    assert 15 < ended[0] - stopped[0][1] < 30
    assert (outcome.runs, outcome.failures) == (1, {})
    here = run_here(plan, Path("here"))
    assert journals(Path("sweep")) == {
        name: content for name, content in journals(here).items() if "troubled" in name
    }
