"""Studies whose files are damaged."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archgym.errors import (
    FileFormatError,
    StorageError,
)
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from tests.studies.searches import TWO, journal, resume, search
from tests.toys import ToyAgent, toy_task


def spoilt_journals(content: bytes, n_records: int) -> Iterator[bytes]:
    """Each byte of the first records flipped, and the last record cut at each byte."""
    end = sum(len(line) for line in content.splitlines(keepends=True)[:n_records])
    for place in range(end):
        spoilt = bytearray(content)
        spoilt[place] ^= 0x01
        yield bytes(spoilt)
    start = content.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(content)):
        yield content[:cut]


def assert_repaired(folder: Path, spoilt: bytes, whole: bytes) -> None:
    (folder / "journal.jsonl").write_bytes(spoilt)
    (folder / "journal.bad").unlink(missing_ok=True)
    damage = read_study(folder).damage
    assert journal(folder) == spoilt

    result = resume(folder)

    assert journal(folder) == whole
    assert result.evaluations == 20
    assert (folder / "journal.bad").exists() == bool(damage)


def test_damaged_journals_are_repaired_to_the_byte(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")

    for spoilt in random.Random(0).sample(list(spoilt_journals(whole, 10)), 12):
        assert_repaired(tmp_path / "a", spoilt, whole)


@pytest.mark.slow
@pytest.mark.parametrize("step", [21, pytest.param(3, marks=pytest.mark.nightly)])
def test_journals_damaged_in_any_place_are_repaired_to_the_byte(tmp_path: Path, step: int) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")

    # What each byte does to a journal alone is tested there; these are all fields of a record.
    for spoilt in list(spoilt_journals(whole, 10))[::step]:
        assert_repaired(tmp_path / "a", spoilt, whole)


def test_lost_evaluation_is_done_again_and_not_charged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    lines = whole.splitlines(keepends=True)
    lost = b"{" + lines[2]
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join([*lines[:2], lost, *lines[3:]]))

    result = resume(tmp_path / "a")

    assert journal(tmp_path / "a") == whole
    assert result.evaluations == 20
    assert (tmp_path / "a" / "journal.bad").read_bytes() == lost
    assert "1 damaged line left out: line 3 does not match its checksum" in caplog.text


def test_repair_that_is_cut_off_is_done_again(tmp_path: Path) -> None:
    class CutOffError(Exception):
        pass

    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    lines = whole.splitlines(keepends=True)
    for row in (2, 9, 11):
        lines[row] = b"x\n"
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join(lines))

    Study.open(tmp_path / "a", toy_task(TWO), ToyAgent).close()
    for limit in (5, 9):

        def cut_off(n: int, *_: object, limit: int = limit) -> None:
            if n >= limit:
                raise CutOffError

        with pytest.raises(CutOffError):
            Study.open(tmp_path / "a", toy_task(TWO), ToyAgent).run(progress=cut_off)
    log = read_study(tmp_path / "a")
    assert log.damage == ()
    assert log.asks == len(lines) - 1
    resume(tmp_path / "a")

    assert journal(tmp_path / "a") == whole
    assert (tmp_path / "a" / "journal.bad").read_bytes() == b"x\n" * 3


def test_reader_changes_nothing_and_reports(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    (tmp_path / "a" / "journal.jsonl").write_bytes(whole[:-5])
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}

    log = read_study(tmp_path / "a")

    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert log.evaluations == 19
    report = log.damage_report()
    assert report is not None
    n = len(whole.splitlines())
    assert report.endswith(f"line {n} is torn: it has no end. Record {n - 1} is missing.")


def test_journal_of_another_study_is_not_taken(tmp_path: Path) -> None:
    search(tmp_path / "a", 20)
    search(tmp_path / "b", 20, toy_task("heavy"))
    Study.create(tmp_path / "c", toy_task(TWO), ToyAgent, seed=2, budget=20).run()
    search(tmp_path / "d", 20, hyperparameters={"batch_size": 3})
    whole = journal(tmp_path / "a")

    for other in ("b", "c", "d"):
        (tmp_path / "a" / "journal.jsonl").write_bytes(journal(tmp_path / other))
        log = read_study(tmp_path / "a")
        assert log.asks == 0
        assert len(log.damage) == len(journal(tmp_path / other).splitlines())
        assert "belongs to another study" in str(log.damage[0])

    resume(tmp_path / "a")
    assert journal(tmp_path / "a") == whole


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        (lambda lines: lines[:5] + lines[8:], "records 5 to 7 are missing"),
        (lambda lines: lines[1:2] + lines[3:], "records 0, 2 are missing"),
        (lambda lines: lines[:-1], "record {last} is missing"),
        (lambda lines: [], "records 0 to {last} are missing"),
    ],
)
def test_missing_records_are_noticed_and_made_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kept: Callable[[list[bytes]], list[bytes]],
    text: str,
) -> None:
    search(tmp_path / "a", 20)
    whole = journal(tmp_path / "a")
    lines = whole.splitlines(keepends=True)
    left = kept(lines)
    (tmp_path / "a" / "journal.jsonl").write_bytes(b"".join(left))
    text = text.format(last=len(lines) - 1)

    log = read_study(tmp_path / "a")

    assert log.damage == ()
    assert text in (log.damage_report() or "")
    assert log.status == "interrupted"
    result = resume(tmp_path / "a")
    assert f"{text}; these {len(lines) - len(left)} are made again" in caplog.text
    assert journal(tmp_path / "a") == whole
    assert result.log.damage_report() is None
    assert read_study(tmp_path / "a").damage_report() is None


def test_damaged_header_is_refused_by_name(tmp_path: Path) -> None:
    search(tmp_path / "a", 5)
    path = tmp_path / "a" / "study.json"
    content = path.read_text()

    for spoilt, problem in (
        (content.replace('"budget": 5', '"budget": 6'), "does not match its checksum"),
        (content[:-20], r"study\.json:\d+: must be JSON"),
        ("7", "must be what ArchGym wrote; it is not an object"),
        ("[1]", "must be what ArchGym wrote; it is not an object"),
        ("[" * 100000, "must be what ArchGym wrote; it is nested too deep"),
        ("{}", "has format 0, which ArchGym 0.x wrote"),
        (content.replace('"crc"', '"crd"'), "ArchGym wrote; member `crc` is missing"),
    ):
        path.write_text(spoilt)
        with pytest.raises(FileFormatError, match=problem):
            read_study(tmp_path / "a")
        with pytest.raises(FileFormatError, match=problem):
            Study.open(tmp_path / "a", toy_task(TWO), ToyAgent)


def test_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="a study must have a file"):
        read_study(tmp_path)
    with pytest.raises(StorageError, match="there is no such file or folder"):
        read_study(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
