"""Everything that writes, in a short run, and what must be true after a cut of its power.

A writer marks what it has promised; a check opens what a cut has left, as a user would, and
raises where a promise is broken or something torn is believed.

python -m tests.files.writers --states 400
python -m tests.files.writers --states 400 --without-syncs
"""

import argparse
import functools
import hashlib
import json
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from archgym.datasets import build_dataset
from archgym.errors import ArchGymError, FileFormatError, StorageError
from archgym.files.lease import Lease, last_writer
from archgym.files.storage import atomic_folder, write_atomic
from archgym.rules.log import RuleLog
from archgym.studies.journal import JournalWriter
from archgym.studies.metadata import BAD_NAME, JOURNAL_NAME, STUDY_NAME
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tables import build_table
from archgym.tasks.cache import CachedExecutor
from archgym.tasks.executor import SerialExecutor
from tests.files.disk import Disk
from tests.toys import SPACE, ToyAgent, toy_task

BUDGET = 30
Marks = list[Any]


@dataclass(frozen=True)
class Writer:
    """A short run and its check."""

    write: Callable[[Path, Disk], None]
    check: Callable[[Path, Marks], None]


def _records(folder: Path) -> list[tuple[Any, ...]]:
    records = read_study(folder).records
    return [
        (int(seq), tuple(indices), values.tobytes(), float(reward), int(same))
        for seq, indices, values, reward, same in zip(
            records.seq,
            records.indices.tolist(),
            records.values,
            records.reward,
            records.same,
            strict=True,
        )
    ]


@functools.cache
def _searched(seed: int = 0) -> tuple[Any, ...]:
    """Return the records of a search that nothing interrupts."""
    with tempfile.TemporaryDirectory() as folder:
        _search(Path(folder) / "study", seed)
        return tuple(map(repr, _records(Path(folder) / "study")))


def _search(folder: Path, seed: int = 0, budget: int = BUDGET) -> None:
    with Study.create(
        folder, toy_task(), ToyAgent, seed=seed, budget=budget, exists="resume"
    ) as study:
        study.run()


@contextmanager
def _promising(disk: Disk, name: str) -> Iterator[None]:
    """Mark each append to journals, and which writers have a lease."""
    append, sign, release = JournalWriter.append, Lease._sign, Lease.release

    def marking(self: JournalWriter, lines: bytes, first: int, n: int, wall_s: float) -> None:
        append(self, lines, first, n, wall_s)
        disk.mark((name, first + n))

    def signing(self: Lease) -> bytes:
        content = sign(self)
        disk.mark(("held", 1))
        return content

    def releasing(self: Lease) -> None:
        if self._descriptor >= 0:
            disk.mark(("held", 0))
        release(self)

    with (
        mock.patch.object(JournalWriter, "append", marking),
        mock.patch.multiple(Lease, _sign=signing, release=releasing),
    ):
        yield


def check_search_of(folder: Path, marks: Marks, name: str, seed: int = 0) -> None:
    promised = max((n for kind, n in marks if kind == name), default=0)
    if (folder / name / STUDY_NAME).exists() and dict(marks).get("held"):
        assert last_writer(folder / name) is not None, "who wrote the study is lost"
    if promised:
        kept = [repr(each) for each in _records(folder / name)]
        assert set(_searched(seed)[:promised]) <= set(kept), "promised records are lost"
    _search(folder / name, seed)
    assert tuple(map(repr, _records(folder / name))) == _searched(seed)
    assert read_study(folder / name).damage_report() is None


# ---- studies


def write_search(folder: Path, disk: Disk) -> None:
    with mock.patch("archgym.studies.journal._SYNC_INTERVAL_S", -1.0), _promising(disk, "study"):
        _search(folder / "study")


def check_search(folder: Path, marks: Marks) -> None:
    check_search_of(folder, marks, "study")


def write_continued(folder: Path, disk: Disk) -> None:
    """Repair the journal of a killed search, and go on."""
    write_search(folder, disk)
    journal = folder / "study" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"seq"', b'"sEq"')
    with journal.open("r+b") as handle:
        handle.write(b"".join(lines)[:-9])
        handle.truncate()
        handle.flush()
        disk.sync(journal)
    disk.events = [event for event in disk.events if event.kind != "mark"]
    disk.mark(("damaged", 0))
    write_search(folder, disk)


def check_continued(folder: Path, marks: Marks) -> None:
    if marks:
        both = [folder / "study" / name for name in (JOURNAL_NAME, BAD_NAME)]
        kept = b"".join(path.read_bytes() for path in both if path.exists())
        assert b'"sEq"' in kept, "the damaged line is lost"
    if (folder / "study" / STUDY_NAME).exists() or marks:
        check_search_of(folder, marks, "study")


