"""Shell completion of names."""

KINDS = (
    "simulators",
    "agents",
    "models",
    "spaces",
    "workloads",
    "objectives",
    "metrics",
    "fidelities",
    "options",
    "devices",
)
"""Kinds of names that `archgym list` knows."""


def complete_simulator(incomplete: str) -> list[str]:
    """Return the names of simulators with this prefix."""
    from archgym.evaluation.simulator import simulator_names

    return [name for name in simulator_names() if name.startswith(incomplete)]


def complete_agent(incomplete: str) -> list[str]:
    """Return the names of agents with this prefix."""
    from archgym.agent.agent import agent_names

    return [name for name in agent_names() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Return the names of proxy models with this prefix."""
    from archgym.proxy.model import model_names

    return [name for name in model_names() if name.startswith(incomplete)]


def complete_subject(incomplete: str) -> list[str]:
    """Return the names of simulators and agents with this prefix."""
    return complete_simulator(incomplete) + complete_agent(incomplete)


def complete_list(incomplete: str) -> list[str]:
    """Return the kinds of names with this prefix."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]
