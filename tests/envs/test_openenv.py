"""Tasks of the benchmark through OpenEnv's own client."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

openenv = pytest.importorskip("openenv.core", reason="openenv is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    import uvicorn

    from archgym.envs.openenv import make_app

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def connected(address: str) -> Any:
    return openenv.GenericEnvClient(base_url=address).sync()


def test_client_searches_a_task_within_its_budget(address: str) -> None:
    with connected(address) as client:
        first = client.reset(task="soc-small-edp", budget=3)
        sizes = first.observation["content"]["sizes"]
        steps = [
            client.step({"message": {"indices": [n % size for size in sizes]}}) for n in range(3)
        ]
        state = client.state()

    assert [step.done for step in steps] == [False, False, True]
    assert steps[-1].observation["content"]["left"] == 0
    assert sum(step.reward for step in steps) == pytest.approx(state["score"])
    assert (state["task"], state["budget"]) == ("soc-small-edp", 3)


def test_mistakes_are_answered_and_add_nothing(address: str) -> None:
    with connected(address) as client:
        client.reset(task="soc-small-edp", budget=2)
        found = client.step({"message": {"reward": 1e9}})

        assert "error" in found.observation["content"]
        assert found.reward == 0.0
        with pytest.raises(Exception, match=r"(?i)unknown|no-such-task"):
            client.reset(task="no-such-task")


def test_sessions_at_the_same_time_have_budgets_of_their_own(address: str) -> None:
    with connected(address) as one, connected(address) as two:
        first = one.reset(task="soc-small-edp", budget=2)
        two.reset(task="soc-small-edp", budget=5)
        default = first.observation["content"]["default"]

        left = [
            client.step({"message": {"indices": default}}).observation["content"]["left"]
            for client in (one, two)
        ]

    assert left == [1, 4]


def test_tasks_of_the_training_split_are_listed(address: str) -> None:
    from archgym.envs.openenv import ArchBenchEnvironment

    environment = ArchBenchEnvironment()

    assert environment.list_splits() == ["development", "verdict"]
    assert environment.num_tasks("development") == len(environment.list_tasks("development"))
    assert environment.get_task("development", 0)["id"]
