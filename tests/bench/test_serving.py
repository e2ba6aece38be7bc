"""Programs reach a task over lines of JSON, with the scores of every other way."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.bench import TaskServer, bench_task, serve, verify_bench
from archgym.bench.serving import MAX_LINE_BYTES
from archgym.envs.design import DesignEnv
from archgym.errors import StudyExistsError
from archgym.studies.snapshot import read_study
from tests.bench.submissions import TASK

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "bench"


def session(
    folder: Path, lines: Sequence[bytes], budget: int = 5, task: str = TASK
) -> list[dict[str, Any]]:
    """Serve lines, and return what the server sends."""
    sink = io.BytesIO()
    server = TaskServer(bench_task(task).plan.make(), folder, budget)
    try:
        serve(server, io.BytesIO(b"".join(line + b"\n" for line in lines)), sink)
    finally:
        server.close()
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def line(**members: object) -> bytes:
    return json.dumps(members).encode()


def test_equal_designs_have_equal_scores_in_python_gymnasium_and_json_lines(tmp_path: Path) -> None:
    # One number of an action is one parameter here.
    name = "soc-small-edp"
    task = bench_task(name).plan.make()
    designs = task.space.sample(8, np.random.default_rng(7))
    python = task.evaluate(designs).reward.tolist()

    env = DesignEnv(task)
    env.reset(seed=0)
    gymnasium = []
    for design in designs:
        gymnasium.append(env.step(design)[1])
        env.reset()
    env.close()
    answers = session(tmp_path / "a", [line(indices=each.tolist()) for each in designs], 8, name)

    assert gymnasium == python
    assert [answer["reward"] for answer in answers[1:-1]] == python


def test_a_design_may_leave_parameters_at_their_defaults(tmp_path: Path) -> None:
    space = bench_task(TASK).plan.make().space
    first, *others = space.names

    answers = session(tmp_path / "a", [line(design={first: space.default[first]})])

    assert answers[1]["defaults"] == others
    assert read_study(tmp_path / "a").outcome(0).design == space.default


def test_a_design_by_name_is_the_one_by_index(tmp_path: Path) -> None:
    space = bench_task(TASK).plan.make().space
    default = space.default_indices
    lines = [line(design=dict(space.design_at(default))), line(indices=default.tolist())]

    _, first, second = session(tmp_path / "a", lines)

    assert first["reward"] == second["reward"]
    assert (first["repeated"], second["repeated"]) == (False, True)
    assert second["evaluations"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe",
        b'{"indices": [NaN]}',
        b'{"indices": [0]}',
        b'{"indices": [true, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        b'{"indices": [-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}',
        b'{"indices": "00000000000"}',
        b'{"design": {"no-such": 1}}',
        b'{"design": []}',
        b'{"design": {"a": {"b": 1}}}',
        b'{"design": {"a": [[1]]}}',
        b'{"design": {}, "reward": 9}',
        b'{"end": 1}',
        b'{"seed": ' + b"9" * 10_000 + b"}",
        b"[" * 20_000,
        b'{"indices": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}',
    ],
    ids=lambda bad: bad[:24].decode(errors="replace"),
)
def test_a_hostile_line_is_an_error_in_one_line_and_costs_nothing(
    bad: bytes, tmp_path: Path
) -> None:
    _, refusal, end = session(tmp_path / "a", [bad, line(end=True)])

    assert set(refusal) == {"error"}
    assert "\n" not in refusal["error"]
    assert end == {"end": "client", "evaluations": 0, "best": None}


def designs(n: int) -> list[bytes]:
    sizes = bench_task(TASK).plan.make().space.sizes.tolist()
    return [
        line(indices=[(seed * (i + 3)) % size for i, size in enumerate(sizes)]) for seed in range(n)
    ]


def test_the_budget_ends_the_session_and_the_journal_is_accepted(tmp_path: Path) -> None:
    answers = session(tmp_path / "a", designs(9))

    assert [a.get("left") for a in answers[1:-1]] == [4, 3, 2, 1, 0]
    assert answers[-1]["end"] == "budget"
    assert read_study(tmp_path / "a").evaluations == 5
    found = verify_bench(tmp_path / "a")
    assert (found.evaluations, found.refusals) == (5, ())


def test_the_last_evaluation_is_followed_by_the_end(tmp_path: Path) -> None:
    answers = session(tmp_path / "a", designs(5))
    again = session(tmp_path / "a", [])

    assert [sorted(each)[:1] for each in answers[-2:]] == [["evaluations"], ["best"]]
    assert answers[-1] == again[-1]
    assert again[-1]["end"] == "budget"


def test_a_client_may_write_one_more_line(tmp_path: Path, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        ["archgym", "bench", "serve", TASK, "--budget", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(designs(1)[0] + b"\n")
        server.stdin.flush()
        lines = [json.loads(server.stdout.readline()) for _ in range(3)]
        assert server.poll() is None
        server.stdin.write(designs(1)[0] + b"\n")
        server.stdin.flush()
        assert server.wait(9) == 0

    assert (lines[1]["left"], lines[2]["end"]) == (0, "budget")


def test_a_session_continues_where_the_last_one_ended(tmp_path: Path) -> None:
    session(tmp_path / "a", designs(2))
    description, *answers = session(tmp_path / "a", designs(4))

    assert description["evaluations"] == 2
    assert [a["repeated"] for a in answers] == [True, True, False, False]
    assert answers[-1]["evaluations"] == 4


def test_a_folder_of_another_task_is_refused(tmp_path: Path) -> None:
    session(tmp_path / "a", designs(1))

    with pytest.raises(StudyExistsError):
        TaskServer(bench_task("soc-small-edp").plan.make(), tmp_path / "a", 5)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `archgym` is this interpreter's."""
    program = tmp_path / "bin" / "archgym"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m archgym "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PATH": path, "PYTHONPATH": root}


@pytest.mark.slow
@pytest.mark.parametrize("client", ["client.py", "client.sh"])
def test_the_example_client_searches(
    client: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = [sys.executable] if client.endswith(".py") else ["sh"]
    ran = subprocess.run(
        [*program, str(EXAMPLES / client), TASK, "12", "--out", str(tmp_path / "study")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    log = read_study(tmp_path / "study")
    best = log.best()
    assert best is not None
    assert log.evaluations == 12
    last = json.loads(ran.stdout.splitlines()[-1])
    assert last.get("best", last)["reward"] == best.reward
    assert verify_bench(tmp_path / "study").refusals == ()


def test_served_study_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    session(tmp_path / "a", [line(end=True)])

    (refusal,) = verify_bench(tmp_path / "a").refusals

    assert str(refusal) == "a: the run must have evaluations; it has none."
