"""Tables that a Ray cluster of two nodes builds, which loses parts of itself."""

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

from archgym.errors import ArchGymError, FileFormatError, SimulatorError
from archgym.tables import TableSimulator, build_table, partial_folder
from archgym.tables import cluster as tables_cluster
from archgym.tasks.ray_pool import Loss, Origin
from archgym.tasks.task import Task
from tests.toys import toy_task

ROOT = Path(__file__).resolve().parents[2]
NODE: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
STARTS = 3
# 3.5 million mappings, of which four of five do not fit.
LAYER: dict[str, Any] = {"layer": "resnet-18/fc", "architecture": "ws-systolic-16"}


class HerePool:
    """A pool whose calls run in this process, when their result is taken."""

    losses = 0
    """Calls that are lost after half of their parts."""

    def __init__(self, function: Any, address: str, workers: int | None) -> None:
        self._function, self.size = function, workers or 2
        self._calls: list[tuple[Any, tuple[Any, ...]]] = []
        self.stopped = False

    @property
    def keys(self) -> list[Any]:
        return [key for key, _ in self._calls]

    def shared(self, argument: Any) -> Any:
        return argument

    def send(self, key: Any, *arguments: Any) -> None:
        self._calls.append((key, arguments))

    def take(self, patience_s: float) -> list[tuple[Any, Any]]:
        key, (build, parts, origin) = self._calls.pop(0)
        if HerePool.losses:
            HerePool.losses -= 1
            self._function(build, parts[: len(parts) // 2], origin)
            return [(key, Loss("Its process was lost: the node is gone", "lost"))]
        return [(key, self._function(build, parts, origin))]

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts the toy's space into 42 parts, which this process simulates."""
    monkeypatch.setattr("archgym.tables.build.PART_SIZE", 128)
    monkeypatch.setattr(tables_cluster, "RayPool", HerePool)
    monkeypatch.setattr(tables_cluster, "_POLL_S", 0.0)
    monkeypatch.setattr(HerePool, "losses", 0)


@pytest.fixture
def alone(tmp_path: Path, here: None) -> bytes:
    return build_table(toy_task(), tmp_path / "alone.parquet", 1).read_bytes()


def test_calls_that_are_lost_are_made_again(tmp_path: Path, alone: bytes) -> None:
    HerePool.losses = 7
    out = tmp_path / "ray.parquet"
    counts: list[int] = []

    build_table(toy_task(), out, 2, lambda done, *_: counts.append(done), ray="auto")

    assert out.read_bytes() == alone
    assert counts[-1] == 2376
    assert not partial_folder(out).exists()


def test_build_ends_when_every_call_is_lost(tmp_path: Path, here: None) -> None:
    HerePool.losses = 1000

    with pytest.raises(ArchGymError, match=r"what is done lies in .* was lost: the node is gone"):
        build_table(toy_task(), tmp_path / "ray.parquet", 2, ray="auto")


def test_interrupted_build_on_a_cluster_is_continued_without_one(
    tmp_path: Path, alone: bytes
) -> None:
    out = tmp_path / "ray.parquet"

    def stop(done: int, total: int, known: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_table(toy_task(), out, 2, stop, ray="auto")
    kept = len(list(partial_folder(out).glob("part-?????")))
    known: list[int] = []
    build_table(toy_task(), out, 1, lambda done, _, before: known.append(before))

    assert 15 < kept < 42
    assert known[0] > 1000
    assert out.read_bytes() == alone


def test_first_design_that_breaks_is_named(tmp_path: Path, here: None) -> None:
    with pytest.raises(SimulatorError) as local:
        build_table(toy_task(trouble="raise"), tmp_path / "local.parquet", 1)
    with pytest.raises(SimulatorError) as on_ray:
        build_table(toy_task(trouble="raise"), tmp_path / "ray.parquet", 2, ray="auto")

    assert str(on_ray.value) == str(local.value).replace("local.parquet", "ray.parquet")


def test_node_that_does_not_see_the_folder_ends_the_build(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.tasks.ray_pool._APPEARS_S", 0.0)
    origin = Origin.of
    monkeypatch.setattr(
        Origin, "of", lambda *place: replace(origin(*place), folder=Path("/nowhere"))
    )

    with pytest.raises(ArchGymError, match=r"A table's folder must lie on storage that all nodes"):
        build_table(toy_task(), tmp_path / "ray.parquet", 2, ray="auto")


def test_table_beyond_memory_shows_its_optima_and_refuses_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archgym.tables.simulator import summarise_table

    made = build_table(toy_task(["light", "heavy"]), tmp_path / "t.parquet", 1)
    usual = summarise_table(made).to_json()
    monkeypatch.setattr("archgym.tables.file._MAX_NUMBERS", 1000)
    monkeypatch.setattr("archgym.tables.simulator._MAX_LOADED", 1000)

    assert summarise_table(made).to_json() == usual
    with pytest.raises(FileFormatError, match=r"at most 1,000 metrics of a workload"):
        TableSimulator(made).results("light")


# ---- a real cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes with a processor each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for start in range(STARTS):
            made: Any = Cluster()
            try:
                made.add_node(num_cpus=1, **NODE)
                made.add_node(num_cpus=1, **NODE)
                made.wait_for_nodes()
            except Exception:
                made.shutdown()
                if start == STARTS - 1:
                    raise
            else:
                break
        yield made
        made.shutdown()


@pytest.mark.nightly
@pytest.mark.xdist_group("ray")
def test_driver_and_node_are_killed_and_the_bytes_are_the_same(
    cluster: Any, tmp_path: Path
) -> None:
    task = Task.make("accelerator", space="mapping", **LAYER)
    local = build_table(task, tmp_path / "local.parquet", 1)
    out = tmp_path / "ray.parquet"
    words = ["table", "build", "accelerator", "--space", "mapping", "--out", str(out)]
    words += [f"--option={name}={value}" for name, value in LAYER.items()]
    words += ["--ray", cluster.address]
    driver = subprocess.Popen([sys.executable, "-m", "archgym", *words], env=dict(os.environ))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        if len(list(partial_folder(out).glob("part-?????"))) > 5:
            break
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    kept = len(list(partial_folder(out).glob("part-?????")))
    assert kept > 5
    (second,) = cluster.worker_nodes
    killed: list[int] = []

    def kill(done: int, total: int, known: int) -> None:
        if done > known and not killed:
            killed.append(done)
            cluster.remove_node(second, allow_graceful=False)

    build_table(task, out, progress=kill, ray=cluster.address)

    assert killed
    assert TableSimulator(out).digest == TableSimulator(local).digest
    assert out.read_bytes() == local.read_bytes()
