"""Writes data/bench-peers.csv, the verdict tables of bench-peers.md, and the picture.

`python experiments/peers/verdict.py runs.jsonl...`, or without files from data/bench-peers.csv.
Runs in the files replace rows of the same task, method and seed, and are added to the others.
With `--gaps` it only prints how far `auto` is behind the best method, by task and budget.

A row of the data is one run: task, method, seed, evaluations, milliseconds of the method per
evaluation, and the best reward at each budget. Regret is the best reward that any run of the task
or the suite knows, minus that of a run. Rewards of designs that miss a limit are about -20 and less
by the order of limits, so methods are compared by rank: on each task all pairs of runs of two
methods are compared, and a permutation test over tasks and seeds tells if one wins more often.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Collection
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from methods import METHODS

from archgym.analysis.statistics import improvement_p_value, stratified_bootstrap
from archgym.bench import bench_task

EXPERIMENTS = Path(__file__).resolve().parents[1]
DATA = EXPERIMENTS / "data" / "bench-peers.csv"
PAGE = EXPERIMENTS / "bench-peers.md"
PICTURE = EXPERIMENTS / "pictures" / "bench-peers.png"
BUDGETS = (10, 25, 50, 100, 200, 1000)
SHOWN = (100,)
START, END = "<!-- generated -->", "<!-- end -->"
# Agents of this library in the picture; the tables have all.
SHOWN_AGENTS = ("auto", "genetic", "random")
# chosen: the usual level of tests.
LEVEL = 0.05
# Okabe and Ito, Color Universal Design, 2008; the last are of Paul Tol's muted scheme.
COLOURS = (
    "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#AA4499",
    "#999933", "#882255", "#332288", "#44AA99", "#661100", "#6699CC",
)  # fmt: skip
# Bars of `auto`: budgets, share of the score range behind a single agent, own time at a budget.
BAR_BUDGETS = (25, 50, 100, 200, 1000)
BAR_SHARE = 0.02
BAR_MS, BAR_MS_BUDGET = 20.0, 200

Rewards = dict[str, dict[str, dict[int, list[float]]]]
"""Best reward by task, method and seed, at each of `BUDGETS`; NaN beyond a run's budget."""


def collect(paths: list[Path]) -> None:
    """Write the data from files of `run.py` and the rows that are known."""
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    if DATA.exists():
        with DATA.open() as handle:
            for row in csv.DictReader(handle):
                key = (row["task"], row["method"], int(row["seed"]))
                rows[key] = {**{f"at_{b}": "" for b in BUDGETS}, **row}
    for path in paths:
        for line in path.read_text().splitlines():
            run = json.loads(line)
            at = {}
            for budget in BUDGETS:
                best = [reward for count, reward in run["steps"] if count <= budget]
                at[f"at_{budget}"] = repr(best[-1]) if budget <= run["budget"] and best else ""
            key = (run["task"], run["method"], run["seed"])
            if int(rows.get(key, {}).get("evaluations", 0)) > run["evaluations"]:
                continue
            rows[key] = {
                "task": run["task"],
                "method": run["method"],
                "seed": run["seed"],
                "evaluations": run["evaluations"],
                "own_ms": run["own_ms"],
                **at,
                "design": " ".join(map(str, run["design"])),
            }
    DATA.parent.mkdir(exist_ok=True)
    with DATA.open("w", newline="") as handle:
        columns = ["task", "method", "seed", "evaluations", "own_ms"]
        columns += [*(f"at_{b}" for b in BUDGETS), "design"]
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


Own = dict[str, dict[int, list[float]]]
"""Milliseconds of the method itself for each evaluation, by method and evaluations of the run."""


def read() -> tuple[Rewards, Own]:
    """Return rewards, and own milliseconds by method."""
    rewards: Rewards = defaultdict(lambda: defaultdict(dict))
    own: Own = defaultdict(lambda: defaultdict(list))
    with DATA.open() as handle:
        for row in csv.DictReader(handle):
            values = [float(row[f"at_{b}"] or "nan") for b in BUDGETS]
            rewards[row["task"]][row["method"]][int(row["seed"])] = values
            own[row["method"]][int(row["evaluations"])].append(float(row["own_ms"]))
    return rewards, own


