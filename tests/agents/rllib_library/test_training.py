"""Training with env runners on clusters that are simulated on this machine."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("pettingzoo")

from archgym.agents.multi_agent_ppo import MultiAgentPpoAgent
from archgym.envs import evaluator
from archgym.errors import ArchGymError
from archgym.evaluation.task import Task
from archgym.evaluation.trials import Trials
from archgym.studies.journal import load_journal
from archgym.studies.study import Study

# One cluster at a time, whatever processes share the tests out.
pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("ray")]

ROOT = Path(__file__).resolve().parents[3]
NODE: dict[str, Any] = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
# Ray's daemons give up on a machine that is busy with other things.
STARTS = 3


def started_cluster(head_cpus: int) -> tuple[Any, Any]:
    """A cluster and its second node, which has one processor."""
    from ray.cluster_utils import Cluster

    for start in range(STARTS):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=head_cpus, **NODE)
            second = cluster.add_node(num_cpus=1, **NODE)
            cluster.wait_for_nodes()
        except Exception:
            cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray's
            if start == STARTS - 1:
                raise
        else:
            return cluster, second
    raise AssertionError


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster, second = started_cluster(request.param)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster, second
    cluster.shutdown()


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_study_on_two_nodes_reaches_its_budget_though_one_is_killed(
    cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    both, second = cluster
    folder = tmp_path / "study"
    task = Task.make("dram")
    study = Study.create(
        folder,
        task,
        MultiAgentPpoAgent,
        seed=1,
        budget=400,
        hyperparameters={"env_runners": 2, "epochs": 2},
    )
    in_journal_when_killed: list[bytes] = []
    at_home = Path.home() / "ray_results"
    before = set(at_home.glob("*"))
    capfd.readouterr()

    def kill_in_the_middle(evaluations: int, budget: int, best: float | None) -> None:
        if evaluations >= 130 and not in_journal_when_killed:
            both.remove_node(second, allow_graceful=False)
            in_journal_when_killed.append((folder / "journal.jsonl").read_bytes())

    result = study.run(progress=kill_in_the_middle)

    printed = capfd.readouterr()
    journal = load_journal(folder / "journal.jsonl", result.log.header.shape(task.space))
    assert result.ended == "budget"
    assert result.log.evaluations == 400
    assert journal.is_tidy
    assert journal.records.seq.tolist() == list(range(result.asks))
    assert (folder / "journal.jsonl").read_bytes().startswith(in_journal_when_killed[0])
    assert (folder / "policy.npz").exists()
    assert set(at_home.glob("*")) == before
    assert printed.out + printed.err == ""

    # Once Ray knows of it, one processor is left; with another the study goes on in a new segment.
    both.wait_for_nodes()
    with pytest.raises(ArchGymError, match="a processor for each of 2 environment runners"):
        Study.open(folder).run(budget=500)
    both.add_node(num_cpus=1, **NODE)
    both.wait_for_nodes()
    resumed = Study.open(folder).run(budget=500)
    assert resumed.log.evaluations == 500
    assert len(resumed.log.header.segments) == 2


@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_runners_that_are_all_dead_end_the_search_with_an_error(cluster: Any) -> None:
    from archgym.agents._random_state import RandomState
    from archgym.agents._rllib.runners import train_with_runners
    from archgym.agents._rllib.team import Team

    both, second = cluster
    task = Task.make("dram")
    evaluate = evaluator(task)
    asked: list[int] = []

    def kill_after_the_first(designs: np.ndarray) -> Trials:
        if not asked:
            both.remove_node(second, allow_graceful=False)
        asked.append(len(designs))
        return evaluate(designs)

    agent = MultiAgentPpoAgent(task.space, seed=0, env_runners=1, rollout=16)
    team = Team.make(task, groups="parameter", observes="all", is_central=False)
    with RandomState(0), pytest.raises(ArchGymError, match="An environment runner must live"):
        train_with_runners(
            team,
            task,
            agent._values,
            0,
            kill_after_the_first,
            lambda weights, n_updates: None,
            patience_s=8,
        )

    assert asked == [16]
    for thread in threading.enumerate():
        if thread.name == "archgym-rllib-end":
            thread.join(90)
    assert not any(thread.name == "archgym-rllib" for thread in threading.enumerate())


def is_running(pid: int) -> bool:
    try:
        # What has ended and was not waited for has no command.
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_instance_of_ones_own_is_shut_down_and_errors_pass_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    from archgym.runtime.ray_session import children

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    task = Task.make("dram")
    here = threading.current_thread()
    before = children(os.getpid())
    processes: list[int] = []

    def fail(designs: np.ndarray) -> Trials:
        assert threading.current_thread() is here
        own = [pid for pid in children(os.getpid()) if pid not in before]
        processes.extend([*own, *(child for pid in own for child in children(pid))])
        assert len(designs) == 16
        raise ZeroDivisionError("as evaluate has it")

    agent = MultiAgentPpoAgent(task.space, seed=0, env_runners=1, rollout=16)
    with pytest.raises(ZeroDivisionError, match="as evaluate has it"):
        agent.search(fail, task)

    for thread in threading.enumerate():
        if thread.name == "archgym-rllib-end":
            thread.join(90)
    assert not ray.is_initialized()
    # A runner and the broker among them; nothing that Ray has started outlives it.
    assert len(processes) >= 4 or not Path("/proc/self/task").exists()
    end = time.monotonic() + 5.0
    while any(map(is_running, processes)) and time.monotonic() < end:
        time.sleep(0.05)  # The system takes its time to bury what was killed.
    assert not [pid for pid in processes if is_running(pid)]
    assert "RAY_BACKEND_LOG_LEVEL" not in os.environ


def test_example_of_two_nodes_runs(tmp_path: Path) -> None:
    if shutil.which("pgrep") is None:
        pytest.skip("pgrep is absent")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    archgym = Path(sys.executable).with_name("archgym")

    ran = subprocess.run(
        ["sh", ROOT / "examples/train_multi_agent.sh", archgym],
        cwd=tmp_path,
        env={**os.environ, "PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "The second node was killed after" in ran.stdout
    assert "1000 of 1000 evaluations" in ran.stdout
