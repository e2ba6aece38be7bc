"""Readers of a folder that may be somebody else's follow no link that leads out of it."""

import shutil
from pathlib import Path

import pytest

from archgym.errors import StorageError
from archgym.rules.log import RuleLog
from archgym.studies.journal import JournalTail
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.sweep.reading import read_plan, read_recorded_plan, write_recorded_plan
from archgym.sweep.study_run import require_same_study
from tests.toys import toy_task

WORDS = "it is a link that leads out of its folder"


def moved(path: Path, to: Path) -> None:
    """Move a file or folder and leave a link to it in its place."""
    path.rename(to)
    path.symlink_to(to)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    Study.create(tmp_path / "study", toy_task(), "random", budget=3).run()
    return tmp_path / "study"


@pytest.mark.parametrize("name", ["study.json", "journal.jsonl"])
def test_study_with_a_link_that_leads_out_is_not_read(study: Path, name: str) -> None:
    moved(study / name, study.parent / "elsewhere")

    with pytest.raises(
        StorageError, match=f"{name} must be a plain file or folder; {WORDS}"
    ) as refusal:
        read_study(study)

    assert "\n" not in str(refusal.value)


def test_state_and_times_behind_links_are_not_read(study: Path) -> None:
    assert read_study(study).state is not None
    for name in ("state.json", "timing.jsonl"):
        moved(study / name, study.parent / f"elsewhere-{name}")

    assert read_study(study).state is None


def test_watched_journal_behind_a_link_is_not_read(study: Path) -> None:
    header = read_study(study).header
    moved(study / "journal.jsonl", study.parent / "elsewhere")

    with pytest.raises(StorageError, match=WORDS):
        JournalTail(study / "journal.jsonl", header.shape(header.space())).poll()


def test_link_to_a_file_in_the_folder_is_read(study: Path) -> None:
    moved(study / "study.json", study / "original.json")

    assert read_study(study).evaluations == 3


@pytest.mark.parametrize("name", ["policies.json", "policies.jsonl"])
def test_log_of_rules_with_a_link_that_leads_out_is_not_read(tmp_path: Path, name: str) -> None:
    recorded = Path(__file__).parents[1] / "fixtures" / "rule-log"
    folder = shutil.copytree(recorded, tmp_path / "log")
    moved(folder / name, tmp_path / "elsewhere")

    with pytest.raises(StorageError, match=WORDS):
        RuleLog.open(folder)


def test_sweep_with_links_that_lead_out_is_not_read(tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.yaml"
    plan_file.write_text(
        "tasks: {a: {simulator: dram, workload: cloud-1}}\n"
        "agents: {random: {}}\nseeds: 1\nbudget: 3\n"
    )
    plan = read_plan(plan_file)
    folder = tmp_path / "sweep"
    folder.mkdir()
    write_recorded_plan(folder, plan)
    run = next(iter(plan.runs()))
    Study.create(tmp_path / "other", toy_task(), "random", budget=3).run()
    (folder / run.id).parent.mkdir(parents=True, exist_ok=True)
    (folder / run.id).symlink_to(tmp_path / "other")

    with pytest.raises(StorageError, match=WORDS):
        require_same_study(run, folder / run.id)
    # A folder above it is no way out either.
    (folder / run.id).unlink()
    moved((folder / run.id).parent, tmp_path / "agent")
    (tmp_path / "other").rename(tmp_path / "agent" / "seed-0")
    with pytest.raises(StorageError, match=WORDS):
        require_same_study(run, folder / run.id)
    moved(next(folder.glob("*.json")), tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=WORDS):
        read_recorded_plan(folder)
