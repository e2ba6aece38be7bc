"""Measures the hardness of tasks of the benchmark, as archgym/bench/data/hardness.jsonl has it.

`python experiments/bench_hardness.py [TASK...] [--seconds S] [--searches AGENT:BUDGET,...]`

Hardness is the mean number of evaluations that random search needs to come within 1 % of the best
known. A space that is small enough is enumerated, and the number is exact. Elsewhere searches look
for the best known, and random designs are drawn for S seconds of processor time. If k of N designs
lie within 1 % of the best known, hardness is N / k, with the exact limits of a Poisson rate. Where
k is below 10, only a lower limit is given: N over the largest rate that k allows with 95 %
confidence, which is N / 3 for k = 0. There the tail of the sample is extrapolated too, to a low and
a high number: an exponential tail promises too many good designs, and a power law that ends at the
best known too few. `--check` compares both with tables, by samples of a fifth of the hardness.

Each line of hardness.jsonl and best.jsonl is replaced when its task is measured again. A better
best known raises the hardness. The file best.jsonl names agent, seed and budget of the search:
`archgym bench run AGENT --task TASK --seeds 1 --budget B --out FOLDER` repeats seed 0.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import chi2

from archgym.bench import BenchTask, bench_task, bench_tasks
from archgym.bench.report import WITHIN
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.studies.snapshot import StudyLog
from archgym.studies.study import Study
from archgym.sweep.results import within_reward
from archgym.tasks.task import Task

DATA = Path(__file__).resolve().parents[1] / "archgym" / "bench" / "data"
# chosen: designs of a batch at first, and after one that took less than this time [s].
_BATCHES = (64, 4096)
_QUICK = 0.05
# chosen: the standard error of the estimate is then below a third of it.
_ENOUGH = 10
# chosen: best designs of the sample that a power law and an exponential tail are fitted to.
_TAIL = 100
_SHORT_TAIL = 30
# chosen: largest space that is enumerated.
_EXACT = 200_000
_LEVEL = 0.05


@dataclass(frozen=True)
class Sample:
    """Random designs, or all."""

    n: int
    top: np.ndarray
    """Largest rewards of designs that meet all limits, falling."""
    count: int
    """Designs within 1 % of the best known."""
    best: float
    design: list[int]
    seconds: float
    """Processor time of an evaluation [s]."""


def batches(task: Task, enumerated: bool) -> Iterator[np.ndarray]:
    """Yield all designs of a space, or random ones without end."""
    if enumerated:
        yield from task.space.enumerate(canonical=True)
        return
    rng = np.random.default_rng(0)
    size = _BATCHES[0]
    while True:
        begun = time.process_time()
        yield task.space.sample(size, rng)
        if time.process_time() - begun < _QUICK:
            size = _BATCHES[1]


def sample(task: Task, log: StudyLog, best: float, enumerated: bool, seconds: float) -> Sample:
    """Return a sample that is counted against the best known, or its own best if that is better."""
    parts: list[np.ndarray] = []
    n, found, design, used = 0, -np.inf, [], 0.0
    begun = time.process_time()
    for designs in batches(task, enumerated):
        before = time.process_time()
        rewards = task.evaluate(designs).reward
        now = time.process_time()
        used += now - before
        n += len(rewards)
        if float(rewards.max(initial=-np.inf)) > found:
            found = float(rewards.max())
            design = designs[int(rewards.argmax())].tolist()
        parts.append(rewards[rewards > LIMITED_REWARD])
        if not enumerated and now - begun > seconds:
            break
    best = max(best, found)
    top = np.sort(np.concatenate(parts))[::-1]
    count = int((top >= within_reward(log, best, WITHIN) - 1e-12).sum())
    return Sample(n, top, count, found, design, used / n)


def searched(
    label: str, task: Task, searches: list[tuple[str, int]]
) -> tuple[StudyLog, float, list[int], str]:
    """Return a study of the task; and the best reward of all searches, its design and search."""
    best, design, origin = -np.inf, [], ""
    with TemporaryDirectory() as folder:
        for agent, budget in searches:
            place = Path(folder) / f"{agent}-{budget}"
            log = Study.create(place, task, agent, seed=0, budget=budget).run().log
            found = log.best()
            if found is not None and found.reward > best:
                best, design = found.reward, task.space.indices_of(found.design).tolist()
                origin = f"{agent}, seed 0, {budget} evaluations"
    return log, best, design, origin


def extrapolated(top: np.ndarray, n: int, best: float, near: float) -> list[float] | None:
    """Return a low and a high hardness, by an exponential tail and by one that ends at the best.

    The exponential tail has no end, so it promises more good designs than there are. The power
    law ends at the best known. With distances d of k rewards to it, and D that of the next, its
    exponent is k / sum(log(D / d)).

    Source:
      Hill, *A Simple General Approach to Inference About the Tail of a Distribution*, Annals of
      Statistics 3(5), 1975; for a finite end, Aban and Meerschaert, 2004.
    """
    top = top[top < near]
    if len(top) <= _SHORT_TAIL:
        return None
    excess = top[:_SHORT_TAIL] - top[_SHORT_TAIL]
    k = min(_TAIL, len(top) - 1)
    distances = best - top[: k + 1]
    sum_of_logs = float(np.log(distances[k] / distances[:k]).sum())
    if float(excess.mean()) <= 0.0 or sum_of_logs <= 0.0:
        return None
    low = (near - float(top[_SHORT_TAIL])) / float(excess.mean())
    high = k / sum_of_logs * math.log(float(distances[k]) / (best - near))
    shares = ((_SHORT_TAIL, low), (k, high))
    # Beyond 1e300 no double holds the number, and no sample supports it.
    return sorted(_digits(n / count * math.exp(min(power, 600.0))) for count, power in shares)


def measure(
    bench: BenchTask, seconds: float, searches: list[tuple[str, int]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the lines of a task in hardness.jsonl and best.jsonl."""
    task = bench.plan.make()
    enumerated = task.space.size <= _EXACT or (bench.best is not None and bench.best.is_proven)
    log, best, design, origin = searched(
        bench.label, task, [("random", 5)] if enumerated else searches
    )
    known = bench.best
    if known is not None and not enumerated and known.reward >= best:
        best, design, origin = known.reward, list(known.indices), known.origin
    found = sample(task, log, best, enumerated, seconds)
    if found.best > best:
        best, design, origin = found.best, found.design, f"best of {found.n} random designs"
    n, k = found.n, found.count
    if enumerated:
        origin = f"table of {n} designs"
    line: dict[str, Any] = {
        "task": bench.label,
        # Mean place of the first of k among n in random order.
        "evaluations": _digits((n + 1) / (k + 1)) if enumerated else None,
        "is_at_least": False,
        "interval": None,
        "extrapolated": None,
        "origin": origin,
        "seconds": _digits(found.seconds),
    }
    if not enumerated:
        line["origin"] = f"{k} of {n} random designs"
        most = float(chi2.ppf(1 - _LEVEL / 2, 2 * (k + 1))) / 2
        if k >= _ENOUGH:
            least = float(chi2.ppf(_LEVEL / 2, 2 * k)) / 2
            line["evaluations"] = _digits(n / k)
            line["interval"] = [_digits(n / most), _digits(n / least)]
        else:
            # Upper limit of a Poisson rate with 95 % confidence; 3 / n where no design is near.
            most = float(chi2.ppf(1 - _LEVEL, 2 * (k + 1))) / 2
            line["evaluations"], line["is_at_least"] = _digits(n / most), True
            # Where the best known is a random design, the tail's end is unknown.
            if not origin.startswith("best of"):
                near = within_reward(log, best, WITHIN)
                line["extrapolated"] = extrapolated(found.top, n, best, near)
    entry = {
        "task": bench.label,
        "reward": best,
        "indices": design,
        "is_proven": enumerated,
        "origin": origin,
    }
    return line, entry


