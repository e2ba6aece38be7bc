"""Sweeps on a Ray cluster of two nodes, both on this machine, that loses parts of itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from archgym.errors import ArchGymError, StorageError
from archgym.sweep.crews import RayCrew
from archgym.sweep.driver import SweepState, run_sweep
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_plan, write_recorded_plan
from archgym.sweep.status import read_status
from archgym.tasks.ray_pool import Origin
from tests.cli.conftest import write_plugin
from tests.sweep.conftest import AGENTS, SmallDisk, WritePlan, journals, run_here

# One cluster at a time, whatever processes share the tests out.
pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("ray")]

ROOT = Path(__file__).resolve().parents[2]
NODE: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
# Ray's daemons give up on a machine that is busy with other things.
STARTS = 3


def started() -> Any:
    """A cluster of two nodes with a processor each."""
    from ray.cluster_utils import Cluster

    for start in range(STARTS):
        cluster: Any = Cluster()
        try:
            cluster.add_node(num_cpus=1, **NODE)
            cluster.add_node(num_cpus=1, **NODE)
            cluster.wait_for_nodes()
        except Exception:
            cluster.shutdown()
            if start == STARTS - 1:
                raise
        else:
            break
    return cluster


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lets nodes know the plugin."""
    site = write_plugin(tmp_path_factory.mktemp("cluster") / "site")
    points = site / "archgym_plugin-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + AGENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{site}:{ROOT}")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


@pytest.fixture(scope="module")
def cluster(environment: None) -> Iterator[Any]:
    """A cluster of two nodes, which know the plugin."""
    cluster = started()
    yield cluster
    cluster.shutdown()


@pytest.fixture
def paced(write_plan: WritePlan) -> SweepPlan:
    """A plan of six runs, four of which take two seconds or so."""
    troubled = "troubled:\n    hyperparameters: {trouble: none, pace_s: 0.1}"
    return read_plan(write_plan(("  random:", f"  {troubled}"), ("[0, 1]", "[0, 1, 2]")))


def test_a_node_is_killed_and_the_results_are_those_without(cluster: Any, paced: SweepPlan) -> None:
    (second,) = cluster.worker_nodes
    killed: list[int] = []

    def kill(state: SweepState) -> None:
        if state.evaluations > 5 and not killed:
            killed.append(state.evaluations)
            cluster.remove_node(second, allow_graceful=False)

    outcome = run_sweep(paced, "sweep", address=cluster.address, progress=kill)

    cluster.add_node(num_cpus=1, **NODE)
    assert killed
    assert killed[0] < 6 * 30
    assert (outcome.runs, outcome.failures) == (6, {})
    assert journals(Path("sweep")) == journals(run_here(paced, Path("here")))


def test_the_driver_is_killed_and_the_sweep_goes_on(cluster: Any, paced: SweepPlan) -> None:
    words = ["sweep", "run", "plan.yaml", "--out", "sweep", "--address", cluster.address]
    driver = subprocess.Popen(
        [sys.executable, "-m", "archgym", *words],
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        kept = journals(Path("sweep")) if Path("sweep").is_dir() else {}
        if sum(len(content.splitlines()) for content in kept.values()) > 30:
            break
        time.sleep(0.05)
    read = read_status("sweep")
    driver.send_signal(signal.SIGKILL)
    driver.wait()

    assert read.driver is not None
    assert read.counts()["running"] > 0
    kept = journals(Path("sweep"))
    finished = [run.run.id for run in read.runs if run.status == "finished"]
    outcome = run_sweep(paced, "sweep", address=cluster.address)
    assert (outcome.runs, outcome.failures) == (6, {})
    assert len(finished) <= outcome.repeated < 6
    written = journals(Path("sweep"))
    for name, content in kept.items():
        assert written[name].startswith(content[: content.rfind(b"\n") + 1])
    assert written == journals(run_here(paced, Path("here")))


def test_the_head_is_killed_and_the_sweep_goes_on_with_another(
    environment: None, paced: SweepPlan
) -> None:
    first = started()
    address = str(first.address)
    words = ["sweep", "run", "plan.yaml", "--out", "sweep", "--address", address]
    driver = subprocess.Popen(
        [sys.executable, "-m", "archgym", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and driver.poll() is None:
            kept = journals(Path("sweep")) if Path("sweep").is_dir() else {}
            if sum(len(content.splitlines()) for content in kept.values()) > 30:
                break
            time.sleep(0.05)
        first.remove_node(first.head_node, allow_graceful=False)
        _, told = driver.communicate(timeout=90)
    finally:
        driver.kill()
        first.shutdown()

    assert driver.returncode == 1
    assert f"The head of the Ray cluster at {address} is lost. What is done is saved" in told
    kept = journals(Path("sweep"))
    assert 30 < sum(len(content.splitlines()) for content in kept.values()) < 6 * 30
    second = started()
    try:
        outcome = run_sweep(paced, "sweep", address=second.address)
    finally:
        second.shutdown()
    assert (outcome.runs, outcome.failures) == (6, {})
    written = journals(Path("sweep"))
    for name, content in kept.items():
        assert written[name].startswith(content[: content.rfind(b"\n") + 1])
    assert written == journals(run_here(paced, Path("here")))


def test_a_full_disk_stops_the_sweep_and_it_goes_on(
    cluster: Any, write_plan: WritePlan, small_disk: SmallDisk
) -> None:
    plan = read_plan(write_plan(("budget: 30", "budget: 400")))
    folder = small_disk.folder / "sweep"

    with pytest.raises(StorageError, match=r"Sweep stopped: .* the disk is full.* sweep resume /"):
        run_sweep(plan, folder, address=cluster.address)

    kept = journals(folder)
    assert 0 < sum(len(content.splitlines()) for content in kept.values()) < 4 * 400
    small_disk.grow()
    outcome = run_sweep(plan, folder, address=cluster.address)
    assert (outcome.runs, outcome.failures) == (4, {})
    for name, content in kept.items():
        assert journals(folder)[name].startswith(content)
    assert journals(folder) == journals(run_here(plan, Path("here")))


def test_a_node_that_does_not_fit_stops_the_sweep(
    cluster: Any, plan: SweepPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = Origin.of
    monkeypatch.setattr(Origin, "of", lambda *place: replace(origin(*place), version="0.0.1"))

    with pytest.raises(ArchGymError, match=r"ArchGym must be 0\.0\.1 on every node"):
        run_sweep(plan, "sweep", address=cluster.address, only=["small"], seeds=[0])


def test_an_address_without_a_cluster_is_refused(plan: SweepPlan, tmp_path: Path) -> None:
    write_recorded_plan(tmp_path, plan)

    with pytest.raises(ArchGymError, match=r"must answer at '127\.0\.0\.1:1'; .*ray start"):
        RayCrew(tmp_path, "127.0.0.1:1", None)
