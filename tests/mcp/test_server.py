"""The server as a program, used by the client of the official SDK over stdio and HTTP."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.mcp.hostile import TASK, calls
from tests.mcp.test_hostile import outside, prepare

sdk = pytest.importorskip("mcp")

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "0123456789abcdef-test"
SECONDS = 120

Talk = Callable[[Any], Awaitable[Any]]


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "archgym", "mcp", str(folder), "--budget", "60", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "ARCHGYM_MCP_TOKEN": TOKEN}


def over_stdio(folder: Path, talk: Talk) -> Any:
    """Run a conversation with a server that the client starts."""
    program, *arguments = command(folder)
    parameters = sdk.StdioServerParameters(command=program, args=arguments, env=environment())

    async def run() -> Any:
        async with sdk.Client(parameters, read_timeout_seconds=SECONDS) as client:
            return await talk(client)

    return asyncio.run(run())


@contextmanager
def listening(folder: Path) -> Iterator[str]:
    """Start a server on a free port, and yield its address."""
    server = subprocess.Popen(
        command(folder, "--transport", "http", "--port", "0"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert server.stderr is not None
    try:
        yield next(line.split()[-1] for line in server.stderr if "Listening on" in line)
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stderr.close()


def over_http(folder: Path, talk: Talk) -> Any:
    """Run a conversation with a server that listens on a free port."""
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async def run(address: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with create_mcp_http_client(headers) as http:
            transport = streamable_http_client(address, http_client=http)
            async with sdk.Client(transport, read_timeout_seconds=SECONDS) as client:
                return await talk(client)

    with listening(folder) as address:
        return asyncio.run(run(address))


async def search(client: Any) -> dict[str, Any]:
    """Run a whole search, and return what each tool answered."""
    transcript: dict[str, Any] = {}

    async def call(name: str, **arguments: Any) -> Any:
        result = await client.call_tool(name, arguments)
        assert not result.is_error, result.content[0].text
        assert json.loads(result.content[0].text) == result.structured_content
        transcript[name] = result.structured_content
        return result.structured_content

    names = [tool.name for tool in (await client.list_tools()).tools]
    assert "evaluate" in names
    await call("list_simulators")
    await call("describe_simulator", simulator="dram")
    await call("create_study", study="found", budget=58, **TASK)
    proposed = await call("propose", study="found", agent="genetic", count=6)
    await call("evaluate", study="found", designs=proposed["designs"])
    await call("search", study="found", evaluations=4, agent="random")
    await call("explain", study="found")
    await call("verify", study="found")
    await call("front", study="found", metrics=["total_time_ns", "total_energy_pj"])
    await call("export", study="found", file="best.json")
    await call("best", study="found")
    guide = await client.read_resource("archgym://guide")
    transcript["guide"] = guide.contents[0].text
    return transcript


@pytest.mark.slow
@pytest.mark.parametrize("serve", [over_stdio, over_http])
def test_client_of_the_sdk_runs_a_whole_search(serve: Any, tmp_path: Path) -> None:
    found = serve(tmp_path / "work", search)

    assert found["evaluate"]["evaluations"] == 6
    assert found["search"]["evaluations"] == 10
    assert found["verify"]["is_intact"]
    assert found["best"]["best"]["reward"] >= 0
    assert (tmp_path / "work" / "best.json").is_file()
    assert found["guide"].startswith("---\nname: archgym-search")
    # The journal follows from its designs alone.
    journal = (tmp_path / "work" / "found" / "journal.jsonl").read_bytes()
    asked = np.array([json.loads(line)["design"] for line in journal.splitlines()])
    task = Task.make("dram", "cloud-1", "least-time")
    with Study.create(tmp_path / "replayed", task, None, budget=58) as study:
        study.evaluate(asked)
    assert (tmp_path / "replayed" / "journal.jsonl").read_bytes() == journal


@pytest.mark.slow
def test_stdio_and_http_write_the_same_journal(tmp_path: Path) -> None:
    async def talk(client: Any) -> None:
        await client.call_tool("create_study", {**TASK, "study": "s", "budget": 5})
        await client.call_tool("search", {"study": "s", "evaluations": 5})

    over_stdio(tmp_path / "one", talk)
    over_http(tmp_path / "two", talk)

    first, second = (tmp_path / name / "s" / "journal.jsonl" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().count(b"\n") == 5


@pytest.mark.slow
def test_hostile_calls_over_the_protocol_do_no_harm(tmp_path: Path) -> None:
    place = prepare(tmp_path)

    async def talk(client: Any) -> list[str]:
        await client.call_tool("create_study", {**TASK, "study": "known", "budget": 3})
        texts = []
        for name, arguments in calls():
            try:
                result = await client.call_tool(name, arguments, read_timeout_seconds=10)
                texts.append(result.content[0].text)
            except (sdk.MCPError, ValueError) as error:
                # The SDK does not answer a message that is nested too deeply to be read.
                texts.append(str(error))
        return texts

    texts = over_stdio(place / "work", talk)

    assert len(texts) == len(calls())
    assert sum("timed out" in text for text in texts) <= 1
    assert not [text for text in texts if "Traceback" in text or "secret" in text]
    assert outside(place) == {"outside.txt": "secret\n"}
    assert (place / "work" / "known" / "journal.jsonl").read_bytes().count(b"\n") <= 3


@pytest.mark.slow
def test_request_without_the_token_is_refused(tmp_path: Path) -> None:
    with listening(tmp_path / "work") as address:
        for token in ("", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            request = urllib.request.Request(address, b"{}", {"Authorization": token})
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(request, timeout=SECONDS)


def test_server_listens_on_loopback_only(tmp_path: Path) -> None:
    ran = subprocess.run(
        command(tmp_path, "--transport", "http", "--host", "0.0.0.0"),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=SECONDS,
    )

    assert ran.returncode == 1
    assert ran.stderr.startswith("error: The server listens on loopback only")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("open('/etc/passwd')", "outside the working folder"),
        ("open(os.path.expanduser('~/x'), 'w')", "outside the working folder"),
        ("os.remove('/etc/hostname')", "outside the working folder"),
        ("os.symlink('/etc', 'a'); open('a/passwd')", "outside the working folder"),
        ("import subprocess; subprocess.run(['true'])", "runs no other programs"),
        ("os.system('true')", "runs no other programs"),
        ("open('inside', 'w').close()", "done"),
    ],
)
def test_guard_refuses_files_elsewhere_and_programs(code: str, words: str, tmp_path: Path) -> None:
    program = (
        "import os, pathlib\n"
        "from archgym.mcp.server import install_guard\n"
        f"install_guard(pathlib.Path({str(tmp_path)!r}).resolve(), allow_external=False)\n"
        f"{code}\nprint('done')"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )

    assert words in ran.stdout + ran.stderr


@pytest.mark.slow
def test_guarded_server_evaluates_rules(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from archgym.mcp.server import install_guard\n"
        "from archgym.mcp.tools import Toolbox\n"
        "from archgym.mcp.workspace import Workspace\n"
        "from archgym.simulators.translation.rules.domain import TLB\n"
        f"workspace = Workspace(Path({str(tmp_path)!r}))\n"
        "install_guard(workspace.root, allow_external=False)\n"
        "box = Toolbox(workspace)\n"
        "given = {'study': 'p', 'domain': 'tlb', 'traces': ['sort'], 'budget': 1}\n"
        "print(box.call('create_rule_study', given).text)\n"
        "given = {'study': 'p', 'source': TLB.templates['lru']}\n"
        "print(box.call('evaluate_rule', given).text)\n"
        "workspace.close()\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=SECONDS,
    )

    created, evaluated = ran.stdout.splitlines()
    assert '"left":1' in created
    assert '"left":0' in evaluated
    assert '"loss":' in evaluated