def write_told(folder: Path, disk: Disk) -> None:
    """Tell results one by one."""
    with (
        mock.patch("archgym.studies.journal._SYNC_INTERVAL_S", -1.0),
        Study.create(folder / "study", toy_task(), None) as study,
    ):
        rng = np.random.default_rng(3)
        for n in range(6):
            study.evaluate(SPACE.sample(1, rng))
            disk.mark(n + 1)


def check_told(folder: Path, marks: Marks) -> None:
    if marks:
        assert len(_records(folder / "study")) >= marks[-1], "promised records are lost"
    rng = np.random.default_rng(3)
    for record in _records(folder / "study") if (folder / "study" / STUDY_NAME).exists() else []:
        assert record[1] == tuple(SPACE.sample(1, rng)[0].tolist())
    with Study.log(folder / "study", toy_task()) as study:
        study.evaluate(SPACE.sample(1, rng))


@functools.cache
def _study(name: str) -> Path:
    folder = Path(tempfile.mkdtemp()) / name
    _search(folder, ord(name))
    return folder


# ---- sweeps, caches, tables, datasets, rules


class InProcessCrew:
    """Runs studies in this process."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._done: list[tuple[Any, Any]] = []
        self.evaluations: dict[str, int] = {}

    @property
    def room(self) -> int:
        return 1 - len(self._done)

    def send(self, run: Any, folder: Path) -> None:
        from archgym.sweep.study_run import perform

        self.evaluations[run.id] = 0
        self._done.append((run, perform(run, folder, {}, 0.0)))

    def take(self, patience_s: float) -> list[tuple[Any, Any]]:
        done, self._done, self.evaluations = self._done, [], {}
        return done

    def stop(self) -> None:
        pass


@functools.cache
def sweep_plan() -> Any:
    from archgym.bench import bench_plan, bench_task

    return bench_plan(["random"], [bench_task("accelerator-maestro")], 2, 8).decided()


def sweep(folder: Path) -> Any:
    from archgym.sweep.driver import run_sweep

    with mock.patch("archgym.sweep.driver.LocalCrew", InProcessCrew):
        return run_sweep(sweep_plan(), folder / "sweep")


def write_sweep(folder: Path, disk: Disk) -> None:
    sweep(folder)
    disk.mark("swept")


def check_sweep(folder: Path, marks: Marks) -> None:
    from archgym.bench import verify_bench

    if marks:
        assert verify_bench(folder / "sweep").refusals == ()
    outcome = sweep(folder)
    assert not outcome.failures, outcome.failures
    assert outcome.repeated == 2 or not marks
    assert verify_bench(folder / "sweep").refusals == ()


def _cached(folder: Path) -> Any:
    rng = np.random.default_rng(1)
    executor = CachedExecutor(SerialExecutor(), folder / "cache", recheck=1.0)
    with mock.patch("archgym.tasks.cache._BUSY_S", 1.0):
        try:
            for _ in range(3):
                yield executor.evaluate(toy_task(), SPACE.sample(5, rng))
        finally:
            executor.close()
            executor._cache.close()


def write_cache(folder: Path, disk: Disk) -> None:
    for n, _ in enumerate(_cached(folder)):
        disk.mark(5 * (n + 1))


def check_cache(folder: Path, marks: Marks) -> None:
    """Nothing false is in it; the last commit may be missing, which costs an evaluation."""
    path = folder / "cache" / "evaluations.sqlite"
    if path.exists():
        base = sqlite3.connect(path)
        try:
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            if marks:
                n = base.execute("SELECT count(*) FROM results").fetchone()[0]
                assert n >= marks[-1] - 5, f"{marks[-1]} results were stored, {n} are there"
        finally:
            base.close()
    rng = np.random.default_rng(1)
    for found in _cached(folder):
        expected = toy_task().evaluate(SPACE.sample(5, rng))
        assert np.array_equal(found.values, expected.values, equal_nan=True)


def write_table(folder: Path, disk: Disk) -> None:
    with mock.patch("archgym.tables.simulation._WRITE_S", -1.0):
        build_table(toy_task(), folder / "new" / "t.parquet", workers=1)
    disk.mark("built")


@functools.cache
def _table() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return build_table(toy_task(), Path(folder) / "t.parquet", workers=1).read_bytes()


def check_table(folder: Path, marks: Marks) -> None:
    path = folder / "new" / "t.parquet"
    if not path.exists():
        assert not marks, "a table that was built is lost"
        build_table(toy_task(), path, workers=1)
    assert path.read_bytes() == _table()


def write_dataset(folder: Path, disk: Disk) -> None:
    build_dataset(_study("a"), folder / "data")
    disk.mark("data")
    build_dataset(_study("a"), folder / "file.parquet")
    disk.mark("file.parquet")


def check_dataset(folder: Path, marks: Marks) -> None:
    for name in ("data", "file.parquet"):
        if not (folder / name).exists():
            assert name not in marks, "a dataset that was built is lost"
            build_dataset(_study("a"), folder / name)
        assert _digests(folder / name) == _dataset(name)


def _digests(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


@functools.cache
def _dataset(name: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        build_dataset(_study("a"), Path(folder) / name)
        return _digests(Path(folder) / name)


def write_minari(folder: Path, disk: Disk) -> None:
    from archgym.envs import DesignEnv
    from archgym.envs.minari import record_minari

    env = DesignEnv(toy_task())

    def act(inner: DesignEnv, seen: np.ndarray) -> np.ndarray:
        return np.zeros(len(SPACE.sizes), dtype=np.int64)

    record_minari(env, act, 1, folder, id="toy/evaluations-v0", algorithm="default")
    disk.mark("written")


def check_minari(folder: Path, marks: Marks) -> None:
    import h5py

    path = folder / "toy" / "evaluations-v0" / "data"
    assert path.exists() or not marks, "a dataset that was written is lost"
    if path.exists():
        with h5py.File(path / "main_data.hdf5") as content:
            assert len(content) == 1
        assert json.loads((path / "metadata.json").read_text())["total_episodes"] == 1
    assert not marks or json.loads((folder / "toy" / "namespace_metadata.json").read_text()) == {}


def write_rules(folder: Path, disk: Disk) -> None:
    """Measure rules; a long comment makes lines of two pages."""
    from archgym.simulators.translation.rules.domain import TLB

    with RuleLog.create(folder / "log", "tlb", ["sort"], budget=4) as log:
        disk.mark(0)
        for n in range(3):
            log.evaluate(f"{TLB.templates['lru']}\n# {'x' * 6000 * n}\n")
            disk.mark(n + 1)


def check_rules(folder: Path, marks: Marks) -> None:
    from archgym.rules.log import HEADER_NAME

    if not marks and not (folder / "log" / HEADER_NAME).exists():
        return
    with RuleLog.open(folder / "log") as log:
        assert len(log.attempts) >= max(marks, default=0), "promised attempts are lost"
        assert len(log.attempts) <= 3
        assert all(each.loss == log.attempts[0].loss for each in log.attempts)


# ---- measurements


def _measured(n: int) -> Any:
    from archgym.measurements.file import Measurement

    return Measurement(
        simulator="s", version=0, space="d", options={}, workload="w", facts={"workload": "0"},
        design={"x": n}, metrics={"time_ns": 1.5}, simulated={"time_ns": 1.0},
        date="2026-01-02", machine="m" * 3000 * n,
    )  # fmt: skip


def write_measurements(folder: Path, disk: Disk) -> None:
    from archgym.measurements.file import append_measurements

    for n in range(4):
        append_measurements(folder / "measured.jsonl", [_measured(n)])
        disk.mark(n + 1)


def check_measurements(folder: Path, marks: Marks) -> None:
    from archgym.measurements.file import append_measurements, read_measurements

    path, promised = folder / "measured.jsonl", max(marks, default=0)
    try:
        kept = len(read_measurements(path))
    except (FileFormatError, StorageError):
        # Where not even the heading was written, the next append makes the file.
        kept = 0
    assert kept >= promised, "promised measurements are lost"
    for n in range(kept, 4):
        append_measurements(path, [_measured(n)])
    assert read_measurements(path).rows == tuple(map(_measured, range(4)))


# ---- the parts of everything else: reports, exports, policies, proxies, choices, leaderboards


def write_files(folder: Path, disk: Disk) -> None:
    for n in range(4):
        write_atomic(folder / "file", f"{n}:".encode() + bytes([65 + n]) * 9000)
        disk.mark(("file", n))
        with atomic_folder(folder / f"folder-{n}") as scratch:
            (scratch / "sub").mkdir()
            (scratch / "sub" / "part").write_bytes(b"p" * 9000)
            (scratch / "last").write_bytes(b"l")
        disk.mark(("folder", n))


def check_files(folder: Path, marks: Marks) -> None:
    latest = dict(marks)
    if (folder / "file").exists():
        content = (folder / "file").read_bytes()
        n = int(content[:1])
        assert content == f"{n}:".encode() + bytes([65 + n]) * 9000
        assert n >= latest.get("file", -1)
    else:
        assert "file" not in latest
    for n in range(4):
        if (folder / f"folder-{n}").exists():
            assert (folder / f"folder-{n}" / "sub" / "part").read_bytes() == b"p" * 9000
            assert (folder / f"folder-{n}" / "last").read_bytes() == b"l"
        else:
            assert n > latest.get("folder", -1)


WRITERS = {
    "search": Writer(write_search, check_search),
    "search that is repaired": Writer(write_continued, check_continued),
    "log of evaluations": Writer(write_told, check_told),
    "sweep and benchmark": Writer(write_sweep, check_sweep),
    "cache": Writer(write_cache, check_cache),
    "table": Writer(write_table, check_table),
    "dataset": Writer(write_dataset, check_dataset),
    "dataset for Minari": Writer(write_minari, check_minari),
    "log of rules": Writer(write_rules, check_rules),
    "measurements": Writer(write_measurements, check_measurements),
    "atomic files and folders": Writer(write_files, check_files),
}


def recorded(name: str, top: Path, without: str = "") -> Disk:
    """Run a writer once on a disk that records it, perhaps without the syncs of one place."""
    # The study that others read is made before, outside.
    for other in "ab":
        _study(other)
    top.mkdir()
    disk = Disk(top, without)
    with disk.recording():
        WRITERS[name].write(top, disk)
    return disk


def broken(name: str, disk: Disk, n: int, seed: int, scratch: Path) -> list[str]:
    """Return what `n` cuts break: the event, and the problem.

    Cuts are spread over all events, with some after each of the first syncs that are left out; each
    has a state of its own, drawn from `seed` and its number.
    """
    found = []
    ends = np.linspace(0, len(disk.events), n).round().astype(int)
    after = np.add.outer(disk.left_out[:5], np.repeat(np.arange(1, 7), 4)).ravel().astype(int)
    ends = np.append(ends, after[after <= len(disk.events)])
    scratch.mkdir(exist_ok=True)
    for number, end in enumerate(ends.tolist()):
        folder = scratch / f"state-{number}"
        disk.write_state(end, np.random.default_rng([seed, number]), folder)
        try:
            WRITERS[name].check(folder, disk.marks(end))
        except (ArchGymError, AssertionError, sqlite3.Error, OSError) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            found.append(f"cut {number} at event {end}: {error!r} ({place.name})")
        else:
            shutil.rmtree(folder)
    return found


def noticed(
    n: int, seed: int, scratch: Path, names: tuple[str, ...] = tuple(WRITERS)
) -> dict[str, str]:
    """Return by place of a sync which writer's check notices that it is not done, "" for none.

    Args:
      n: Cuts of each run.
      seed: Random seed of what they leave.
      scratch: Empty folder.
      names: Writers.
    """
    users: dict[str, list[str]] = {}
    for name in names:
        for place in recorded(name, scratch / name).places:
            users.setdefault(place, []).append(name)
    found = {}
    for number, place in enumerate(sorted(users)):
        found[place] = ""
        for name in users[place]:
            folder = scratch / f"{number}-{name}"
            disk = recorded(name, folder, place)
            if broken(name, disk, n, seed, folder.with_name(f"{folder.name} cut")):
                found[place] = name
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("writers", nargs="*", default=list(WRITERS))
    parser.add_argument("--without-syncs", action="store_true", help="remove each sync in turn")
    given = parser.parse_args()
    if given.without_syncs:
        with tempfile.TemporaryDirectory() as folder:
            found = noticed(given.states, given.seed, Path(folder), tuple(given.writers))
        sys.stdout.write("| sync that is removed | noticed by |\n|---|---|\n")
        for place, name in found.items():
            sys.stdout.write(f"| {place} | {name or 'nobody'} |\n")
        sys.stdout.write(f"{sum(map(bool, found.values()))} of {len(found)} noticed\n")
        return
    sys.stdout.write("| writer | events | cuts | survived |\n|---|---|---|---|\n")
    for name in given.writers:
        scratch = Path(tempfile.mkdtemp())
        disk = recorded(name, scratch / "disk")
        problems = broken(name, disk, given.states, given.seed, scratch)
        n = given.states
        sys.stdout.write(f"| {name} | {len(disk.events)} | {n} | {n - len(problems)} |\n")
        for problem in problems[:4]:
            sys.stdout.write(f"    {scratch}: {problem[:300]}\n")
        sys.stdout.flush()
        if not problems:
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
