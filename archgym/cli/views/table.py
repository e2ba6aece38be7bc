"""Text rendering of a table of all designs."""

from typing import TYPE_CHECKING

from archgym.cli.console.terminal import file_size, heading, number, say, table
from archgym.cli.views.study import limits_text

if TYPE_CHECKING:
    from archgym.report.table_summary import TableSummary
    from archgym.tables import Optimum


def write_table(summary: "TableSummary") -> None:
    """Write the contents and the optima of a table."""
    made = summary.table
    declared = made.declaration
    space = made.space
    options = ", ".join(f"{name}={value}" for name, value in made.options.items())
    heading(f"{made.path}: {declared.simulator}, version {declared.version}, space {space.name}")
    say(
        f"{made.rows:,} distinct designs of {space.size:,} combinations, fidelity "
        f"{made.fidelity}{f', {options}' if options else ''}; {file_size(made.size_bytes)}"
    )
    say(f"Workloads: {', '.join(workload.name for workload in declared.workloads)}")
    say(f"Digest: {made.digest}")
    say()
    heading("Optima")
    columns = ("workload", "objective", "reward", "best", "unit", "ties", "infeasible", "front")
    rows = [
        (
            _mixture(optimum),
            optimum.objective.name,
            f"{optimum.reward:.4f}",
            *_best(summary, optimum),
            f"{optimum.n_ties:,}",
            f"{optimum.n_infeasible:,}",
            f"{optimum.front_size:,}" if optimum.front_size else "–",
        )
        for optimum in made.optima
    ]
    table(columns, rows, right=("reward", "best", "ties", "infeasible", "front"))
    for optimum in made.optima:
        if optimum.objective.limits:
            missed = limits_text(summary.missed_limits(optimum))
            say(f"{optimum.objective.name} on {_mixture(optimum)}: {missed}")


def _mixture(optimum: "Optimum") -> str:
    are_equal = len(set(optimum.weights.values())) == 1
    return "+".join(
        ("" if are_equal else f"{weight:g}*") + name for name, weight in optimum.weights.items()
    )


def _best(summary: "TableSummary", optimum: "Optimum") -> tuple[str, str]:
    best = summary.best_metric(optimum)
    return ("–", "") if best is None else (number(best[0]), best[1].unit)
