"""Studies of compositions; what was measured is in `codesign.md`.

Usage:
    python -m experiments.codesign flip --picture experiments/pictures/codesign-flip.svg
    python -m experiments.codesign sampling
    python -m experiments.codesign agents accelerator+dram --out runs/agents.jsonl
    python -m experiments.codesign proof cpu+dram
    python -m experiments.codesign prices --picture experiments/pictures/codesign-prices.svg

`flip`: six shapes of ResNet-18 on square arrays with and without their memory, by dataflow.
SCALE-Sim v3 (arXiv:2504.15377) reports that weight-stationary arrays need 21 % fewer cycles than
output-stationary ones alone, and output-stationary ones 30.1 % fewer with the memory.
`sampling`: error of the fidelities on random designs, against runs of every phase.
`agents`: ways to search a composition at equal cost; `--out` keeps what was run and continues.
`proof`: the price of designing apart, against the proven joint optimum. `prices` has those of all
compositions; proofs that `runs` has are not made again.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import archgym as ag
from archgym.agents.genetic import GeneticAgent
from archgym.codesign import compare_strategies
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.simulator import Workload
from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS
from archgym.simulators.accelerator.workloads import Network, load_network
from archgym.simulators.accelerator_plus_dram import AcceleratorDramSimulator
from archgym.tables.proof import prove
from archgym.tasks.task import Task

SHAPES = 6
WHOLE = 2**40


def first_shapes(name: str, n: int) -> Workload:
    """Return the first shapes of a network as a workload, each layer once."""
    network = load_network(name)
    part = Network(f"{name}-first-{n}", network.layers[:n], network.source)
    return Workload(part.name, part.digest, part)


def flip(sides: list[int], picture: Path | None, **options: str) -> None:
    """Print cycles by dataflow with and without memory, and draw them."""
    simulator = AcceleratorDramSimulator(**options)
    simulator.limit = WHOLE
    workload = first_shapes("resnet-18", SHAPES)
    default = dict(simulator.space.design_at(simulator.space.default_indices))
    found: dict[tuple[int, str], tuple[float, float, float]] = {}
    print("array | dataflow | cycles alone [k] | with DRAM [k] | stalls % | GB/s | MB")
    for side in sides:
        for dataflow in DATAFLOWS:
            design: dict[str, Any] = {
                **default,
                "accelerator.array_height": side,
                "accelerator.array_width": side,
                "accelerator.dataflow": dataflow,
            }
            metrics = simulator.evaluate(design, workload)
            alone = metrics["accelerator.latency_cycles"] / 1e3
            together = metrics["latency_us"]
            found[side, dataflow] = alone, together, metrics["stall_percent"]
            print(
                f"{side} x {side} | {dataflow} | {alone:.0f} | {together:.0f} | "
                f"{metrics['stall_percent']:.0f} | {metrics['bandwidth_gb_per_s']:.1f} | "
                f"{metrics['accelerator.dram_bytes'] / 1e6:.0f}",
                flush=True,
            )
        ws, os = found[side, DATAFLOWS[0]], found[side, DATAFLOWS[1]]
        print(
            f"  weight- over output-stationary: alone {100 * (ws[0] / os[0] - 1):+.0f} %, "
            f"with DRAM {100 * (ws[1] / os[1] - 1):+.0f} %; output- over weight-stationary with "
            f"DRAM {100 * (os[1] / ws[1] - 1):+.0f} %"
        )
    if picture is not None:
        draw(found, sides, picture)


def draw(
    found: dict[tuple[int, str], tuple[float, float, float]], sides: list[int], path: Path
) -> None:
    """Draw the latency by dataflow without and with memory, one panel for each."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=False)
    for place, (axis, title) in enumerate(zip(axes, ("array alone", "with DRAM"), strict=True)):
        for number, dataflow in enumerate(DATAFLOWS):
            xs = np.arange(len(sides)) + 0.27 * (number - 1)
            axis.bar(xs, [found[s, dataflow][place] for s in sides], 0.25, label=dataflow)
        axis.set_xticks(range(len(sides)), [f"{side} x {side}" for side in sides])
        axis.set_title(title)
        axis.set_ylabel("latency [us]")
    axes[0].legend(fontsize=8)
    figure.savefig(path)


