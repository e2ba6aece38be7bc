"""Writes the table of tasks in experiments/bench-tasks.md from the data of the benchmark.

`python experiments/bench_tasks.py`
"""

import math
import re
from pathlib import Path

from scipy.stats import chi2

from archgym.bench import BenchTask, bench_tasks
from archgym.bench.suite import Hardness

PAGE = Path(__file__).resolve().parents[1] / "experiments" / "bench-tasks.md"
START, END = "<!-- generated -->", "<!-- end -->"
DECADES = (2, 3, 4, 5, 6)
EASY = 1000


def powers(value: float) -> str:
    """Return a count of designs, as a power of ten from a million on."""
    return f"{value:,.0f}" if value < 1e6 else f"10^{math.log10(value):.0f}"


def seconds(value: float) -> str:
    """Return a time with its unit."""
    return f"{1e6 * value:.1f} µs" if value < 1e-3 else f"{1e3 * value:.3g} ms"


def row(bench: BenchTask) -> str:
    """Return the line of a task."""
    size = float(bench.plan.make().space.size)
    hardness, best = bench.hardness, bench.best
    assert hardness is not None
    assert best is not None
    spread = hardness.extrapolation
    if hardness.interval is not None:
        spread = " to ".join(f"{value:,.0f}" for value in hardness.interval)
    cells = [
        f"{bench.label}",
        bench.split,
        powers(size),
        str(hardness),
        spread,
        hardness.origin.removesuffix(" random designs"),
        f"{best.reward:.4f}" + ", proven" * best.is_proven,
        seconds(hardness.seconds),
    ]
    return f"| {' | '.join(cells)} |"


def spread_of(tasks: tuple[BenchTask, ...]) -> list[str]:
    """Return the number of tasks by decade of hardness, as the lower limits have it."""
    found = [task.hardness for task in tasks if task.hardness is not None]
    lines = ["| hardness | tasks | of these lower limits only |", "|---|---|---|"]
    edges = [0.0, *(10.0**d for d in DECADES), math.inf]
    names = ["below 10^2", *(f"10^{d} to 10^{d + 1}" for d in DECADES[:-1]), "10^6 and more"]
    for name, low, high in zip(names, edges[:-1], edges[1:], strict=True):
        here = [h for h in found if low <= h.evaluations < high]
        lines += [f"| {name} | {len(here)} | {sum(h.is_at_least for h in here)} |"]
    beyond = [h for h in found if h.extrapolated is not None and h.extrapolated[0] >= 1e6]
    easy = [task.label for task in tasks if task.hardness and is_easy(task.hardness)]
    return [
        *lines,
        "",
        f"{len(beyond)} tasks are beyond 10^6 by both extrapolations. With 95 % confidence, "
        f"{len(easy)} tasks are below 10^3: {', '.join(easy)}.",
    ]


def is_easy(hardness: Hardness) -> bool:
    """Return True if a task is below 10^3 with 95 % confidence."""
    sampled = re.fullmatch(r"(\d+) of (\d+) random designs", hardness.origin)
    if sampled is None:
        return hardness.evaluations < EASY
    near, n = int(sampled[1]), int(sampled[2])
    return near > 0 and n / (float(chi2.ppf(0.025, 2 * near)) / 2) < EASY


def main() -> None:
    """Write the tables."""
    tasks = bench_tasks()
    heads = ["task", "split", "designs", "hardness", "95 %, or extrapolated", "within 1 %"]
    heads += ["best known", "per evaluation"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *map(row, tasks)]
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    body = "\n".join([*spread_of(tasks), "", *lines])
    PAGE.write_text(f"{before}{START}\n\n{body}\n\n{END}{after}")


if __name__ == "__main__":
    main()
