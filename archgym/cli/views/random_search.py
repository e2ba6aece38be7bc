"""Text and JSON renderings of the exact curve of random search."""

from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import heading, number, say, table

if TYPE_CHECKING:
    from archgym.analysis.random_search import RandomCurve
    from archgym.tables import Exhaustive

__all__ = ["curve_json", "write_random_curve"]


def curve_json(found: "RandomCurve") -> dict[str, Any]:
    """Return a curve as JSON."""
    return {
        "budgets": found.budgets,
        "expected": found.expected,
        # Of the reward: where a metric is minimised, 0.05 is its larger value.
        "quantiles_of": "reward",
        "quantiles": {f"{share:g}": values for share, values in found.quantiles.items()},
        # Of the runs, those with no design that can be built: quantiles count them as null.
        "share_without_design": found.empty,
    }


def write_random_curve(known: "Exhaustive", found: "RandomCurve") -> None:
    """Write the exact curve of random search as a table."""
    heading(f"{known.task.id}: random search over all {len(known.rewards):,} designs")
    say(
        f"The optimum is {number(known.optimum_value)} in {known.label}, reward "
        f"{known.reward:.4f}; {_ties(known.n_ties)}."
    )
    say()
    columns = ["evaluations", "expected", "5 % by reward", "median", "95 % by reward"]
    numbers = [found.expected, *found.quantiles.values()]
    empty_percent = (100.0 * found.empty).round(4)
    if empty_percent.any():
        columns.append("none built [%]")
        numbers.append(empty_percent)
    rows = [
        (f"{n:,}", *(number(float(values[place])) for values in numbers))
        for place, n in enumerate(found.budgets.tolist())
    ]
    table(columns, rows, right=columns)
    if empty_percent.any():
        say(
            "Some runs have met no design that can be built by then. They count in the percentiles "
            "(–), and are left out of what is expected."
        )


def _ties(n: int) -> str:
    return "one design has it" if n == 1 else f"{n:,} designs have it"