def sampling(n_designs: int, layers: str) -> None:
    """Print the error of sampled latencies on random designs."""
    options = {"accelerator.layers": layers}
    whole = AcceleratorDramSimulator(**options)
    whole.limit = WHOLE
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, whole.space.sizes, size=(n_designs, whole.space.n_parameters))
    workload = whole.workload("resnet-18")
    began = time.monotonic()
    exact = whole.evaluate_batch(drawn, workload)
    print(f"whole: {time.monotonic() - began:.1f} s")
    for fidelity in whole.spec.fidelity_names:
        began = time.monotonic()
        simulator = AcceleratorDramSimulator(fidelity=fidelity, **options)
        result = simulator.evaluate_batch(drawn, workload)
        seconds = time.monotonic() - began
        built = (exact.reason == 0) & (result.reason == 0)
        pair = exact.values[built, 0], result.values[built, 0]
        off = 100.0 * np.abs(pair[1] / pair[0] - 1.0)
        order = np.corrcoef(*(np.argsort(np.argsort(each)) for each in pair))[0, 1]
        print(
            f"{fidelity}: {built.sum()} designs, latency off by {np.median(off):.1f} % (median), "
            f"{np.quantile(off, 0.9):.1f} % (p90), {off.max():.1f} % (worst); rank correlation "
            f"{order:.4f}; {seconds:.1f} s"
        )


