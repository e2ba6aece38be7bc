"""Memory, descriptors and threads over an hour of an MCP server, a killed sweep and a page.

python experiments/soak.py run --minutes 60 --out experiments/data/soak.csv
python experiments/soak.py table --out experiments/data/soak.csv
python experiments/soak.py picture --out experiments/data/soak.csv

Eight clients search with the server; a sweep is killed again and again and continued by the same
command; a page that follows the sweep is read every second. Linux only: it reads `/proc`.
"""

import argparse
import asyncio
import csv
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bokeh.client import pull_session

CLIENTS = 8
SAMPLE_S = 15.0
# Between two calls of a client, so that the load is that of a patient user.
PAUSE_S = 2.0
# How long a sweep runs before it is killed, and how long it then rests [s].
RUNS_S, RESTS_S = (10.0, 40.0), (5.0, 20.0)
TASK = {"simulator": "dram", "workload": "cloud-1", "objective": "least-time"}
PLAN = """\
budget: 60
seeds: 3000
tasks: {cloud-1: {simulator: dram, workload: cloud-1, objective: least-time}}
agents: {random: , genetic: }
"""
FIELDS = ("seconds", "process", "rss_mib", "descriptors", "threads", "events")
TOKEN = "soak-0123456789abcdef"


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command of the package; its texts are read from its standard output and error."""
    return subprocess.Popen(
        [sys.executable, "-m", "archgym", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "ARCHGYM_MCP_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def address_of(process: subprocess.Popen[str]) -> str:
    """Return the first address that a server prints, and read the rest in a thread."""
    assert process.stdout is not None
    for line in process.stdout:
        for word in line.split():
            if word.startswith("http://"):
                threading.Thread(target=process.stdout.read, daemon=True).start()
                return word
    raise RuntimeError(f"{process.args} ended without an address")


def usage(pid: int) -> tuple[float, int, int]:
    """Return resident memory [MiB], open descriptors and threads of a process."""
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":" in line
    )
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"])


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(place.name))
    return found


async def talk(address: str, number: int, ended: threading.Event, count: Counter[str]) -> None:
    """Search with the server as one client, study after study."""
    import mcp
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    rng = random.Random(number)
    async with create_mcp_http_client({"Authorization": f"Bearer {TOKEN}"}) as http:
        transport = streamable_http_client(address, http_client=http)
        async with mcp.Client(transport, read_timeout_seconds=300) as client:

            async def call(name: str, **arguments: Any) -> Any:
                await asyncio.sleep(rng.uniform(0.5, 1.5) * PAUSE_S)
                answer = await client.call_tool(name, arguments)
                count["calls"] += 1
                if answer.is_error:
                    count[f"refused: {name}"] += 1
                return answer.structured_content or {}

            for turn in range(10**6):
                study = f"client-{number}-{turn}"
                await call("create_study", study=study, budget=24, **TASK)
                for _ in range(2):
                    found = await call("propose", study=study, agent="genetic", count=6)
                    await call("evaluate", study=study, designs=found.get("designs", []))
                await call("search", study=study, evaluations=8, agent="random")
                # Refused: it needs more than the eight evaluations that are left.
                await call("explain", study=study)
                await call("best", study=study)
                await call("verify", study=study)
                if ended.is_set():
                    return


def clients(address: str, ended: threading.Event, count: Counter[str]) -> None:
    """Run all clients until the end."""

    async def run() -> None:
        talks = (talk(address, number, ended, count) for number in range(CLIENTS))
        await asyncio.gather(*talks)

    asyncio.run(run())


def kill_again(
    folder: Path, ended: threading.Event, count: Counter[str], sessions: list[int]
) -> None:
    """Run a sweep, kill its driver, and continue it by the same command until the end."""
    rng = random.Random(0)
    plan = folder / "plan.yaml"
    plan.write_text(PLAN)
    while not ended.is_set():
        sweep = started("sweep", "run", plan, "--out", folder / "sweep", "--workers", "1")
        threading.Thread(target=sweep.communicate, daemon=True).start()
        sessions.append(sweep.pid)
        ended.wait(rng.uniform(*RUNS_S))
        if sweep.poll() is None:
            # Every third time Ctrl-C, otherwise no chance to tidy up.
            sweep.send_signal(signal.SIGINT if count["kills"] % 3 == 2 else signal.SIGKILL)
            count["kills"] += 1
        else:
            count["sweeps that ended by themselves"] += 1
        ended.wait(rng.uniform(*RESTS_S))


def read_page(address: str, ended: threading.Event, count: Counter[str]) -> None:
    """Keep the page open on its websocket, as a browser does, and ask every second."""
    client = pull_session(url=address)
    while not ended.wait(1.0):
        client.force_roundtrip()
        count["page"] += 1


def run(minutes: float, out: Path) -> None:
    """Let everything run, and write the samples as CSV and the counts as JSON next to it."""
    ended, count = threading.Event(), Counter[str]()
    sessions: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mcp").mkdir()
        server = started("mcp", folder / "mcp", "--transport", "http", "--port", "0")
        jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (clients, (address_of(server), ended, count)),
            (kill_again, (folder, ended, count, sessions)),
        ]
        threads = [threading.Thread(target=job, args=given) for job, given in jobs]
        for thread in threads:
            thread.start()
        while not any((folder / "sweep").glob("**/study.json")):
            time.sleep(1.0)
        page = started("explore", folder / "sweep")
        reader = threading.Thread(target=read_page, args=(address_of(page), ended, count))
        reader.start()
        threads.append(reader)
        begun = time.monotonic()
        with out.open("w", newline="") as handle:
            table = csv.writer(handle)
            table.writerow(FIELDS)
            while time.monotonic() - begun < 60 * minutes:
                seconds = round(time.monotonic() - begun)
                events = {"mcp": count["calls"], "explore": count["page"], "sweep": count["kills"]}
                pids = {"mcp": [server.pid], "explore": [page.pid], "sweep": []}
                # Workers of a killed driver must notice it and leave: all sessions are counted.
                pids["sweep"] = [pid for session in sessions for pid in members(session)]
                for process, each in pids.items():
                    try:
                        sizes = [usage(pid) for pid in each]
                    except (OSError, KeyError):
                        continue
                    if sizes:
                        rss, files, n_threads = map(sum, zip(*sizes, strict=True))
                        table.writerow(
                            [seconds, process, f"{rss:.1f}", files, n_threads, events[process]]
                        )
                handle.flush()
                time.sleep(SAMPLE_S)
        ended.set()
        for thread in threads:
            thread.join(120)
        time.sleep(30)
        count["processes of sweeps left"] = sum(len(members(session)) for session in sessions)
        status = subprocess.run(
            [sys.executable, "-m", "archgym", "sweep", "status", str(folder / "sweep")],
            capture_output=True,
            text=True,
            check=False,
        )
        left = [path.name for path in folder.rglob(".writing-*")]
        for process in (page, server):
            process.terminate()
        count.update({"scratch files left": len(left), "status exit code": status.returncode})
        count["minutes"] = round(minutes)
    out.with_suffix(".json").write_text(json.dumps(dict(sorted(count.items())), indent=1) + "\n")


def samples(out: Path) -> dict[str, list[dict[str, float]]]:
    """Return the samples by process."""
    found: dict[str, list[dict[str, float]]] = {}
    with out.open(newline="") as handle:
        for row in csv.DictReader(handle):
            numbers = {field: float(row[field]) for field in FIELDS if field != "process"}
            found.setdefault(row["process"], []).append(numbers)
    return found


def table(out: Path) -> None:
    """Print medians of the first tenth after warming up, of the last tenth, and the maximum."""
    print("| process | measure | after a tenth | at the end | most |\n|---|---|---|---|---|")
    for process, rows in samples(out).items():
        tenth = max(len(rows) // 10, 1)
        for field in ("rss_mib", "descriptors", "threads"):
            values = [row[field] for row in rows]
            first, last = values[tenth : 2 * tenth] or values, values[-tenth:]
            numbers = statistics.median(first), statistics.median(last), max(values)
            print(f"| {process} | {field} | {' | '.join(f'{each:.0f}' for each in numbers)} |")


def picture(out: Path) -> None:
    """Draw the samples over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(7, 7))
    labels = {
        "rss_mib": "memory [MiB]",
        "descriptors": "open descriptors",
        "threads": "threads",
    }
    for axis, (field, label) in zip(axes, labels.items(), strict=True):
        for process, rows in samples(out).items():
            minutes = [row["seconds"] / 60 for row in rows]
            axis.plot(minutes, [row[field] for row in rows], label=process, linewidth=1)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[0].legend()
    axes[-1].set_xlabel("time [min]")
    figure.tight_layout()
    place = out.parent.parent / "pictures" / f"{out.stem}.svg"
    figure.savefig(place, metadata={"Date": None})


def main() -> None:
    """Run the command that the module's docstring names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("run", "table", "picture"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("experiments/data/soak.csv"))
    given = parser.parse_args()
    # A shell starts its background jobs with SIGINT ignored, which all that is started inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.command == "run":
        run(given.minutes, given.out)
    else:
        {"table": table, "picture": picture}[given.command](given.out)


if __name__ == "__main__":
    main()
