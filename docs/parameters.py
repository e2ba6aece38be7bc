"""Text of docs/parameters.md: parameters and metrics of every simulator."""

from typing import Any

__all__ = ["parameters_page"]

INTRODUCTION = """\
# Parameters and metrics

Parameters of the default space of each simulator, and all its metrics, written by `make docs`.
`archgym describe SIMULATOR --space SPACE` shows other spaces.
"""


def parameters_page() -> str:
    """Return the page."""
    from archgym.evaluation.simulator import simulator_class, simulator_names

    parts = [INTRODUCTION]
    parts += [simulator_text(name, simulator_class(name)()) for name in simulator_names()]
    return "\n".join(parts)


def simulator_text(name: str, simulator: Any) -> str:
    """Return the section on one simulator."""
    space = simulator.space
    parts = getattr(simulator, "parts", {})
    lines = [
        f"## {name}",
        "",
        f"Space `{simulator.spec.space_names[0]}`: {space.size:.3g} index vectors.",
        "",
    ]
    if parts:
        named = ", ".join(f"`{part}`" for part in parts)
        lines += [f"Parameters and metrics of its parts {named}, such as `{space.names[-1]}`, and:"]
    else:
        lines += parameter_rows(space)
    lines += ["", "| metric | unit | goal | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{metric.name}` | {metric.unit} | {metric.goal} | {cell(metric.doc)} |"
        for metric in simulator.metrics
        if not parts or "." not in metric.name
    ]
    return "\n".join([*lines, ""])


def parameter_rows(space: Any) -> list[str]:
    """Return the table of a space's parameters."""
    return [
        "| parameter | unit | values | purpose |",
        "|---|---|---|---|",
        *(
            f"| `{of.name}` | {of.unit} | {cell(of.allowed())} | {cell(of.doc)} |"
            for of in space.parameters
        ),
    ]


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
