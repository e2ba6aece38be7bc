"""How far studies are from the proven optimum of their task, after equal numbers of evaluations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import heading, number, say, table
from archgym.cli.views.random_search import curve_json
from archgym.report.optimality import Standing

if TYPE_CHECKING:
    from archgym.tables import Exhaustive

__all__ = ["proven_json", "write_proven"]


def proven_json(standings: Sequence[Standing], known: "Exhaustive") -> dict[str, Any]:
    """Return the comparison with the optimum as JSON, random search beside it."""
    budgets = sorted({standing.budget for standing in standings})
    return {
        "designs": len(known.rewards),
        "label": known.label,
        "optimum": known.optimum_value,
        "reward": known.reward,
        "ties": known.n_ties,
        "studies": [
            {
                "folder": str(s.log.folder),
                "agent": s.log.header.agent,
                "seed": s.log.header.seed,
                "evaluations": s.budget,
                "reward": s.reward,
                "below": known.reward - s.reward,
                "value": s.value,
                "percent": s.percent,
                "better_designs": s.n_better,
            }
            for s in standings
        ],
        "random": curve_json(known.random_curve(budgets)) if budgets else None,
    }


def write_proven(standings: Sequence[Standing], known: "Exhaustive") -> None:
    """Write how far each study is from the optimum, random search beside it."""
    total = len(known.rewards)
    best = known.optimum_value
    heading(f"Distance from the proven optimum of {total:,} designs")
    say(
        f"The optimum is {number(best)} in {known.label}, reward {known.reward:.4f}, "
        f"{'one design' if known.n_ties == 1 else f'{known.n_ties:,} designs'}; random search is "
        "as expected, with its 5th to 95th percentile of reward."
    )
    say()
    columns = ("evaluations", "by", known.label, "off", "reward below", "better designs")
    rows = []
    budgets = sorted({standing.budget for standing in standings})
    if budgets:
        curve = known.random_curve(budgets)
    for place, budget in enumerate(budgets):
        for s in standings:
            if s.budget == budget:
                off = "–" if s.percent is None else f"{s.percent:.3g} %"
                below = f"{known.reward - s.reward:.4f}"
                rows.append(
                    (f"{budget:,}", s.log.author, number(s.value), off, below, f"{s.n_better:,}")
                )
        mean = float(curve.expected[place])
        low, high = (float(curve.quantiles[share][place]) for share in (0.05, 0.95))
        off = f"{abs(mean / best - 1) * 100:.3g} %" if known.sought is not None and best else "–"
        band = f"{number(mean)} ({number(low)} to {number(high)})"
        rows.append((f"{budget:,}", "random search", band, off, "", ""))
    table(columns, rows, right=("evaluations", "off", "reward below", "better designs"))
