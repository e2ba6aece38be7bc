"""Text rendering of a Pareto front."""

from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import heading, number, prose, say, table
from archgym.cli.views.metrics import with_unit

if TYPE_CHECKING:
    from archgym.studies.front import StudyFront
    from archgym.studies.snapshot import StudyLog


def write_front(log: "StudyLog", front: "StudyFront") -> None:
    """Write the points of a front, and how the design of each differs from the common one."""
    from archgym.studies.front import sought

    n = len(front)
    volume = "–" if front.hypervolume is None else f"{front.hypervolume:.4f}"
    points = "1 point" if n == 1 else f"{n} points"
    heading(f"Pareto front ({points}, hypervolume {volume})")
    indices = log.records.indices[front.rows]
    common = [_most_common(column) for column in indices.T]
    default = log.space.default_indices
    names = log.space.names
    shown = front.numbered
    ordinals = log.is_evaluation.cumsum()
    specs, columns = sought(log, front.objective), _columns(log, front)
    rows = []
    differing = []
    for place, point in enumerate(shown, start=1):
        design = log.space.design_at(indices[point])
        differing.append(
            [
                f"{name}={design[name]}"
                for name, index, most in zip(names, indices[point], common, strict=True)
                if index != most
            ]
        )
        values = [number(float(front.values[point, columns[spec.name]])) for spec in specs]
        rows.append((str(place), *values, str(ordinals[front.rows[point]])))
    labels = [with_unit(spec) for spec in specs]
    reference = log.weights @ log.reference
    default_values = (number(float(reference[columns[spec.name]])) for spec in specs)
    rows.append(("default", *default_values, ""))
    right = ("design", *labels, "found at")
    table(right, rows, right=right)
    if len(shown) < n:
        say(f"{n - len(shown)} more points in between; use --json for all.")
    for place, changes in enumerate(differing, start=1):
        prose(f"{place:>3}  {', '.join(changes) or 'the common design'}", indent="     ")
    say()
    changed = [
        f"{name}={log.space.parameter(name).value(most)}"
        for name, most, index in zip(names, common, default, strict=True)
        if most != index
    ]
    prose(f"Common design of the front: {', '.join(changed) or 'the default design'}.")
    say()


def _columns(log: "StudyLog", front: "StudyFront") -> dict[str, int]:
    """Return the column of each metric of the front."""
    from archgym.studies.front import sought

    names = [spec.name for spec in log.metrics]
    return {spec.name: names.index(spec.name) for spec in sought(log, front.objective)}


def _most_common(column: Any) -> int:
    import numpy as np

    values, counts = np.unique(column, return_counts=True)
    return int(values[np.argmax(counts)])