# Outputs, input channels and filters of pointwise layers, small since SCALE-Sim v3 takes long.
CONTROLLERS: dict[str, list[Any]] = {
    "dram.address_mapping": ["RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR"],
    "dram.scheduler": ["FRFCFS", "FRFCFS-RowHit"],
    "dram.row_policy": ["Open", "ClosedCAP"],
    "dram.cap": [1, 2, 4, 8, 16],
}
# Composition: workload, objective, limits, options, free parameters and evaluations of a search. A
# parameter with one value is held there, any other at its default; `cluster.*` are all of a part's.
# The optima are in codesign.md.
SPACES: dict[str, tuple[str, str, str, dict[str, str], dict[str, list[Any]], int]] = {
    "cpu+dram": (
        "hash-join-small",
        "performance",
        "area_mm2 <= 14.7",
        {"cpu.instructions": "8000"},
        {
            "cpu.llc_sets": [512],
            "cpu.llc_ways": [8],
            "cpu.rob": [48, 96, 160, 224, 352, 512],
            "cpu.scheduler": [16, 32, 64, 96, 128, 192],
            "cpu.l1d_sets": [32, 64, 128],
            "cpu.l1d_ways": [2, 4, 8, 12, 16],
            "cpu.l2_sets": [128, 256, 512, 1024, 2048],
            "cpu.l2_ways": [4, 8, 16],
            **CONTROLLERS,
            "dram.read_buffer": [4, 16, 64],
            "dram.write_buffer": [4, 8, 16, 32, 64, 128],
            "dram.wr_low": [0.1, 0.2, 0.3, 0.4, 0.5],
            "dram.wr_high": [0.5, 0.6, 0.8, 0.9],
        },
        120,
    ),
    "kv+dram": (
        "coding",
        "latency",
        "",
        {"kv.sessions": "3", "kv.hardware": "rtx-4090"},
        {
            "kv.block_tokens": [128],
            "kv.dram_gb": [0, 64, 128, 256, 512],
            "kv.policy": ["lru", "priority"],
            "kv.reload": ["layerwise", "blocking"],
            "kv.prefetch": ["off", "on"],
            "kv.token_budget": [1024, 2048, 4096, 8192, 16384],
            "kv.max_seqs": [8, 16, 32, 64, 128, 256],
            "dram.organisation": ["DDR5_16Gb_x4", "DDR5_32Gb_x4"],
            "dram.speed_bin": ["DDR5_6400AN"],
            "dram.ranks": [1, 2],
            "dram.channels": [8],
            "dram.address_mapping": ["RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR"],
            "dram.scheduler": ["FRFCFS", "FRFCFS-RowHit"],
            "dram.read_buffer": [4, 8, 16, 32, 64, 128],
            "dram.write_buffer": [4, 8, 16, 32, 64, 128],
        },
        120,
    ),
    # Memories that are slower than the links, which a cache notices.
    "kv+dram-slow": (
        "coding",
        "latency",
        "",
        {"kv.sessions": "8", "kv.hardware": "rtx-4090"},
        {
            "kv.block_tokens": [64, 128, 256],
            "kv.dram_gb": [0, 64, 128, 256],
            "kv.reload": ["layerwise", "blocking"],
            "kv.token_budget": [2048, 8192, 16384],
            "dram.organisation": ["DDR5_16Gb_x4"],
            "dram.channels": [1, 2, 4],
            "dram.interleave_bits": [0, 1, 2, 4],
            "dram.address_mapping": ["RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR"],
            "dram.row_policy": ["Open", "ClosedCAP"],
        },
        40,
    ),
    "accelerator+cluster": (
        "vgg-16",
        "throughput",
        "",
        {"cluster.space": "table"},
        {
            "accelerator.array_height": [32, 64, 128],
            "accelerator.array_width": [32, 64, 128],
            "accelerator.dataflow": list(DATAFLOWS),
            "accelerator.weight_kib": [64, 128, 256],
            "accelerator.input_kib": [64, 128, 256],
            "accelerator.output_kib": [64, 128, 256],
            "cluster.*": [],
        },
        300,
    ),
    "accelerator+dram": (
        "resnet-18",
        "low-latency",
        "",
        {"accelerator.layers": "2"},
        {
            "accelerator.array_height": [16, 32, 64, 128, 256],
            "accelerator.array_width": [16, 32, 64, 128, 256],
            "accelerator.dataflow": list(DATAFLOWS),
            "accelerator.weight_kib": [16, 32, 64, 128, 256],
            "accelerator.input_kib": [16, 32, 64, 128, 256],
            "accelerator.output_kib": [16, 32, 64, 128, 256],
            "dram.speed_bin": ["DDR4_2400R", "DDR4_3200W", "DDR4_3200AA"],
            "dram.channels": [1, 2, 4, 8],
            "dram.interleave_bits": [0, 1],
            "dram.address_mapping": ["RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR"],
            "dram.row_policy": ["Open", "ClosedCAP"],
        },
        80,
    ),
}


def task_of(name: str) -> tuple[Task, int]:
    """Return the task of a composition, and evaluations of a search."""
    workload, objective, limits, given, free, budget = SPACES[name]
    simulator = name.removesuffix("-slow")
    options: dict[str, Any] = {**given, "subject_to": limits or None}
    whole = Task.make(simulator, workload, objective, **options).space
    whole_parts = tuple(part[:-1] for part in free if part.endswith("*"))
    held = {
        p.name: p.value(p.default_index)
        for p in whole.parameters
        if p.name not in free and not p.name.startswith(whole_parts)
    }
    values = {name: each for name, each in free.items() if not name.endswith("*")}
    return Task.make(simulator, workload, objective, fixed=held, values=values, **options), budget


