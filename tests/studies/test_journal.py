import errno
import json
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, StorageError, StudyLockedError
from archgym.files.lease import LOCK_NAME, Lease
from archgym.studies.journal import Journal, JournalWriter, encode, load_journal, rewrite, set_aside
from archgym.studies.records import JournalShape, Records

COLUMNS = ("seq", "indices", "values", "reason", "reward", "same")
SHAPE = JournalShape(sizes=(4, 3), n_workloads=2, n_metrics=2, n_reasons=3)


def some_records(n: int = 12) -> Records:
    records = Records.empty(SHAPE, n)
    rng = np.random.default_rng(0)
    records.seq[:] = np.arange(n)
    records.indices[:] = rng.integers(SHAPE.sizes, size=(n, 2))
    records.values[:] = rng.random((n, 2, 2)) * 10.0 ** rng.integers(-9, 9, size=(n, 2, 2))
    records.reason[:] = 0
    records.reward[:] = rng.random(n)
    records.values[3], records.reason[3], records.reward[3] = np.nan, 2, -25.0
    records.values[4, 1], records.reason[4] = np.nan, [0, 1]
    records.values[6], records.reason[6], records.reward[6] = np.nan, -1, -25.0
    for row, same in ((5, 2), (9, 0)):
        records.values[row], records.reason[row], records.reward[row] = np.nan, -1, np.nan
        records.same[row] = same
    errors = {6: 'It broke: "é"\n.'}
    return Records(
        records.seq,
        records.indices,
        records.values,
        records.reason,
        records.reward,
        records.same,
        errors,
    )


def written(path: Path, content: bytes | None = None) -> Path:
    path.write_bytes(encode(some_records()) if content is None else content)
    return path


def with_crc(record: object) -> bytes:
    body = json.dumps(record, separators=(",", ":"))[:-1].encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def assert_equal(first: Records, second: Records) -> None:
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(first, column), getattr(second, column))
    assert dict(first.errors) == dict(second.errors)


def loaded(path: Path) -> Journal:
    return load_journal(path, SHAPE)


def test_line_has_the_documented_form() -> None:
    lines = encode(some_records()).splitlines()

    body, crc = lines[3][:-18], lines[3][-10:-2]
    assert body.startswith(b'{"seq":3,"design":[')
    assert body.endswith(b'"values":[[null,null],[null,null]],"reason":[2,2],"reward":-25.0')
    assert crc == b"%08x" % zlib.crc32(body)
    assert list(json.loads(lines[5])) == ["seq", "design", "same", "crc"]
    assert json.loads(lines[6])["error"] == 'It broke: "é"\n.'


def test_lines_are_those_of_a_json_encoder() -> None:
    bits = np.random.default_rng(1).integers(0, 2**64, size=(2000, 2, 2), dtype=np.uint64)
    values = bits.view(np.float64)
    values[np.isinf(values)] = -0.0
    records = some_records(2000)
    records.values[:] = values
    records.reward[:] = np.where(np.isnan(values[:, 0, 1]), 1e22, values[:, 0, 1])
    columns = zip(*(getattr(records, name).tolist() for name in COLUMNS), strict=True)

    for line, (seq, design, shown, reason, reward, same) in zip(
        encode(records).splitlines(keepends=True), columns, strict=True
    ):
        record: dict[str, object] = {"seq": seq, "design": design}
        if same >= 0:
            record["same"] = same
        else:
            nulls = [[None if v != v else v for v in row] for row in shown]
            record |= {"values": nulls, "reason": reason, "reward": reward}
        if seq in records.errors:
            record["error"] = records.errors[seq]
        assert line == with_crc(record)


@pytest.mark.parametrize("column", ["values", "reward"])
def test_number_that_json_cannot_hold_is_refused(column: str) -> None:
    records = some_records()
    getattr(records, column)[0] = np.inf

    with pytest.raises(ValueError, match="finite"):
        encode(records)


def test_records_come_back_exactly(tmp_path: Path) -> None:
    journal = loaded(written(tmp_path / "journal"))

    assert journal.is_tidy
    assert journal.damage == ()
    assert_equal(journal.records, some_records())


