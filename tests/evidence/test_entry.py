"""Rule of entry: what counts as evidence runs through `Task` and `Simulator.evaluate_batch`."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.tasks.task import Evaluation, Task
from evidence.validation import Group

ROOT = Path(__file__).resolve().parents[2]
SIMULATORS = sorted(path.parent.name for path in (ROOT / "evidence").glob("*/__init__.py"))
# Files of recorded results that are a sample of a group whose rows do not ship, and how many rows.
SAMPLES = {
    ("accelerator", "scale-sim"): {"scalesim_runs.jsonl": 10},
    ("accelerator", "closed-form"): {
        "scalesim_closed_form.csv": 20, "timeloop_mappings_meta.json": 0,
    },
    ("accelerator", "timeloop"): {
        "timeloop_link_cases.jsonl": 0, "timeloop_link_cases_meta.json": 0,
    },
    ("cpu", "designs"): {"results/default.csv": 2, "traces/sort.champsimtrace.xz": 0},
    ("kv", "optima"): {"results/optimum_small.jsonl": 4},
    ("cpu", "mcpat"): {"mcpat/rows.jsonl.gz": 0},
    ("soc", "table"): {"results/cava_table.json": 0},
}  # fmt: skip


def groups_of(simulator: str) -> tuple[Group, ...]:
    found: tuple[Group, ...] = import_module(f"evidence.{simulator}").GROUPS
    return found


# Groups whose rows take half a minute here.
LONG = {("noc", "booksim")}
SEARCHED = [
    pytest.param(name, group.name, marks=[pytest.mark.nightly] * ((name, group.name) in LONG))
    for name in SIMULATORS
    for group in groups_of(name)
    if group.is_searched
]


def sample(simulator: str, files: dict[str, int], folder: Path) -> Path:
    """Return a folder with the first rows of some recorded results, 0 for whole files."""
    reference = os.environ.get("ARCHGYM_REFERENCE")
    if not reference:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    for name, n_rows in files.items():
        source, target = Path(reference) / simulator / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if n_rows:
            lines = source.read_text().splitlines(keepends=True)
            target.write_text("".join(lines[: n_rows + 1]))
        else:
            shutil.copy(source, target)
    return folder


def test_names_of_groups_are_distinct() -> None:
    for simulator in SIMULATORS:
        names = [group.name for group in groups_of(simulator)]
        assert names
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(("simulator", "group"), SEARCHED)
def test_evidence_runs_through_tasks(
    simulator: str, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count designs of tasks, and tamper with what simulators return: every result must change."""
    honest_batch: Callable[..., BatchResult] = Simulator.evaluate_batch
    honest_task: Callable[..., Evaluation] = Task.evaluate
    inside: list[Task] = []
    counted = 0

    def evaluate(task: Task, indices: np.ndarray) -> Evaluation:
        inside.append(task)
        found = honest_task(task, indices)
        inside.pop()
        return found

    def evaluate_batch(self: Simulator, indices: np.ndarray, workload: Workload) -> BatchResult:
        nonlocal counted
        assert self.space.name in self.spec.space_names
        assert self.fidelity in self.spec.fidelity_names
        found = honest_batch(self, indices, workload)
        if not inside:
            return found
        counted += len(indices)
        return replace(found, values=1.01 * found.values)

    monkeypatch.setattr(Simulator, "evaluate_batch", evaluate_batch)
    monkeypatch.setattr(Task, "evaluate", evaluate)
    reference = None
    if (simulator, group) in SAMPLES:
        reference = sample(simulator, SAMPLES[simulator, group], tmp_path)
    validate: Any = import_module(f"evidence.{simulator}").validate

    found = validate(reference, group=group)

    assert found.lines
    assert {line.group for line in found.lines} == {group}
    assert counted >= max(getattr(line, "n_rows", 1) for line in found.lines)
    assert found.problems
    for name in {line.results for line in found.lines if hasattr(line, "results")}:
        assert any(name in problem for problem in found.problems), name


def test_reasons_of_component_checks_are_stated() -> None:
    for simulator in SIMULATORS:
        for group in groups_of(simulator):
            assert group.is_searched or len(group.component.split()) > 3


def test_readme_quotes_evidence_as_evidence() -> None:
    section = (ROOT / "README.md").read_text().split("## How exact it is")[1].split("\n## ")[0]
    evidence, components = section.split("Component checks")
    pattern = re.compile(r"archgym validate (\w+)[^`]* --group ([\w-]+)")

    quoted = pattern.findall(evidence)

    assert len(quoted) >= 5
    for text, is_evidence in ((evidence, True), (components, False)):
        for simulator, name in pattern.findall(text):
            group = next(group for group in groups_of(simulator) if group.name == name)
            assert group.is_searched == is_evidence, (simulator, name)