def at(rewards: Rewards, task: str, method: str, budget: int) -> np.ndarray:
    """Return best rewards of all seeds of a method on a task, without missing ones."""
    place = BUDGETS.index(budget)
    found = np.array([v[place] for v in rewards[task].get(method, {}).values()])
    return found[~np.isnan(found)] if len(found) else found


def mean_ranks(rewards: Rewards, budget: int) -> dict[str, tuple[float, int]]:
    """Return the mean rank of each method's mean over tasks, 1 is best, and the number of tasks.

    Ranks count the methods that ran on the task at this budget, scaled to the largest number.
    """
    from scipy.stats import rankdata

    found = defaultdict(list)
    for task in rewards:
        methods = [m for m in rewards[task] if len(at(rewards, task, m, budget))]
        medians = [-float(np.median(at(rewards, task, m, budget))) for m in methods]
        for method, rank in zip(methods, rankdata(medians), strict=True):
            found[method].append(float(rank))
    return {method: (float(np.mean(ranks)), len(ranks)) for method, ranks in found.items()}


def pair_test(rewards: Rewards, one: str, other: str, budget: int) -> tuple[float, int]:
    """Return the p-value of a permutation test of two methods, and the number of shared tasks."""
    pairs = [(at(rewards, task, one, budget), at(rewards, task, other, budget)) for task in rewards]
    pairs = [(a, b) for a, b in pairs if len(a) and len(b)]
    if not pairs:
        return float("nan"), 0
    return improvement_p_value([a for a, _ in pairs], [b for _, b in pairs]), len(pairs)


def page(rewards: Rewards, own: Own) -> str:
    """Return the generated part of the page."""
    methods = sorted({m for task in rewards.values() for m in task})
    lines: list[str] = []
    ranks = {b: mean_ranks(rewards, b) for b in BUDGETS}
    order = sorted(methods, key=lambda m: ranks[25].get(m, (99.0, 0))[0])
    lines += ["| method | " + " | ".join(f"rank at {b}" for b in BUDGETS) + " | tasks | ms |"]
    lines += ["|---" * (len(BUDGETS) + 3) + "|"]
    for method in order:
        cells = [f"{ranks[b][method][0]:.1f}" if method in ranks[b] else "" for b in BUDGETS]
        n = ranks[25].get(method, (0.0, 0))[1]
        times = "; ".join(
            f"{np.median(own[method][count]):.1f} ({count})"
            for count in BUDGETS
            if own[method][count]
        )
        lines += [f"| `{method}` | {' | '.join(cells)} | {n} | {times} |"]
    lines += ["", *bars(rewards, own)]
    for budget in SHOWN:
        lines += [
            f"At {budget} evaluations, best reward: median over seeds [lowest, highest] (seeds).",
            "",
        ]
        ran = [m for m in order if any(len(at(rewards, task, m, budget)) for task in rewards)]
        lines += [
            "| task | " + " | ".join(f"`{m}`" for m in ran) + " |",
            "|---" * len(ran) + "|---|",
        ]
        for task in sorted(rewards):
            cells = []
            for method in ran:
                values = at(rewards, task, method, budget)
                cells.append(
                    f"{np.median(values):.2f} [{values.min():.2f}, {values.max():.2f}] "
                    f"({len(values)})"
                    if len(values)
                    else ""
                )
            if any(cells):
                lines += [f"| {task} | {' | '.join(cells)} |"]
        lines += [""]
    for budget in BUDGETS[1:]:
        ranked = sorted(ranks[budget], key=lambda m: ranks[budget][m][0])
        first = ranked[0]
        tests = {m: pair_test(rewards, first, m, budget) for m in ranked[1:]}
        level = LEVEL / max(len(tests), 1)
        better = [m for m, (p, _) in tests.items() if p <= level]
        same = [m for m, (p, _) in tests.items() if not p <= level]
        text = f"- At {budget}: `{first}` has the best mean rank."
        if better:
            text += f" It is better than {', '.join(f'`{m}`' for m in better)} (Bonferroni)."
        if same:
            shown = ", ".join(f"`{m}` (p = {tests[m][0]:.3f}, {tests[m][1]} tasks)" for m in same)
            text += f" No difference shown to {shown}."
        lines += [text]
    lines += [""]
    for budget in (100, 200, 1000):
        none = [
            f"`{a}` and `{b}`"
            for a, b in combinations(order, 2)
            if (p := pair_test(rewards, a, b, budget)[0]) == p and p > LEVEL
        ]
        lines += [f"No difference at {budget} (p > {LEVEL}): {'; '.join(none) or 'none'}.", ""]
    lines.pop()
    return "\n".join(lines)