def proof(name: str, n_seeds: int, out: Path) -> dict[str, Any]:
    """Print and return what designing the parts apart costs against the proven joint optimum.

    The result is kept in `out`, so that a second call with the same task and seeds prints it again.
    """
    task, budget = task_of(name)
    kept = out / "price.json"
    row: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    if (row.get("task_digest"), row.get("seeds")) != (task.digest, n_seeds):
        began = time.process_time()
        found = list(
            compare_strategies(task, out, budget=budget, seeds=range(n_seeds), agent="genetic")
        )
        known = max(found, key=lambda each: each.reward)
        searched_s = time.process_time() - began
        proven = prove(task, task.space.indices_of(known.design), seconds=3600)
        assert proven.indices is not None
        results = task.average(task.evaluate(proven.indices[None, :]).values)[0]
        metric = task.objective.terms[0].metric
        row = {
            **proven.to_json(task),
            "seeds": n_seeds,
            "combinations": task.space.size,
            "best": {metric: float(results[[spec.name for spec in task.metrics].index(metric)])},
            "prices": {
                strategy: [
                    None if each.missed else 100 * math.expm1(proven.reward - each.reward)
                    for each in found
                    if each.strategy == strategy
                ]
                for strategy in dict.fromkeys(each.strategy for each in found)
            },
            "searches_processor_s": round(searched_s, 1),
            "proof_processor_s": round(time.process_time() - began - searched_s, 1),
        }
        kept.write_text(json.dumps(row))
    print(
        f"{name}: {row['combinations']:,} combinations, best {row['best']}, optimal "
        f"{row['optimal']}; {row['bounded']:,} bounds, {row['evaluated']:,} designs simulated, "
        f"{row['proof_processor_s']} s of processor time after {row['searches_processor_s']} s "
        f"of searches; digest {row['digest'][:16]}"
    )
    for strategy, prices in row["prices"].items():
        met = [price for price in prices if price is not None]
        worst = f"{np.mean(met):.1f} % (worst {max(met):.1f})" if met else "-"
        print(f"  {strategy}: {worst}, {len(prices) - len(met)} of {len(prices)} miss a limit")
    return row


