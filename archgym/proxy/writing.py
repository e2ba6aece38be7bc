"""A proxy's report as Markdown, and its curves as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archgym.storage import atomic_file

__all__ = ["draw_curves", "markdown"]

_COLUMNS = {
    "rmse_percent_of_mean": "RMSE % of mean",
    "rmse_percent_of_range": "% of range",
    "mape_percent": "MAPE %",
    "worst_percent": "worst %",
    "r2": "R²",
    "spearman": "Spearman",
    "top_recall": "recall of top 1 %",
    "coverage": "coverage",
    "width_percent": "width %",
}


def markdown(report: Mapping[str, Any]) -> str:
    """A report, as `archgym.proxy.report` gives it, in Markdown."""
    lines = [
        f"# Proxy `{report['model']}` for {report['simulator']}/{report['space']}",
        "",
        f"{report['rows']:,} distinct evaluations of dataset `{report['data_digest'][:12]}`; "
        f"intervals are to hold {100 * report['level']:g} %.",
        "",
    ]
    for split, by_workload in report["splits"].items():
        lines += [f"## Split: {split}", ""]
        for workload, found in by_workload.items():
            lines += _table(workload, found)
    for name, title in (("learning_curve", "Learning curve"), ("diversity", "Data diversity")):
        if report.get(name):
            lines += [f"## {title}", "", "| data | rows | error % | 95 % interval |"]
            lines += ["|---|---:|---:|---:|"]
            lines += [
                f"| {point.get('data', 'all')} | {point['rows']} | {point['error_percent']:.3g} | "
                f"{point['low']:.3g} to {point['high']:.3g} |"
                for point in report[name]
            ]
            lines += [""]
    return "\n".join(lines)


def _table(workload: str, found: Mapping[str, Any]) -> list[str]:
    about = f"{found['n_train']:,} rows to learn from, {found['n_test']:,} predicted"
    if found.get("region"):
        about += f", those with {' and '.join(found['region'])}"
    if found.get("outcomes"):
        about += f", {found['outcomes']:,} distinct outcomes"
    lines = [f"### {workload}", "", f"{about}.", ""]
    lines += ["| metric | " + " | ".join(_COLUMNS.values()) + " |"]
    lines += ["|---|" + "---:|" * len(_COLUMNS)]
    for metric, errors in found["metrics"].items():
        cells = [_cell(errors.get(column)) for column in _COLUMNS]
        lines.append(f"| {metric} | " + " | ".join(cells) + " |")
    regrets = found.get("regret_percent", {})
    if regrets:
        words = ", ".join(f"{metric} {_cell(value)} %" for metric, value in regrets.items())
        lines += ["", f"Regret of the best predicted design, simulated: {words}."]
    return [*lines, ""]


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}"


def draw_curves(report: Mapping[str, Any], path: str | Path) -> None:
    """Draws the learning curve and the effect of data diversity, with intervals over seeds.

    Args:
      report: With curves.
      path: Ends in .png, .svg or .pdf.

    Raises:
      StorageError: It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    points = report["learning_curve"]
    sizes = [point["rows"] for point in points]
    errors = [point["error_percent"] for point in points]
    left.plot(sizes, errors, marker="o")
    lows = [max(0.0, point["low"]) for point in points]
    left.fill_between(sizes, lows, [point["high"] for point in points], alpha=0.2)
    left.set(xlabel="rows to learn from", ylabel="error on unseen outcomes [% of mean]")
    if sizes:
        left.set(xscale="log", yscale="log")
    shown = report.get("diversity", [])
    places = range(len(shown))
    middle = [point["error_percent"] for point in shown]
    half = [point["high"] - point["error_percent"] for point in shown]
    right.errorbar(middle, list(places), xerr=half, fmt="o", capsize=3)
    right.set_yticks(list(places), [point["data"] for point in shown])
    right.set(xlabel="error on the mixture's designs [% of mean]")
    right.set_title("one agent's data against a mixture" if shown else "")
    suffix = Path(path).suffix.removeprefix(".") or "png"
    with atomic_file(path) as scratch:
        figure.savefig(scratch, format=suffix, dpi=150)
