"""Effects of corrections of the SoC simulator, and evaluations to the budgets.

python experiments/soc.py corrections
python experiments/soc.py budgets --seeds 10 --limit 1000 --out experiments/data/soc-budgets.json
python experiments/soc.py table --out experiments/data/soc-budgets.json
python experiments/soc.py picture --out experiments/data/soc-budgets.json
"""

import argparse
import contextlib
import json
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archgym.agent.agent import Agent, agent_class, make_agent
from archgym.errors import BudgetExhausted
from archgym.evaluation.trials import Trials
from archgym.simulators.soc import SocSimulator
from archgym.simulators.soc.kernel.state import Rules
from archgym.simulators.soc.metrics import COLUMNS, is_met
from archgym.simulators.soc.simulator import FIDELITIES, run
from archgym.simulators.soc.workloads import SHIPPED
from archgym.tasks.task import Task

AGENTS = (
    "bottleneck", "genetic", "hill_climbing", "simulated_annealing", "extra_trees", "few",
    "random",
)  # fmt: skip
# Evaluations of FARSI's own explorer, as recorded; none for `ar-complex` and `random-20`.
EXPLORER = {
    "cava": (70,),
    "audio-decoder": (57, 24),
    "edge-detection": (73,),
    "radar": (34,),
    "vio": (22,),
    "random-12": (10,),
}
SEEDS = 10
# FARSI counts a value within 0.1 % of its budget as met.
SLACK = 0.001
CORRECTIONS = {
    "finish at 99 % of the work": {"exact_finish": True},
    "new tasks overtake waiting ones": {"fifo": True},
    "buffers that are never freed": {"exact_freeing": True},
    "shifted windows of power": {"exact_power": True},
    "all four": FIDELITIES["default"]._asdict(),
}


def _drawn(simulator: SocSimulator, n: int, seed: int) -> np.ndarray:
    """Return random index vectors; of distinct systems nearly all have accelerators alone."""
    sizes = simulator.space.sizes
    return np.random.default_rng(seed).integers(sizes, size=(n, len(sizes)), dtype=np.int64)


def corrections(n: int = 1000) -> None:
    """Print what each correction of FARSI's deviations changes, over random designs."""
    metrics = ("latency_s", "energy_j", "power_w", "area_mm2")
    print("| corrected | designs changed | " + " | ".join(metrics) + " |")
    print("|---|---:|" + "---|" * len(metrics))
    base = {name: _values(name, Rules(), n) for name in SHIPPED}
    for label, changes in CORRECTIONS.items():
        ratios = []
        for name in SHIPPED:
            found = _values(name, Rules()._replace(**changes), n)
            ratios.append(found / base[name] - 1.0)
        ratio = np.concatenate(ratios)
        changed = (np.abs(ratio) > 1e-12).any(axis=1).mean()
        cells = []
        for column in range(len(metrics)):
            values = ratio[:, column]
            worst = values[np.argmax(np.abs(values))]
            cells.append(f"{100 * np.abs(values).mean():.3f} % (worst {100 * worst:+.1f} %)")
        print(f"| {label} | {100 * changed:.1f} % | " + " | ".join(cells) + " |")


def _values(name: str, rules: Rules, n: int) -> np.ndarray:
    from archgym.simulators.soc.metrics import measure

    simulator = SocSimulator(graph=name)
    indices = simulator.space.canonical(_drawn(simulator, n, 1))
    designs, _ = simulator._space.machine_of(indices)
    values = measure(simulator.graph, run(simulator.graph, designs, rules))
    wanted = ("latency_s", "energy_j", "power_w", "area_mm2")
    return values[:, [COLUMNS.index(metric) for metric in wanted]]


def evaluations_to_budgets(
    name: str, tight: bool, agent: str, seed: int, limit: int, fidelity: str = "farsi"
) -> int | None:
    """Return the evaluations until the budgets are met; None where `limit` does not suffice."""
    simulator = SocSimulator(fidelity=fidelity, graph=name)
    task = Task.make(simulator, objective="tight-budget" if tight else "farsi-budget")
    graph = simulator.graph
    budgets = graph.tight_budgets if tight else graph.budgets
    kind: type[Agent] = agent_class(agent)
    seen: set[bytes] = set()
    met_at: list[int] = []

    def evaluate(indices: np.ndarray) -> Trials:
        indices = np.asarray(indices)
        canonical = task.space.canonical(indices)
        found = task.evaluate(canonical)
        met = is_met(found.values[:, 0], graph, budgets, SLACK)
        repeated = np.zeros(len(indices), dtype=bool)
        for row, design in enumerate(canonical):
            key = design.tobytes()
            repeated[row] = key in seen
            seen.add(key)
            if met[row] and not met_at:
                met_at.append(len(seen))
        if met_at or len(seen) >= limit:
            raise BudgetExhausted("done")
        return task.trials(indices, found, repeated)

    with contextlib.suppress(BudgetExhausted):
        make_agent(kind, task.space, seed, {}).search(evaluate, task)
    return met_at[0] if met_at and met_at[0] <= limit else None


