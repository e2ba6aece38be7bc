"""Teams, a single policy and simpler methods on the widest space: systems on a chip.

    python experiments/learned_systems.py tune
    python experiments/learned_systems.py run experiments/data/learned-systems.csv
    python experiments/learned_systems.py page experiments/data/learned-systems.csv

The space has the processors, accelerators, memories and buses of the SoC simulator's space
`default` for a graph of twelve tasks. A workload is that graph with its own work, data, and speed,
energy and area of accelerators, drawn at random. Policies learn from 64 workloads; 20 others are
unseen. Agents of a team own buses, memories or units, the simulator's sub-systems.

Methods that know earlier studies have one of `genetic` with 400 evaluations for each training
workload. The best known of an unseen workload is the best of all runs and of one search by
`genetic` with 2,000 evaluations.
"""

import argparse
import csv
import hashlib
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import numpy as np
from learned_policies import COLUMNS, METHODS, Measured, gap_table, verdicts
from learned_policies import read as read_rows
from learned_team import Team, TeamSettings, trained_team
from soc_graphs import generate_graph

from archgym.analysis.random_search import random_curve
from archgym.errors import unknown_name
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.task import Task
from archgym.simulators.soc.kernel.graph import Accelerator, Edge, TaskGraph
from archgym.simulators.soc.kernel.graph import Task as GraphTask
from archgym.simulators.soc.metrics import measure, metrics
from archgym.simulators.soc.simulator import FIDELITIES, run
from archgym.simulators.soc.space import soc_space
from archgym.studies.portfolio import chosen_designs
from archgym.studies.snapshot import StudyLog, read_study
from archgym.studies.study import Study

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "experiments" / "learned-policies.md"
TASKS, TRAIN, TEST, TUNED = 12, 64, 20, 12
"""Tasks of the graph, training and unseen workloads, and others to choose settings with."""
BUDGET, FLOOR, SEEDS = 20, -2.0, 3
EARLIER, LONG = 400, 2000
"""Evaluations of an earlier study, and of the search for the best known design."""
TOTAL = 60_000
"""Designs that a policy learns from."""
SPLIT = "systems"
REACHED = "reached"
"""Rows with the best reward that the long search reached."""
POLICY_KINDS = {"policy": False, "team": False, "team-central": True}
"""Policies, and True for those with central critics."""
# chosen: by `tune` with the single policy, on workloads that are neither trained on nor tested.
ENTROPY = 0.01
_SEED = 2026
# The ranges of the SoC simulator's generator: cycles, speed-up, saving, area, bytes.
_CYCLES, _SPEEDUP, _SAVING = (1e5, 2e7), (4.0, 63.0), (10.0, 100.0)
_AREA_UM2, _EDGE_BYTES = (500.0, 2e5), (4096.0, 524288.0)


@cache
def base() -> TaskGraph:
    """Return the graph that all workloads share."""
    return generate_graph(TASKS, width=3, seed=_SEED)


def _drawn(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))


@cache
def graph_of(number: int) -> TaskGraph:
    """Return the graph of a workload."""
    rng = np.random.default_rng((_SEED, number))
    tasks: list[GraphTask] = []
    for task in base().tasks:
        if task.accelerator is None:
            tasks.append(task)
            continue
        cycles = float(round(_drawn(rng, _CYCLES)))
        its = task.accelerator
        ip = Accelerator(
            cycles=float(max(1, round(cycles / _drawn(rng, _SPEEDUP) / 10))),
            # Energy for the same work, in the mean of the base graph's accelerators.
            energy_fj=its.energy_fj / task.cpu_cycles * cycles * _drawn(rng, _SAVING) / 30.0,
            area_um2=_drawn(rng, _AREA_UM2),
            # Iterations decide which unroll factors the space has.
            iterations=its.iterations,
        )
        tasks.append(GraphTask(task.name, cycles, ip))
    edges = tuple(
        Edge(edge.parent, edge.child, float(2 * round(_drawn(rng, _EDGE_BYTES) / 2) + 1))
        for edge in base().edges
    )
    return replace(base(), tasks=tuple(tasks), edges=edges, doc=f"Workload {number}.")


def features(numbers: list[int]) -> np.ndarray:
    """Return logarithms of what distinguishes workloads, (n_workloads, n_features)."""
    rows = []
    for number in numbers:
        graph = graph_of(number)
        row = [edge.bytes for edge in graph.edges]
        for task in graph.tasks:
            if task.accelerator is not None:
                ip = task.accelerator
                row += [task.cpu_cycles, ip.cycles, ip.energy_fj, ip.area_um2]
        rows.append(np.log(row))
    return np.array(rows)


