"""A proxy's report as Markdown, and its curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archgym.files.storage import atomic_file

_COLUMNS = {
    "rmse_percent_of_mean": "RMSE % of mean",
    "rmse_percent_interval": "95 % interval",
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
    """Return a report, as `archgym.proxy.report` gives it, in Markdown."""
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
    for title, points in curve_tables(report):
        lines += [f"## {title}", "", "| data | rows | error % | 95 % interval |"]
        lines += ["|---|---:|---:|---:|"]
        lines += [
            f"| {point.get('data', 'all')} | {point['rows']:,} | {point['error_percent']:.3g} | "
            f"{max(0.0, point['low']):.3g} to {point['high']:.3g} |"
            for point in points
        ]
        lines += [""]
    lines += ["## What was bounded", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in report["bounds"].items()]
    lines += [""]
    return "\n".join(lines)


def curve_tables(report: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return title and points of each curve that a report has."""
    curves = report.get("learning_curve", {})
    found = [(f"Learning curve: {name}", points) for name, points in curves.items() if points]
    if report.get("diversity"):
        found.append((f"Data diversity: {report['diversity_workload']}", report["diversity"]))
    return found


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
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    return "–" if value is None else f"{value:.3g}"


def draw_curves(report: Mapping[str, Any], path: str | Path) -> None:
    """Draw the learning curve and the effect of data diversity, with intervals over seeds.

    Args:
      path: Ends in .png, .svg or .pdf.

    Raises:
      StorageError: It cannot be written.
    """
    from matplotlib.figure import Figure

    diversity = report.get("diversity", [])
    figure = Figure(figsize=(9.5, 3.8) if diversity else (5.5, 3.8), layout="constrained")
    axes = figure.subplots(1, 2 if diversity else 1, squeeze=False)[0]
    _draw_learning(axes[0], report["learning_curve"])
    if diversity:
        _draw_diversity(axes[1], diversity, report["diversity_workload"])
    suffix = Path(path).suffix.removeprefix(".") or "png"
    with atomic_file(path) as scratch:
        figure.savefig(scratch, format=suffix, dpi=120)


def _draw_learning(axes: Any, curves: Mapping[str, Any]) -> None:
    for name, points in curves.items():
        if not points:
            continue
        rows, error, low, high = (
            [p[key] for p in points] for key in ("rows", "error_percent", "low", "high")
        )
        axes.plot(rows, error, marker="o", markersize=4, label=name)
        # A logarithmic axis has no 0.
        floor = [max(end, middle / 10) for end, middle in zip(low, error, strict=True)]
        axes.fill_between(rows, floor, high, alpha=0.15)
    axes.set(xlabel="rows to learn from", ylabel="RMSE on unseen outcomes [% of mean]")
    axes.set_title("Learning curve")
    if any(curves.values()):
        axes.set(xscale="log", yscale="log")
        sizes = sorted({point["rows"] for points in curves.values() for point in points})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(frameon=False)


def _draw_diversity(axes: Any, points: Sequence[Mapping[str, Any]], workload: str) -> None:
    shown = sorted(points, key=lambda point: -point["error_percent"])
    middle = [point["error_percent"] for point in shown]
    half = [point["high"] - point["error_percent"] for point in shown]
    axes.errorbar(middle, range(len(shown)), xerr=half, fmt="o", capsize=3)
    axes.set_yticks(range(len(shown)), [point["data"] for point in shown])
    axes.set_xlim(left=0)
    axes.set(xlabel="RMSE on designs of all agents [% of mean]")
    axes.set_title(f"{shown[0]['rows']:,} rows of one agent, or mixed ({workload})")
