"""Logs of rules: charged, replayed, and refused once somebody has edited them."""

import json
import shutil
import zlib
from pathlib import Path

import pytest

from archgym.errors import (
    BudgetExhausted,
    FileFormatError,
    InvalidArgumentError,
    StorageError,
    StudyLockedError,
)
from archgym.rules.log import HEADER_NAME, Attempt, RuleLog
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.translation.rules.domain import TLB

LRU, FIFO = TLB.templates["lru"], TLB.templates["fifo"]
JOURNAL = "policies.jsonl"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Attempt]]:
    """A log of two attempts with a budget of three, closed."""
    folder = tmp_path_factory.mktemp("logs") / "log"
    with RuleLog.create(folder, "tlb", ["sort"], budget=3) as log:
        attempts = [log.evaluate(LRU), log.evaluate(FIFO)]
    return folder, attempts


def copied(made: tuple[Path, list[Attempt]], to: Path) -> Path:
    to.mkdir()
    for name in (HEADER_NAME, JOURNAL):
        (to / name).write_bytes((made[0] / name).read_bytes())
    return to


@pytest.mark.slow
def test_log_continues_and_replays_equally(
    made: tuple[Path, list[Attempt]], tmp_path: Path
) -> None:
    folder = copied(made, tmp_path / "again")

    with RuleLog.open(folder) as log:
        assert (log.attempts, log.left) == (made[1], 1)
        assert log.verify() == []
        log.evaluate(FIFO)
        with pytest.raises(BudgetExhausted, match="All 3 evaluations"):
            log.evaluate(LRU)
    second, third = (folder / JOURNAL).read_bytes().splitlines()[1:]
    # The same rule gives the same record, but for its number and checksum.
    assert {**json.loads(second), "seq": 2, "crc": ""} == {**json.loads(third), "crc": ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        (HEADER_NAME, '"budget":3', '"budget":300', "do not match their checksum"),
        (HEADER_NAME, '"sort"', '"graph-search"', "do not match their checksum"),
        (JOURNAL, '"loss":', '"loss":0.1,"was":', "does not match its checksum"),
        (JOURNAL, '"seq":0', '"seq":1', "does not match its checksum"),
    ],
)
def test_edited_log_is_refused(
    made: tuple[Path, list[Attempt]],
    tmp_path: Path,
    name: str,
    before: str,
    after: str,
    words: str,
) -> None:
    folder = copied(made, tmp_path / "edited")
    text = (folder / name).read_text()
    assert before in text
    (folder / name).write_text(text.replace(before, after, 1))

    with pytest.raises(FileFormatError, match=words):
        RuleLog.open(folder)


@pytest.mark.slow
def test_dropped_line_is_refused(made: tuple[Path, list[Attempt]], tmp_path: Path) -> None:
    folder = copied(made, tmp_path / "dropped")
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(lines[1])

    with pytest.raises(FileFormatError, match="must be attempt 0; got 1"):
        RuleLog.open(folder)


@pytest.mark.slow
def test_attempts_beyond_the_budget_are_not_intact(
    made: tuple[Path, list[Attempt]], tmp_path: Path
) -> None:
    folder = copied(made, tmp_path / "beyond")
    with RuleLog.open(folder) as log:
        log.evaluate(FIFO)
    seed = zlib.crc32(log.header.crc.encode())
    last = (folder / JOURNAL).read_bytes().splitlines()[-1]
    body = last.partition(b',"crc"')[0].replace(b'"seq":2', b'"seq":3') + b"}"
    line = body[:-1] + f',"crc":"{zlib.crc32(body, seed):08x}"}}\n'.encode()
    with (folder / JOURNAL).open("ab") as handle:
        handle.write(line)

    with RuleLog.open(folder) as log:
        assert log.verify() == [4]


@pytest.mark.slow
def test_torn_last_line_is_removed_and_its_evaluation_is_free(
    made: tuple[Path, list[Attempt]], tmp_path: Path
) -> None:
    folder = copied(made, tmp_path / "torn")
    whole = (folder / JOURNAL).read_bytes()
    first = whole.index(b"\n") + 1
    (folder / JOURNAL).write_bytes(whole[: first + 40])

    with collected_reductions() as notes, RuleLog.open(folder) as log:
        assert log.attempts == made[1][:1]
        log.evaluate(FIFO)

    assert (folder / JOURNAL).read_bytes() == whole
    assert notes[0].endswith("40 bytes of a torn last line are removed.")


@pytest.mark.slow
def test_linked_journal_is_refused_and_its_target_kept(
    made: tuple[Path, list[Attempt]], tmp_path: Path
) -> None:
    folder = copied(made, tmp_path / "linked")
    target = tmp_path / "target"
    (folder / JOURNAL).rename(target)
    (folder / JOURNAL).symlink_to(target)
    before = target.read_bytes()

    with pytest.raises(StorageError, match="link"), RuleLog.open(folder) as log:
        log.evaluate(LRU)

    assert target.read_bytes() == before


@pytest.mark.slow
def test_records_of_another_log_are_refused(
    made: tuple[Path, list[Attempt]], tmp_path: Path
) -> None:
    with RuleLog.create(tmp_path / "other", "tlb", ["sort"], budget=4):
        pass
    (tmp_path / "other" / JOURNAL).write_bytes((made[0] / JOURNAL).read_bytes())

    with pytest.raises(FileFormatError, match="belongs to another folder"):
        RuleLog.open(tmp_path / "other")


@pytest.mark.slow
def test_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        RuleLog.create(tmp_path / "log", "tlb", ["sort"], budget=1),
        pytest.raises(StudyLockedError),
    ):
        RuleLog.open(tmp_path / "log")


def test_log_without_a_trace_or_a_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="needs a trace"):
        RuleLog.create(tmp_path / "log", "tlb", [], budget=1)
    with pytest.raises(InvalidArgumentError, match="`budget` must be 1"):
        RuleLog.create(tmp_path / "log", "tlb", ["sort"], budget=0)


@pytest.mark.slow
def test_log_of_0_2_verifies(tmp_path: Path) -> None:
    recorded = Path(__file__).parents[1] / "fixtures" / "rule-log"
    folder = shutil.copytree(recorded, tmp_path / "log")

    with RuleLog.open(folder) as log:
        assert log.verify() == []
        # The second prefetches, the third chooses a way that does not exist, the last loops.
        assert [each.loss is None for each in log.attempts] == [False, False, True, True]
        again = log.evaluate(log.attempts[1].source)
    lines = (folder / JOURNAL).read_text().splitlines()
    crc = ',"crc"'
    assert again.seq == 4
    assert lines[4].split(crc)[0] == lines[1].split(crc)[0].replace('"seq":1', '"seq":4')