@final
class Systems(Simulator):
    """The SoC simulator on one space, for workloads that share a graph's tasks and edges."""

    name = "systems"
    version = 0
    default_objective = "balanced"
    default_workload = "0"

    def __init__(self) -> None:
        """Make the space of the base graph."""
        made = soc_space("default", base())
        self._decode = made.decode
        self.space, self.groups = made.space, made.groups
        self.metrics = metrics(base())
        terms = tuple(Term(name, "minimise") for name in ("latency_s", "power_w", "area_mm2"))
        self.objectives = {"balanced": Objective("balanced", terms)}

    def workload_names(self) -> tuple[str, ...]:
        """Return the numbers of workloads."""
        return tuple(str(number) for number in range(TRAIN + TEST + TUNED))

    def workload(self, name: str | Path) -> Workload:
        """Return a workload by number.

        Raises:
          UnknownNameError: There is no such workload.
        """
        if str(name) not in self.workload_names():
            raise unknown_name("workload", str(name), self.workload_names())
        graph = graph_of(int(str(name)))
        digest = hashlib.sha256(repr((graph.tasks, graph.edges)).encode()).hexdigest()
        return Workload(str(name), digest, graph)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs."""
        designs, reason = self._decode(indices)
        outputs = run(workload.content, designs, FIDELITIES["default"])
        return BatchResult(measure(workload.content, outputs), reason)


class Bench:
    """Training workloads with their studies, and workloads to propose designs for."""

    def __init__(self, folder: Path, test: list[int]) -> None:
        """Take a folder for studies, and the numbers of unseen workloads."""
        self._folder = folder
        self.train, self.test = list(range(TRAIN)), test
        simulator = Systems()
        self.space, self.subsystems = simulator.space, simulator.groups
        self.tasks = {n: Task.make(simulator, str(n)) for n in [*self.train, *test]}
        known = features(self.train)
        self._centre, self._spread = known.mean(axis=0), known.std(axis=0)
        self.features = {n: self._scaled(n) for n in self.tasks}

    def _scaled(self, number: int) -> np.ndarray:
        scaled = (features([number])[0] - self._centre) / self._spread
        return np.asarray(np.clip(scaled, -5.0, 5.0))

    def search(
        self, number: int, agent: str, seed: int, budget: int, earlier: list[Path] | None = None
    ) -> StudyLog:
        """Return a search of a workload."""
        folder = self._folder / f"{agent}-{number}-{seed}-{budget}-{len(earlier or ())}"
        if not folder.exists():
            Study.create(
                folder,
                self.tasks[number],
                agent,
                seed=seed,
                budget=budget,
                start=earlier or (),
                warm_start=earlier or (),
            ).run()
        return read_study(folder)

    def earlier(self, number: int) -> StudyLog:
        """Return the earlier study of a training workload."""
        return self.search(number, "genetic", 900, EARLIER)

    def candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the best design of each training workload's study, and all their rewards."""
        best = [log.records.indices[log.top_rows(1)[0]] for log in map(self.earlier, self.train)]
        designs = np.array(best)
        rewards = np.array([self.tasks[n].evaluate(designs).reward for n in self.train])
        return designs, np.maximum(rewards, FLOOR)

    def order(self, number: int) -> np.ndarray:
        """Return the places of training workloads, the most similar first."""
        known = np.array([self.features[n] for n in self.train])
        return np.argsort(np.linalg.norm(known - self.features[number], axis=1), kind="stable")

    def rewards(self, places: np.ndarray, designs: np.ndarray) -> np.ndarray:
        """Return rewards of designs on training workloads, (n,)."""
        found = np.empty(len(places))
        for place in np.unique(places).tolist():
            rows = places == place
            found[rows] = self.tasks[self.train[place]].evaluate(designs[rows]).reward
        return np.asarray(np.maximum(found, FLOOR))

    def trained(self, method: str, seed: int, total: int, entropy: float) -> Team:
        """Return a team, or the single policy as a team of one agent."""
        names = self.space.names
        groups = [[names.index(name) for name in each] for each in self.subsystems.values()]
        if method == "policy":
            groups = [list(range(len(names)))]
        settings = TeamSettings(entropy=entropy, total=total, is_central=POLICY_KINDS[method])
        known = np.array([self.features[n] for n in self.train])
        return trained_team(known, self.space.sizes, groups, self.rewards, seed, settings)

    def proposed(self, team: Team, number: int, seed: int) -> np.ndarray:
        """Return the most probable design, then designs that the policy draws, each once."""
        logs = team.parameter_logs(self.features[number])
        rng = np.random.default_rng((seed, number))
        drawn = [[int(log.argmax()) for log in logs]]
        for _ in range(10 * BUDGET):
            drawn.append([int(rng.choice(len(log), p=_shares(log))) for log in logs])
        designs = self.space.canonical(np.array(drawn))
        _, first = np.unique(designs, axis=0, return_index=True)
        return np.asarray(designs[np.sort(first)][:BUDGET])

    def curve(self, number: int, designs: np.ndarray) -> np.ndarray:
        """Return the best reward after each design, (BUDGET,)."""
        rewards = self.tasks[number].evaluate(designs).reward
        best = np.maximum.accumulate(rewards)
        return np.concatenate([best, np.full(BUDGET - len(best), best[-1])])

    def curves(self, method: str, seed: int) -> dict[int, np.ndarray]:
        """Return best rewards by unseen workload."""
        if method in POLICY_KINDS:
            team = self.trained(method, seed, TOTAL, ENTROPY)
            return {n: self.curve(n, self.proposed(team, n, seed)) for n in self.test}
        if method == "auto":
            return {n: self.search(n, "auto", seed, BUDGET).curve() for n in self.test}
        if method == "auto-warm":
            return {n: self._warm(n, seed) for n in self.test}
        if method == "random":
            found = {}
            for n in self.test:
                designs = self.space.sample(1000, np.random.default_rng((seed, n)))
                rewards = self.tasks[n].evaluate(designs).reward
                found[n] = random_curve(rewards, list(range(1, BUDGET + 1))).expected
            return found
        designs, rewards = self.candidates()
        by_mean = np.argsort(-rewards.mean(axis=0), kind="stable")
        if method == "nearest":
            return {n: self.curve(n, designs[self.order(n)[:BUDGET]]) for n in self.test}
        rows = by_mean[:BUDGET] if method == "mean" else chosen_designs(rewards, BUDGET)
        return {n: self.curve(n, designs[rows]) for n in self.test}

    def _warm(self, number: int, seed: int) -> np.ndarray:
        sources = [self.train[place] for place in self.order(number)[:2].tolist()]
        folders = [self.earlier(source).folder for source in sources]
        return self.search(number, "auto", seed, BUDGET, folders).curve()