def single_agents(rewards: Rewards) -> list[str]:
    """Return the agents of this library, except `auto`, which combines several."""
    return sorted({m for task in rewards.values() for m in task if m not in METHODS} - {"auto"})


def score_range(rewards: Rewards, task: str) -> float:
    """Return the best reward that is known minus the median of `random` after 10 evaluations."""
    known = [r for runs in rewards[task].values() for run in runs.values() for r in run if r == r]
    recorded = bench_task(task).best
    best = max(known if recorded is None else [recorded.reward, *known])
    return float(best - np.median(at(rewards, task, "random", BUDGETS[0])))


def gaps(
    rewards: Rewards, methods: Collection[str] | None = None
) -> list[tuple[float, str, int, str]]:
    """Return how far the median of `auto` is behind the best single agent, the worst first.

    Args:
      rewards: Results of all methods.
      methods: Methods to compare with instead of the single agents of this library.

    Returns:
      Share of the score range, task, budget and that agent; one for each task and budget where
      both ran.
    """
    found = []
    for task in rewards:
        for budget in BAR_BUDGETS:
            own = at(rewards, task, "auto", budget)
            medians = {
                agent: float(np.median(at(rewards, task, agent, budget)))
                for agent in methods or single_agents(rewards)
                if len(at(rewards, task, agent, budget))
            }
            if not len(own) or not medians:
                continue
            best = max(medians, key=lambda agent: medians[agent])
            behind = (medians[best] - float(np.median(own))) / score_range(rewards, task)
            found.append((behind, task, budget, best))
    return sorted(found, reverse=True)


def table_of_gaps(rewards: Rewards) -> list[str]:
    """Return how far `auto` is behind, a row for each task; negative where it is ahead."""
    others = sorted({m for task in rewards.values() for m in task} - {"auto"})
    lines = [
        f"| task | behind | {' | '.join(map(str, BAR_BUDGETS))} |",
        "|---" * (2 + len(BAR_BUDGETS)) + "|",
    ]
    beyond = []
    for name, methods in (("single agents", single_agents(rewards)), ("all methods", others)):
        found = {(task, budget): (gap, by) for gap, task, budget, by in gaps(rewards, methods)}
        for task in sorted(rewards):
            cells = [
                f"{100.0 * found[task, budget][0]:.1f} % `{found[task, budget][1]}`"
                if (task, budget) in found
                else ""
                for budget in BAR_BUDGETS
            ]
            lines += [f"| {task} | {name} | {' | '.join(cells)} |"]
        n = sum(gap > BAR_SHARE for gap, _ in found.values())
        beyond += [f"{n} of {len(found)} medians more than 2 % behind the best of {name}."]
    return [*lines, "", *beyond]


