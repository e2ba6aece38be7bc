"""A plan on a simulator and an agent of another package, which worker processes find too."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archgym.runtime import plugins
from archgym.studies.study import Study
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_plan, write_recorded_plan
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
    plugins.registered.cache_clear()
    yield
    plugins.registered.cache_clear()


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
    return run_here(plan, Path("swept"))


class SmallDisk:
    """A file system in memory that is full soon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"A small disk cannot be mounted: {made.stderr.strip()}")

    def grow(self) -> None:
        """Makes room."""
        subprocess.run(["mount", "-o", "remount,size=8m", str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 128 kB, which only root can mount."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("A small disk is mounted by root, with `mount`.")
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk.folder)], check=True)


def journals(folder: Path) -> dict[str, bytes]:
    """Bytes of every journal by its run."""
    return {
        str(path.parent.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("journal.jsonl"))
    }


def run_here(plan: SweepPlan, folder: Path) -> Path:
    """Runs a plan's studies in this process, one after the other, with no driver."""
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