def _shares(logs: np.ndarray) -> np.ndarray:
    shares = np.exp(logs.astype(np.float64))
    return np.asarray(shares / shares.sum())


def tune(total: int) -> None:
    """Print mean rewards of weights of entropy, on workloads that are not tested."""
    with TemporaryDirectory() as name:
        bench = Bench(Path(name), list(range(TRAIN + TEST, TRAIN + TEST + TUNED)))
        for method in ("policy", "team"):
            for entropy in (0.03, 0.01, 0.003):
                begun = time.process_time()
                team = bench.trained(method, 0, total, entropy)
                curves = [bench.curve(n, bench.proposed(team, n, 0)) for n in bench.test]
                mean = np.mean(curves, axis=0)
                print(
                    f"{time.process_time() - begun:.0f} s  {method} {entropy}: "
                    + "  ".join(f"{n}: {mean[n - 1]:.4f}" for n in (1, 5, 20)),
                    flush=True,
                )


def measured(path: Path, methods: list[str]) -> None:
    """Append the rows that the file lacks: best rewards, from which `page` takes gaps."""
    done = {(row["method"], row["seed"]) for row in read_rows(path)}
    test = list(range(TRAIN, TRAIN + TEST))
    several = {*POLICY_KINDS, "auto", "auto-warm"}
    with TemporaryDirectory() as name:
        bench = Bench(Path(name), test)
        if (REACHED, "0") not in done:
            best = {n: bench.search(n, "genetic", 1, LONG).curve()[-1:] for n in test}
            _append(path, REACHED, 0, best)
        for seed in range(SEEDS):
            for method in methods:
                if (method, str(seed)) in done or (seed and method not in several):
                    continue
                begun = time.process_time()
                _append(path, method, seed, bench.curves(method, seed))
                print(f"{time.process_time() - begun:.0f} s  {method} {seed}", flush=True)


def _append(path: Path, method: str, seed: int, curves: dict[int, np.ndarray]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        for number, curve in curves.items():
            rewards = " ".join(f"{reward:.6g}" for reward in curve)
            writer.writerow((SPLIT, method, seed, number, rewards))


def page(path: Path) -> None:
    """Write the tables into the page."""
    rows = read_rows(path)
    best: dict[str, float] = {}
    for row in rows:
        reached = max(map(float, row["gaps"].split()))
        best[row["workload"]] = max(best.get(row["workload"], reached), reached)
    for row in rows:
        rewards = np.array([float(reward) for reward in row["gaps"].split()])
        gaps = 100 * np.expm1(best[row["workload"]] - rewards)
        row["gaps"] = " ".join(map(str, gaps.tolist()))
    names = tuple(str(number) for number in range(TRAIN, TRAIN + TEST))
    found = Measured.of([row for row in rows if row["method"] != REACHED], SPLIT, names)
    text = PAGE.read_text()
    for name, table in (("gaps", gap_table(found)), ("verdicts", verdicts(found))):
        start, end = f"<!-- {SPLIT} {name}: begin -->", f"<!-- {SPLIT} {name}: end -->"
        before, is_there, rest = text.partition(start)
        if is_there:
            text = f"{before}{start}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)


def main() -> None:
    """Tune, measure, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("tune").add_argument("--total", type=int, default=TOTAL)
    for verb in ("run", "page"):
        verbs.add_parser(verb).add_argument("file", type=Path, help="File of the results.")
    methods = [method for method in METHODS if method not in ("continuing", "proxy", "matching")]
    verbs.choices["run"].add_argument("--methods", default=",".join(methods))
    given = parser.parse_args()
    if given.verb == "tune":
        tune(given.total)
    elif given.verb == "run":
        measured(given.file, given.methods.split(","))
    else:
        page(given.file)


if __name__ == "__main__":
    main()
