"""The server of the page: who may open it, and what goes over a real websocket."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import StorageError
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import ToyAgent, toy_task

pytest.importorskip("panel", reason="needs the extra explore")
from archgym.explorer.page import Explorer, ExploreServer

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(task: Task, folder: Path | None = None) -> Iterator[ExploreServer]:
    """A server in a thread of its own."""
    made: list[ExploreServer] = []
    is_up = threading.Event()

    def serve() -> None:
        with ExploreServer(task, folder) as server:
            made.append(server)
            server._server.io_loop.add_callback(is_up.set)
            server.serve()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert is_up.wait(30)
    try:
        yield made[0]
    finally:
        made[0].stop()
        thread.join(20)


def ask(server: ExploreServer, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path, headers={"Host": f"127.0.0.1:{server.port}", **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def path_of(server: ExploreServer) -> str:
    return server.url.partition(str(server.port))[2]


def test_only_the_token_and_this_host_open_the_page() -> None:
    with serving(toy_task()) as server:
        path = path_of(server)

        assert len(path) > 30
        assert server.url.startswith("http://127.0.0.1:")
        assert ask(server, path)[0] == 200
        assert ask(server, path, Host=f"localhost:{server.port}")[0] == 200
        assert ask(server, path, Host="evil.example")[0] == 403
        assert ask(server, "/" + "x" * 32)[0] == 404
        root = ask(server, "/")
        assert root[0] == 404
        assert path not in root[1]


def handshake(server: ExploreServer, origin: str, host: str) -> int:
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin, "Host": host,
        "Sec-WebSocket-Protocol": "bokeh, x",
    }  # fmt: skip
    return ask(server, path_of(server) + "/ws", **headers)[0]


def test_connections_of_other_origins_and_hosts_are_refused() -> None:
    with serving(toy_task()) as server:
        own = f"127.0.0.1:{server.port}"

        assert handshake(server, "http://evil.example", own) == 403
        assert handshake(server, f"http://{own}", "evil.example") == 403


def test_port_in_use_is_one_clear_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(StorageError, match=f"Port {port} is in use. Choose another one"):
            ExploreServer(toy_task(), None, port)


@pytest.mark.slow
def test_messages_over_the_socket_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from bokeh.client import pull_session
    from bokeh.document.events import MessageSentEvent
    from panel.models.esm import DataEvent

    pages: list[Explorer] = []
    show = Explorer._show
    monkeypatch.setattr(
        Explorer, "_show", lambda page, *part: (pages.append(page), show(page, *part))
    )
    task = toy_task()
    with serving(task) as server:
        client = pull_session(url=server.url)
        # What was pulled is known to the server: messages name it only.
        client.document.models.flush_synced()
        for design in task.space.sample(10, np.random.default_rng(2)):
            wanted = [str(index) for index in design.tolist()]
            message = DataEvent(client.document.roots[0], {"kind": "load", "design": wanted})
            event = MessageSentEvent(client.document, "bokeh_event", message)
            client.document.callbacks.trigger_on_change(event)
            client.force_roundtrip()
            own = task.evaluate(design[None, :])
            end = time.monotonic() + 20
            while True:
                shown = pages[-1].parts["answer"]
                if shown["design"] == wanted and shown["known"]:
                    break
                assert time.monotonic() < end, shown
                threading.Event().wait(0.01)
            assert shown["built"] == bool((own.reason == 0).all())
            if shown["built"]:
                assert shown["reward"] == own.reward[0]
        client.close()


@pytest.mark.slow
def test_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with Study.create(folder, Task.make("dram"), ToyAgent, seed=3, budget=5) as study:
        study.run()
    command = [sys.executable, "-m", "archgym", "explore", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        url = ran.stdout.readline().split()[-1]
        port = url.split(":")[2].split("/")[0]
        with socket.create_connection(("127.0.0.1", int(port)), timeout=20):
            pass
        busy = subprocess.run(
            [*command, "--port", port], capture_output=True, text=True, check=False, env=environment
        )
        ran.send_signal(signal.SIGINT)
        assert ran.wait(10) == 0
        assert ran.stderr.read() == "Stopped.\n"

    assert busy.returncode == 1
    assert busy.stderr.startswith("error: Port ")
    assert busy.stderr.count("\n") == 1


_SEARCHED = """
import sys
from archgym.explorer.session import Session
from archgym.tasks.task import Task

def say(name, content):
    if name == "study":
        print(content["studies"][0]["evaluations"], flush=True)

session = Session(Task.make("soc"), say)
session.start()
session.take({"kind": "search", "agent": "random", "budget": 100_000})
sys.stdin.read()
"""


@pytest.mark.slow
def test_server_that_is_killed_during_a_search_loses_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _SEARCHED], stdin=pipe, stdout=pipe, env=environment, cwd=tmp_path
    ) as ran:
        assert ran.stdout is not None
        while (shown := int(ran.stdout.readline())) < 20:
            pass
        ran.kill()

    (folder,) = (tmp_path / "runs").iterdir()
    log = read_study(folder)
    assert log.evaluations >= shown
    with Study.open(folder) as study:
        ended = study.run(budget=log.evaluations + 10).log
    assert ended.evaluations == log.evaluations + 10
    assert np.array_equal(ended.records.reward[: log.evaluations], log.records.reward)


def test_notebook_shows_the_page_as_a_value_of_a_cell() -> None:
    import archgym as ag

    shown = ag.explore(toy_task())
    try:
        assert isinstance(shown, Explorer)
        shown.session.take({"kind": "set", "place": 2, "index": 3})
        end = time.monotonic() + 20
        while not (shown.parts["answer"]["known"] and shown.parts["answer"]["design"][2] == "3"):
            assert time.monotonic() < end
            threading.Event().wait(0.01)
        assert "text/html" in (shown._repr_mimebundle_() or ({"text/html": ""},))[0]
    finally:
        shown.close()