def draw_prices(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the price of each strategy by composition: a bar for the mean, a dot for each seed."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(rows), figsize=(11, 3.4), layout="constrained")
    for axis, (name, row) in zip(axes, rows.items(), strict=True):
        for place, prices in enumerate(row["prices"].values()):
            met = [price for price in prices if price is not None]
            axis.bar(place, np.mean(met) if met else 0.0, 0.7, color=f"C{place}", alpha=0.6)
            axis.plot([place] * len(met), met, "o", color=f"C{place}", markersize=4)
        names = [strategy.replace(", then ", " > ") for strategy in row["prices"]]
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
        axis.set_ylim(0.0, max(1.0, axis.get_ylim()[1]))
        axis.set_title(name, fontsize=10)
    axes[0].set_ylabel("worse than optimum [%]")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


class Searched:
    """One search by parts: the joint designs that were evaluated, at most so many."""

    def __init__(self, task: Task, budget: int) -> None:
        """Begin with nothing."""
        self.task, self.budget, self.n = task, budget, 0
        self.best = task.space.default_indices
        self.reward = -np.inf
        self._known: dict[bytes, int] = {}

    def judge(self, designs: np.ndarray) -> Any:
        """Return trials of joint designs; only those that are new count."""
        designs = self.task.space.canonical(designs)
        fresh = {row.tobytes() for row in designs} - self._known.keys()
        self._known |= dict.fromkeys(fresh, 1)
        self.n += len(fresh)
        evaluation = self.task.evaluate(designs)
        top = int(np.argmax(evaluation.reward))
        if evaluation.reward[top] > self.reward:
            self.reward, self.best = float(evaluation.reward[top]), designs[top]
        return self.task.trials(designs, evaluation, np.zeros(len(designs), dtype=bool))

    def together(self, groups: Sequence[Sequence[int]], seed: int, budget: int) -> None:
        """Let one genetic agent for each group of columns search, all with the joint reward."""
        space, end = self.task.space, min(self.budget, self.n + budget)
        agents = [
            GeneticAgent(
                space.restricted(keep=[space.names[c] for c in columns]), seed=seed + 97 * k
            )
            for k, columns in enumerate(groups)
        ]
        while self.n < end:
            asked = [agent.ask() for agent in agents]
            n = min(end - self.n, *(len(each) for each in asked))
            if n == 0:
                return
            designs = np.repeat(self.best[None, :], n, axis=0)
            for columns, each in zip(groups, asked, strict=True):
                designs[:, columns] = each[:n]
            trials = self.judge(designs)
            for agent, each in zip(agents, asked, strict=True):
                agent.tell(replace(trials, indices=each[:n]))


def searched(task: Task, way: str, seed: int, budget: int) -> float:
    """Return the best reward that a way to search finds."""
    if way == "auto":
        found = ag.search(task, agent="auto", budget=budget, seed=seed)
        return float(found.best.reward) if found.best else -25.0
    search, parts = Searched(task, budget), list(task.simulator.spec.groups.values())
    columns = [[task.space.names.index(n) for n in part if n in task.space.names] for part in parts]
    every = [*columns[0], *columns[1]]
    if way == "genetic":
        search.together([sorted(every)], seed, budget)
    elif way == "team":
        search.together(columns, seed, budget)
    elif way == "coordinate-wise":
        search.judge(task.space.default_indices[None, :])
        for turn in range(4):
            search.together([columns[turn % 2]], seed + turn, -(-(budget - search.n) // (4 - turn)))
    else:
        search.judge(task.space.default_indices[None, :])
        order = columns if way == "first part first" else columns[::-1]
        search.together([order[0]], seed, budget // 2)
        search.together([order[1]], seed + 1, budget - search.n)
    return search.reward


WAYS = ("auto", "genetic", "team", "coordinate-wise", "first part first", "second part first")


def agents(name: str, out: Path, n_seeds: int) -> None:
    """Run every way with every seed, and print how much worse than the best each is."""
    task, budget = task_of(name)
    done: dict[tuple[str, int], float] = {}
    if out.exists():
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        done = {(r["way"], r["seed"]): r["reward"] for r in rows if r["task"] == task.digest}
    for seed in range(n_seeds):
        for way in WAYS:
            if (way, seed) in done:
                continue
            done[way, seed] = searched(task, way, seed, budget)
            out.parent.mkdir(parents=True, exist_ok=True)
            row = {"task": task.digest, "way": way, "seed": seed, "reward": done[way, seed]}
            with out.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
    best = max(done.values())
    print(f"{name}: {task.space.size:,} combinations, {budget} evaluations, {n_seeds} seeds")
    print(
        "way | worse than the best [%], mean | 95 % interval | worst | best found | limits missed"
    )
    for way in WAYS:
        rewards = np.array([done[way, seed] for seed in range(n_seeds)])
        prices = 100 * np.expm1(best - rewards[rewards > LIMITED_REWARD])
        if not len(prices):
            print(f"{way} | - | - | - | 0 | {n_seeds}")
            continue
        drawn = np.random.default_rng(0).choice(prices, size=(2000, len(prices))).mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        hits = int((prices < 1e-9).sum())
        spread = f"{prices.mean():.2f} | {low:.2f} to {high:.2f} | {prices.max():.2f}"
        print(f"{way} | {spread} | {hits} | {n_seeds - len(prices)}")


def main() -> None:
    """Run the study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("flip", "sampling", "agents", "proof", "prices"))
    parser.add_argument("composition", nargs="?", choices=tuple(SPACES), default="cpu+dram")
    parser.add_argument("--out", type=Path, default=Path("runs/agents.jsonl"))
    parser.add_argument("--seeds", type=int, help="by default 10 for agents, else 2")
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--device", default="ddr4")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--designs", type=int, default=40)
    parser.add_argument("--layers", default="4")
    given = parser.parse_args()
    if given.study == "flip":
        flip(given.sides, given.picture, **{"dram.device": given.device})
    elif given.study == "agents":
        agents(given.composition, given.out, given.seeds or 10)
    elif given.study in ("proof", "prices"):
        names = list(SPACES) if given.study == "prices" else [given.composition]
        rows = {n: proof(n, given.seeds or 2, Path("runs") / f"proof-{n}") for n in names}
        if given.picture is not None:
            draw_prices(rows, given.picture)
    else:
        sampling(given.designs, given.layers)


if __name__ == "__main__":
    main()
