"""Tests of the frozen release of the benchmark."""

import dataclasses
import json
from pathlib import Path

import pytest

from archgym.bench import bench_task, bench_tasks, read_release, verification
from archgym.bench.verification import Erratum, verify_bench
from archgym.studies.study import Study

# One task of each simulator that is made in little time.
QUICK = ("soc-small-edp", "accelerator-mapping-table", "dram-burst-power")


def test_release_holds_every_task_of_the_benchmark() -> None:
    assert set(read_release().tasks) == {task.label for task in bench_tasks()}
    assert len(read_release().digest) == 64


@pytest.mark.parametrize("label", QUICK)
def test_task_is_that_of_the_release_or_has_an_erratum(label: str) -> None:
    withdrawn = {erratum.task for erratum in read_release().errata}
    task = bench_task(label).plan.make()

    assert label in withdrawn or read_release().tasks[label].digest == task.digest
    assert read_release().tasks[label].version == task.simulator.version


def test_other_tasks_are_refused() -> None:
    own = read_release()
    label = QUICK[0]
    digest = own.tasks[label].digest
    fault = Erratum(label, "2026-12-24", "Its limit cannot be met.")

    assert own.problem(label, digest) is None
    assert "not of archbench-2026.2" in str(own.problem("no-such-task", digest))
    assert "not that of archbench-2026.2" in str(own.problem(label, "0" * 64))
    withdrawn = dataclasses.replace(own, errata=(fault,))
    assert "withdrawn from archbench-2026.2: Its limit" in str(withdrawn.problem(label, digest))


def test_verification_refuses_a_task_that_changed_since_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = QUICK[0]
    task = bench_task(label).plan.make()
    Study.create(tmp_path / "study", task, "random", budget=5).run()
    assert verify_bench(tmp_path / "study").refusals == ()

    frozen = dict(read_release().tasks)
    frozen[label] = dataclasses.replace(frozen[label], digest="0" * 64)
    changed = dataclasses.replace(read_release(), tasks=frozen)
    monkeypatch.setattr(verification, "read_release", lambda: changed)

    found = verify_bench(tmp_path / "study")
    assert [refusal.kind for refusal in found.refusals] == ["plan"]
    assert json.loads(json.dumps(found.to_json()))["release"] == "archbench-2026.2"