def bars(rewards: Rewards, own: Own) -> list[str]:
    """Return the lines that tell which bars of `auto` are met."""
    lines = ["| bar | measured | met |", "|---|---|---|"]
    for budget in BAR_BUDGETS:
        ranks = mean_ranks(rewards, budget)
        if "auto" not in ranks:
            lines += [f"| best mean rank at {budget} | not run | no |"]
            continue
        rank, tasks = ranks["auto"]
        others = {m: found for m, found in ranks.items() if m != "auto"}
        next_one = min(others, key=lambda m: others[m])
        met = "yes" if rank < others[next_one][0] else "no"
        lines += [
            f"| best mean rank at {budget} | `auto` {rank:.1f} on {tasks} tasks, "
            f"best other `{next_one}` {others[next_one][0]:.1f} on {others[next_one][1]} | {met} |"
        ]
    behind = gaps(rewards)
    beyond = [gap for gap in behind if gap[0] > BAR_SHARE]
    shown = "; ".join(
        f"{100.0 * share:.1f} % on {task} at {budget} (`{agent}`)"
        for share, task, budget, agent in (beyond or behind[:1])
    )
    lines += [
        f"| nowhere more than {100.0 * BAR_SHARE:.0f} % behind the best single agent | "
        f"{len(beyond)} of {len(behind)} medians beyond it; {'' if beyond else 'the largest: '}"
        f"{shown} | {'no' if beyond else 'yes'} |"
    ]
    times = own["auto"][BAR_MS_BUDGET]
    milliseconds = float(np.median(times))
    lines += [
        f"| own time below {BAR_MS:.0f} ms an evaluation at {BAR_MS_BUDGET} | "
        f"{milliseconds:.1f} ms, {min(times):.1f} to {max(times):.1f} over {len(times)} runs | "
        f"{'yes' if milliseconds < BAR_MS else 'no'} |"
    ]
    return [*lines, ""]


def picture(rewards: Rewards) -> None:
    """Draw the curves of the interquartile mean, one panel for each task.

    Agents of this library are solid and have bands of 95 %; other methods are dashed.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    methods = sorted(
        {m for task in rewards.values() for m in task if m in SHOWN_AGENTS or m in METHODS}
    )
    colours = dict(zip(methods, COLOURS[: len(methods)], strict=True))
    tasks = sorted(rewards)
    columns = 2 if len(tasks) <= 4 else 3
    rows = -(-len(tasks) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10.0, 3.2 * rows + 0.8), squeeze=False)
    for axis in axes.flat[len(tasks) :]:
        axis.set_visible(False)
    for axis, task in zip(axes.flat, tasks, strict=False):
        best = max(v for m in rewards[task].values() for run in m.values() for v in run if v == v)
        for method in methods:
            points = [(b, at(rewards, task, method, b)) for b in BUDGETS]
            points = [(b, values) for b, values in points if len(values)]
            if not points:
                continue
            bands = [stratified_bootstrap("iqm", [best - values]) for _, values in points]
            x, y = [b for b, _ in points], [i.value for i in bands]
            is_ours = method in SHOWN_AGENTS
            style = {"lw": 2.2, "ls": "-"} if is_ours else {"lw": 1.2, "ls": "--"}
            axis.plot(x, y, color=colours[method], label=method, marker=".", **style)
            if is_ours:
                low, high = [i.low for i in bands], [i.high for i in bands]
                axis.fill_between(x, low, high, color=colours[method], alpha=0.12)
        axis.set(title=task, xscale="log", xlabel="evaluations")
        axis.set_yscale("symlog", linthresh=0.1)
        axis.set_ylim(bottom=0.0)
        axis.minorticks_off()
        axis.set_xticks(BUDGETS, [str(b) for b in BUDGETS])
        axis.title.set_fontsize(9)
    for row in axes:
        row[0].set_ylabel("regret, interquartile mean")
    lines = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
    ordered = sorted(lines, key=lambda name: (name not in SHOWN_AGENTS, name))
    handles = [lines[name] for name in ordered]
    figure.legend(handles, ordered, fontsize=9, ncols=5, loc="lower center")
    figure.tight_layout(rect=(0.0, 0.8 / (3.2 * rows + 0.8), 1.0, 1.0))
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Write all three."""
    if sys.argv[1:] == ["--gaps"]:
        print("\n".join(table_of_gaps(read()[0])))
        return
    paths = [Path(name) for name in sys.argv[1:]]
    if paths:
        collect(paths)
    rewards, own = read()
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n{page(rewards, own)}\n\n{END}{after}")
    picture(rewards)


if __name__ == "__main__":
    main()
