"""A writer that is cut off cannot write beside its replacement, with or without a lock's help."""

import fcntl
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import StudyLockedError
from archgym.files.lease import Lease
from archgym.studies.study import Study
from tests.toys import toy_task


@pytest.fixture(autouse=True)
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that nobody else sees, as between machines on some shared file systems."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def designs(seed: int) -> np.ndarray:
    """Two designs of the toy."""
    return toy_task().space.sample(2, np.random.default_rng(seed))


def test_the_first_writer_stops_when_another_took_over(tmp_path: Path) -> None:
    first = Study.log(tmp_path / "study", toy_task())
    first.evaluate(designs(0))
    second = Study.log(tmp_path / "study", toy_task())

    with pytest.raises(StudyLockedError, match="taken over"):
        first.evaluate(designs(1))

    second.evaluate(designs(2))
    first.close()
    second.close()
    assert len((tmp_path / "study/journal.jsonl").read_bytes().splitlines()) == 4


def test_what_is_written_between_a_look_at_the_lease_and_the_takeover_reaches_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "study/journal.jsonl"
    first = Study.log(tmp_path / "study", toy_task())
    first.evaluate(designs(0))
    # As if it had been held up for minutes between its look and its write, it writes to what it
    # has open.
    late = journal.open("ab")
    second = Study.log(tmp_path / "study", toy_task())
    second.evaluate(designs(2))
    before = journal.read_bytes()

    late.write(before.splitlines(keepends=True)[0])
    late.close()

    assert journal.read_bytes() == before
    monkeypatch.setattr(Lease, "check", lambda _: None)
    with pytest.raises(StudyLockedError, match="must stay in its place"):
        first.evaluate(designs(1))
    assert journal.read_bytes() == before
    second.evaluate(designs(3))
    second.close()
    assert len(journal.read_bytes().splitlines()) == 6


def test_a_study_that_was_given_back_is_not_copied(tmp_path: Path) -> None:
    Study.log(tmp_path / "study", toy_task()).close()
    before = (tmp_path / "study/journal.jsonl").stat().st_ino

    Study.log(tmp_path / "study", toy_task()).close()

    assert (tmp_path / "study/journal.jsonl").stat().st_ino == before


def test_a_lease_knows_who_did_not_give_it_back(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.predecessor is None

    other = Lease(tmp_path)

    assert other.predecessor is not None
    other.release()
    assert Lease(tmp_path).predecessor is None
