"""Text rendering of proxy models and their errors."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import heading, say, table, write_json

if TYPE_CHECKING:
    from archgym.proxy import Proxy

_COLUMNS = (
    ("rmse_percent_of_mean", "RMSE % of mean"),
    ("rmse_percent_interval", "95 % interval"),
    ("rmse_percent_of_range", "% of range"),
    ("mape_percent", "MAPE %"),
    ("worst_percent", "worst %"),
    ("r2", "R2"),
    ("spearman", "Spearman"),
    ("top_recall", "top-1% recall"),
    ("coverage", "coverage"),
    ("width_percent", "width %"),
)


def write_proxy(proxy: "Proxy", path: Path, is_json: bool) -> None:
    """Print what a proxy was trained on, its size and its errors, as text or JSON."""
    declared = proxy.declaration
    names = [workload.name for workload in declared.workloads]
    if is_json:
        write_json(
            {
                "proxy": str(path),
                "digest": proxy.digest,
                "bytes": path.stat().st_size,
                "simulator": declared.simulator,
                "space": declared.space_name,
                "workloads": names,
                **proxy.about,
                "errors": proxy.errors,
            }
        )
        return
    about = proxy.about
    heading(f"{path}: {about.get('model')} for {declared.simulator}/{declared.space_name}")
    say(
        f"{about.get('designs')} designs, {about.get('distinct_rows')} evaluations of dataset "
        f"{str(about.get('data_digest'))[:12]}; digest {proxy.digest[:12]}; "
        f"{path.stat().st_size:,} bytes; {_settings_text(about.get('hyperparameters'))}."
    )
    say()
    for split, by_workload in proxy.errors.items():
        write_errors(split, by_workload)


def _settings_text(settings: Any) -> str:
    """Return the hyperparameters of the models, equal ones once."""
    given = settings if isinstance(settings, list) else [settings]
    texts = [
        ", ".join(f"{name}={value}" for name, value in each.items())
        for each in given
        if isinstance(each, dict)
    ]
    return "; ".join(dict.fromkeys(texts)) or "no hyperparameters"


def write_errors(split: str, by_workload: Any) -> None:
    """Write the errors on one split, a table per workload."""
    for workload, found in by_workload.items():
        metrics = found.get("metrics", found)
        if not metrics:
            continue
        first = next(iter(metrics.values()))
        n = found.get("n_test", first.get("n"))
        say(f"{split}, {workload}: {n} designs")
        shown = [(key, title) for key, title in _COLUMNS if key in first]
        titles = [title for _, title in shown]
        table(
            ("metric", *titles),
            [
                (name, *(_cell(errors.get(key)) for key, _ in shown))
                for name, errors in metrics.items()
            ],
            right=titles,
        )


def _cell(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{_cell(value[0])} to {_cell(value[1])}"
    return "–" if not isinstance(value, int | float) else f"{value:.3g}"
