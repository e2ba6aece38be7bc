"""Verification accepts honest submissions and refuses forged ones."""

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from archgym.bench import bench_plan, bench_tasks, verify_bench
from archgym.errors import FileFormatError, StorageError
from archgym.studies.snapshot import read_study
from archgym.sweep.reading import record_plan
from tests.bench.submissions import BUDGET, FORGERIES, TASK, honest, study_of

SEEDS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest submission of random search."""
    folder = tmp_path_factory.mktemp("honest") / "bench"
    honest(folder, ["random"], SEEDS)
    return folder


def refused(folder: Path, name: str, seed: int, copy: Path) -> bool:
    """Forge a copy, and return True if it is refused for the right reason."""
    kind, forge = FORGERIES[name]
    shutil.copytree(folder, copy)
    forge(copy, seed)
    found = verify_bench(copy, replay=kind == "order").refusals
    assert all("\n" not in str(refusal) for refusal in found)
    return kind in {refusal.kind for refusal in found}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    assert refused(folder, name, 0, tmp_path / "forged")


@pytest.mark.nightly
def test_all_of_two_hundred_forgeries_are_refused(folder: Path, tmp_path: Path) -> None:
    cases = [(name, seed) for name in FORGERIES for seed in range(SEEDS)]
    missed = [
        (name, seed)
        for name, seed in cases
        if not refused(folder, name, seed, tmp_path / f"{name}-{seed}")
    ]

    assert len(cases) >= 200
    assert missed == []


def test_an_honest_submission_is_accepted(folder: Path) -> None:
    found = verify_bench(folder, replay=True)

    assert found.refusals == ()
    assert (found.runs, found.evaluations) == (SEEDS, SEEDS * BUDGET)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["genetic", "hill_climbing", "ant_colony", "bayesian"])
def test_twenty_honest_submissions_are_accepted(agent: str, tmp_path: Path) -> None:
    """Five numbers of seeds for each of four agents."""
    for n in range(1, 6):
        honest(tmp_path / str(n), [agent], n)

        found = verify_bench(tmp_path / str(n), replay=True)

        assert (found.runs, found.refusals) == (n, ())


def test_an_honest_claim_is_accepted(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    best = read_study(study_of(folder, 0)).best()
    assert best is not None
    claim = {"task": TASK, "design": dict(best.design), "reward": best.reward}
    (tmp_path / "copy" / "claims.jsonl").write_text(json.dumps(claim) + "\n")

    found = verify_bench(tmp_path / "copy")

    assert (found.claims, found.refusals) == (1, ())


def test_a_claim_that_is_no_json_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "claims.jsonl").write_bytes(b"no\n\xff\n")

    found = verify_bench(tmp_path / "copy")

    # Before: "Expecting value: line 1 column 1 (char 0)" alone.
    assert [str(each).split(": ")[1] for each in found.refusals] == ["a claim must be JSON"] * 2


def test_a_folder_without_a_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError):
        verify_bench(tmp_path)


@pytest.mark.parametrize(
    "content", ["\n" * 11, "x" * 5000 + "\n"], ids=["too many lines", "a long line"]
)
def test_claims_beyond_the_limits_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "claims.jsonl").write_text(content + "{}\n")
    monkeypatch.setattr("archgym.bench.verification._MAX_CLAIMS", 10)
    monkeypatch.setattr("archgym.bench.verification._MAX_LINE", 4096)

    found = verify_bench(tmp_path / "copy")

    (refusal,) = found.refusals
    assert "at most 10 lines, each below 4,096 bytes" in str(refusal)


def test_budget_that_no_search_ends_is_refused_in_a_moment(folder: Path, tmp_path: Path) -> None:
    study = shutil.copytree(study_of(folder, 0), tmp_path / "study")
    header = read_study(study).header
    msgspec.structs.replace(header, budget=10**9).write(study)

    found = verify_bench(study, replay=True)

    assert [refusal.kind for refusal in found.refusals].count("order") == 1


def test_study_without_a_budget_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    study = shutil.copytree(study_of(folder, 0), tmp_path / "study")
    msgspec.structs.replace(read_study(study).header, budget=None).write(study)

    found = verify_bench(study, replay=True)

    assert [refusal.kind for refusal in found.refusals] == ["budget", "order"]


def test_one_study_with_a_chosen_seed_is_refused(folder: Path, tmp_path: Path) -> None:
    study = shutil.copytree(study_of(folder, 0), tmp_path / "study")
    msgspec.structs.replace(read_study(study).header, seed=203).write(study)

    found = verify_bench(study)

    assert "the seed of one run must be 0; got 203." in [r.problem for r in found.refusals]


def test_plan_of_each_task_reads_back_as_the_benchmarks_own(tmp_path: Path) -> None:
    tasks = [task for task in bench_tasks() if task.plan.simulator in ("accelerator", "soc")]
    record_plan(tmp_path, bench_plan(["random"], tasks, 1, 1).decided())

    found = verify_bench(tmp_path)

    assert len(tasks) > 5
    assert {refusal.kind for refusal in found.refusals} == {"missing"}


def test_claims_in_a_pipe_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    os.mkfifo(tmp_path / "copy" / "claims.jsonl")

    with pytest.raises(StorageError, match=r"claims\.jsonl cannot be read: it is a named pipe"):
        verify_bench(tmp_path / "copy")


def test_claims_in_a_file_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "secret.jsonl").write_text("{}\n")
    (tmp_path / "copy" / "claims.jsonl").symlink_to(tmp_path / "secret.jsonl")

    with pytest.raises(StorageError, match="link"):
        verify_bench(tmp_path / "copy")


def test_submission_at_a_url_is_accepted_as_its_local_copy(folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(folder), "/archgym-bench/bb", recursive=True)
    try:
        found = verify_bench("memory://archgym-bench/bb")
    finally:
        store.rm("/archgym-bench", recursive=True)

    assert found.refusals == ()
    assert found.runs == SEEDS
