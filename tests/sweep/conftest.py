"""A plan on a simulator and an agent of another package, which worker processes find too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archgym import discovery
from archgym.study import Study
from archgym.sweep.plan import SweepPlan, read_plan, write_recorded_plan
from tests.cli.conftest import write_plugin

PLAN = """\
budget: 30
seeds: [0, 1]
tasks:
  light:
    simulator: plugin
    workload: light
    objective: low-latency
agents:
  random:
  small:
    agent: genetic
    hyperparameters: {population: 6, crossover: 1}
"""
AGENTS = "[archgym.agents]\ntroubled = tests.sweep.plugin:TroubledAgent\n"

WritePlan = Callable[..., Path]


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers simulator and agent, and runs in an empty folder."""
    site = write_plugin(tmp_path / "site")
    points = site / "archgym_plugin-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + AGENTS)
    monkeypatch.syspath_prepend(site)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    discovery._found.cache_clear()
    yield
    discovery._found.cache_clear()


@pytest.fixture
def write_plan() -> WritePlan:
    """Writes the plan with texts replaced: `write_plan(("budget: 30", "budget: 40"))`."""

    def write(*changes: tuple[str, str], name: str = "plan.yaml") -> Path:
        text = PLAN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = Path(name)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def plan(write_plan: WritePlan) -> SweepPlan:
    """The plan, read."""
    return read_plan(write_plan())


@pytest.fixture
def swept(plan: SweepPlan) -> Path:
    """A folder as a finished sweep leaves it, without the processes that take time to start."""
    folder = Path("swept")
    folder.mkdir()
    write_recorded_plan(folder, plan)
    for run in plan.runs():
        with Study.create(
            folder / run.id,
            run.task.make(),
            run.agent,
            seed=run.seed,
            budget=run.budget,
            hyperparameters=run.hyperparameters,
        ) as study:
            study.run()
    return folder
