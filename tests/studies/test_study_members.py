import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archgym.datasets import build_dataset
from archgym.errors import FileFormatError
from archgym.studies.metadata import FORMAT, _checksum
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from tests.toys import ToyAgent, toy_task


@pytest.mark.parametrize("value", [None, -1, 10**40, "two\nlines", [], {}, 1.5, True])
@pytest.mark.parametrize(
    "place",
    [
        ("task", "version"),
        ("task", "digest"),
        ("task", "workloads"),
        ("task", "metrics", 0, "unit"),
        ("task", "options"),
        ("segments", 0, "first_seq"),
        ("segments", 0, "study"),
        ("segments", 0, "hyperparameters"),
        ("versions",),
        ("max_asks",),
    ],
    ids=str,
)
def test_forged_study_is_refused_in_one_line_wherever_it_is_read(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()
    data = json.loads((tmp_path / "s" / "study.json").read_text())
    del data["crc"]
    member = data
    for name in place[:-1]:
        member = member[name]
    if (
        isinstance(value, type(member[place[-1]]))
        and value in ({}, [])
        and place[-1] != "workloads"
    ):
        pytest.skip("an empty one of its kind is no forgery")
    if (place[-1], value) in (("max_asks", None), ("unit", "two\nlines")):
        pytest.skip("it may be so")
    member[place[-1]] = value
    data["crc"] = _checksum(data)
    (tmp_path / "s" / "study.json").write_text(json.dumps(data))

    for read in (
        lambda: read_study(tmp_path / "s"),
        lambda: build_dataset(tmp_path / "s", tmp_path / "out"),
        lambda: Study.open(tmp_path / "s", toy_task(), ToyAgent),
    ):
        with pytest.raises(FileFormatError) as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1
        assert "study.json" in str(caught.value)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a study's metadata and give them the right checksum."""
    data = json.loads((folder / "study.json").read_text())
    del data["crc"]
    change(data)
    data["crc"] = _checksum(data)
    (folder / "study.json").write_text(json.dumps(data))


def test_study_says_its_format(tmp_path: Path) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()

    assert json.loads((tmp_path / "s" / "study.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize("number", [None, 1, 2])
def test_study_of_archgym_0_is_refused_in_one_line(tmp_path: Path, number: int | None) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()
    rewritten(
        tmp_path / "s", lambda data: data.update(format=number) if number else data.pop("format")
    )

    with pytest.raises(FileFormatError, match=r"which ArchGym 0\.x wrote") as caught:
        read_study(tmp_path / "s")
    assert len(str(caught.value).splitlines()) == 1


def test_study_of_a_later_format_names_both_formats_and_the_way_out(tmp_path: Path) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()
    rewritten(tmp_path / "s", lambda data: data.update(format=4, news={}))

    with pytest.raises(
        FileFormatError,
        match=r"has format 4, which a newer version wrote; .* reads 3\. Open",
    ):
        read_study(tmp_path / "s")


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"start": [[0, 0]]}, "Index vectors"),
        ({"start": [[0, 0, 0, 0, 99]]}, "0 to 3|99"),
        ({"start": [[0, 0, 0, 0, 0], [1]]}, "start"),
        ({"start": "default"}, "start"),
        ({"stop_at": "speed <= 3"}, "speed"),
        ({"stop_at": "fast"}, "limit"),
        ({"patience": -1}, "patience"),
        ({"warm_start": [{"study": "x"}]}, "warm_start"),
    ],
)
def test_beginnings_and_ends_that_do_not_fit_are_refused(
    tmp_path: Path, members: dict[str, Any], problem: str
) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()
    rewritten(tmp_path / "s", lambda data: data.update(**members))

    with pytest.raises(FileFormatError, match=problem) as caught:
        read_study(tmp_path / "s")
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("number", ["1", 1.0, True, -1, None, 10**40])
def test_format_that_is_no_number_is_refused(tmp_path: Path, number: Any) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()
    rewritten(tmp_path / "s", lambda data: data.update(format=number))

    with pytest.raises(FileFormatError, match="`format` is not a number of one"):
        read_study(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data.pop("seed"), "the document: .*missing required field `seed`"),
        (lambda data: data.update({"mine\nown": 1}), r"unknown field `mine\?own`"),
        (
            lambda data: data["task"].update(version="1"),
            "`task.version` must be `int`; got `str`",
        ),
        (
            lambda data: data["task"]["metrics"][0].update(goal="up"),
            r"`task.metrics\[0\].goal`: .*'up'",
        ),
        (lambda data: data["task"].update(fidelity="a\nb"), "`task`: `fidelity` must be printable"),
        (lambda data: data.update(segments=[]), "`segments` must be `array` of length >= 1"),
        (lambda data: data.update(kind="other"), "`kind`: invalid enum value 'other'"),
    ],
)
def test_message_names_the_member(tmp_path: Path, change: Any, problem: str) -> None:
    Study.create(tmp_path / "s", toy_task(), ToyAgent, seed=1, budget=3).run()
    rewritten(tmp_path / "s", change)

    with pytest.raises(FileFormatError, match=problem):
        read_study(tmp_path / "s")
