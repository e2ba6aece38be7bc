"""Text renderings of exact random search and of the distance to a proven optimum."""

from typing import TYPE_CHECKING

from archgym.cli.console.terminal import heading, number, say, table

if TYPE_CHECKING:
    from archgym.analysis.random_search import RandomCurve
    from archgym.report.optimality import Optimality
    from archgym.tables import Exhaustive


def write_optimality(optimality: "Optimality") -> None:
    """Write the gap of each study to the optimum, with exact random search."""
    known = optimality.known
    best = known.optimum_value
    heading(f"Distance from the proven optimum of {len(known.rewards):,} designs")
    say(f"{_optimum_text(known)} Random search is exact: mean (5th to 95th percentile of reward).")
    say()
    columns = ("evaluations", "agent", known.label, "gap", "reward below", "better designs")
    rows = []
    for index, budget in enumerate(optimality.budgets):
        for gap in optimality.gaps:
            if gap.budget == budget:
                percent = "–" if gap.percent is None else f"{gap.percent:.3g} %"
                below = f"{known.reward - gap.reward:.4f}"
                rows.append(
                    (
                        f"{budget:,}", gap.log.author, number(gap.value),
                        percent, below, f"{gap.n_better:,}",
                    )
                )  # fmt: skip
        assert optimality.random is not None
        mean = float(optimality.random.expected[index])
        low, high = (float(optimality.random.quantiles[share][index]) for share in (0.05, 0.95))
        has_percent = known.sought is not None and best
        percent = f"{abs(mean / best - 1) * 100:.3g} %" if has_percent else "–"
        band = f"{number(mean)} ({number(low)} to {number(high)})"
        rows.append((f"{budget:,}", "random search", band, percent, "", ""))
    table(columns, rows, right=("evaluations", "gap", "reward below", "better designs"))


def write_random_curve(known: "Exhaustive", curve: "RandomCurve") -> None:
    """Write the exact curve of random search as a table."""
    heading(f"{known.task.id}: random search over all {len(known.rewards):,} designs")
    say(_optimum_text(known))
    say()
    columns = ["evaluations", "mean", "5 % by reward", "median", "95 % by reward"]
    numbers = [curve.expected, *curve.quantiles.values()]
    empty_percent = (100.0 * curve.empty).round(4)
    if empty_percent.any():
        columns.append("no feasible design [%]")
        numbers.append(empty_percent)
    rows = [
        (f"{n:,}", *(number(float(values[index])) for values in numbers))
        for index, n in enumerate(curve.budgets.tolist())
    ]
    table(columns, rows, right=columns)
    if empty_percent.any():
        say(
            "Some runs have no feasible design yet. Percentiles include them (–); the mean does "
            "not."
        )


def _optimum_text(known: "Exhaustive") -> str:
    ties = "one design" if known.n_ties == 1 else f"{known.n_ties:,} designs"
    return (
        f"Optimum: {number(known.optimum_value)} in {known.label}, reward {known.reward:.4f}, "
        f"reached by {ties}."
    )
