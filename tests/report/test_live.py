"""Live view: state that follows journals, and the server that shows it to this computer alone."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, StorageError
from archgym.report.live import LiveView
from archgym.report.live_server import LiveServer
from archgym.studies.front import study_front
from archgym.studies.journal import encode
from archgym.studies.metadata import read_header
from archgym.studies.records import Records
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from tests.report.browser import browser
from tests.toys import ToyAgent, toy_task

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    with Study.create(folder, toy_task(), ToyAgent, seed=3, budget=60) as made:
        made.run()
    return folder


def state(view: LiveView) -> Any:
    while view.update():
        pass
    return view.to_json()


def append(folder: Path, n: int, error: str = "", seed: int = 0) -> None:
    """Appends records of random designs that no simulator was asked for."""
    log = read_study(folder)
    header = read_header(folder)
    rng = np.random.default_rng(seed)
    shape = header.shape(header.space())
    values = 50.0 + 100.0 * rng.random((n, shape.n_workloads, shape.n_metrics))
    reason = np.zeros((n, shape.n_workloads), dtype=np.int16)
    first = int(log.records.seq[-1]) + 1
    seq = np.arange(first, first + n)
    if error:
        values[-1], reason[-1] = np.nan, -1
    records = Records(
        seq,
        np.stack([rng.integers(0, size, n) for size in header.space().sizes], axis=1),
        values,
        reason,
        np.where(np.isnan(values[:, 0, 0]), -25.0, rng.normal(size=n)),
        np.full(n, -1, dtype=np.int64),
        {int(seq[-1]): error} if error else {},
    )
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(encode(records, header.key))


# ---- the state


def test_state_is_that_of_the_study(study: Path) -> None:
    log = read_study(study)
    best = log.best()
    assert best is not None

    shown = state(LiveView(study))

    (task,) = shown["tasks"]
    assert shown["evaluations"] == log.evaluations == 60
    assert shown["runs"] == {"waiting": 0, "running": 0, "finished": 1, "stopped": 0}
    assert task["best"]["reward"] == best.reward
    assert task["curve"]["lines"][0]["y"][-1] == log.curve()[-1]
    (agent,) = task["agents"]
    counts = log.counts()
    assert (agent["infeasible"], agent["failed"]) == (counts["infeasible"], counts["failed"])


def test_front_is_that_of_the_study(tmp_path: Path) -> None:
    folder = tmp_path / "balanced"
    with Study.create(folder, toy_task(), ToyAgent, seed=1, budget=60) as made:
        made.run()
    expected = study_front(read_study(folder)).values[:, :2]

    (line,) = state(LiveView(folder))["tasks"][0]["front"]["lines"]

    expected = expected[np.argsort(expected[:, 0])]
    assert np.allclose(np.array([line["x"], line["y"]]).T, expected)


def test_records_arrive_part_by_part(study: Path, tmp_path: Path) -> None:
    journal = study / "journal.jsonl"
    content = journal.read_bytes()
    whole = state(LiveView(study))
    journal.write_bytes(b"")
    view = LiveView(study)

    counts = []
    for start in range(0, len(content), 700):
        with journal.open("ab") as handle:
            handle.write(content[start : start + 700])
        counts.append(state(view)["evaluations"])

    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    assert state(view)["tasks"][0]["best"] == whole["tasks"][0]["best"]
    assert state(view)["tasks"][0]["front"]["lines"] == whole["tasks"][0]["front"]["lines"]


def test_journal_that_was_repaired_is_read_again(study: Path) -> None:
    view = LiveView(study)
    state(view)
    journal = study / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    (study / "new").write_bytes(b"".join(lines[:20]))
    (study / "new").replace(journal)

    assert state(view)["evaluations"] <= 20


def test_budget_that_resume_extends_is_followed(study: Path) -> None:
    view = LiveView(study)
    before = state(view)

    with Study.open(study, toy_task(), ToyAgent) as opened:
        opened.extend(90)
        during = state(view)
        opened.run()

    assert (before["planned"], before["runs"]["finished"]) == (60, 1)
    assert (during["planned"], during["evaluations"]) == (90, 60)
    assert during["runs"]["running"] == 1
    after = state(view)
    assert (after["evaluations"], after["runs"]["finished"]) == (90, 1)


def test_damaged_lines_are_counted_and_left_out(study: Path) -> None:
    journal = study / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"1", b"2")
    journal.write_bytes(b"".join(lines))

    assert state(LiveView(study))["tasks"][0]["damaged"] == 1


def test_sweep_shows_its_runs_by_agent(swept: Path) -> None:
    journal = swept / "light/random/seed-1/journal.jsonl"
    hidden = journal.rename(journal.with_name("later"))
    view = LiveView(swept)

    before = state(view)
    hidden.rename(journal)
    after = state(view)

    assert before["runs"]["waiting"] == 1
    assert after["runs"]["waiting"] == 0
    assert after["planned"] == 120
    assert {a["agent"]: a["runs"] for a in after["tasks"][0]["agents"]} == {"random": 2, "small": 2}
    assert after["evaluations"] == before["evaluations"] + 30


def test_runs_of_a_sweep_share_one_space_in_memory(swept: Path) -> None:
    view = LiveView(swept)
    state(view)
    runs = list(view._runs.values())

    assert len(runs) > 1
    assert len({id(run.space) for run in runs if run.task_id == runs[0].task_id}) == 1


def test_damaged_run_of_a_sweep_does_not_hide_the_others(swept: Path) -> None:
    (swept / "light/random/seed-0/study.json").write_text("{")

    shown = state(LiveView(swept))

    assert "study.json" in shown["problem"]
    assert shown["evaluations"] == 90
    assert shown["runs"]["waiting"] == 1


def test_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="a study or a sweep"):
        LiveView(tmp_path)


@pytest.mark.slow
def test_update_takes_less_than_two_seconds_at_a_hundred_thousand_evaluations(study: Path) -> None:
    append(study, 100_000)
    view = LiveView(study)
    assert state(view)["evaluations"] == 100_060

    append(study, 1_000, seed=1)
    start = time.perf_counter()
    shown = state(view)
    text = json.dumps(shown)
    seconds = time.perf_counter() - start

    assert shown["evaluations"] == 101_060
    assert seconds < 1.0
    assert len(text) < 300_000


# ---- the server


@contextmanager
def serving(folder: Path) -> Iterator[LiveServer]:
    with LiveServer(folder) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


def ask(
    server: LiveServer, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Host": host or f"127.0.0.1:{server.port}"}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_only_the_token_and_this_host_open_the_page(study: Path) -> None:
    with serving(study) as server:
        path = server.url.partition(str(server.port))[2]

        assert ask(server, path)[0] == 200
        assert ask(server, path + "data")[0] == 200
        assert ask(server, path, host=f"localhost:{server.port}")[0] == 200
        assert ask(server, "/")[0] == 403
        assert ask(server, "/" + "x" * 32 + "/data")[0] == 403
        assert ask(server, path + "data", host="evil.example")[0] == 403
        assert ask(server, path + "../study.json")[0] == 404
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            assert ask(server, path, method=method)[0] == 501


def test_server_listens_on_this_computer_alone(study: Path) -> None:
    with serving(study) as server:
        assert server.url.startswith(f"http://127.0.0.1:{server.port}/")
        assert server._server.server_address[0] == "127.0.0.1"


def test_page_holds_nothing_of_the_study_and_its_policy_is_strict(study: Path) -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    append(study, 5, error=evil)
    with serving(study) as server:
        path = server.url.partition(str(server.port))[2]
        _, page, headers = ask(server, path)
        _, data, kind = ask(server, path + "data")

    assert b"<img" not in page
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert kind["Content-Type"] == "application/json"
    assert json.loads(data)["tasks"][0]["error"] == evil


def test_unchanged_state_is_a_short_answer(study: Path) -> None:
    with serving(study) as server:
        path = server.url.partition(str(server.port))[2]
        first = json.loads(ask(server, path + "data?since=0")[1])
        while first["more"]:
            first = json.loads(ask(server, path + "data?since=0")[1])
        again = json.loads(ask(server, path + f"data?since={first['version']}")[1])

    assert again == {"version": first["version"], "more": False}


def test_port_in_use_is_one_clear_message(study: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(StorageError, match=f"Port {port} is in use. Choose another one"):
            LiveServer(study, port)


@pytest.mark.slow
def test_command_serves_until_it_is_interrupted(study: Path) -> None:
    command = [sys.executable, "-m", "archgym", "watch", str(study)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        url = ran.stdout.readline().split()[-1]
        with urllib.request.urlopen(url + "data", timeout=20) as answer:
            assert json.load(answer)["evaluations"] == 60
        busy = subprocess.run(
            [*command, "--port", url.split(":")[2].split("/")[0]],
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
        )
        ran.send_signal(signal.SIGINT)
        assert ran.wait(10) == 0
        assert ran.stderr.read() == "Stopped.\n"

    assert busy.returncode == 1
    assert busy.stderr.startswith("error: Port ")
    assert busy.stderr.count("\n") == 1


@pytest.mark.slow
def test_page_follows_the_study_in_a_browser(study: Path) -> None:
    evil = '<img src=x onerror="document.title=1">'
    with serving(study) as server, browser() as opened:
        opened.call("POST", "/url", {"url": server.url})
        wait(opened, "60")
        append(study, 100_000, error=evil)
        start = time.monotonic()
        wait(opened, "100060", 60)
        append(study, 100, seed=2)
        start = time.monotonic()
        wait(opened, "100160")
        seconds = time.monotonic() - start

        text = opened.run("return document.body.textContent")
        assert evil in text
        assert opened.run("return document.querySelectorAll('img').length") == 0
        assert opened.run("return document.querySelectorAll('.chart .line').length") == 2
        opened.scheme("dark")
        opened.size(390, 844)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert opened.run(wide) == 0
        assert opened.log() == []
    assert seconds < 2.0


def wait(opened: Any, evaluations: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while opened.run("return document.documentElement.dataset.evaluations") != evaluations:
        assert time.monotonic() < end, opened.log()
        opened.run("return new Promise(done => setTimeout(done, 50))")