def _digits(value: float) -> float:
    """Return a number with three digits."""
    return float(f"{value:.3g}")


def check(bench: BenchTask) -> None:
    """Print the exact hardness of a table, and estimates from samples of a fifth of it."""
    task = bench.plan.make()
    rewards = np.concatenate([task.evaluate(d).reward for d in batches(task, True)])
    assert bench.best is not None
    with TemporaryDirectory() as folder:
        log = Study.create(Path(folder) / "s", task, "random", seed=0, budget=5).run().log
    near = within_reward(log, bench.best.reward, WITHIN)
    count = int((rewards >= near - 1e-12).sum())
    exact = (len(rewards) + 1) / (count + 1)
    n = int(exact / 5)
    found = []
    for seed in range(20):
        drawn = np.random.default_rng(seed).choice(rewards, n)
        top = np.sort(drawn[(drawn > LIMITED_REWARD) & (drawn < near)])[::-1]
        found.append(extrapolated(top, n, bench.best.reward, near))
    given = [f for f in found if f is not None]
    inside = sum(low <= exact <= high for low, high in given)
    lows, highs = (np.median([f[place] for f in given]) if given else np.nan for place in (0, 1))
    print(
        f"| {bench.label} | {exact:,.0f} | {n:,} | {lows:,.0f} | {highs:,.0f} "
        f"| {inside} of {len(given)} |",
        flush=True,
    )


def replace(path: Path, line: dict[str, Any]) -> None:
    """Put a line in the place of that of the same task, in the order of the tasks."""
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    by_task = {each["task"]: each for each in lines} | {line["task"]: line}
    order = [task.label for task in bench_tasks()]
    kept = [json.dumps(by_task[label]) for label in order if label in by_task]
    path.write_text("".join(f"{text}\n" for text in kept))


def main() -> None:
    """Measure the tasks that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Hardness of tasks of the benchmark.")
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time of sampling")
    parser.add_argument("--searches", default="genetic:1000", help="agents and their evaluations")
    parser.add_argument("--check", action="store_true", help="compare estimates with tables")
    given = parser.parse_args()
    tasks = [bench_task(label) for label in given.tasks] or list(bench_tasks())
    if given.check:
        for task in tasks:
            is_proven = task.best is not None and task.best.is_proven
            if is_proven and task.plan.simulator != "cpu":  # its designs take 18 ms each
                check(task)
        return
    searches = [
        (agent, int(budget))
        for agent, _, budget in (part.partition(":") for part in given.searches.split(","))
    ]
    for task in tasks:
        begun = time.process_time()
        line, best = measure(task, given.seconds, searches)
        replace(DATA / "hardness.jsonl", line)
        replace(DATA / "best.jsonl", best)
        print(json.dumps(line), best["reward"], best["origin"], flush=True)
        print(f"{task.label}: {time.process_time() - begun:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
