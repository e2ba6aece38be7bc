"""The layout of planes, in which reference traces are stored."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError
from evidence.translation.planes import read_planes


@pytest.fixture
def planes() -> dict[str, Any]:
    meta = json.dumps({"name": "mine"}).encode()
    return {
        "p0": np.array([0, 1, 0], np.uint8),
        "p1": np.array([0, 0, 1], np.uint8),
        "p2": np.zeros(3, np.uint8),
        "p3": np.zeros(3, np.uint8),
        "off": np.array([8, 4095, 0], np.uint16),
        "dinst": np.array([1, 2, 65535], np.uint16),
        "kind": np.array([0, 1, 3], np.uint8),
        "size": np.array([8, 4, 2], np.uint8),
        "pages": np.arange(257, dtype=np.uint64) + 5,
        "meta": np.frombuffer(meta, np.uint8),
    }


def refusal(path: Path, planes: dict[str, Any]) -> str:
    np.savez_compressed(path, **planes)
    with pytest.raises(FileFormatError) as refused:
        read_planes(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_planes_are_put_together(tmp_path: Path, planes: dict[str, Any]) -> None:
    np.savez_compressed(tmp_path / "a.npz", **planes)

    trace = read_planes(tmp_path / "a.npz")

    assert trace.address.tolist() == [5 * 4096 + 8, 6 * 4096 + 4095, 261 * 4096]
    assert trace.instructions.tolist() == [1, 2, 65535]
    assert trace.kind.tolist() == [0, 1, 3]
    assert trace.size_bytes.tolist() == [8, 4, 2]
    assert trace.name == "mine"


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("pages", np.full(257, 1 << 45, np.uint64), "beyond addresses of 57 bits"),
        ("pages", np.zeros(3, np.uint64), "on page 256 of 3"),
        ("off", np.full(3, 4096, np.uint16), "beyond its page"),
        ("kind", np.full(3, 9, np.uint8), "of kind 9"),
        ("kind", np.zeros(2, np.uint8), "differ in length"),
        ("dinst", np.zeros(3, np.int64), "must be of type <u2"),
        ("p2", np.zeros((3, 1), np.uint8), "at most shape"),
        ("meta", np.frombuffer(b"[1]", np.uint8), "holds no object"),
    ],
)
def test_wrong_column_is_refused_in_one_line(
    tmp_path: Path, planes: dict[str, Any], column: str, value: np.ndarray, words: str
) -> None:
    assert words in refusal(tmp_path / "a.npz", {**planes, column: value})


def test_pickled_objects_are_not_read(tmp_path: Path, planes: dict[str, Any]) -> None:
    wrong = np.array([{"a": 1}], dtype=object)

    assert "got |O" in refusal(tmp_path / "a.npz", {**planes, "off": wrong})


def test_size_that_is_only_claimed_is_refused(tmp_path: Path, planes: dict[str, Any]) -> None:
    np.savez_compressed(tmp_path / "a.npz", **planes)
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as good,
        zipfile.ZipFile(tmp_path / "b.npz", "w") as bad,
    ):
        for name in good.namelist():
            content = good.read(name).replace(b"(3,), }  ", b"(999,), }")
            bad.writestr(name, content)

    with pytest.raises(FileFormatError, match="is cut off or has extra bytes"):
        read_planes(tmp_path / "b.npz")


def test_more_records_than_asked_for_are_refused(tmp_path: Path, planes: dict[str, Any]) -> None:
    np.savez_compressed(tmp_path / "a.npz", **planes)

    with pytest.raises(FileFormatError, match="at most shape"):
        read_planes(tmp_path / "a.npz", max_records=2)


@pytest.mark.slow
def test_reference_traces_have_their_recorded_counts() -> None:
    folder = Path(os.environ.get("ARCHGYM_REFERENCE", "absent")) / "translation"
    if not folder.is_dir():
        pytest.skip("ARCHGYM_REFERENCE holds no folder translation")
    for line in (folder / "traces.jsonl").read_text().splitlines():
        about = json.loads(line)
        if about["name"] not in ("moe", "pydict"):
            continue
        trace = read_planes(folder / "traces" / f"{about['name']}.npz")

        assert len(trace) == about["records"]
        assert trace.n_instructions == about["instructions"]
        # Of data, without the pages that only instructions were fetched from.
        data = trace.address[trace.kind != 2]
        assert int((trace.kind == 0).sum()) == about["loads"]
        assert abs(len(np.unique(data >> np.uint64(12))) - about["data_pages_4k"]) <= 1