def budgets(
    names: Sequence[str], agents: Sequence[str], seeds: int, limit: int, out: Path | None
) -> None:
    """Print evaluations to the budgets: least, median, most, and runs that met them."""
    found: dict[str, dict[str, dict[str, Any]]] = {"limits": {}, "runs": {}}
    if out is not None and out.exists():
        found = json.loads(out.read_text())
    for tight in (False, True):
        for name in names:
            key = f"{name}{' tight' if tight else ''}"
            for agent in agents:
                if agent in found["runs"].get(key, {}):
                    continue
                started = time.perf_counter()
                results = [
                    evaluations_to_budgets(name, tight, agent, seed, limit) for seed in range(seeds)
                ]
                found["runs"].setdefault(key, {})[agent] = results
                found["limits"].setdefault(key, {})[agent] = limit
                took = time.perf_counter() - started
                print(f"| {key} | {agent} | {_summary(results)} | {took:.0f} s |", flush=True)
                if out is not None:
                    # A list of seeds to a line.
                    text = re.sub(r"\s+(?=[\dn\]])", " ", json.dumps(found, indent=1))
                    out.write_text(text + "\n")


def table(found: Path) -> None:
    """Print the tables of soc-budgets.md: median and range, or how many runs met the budgets."""
    data = json.loads(found.read_text())
    agents = [agent for agent in AGENTS if any(agent in runs for runs in data["runs"].values())]
    for tight in (False, True):
        print("| graph | " + " | ".join(agents) + " |\n" + "|---" * (len(agents) + 1) + "|")
        for name in SHIPPED:
            key = f"{name}{' tight' if tight else ''}"
            runs, limits = data["runs"][key], data["limits"][key]
            cells = [_cell(runs[a], limits[a]) if a in runs else "not run" for a in agents]
            print(f"| {name} | " + " | ".join(cells) + " |")
        print()


def _cell(results: Sequence[int | None], limit: int) -> str:
    met = sorted(n for n in results if n is not None)
    if not met:
        return f"0 of {len(results)} runs in {limit}"
    span = f"({met[0]}–{met[-1]})"
    if len(met) < len(results):
        return f"{len(met)} of {len(results)} runs {span} in {limit}"
    return f"{statistics.median(met):g} {span}"


def picture(found: Path, path: Path) -> None:
    """Draw evaluations to FARSI's budgets: each run, the median, and FARSI's explorer."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    data = json.loads(found.read_text())["runs"]
    names = [name for name in data if not name.endswith("tight")]
    figure = Figure(figsize=(10.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, agent in enumerate(AGENTS):
        for column, name in enumerate(names):
            runs = [n for n in data[name].get(agent, []) if n is not None]
            at = column + 0.12 * (place - len(AGENTS) / 2)
            label = agent if column == 0 else None
            axes.plot([at] * len(runs), runs, ".", color=f"C{place}", label=label, markersize=4)
            if len(runs) > SEEDS / 2:
                axes.plot([at], [statistics.median(runs)], "_", color="black", markersize=7)
    for column, name in enumerate(names):
        for n in EXPLORER.get(name, ()):
            label = "FARSI's explorer" if (column, n) == (0, EXPLORER[name][0]) else None
            axes.plot([column - 0.45, column + 0.45], [n, n], color="black", label=label)
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("evaluations to FARSI's budgets")
    axes.legend(ncols=4, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0))
    with mpl.rc_context({"svg.hashsalt": "archgym"}):
        figure.savefig(path, metadata={"Date": None})


def _summary(results: Sequence[int | None]) -> str:
    met = sorted(n for n in results if n is not None)
    if not met:
        return f"not met in {len(results)} runs"
    text = f"{met[0]} to {met[-1]}, median {statistics.median(met):g}"
    return text if len(met) == len(results) else f"{text}; {len(met)} of {len(results)} runs"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=("corrections", "budgets", "table", "picture"))
    parser.add_argument("--workloads", default=",".join(SHIPPED), help="Task graphs.")
    parser.add_argument("--agents", default=",".join(AGENTS), help="Agents of `budgets`.")
    parser.add_argument("--seeds", type=int, default=10, help="Seeds of `budgets`.")
    parser.add_argument("--limit", type=int, default=4000, help="Evaluations of each run.")
    parser.add_argument("--out", type=Path, help="JSON file of `budgets`, which it continues.")
    options = parser.parse_args()
    if options.figure in ("table", "picture") and options.out is None:
        parser.error(f"`{options.figure}` needs --out FILE, the file that `budgets` wrote")
    if options.figure == "corrections":
        corrections()
    elif options.figure == "table":
        table(options.out)
    elif options.figure == "picture":
        picture(options.out, Path("experiments/pictures/soc-budgets.svg"))
    else:
        budgets(
            options.workloads.split(","),
            options.agents.split(","),
            options.seeds,
            options.limit,
            options.out,
        )
