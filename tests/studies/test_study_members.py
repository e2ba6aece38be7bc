import json
from pathlib import Path
from typing import Any

import pytest

from archgym.datasets import build_dataset
from archgym.errors import FileFormatError
from archgym.studies.metadata import _checksum
from archgym.studies.study import Study, read_study
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
