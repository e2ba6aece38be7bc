"""Freeze the tasks of the benchmark as a release, or compare them with it.

    python experiments/bench_release.py write    # before the release, once
    python experiments/bench_release.py check    # names every task that has changed since
    python experiments/bench_release.py deposit FILE.zip    # the release's files, for a DOI

The file is archgym/bench/data/archbench-2026.2.json. After the release it is not written again:
a task that is found to be wrong gets an entry in `errata`, with its date and the reason.
"""

import json
import sys
import zipfile
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from archgym.bench.suite import bench_tasks
from archgym.bench.verification import RELEASE, FrozenTask, read_release

PATH = Path(__file__).parents[1] / "archgym" / "bench" / "data" / f"{RELEASE}.json"


def frozen() -> dict[str, Any]:
    """Return the tasks of the benchmark as they are now, as a release's data."""
    tasks = {}
    for bench in bench_tasks():
        made = bench.plan.make()
        tasks[bench.label] = asdict(
            FrozenTask(
                digest=made.digest,
                simulator=made.simulator.name,
                version=made.simulator.version,
                split=bench.split,
                budgets=bench.budgets,
                best_known=None if bench.best is None else bench.best.reward,
                hardness=None if bench.hardness is None else bench.hardness.evaluations,
            )
        )
    return {"release": RELEASE, "tasks": tasks, "errata": []}


def deposit(path: Path) -> None:
    """Write the files of the release and their SHA-256 into a .zip, the same bytes each time."""
    data = PATH.parent
    parts = [PATH, *(data / name for name in ("tasks.yaml", "best.jsonl", "hardness.jsonl"))]
    contents = {part.name: part.read_bytes() for part in (*parts, data.parents[2] / "CITATION.cff")}
    sums = [f"{sha256(text).hexdigest()}  {name}\n" for name, text in contents.items()]
    contents["SHA256SUMS"] = "".join(sums).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in contents.items():
            archive.writestr(zipfile.ZipInfo(f"{RELEASE}/{name}"), text)
    print(f"{path}: {RELEASE}, digest {read_release().digest}")


def main() -> int:
    """Write, check or pack, as the argument says."""
    if sys.argv[1:2] == ["deposit"]:
        deposit(Path(sys.argv[2]))
        return 0
    now = frozen()
    if sys.argv[1:] == ["write"]:
        PATH.write_text(json.dumps(now, indent=1) + "\n", "utf-8")
        print(f"{len(now['tasks'])} tasks written to {PATH}")
        return 0
    kept = read_release()
    problems = {
        label: problem
        for label, task in now["tasks"].items()
        if (problem := kept.problem(label, task["digest"])) is not None
    }
    for label, problem in problems.items():
        print(f"{label}: {problem}")
    print(
        f"{len(now['tasks']) - len(problems)} of {len(now['tasks'])} tasks are those of {RELEASE}"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