def test_line_of_another_study_is_damage(tmp_path: Path) -> None:
    shape = replace(SHAPE, key=77)
    path = written(tmp_path / "journal", encode(some_records(), 77))

    assert_equal(load_journal(path, shape).records, some_records())
    foreign = load_journal(path, replace(SHAPE, key=78))
    assert len(foreign.records) == 0
    assert len(foreign.damage) == 12
    assert "line 1 does not match its checksum or belongs to another" in str(foreign.damage[0])


def test_empty_journal_is_sound(tmp_path: Path) -> None:
    journal = loaded(written(tmp_path / "journal", b""))

    assert journal.is_tidy
    assert len(journal.records) == 0


def test_absent_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="a study must have its journal"):
        loaded(tmp_path / "journal")


def test_truncation_at_each_byte_of_the_last_record_costs_that_record(tmp_path: Path) -> None:
    content = encode(some_records())
    start = content.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(content)):
        journal = loaded(written(tmp_path / "journal", content[:end]))

        whole = end == len(content) - 1
        assert len(journal.records) == (12 if whole else 11)
        assert journal.is_tidy == (end == start)
        assert len(journal.damage) == (0 if whole or end == start else 1)
        assert all("line 12 is torn" in str(damage) for damage in journal.damage)


@pytest.mark.parametrize(
    "flip",
    [
        0x01,
        pytest.param(0x20, marks=pytest.mark.slow),
        pytest.param(0xFF, marks=pytest.mark.nightly),
    ],
)
def test_flip_of_each_byte_is_seen_and_costs_at_most_two_records(tmp_path: Path, flip: int) -> None:
    content = encode(some_records())
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= flip

        journal = loaded(written(tmp_path / "journal", bytes(spoilt)))

        kept = journal.records.seq
        assert len(kept) >= 10
        assert not journal.is_tidy
        assert journal.damage or place == len(content) - 1
        assert_equal(journal.records, some_records().rows(np.isin(np.arange(12), kept)))


def test_damage_names_its_line(tmp_path: Path) -> None:
    lines = encode(some_records()).splitlines(keepends=True)
    lines[4] = b"rubbish\n"
    lines.insert(8, b"\n")

    journal = loaded(written(tmp_path / "journal", b"".join(lines)))

    assert [str(d) for d in journal.damage] == [
        "line 5 does not match its checksum or belongs to another study",
        "line 9 is empty",
    ]


def test_same_record_twice_is_ignored_and_another_one_set_aside(tmp_path: Path) -> None:
    lines = encode(some_records()).splitlines(keepends=True)
    other = with_crc({"seq": 2, "design": [0, 0], "same": 1})

    journal = loaded(written(tmp_path / "journal", b"".join([*lines, lines[7], other])))

    assert_equal(journal.records, some_records())
    assert [str(d) for d in journal.damage] == ["line 14 is another record with seq 2"]


@pytest.mark.parametrize(
    "record",
    [
        [1, 2],
        7,
        {"seq": 0},
        {"seq": True, "design": [0, 0], "same": 0},
        {"seq": 1, "design": [0, 0], "same": 1},
        {"seq": 1, "design": [0, 0], "same": -1},
        {"seq": -1, "design": [0, 0], "same": -2},
        {"seq": 2**60, "design": [0, 0], "same": 1},
        {"seq": 1, "design": [0, 3], "same": 0},
        {"seq": 1, "design": [0, -1], "same": 0},
        {"seq": 1, "design": [0, 1.0], "same": 0},
        {"seq": 1, "design": [0, True], "same": 0},
        {"seq": 1, "design": [0], "same": 0},
        {"seq": 1, "design": "ab", "same": 0},
        {"seq": 1, "design": [0, 0], "same": 0, "more": 1},
        {"seq": 1, "design": [0, 0], "values": [[1.0, 2.0]], "reason": [0, 0], "reward": 0.0},
        {"seq": 1, "design": [0, 0], "values": [[1.0], [2.0]], "reason": [0, 0], "reward": 0.0},
        {
            "seq": 1,
            "design": [0, 0],
            "values": [[1.0, "2"], [2.0, 2.0]],
            "reason": [0, 0],
            "reward": 0.0,
        },
        {
            "seq": 1,
            "design": [0, 0],
            "values": [[1.0, 2.0], [2.0, 2.0]],
            "reason": [0, 3],
            "reward": 0.0,
        },
        {
            "seq": 1,
            "design": [0, 0],
            "values": [[1.0, 2.0], [2.0, 2.0]],
            "reason": [0, 0],
            "reward": None,
        },
    ],
)
def test_unsound_record_with_a_sound_checksum_is_damage(tmp_path: Path, record: object) -> None:
    journal = loaded(written(tmp_path / "journal", with_crc(record)))

    assert len(journal.records) == 0
    assert len(journal.damage) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"seq":0,"design":[0,0],"values":[[NaN,1.0],[1.0,1.0]],"reason":[0,0],"reward":0.5',
        b'{"seq":0,"design":[0,0],"values":[[1e999,1.0],[1.0,1.0]],"reason":[0,0],"reward":0.5',
        b'{"seq":0,"design":[0,0],"values":[[1.0,1.0],[1.0,1.0]],"reason":[0,0],"reward":-1e999',
        b'{"seq":' + b"9" * 5000 + b',"design":[0,0],"same":0',
        b"[" * 40000,
        b"\xff\xfe",
        b"",
    ],
)
def test_hostile_line_with_a_sound_checksum_is_damage(tmp_path: Path, body: bytes) -> None:
    line = body + b',"crc":"%08x"}\n' % zlib.crc32(body)

    journal = loaded(written(tmp_path / "journal", line))

    assert len(journal.records) == 0
    assert len(journal.damage) == 1


