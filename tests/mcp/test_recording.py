"""Recorded conversations are replayed, and a forged one is refused with the place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from archgym.cli.app import app
from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.mcp.reading import GUIDE
from archgym.mcp.recording import CONVERSATION_NAME, Recording, verify_conversation
from archgym.mcp.tools import Toolbox
from archgym.mcp.workspace import Workspace
from archgym.spaces.space import DesignSpace

TASK = "noc-table-area"
Lines = list[dict[str, Any]]


def converse(folder: Path) -> Path:
    """Hold a conversation with every kind of call, over two starts of the server."""
    workspace = Workspace(folder, budget=40)
    toolbox = Toolbox(workspace, Recording(workspace).add)
    made = toolbox.call("create_bench_study", {"study": "a", "task": TASK, "budget": 30})
    space = DesignSpace.from_json(made.content["space"])
    toolbox.call("evaluate", {"study": "a", "designs": [{}, {"unknown": 1}]})
    designs = [dict(space.design_at(row)) for rows in space.enumerate() for row in rows[:6]][:6]
    toolbox.call("evaluate", {"study": "a", "designs": designs})
    toolbox.resource(GUIDE)
    workspace.close()
    workspace = Workspace(folder, budget=40)
    toolbox = Toolbox(workspace, Recording(workspace).add)
    for tool in ("advise", "propose", "best", "history", "verify"):
        toolbox.call(tool, {"study": "a"})
    toolbox.call("search", {"study": "a", "evaluations": 5, "agent": "random"})
    workspace.close()
    return folder / CONVERSATION_NAME


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest recording."""
    return converse(tmp_path_factory.mktemp("honest") / "work")


def forged(recording: Path, folder: Path, forge: Callable[[Lines], object]) -> Path:
    """Return a copy that a function has changed."""
    lines = [json.loads(line) for line in recording.read_text().splitlines()]
    forge(lines)
    path = folder / CONVERSATION_NAME
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def place_of(lines: Lines, call: str) -> int:
    return next(n for n, line in enumerate(lines) if line.get("call") == call)


def test_an_honest_conversation_is_accepted_and_scored_by_its_replay(recording: Path) -> None:
    found = verify_conversation(recording.parent)

    assert found.refusals == ()
    (study,) = found.studies
    assert (study.study, study.task, study.budget) == ("a", TASK, 30)
    assert study.evaluations >= 11
    assert study.worse is not None
    assert 0.0 <= study.worse <= 1.0
    assert found.calls["evaluate"] == 2


def test_the_replay_needs_the_recording_alone(recording: Path, tmp_path: Path) -> None:
    alone = forged(recording, tmp_path, lambda lines: None)

    assert verify_conversation(alone).studies == verify_conversation(recording).studies


def _raise_a_reward(lines: Lines) -> None:
    lines[place_of(lines, "evaluate") + 1]["answer"]["results"][3]["reward"] += 1e-9


def _improve_the_best(lines: Lines) -> None:
    lines[place_of(lines, "best")]["answer"]["best"]["reward"] = 100.0


def _alter_a_prediction(lines: Lines) -> None:
    lines[place_of(lines, "advise")]["answer"]["suggestions"][0]["better"] = 1.0


def _hide_a_refusal(lines: Lines) -> None:
    lines[place_of(lines, "evaluate")]["answer"] = {"study": "a"}


def _leave_out_a_call(lines: Lines) -> None:
    del lines[place_of(lines, "evaluate") + 1]


def _alter_what_was_read(lines: Lines) -> None:
    lines[place_of(lines, "resource")]["answer"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("forge", "place"),
    [
        (_raise_a_reward, "line 4: `answer.results[3].reward` is "),
        (_improve_the_best, "line 9: `answer.best.reward` is "),
        (_alter_a_prediction, "line 7: `answer.suggestions[0]"),
        (_hide_a_refusal, "line 3: `answer` is "),
        (_leave_out_a_call, "line 6: `answer"),
        (_alter_what_was_read, "line 5: `answer.sha256` is "),
    ],
)
def test_a_conversation_with_one_forged_answer_is_refused_with_its_place(
    forge: Callable[[Lines], None], place: str, recording: Path, tmp_path: Path
) -> None:
    path = forged(recording, tmp_path, forge)

    result = CliRunner().invoke(app, ["bench", "verify", str(path)])

    assert result.exit_code == 1
    assert f"refused: {CONVERSATION_NAME}, {place}" in " ".join(result.output.split())
    assert "Accepted" not in result.output


def _make_a_second_study(lines: Lines) -> None:
    made = lines[place_of(lines, "create_bench_study")]
    lines.insert(2, {**made, "arguments": {**made["arguments"], "study": "b"}})


def _search_outside_the_benchmark(lines: Lines) -> None:
    lines.insert(1, {"call": "create_study", "arguments": {}, "answer": {"study": "free"}})


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (_make_a_second_study, "must have one study; this is its second"),
        (_search_outside_the_benchmark, "must be made by `create_bench_study`"),
    ],
)
def test_evaluations_that_are_not_charged_to_the_task_are_refused(
    forge: Callable[[Lines], None], words: str, recording: Path, tmp_path: Path
) -> None:
    (refusal,) = verify_conversation(forged(recording, tmp_path, forge)).refusals

    assert words in str(refusal)


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[1]\n", '{"format": 9, "version": "9", "budget": 1}\n']
)
def test_what_is_no_recording_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / CONVERSATION_NAME
    path.write_text(text)

    with pytest.raises(FileFormatError) as caught:
        verify_conversation(path)

    assert "\n" not in str(caught.value)


def test_a_recording_begins_in_a_folder_without_studies(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Toolbox(workspace).call("create_bench_study", {"study": "a", "task": TASK, "budget": 3})

    with pytest.raises(InvalidArgumentError, match="without studies"):
        Recording(workspace)
    workspace.close()
