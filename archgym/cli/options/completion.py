"""Names that the shell completes."""

__all__ = ["complete_agent", "complete_list", "complete_simulator", "complete_subject"]

KINDS = (
    "simulators",
    "agents",
    "spaces",
    "workloads",
    "objectives",
    "metrics",
    "fidelities",
    "options",
    "devices",
)
"""What `archgym list` lists."""


def complete_simulator(incomplete: str) -> list[str]:
    """Return simulators that begin so."""
    from archgym.evaluation.simulator import simulator_names

    return [name for name in simulator_names() if name.startswith(incomplete)]


def complete_agent(incomplete: str) -> list[str]:
    """Return agents that begin so."""
    from archgym.search.agent import agent_names

    return [name for name in agent_names() if name.startswith(incomplete)]


def complete_subject(incomplete: str) -> list[str]:
    """Return simulators and agents that begin so."""
    return complete_simulator(incomplete) + complete_agent(incomplete)


def complete_list(incomplete: str) -> list[str]:
    """Return kinds of names that begin so."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]