def test_endless_line_is_passed_over_and_set_aside_whole(tmp_path: Path) -> None:
    lines = encode(some_records()).splitlines(keepends=True)
    endless = b"x" * (3 * SHAPE.line_limit) + b"\n"
    path = written(tmp_path / "journal", b"".join([*lines[:5], endless, *lines[5:]]))

    journal = loaded(path)
    set_aside(path, journal.damage, tmp_path / "bad")

    assert len(journal.records) == 12
    assert [d.line for d in journal.damage] == [6]
    assert (tmp_path / "bad").read_bytes() == endless


def test_repair_keeps_the_good_in_order_and_the_bad_apart(tmp_path: Path) -> None:
    lines = encode(some_records()).splitlines(keepends=True)
    shuffled = [lines[1], lines[0], b"torn\n", lines[0], *lines[3:], lines[2][:-1]]
    path = written(tmp_path / "journal", b"".join(shuffled))

    journal = loaded(path)
    set_aside(path, journal.damage, tmp_path / "bad")
    rewrite(path, journal)

    assert path.read_bytes() == b"".join(lines)
    assert (tmp_path / "bad").read_bytes() == b"torn\n"


# ---- writing


def test_batches_are_appended_with_their_times(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    writer = JournalWriter(tmp_path / "journal", tmp_path / "timing", lease)
    records = some_records()

    writer.append(encode(records.rows(slice(0, 5))), 0, 5, 0.25)
    writer.append(encode(records.rows(slice(5, 12))), 5, 7, 0.5)
    writer.close()
    lease.release()

    assert_equal(loaded(tmp_path / "journal").records, records)
    assert [json.loads(line) for line in (tmp_path / "timing").read_text().splitlines()] == [
        {"seq": 0, "n": 5, "wall_s": 0.25},
        {"seq": 5, "n": 7, "wall_s": 0.5},
    ]


def test_full_disk_leaves_whole_records_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(tmp_path)
    writer = JournalWriter(tmp_path / "journal", tmp_path / "timing", lease)
    writer.append(encode(some_records().rows(slice(0, 5))), 0, 5, 0.0)
    real = os.write
    left = [100]

    def nearly_full(descriptor: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = real(descriptor, data[: left[0]])
        left[0] -= n
        return n

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(StorageError, match=r"journal cannot be written: the disk is full\."):
        writer.append(encode(some_records().rows(slice(5, 12))), 5, 7, 0.0)
    monkeypatch.undo()
    writer.close()
    lease.release()

    journal = loaded(tmp_path / "journal")
    assert journal.is_tidy
    assert len(journal.records) == 5


def test_writer_whose_lease_is_lost_appends_nothing(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    writer = JournalWriter(tmp_path / "journal", tmp_path / "timing", lease)
    (tmp_path / LOCK_NAME).write_text("{}")

    with pytest.raises(StudyLockedError):
        writer.append(encode(some_records()), 0, 12, 0.0)

    assert (tmp_path / "journal").read_bytes() == b""
    writer.close()
    lease.release()
