"""Make the portfolios that ship with the package, from searches of development workloads.

    python experiments/portfolios.py [SIMULATOR/SPACE ...]

Each workload of a space is searched with `auto` and one seed. Then the best designs of each
workload are evaluated on the others, and those are kept that complement each other. The command
writes archgym/studies/data/portfolios.jsonl; spaces that are not named keep their line.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from archgym.studies.portfolio import portfolio
from archgym.studies.study import Study
from archgym.tasks.task import Task

# Development workloads by space. No verdict task of the benchmark has one of them, so that spaces
# with fewer than two other workloads, such as moe/expert-parallel, have no portfolio. On both
# workloads of moe/three-tier one design was the best, so it has none either.
WORKLOADS = {
    "dram/default": ("bursty-rw", "multicore-rw", "pointer-chase", "gups"),
    "dram/dramsys": ("bursty-rw", "multicore-rw", "pointer-chase", "gups"),
    "cluster/default": ("llama2-70b", "mixtral-8x7b", "bert-large", "megatron-22b"),
    "cluster/parallel": ("llama2-70b", "mixtral-8x7b", "bert-large", "megatron-22b"),
    "translation/default": ("graph-search", "random-access", "pointer-chase-4gb", "dlrm-8gb"),
    "translation/hardware": ("graph-search", "random-access", "pointer-chase-4gb", "dlrm-8gb"),
    "accelerator/default": ("mobilenet-v2", "bert-base", "llama-decode", "vgg-16"),
    "cpu/default": ("b-tree", "graph-search", "decompress", "matrix-product"),
    "cpu/memory": ("b-tree", "graph-search", "decompress", "matrix-product"),
    "cpu/core": ("b-tree", "graph-search", "decompress", "matrix-product"),
}
EVALUATIONS = 100
SEED = 0
SIZE = 6
PATH = Path(__file__).parents[1] / "archgym" / "studies" / "data" / "portfolios.jsonl"


def line_of(name: str, workloads: tuple[str, ...]) -> str:
    """Return the line of a space."""
    simulator, space = name.split("/")
    tasks = [Task.make(simulator, workload=each, space=space) for each in workloads]
    with TemporaryDirectory() as folder:
        studies = [f"{folder}/{each}" for each in workloads]
        for path, task in zip(studies, tasks, strict=True):
            Study.create(path, task, "auto", seed=SEED, budget=EVALUATIONS).run()
            print(f"{name}: searched {task.id}", flush=True)
        found = portfolio(studies, size=SIZE, per_study=4)
    return json.dumps(
        {
            "simulator": simulator,
            "space": space,
            "workloads": workloads,
            "origin": f"auto, seed {SEED}, {EVALUATIONS} evaluations a workload",
            "designs": [dict(design) for design in found.designs],
        }
    )


def main() -> None:
    """Make the spaces that are named, or all."""
    lines = {}
    for line in PATH.read_text("utf-8").splitlines() if PATH.exists() else ():
        known = json.loads(line)
        lines[f"{known['simulator']}/{known['space']}"] = line
    for name in sys.argv[1:] or WORKLOADS:
        lines[name] = line_of(name, WORKLOADS[name])
        PATH.write_text("".join(f"{lines[key]}\n" for key in sorted(lines)), "utf-8")


if __name__ == "__main__":
    main()
