"""Evaluations until a search is within 1 % of the best known, with and without a warm start.

    python experiments/warm_start.py --out experiments/data/warm-start.csv
    python experiments/warm_start.py --show experiments/data/warm-start.csv

Each case has a task and an earlier task of the same simulator with another workload. Ten seeds of
each agent search the task, cold and warm, two at a time. The study that a seed starts from is a
search of the earlier task with a seed of its own. The first command adds a row for each search to
the file, and continues where an earlier call was stopped. The second command prints the tables of
experiments/warm-start.md.

The best known design is the best of all runs of the case, one long search included. A search that
does not come within 1 % of it counts as longer than its budget (censored). A loss is that of the
objective's metrics in their weighted geometric mean.
"""

import argparse
import csv
import math
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import archgym as ag

LOOKED_AT = (5, 10, 25, 50, 100)
"""Evaluations after which the loss to the best known is stated."""
WITHIN = math.log(1.01)
"""Reward that 1 % of the objective's metrics is worth, in their weighted geometric mean."""
AGENTS = ("genetic", "extra_trees", "auto")
COLUMNS = ("case", "agent", "start", "seed", "evaluations", "improvements")
BUDGET, EARLIER, LONG = 150, 300, 600
"""Evaluations of a search, of the study before, and of the search for the best known design."""
EARLIER_SEED, LONG_SEED = 100, 200


@dataclass(frozen=True)
class Case:
    """A task, and the earlier workload whose study it starts from."""

    simulator: str
    space: str | None
    objective: str
    workload: str
    earlier: str

    @property
    def name(self) -> str:
        """Name in the file and in tables."""
        return f"{self.simulator}, `{self.workload}` after `{self.earlier}`"

    def task(self, workload: str) -> ag.Task:
        """Return the task on a workload."""
        return ag.Task.make(self.simulator, workload, space=self.space, objective=self.objective)

    def earlier_study(self, seed: int, folder: Path) -> Path:
        """Search the earlier workload, and return the folder of the study."""
        seed += EARLIER_SEED
        found = ag.search(
            self.task(self.earlier),
            agent="auto",
            prior=False,
            budget=EARLIER,
            seed=seed,
            folder=folder / f"{self.simulator}-{seed}",
        )
        return found.folder


CASES = (
    Case("translation", "hardware", "speed-per-area", "graph-search", "kmer-count"),
    Case("dram", None, "balanced", "bursty-rw", "mixed-rw"),
)


@dataclass(frozen=True)
class Search:
    """One search of a case."""

    case: Case
    agent: str
    start: str
    """"cold" or "warm"; "long" for the search for the best known design."""
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Columns that identify its row."""
        return self.case.name, self.agent, self.start, self.seed

    def run(self, earlier: Path | None) -> dict[str, object]:
        """Search, from a study where the start is warm, and return the row."""
        with tempfile.TemporaryDirectory() as folder:
            found = ag.search(
                self.case.task(self.case.workload),
                agent=self.agent,
                seed=self.seed,
                budget=LONG if self.start == "long" else BUDGET,
                folder=Path(folder) / "study",
                warm_start=[] if earlier is None else [earlier],
                prior=False,
            )
        curve = found.log.curve()
        better = np.flatnonzero(np.diff(curve, prepend=-np.inf) > 0)
        steps = " ".join(f"{place + 1}:{float(curve[place])!r}" for place in better.tolist())
        return dict(zip(COLUMNS, (*self.key, len(curve), steps), strict=True))


def searches(seeds: int) -> list[Search]:
    """Return all searches, those of a seed together."""
    found = [Search(case, "auto", "long", LONG_SEED) for case in CASES]
    for seed in range(seeds):
        for case in CASES:
            for agent in AGENTS:
                found += [Search(case, agent, start, seed) for start in ("cold", "warm")]
    return found


def measure(out: Path, seeds: int, processes: int) -> None:
    """Add the rows that a file lacks, with a line of progress for each."""
    known = {(row["case"], row["agent"], row["start"], int(row["seed"])) for row in read(out)}
    left = [each for each in searches(seeds) if each.key not in known]
    if not known:
        out.write_text(",".join(COLUMNS) + "\n")
    begun = time.monotonic()
    earlier = dict.fromkeys((each.case, each.seed) for each in left if each.start == "warm")
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool,
    ):
        made = {key: pool.submit(key[0].earlier_study, key[1], Path(name)) for key in earlier}
        for (case, seed), study in made.items():
            study.result()
            passed = time.monotonic() - begun
            print(f"{passed:6.0f} s  {case.earlier}, seed {EARLIER_SEED + seed}", flush=True)
        runs = {
            pool.submit(
                each.run, made[each.case, each.seed].result() if each.start == "warm" else None
            ): each
            for each in left
        }
        for done, run in enumerate(as_completed(runs), 1):
            with out.open("a") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(run.result())
            passed = time.monotonic() - begun
            name = ", ".join(map(str, runs[run].key))
            print(f"{passed:6.0f} s  {done} of {len(left)}: {name}", flush=True)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file, none if there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def curve(row: dict[str, str]) -> np.ndarray:
    """Return the best reward after each evaluation of a row, (evaluations,)."""
    found = np.full(int(row["evaluations"]), -np.inf)
    for step in row["improvements"].split():
        place, reward = step.split(":")
        found[int(place) - 1 :] = float(reward)
    return found


def needed(curves: list[np.ndarray], best: float) -> np.ndarray:
    """Return the evaluations to within 1 % by seed, infinite where a search ends before."""
    return np.array(
        [
            float(np.argmax(c >= best - WITHIN)) + 1 if c[-1] >= best - WITHIN else np.inf
            for c in curves
        ]
    )


def shown(value: float) -> str:
    """Return a number of evaluations, or that it lies above the budget."""
    return f"over {BUDGET}" if math.isinf(value) else f"{value:g}"


def show(path: Path) -> None:
    """Print the tables of a file."""
    rows = read(path)
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        best = max(float(curve(row)[-1]) for row in own)
        print(f"\n{case}:\n")
        print(
            "| agent | start | quarter of the seeds | median | three quarters | censored |", end=""
        )
        print("".join(f" loss after {n} [%] |" for n in LOOKED_AT))
        print("|---|---|" + "---|" * (4 + len(LOOKED_AT)))
        for agent in AGENTS:
            for start in ("cold", "warm"):
                each = [curve(r) for r in own if (r["agent"], r["start"]) == (agent, start)]
                if not each:
                    continue
                counts = needed(each, best)
                # Quartiles are values of seeds, so that a censored one is not averaged.
                quartiles = np.quantile(counts, (0.25, 0.5, 0.75), method="inverted_cdf")
                cells = [shown(value) for value in quartiles.tolist()]
                cells.append(f"{int(np.isinf(counts).sum())} of {len(counts)}")
                for n in LOOKED_AT:
                    behind = float(np.median([best - float(c[n - 1]) for c in each]))
                    cells.append(f"{100 * math.expm1(behind):.1f}")
                print(f"| {agent} | {start} | {' | '.join(cells)} |")


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--out", type=Path, help="Add the missing searches to this file.")
    given.add_argument("--show", type=Path, help="Print the tables of this file.")
    parser.add_argument("--seeds", type=int, default=10, help="Seeds of each agent.")
    parser.add_argument("--processes", type=int, default=2, help="Searches at a time.")
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show)
        return
    measure(arguments.out, arguments.seeds, arguments.processes)
    show(arguments.out)


if __name__ == "__main__":
    main()
