"""Runs scripted clients of the MCP server on tasks whose optimum is proven, and records them.

    python experiments/mcp_clients.py [--seeds N] [--budget N] [--keep FOLDER] [TASK ...]

Prints the table of experiments/mcp-clients.md. The clients are baselines for a coding agent: what
it reaches by following the server's answers without a thought. Every conversation is recorded,
replayed by `verify_conversation`, and scored by the replay alone.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from archgym.agent.neighbours import step_designs
from archgym.mcp.recording import CONVERSATION_NAME, Recording, verify_conversation
from archgym.mcp.tools import Toolbox
from archgym.mcp.workspace import Workspace
from archgym.spaces.space import DesignSpace

TASKS = (
    "kv-table-hits",
    "noc-table-area",
    "cluster-table-bert",
    "moe-table-memory",
    "dram-table-power",
    "accelerator-noc-table",
    "accelerator-mapping-late-table",
    "soc-table-latency",
)
STUDY = "study"


class Client:
    """A study as a client sees it: its space, its best design, and what is left."""

    def __init__(self, toolbox: Toolbox, task: str, budget: int, seed: int) -> None:
        """Create the study, and read what its answer says of the space."""
        self._toolbox = toolbox
        self.seed, self.rng = seed, np.random.default_rng(seed)
        made = toolbox.call("create_bench_study", {"study": STUDY, "task": task, "budget": budget})
        content = made.content
        if made.resource is not None:
            # Too long for an answer, as a model would read it too.
            content = json.loads(toolbox.resource(made.resource))
        self.space = DesignSpace.from_json(content["space"])
        self.left, self.reward, self.best = budget, -np.inf, dict(self.space.default)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any] | None:
        """Return the answer of a tool, or None for an error."""
        answer = self._toolbox.call(tool, {"study": STUDY, **arguments})
        if answer.error is not None:
            return None
        self.left = answer.content.get("remaining", self.left)
        return dict(answer.content)

    def evaluate(self, design: dict[str, Any]) -> bool:
        """Evaluate a design, and return True if it is the best so far."""
        answer = self.call("evaluate", designs=[design])
        if answer is None or answer["results"][0]["reward"] <= self.reward:
            return False
        self.reward, self.best = answer["results"][0]["reward"], design
        return True

    def sample(self) -> dict[str, Any]:
        """Return a random design."""
        return dict(self.space.designs(self.space.sample(1, self.rng))[0])


def random_designs(client: Client) -> None:
    """Evaluate random designs."""
    while client.left:
        client.evaluate(client.sample())


def climb(client: Client) -> None:
    """Evaluate neighbours of the best design, and move to each that is better."""
    client.evaluate(client.best)
    in_vain = 0
    while client.left:
        indices = client.space.indices_of(client.best)[None, :]
        near = step_designs(client.space, indices, 1.0, 0.1, client.rng)
        is_near = client.space.feasible(near)[0] and in_vain < 50
        left = client.left
        client.evaluate(dict(client.space.designs(near)[0]) if is_near else client.sample())
        in_vain = in_vain + 1 if left == client.left else 0


def explain(client: Client) -> None:
    """Ask for an explanation of the best design, and join the single changes that help.

    Where that costs more than what is left, try single changes of the best design in order.
    """
    client.evaluate(client.best)
    while client.left:
        before = client.best
        found = client.call("explain", design=client.best, changes=1000)
        if found is None:
            break
        changes = [c for c in found["best_changes"] if c["reward"] > client.reward]
        joined, parameters = dict(client.best), set()
        for change in changes:
            if change["parameter"] not in parameters:
                parameters.add(change["parameter"])
                joined = {**joined, change["parameter"]: change["to"]}
                client.evaluate(joined)
        if client.best == before:
            break
    in_order(client)


def in_order(client: Client) -> None:
    """Try each value of one parameter after the other, then random designs."""
    for parameter in client.space.parameters:
        for index in range(parameter.size):
            client.evaluate({**client.best, parameter.name: parameter.value(index)})
            if not client.left:
                return
    random_designs(client)


def advise(client: Client) -> None:
    """Evaluate what `advise` ranks first; before it has results, random designs."""
    client.evaluate(client.best)
    while client.left:
        found = client.call("advise", count=1, seed=client.seed)
        client.evaluate(found["suggestions"][0]["design"] if found else client.sample())


def search(client: Client) -> None:
    """Leave the whole budget to the server's own agent."""
    client.call("search", evaluations=client.left, seed=client.seed)


CLIENTS: dict[str, Callable[[Client], None]] = {
    "random designs": random_designs,
    "hill climber": climb,
    "follows `explain`": explain,
    "follows `advise`": advise,
    "calls `search`": search,
}


def converse(
    folder: Path, run: Callable[[Client], None], task: str, budget: int, seed: int
) -> Path:
    """Record one conversation, and return its file."""
    workspace = Workspace(folder, budget=budget)
    run(Client(Toolbox(workspace, Recording(workspace).add), task, budget, seed))
    workspace.close()
    return folder / CONVERSATION_NAME


def worse(path: Path) -> float:
    """Return how much worse than the optimum a recorded conversation ended [%]."""
    found = verify_conversation(path)
    assert not found.refusals, found.refusals
    share = found.studies[0].worse
    assert share is not None
    return 100.0 * share


def main() -> None:
    """Print a row for each task, and the means."""
    parser = argparse.ArgumentParser(description="Baselines for coding agents.")
    parser.add_argument("tasks", nargs="*", default=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=50)
    parser.add_argument("--keep", type=Path, help="Folder to keep the recordings in.")
    given = parser.parse_args()
    print(f"| task | {' | '.join(CLIENTS)} |")
    print("|---|" + "---:|" * len(CLIENTS))
    rows = []
    with TemporaryDirectory() as scratch:
        for task in given.tasks:
            row = []
            for n, run in enumerate(CLIENTS.values()):
                folders = [
                    (given.keep or Path(scratch)) / f"{task}-{n}-{s}" for s in range(given.seeds)
                ]
                found = [
                    worse(converse(folder, run, task, given.budget, seed))
                    for seed, folder in enumerate(folders)
                ]
                row.append(float(np.mean(found)))
            rows.append(row)
            print(f"| {task} | {' | '.join(f'{each:.1f}' for each in row)} |", flush=True)
    print(f"| mean | {' | '.join(f'{each:.1f}' for each in np.mean(rows, axis=0))} |")


if __name__ == "__main__":
    main()
