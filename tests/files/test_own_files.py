"""Files written inside a folder of ours are plain files, never links to files elsewhere."""

import os
from pathlib import Path

import pytest

from archgym.errors import StorageError
from archgym.files.lease import LOCK_NAME, Lease
from archgym.files.storage import open_own
from archgym.studies.study import Study
from archgym.tables.build import build_table, partial_folder
from tests.toys import toy_task

SECRET = "precious\n"
NAMES = (
    "journal.jsonl",
    "journal.bad",
    "writer.lock",
    "timing.jsonl",
    "sessions.jsonl",
    "study.json",
    "state.json",
    "policy.npz",
)


def symbolic(path: Path, target: Path) -> None:
    path.symlink_to(target)


def hard(path: Path, target: Path) -> None:
    os.link(target, path)


@pytest.mark.parametrize("link", [symbolic, hard])
@pytest.mark.parametrize("name", NAMES)
def test_study_with_a_link_is_refused_and_its_target_stays(
    tmp_path: Path, name: str, link: "object"
) -> None:
    assert callable(link)
    folder, target = tmp_path / "study", tmp_path / "elsewhere"
    Study.create(folder, toy_task(), "random", budget=3).run()
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b"damaged\n")
    place = folder / name
    content = place.read_bytes() if place.exists() and name != LOCK_NAME else SECRET.encode()
    target.write_bytes(content)
    place.unlink(missing_ok=True)
    link(place, target)

    with pytest.raises(StorageError, match=f"{name} must be a plain file") as refusal:
        Study.open(folder, toy_task()).run(budget=6)

    assert "\n" not in str(refusal.value)
    assert target.read_bytes() == content


def test_dangling_link_creates_no_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "new")

    with pytest.raises(StorageError, match="it is a symbolic link"):
        Lease(tmp_path)

    assert not (tmp_path / "new").exists()


def test_named_pipe_is_refused_without_waiting_for_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StorageError, match="it is a named pipe"):
        open_own(tmp_path / "pipe", os.O_WRONLY)


def test_part_of_a_table_that_is_a_link_is_refused(tmp_path: Path) -> None:
    out, target = tmp_path / "toy.parquet", tmp_path / "elsewhere"
    target.write_text(SECRET)
    parts = partial_folder(out)
    parts.mkdir()
    (parts / "plan.json").symlink_to(target)

    with pytest.raises(StorageError, match="must be a plain file"):
        build_table(toy_task(), out)

    assert target.read_text() == SECRET
