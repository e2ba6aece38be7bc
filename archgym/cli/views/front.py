"""The Pareto front of a study as a table and as JSON."""

from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import heading, number, say, table

if TYPE_CHECKING:
    from archgym.studies.front import StudyFront
    from archgym.studies.snapshot import StudyLog

__all__ = ["front_json", "write_front"]

# chosen: a screen of them; `--json` has all.
_MAX_POINTS = 20


def front_json(log: "StudyLog", front: "StudyFront") -> dict[str, Any]:
    """Return a front as JSON."""
    ordinals = log.is_evaluation.cumsum()
    columns = _columns(log, front)
    designs = log.space.designs(log.records.indices[front.rows])
    return {
        "reference_point": front.reference_point,
        "hypervolume": front.hypervolume,
        "points": [
            {
                "seq": int(log.records.seq[row]),
                "evaluation": int(ordinals[row]),
                "designs": int(n_alike),
                "terms": terms,
                "metrics": {name: float(values[place]) for name, place in columns.items()},
                "design": dict(design),
            }
            for row, n_alike, terms, values, design in zip(
                front.rows, front.n_alike, front.terms, front.values, designs, strict=True
            )
        ],
    }


def write_front(log: "StudyLog", front: "StudyFront") -> None:
    """Write a front's points, and what is special about the design of each."""
    import numpy as np

    from archgym.studies.front import sought

    n = len(front)
    volume = "–" if front.hypervolume is None else f"{front.hypervolume:.4f}"
    points = "1 point" if n == 1 else f"{n} points"
    heading(f"Pareto front ({points}, hypervolume {volume})")
    indices = log.records.indices[front.rows]
    usual = [_most_common(column) for column in indices.T]
    default = log.space.default_indices
    names = log.space.names
    shown = np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).round().astype(int))
    ordinals = log.is_evaluation.cumsum()
    specs, columns = sought(log, front.objective), _columns(log, front)
    rows = []
    for place in shown:
        design = log.space.design_at(indices[place])
        special = [
            f"{name}={design[name]}"
            for name, index, common in zip(names, indices[place], usual, strict=True)
            if index != common
        ]
        rows.append(
            (
                *(number(float(front.values[place, columns[spec.name]])) for spec in specs),
                str(ordinals[front.rows[place]]),
                str(front.n_alike[place]),
                ", ".join(special) or "as usual",
            )
        )
    labels = [f"{s.name} [{s.unit}]" if s.unit != "1" else s.name for s in specs]
    reference = log.weights @ log.reference
    rows.append(
        (*(number(float(reference[columns[s.name]])) for s in specs), "", "", "default design")
    )
    right = (*labels, "found at", "designs")
    table((*right, "design"), rows, right=right)
    if len(shown) < n:
        say(f"{n - len(shown)} more points lie between them; --json has all.")
    changed = [
        f"{name}={log.space.parameter(name).value(common)}"
        for name, common, index in zip(names, usual, default, strict=True)
        if common != index
    ]
    say(f"The usual design of the front: {', '.join(changed) or 'the default one'}.")
    say()


def _columns(log: "StudyLog", front: "StudyFront") -> dict[str, int]:
    """Where each metric of the front stands among all."""
    from archgym.studies.front import sought

    names = [spec.name for spec in log.metrics]
    return {spec.name: names.index(spec.name) for spec in sought(log, front.objective)}


def _most_common(column: Any) -> int:
    import numpy as np

    values, counts = np.unique(column, return_counts=True)
    return int(values[np.argmax(counts)])
